import warnings

import hypothesis.strategies as st
import numpy as np
import plain_pairs as plain
import pytest
from hypothesis import example, given, settings

from tfstiff.records.measurement import CRITICAL_LENGTH_STATUSES
from tfstiff.stiffness import make_pairs, pair_set_stiffness

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


def gram_and_norms(gradients, gradients2):
    with np.errstate(invalid="ignore"):
        return gradients @ gradients2.T, *(np.sqrt((g * g).sum(1)) for g in (gradients, gradients2))


def estimate(problem):
    (gradients, x, y), columns, num_classes = problem
    pairs = make_pairs((x, y), None if columns is None else columns[1:], num_classes)
    gram, norms, norms2 = gram_and_norms(gradients, gradients if columns is None else columns[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pair_set_stiffness(gram, norms, norms2, pairs), pairs


def both(problem):
    first, second, _ = problem
    return first, (first if second is None else second), second is None


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6, equal_nan=True)


@settings(deadline=None, max_examples=150)
@given(problems())
def test_class_matrices_are_means_over_pairs(problem):
    (g, _, y), (g2, _, y2), is_symmetric = both(problem)
    found, _ = estimate(problem)
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
    found, _ = estimate(problem)
    counted = plain.pairs_counted(g, g2, is_symmetric)
    same(found.mean_sign, plain.mean(plain.sign_of(g[i], g2[j]) for i, j in counted))
    same(found.mean_cosine, plain.mean(plain.cosine_of(g[i], g2[j]) for i, j in counted))
    if problem[2] is None:
        assert found.sign is found.cosine is found.pair_counts is None


@settings(deadline=None, max_examples=150)
@given(st.one_of(problems(), problems(has_classes=False)))
def test_pairs_and_profile(problem):
    (g, x, y), (g2, x2, y2), is_symmetric = both(problem)
    found, pairs = estimate(problem)
    none = problem[2] is None
    near = plain.near_pairs([0] * len(x) if none else y, [0] * len(x2) if none else y2, is_symmetric)
    assert [divmod(flat, len(x2)) for flat in pairs.near.tolist()] == near
    np.testing.assert_allclose(pairs.distance, [plain.distance_of(x[i], x2[j]) for i, j in near], rtol=0, atol=1e-12)
    assert ((pairs.distance >= 0) & (pairs.distance <= 2)).all()
    edges, profile = pairs.edges, found.distance_profile
    assert len(edges) == len(profile.mean) + 1 == len(profile.count) + 1 == 21
    if near:
        np.testing.assert_allclose(edges, np.linspace(pairs.distance.min(), pairs.distance.max(), 21), atol=1e-15)
    np.testing.assert_array_equal(profile.edges, edges)
    finite = [k for k, (i, j) in enumerate(near) if plain.is_finite(g[i]) and plain.is_finite(g2[j])]
    has_width = near and edges[0] < edges[-1]
    for place in range(20 if has_width else 0):
        low, high = edges[place], edges[place + 1]
        last = place == 19
        inside = [k for k in finite if low <= pairs.distance[k] and (pairs.distance[k] < high or last)]
        assert profile.count[place] == len(inside)
        same(profile.mean[place], plain.mean(plain.cosine_of(g[near[k][0]], g2[near[k][1]]) for k in inside))
    assert profile.count.sum() == found.critical_length.num_pairs == len(finite)


@settings(deadline=None, max_examples=150)
@given(st.one_of(problems(), problems(has_classes=False)))
def test_the_line_is_that_of_polyfit(problem):
    (g, _, _), (g2, x2, _), _ = both(problem)
    found, pairs = estimate(problem)
    pairs_at = [divmod(flat, len(x2)) for flat in pairs.near.tolist()]
    kept = [k for k, (i, j) in enumerate(pairs_at) if plain.is_finite(g[i]) and plain.is_finite(g2[j])]
    distance = pairs.distance[kept]
    length = found.critical_length
    assert length.status in CRITICAL_LENGTH_STATUSES
    if len(kept) < 2 or np.ptp(distance) < 1e-9:
        assert (length.status, np.isnan(length.value)) == ("too_few_pairs", True)
        return
    cosine = [plain.cosine_of(g[pairs_at[k][0]], g2[pairs_at[k][1]]) for k in kept]
    slope, intercept = np.polyfit(distance, cosine, 1)
    np.testing.assert_allclose([length.slope, length.intercept], [slope, intercept], rtol=1e-5, atol=1e-4)
    assert (length.distance_min, length.distance_max) == (distance.min(), distance.max())
    if length.slope < 0:
        assert length.value == -length.intercept / length.slope
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
    return estimate((first, (gradients2, x2, np.zeros(len(x2), int)), num_classes))[0]


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


@pytest.mark.parametrize("scales", [np.ones(6), np.array([1, 2, 3, 5, 7, 11])])
def test_inputs_in_one_direction_have_distance_0_and_no_line(scales):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 7)) * scales[:, None]
    gradients = rng.normal(size=(6, 3)).astype(np.float32)
    found, pairs = estimate(((gradients, x, np.zeros(6, int)), None, 1))
    np.testing.assert_allclose(pairs.distance, 0, atol=1e-15)
    assert found.critical_length.status == "too_few_pairs"


