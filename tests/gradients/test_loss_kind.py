"""What losses say of targets and predictions, and what the values say where losses do not."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff.gradients.loss import ExampleLoss
from tfstiff.gradients.loss_kind import CLASSES, LOGITS, MARGINS, NUMBERS, PROBABILITIES, LossKind, kind_of_scores

losses = keras.losses


def own(y, prediction):
    return (y - prediction) ** 2


@pytest.mark.parametrize(
    ("loss", "targets", "scores"),
    [
        (losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES, LOGITS),
        (losses.SparseCategoricalCrossentropy(), CLASSES, PROBABILITIES),
        ("binary_crossentropy", CLASSES, PROBABILITIES),
        (losses.CategoricalFocalCrossentropy(from_logits=True), CLASSES, LOGITS),
        (functools.partial(losses.sparse_categorical_crossentropy, from_logits=True), CLASSES, LOGITS),
        (functools.partial(losses.sparse_categorical_crossentropy, from_logits=False), CLASSES, PROBABILITIES),
        (tf.nn.sparse_softmax_cross_entropy_with_logits, CLASSES, LOGITS),
        (losses.Hinge(), CLASSES, MARGINS),
        ("squared_hinge", CLASSES, MARGINS),
        ("mse", NUMBERS, None),
        (losses.Huber(), NUMBERS, None),
        (losses.LogCosh(), NUMBERS, None),
        (own, None, None),
        (losses.Dice(), None, None),
    ],
)
def test_what_a_loss_says(loss, targets, scores):
    assert ExampleLoss(loss).kind == LossKind(targets, scores)


SOFTMAX = np.array([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]], np.float32)


@pytest.mark.parametrize(
    ("predictions", "has_sigmoid", "expected"),
    [
        (SOFTMAX, False, PROBABILITIES),
        (np.log(SOFTMAX), False, LOGITS),
        (SOFTMAX * 0.9, False, None),
        (np.array([[0.1], [0.7]]), True, PROBABILITIES),
        (np.array([[0.1], [0.7]]), False, None),
        (np.array([[-0.1], [0.7]]), False, LOGITS),
        (np.array([[np.nan], [np.nan]]), False, None),
    ],
)
def test_what_the_values_say(predictions, has_sigmoid, expected):
    assert kind_of_scores(LossKind(), predictions, has_sigmoid=has_sigmoid) == expected


def test_the_loss_comes_before_the_values():
    assert kind_of_scores(LossKind(CLASSES, LOGITS), SOFTMAX) == LOGITS
