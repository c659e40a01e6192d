import warnings

import hypothesis.strategies as st
import numpy as np
import plain_pairs as plain
import pytest
from hypothesis import example, given, settings
from oracles.direct import Space, compared_pairs, sums_of

from tfstiff.records.pair_set import CRITICAL_LENGTH_STATUSES
from tfstiff.stiffness import pair_set_stiffness

ENTRIES = st.sampled_from([-2.0, -1.0, 0.0, 0.0, 1.0, 2.0])  # small whole numbers: their products are exact
INPUTS = st.integers(-3, 3).map(float)


def rows(count, entry):
    return st.lists(st.lists(entry, min_size=3, max_size=3), min_size=count, max_size=count)


@st.composite
def problems(draw, has_classes=True):
    """(gradients, inputs, classes) of rows and of columns; the columns are None for a symmetric pair set."""
    num_classes = draw(st.integers(1, 4)) if has_classes else None
    halves = []
    for _ in range(draw(st.integers(1, 2))):
        count = draw(st.integers(1, 9))
        gradients = np.array(draw(rows(count, ENTRIES)), np.float32)
        for index in draw(st.sets(st.integers(0, count - 1), max_size=2)):
            gradients[index, 1] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        classes = (
            draw(st.lists(st.integers(0, num_classes - 1), min_size=count, max_size=count)) if num_classes else None
        )
        inputs = np.array(draw(rows(count, INPUTS)), np.float32)
        halves.append((gradients, inputs, None if classes is None else np.array(classes)))
    return halves[0], halves[1] if len(halves) == 2 else None, num_classes


def sums(problem, **space):
    (gradients, x, y), columns, num_classes = problem
    gradients2, x2, y2 = (gradients, x, y) if columns is None else columns
    with np.errstate(invalid="ignore"):
        gram, norms = gradients @ gradients2.T, tuple(np.sqrt((g * g).sum(1)) for g in (gradients, gradients2))
    y, y2 = (np.zeros(len(g), int) if num_classes is None else c for g, c in ((gradients, y), (gradients2, y2)))
    distances = np.array([[plain.distance_of(a, b) for b in x2] for a in x]).reshape(len(x), len(x2))
    return sums_of(
        gram,
        y,
        None if columns is None else y2,
        norms=norms,
        num_classes=num_classes or 1,
        spaces={"input": Space(distances, **space)},
    )


def estimate(problem, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pair_set_stiffness(sums(problem), has_classes=problem[2] is not None, **options)


def both(problem):
    first, second, _ = problem
    return first, (first if second is None else second), second is None


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6, equal_nan=True)


@settings(deadline=None, max_examples=150)
@given(problems())
def test_class_matrices_are_means_over_pairs(problem):
    (g, _, y), (g2, _, y2), is_symmetric = both(problem)
    found = estimate(problem)
    classes = range(problem[2])
    for by_class, metric in ((found.sign, plain.sign_of), (found.cosine, plain.cosine_of)):
        cells = plain.cells(g, y, g2, y2, problem[2], is_symmetric, metric)
        same(by_class.matrix, [[plain.mean(cells[a, b]) for b in classes] for a in classes])
        assert found.pair_counts.tolist() == [[len(cells[a, b]) for b in classes] for a in classes]
        for name, inside in (("within", True), ("between", False)):
            chosen = [values for (a, b), values in cells.items() if (a == b) is inside]
            same(getattr(by_class, name), plain.mean(plain.mean(values) for values in chosen if values))
            same(getattr(by_class, f"{name}_pairs"), plain.mean(value for values in chosen for value in values))


@settings(deadline=None, max_examples=100)
@given(st.one_of(problems(), problems(has_classes=False)))
def test_means_over_all_pairs(problem):
    (g, _, _), (g2, _, _), is_symmetric = both(problem)
    found = estimate(problem)
    counted = plain.pairs_counted(g, g2, is_symmetric)
    same(found.mean_sign, plain.mean(plain.sign_of(g[i], g2[j]) for i, j in counted))
    same(found.mean_cosine, plain.mean(plain.cosine_of(g[i], g2[j]) for i, j in counted))
    if problem[2] is None:
        assert found.sign is found.cosine is found.pair_counts is None


def near_distances(problem):
    """Pairs of the same class whose gradients are finite, and their distances."""
    (g, x, y), (g2, x2, y2), is_symmetric = both(problem)
    none = problem[2] is None
    near = plain.near_pairs([0] * len(x) if none else y, [0] * len(x2) if none else y2, is_symmetric)
    near = [(i, j) for i, j in near if plain.is_finite(g[i]) and plain.is_finite(g2[j])]
    return near, np.array([plain.distance_of(x[i], x2[j]) for i, j in near])