def test_a_distance_on_an_edge_falls_into_the_bin_above_and_the_largest_into_the_last():
    x = np.array([[1.0, 0]])
    x2 = np.array([[1.0, 0], [0, 1], [0, 2], [-1, 0]])  # distances 0, 1, 1, 2: edges of the 20 bins between 0 and 2
    gradients2 = np.array([[1.0, 0], [1, 0], [-1, 0], [-1, 0]])
    found, _ = estimate(((x, x, None), (gradients2, x2, None), None))
    assert np.flatnonzero(found.distance_profile.count).tolist() == [0, 10, 19]
    assert found.distance_profile.count[10] == 2
    assert found.distance_profile.mean[[0, 10, 19]].tolist() == [1, 0, -1]


def test_distances_stay_within_0_and_2():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    pairs = make_pairs((np.concatenate([x, 3 * x, -x]), None), None, None)
    assert (pairs.distance.min(), pairs.distance.max()) == (0, 2)


def test_absent_and_single_classes_are_nan_and_left_out():
    gradients = np.array([[1.0, 0], [1, 0], [-1, 0]], np.float32)
    found, _ = estimate(((gradients, gradients, np.array([0, 0, 2])), None, 4))
    expected = np.full((4, 4), np.nan)
    expected[0, 0], expected[0, 2], expected[2, 0] = 1, -1, -1
    np.testing.assert_array_equal(found.sign.matrix, expected)
    assert (found.sign.within, found.sign.between) == (1, -1)


def test_macro_and_pair_weighted_means_differ_where_classes_do():
    gradients = np.array([[1.0, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, -1]], np.float32)
    found, _ = estimate(((gradients, gradients, np.array([0, 0, 0, 0, 1, 1])), None, 2))
    assert found.sign.within == 0  # (1 − 1) / 2
    assert found.sign.within_pairs == pytest.approx((12 - 2) / 14)


def test_zero_gradients_count_as_0():
    gradients = np.array([[1.0, 0], [1, 0], [0, 0]], np.float32)
    found, _ = estimate(((gradients, gradients + 1, np.zeros(3, int)), None, 1))
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
    one, _ = estimate(((gradients, x, classes), None, 2))
    two, _ = estimate(((gradients * scales, x, classes), None, 2))
    np.testing.assert_array_equal(one.sign.matrix, two.sign.matrix)
    same(one.cosine.matrix, two.cosine.matrix)


def test_a_pair_set_and_its_mirror_image():
    rng = np.random.default_rng(4)
    halves = [(rng.normal(size=(n, 4)), rng.normal(size=(n, 3)), rng.integers(0, 3, n)) for n in (7, 5)]
    one, _ = estimate((halves[0], halves[1], 3))
    two, _ = estimate((halves[1], halves[0], 3))
    same(one.cosine.matrix, two.cosine.matrix.T)
    assert one.pair_counts.tolist() == two.pair_counts.T.tolist()
    same(one.critical_length.value, two.critical_length.value)


def test_zero_products_and_uncertain_signs_are_counted():
    gradients = np.array([[1, 0], [0, 1], [1, 3e-7], [0, 0]], np.float32)
    gram, norms = gradients @ gradients.T, np.linalg.norm(gradients, axis=1)
    x = np.random.default_rng(0).normal(size=(4, 3))
    within = pair_set_stiffness(gram, norms, norms, make_pairs((x, None), None, None))
    # Each pair once: (0, 1) and the three with the zero gradient; and (1, 2), whose cosine is 3e-7.
    assert (within.num_zero, within.num_uncertain_signs) == (4, 1)
    across = pair_set_stiffness(gram, norms, norms, make_pairs((x, None), (x, None), None))
    assert (across.num_zero, across.num_uncertain_signs) == (2 + 7, 2)
