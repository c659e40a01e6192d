"""The sums of a pass over a probe, a tile at a time, against sums over the whole Gram matrix."""

import threading
from dataclasses import fields

import keras
import numpy as np
import pytest
import tensorflow as tf
import threadpoolctl
from oracles.direct import Space, sums_of
from scipy.spatial.distance import cdist

from tfstiff import Probe
from tfstiff.gradients import gradient_gram
from tfstiff.gradients.memory import MemoryPlan
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.measuring.arrays import flattened
from tfstiff.measuring.summation.pair_totals import PairTotals
from tfstiff.measuring.summation.prepared import HALVES, prepared
from tfstiff.measuring.summation.probe_pass import ProbePass
from tfstiff.measuring.summation.probe_sums import WHOLE
from tfstiff.records import PAIR_SETS
from tfstiff.stiffness.pairs import ComparedPairs, DistanceOptions, Points
from tfstiff.stiffness.pairwise import cosine_distance

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
UNBALANCED = [0, 0, 0, 3, 0, 1, 0, 0, 1, 0, 3, 1, 0], [1, 0, 0, 3, 1, 1, 3, 0]  # and none of class 2


def examples(classes=UNBALANCED, shape=(5,), seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.normal(size=(len(part), *shape)).astype("float32"), np.array(part)) for part in classes]


def probe_of(splits, **options):
    return Probe.from_arrays(train=splits[0], validation=splits[1], size=None, **options)


def classifier(outputs=4, shape=(5,), seed=0):
    """Weights in every form: formed, factors and factors joined with a bias."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    front = [layers.Reshape((5, 1)), layers.Conv1D(4, 2), layers.Flatten()] if shape == (5,) else []
    return keras.Sequential(
        [
            keras.Input(shape), *front, layers.Dense(30, activation="tanh"), layers.LayerNormalization(),
            layers.Dense(30, activation="tanh", use_bias=False), layers.Dense(outputs),
        ]
    )  # fmt: skip


def passed(model, probe, *, block_size=100, num_resident=None, loss=SOFTMAX, options=None, pair_sets=PAIR_SETS, **rest):
    """One pass in float64."""
    count = len(probe.train) + len(probe.validation)
    plan = plan_for(
        model, probe.train.x, probe.train.y, loss=loss, options=GradientOptions(precision="float64"), num_examples=count
    )
    ready = prepared(probe, block_size)
    options = options or DistanceOptions(num_bins=5)
    compared = {"input": {name: ready.compared(name, None, options) for name in pair_sets}}
    memory = MemoryPlan(block_size, num_resident or count, 0)
    return ProbePass(plan, ready, memory, pair_sets, compared, **rest).run()


def both_halves(probe):
    halves = (probe.train, probe.validation)
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *((half.x, half.y) for half in halves))


def one_by_one(model, probe, loss=SOFTMAX, **options):
    """Products of all gradients, by one tape an example in float64."""
    return gradient_gram(model, *both_halves(probe), loss=loss, method="loop", precision="float64", **options)


def expected_sums(gram, probe, name, options=None):
    """From the whole Gram matrix; edges of bins as the pairs of one tile have them."""
    options = options or DistanceOptions(num_bins=5)
    halves = (probe.train, probe.validation)
    norms = np.sqrt(np.diag(gram))
    starts = (0, len(probe.train), len(gram))
    places = [np.arange(*starts[half : half + 2]) for half in (0, 1)]
    classes = [np.zeros(len(half), int) if half.classes is None else half.classes for half in halves]
    first, second = HALVES[name]
    between = {"cosine": cosine_distance, "l2": cdist}[options.distance]
    distances = between(flattened(halves[first].x).astype(float), flattened(halves[second].x).astype(float))
    points = [Points(flattened(halves[half].x), classes[half], np.ones(len(classes[half]), bool)) for half in (0, 1)]
    order = [np.argsort(part, kind="stable") for part in classes]
    sides = (points[first], None if first == second else points[second])
    tiles = [(order[first], order[second])]
    edges = ComparedPairs(*sides, probe.num_classes or 1, tiles, options).sums.edges
    return sums_of(
        gram[np.ix_(places[first], places[second])],
        classes[first],
        None if first == second else classes[second],
        norms=(norms[places[first]], norms[places[second]]),
        num_classes=probe.num_classes or 1,
        spaces={"input": Space(distances, options.compared, edges, options.duplicate_tolerance)},
    )


def values_of(sums):
    """Every number, by name; sums of products in the unit that gradients are measured in."""
    scale = sums.unit**2
    found = {
        name: getattr(sums, name)
        for name in ("classes_rows", "classes_columns", "norms_rows", "norms_columns", "batches_rows",
                     "smallest_cosine", "num_zero", "num_uncertain_signs", "is_symmetric")
    }  # fmt: skip
    found["batch_products"] = sums.batch_products * scale
    for metric, values in {**sums.values, "products": sums.products}.items():
        powers = {"rows": 1, "columns": 1, "row_squares": 2, "column_squares": 2, "squares": 2}
        for name, power in powers.items():
            found[f"{metric} {name}"] = getattr(values, name) * (scale**power if metric == "products" else 1)
    for space, distance in sums.distance.items():
        for field in fields(distance):
            value = getattr(distance, field.name)
            parts = value if isinstance(value, dict) else {"": value}
            found |= {f"{space} {field.name} {metric}": part for metric, part in parts.items()}
    return found


def assert_same(found, expected, tolerance=1e-9):
    found, expected = values_of(found), values_of(expected)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.nanmax(np.abs(np.asarray(value, float)), initial=0) or 1.0
        np.testing.assert_allclose(found[name], value, atol=tolerance * scale, rtol=0, err_msg=name)


def check(model, probe, gram=None, **options):
    found = passed(model, probe, **options)
    gram = one_by_one(model, probe, options.get("loss", SOFTMAX)) if gram is None else gram
    for name in options.get("pair_sets", PAIR_SETS):
        assert_same(found.pair_sets[WHOLE][name], expected_sums(gram, probe, name, options.get("options")))
    np.testing.assert_allclose(np.concatenate(found.norms), np.sqrt(np.diag(gram)), rtol=1e-9)
    return found


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    """Of the weights too, to whose precision gradients are rounded."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="module")
def case(double_precision):
    model, probe = classifier(), probe_of(examples(), class_names=list("abcd"))
    return model, probe, one_by_one(model, probe)


