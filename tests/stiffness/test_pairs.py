"""Compared pairs, a tile at a time, against all pairs one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfstiff.errors import InvalidInput
from tfstiff.stiffness import pairs, pairwise, tile_pairs
from tfstiff.stiffness.pairs import COMPARED, ComparedPairs, DistanceOptions, Points
from tfstiff.stiffness.pairwise import DISTANCES, cosine_distance

NUM_CLASSES = 4
BINS = 6


def points(count, seed=0, num_classes=NUM_CLASSES - 1, width=5):  # no example of the last class
    rng = np.random.default_rng(seed)
    return Points(rng.normal(size=(count, width)), rng.integers(0, num_classes, count), np.ones(count, bool))


def blocks_of(classes, size):
    order = np.argsort(classes, kind="stable")
    return [order[start : start + size] for start in range(0, len(order), size)]


def compared(rows, columns=None, block_size=4, num_classes=NUM_CLASSES, **options):
    first = blocks_of(rows.classes, block_size)
    if columns is None:
        tiles = [(a, b) for place, a in enumerate(first) for b in first[place:]]
    else:
        tiles = [(a, b) for a in first for b in blocks_of(columns.classes, block_size)]
    made = ComparedPairs(rows, columns, num_classes, tiles, DistanceOptions(**{"num_bins": BINS} | options))
    return made, tiles


def distance_between(x, x2, kind):
    """Of two vectors, and the share by which duplicates are known."""
    if not (np.isfinite(x).all() and np.isfinite(x2).all()):
        return np.nan, np.nan
    if kind == "l1":
        return np.abs(x - x2).sum(), np.abs(x - x2).sum()
    if kind == "l2":
        return np.sqrt(((x - x2) ** 2).sum()), np.sqrt(((x - x2) ** 2).sum())
    lengths = np.sqrt((x @ x) * (x2 @ x2))
    cosine = min(x @ x2 / lengths, 1.0) if lengths else 0.0  # rounding puts some of duplicates beyond 1
    return (1 - cosine, 1 - cosine) if kind == "cosine" else (cosine, 1 - cosine)


def one_by_one(rows, columns, kind="cosine", which="within", tolerance=1e-6):
    """{(i, j): distance} of the compared pairs, and the number of duplicates."""
    other = rows if columns is None else columns
    unit = 1.0
    if kind in ("l1", "l2"):
        vectors = np.concatenate([rows.vectors, other.vectors])
        vectors = vectors[np.isfinite(vectors).all(1)]
        unit = np.mean([distance_between(x, 0 * x, kind)[0] for x in vectors])
    found, duplicates = {}, 0
    for i in range(len(rows.classes)):
        for j in range(len(other.classes)):
            same = rows.classes[i] == other.classes[j]
            if (columns is None and i >= j) or not (rows.counted[i] and other.counted[j]):
                continue
            if which != "all" and same != (which == "within"):
                continue
            distance, share = distance_between(rows.vectors[i], other.vectors[j], kind)
            if not np.isfinite(distance):
                continue
            if share / unit < tolerance:
                duplicates += 1
            else:
                found[i, j] = distance
    return found, duplicates


def listed(made, tiles, is_symmetric):
    """{(i, j): (distance, bin, group)} from the tiles."""
    found = {}
    for place, (rows, columns) in enumerate(tiles):
        tile = made.tile(place)
        assert (np.diff(tile.rows) >= 0).all()
        for row, column, *rest in zip(tile.rows, tile.columns, tile.distances, tile.bins, tile.groups, strict=True):
            i, j = int(rows[row]), int(columns[column])
            pair = (min(i, j), max(i, j)) if is_symmetric else (i, j)
            assert pair not in found
            found[pair] = tuple(rest)
    return found


def check(rows, columns=None, **options):
    made, tiles = compared(rows, columns, **options)
    kind, which = options.get("distance", "cosine"), options.get("compared", "within")
    tolerance = options.get("duplicate_tolerance", 1e-6)
    expected, duplicates = one_by_one(rows, columns, kind, which, tolerance)
    found = listed(made, tiles, columns is None)
    assert found.keys() == expected.keys()
    for pair, distance in expected.items():
        assert found[pair][0] == pytest.approx(distance, abs=1e-12)  # cosines: 2⁻⁴¹ = 5e-13, by their steps
    check_sums(made.sums, made, found, rows, columns)
    assert made.sums.num_duplicates == duplicates
    return made


def check_sums(sums, made, found, rows, columns):
    """The sums, from the distances, bins and groups listed."""
    other = rows if columns is None else columns
    num_rows = len(rows.classes)
    size, shift = (num_rows, 0) if columns is None else (num_rows + len(other.classes), num_rows)
    is_within = made.num_groups == NUM_CLASSES
    bin_counts, moments = np.zeros((size, made.num_bins)), np.zeros((size, 3))
    group_moments, of_group = np.zeros((made.num_groups, 5)), [[] for _ in range(made.num_groups)]
    for (i, j), (distance, its_bin, group) in found.items():
        assert group == (rows.classes[i] if is_within else 0)
        low, high = sums.edges[its_bin : its_bin + 2]
        assert low - 1e-12 <= distance <= high + 1e-12
        for example in (i, shift + j):
            bin_counts[example, its_bin] += 1
            moments[example] += distance ** np.arange(3)
        group_moments[group] += distance ** np.arange(5)
        of_group[group].append(distance)
    np.testing.assert_array_equal(sums.bin_counts, bin_counts)
    np.testing.assert_allclose(sums.moments, moments, atol=1e-10)
    np.testing.assert_allclose(sums.group_moments, group_moments, atol=1e-10)
    np.testing.assert_array_equal(sums.smallest, [min(part, default=np.nan) for part in of_group])
    np.testing.assert_array_equal(sums.largest, [max(part, default=np.nan) for part in of_group])
    sides = [rows] if columns is None else [rows, columns]
    groups = [np.where(side.counted, side.classes if is_within else 0, -1) for side in sides]
    np.testing.assert_array_equal(sums.groups, np.concatenate(groups))


@pytest.mark.parametrize("binning", ["equal_width", "quantile"])
@pytest.mark.parametrize("which", COMPARED)
@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_equals_all_pairs_one_by_one(kind, which, binning, is_symmetric):
    rows, columns = points(13, 1), None if is_symmetric else points(9, 2)
    made = check(rows, columns, distance=kind, compared=which, binning=binning)
    d = np.array(list(one_by_one(rows, columns, kind, which)[0].values()))
    shares = np.linspace(0, 1, BINS + 1)
    expected = np.quantile(d, shares) if binning == "quantile" else d.min() + shares * np.ptp(d)
    np.testing.assert_allclose(made.sums.edges, expected, atol=1e-12)
    assert made.keeps_tiles
    assert made.tile(0) is made.tile(0)


@pytest.mark.parametrize("kind", DISTANCES)
def test_duplicates_are_counted_and_left_out(kind):
    rows, columns = points(8, 1), points(7, 2)
    rows.vectors[3], rows.vectors[4] = rows.vectors[0], rows.vectors[1] * (1 + 1e-9)
    columns.vectors[2] = rows.vectors[0]
    for options in ({"compared": "all"}, {"compared": "between"}, {}, {"compared": "all", "duplicate_tolerance": 0.0}):
        for side, other in ((rows, None), (rows, columns)):
            made = check(side, other, distance=kind, **options)
            if options == {"compared": "all"}:
                assert made.sums.num_duplicates == 2


@pytest.mark.parametrize("binning", ["equal_width", "quantile"])
def test_equal_distances_are_equal_in_any_order_of_the_sum(binning):
    rng = np.random.default_rng(0)
    vectors = np.array([rng.permutation(40) < 12 for _ in range(30)], float)  # cosines of k/12
    vectors[7] = vectors[2]
    orders = [np.arange(40), np.arange(40)[::-1], *(rng.permutation(40) for _ in range(3))]
    first, *others = (
        compared(Points(vectors[:, order], np.zeros(30, int), np.ones(30, bool)), block_size=30, binning=binning)[0]
        for order in orders
    )
    one = first.tile(0)
    assert len(np.unique(one.distances)) == len(np.unique(np.rint(12 * one.distances)))
    assert first.sums.num_duplicates == 1
    for other in others:
        np.testing.assert_array_equal(other.sums.edges, first.sums.edges)
        np.testing.assert_array_equal(other.tile(0).distances, one.distances)
        np.testing.assert_array_equal(other.tile(0).bins, one.bins)


def test_duplicates_are_at_no_distance():
    x = np.random.default_rng(1).normal(size=(50, 784))
    assert (np.diag(cosine_distance(x, x * (1 + np.arange(50.0))[:, None])) == 0).all()


def test_distances_beyond_the_tolerance_given_are_duplicates():
    assert check(points(9), compared="all", duplicate_tolerance=0.8).sums.num_duplicates > 3


@pytest.mark.parametrize("kind", DISTANCES)
def test_vectors_that_are_not_finite_or_zero(kind):
    rows, columns = points(10, 1), points(6, 2)
    rows.vectors[2, 1], rows.vectors[5, 0], columns.vectors[3] = np.nan, np.inf, 0
    rows.vectors[7] = 0
    for side, other in ((rows, None), (rows, columns), (columns, rows)):
        check(side, other, distance=kind, compared="all")


def test_distances_beyond_what_numbers_hold_are_left_out():
    rows = points(10, 1)
    rows.vectors[4] = 1e200
    with np.errstate(over="ignore"):
        check(rows, distance="l2", compared="all", duplicate_tolerance=0.0)


@pytest.mark.parametrize("binning", ["equal_width", "quantile"])
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_many_pairs_are_not_kept(monkeypatch, binning, is_symmetric):
    rows, columns = points(40, 1), None if is_symmetric else points(30, 2)
    kept, tiles = compared(rows, columns, 16, compared="all", binning=binning)
    monkeypatch.setattr(pairs, "KEPT_PAIRS", 100)
    made, _ = compared(rows, columns, 16, compared="all", binning=binning)
    assert kept.keeps_tiles
    assert not made.keeps_tiles
    assert made.tile(0) is not made.tile(0)
    found = listed(made, tiles, is_symmetric)
    assert {pair: rest[0] for pair, rest in found.items()} == {
        pair: rest[0] for pair, rest in listed(kept, tiles, is_symmetric).items()
    }
    check_sums(made.sums, made, found, rows, columns)
    # Quantiles are then read from a fine histogram.
    np.testing.assert_allclose(made.sums.edges, kept.sums.edges, atol=2e-3 if binning == "quantile" else 0)


@pytest.mark.parametrize("which", COMPARED)
@pytest.mark.parametrize("is_symmetric", [True, False])
def test_without_some_examples(which, is_symmetric):
    rows, columns = points(12, 1), None if is_symmetric else points(9, 2)
    made, tiles = compared(rows, columns, compared=which)
    out, out2 = np.arange(12) % 5 == 1, np.arange(9) % 4 == 2
    found = made.without([out, out if is_symmetric else out2])
    rows = rows._replace(counted=~out)
    columns = None if is_symmetric else columns._replace(counted=~out2)
    rest = {
        (i, j): values
        for (i, j), values in listed(made, tiles, is_symmetric).items()
        if rows.counted[i] and (rows if is_symmetric else columns).counted[j]
    }
    np.testing.assert_array_equal(found.edges, made.sums.edges)
    check_sums(found, made, rest, rows, columns)


@pytest.mark.parametrize("which", COMPARED)
@pytest.mark.parametrize("kind", DISTANCES)
@pytest.mark.parametrize("is_kept", [True, False])
def test_some_rows_and_some_pairs_at_a_time(monkeypatch, kind, which, is_kept):
    monkeypatch.setattr(pairwise, "ROWS_TOGETHER", 3)
    monkeypatch.setattr(tile_pairs, "PIECE", 5)
    if not is_kept:
        monkeypatch.setattr(pairs, "KEPT_PAIRS", 4)
    rows, columns = points(23, 1), points(17, 2)
    rows.vectors[11] = rows.vectors[4]
    for other in (None, columns):
        made = check(rows, other, block_size=10, distance=kind, compared=which)
        assert made.keeps_tiles == is_kept
        pieces = made.tile(0).pieces
        assert [len(piece) for piece in pieces[:-1]] == [5] * (len(pieces) - 1)
        np.testing.assert_array_equal(np.concatenate([piece.columns for piece in pieces]), made.tile(0).columns)


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12])
@pytest.mark.parametrize("num_bins", [1, 3, 20, 700])
def test_a_bin_holds_its_lower_edge(scale, num_bins):
    """As a search in the edges finds it, also where distances are at edges, or hardly differ."""
    steps = np.random.default_rng(num_bins).integers(0, 4 * num_bins, 60) / (4 * num_bins)
    for places in (steps, 1 + 1e-12 * steps, np.full(60, 0.5)):
        side = Points(scale * places[:, None], np.zeros(60, int), np.ones(60, bool))
        made, _ = compared(side, block_size=60, num_bins=num_bins, distance="l1", duplicate_tolerance=0.0)
        tile = made.tile(0)
        found = np.searchsorted(made.edges, tile.distances, "right") - 1
        np.testing.assert_array_equal(tile.bins, np.clip(found, 0, num_bins - 1))


def test_pairs_that_are_not_kept_are_listed_once_for_a_tile_and_for_the_sums(monkeypatch):
    monkeypatch.setattr(pairs, "KEPT_PAIRS", 10)
    made, tiles = compared(points(40), block_size=16, compared="all")
    listed_tiles, strips = [], ComparedPairs._strips
    monkeypatch.setattr(ComparedPairs, "_strips", lambda self, tile: listed_tiles.append(tile) or strips(self, tile))
    for place in range(len(tiles)):
        made.tile(place)
    expected = made.sums
    assert len(listed_tiles) == len(tiles)
    np.testing.assert_equal(compared(points(40), block_size=16, compared="all")[0].sums._asdict(), expected._asdict())


def test_sums_are_begun_again_where_adding_was_interrupted(monkeypatch):
    monkeypatch.setattr(pairs, "KEPT_PAIRS", 10)
    made, tiles = compared(points(40), block_size=16, compared="all")
    made.tile(0)
    add = tile_pairs.PairSumsSoFar.add

    def interrupted(self, *arguments):
        add(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tile_pairs.PairSumsSoFar, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made.tile(1)
    check_sums(made.sums, made, listed(made, tiles, is_symmetric=True), points(40), None)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 12), st.integers(0, 9), st.integers(1, 14), st.sampled_from(DISTANCES), st.sampled_from(COMPARED),
    st.integers(1, 3), st.integers(0, 5),
)  # fmt: skip
def test_any_blocks(count, count2, block_size, kind, which, num_classes, seed):
    rows, columns = points(count, seed, num_classes), points(count2, seed + 1, num_classes) if count2 else None
    check(rows, columns, block_size=block_size, distance=kind, compared=which)


@pytest.mark.parametrize("which", COMPARED)
def test_no_pair_at_all(which):
    made = check(points(1), compared=which)
    assert np.isnan(made.sums.edges).all()
    assert np.isnan(made.sums.smallest).all()
    same = Points(np.eye(3), np.zeros(3, int), np.ones(3, bool))
    assert len(compared(same, compared="between")[0].tile(0)) == 0


def test_some_pairs_of_a_tile():
    made, _ = compared(points(20), block_size=20)
    tile = made.tile(0)
    chosen = tile.distances > np.median(tile.distances)
    part = tile.where(chosen)
    for name in ("rows", "columns", "distances", "bins", "groups"):
        np.testing.assert_array_equal(getattr(part, name), getattr(tile, name)[chosen])
    np.testing.assert_allclose(part.powers, part.distances ** np.arange(4)[:, None])
    spans = [(group, list(range(*span.indices(len(part))))) for group, span in part.blocks]
    assert [place for _, places in spans for place in places] == list(range(len(part)))
    for group, places in spans:
        assert (part.groups[places] == group).all()
    for cells, places in zip(part.cells, (part.rows, part.columns), strict=True):
        np.testing.assert_array_equal(np.divmod(cells, BINS), (places, part.bins))


@pytest.mark.parametrize(
    "options", [{"distance": "cos"}, {"compared": "some"}, {"binning": "log"}, {"num_bins": 0},
                {"duplicate_tolerance": -1}, {"duplicate_tolerance": float("nan")}]
)  # fmt: skip
def test_choices_that_there_are_not(options):
    with pytest.raises(InvalidInput):
        DistanceOptions(**options)
