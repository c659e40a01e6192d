"""Models that nobody here wrote, small and with random weights, against one traced tape an example."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras.src.applications import convnext, densenet, mobilenet, resnet
from oracles import relative_error
from small_models import SOFTMAX

from tfstiff.gradients import gradient_gram

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # `real`: the same models, and more of them

HUB = (
    "BertBackbone",  # and a Dense behind it, as behind every backbone
    "GPT2CausalLM",
    "BertMaskedLM",
    "BartSeq2SeqLM",
    "BertTextClassifier, LoRA",
    "MixtralBackbone",
    "ViTBackbone",
    "SwinTransformerBackbone",
)
TOP = {"weights": None, "input_shape": (32, 32, 3), "classes": 3, "classifier_activation": None}
APPLICATIONS = {
    "ConvNeXt": lambda: convnext.ConvNeXt([1, 1, 1, 1], [8, 8, 16, 16], layer_scale_init_value=0.5, **TOP),
    "DenseNet": lambda: densenet.DenseNet([1, 1, 1, 1], **TOP),
    "MobileNet": lambda: mobilenet.MobileNet(alpha=0.25, **TOP),
    "ResNet": lambda: resnet.ResNet(
        lambda x: resnet.stack_residual_blocks_v1(resnet_stem(x), 8, 1, stride1=2, name="two"),
        preact=False,
        use_bias=True,
        **TOP,
    ),
}


def resnet_stem(x):
    return resnet.stack_residual_blocks_v1(x, 8, 1, stride1=1, name="one")


def gram_by_tapes(model, x, y):
    """An example is taken twice: TensorFlow's convolutions of one corrupt memory on CPU."""

    @tf.function(autograph=False)
    def one(x, y):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(SOFTMAX.call(y, model(x, training=False))[0])
        weights = [weight.value for weight in model.trainable_weights]
        return [tf.reshape(tf.convert_to_tensor(part), [-1]) for part in tape.gradient(value, weights, None, "zero")]

    rows = []
    for index in range(len(y)):
        twice = tf.nest.map_structure(lambda array, i=index: tf.gather(array, [i, i]), (x, y))
        rows.append(np.concatenate(one(*twice), dtype=np.float64))
    return np.stack(rows) @ np.stack(rows).T


def assert_right(model, x, y):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*slower path.*")
        found = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(found, gram_by_tapes(model, x, y)) < 1e-4


@pytest.mark.parametrize("name", HUB)
def test_keras_hub(name):
    pytest.importorskip("keras_hub", reason="KerasHub is not installed: pip install 'tfstiff[hub]'")
    from real import hub

    model, x, y = hub.cases()[name].build()
    assert_right(model, *tf.nest.map_structure(lambda array: array[:3], (x, y)))


@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_applications(name):
    model = APPLICATIONS[name]()
    random = np.random.default_rng(0)
    for weight in model.non_trainable_weights:  # batch statistics as after some training
        if weight.path.endswith("moving_variance"):
            weight.assign(random.uniform(0.5, 2, weight.shape))
    assert_right(model, random.normal(size=(3, 32, 32, 3)).astype("float32"), np.arange(3))