@settings(deadline=None, max_examples=150)
@given(st.one_of(problems(), problems(has_classes=False)))
def test_the_profile_is_of_means_in_bins(problem):
    (g, _, _), (g2, _, _), _ = both(problem)
    near, distance = near_distances(problem)
    found = estimate(problem)
    profile = found.distance_profile
    assert len(profile.edges) == len(profile.mean) + 1 == len(profile.count) + 1 == 21
    assert profile.count.sum() == found.critical_length.num_pairs == len(near)
    edges = profile.edges
    for place in range(20 if near and edges[0] < edges[-1] else 0):
        last = place == 19
        inside = [
            pair for pair, d in zip(near, distance, strict=True) if edges[place] <= d and (d < edges[place + 1] or last)
        ]
        assert profile.count[place] == len(inside)
        shift = 0 if problem[1] is None else len(g)
        assert profile.num_examples[place] == len({i for i, _ in inside} | {shift + j for _, j in inside})
        same(profile.mean[place], plain.mean(plain.cosine_of(g[i], g2[j]) for i, j in inside))
        same(profile.mean_sign[place], plain.mean(plain.sign_of(g[i], g2[j]) for i, j in inside))


@settings(deadline=None, max_examples=150)
@given(st.one_of(problems(), problems(has_classes=False)))
def test_the_line_is_that_of_polyfit(problem):
    (g, _, _), (g2, _, _), _ = both(problem)
    near, distance = near_distances(problem)
    length = estimate(problem).critical_length
    assert length.status in CRITICAL_LENGTH_STATUSES
    if len(near) < 2 or np.ptp(distance) < 1e-9:
        assert (length.status, np.isnan(length.value)) == ("too_few_pairs", True)
        return
    cosine = [plain.cosine_of(g[i], g2[j]) for i, j in near]
    slope, intercept = np.polyfit(distance, cosine, 1)
    np.testing.assert_allclose([length.slope, length.intercept], [slope, intercept], rtol=1e-5, atol=1e-4)
    assert (length.distance_min, length.distance_max) == (distance.min(), distance.max())
    if length.slope < 0:
        assert length.value == pytest.approx(-length.intercept / length.slope)
    else:
        assert np.isnan(length.value)
        assert length.status == "no_decay"


def along(distances, cosines, num_classes=1):
    """A rectangular pair set: one row; columns at given distances whose gradients have given cosines with the row's."""
    angle = np.arccos(1 - np.asarray(distances, float))
    x2 = np.stack([np.cos(angle), np.sin(angle)], 1)
    turn = np.arccos(np.asarray(cosines, float))
    gradients2 = np.stack([np.cos(turn), np.sin(turn)], 1)
    first = (np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]), np.array([0]))
    return estimate((first, (gradients2, x2, np.zeros(len(x2), int)), num_classes))


@pytest.mark.parametrize(
    ("distances", "cosines", "status", "value"),
    [
        ([0.1, 0.5, 0.9], [0.4, 0.0, -0.4], "ok", 0.5),
        ([0.1, 0.2, 0.3], [0.5, 0.4, 0.3], "extrapolated", 0.6),
        ([0.1, 0.2, 0.3], [0.9, 0.88, 0.86], "beyond", 4.6),
        ([0.5, 0.6, 0.7], [-0.1, -0.2, -0.3], "all_nonpositive", 0.4),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], "no_decay", np.nan),
        ([0.3, 0.3, 0.3], [0.5, 0.4, 0.3], "too_few_pairs", np.nan),
        ([0.3], [0.5], "too_few_pairs", np.nan),
        ([0.0, 0.5], [-0.1, -0.5], "all_nonpositive", -0.125),  # a zero below every distance there is, unclipped
    ],
)
def test_every_status(distances, cosines, status, value):
    length = along(distances, cosines).critical_length
    assert length.status == status
    np.testing.assert_allclose(length.value, value, atol=1e-9, equal_nan=True)
    assert length.num_pairs == len(distances)


def test_a_distance_on_an_edge_falls_into_the_bin_above_and_the_largest_into_the_last():
    x = np.array([[1.0, 0]])
    x2 = np.array([[1.0, 0], [0, 1], [0, 2], [-1, 0]])  # distances 0, 1, 1, 2: edges of the 20 bins between 0 and 2
    gradients2 = np.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    found = estimate(((x, x, None), (gradients2, x2, None), None))
    assert np.flatnonzero(found.distance_profile.count).tolist() == [0, 10, 19]
    assert found.distance_profile.count[10] == 2
    assert found.distance_profile.mean[[0, 10, 19]].tolist() == [1, 0, -1]