def test_losses_and_predictions_in_the_order_of_the_probe(case):
    model, probe, _ = case
    found = passed(model, probe, block_size=3)
    for place, half in enumerate((probe.train, probe.validation)):
        np.testing.assert_allclose(found.predictions[place], model(half.x), atol=1e-5)
        np.testing.assert_allclose(found.losses[place], SOFTMAX.call(half.y, model(half.x)), atol=1e-5)
    assert found.gram is None


@pytest.mark.parametrize("block_size", [1, 2, 5, 8, 13, 100])
def test_unbalanced_classes_in_blocks_of_any_size(case, block_size):
    model, probe, gram = case
    check(model, probe, gram, block_size=block_size)


@pytest.mark.parametrize("num_resident", [4, 8, 12])
def test_features_that_do_not_fit_are_computed_again(case, num_resident, monkeypatch):
    model, probe, gram = case
    plan = plan_for(model, probe.train.x, probe.train.y, loss=SOFTMAX, options=GradientOptions(precision="float64"))
    calls = []
    compute = plan.factors
    monkeypatch.setattr(plan, "factors", lambda *arguments: calls.append(1) or compute(*arguments))
    num_blocks = len(prepared(probe, 4).blocks)
    check(model, probe, gram, block_size=4)
    assert len(calls) == num_blocks
    calls.clear()
    check(model, probe, gram, block_size=4, num_resident=num_resident)
    window = num_resident // 4
    expected = sum(num_blocks - start for start in range(0, num_blocks, window))
    assert num_blocks < len(calls) == expected


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("num_resident", [None, 4])
def test_pairs_added_up_some_at_a_time(case, is_kept, num_resident, monkeypatch):
    model, _, gram = case
    monkeypatch.setattr("tfstiff.stiffness.tile_pairs.PIECE", 7)
    if not is_kept:
        monkeypatch.setattr("tfstiff.stiffness.pairs.KEPT_PAIRS", 5)
    # Edges from the same distances, whatever is kept; a probe of its own, of which nothing is.
    check(model, probe_of(examples()), gram, block_size=4, num_resident=num_resident)


