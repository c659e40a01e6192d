"""What fit minimises and is not measured is named once; nothing is said where all is measured."""

import warnings

import keras
import numpy as np
import pytest
from small_models import SOFTMAX, dense_net, labelled

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients import gradient_gram
from tfstiff.gradients.unmeasured import left_out

layers, ops = keras.layers, keras.ops


class Penalty(layers.Layer):
    def call(self, x):
        self.add_loss(0.1 * ops.mean(x**2))
        return x


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 3 * ops.mean(y_pred)


class OwnStep(keras.Model):
    def train_step(self, data):
        return {"loss": 0.0}


def net(kind=keras.Model, middle=None, **options):
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh", **options)(inputs)
    return kind(inputs, layers.Dense(3)(hidden if middle is None else middle(hidden)))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: net(middle=Penalty()), "1 term of add_loss"),
        (lambda: net(activity_regularizer="l2"), "1 term of add_loss or of activity regularisers"),
        (lambda: net(OwnLoss), "the compute_loss that OwnLoss defines"),
        (lambda: net(OwnStep), "the train_step that OwnStep defines"),
    ],
)
def test_what_is_left_out_is_named_once(build, named):
    model = build()
    model.compile("adam", SOFTMAX)
    with pytest.warns(UserWarning, match="fit minimises more than the compiled loss") as told:
        grams = [gradient_gram(model, *labelled((4,))) for _ in range(2)]
    assert len(grams) == 2
    (warning,) = told
    assert named in str(warning.message)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (dense_net, {}),
        (lambda: net(kernel_regularizer="l2"), {}),
        (lambda: net(OwnLoss), {"loss": SOFTMAX}),
        (lambda: net(middle=Penalty()), {"objective": lambda model, x, y: SOFTMAX.call(y, model(x))}),
    ],
    ids=["plain", "weights regularised", "a loss that is said", "an objective"],
)
def test_nothing_is_said_where_nothing_is_left_out(build, options):
    model = build()
    model.compile("adam", SOFTMAX)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient_gram(model, *labelled((4,)), **options)


def test_looking_changes_nothing():
    model = net(middle=Penalty())
    model.compile("adam", SOFTMAX)
    before = [np.array(one) for one in model.variables]
    with pytest.warns(UserWarning, match="add_loss"):
        gradient_gram(model, *labelled((4,)))
    assert not model.losses or len(model.losses) == 1
    for one, other in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_without_a_loss_is_told_of_objectives():
    with pytest.raises(UnsupportedModel, match="no loss") as error:
        gradient_gram(net(OwnStep), *labelled((4,)))
    assert "objective=" in str(error.value)


def test_what_keras_and_its_kin_define_is_no_loss_of_ones_own():
    class OfALibrary(OwnLoss):
        def compute_loss(self, *arguments, **options):
            return keras.Model.compute_loss(self, *arguments, **options)

    OfALibrary.compute_loss.__module__ = "keras_hub.src.models"
    assert left_out(net(OfALibrary), np.zeros((2, 4), "float32")) == []
    assert len(left_out(net(OwnLoss), np.zeros((2, 4), "float32"))) == 1