def test_absent_and_single_classes_are_nan_and_left_out():
    gradients = np.array([[1.0, 0], [1, 0], [-1, 0]], np.float32)
    found = estimate(((gradients, gradients, np.array([0, 0, 2])), None, 4))
    expected = np.full((4, 4), np.nan)
    expected[0, 0], expected[0, 2], expected[2, 0] = 1, -1, -1
    np.testing.assert_array_equal(found.sign.matrix, expected)
    assert (found.sign.within, found.sign.between) == (1, -1)


def test_macro_and_pair_weighted_means_differ_where_classes_do():
    gradients = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, -1]], np.float32)
    found = estimate(((gradients, gradients, np.array([0, 0, 0, 0, 1, 1])), None, 2))
    assert found.sign.within == 0  # (1 − 1) / 2
    assert found.sign.within_pairs == pytest.approx((12 - 2) / 14)


def test_zero_gradients_count_as_0():
    gradients = np.array([[1.0, 0], [1, 0], [0, 0]], np.float32)
    found = estimate(((gradients, gradients + 1, np.zeros(3, int)), None, 1))
    assert found.sign.within == pytest.approx(2 / 6)
    assert found.cosine.within == pytest.approx(2 / 6)
    assert found.pair_counts.tolist() == [[6]]


@example(1.0)
@settings(deadline=None, max_examples=30)
@given(st.floats(1e-3, 1e3))
def test_positive_scale_of_each_example_changes_nothing(largest):
    rng = np.random.default_rng(3)
    gradients, x = rng.normal(size=(8, 4)), rng.normal(size=(8, 3))
    classes = rng.integers(0, 2, 8)
    scales = rng.uniform(1e-3, largest + 1e-3, (8, 1))
    one = estimate(((gradients, x, classes), None, 2))
    two = estimate(((gradients * scales, x, classes), None, 2))
    np.testing.assert_array_equal(one.sign.matrix, two.sign.matrix)
    same(one.cosine.matrix, two.cosine.matrix)


def test_a_pair_set_and_its_mirror_image():
    rng = np.random.default_rng(4)
    halves = [(rng.normal(size=(n, 4)), rng.normal(size=(n, 3)), rng.integers(0, 3, n)) for n in (7, 5)]
    one = estimate((halves[0], halves[1], 3))
    two = estimate((halves[1], halves[0], 3))
    same(one.cosine.matrix, two.cosine.matrix.T)
    assert one.pair_counts.tolist() == two.pair_counts.T.tolist()
    same(one.critical_length.value, two.critical_length.value)


def test_zero_products_and_uncertain_signs_are_counted():
    gradients = np.array([[1, 0], [0, 1], [1, 3e-7], [0, 0]], np.float32)
    x = np.random.default_rng(0).normal(size=(4, 3))
    within = estimate(((gradients, x, None), None, None))
    # Each pair once: (0, 1) and the three with the zero gradient; and (1, 2), whose cosine is 3e-7.
    assert (within.num_zero, within.num_uncertain_signs) == (4, 1)
    across = estimate(((gradients, x, None), (gradients, x, None), None))
    assert (across.num_zero, across.num_uncertain_signs) == (2 + 7, 2)


@pytest.mark.parametrize("compared", ["within", "between", "all"])
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_which_pairs_are_compared_and_duplicates(compared, is_symmetric):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(9, 3))
    x[4] = x[0]
    halves = [(rng.normal(size=(9, 4)), x, np.arange(9) % 2) for _ in range(1 if is_symmetric else 2)]
    problem = (halves[0], None if is_symmetric else halves[1], 2)
    found = sums(problem, compared=compared, duplicate_tolerance=1e-9)
    y = halves[0][2]
    pairs = {(i, j) for i in range(9) for j in range(9) if not is_symmetric or i < j}
    wanted = {"within": lambda i, j: y[i] == y[j], "between": lambda i, j: y[i] != y[j], "all": lambda i, j: True}
    chosen = {pair for pair in pairs if wanted[compared](*pair)}
    duplicates = {(i, j) for i, j in chosen if i == j or {i, j} == {0, 4}}
    distance = found.distance["input"]
    assert distance.num_duplicates == len(duplicates)
    assert distance.group_moments[:, 0].sum() == len(chosen - duplicates)
    assert len(distance.group_moments) == (2 if compared == "within" else 1)
    space = Space(np.array([[plain.distance_of(a, b) for b in x] for a in x]), compared, None, 1e-9)
    assert set(zip(*compared_pairs(space, y, None if is_symmetric else y), strict=True)) == chosen - duplicates
