"""Weights that are looked up and multiplied by as well, held as factors; and gradients that are formed in turn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Weighted, labelled, sequential

from tfstiff.gradients import factors, gradient_gram, per_example_gradients, products, scaled_products
from tfstiff.gradients.gradient_factors import GradientFactors, squared_norms
from tfstiff.gradients.gram import proved_plan
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.gradients.rows import MixedRows, formed_outer
from tfstiff.gradients.tiles import Side, reduce_tile, signature_of

layers = keras.layers
POSITIONS, ENTRIES, WIDTH = 3, 7, 4


def drawn(kind, count, rng):
    """Factors of `count` examples whose rows are of a kind, and their gradients, one after the other."""
    indices = rng.integers(0, ENTRIES, (count, POSITIONS)).astype("int32")
    dense = rng.normal(size=(count, POSITIONS, ENTRIES))
    rows = {"looked up": indices, "dense": dense, "mixed": MixedRows(indices, dense)}[kind]
    parts = rows if kind == "mixed" else (rows,)
    numbers = np.concatenate([np.eye(ENTRIES)[part] if part.dtype.kind == "i" else part for part in parts], 1)
    columns = rng.normal(size=(count, numbers.shape[1], WIDTH))
    gradients = np.einsum("ntp,ntq->npq", numbers, columns)
    return tf.nest.map_structure(tf.constant, (rows, columns)), gradients.reshape(count, -1)


@pytest.mark.parametrize("path", ["pairs", "in turn"])
@pytest.mark.parametrize("kind", ["looked up", "dense", "mixed"])
def test_products_of_rows_of_every_kind(kind, path, monkeypatch):
    monkeypatch.setattr(products, "ELEMENTWISE_COST", -1000 if path == "pairs" else 10**6)
    monkeypatch.setattr(products, "_BYTES_IN_TURN", 3 * 5 * WIDTH * 8)  # three entries at a time
    rng = np.random.default_rng(0)
    (first, gradients), (second, gradients2) = drawn(kind, 5, rng), drawn(kind, 4, rng)
    taken = []
    in_turn = products._in_turn
    monkeypatch.setattr(products, "_in_turn", lambda *sides: taken.append(1) or in_turn(*sides))
    np.testing.assert_allclose(products.products(((), (first,)), ((), (second,))), gradients @ gradients2.T)
    assert bool(taken) == (path == "in turn" and kind != "looked up")
    np.testing.assert_allclose(squared_norms((), (first,), tf.zeros(5, tf.float64)), (gradients**2).sum(1))
    np.testing.assert_allclose(formed_outer(*first, ENTRIES)[:, : ENTRIES * WIDTH], gradients)


@pytest.mark.parametrize("kind", ["looked up", "dense", "mixed"])
def test_products_with_a_diagonal_between(kind, monkeypatch):
    monkeypatch.setattr(scaled_products, "_BYTES_IN_TURN", 3 * 5 * WIDTH * 8)  # three entries at a time
    rng = np.random.default_rng(0)
    (first, gradients), (second, gradients2) = drawn(kind, 5, rng), drawn(kind, 4, rng)
    diagonal = rng.uniform(0.1, 10, (ENTRIES, WIDTH))
    diagonals = scaled_products.Diagonals((), (tf.constant(diagonal),))
    found = scaled_products.scaled_products(((), (first,)), ((), (second,)), diagonals=diagonals)
    np.testing.assert_allclose(found, gradients * diagonal.ravel() @ gradients2.T)
    nothing = tf.zeros(5, tf.float64)
    norms = scaled_products.scaled_squared_norms(GradientFactors((), (first,), *[nothing] * 4), diagonals)
    np.testing.assert_allclose(norms, gradients**2 @ diagonal.ravel())


def test_a_tile_of_mixed_rows():
    rng = np.random.default_rng(0)
    sides, gradients = [], []
    for count in (5, 4):
        outer, rows = drawn("mixed", count, rng)
        lengths = np.linalg.norm(rows, axis=1)
        classes, batches = np.eye(2)[np.arange(count) % 2], np.zeros((count, 1))
        sides.append(Side((), (outer,), *map(tf.constant, (1 / lengths, classes, lengths, batches))))
        gradients.append(rows / lengths[:, None])

    @tf.function(input_signature=signature_of(*sides, (), ()), autograph=False)
    def traced(*tile):
        return reduce_tile(*tile, fixed=(False,), is_diagonal=False, keep_cosines=True)

    np.testing.assert_allclose(traced(*sides, (), ()).cosines, gradients[0] @ gradients[1].T)


def test_rows_that_are_looked_up_alone_are_not_held_for_their_size(monkeypatch):
    """Their products come from all pairs of positions, which would be more still."""
    monkeypatch.setattr(factors, "_LARGE", 0)
    looked_up = factors.Lookup(tf.zeros((2, 30), tf.int32), tf.zeros((2, 30, WIDTH)), 1000)
    assert not looked_up.is_cheaper_unformed(10**6)
    assert tf.is_tensor(factors.merge([looked_up], 10**6, 10**6))
    dense = factors.Outer(tf.zeros((2, 3, 100)), tf.zeros((2, 3, 100)))
    monkeypatch.setattr(factors.Outer, "is_cheaper_unformed", lambda self, count: False)
    assert not tf.is_tensor(factors.merge([dense], 10**6, 10**6))


class Tied(layers.Layer):
    """A table that is looked up, and the other way round one by which is multiplied."""

    def build(self, _):
        self.table = self.add_weight(name="table", shape=(400, 24), initializer="random_normal")

    def call(self, x, reverse=False):
        table = tf.convert_to_tensor(self.table)
        return tf.matmul(x, tf.transpose(table)) if reverse else tf.gather(table, x)


def language_model():
    """Tokens through a table, attention, and the same table again."""
    inputs = keras.Input((3,), dtype="int32")
    table = Tied()
    x = table(inputs)
    x = x + layers.MultiHeadAttention(2, 5)(x, x, use_causal_mask=True)
    x = x + layers.Dense(24, activation="tanh")(x)
    return keras.Model(inputs, table(x, reverse=True))


def tokens():
    rng = np.random.default_rng(0)
    return rng.integers(0, 400, (6, 3)).astype("int32"), rng.integers(0, 400, (6, 3))


@pytest.fixture(scope="module")
def expected():
    keras.utils.set_random_seed(0)
    model = language_model()
    x, y = tokens()
    return model, x, y, reference_gradients(float64_twin(language_model, model), x, y, SOFTMAX)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", ["by cost", "in turn", "formed"])
def test_a_tied_embedding(form, expected, monkeypatch):
    model, x, y, gradients = expected
    monkeypatch.setattr(factors, "_LARGE", 0 if form == "in turn" else 2**28)
    cheaper = {"by cost": None, "in turn": False, "formed": False}[form]
    if cheaper is not None:
        for kind in (factors.Mixed, factors.Outer, factors.Lookup):
            monkeypatch.setattr(kind, "is_cheaper_unformed", lambda self, count: False)
    monkeypatch.setattr(products, "ELEMENTWISE_COST", 10**6 if form == "in turn" else 40)
    model = float64_twin(language_model, model)
    gram = gradient_gram(model, x, y, loss=SOFTMAX, method="structured")
    assert relative_error(gram, gradients @ gradients.T) < 1e-9
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX), gradients) < 1e-9
    part = plan_for(model, x, y, GradientOptions(method="structured"), loss=SOFTMAX).parts[0]
    held = dict(zip(part.layout.outers, part.traced.factors.outers, strict=True))
    (table,) = [index for index, weight in enumerate(model.trainable_weights) if weight.shape == (400, 24)]
    assert ((table,) in held) == (form != "formed")
    assert form == "formed" or isinstance(held[table,][0], MixedRows)


@pytest.mark.filterwarnings("error")
def test_a_tied_embedding_in_single_precision(expected):
    model, x, y, gradients = expected
    layered = gradient_gram(model, x, y, loss=SOFTMAX, per_layer=True)
    assert relative_error(sum(layered.values()), gradients @ gradients.T) < 1e-5


@pytest.mark.filterwarnings("error")
def test_a_tied_embedding_with_a_diagonal_between(expected):
    model, x, y, gradients = expected

    def drawn_for(weight):
        return np.exp(np.random.default_rng(sum(weight.shape)).uniform(-5, 5, weight.shape))

    diagonal = np.concatenate([drawn_for(weight).ravel() for weight in model.trainable_weights])
    layered = gradient_gram(model, x, y, loss=SOFTMAX, preconditioner=drawn_for, per_layer=True)
    assert relative_error(sum(layered.values()), gradients * diagonal @ gradients.T) < 1e-5


def test_a_tied_embedding_and_directions(expected):
    model, x, y, gradients = expected
    plan, _, _ = proved_plan(model, x, y, GradientOptions(), SOFTMAX, None)
    assert any(isinstance(rows, MixedRows) for rows, _ in plan.parts[0].traced.factors.outers)
    random = np.random.default_rng(1)
    directions = [random.normal(size=(2, *weight.shape)) for weight in model.trainable_weights]
    found = plan.products_along(plan.factors(*map(tf.constant, (x, y))), directions)
    flat = np.concatenate([part.reshape(2, -1) for part in directions], 1)
    assert relative_error(sum(found.values()), gradients @ flat.T) < 1e-5


def test_a_tied_embedding_and_the_sum_of_gradients(expected):
    model, x, y, gradients = expected
    plan, _, _ = proved_plan(model, x, y, GradientOptions(), SOFTMAX, None)
    found = plan.sums_by_weight(plan.factors(*map(tf.constant, (x, y))))
    whole = np.concatenate([found[index].numpy() for index in range(len(plan.weights))])
    assert relative_error(whole, gradients.sum(0)) < 1e-5


EQUATIONS = {  # the shape of the weight, and whether its gradient can be held as factors
    "btd,dhk->bthk": ((5, 3, 4), True),
    "btd,hkd->bthk": ((3, 4, 5), True),
    "bthk,hkd->btd": ((3, 4, 5), True),
    "btd,hdk->bthk": ((3, 5, 4), False),
    "bthk,hkd->bthd": ((3, 4, 5), False),
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_an_einsum_that_is_a_product_of_matrices(equation, monkeypatch):
    monkeypatch.setattr(factors.Outer, "is_cheaper_unformed", lambda self, count: True)
    weight_shape, is_product = EQUATIONS[equation]
    shape = (2, 3, 4) if equation.startswith("bthk") else (2, 5)

    def build():
        weighted = Weighted(lambda x, w: tf.tanh(tf.einsum(equation, x, w)), weight_shape)
        return sequential(shape, weighted, layers.Flatten(), layers.Dense(3))

    model = build()
    x, y = labelled(shape)
    gradients = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, method="structured"), gradients) < 1e-5
    part = plan_for(model, x, y, GradientOptions(method="structured"), loss=SOFTMAX).parts[0]
    assert isinstance(part.apart[0,], factors.Outer) == is_product
