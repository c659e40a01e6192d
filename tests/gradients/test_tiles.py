"""The sums over a tile, against sums over the whole matrix of cosines."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import SOFTMAX

from tfstiff import Probe, measure
from tfstiff.gradients import tiles
from tfstiff.gradients.rows import row_products
from tfstiff.gradients.tiles import Side, reduce_tile, signature_of

TABLE = 5  # rows of the table that is looked up


class Examples(NamedTuple):
    """Gradients of n examples, formed and in factors, and what they are when all are formed."""

    formed: tuple
    outers: tuple
    gradients: np.ndarray
    classes: np.ndarray  # -1 to leave an example out

    def batches(self):
        """One-hot: every third example is in none."""
        places = np.arange(len(self.classes)) * 7 % 3
        return (places[:, None] == np.arange(2)) & (self.classes >= 0)[:, None]

    def side(self, num_classes, dtype):
        norms = np.linalg.norm(self.gradients, axis=1)
        inverse = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
        arrays = (inverse, self.classes[:, None] == np.arange(num_classes), norms / 3, self.batches())
        formed = tuple(tf.constant(block, dtype) for block in self.formed)
        outers = tuple(
            (tf.constant(rows, None if rows.dtype.kind == "i" else dtype), tf.constant(columns, dtype))
            for rows, columns in self.outers
        )
        return Side(formed, outers, *(tf.constant(array.astype(dtype)) for array in arrays))


def examples(count, seed, num_classes=3, kinds="fpsl", zeros=(), left_out=()):
    """Of each kind one block: `f` formed, `p` factors of one position, `s` of several, `l` a look-up."""
    rng = np.random.default_rng(seed)
    classes = np.sort(rng.integers(0, num_classes, count))
    classes[list(left_out)] = -1
    gone = [*zeros, *left_out]
    formed, outers, parts = [], [], []
    for kind in kinds:
        if kind == "f":
            block = rng.normal(size=(count, 7))
            block[gone] = 0
            formed.append(block)
            parts.append(block)
            continue
        positions = 1 if kind == "p" else 3
        rows, columns = rng.normal(size=(count, positions, 4)), rng.normal(size=(count, positions, 2))
        columns[gone] = 0
        dense = rows
        if kind == "l":
            rows = rng.integers(0, TABLE, (count, positions))
            dense = np.eye(TABLE)[rows]
        outers.append((rows, columns))
        parts.append(np.einsum("ntp,ntq->npq", dense, columns).reshape(count, -1))
    return Examples(tuple(formed), tuple(outers), np.concatenate(parts, 1), classes)


def cosines_of(first, second):
    products = first.gradients @ second.gradients.T
    lengths = np.outer(np.linalg.norm(first.gradients, axis=1), np.linalg.norm(second.gradients, axis=1))
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)


def check(
    first, second=None, num_classes=3, dtype="float64", keep_cosines=False, is_known=False, pairs=(), is_traced=True
):
    """Against whole matrices; `second` is None for a tile on the diagonal."""
    is_diagonal, other = second is None, first if second is None else second
    sides = [part.side(num_classes, dtype) for part in (first, other)]
    fixed = tuple(is_known for _ in first.outers)
    known = tuple(row_products(b[0], a[0]) for a, b in zip(sides[0].outers, sides[1].outers, strict=True) if is_known)
    compared = tuple((tf.constant(r, tf.int32), tf.constant(c, tf.int32)) for r, c in pairs)
    choices = {"fixed": fixed, "is_diagonal": is_diagonal, "keep_cosines": keep_cosines}

    def run(*arguments):
        return reduce_tile(*arguments, **choices)

    if is_traced:
        run = tf.function(run, input_signature=signature_of(*sides, known, compared), autograph=False)
    sums = run(*sides, known, compared)
    tolerance = {"atol": 1e-10 if dtype == "float64" else 2e-5}

    cosine = cosines_of(first, other)
    counted = np.outer(first.classes >= 0, other.classes >= 0)
    if is_diagonal:
        np.fill_diagonal(counted, False)
    cosine = np.where(counted, cosine, 0)
    one_hot, one_hot2 = (part.classes[:, None] == np.arange(num_classes) for part in (first, other))
    length, length2 = (np.linalg.norm(part.gradients, axis=1, keepdims=True) / 3 for part in (first, other))
    sign = np.where(np.abs(cosine) < 1e-12, 0, np.sign(cosine))  # of zeros by another order of sums
    by_row = np.concatenate([cosine @ one_hot2, cosine @ (one_hot2 * length2), sign @ one_hot2], 1)
    by_column = np.concatenate([cosine.T @ one_hot, cosine.T @ (one_hot * length), sign.T @ one_hot], 1)
    rows, columns = sums.rows.numpy().astype(float), sums.columns.numpy().astype(float)
    once = counted
    if is_diagonal:
        np.testing.assert_allclose(rows + columns, by_row, **tolerance)
        once = np.triu(counted)
    else:
        np.testing.assert_allclose(rows, by_row, **tolerance)
        np.testing.assert_allclose(columns, by_column, **tolerance)

    square = cosine**2
    by_row = np.concatenate([square @ one_hot2, square @ (one_hot2 * length2**2), sign**2 @ one_hot2], 1)
    by_column = np.concatenate([square.T @ one_hot, square.T @ (one_hot * length**2), (sign**2).T @ one_hot], 1)
    rows, columns = sums.row_squares.numpy().astype(float), sums.column_squares.numpy().astype(float)
    if is_diagonal:
        np.testing.assert_allclose(rows + columns, by_row, **tolerance)
    else:
        np.testing.assert_allclose(rows, by_row, **tolerance)
        np.testing.assert_allclose(columns, by_column, **tolerance)

    scaled = cosine * length * length2.T

    in_batch, in_batch2 = first.batches().astype(float), other.batches().astype(float)
    found = in_batch.T @ (length * sums.batches.numpy().astype(float))
    expected = in_batch.T @ (once * scaled) @ in_batch2
    if is_diagonal:
        found, expected = found + found.T, expected + expected.T
    np.testing.assert_allclose(found, expected, **tolerance)

    assert int(sums.num_certain) == (np.abs(cosine[once]) >= 1e-6).sum()
    if counted.any():
        assert float(sums.smallest) == pytest.approx(cosine[counted].min(), abs=tolerance["atol"])
    for (row, column), values in zip(pairs, sums.compared, strict=True):
        np.testing.assert_allclose(values, cosine[row, column], **tolerance)
    kept = sums.cosines.numpy()
    if not keep_cosines:
        assert kept.shape[0] == 0
    elif is_diagonal:
        np.testing.assert_allclose(np.triu(kept, 1), np.triu(cosine, 1), **tolerance)
    else:
        np.testing.assert_allclose(kept, cosine, **tolerance)


def ordered_pairs(count, count2, seed, share, is_diagonal=False):
    """Some pairs, by row."""
    chosen = np.random.default_rng(seed).random((count, count2)) < share
    return np.nonzero(np.triu(chosen, 1) if is_diagonal else chosen)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("panel_rows", [1, 3, 10, 128])
@pytest.mark.parametrize("is_diagonal", [False, True])
def test_equals_sums_over_the_whole_matrix(monkeypatch, dtype, panel_rows, is_diagonal):
    monkeypatch.setattr(tiles, "_PANELS", dict.fromkeys((True, False), (panel_rows, 2)))
    first, second = examples(20, 1), None if is_diagonal else examples(13, 2)
    width = 20 if is_diagonal else 13
    pairs = [ordered_pairs(20, width, seed, share, is_diagonal) for seed, share in ((1, 0.3), (2, 0), (3, 1))]
    check(first, second, dtype=dtype, keep_cosines=panel_rows in (3, 128), pairs=pairs)


@pytest.mark.parametrize("panel_rows", [4, 128])
@pytest.mark.parametrize("kinds", ["s", "fpsl"])
@pytest.mark.parametrize("is_diagonal", [False, True])
def test_products_of_rows_that_are_known(monkeypatch, kinds, is_diagonal, panel_rows):
    """Of one-hot rows they are truth values."""
    monkeypatch.setattr(tiles, "_PANELS", dict.fromkeys((True, False), (panel_rows, 2)))
    check(examples(11, 1, kinds=kinds), None if is_diagonal else examples(9, 2, kinds=kinds), is_known=True)


@pytest.mark.parametrize("panel_rows", [3, 128])
def test_zero_gradients(monkeypatch, panel_rows):
    monkeypatch.setattr(tiles, "_PANELS", dict.fromkeys((True, False), (panel_rows, 2)))
    first, second = examples(9, 1, zeros=(0, 4)), examples(8, 2, zeros=(7,))
    check(first, second)
    check(first)
    check(examples(3, 1, zeros=(0, 1, 2)))


@pytest.mark.parametrize("panel_rows", [3, 128])
def test_examples_left_out_are_in_no_sum(monkeypatch, panel_rows):
    monkeypatch.setattr(tiles, "_PANELS", dict.fromkeys((True, False), (panel_rows, 2)))
    first, second = examples(9, 1, left_out=(1, 8)), examples(8, 2, left_out=(7,))
    check(first, second)
    check(first)


def test_the_smallest_cosine_is_not_that_of_an_example_left_out():
    """All cosines of the others are positive."""

    def alike(count, seed):
        found = examples(count, seed, kinds="f", left_out=(1,))
        block = np.where(found.classes[:, None] >= 0, np.abs(found.formed[0]), 0)
        return found._replace(formed=(block,), gradients=block)

    check(alike(6, 1))
    check(alike(6, 1), alike(5, 2))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 15), st.integers(0, 15), st.integers(1, 6), st.integers(1, 20), st.integers(0, 9), st.booleans(),
    st.sampled_from(["f", "p", "s", "l", "fp", "sl", "ffpsl"]),
)  # fmt: skip
def test_any_shapes(count, count2, num_classes, panel_rows, seed, is_known, kinds):
    first = examples(count, seed, num_classes, kinds)
    second = examples(count2, seed + 1, num_classes, kinds) if count2 else None
    pairs = [ordered_pairs(count, count2 or count, seed, 0.5, not count2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_PANELS", dict.fromkeys((True, False), (panel_rows, 2)))
        check(first, second, num_classes, is_known=is_known, pairs=pairs, is_traced=False)  # tracing takes a second


def test_one_trace_serves_tiles_of_any_size():
    spec = None
    for count, num_classes in ((9, 3), (4, 2)):
        sides = [examples(size, size, num_classes).side(num_classes, "float32") for size in (count, count + 1)]
        fixed = (True, False, False)
        known = (row_products(sides[1].outers[0][0], sides[0].outers[0][0]),)
        pairs = (tuple(tf.constant(part, tf.int32) for part in ordered_pairs(count, count + 1, 0, 0.5)),)
        found = signature_of(*sides, known, pairs)
        assert spec in (None, found)
        spec = found
        run = tf.function(
            lambda *args: reduce_tile(*args, fixed=fixed, is_diagonal=False, keep_cosines=False),  # noqa: B023
            input_signature=spec,
            autograph=False,
        )
        np.testing.assert_allclose(
            run(*sides, known, pairs).rows,
            reduce_tile(*sides, known, pairs, fixed=fixed, is_diagonal=False, keep_cosines=False).rows,
            atol=1e-5,
        )


def test_models_whose_factors_are_alike_share_a_trace():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
    probe = Probe.from_arrays((x[:18], y[:18]), (x[18:], y[18:]), size=None)

    def measured(*widths):
        layers = [keras.layers.Dense(width) for width in widths]
        model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3)])
        found = measure(model, probe, loss=SOFTMAX)["train_val"].cosine.matrix
        return found, lambda: measure(model, probe, loss=SOFTMAX)["train_val"].cosine.matrix

    tiles.traced_tile.cache_clear()
    measured(5)
    before = tiles.traced_tile.cache_info()
    second, again = measured(5)
    after = tiles.traced_tile.cache_info()
    assert (after.misses, after.hits > before.hits) == (before.misses, True)
    tiles.traced_tile.cache_clear()
    np.testing.assert_array_equal(again(), second)  # its plan keeps what it was traced with
    assert tiles.traced_tile.cache_info().misses == 0
    measured(5, 6)
    assert tiles.traced_tile.cache_info().misses > 0
