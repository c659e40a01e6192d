"""
Title: Measuring stiffness while a network trains
Author: The tfstiff developers
Date created: 2026/12/01
Last modified: 2026/12/01
Description: Does a gradient step on one example help the others, and those that the network has never seen?
Accelerator: None
"""

"""
## Introduction

Each example pulls a network its own way: along minus the gradient of its loss. Two examples are
*stiff* with each other where a step on one lowers the loss of the other, too, which is where the
sign of the product of their gradients, or their cosine, is above zero ([Fort et al.,
2019](https://arxiv.org/abs/1901.09491)). Within a class most pairs are; between classes many fight.

`tfstiff` measures it for all pairs of a few hundred examples while `fit` goes on, and changes
nothing of the training.
"""

"""
## Setup

`pip install tfstiff`. The data are a sample of Fashion-MNIST that comes with the package.
"""

import keras

import tfstiff
from tfstiff import datasets

data = datasets.prepare(datasets.load(datasets.DEFAULT), train_examples=2000)
x_train, y_train = data.train.x, data.train.y
x_val, y_val = data.validation.x, data.validation.y

"""
## A model

Nothing about it is special: any Keras model whose loss is one number an example will do.
"""

keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input(x_train.shape[1:]),
        keras.layers.Flatten(),
        keras.layers.Dense(50, activation="relu"),
        keras.layers.Dense(10),
    ]
)
model.compile(
    optimizer="adam",
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)

"""
## Train, and measure meanwhile

The *probe* holds the examples that are compared: a fixed sample of both splits with equally many of
each class. The callback measures before the first step, then after ever more steps, and at the end
of each epoch.
"""

probe = tfstiff.Probe.from_arrays((x_train, y_train), (x_val, y_val), size=100, class_names=data.class_names)
stiffness = tfstiff.StiffnessCallback(probe, schedule="log")
model.fit(x_train, y_train, validation_data=(x_val, y_val), epochs=3, verbose=2, callbacks=[stiffness])

"""
## What came out

A row a measurement, over pairs of a training and a validation example. `cosine_within` is the mean
over pairs of one class, `cosine_between` that over pairs of two classes, and `_se` are their
standard errors over the draw of the probe.
"""

columns = ["epoch", "cosine_within", "cosine_within_se", "cosine_between", "cosine_between_se"]
frame = stiffness.history.to_dataframe()
print(frame[frame["pair_set"] == "train_val"][columns].round(3).to_string(index=False))

"""
Does a step on a training example of one class help validation examples of another? A row of the
class matrix is the class that steps, a column the class that is helped, or harmed.
"""

latest = stiffness.history[-1]["train_val"]
print(f"within classes {latest.sign.within:.2f} ± {latest.sign.within_se:.2f}")
print(f"between classes {latest.sign.between:.2f} ± {latest.sign.between_se:.2f}")
stiffness.plot.class_matrix(metric="sign").savefig("class_matrix.png")
stiffness.plot.curves().savefig("curves.png")

"""
## Where to go from here

`tfstiff.measure(model, probe)` measures once; `tfstiff run --dataset cifar10 --arch cnn` does all
of it from the command line. What stiffness tells of generalisation, and what it does not, was tried
by rules that were written first: see `docs/reproduction.md` of tfstiff.
"""
