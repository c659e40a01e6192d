"""Objectives that a compiled loss cannot say, against one tape an example."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import relative_error, take
from small_models import SOFTMAX, dense_net, labelled, sequential

from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.gradients import gradient_gram, per_example_gradients

layers, ops = keras.layers, keras.ops


def one_tape_an_example(model, x, y, objective):
    """(n, P): the gradient of the objective of each example taken alone, in a traced function of one example."""

    @tf.function(autograph=False)
    def gradients(one_x, one_y):
        with tf.GradientTape() as tape:
            found = objective(model, one_x, one_y)
            value = tf.reduce_sum(found[0] if isinstance(found, tuple) else found)
        weights = [weight.value for weight in model.trainable_weights]
        return tape.gradient(value, weights, unconnected_gradients="zero")

    rows = [gradients(*take((x, y), slice(i, i + 1))) for i in range(len(tf.nest.flatten(x)[0]))]
    return np.stack([np.concatenate([part.numpy().ravel() for part in row]) for row in rows]).astype(np.float64)


class Autoencoder(keras.Model):
    """A variational autoencoder that trains in a `train_step` of its own and has no `call`."""

    def __init__(self):
        super().__init__()
        self.encoder = sequential((6,), layers.Dense(5, activation="tanh"), layers.Dense(4))
        self.decoder = sequential((2,), layers.Dense(5, activation="tanh"), layers.Dense(6))


def variational(model, x, noise):
    """Reconstruction and divergence; the draw of each example is part of its data."""
    mean, log_variance = ops.split(model.encoder(x), 2, axis=-1)
    image = model.decoder(mean + ops.exp(log_variance / 2) * noise)
    divergence = -0.5 * ops.sum(1 + log_variance - mean**2 - ops.exp(log_variance), axis=-1)
    return ops.sum((image - x) ** 2, axis=-1) + divergence


def penalised(model, x, y):
    """A loss that the layer adds by `add_loss`, told example by example."""
    hidden = model.layers[0](x)
    return SOFTMAX.call(y, model.layers[1](hidden)) + 0.1 * ops.mean(hidden**2, axis=-1)


def triplet(model, x, y):
    """Three inputs an example, one network for all."""
    anchor, positive, negative = (model(x[name]) for name in ("anchor", "positive", "negative"))
    distance = ops.sum((anchor - positive) ** 2, -1) - ops.sum((anchor - negative) ** 2, -1)
    return ops.softplus(distance + 0.5)


def ctc(model, x, y):
    scores = model(x)
    ones = ops.ones_like(y[:, 0])
    return ops.ctc_loss(y, scores, ones * y.shape[1], ones * scores.shape[1])


def examples(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(7, *shape)).astype("float32")


def distillation():
    teacher = dense_net(9)

    def objective(model, x, y):
        scores = model(x, training=False)
        towards = ops.softmax(teacher(x, training=False) / 2)
        return SOFTMAX.call(y, scores) + ops.categorical_crossentropy(towards, scores / 2, from_logits=True), scores

    return dense_net(), *labelled((4,), 7), objective


def adversarial():
    """The half of the generator, which trains against a discriminator that is held."""
    discriminator = sequential((4,), layers.Dense(6, activation="tanh"), layers.Dense(1))

    def objective(model, noise, _):
        return ops.softplus(-discriminator(model(noise)))[:, 0]

    return sequential((3,), layers.Dense(5, activation="tanh"), layers.Dense(4)), examples(3), examples(1), objective


CASES = {
    "variational": lambda: (Autoencoder(), examples(6), examples(2, seed=1), variational),
    "add_loss": lambda: (dense_net(), *labelled((4,), 7), penalised),
    "triplet": lambda: (
        dense_net(),
        {name: examples(4, seed=i) for i, name in enumerate(("anchor", "positive", "negative"))},
        examples(1),
        triplet,
    ),
    "ctc": lambda: (
        sequential((9, 4), layers.Conv1D(5, 3, activation="tanh"), layers.Dense(6)),
        examples(9, 4),
        np.random.default_rng(1).integers(1, 6, (7, 3)),
        ctc,
    ),
    "distillation": distillation,
    "adversarial": adversarial,
}


@pytest.mark.parametrize("method", ["auto", "loop"])
@pytest.mark.parametrize("name", CASES)
def test_objective_against_one_tape_an_example(name, method):
    model, x, y, objective = CASES[name]()
    found = per_example_gradients(model, x, y, objective=objective, method=method)
    expected = one_tape_an_example(model, x, y, objective)
    assert relative_error(found, expected) < 1e-5
    gram = gradient_gram(model, x, y, objective=objective, method=method)
    assert relative_error(gram, expected @ expected.T) < 1e-5


def test_two_objectives_of_one_model_are_told_apart():
    model, x, y, _ = CASES["add_loss"]()
    plain = gradient_gram(model, x, y, objective=lambda model, x, y: SOFTMAX.call(y, model(x)))
    np.testing.assert_allclose(plain, gradient_gram(model, x, y, loss=SOFTMAX), rtol=1e-5)
    assert relative_error(gradient_gram(model, x, y, objective=penalised), plain) > 1e-3


@pytest.mark.parametrize(
    ("objective", "received"),
    [
        (lambda model, x, y: ops.mean(SOFTMAX.call(y, model(x))), "shape ()"),
        (lambda model, x, y: model(x), "shape (None, 3)"),
        (lambda model, x, y: ops.sum(model(x), 0), "shape (3,)"),
    ],
)
def test_what_is_no_loss_for_each_example_is_refused_with_its_shape(objective, received):
    with pytest.raises(UnsupportedModel, match="one loss per example") as error:
        gradient_gram(dense_net(), *labelled((4,)), objective=objective)
    assert received in str(error.value)


def test_an_objective_is_called_and_excludes_a_loss():
    with pytest.raises(InvalidInput, match="Both a loss and an objective"):
        gradient_gram(dense_net(), *labelled((4,)), loss=SOFTMAX, objective=penalised)
    with pytest.raises(InvalidInput, match="cannot be called"):
        gradient_gram(dense_net(), *labelled((4,)), objective="mse")


def test_objective_whose_examples_interact_is_refused():
    def contrastive(model, x, y):
        scores = model(x)
        return ops.logsumexp(ops.matmul(scores, ops.transpose(scores)), -1)

    with pytest.raises(UnsupportedModel, match="interact"):
        gradient_gram(dense_net(), *labelled((4,)), objective=contrastive)