def blas_threads():
    return [library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"]


def test_numpy_multiplies_in_one_thread_meanwhile_and_in_as_many_as_before_afterwards(case, monkeypatch):
    model, probe, _ = case
    seen, tile = [], ComparedPairs.tile
    monkeypatch.setattr(ComparedPairs, "tile", lambda self, place: seen.append(blas_threads()) or tile(self, place))
    with threadpoolctl.threadpool_limits(2, "blas"):
        before = blas_threads()
        passed(model, probe, block_size=4)
        assert blas_threads() == before
    assert seen
    assert all(set(threads) == {1} for threads in seen)


@pytest.mark.parametrize("block_size", [4, 100])
def test_what_fails_beside_the_device_is_told(case, monkeypatch, block_size):
    model, probe, gram = case
    add, calls = PairTotals.add, []

    def failing(self, *arguments):
        calls.append(threading.current_thread())
        if len(calls) == 2:
            raise MemoryError("no room")
        add(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(PairTotals, "add", failing)
        with pytest.raises(MemoryError, match="no room"):
            passed(model, probe, block_size=block_size)
    assert threading.main_thread() not in calls
    assert not any(thread.is_alive() for thread in calls)
    check(model, probe, gram, block_size=block_size)


@pytest.mark.parametrize("num_resident", [None, 4])
@pytest.mark.parametrize("pair_sets", [("train_train",), ("val_val",), ("train_val",), ("val_val", "train_train")])
def test_some_pair_sets(case, pair_sets, num_resident):
    model, probe, gram = case
    found = check(model, probe, gram, pair_sets=pair_sets, block_size=4, num_resident=num_resident)
    assert tuple(found.pair_sets[WHOLE]) == pair_sets


@pytest.mark.parametrize("compared", ["within", "between", "all"])
@pytest.mark.parametrize("binning", ["equal_width", "quantile"])
def test_other_distances_pairs_and_bins(case, compared, binning):
    model, probe, gram = case
    options = DistanceOptions("l2", compared, binning, 4)
    check(model, probe, gram, options=options, block_size=5)


def test_regression_targets():
    rng = np.random.default_rng(3)
    splits = [(x, rng.normal(size=(len(x), 2)).astype("float32")) for x, _ in examples()]
    check(classifier(2), probe_of(splits), loss="mse", block_size=6)


def test_half_of_one_example():
    check(classifier(), probe_of(examples(([2], [1, 1, 3])), class_names=list("abcd")))


def test_inputs_that_are_duplicates():
    splits = examples()
    splits[0][0][4] = splits[0][0][0]
    splits[1][0][2] = splits[0][0][0]
    found = check(classifier(), probe_of(splits, class_names=list("abcd")), block_size=4)
    assert found.pair_sets[WHOLE]["train_val"].distance["input"].num_duplicates == 2


def with_loss(factors):
    """Each example's loss times a factor that stands behind its label."""
    return lambda y, prediction: SOFTMAX.call(y[:, 0], prediction) * y[:, 1]


def weighted(probe_splits, factors):
    return [
        (x, np.stack([y, np.resize(some, len(y))], 1).astype("float32"))
        for (x, y), some in zip(probe_splits, factors, strict=True)
    ]


@pytest.mark.parametrize("block_size", [4, 100])
def test_zero_gradients(block_size):
    splits = examples()
    probe = probe_of(
        weighted(splits, ([1, 0, 1, 1], [1, 1, 0])), classes=[y for _, y in splits], class_names=list("abcd")
    )
    found = check(classifier(), probe, loss=with_loss(None), block_size=block_size)
    assert found.pair_sets[WHOLE]["train_train"].num_zero > 0
    check(classifier(), probe_of(weighted(splits, ([0], [0])), classes=[y for _, y in splits]), loss=with_loss(None))


@pytest.mark.parametrize(
    ("block_size", "bad", "num_resident"), [(1, np.nan, None), (4, np.inf, None), (4, np.nan, 4), (100, np.inf, None)]
)
def test_gradients_that_are_not_finite(block_size, bad, num_resident):
    splits = examples()
    splits[0][0][5], splits[1][0][7, 2] = bad, bad
    probe, model = probe_of(splits, class_names=list("abcd")), classifier()
    gram = one_by_one(model, probe)
    assert np.isnan(np.diag(gram)).sum() == 2
    found = passed(model, probe, block_size=block_size, num_resident=num_resident, keep_gram=True)
    good = ~np.isnan(np.diag(gram))
    for name in PAIR_SETS:
        assert_same(found.pair_sets[WHOLE][name], expected_sums(gram, probe, name))
    assert [int((~np.isfinite(norms)).sum()) for norms in found.norms] == [1, 1]
    largest = gram[np.ix_(good, good)].max()
    np.testing.assert_allclose(found.gram[np.ix_(good, good)], gram[np.ix_(good, good)], atol=1e-6 * largest)


def test_the_smallest_cosine_where_all_are_positive_and_one_example_is_not_finite():
    rng = np.random.default_rng(0)
    x = np.abs(rng.normal(size=(8, 3))).astype("float32")
    x[2] = np.nan
    y = np.full((8, 1), 9.0, "float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    found = passed(model, probe_of([(x, y), (x, y)]), loss="mse", options=DistanceOptions())
    for name in PAIR_SETS:
        assert found.pair_sets[WHOLE][name].smallest_cosine > 0.1


@pytest.mark.parametrize("num_resident", [None, 4])
def test_each_layer_by_itself(case, num_resident):
    model, probe, _ = case
    found = passed(model, probe, per_layer=True, block_size=4, num_resident=num_resident)
    grams = one_by_one(model, probe, per_layer=True)
    assert found.pair_sets.keys() == {WHOLE, *grams}
    for layer, gram in grams.items():
        for name in PAIR_SETS:
            assert_same(found.pair_sets[layer][name], expected_sums(gram, probe, name))


def test_a_layer_that_no_loss_depends_on():
    keras.utils.set_random_seed(0)
    model = classifier()
    model.add(Aside())
    probe = probe_of(examples(), class_names=list("abcd"))
    found = passed(model, probe, per_layer=True)
    grams = one_by_one(model, probe, per_layer=True)
    assert sum(not gram.any() for gram in grams.values()) == 1
    for layer, gram in grams.items():
        assert_same(found.pair_sets[layer]["train_val"], expected_sums(gram, probe, "train_val"))


class Aside(keras.layers.Layer):
    """Has a weight that nothing depends on."""

    def build(self, _):
        self.add_weight(name="idle", shape=(3,))

    def call(self, x):
        return x


@pytest.mark.parametrize("block_size", [1, 5, 100])
@pytest.mark.parametrize("num_resident", [None, 5])
def test_the_gram_that_is_kept(case, block_size, num_resident):
    model, probe, gram = case
    found = passed(model, probe, keep_gram=True, block_size=block_size, num_resident=num_resident)
    assert found.gram.dtype == np.float32
    np.testing.assert_array_equal(found.gram, found.gram.T)
    np.testing.assert_allclose(found.gram, gram, atol=1e-6 * gram.max())
    np.testing.assert_allclose(
        found.gram, gradient_gram(model, *both_halves(probe), loss=SOFTMAX), atol=1e-6 * gram.max()
    )


def test_several_inputs():
    keras.utils.set_random_seed(0)
    one, two = keras.Input((3,), name="one"), keras.Input((4, 2), name="two")
    hidden = keras.layers.Concatenate()([one, keras.layers.Flatten()(keras.layers.Dense(3)(two))])
    model = keras.Model({"one": one, "two": two}, keras.layers.Dense(4)(hidden))
    rng = np.random.default_rng(1)
    splits = [
        ({"one": rng.normal(size=(len(y), 3)).astype("float32"), "two": rng.normal(size=(len(y), 4, 2))}, y)
        for y in map(np.array, UNBALANCED)
    ]
    splits = [(keras.tree.map_structure(lambda part: part.astype("float32"), x), y) for x, y in splits]
    check(model, probe_of(splits, class_names=list("abcd")), block_size=4)


@pytest.mark.parametrize("positions", [1, 3])
def test_look_ups_and_products_that_are_known_from_before(positions):
    """The products of rows that depend on the examples alone are kept; weights that change must change the rest."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((positions,), dtype="int32"), layers.Embedding(90, 40), layers.Flatten(),
            layers.Dense(8, activation="tanh"), layers.Dense(4),
        ]
    )  # fmt: skip
    rng = np.random.default_rng(0)
    splits = [(rng.integers(0, 6, (len(y), positions)).astype("int32"), np.array(y)) for y in UNBALANCED]
    probe = probe_of(splits, class_names=list("abcd"))
    options = DistanceOptions("l2", "all", num_bins=5)
    assert any(
        plan_for(
            model, *splits[0], loss=SOFTMAX, options=GradientOptions(precision="float64"), num_examples=21
        ).layout.fixed
    )
    for _ in range(2):
        check(model, probe, options=options, block_size=4)
        for weight in model.trainable_weights:
            weight.assign(weight + 0.3 * rng.normal(size=weight.shape))


def test_frozen_weights_that_are_changed():
    """What depends on a frozen weight is not fixed: it may be set."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    rng = np.random.default_rng(0)
    frozen = layers.Embedding(6, 5, trainable=False)
    dense = layers.Dense(5, activation="tanh", trainable=False)
    model = keras.Sequential(
        [
            keras.Input((1,), dtype="int32"), frozen, layers.Flatten(), layers.BatchNormalization(trainable=False),
            dense, layers.Dense(4),
        ]
    )  # fmt: skip
    splits = [(rng.integers(0, 6, (len(y), 1)).astype("int32"), np.array(y)) for y in UNBALANCED]
    probe = probe_of(splits, class_names=list("abcd"))
    options = DistanceOptions("l2", "all", num_bins=5)
    check(model, probe, options=options)
    for layer in (frozen, dense):
        layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
        check(model, probe, options=options)


def test_independent_of_the_order_of_examples(case):
    model, probe, gram = case
    splits = examples()
    rng = np.random.default_rng(5)
    orders = [rng.permutation(len(y)) for _, y in splits]
    other = probe_of([(x[order], y[order]) for (x, y), order in zip(splits, orders, strict=True)], class_names="abcd")
    found = passed(model, other, block_size=4)
    whole = np.concatenate([orders[0], len(orders[0]) + orders[1]])
    for name in PAIR_SETS:
        assert_same(found.pair_sets[WHOLE][name], expected_sums(gram[np.ix_(whole, whole)], other, name))
        again, once = (passed(model, part).pair_sets[WHOLE][name] for part in (other, probe))
        np.testing.assert_allclose(again.values["cosine"].squares, once.values["cosine"].squares, atol=1e-9)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_independent_of_the_scale_of_the_loss(case, factor):
    model, probe, gram = case
    found = passed(model, probe, loss=lambda y, p: tf.constant(factor, p.dtype) * SOFTMAX.call(y, p), block_size=5)
    for name in PAIR_SETS:
        assert_same(found.pair_sets[WHOLE][name], expected_sums(gram * factor**2, probe, name))


def test_single_precision(case):
    """In float32 all cosines are within rounding."""
    double, probe, gram = case
    count = len(gram)
    keras.config.set_dtype_policy("float32")
    model = classifier()
    model.set_weights(double.get_weights())
    keras.config.set_dtype_policy("float64")
    plan = plan_for(model, probe.train.x, probe.train.y, loss=SOFTMAX, num_examples=count)
    ready = prepared(probe, 6)
    compared = {"input": {name: ready.compared(name, None, DistanceOptions(num_bins=5)) for name in PAIR_SETS}}
    found = ProbePass(plan, ready, MemoryPlan(6, count, 0), PAIR_SETS, compared).run()
    for name in PAIR_SETS:
        assert_same(found.pair_sets[WHOLE][name], expected_sums(gram, probe, name), tolerance=2e-5)


def squared(y, prediction):
    return keras.ops.sum((y - prediction) ** 2, -1)


@pytest.mark.parametrize("factor", [1e12, 1e-12, 1e22, 1e-22])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_gradients_of_very_different_lengths(factor, precision):
    rng = np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    model.layers[0].kernel.assign(np.zeros((3, 2)))
    x = rng.normal(size=(12, 3)).astype("float32")
    y = rng.normal(size=(12, 2)) * np.where(np.arange(12) < 6, 1.0, factor)[:, None]
    y = y.astype("float32")
    probe = Probe.from_arrays(train=(x, y), validation=(x[::-1].copy(), y[::-1].copy()), size=None)
    plan = plan_for(model, x, y, loss=squared, options=GradientOptions(precision=precision), num_examples=24)
    ready = prepared(probe, 2)
    compared = {"input": {n: ready.compared(n, None, DistanceOptions(num_bins=5)) for n in PAIR_SETS}}
    found = ProbePass(plan, ready, MemoryPlan(2, 2, 0), PAIR_SETS, compared).run().pair_sets[WHOLE]
    g = (-2 * y.astype(float)[:, None, :] * x.astype(float)[:, :, None]).reshape(12, -1)
    for name, (one, two) in {"train_train": (g, g), "train_val": (g, g[::-1]), "val_val": (g[::-1], g[::-1])}.items():
        products = one @ two.T
        if name != "train_val":
            np.fill_diagonal(products, 0)
        sums = found[name].products
        unit = found[name].unit
        size = np.abs(products).sum(1)
        error = np.abs(sums.rows[:, 0] * unit**2 - products.sum(1)) / size
        assert np.isfinite(sums.squares).all(), (name, sums.squares)
        assert error.max() < 1e-5, (name, error, unit)
        np.testing.assert_allclose(sums.squares[0, 0] * unit**4, (products**2).sum(), rtol=1e-5)
