"""95 % intervals hold the truth, of populations where it is known. `benchmarks/coverage.py` prints the whole table."""

import numpy as np
import pytest
from oracles.direct import Space, sums_of

from tfstiff.stiffness import pair_set_stiffness
from tfstiff.stiffness.intervals import interval
from tfstiff.stiffness.pair_sample import dealt

NUM_PROBES = 300
MEANS = np.array([[0.9, 0.2], [0.2, 1.0]])


def probe(rng, counts, counts2, effect, num_subsets):
    """Values with the means `MEANS` at distance 0, falling by 2 per unit of distance; and their sums."""
    halves = [np.repeat([0, 1], part) for part in (counts, counts2) if part is not None]
    places, effects = (
        [draw(size=len(y)) * size for y in halves] for draw, size in ((rng.uniform, 0.8), (rng.normal, effect))
    )
    y, y2 = halves[0], halves[-1]
    noise = 0.2 * rng.normal(size=(len(y), len(y2)))
    noise = np.triu(noise, 1) + np.triu(noise, 1).T if counts2 is None else noise
    distance = np.abs(places[0][:, None] - places[-1])
    # Examples differ more in what they do within their class, or nothing of them would be left in the contrast.
    felt = np.where(y[:, None] == y2, 1.5, 0.5)
    value = MEANS[y][:, y2] - 2 * distance + felt * (effects[0][:, None] + effects[-1]) + noise
    subsets = None if num_subsets == 1 else (dealt(y, num_subsets), dealt(y2, num_subsets))
    return sums_of(value, y, None if counts2 is None else y2, spaces={"input": Space(distance)}, subsets=subsets)


@pytest.mark.parametrize("effect", [0.15, 0.4])
@pytest.mark.parametrize(
    ("counts", "counts2", "num_subsets"),
    [
        ([25, 25], None, 1),
        ([20, 40], None, 1),
        ([25, 25], [40, 20], 1),
        ([24, 30], None, 6),  # a sample of a third of the pairs
        ([28, 28], [42, 21], 7),
    ],
)
def test_intervals_hold_the_truth(counts, counts2, num_subsets, effect):
    rng = np.random.default_rng([0, len(counts2 or ()), counts[0], int(100 * effect)])
    means = MEANS - 2 * 0.8 / 3  # the mean distance of two places that are uniform up to 0.8
    truth = {"within": np.diag(means).mean(), "between": means[0, 1]}
    truth["contrast"] = truth["within"] - truth["between"]
    held = {name: [] for name in (*truth, "cell aa", "cell ab", "fixed effects", "class")}
    for _ in range(NUM_PROBES):
        found = pair_set_stiffness(probe(rng, counts, counts2, effect, num_subsets), has_classes=True)
        for name, true in truth.items():
            value, se, df = (getattr(found.cosine, f"{name}{suffix}") for suffix in ("", "_se", "_df"))
            low, high = interval(value, se, df)
            held[name].append(low <= true <= high)
        low, high = interval(found.cosine.matrix, found.cosine.matrix_se, found.cosine.matrix_df)
        held["cell aa"].append(low[0, 0] <= means[0, 0] <= high[0, 0])
        held["cell ab"].append(low[0, 1] <= means[0, 1] <= high[0, 1])
        space = found.spaces["input"]
        if space.fixed_effects.status == "ok":
            held["fixed effects"].append(
                space.fixed_effects.low <= np.diag(MEANS).mean() / 2 <= space.fixed_effects.high
            )
        if space.by_class.status[0] == "ok":
            held["class"].append(space.by_class.low[0] <= MEANS[0, 0] / 2 <= space.by_class.high[0])
    assert min(map(len, held.values())) > 0.7 * NUM_PROBES
    shares = {name: np.mean(one) for name, one in held.items()}
    error = 3 * np.sqrt(0.95 * 0.05 / NUM_PROBES)
    assert min(shares.values()) > 0.95 - error, shares
    assert max(shares.values()) < 0.95 + error, shares
