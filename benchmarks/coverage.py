"""How often 95 % intervals hold the truth: cells, within- and between-class means, their contrast, critical lengths.

    python benchmarks/coverage.py --replicates 2000

Probes are drawn again and again from populations whose truth is known, and each is estimated as a measurement would be.
In the latent model a pair's value is `s_ij = μ_ab + ρ w (u_i + u_j) / √2 + √(1 - ρ²) e_ij` with effects u of examples,
felt by w more within a class, and noise e of pairs; classes differ in μ and distances, and values fall by `slope ·
distance`. In the vector model values are the cosines, and the signs, of Gaussian vectors around class means. 95 %
nominal; 1000 replicates leave ±0.7 %.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfstiff.stiffness.critical_length import CriticalLengthRule
from tfstiff.stiffness.estimate import pair_set_stiffness
from tfstiff.stiffness.intervals import interval
from tfstiff.stiffness.pair_sample import dealt
from tfstiff.stiffness.sums import PairSetSums

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from oracles.direct import Space, sums_of  # the sums from whole matrices, as the tests take them

SLOPE = 2.0


@dataclass(frozen=True)
class Population:
    """Where probes are drawn from.

    Attributes:
        draw: From a generator and (n,) classes: what describes the examples.
        pairs: From a generator, examples and other examples or None (the same): values (n, m) and distances (n, m).
    """

    draw: Callable[[np.random.Generator, np.ndarray], dict[str, np.ndarray]]
    pairs: Callable[..., tuple[np.ndarray, np.ndarray]]


def latent(share: float, num_classes: int, *, cancels: bool = False) -> Population:
    """The latent model; `share` is ρ, from 0 (pairs independent) to 1 (examples decide alone).

    Effects are felt more within a class than between; where they are felt alike they cancel in the contrast, of which
    only distances and noise are left then.
    """
    means = np.where(np.eye(num_classes, dtype=bool), 0.9 + 0.1 * np.arange(num_classes)[:, None], 0.2)
    width = 0.5 + 0.15 * np.arange(num_classes)  # classes differ in how far apart their examples lie

    def draw(rng: np.random.Generator, classes: np.ndarray) -> dict[str, np.ndarray]:
        effect = rng.normal(size=len(classes))
        return {"class": classes, "effect": effect, "place": rng.uniform(size=len(classes)) * width[classes]}

    def pairs(rng: np.random.Generator, one: dict, two: dict | None) -> tuple[np.ndarray, np.ndarray]:
        other = one if two is None else two
        noise = rng.normal(size=(len(one["class"]), len(other["class"])))
        if two is None:
            noise = np.triu(noise, 1)
            noise = noise + noise.T
        distance = np.abs(one["place"][:, None] - other["place"])
        value = means[one["class"]][:, other["class"]] - SLOPE * distance
        felt = 1.0 if cancels else np.where(one["class"][:, None] == other["class"], 1.3, 0.7)
        value = value + felt * 0.4 * share * (one["effect"][:, None] + other["effect"]) / np.sqrt(2)
        return value + 0.4 * np.sqrt(1 - share**2) * noise, distance

    return Population(draw, pairs)


def vectors(spread: float, num_classes: int, size: int = 12) -> Population:
    """The vector model; the larger `spread`, the less examples of a class have in common."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(num_classes, size)) / np.sqrt(size) + 0.3
    places = rng.normal(size=(num_classes, 4)) + 1.0

    def draw(rng: np.random.Generator, classes: np.ndarray) -> dict[str, np.ndarray]:
        place = places[classes] + 0.8 * rng.normal(size=(len(classes), 4))
        gradient = centres[classes] + spread * rng.normal(size=(len(classes), size))
        gradient[:, :4] += 0.6 * (place - places[classes])  # near inputs have alike gradients
        unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
        return {"class": classes, "gradient": unit(gradient), "place": unit(place)}

    def pairs(rng: np.random.Generator, one: dict, two: dict | None) -> tuple[np.ndarray, np.ndarray]:
        other = one if two is None else two
        return one["gradient"] @ other["gradient"].T, 1 - one["place"] @ other["place"].T

    return Population(draw, pairs)


def probe(
    population: Population,
    rng: np.random.Generator,
    counts: list[int],
    columns: list[int] | None,
    num_subsets: int = 1,
):
    """Sums of one probe: symmetric where `columns` is None; of the pairs within `num_subsets` subsets."""
    halves = [
        population.draw(rng, np.repeat(np.arange(len(part)), part)) for part in (counts, columns) if part is not None
    ]
    value, distance = population.pairs(rng, halves[0], halves[1] if columns else None)
    other = halves[1]["class"] if columns else None
    space = Space(distance, edges=np.linspace(0, 2, 21))
    sides = (halves[0]["class"], halves[-1]["class"])
    subsets = None if num_subsets == 1 else tuple(dealt(classes, num_subsets) for classes in sides)
    return sums_of(value, sides[0], other, num_classes=len(counts), spaces={"input": space}, subsets=subsets)


def estimates(sums: PairSetSums, metric: str) -> dict[str, list[tuple[float, float, float, str]]]:
    """By column of the table: value, lower and upper end of the interval, and a status; several of each kind."""
    found = pair_set_stiffness(sums, has_classes=True, rule=CriticalLengthRule(metric=metric))
    by_class, space = getattr(found, metric), found.spaces["input"]
    low, high = interval(by_class.matrix, by_class.matrix_se, by_class.matrix_df)
    cells = {"cell aa": (0, 0), "cell ab": (0, 1)}
    table = {
        name: [(by_class.matrix[at], low[at], high[at], "ok" if low[at] < high[at] else "alike")]
        for name, at in cells.items()
    }
    for kind in ("within", "between", "contrast"):
        value, se, df = (getattr(by_class, f"{kind}{suffix}") for suffix in ("", "_se", "_df"))
        table[kind] = [(value, *interval(value, se, df), "ok")]
    table["micro"] = [(by_class.within_pairs, *interval(by_class.within_pairs, by_class.within_pairs_se), "ok")]
    mean, se = (getattr(found, f"mean_{metric}{suffix}") for suffix in ("", "_se"))
    table["all"] = [(mean, *interval(mean, se), "ok")]
    middle, se = (
        getattr(space.profile, f"{name}{suffix}")[3]
        for name in ("mean" if metric == "cosine" else "mean_sign",)
        for suffix in ("", "_se")
    )
    table["bin"] = [(middle, *interval(middle, se), "ok" if se > 0 else "few")]
    for name, length in (("ξ", space.critical_length), ("ξ fixed", space.fixed_effects)):
        table[name] = [(length.value, length.low, length.high, length.status)]
    one = space.by_class
    table["ξ class"] = [(one.value[0], one.low[0], one.high[0], one.status[0])]
    return table


def truth(population: Population, counts: list[int], columns: list[int] | None, metric: str) -> dict[str, float]:
    """The same estimates averaged, or of lines through averaged sums, over probes in proportion to the given ones."""
    rng = np.random.default_rng(1)
    columns_of = lambda k: None if columns is None else [k * c for c in columns]  # noqa: E731
    totals: dict[str, list[float]] = defaultdict(list)
    for _ in range(30):
        large = estimates(probe(population, rng, [8 * c for c in counts], columns_of(8)), metric)
        for name, found in large.items():
            totals[name].append(found[0][0])
    return {name: float(np.mean(values)) for name, values in totals.items()}


def coverage(
    population: Population,
    counts: list[int],
    columns: list[int] | None,
    metric: str,
    num_subsets: int,
    replicates: int,
) -> dict[str, tuple[float, float, float]]:
    """By column: share of intervals that hold the truth, share that counts, and width over that of the true spread."""
    true, rng = truth(population, counts, columns, metric), np.random.default_rng(2)
    hits: dict[str, list[tuple[bool, float, float]]] = defaultdict(list)
    for _ in range(replicates):
        for name, found in estimates(probe(population, rng, counts, columns, num_subsets), metric).items():
            hits[name] += [(low <= true[name] <= high, value, high - low) for value, low, high, s in found if s == "ok"]
    table = {}
    for name, ok in hits.items():
        if not ok:  # too few pairs for a bin, say
            continue
        held, values, widths = zip(*ok, strict=True)
        table[name] = (float(np.mean(held)), len(ok) / replicates, float(np.median(widths) / (3.92 * np.std(values))))
    return table


Scenario = tuple[Population, list[int], list[int] | None, str, int]


def scenarios() -> dict[str, Scenario]:
    """By name: what `coverage` takes but for the replicates."""
    found: dict[str, Scenario] = {name: (*scenario, 1) for name, scenario in _whole().items()}
    for share in (0.1, 0.5, 0.9):
        few = (latent(share, 3), [24] * 3, None, "cosine", 8)
        found[f"a sample of 2 pairs in 8, latent ρ={share}, one probe of 24 a class"] = few
        for num_subsets in (3, 10):
            both = (latent(share, 3), [40] * 3, [60] * 3, "cosine", num_subsets)
            found[f"a sample of 2 pairs in {num_subsets}, latent ρ={share}, halves of 40 and 60 a class"] = both
        uneven = (latent(share, 3), [23, 41, 60], None, "cosine", 5)
        found[f"a sample of 2 pairs in 5, latent ρ={share}, one probe of 23, 41, 60"] = uneven
    for metric, spread in (("cosine", 0.3), ("sign", 0.6)):
        found[f"a sample of 2 pairs in 6, vectors, {metric}, one probe of 50 a class"] = (
            vectors(spread, 3),
            [50] * 3,
            None,
            metric,
            6,
        )
    return found


def _whole() -> dict[str, tuple[Population, list[int], list[int] | None, str]]:
    even, uneven = [25, 25, 25], [20, 40, 60]
    found: dict[str, tuple[Population, list[int], list[int] | None, str]] = {}
    for share in (0.3, 0.6, 0.9):
        found[f"latent ρ={share}, one probe of 25 a class"] = (latent(share, 3), even, None, "cosine")
        found[f"latent ρ={share}, one probe of 20, 40, 60"] = (latent(share, 3), uneven, None, "cosine")
        found[f"latent ρ={share}, two halves of 25 a class"] = (latent(share, 3), even, even, "cosine")
        found[f"latent ρ={share}, halves of 20, 40, 60 and 60, 40, 20"] = (
            latent(share, 3),
            uneven,
            uneven[::-1],
            "cosine",
        )
    for metric, spread in (("cosine", 0.3), ("sign", 0.6)):
        found[f"vectors, {metric}, one probe of 50 a class"] = (vectors(spread, 3), [50] * 3, None, metric)
        found[f"vectors, {metric}, two halves of 50 a class"] = (vectors(spread, 3), [50] * 3, [50] * 3, metric)
    found["degenerate: latent ρ=0 (pairs independent), one probe of 25 a class"] = (
        latent(0.0, 3),
        even,
        None,
        "cosine",
    )
    found["degenerate: latent ρ=0.9, effects cancel in the contrast"] = (
        latent(0.9, 3, cancels=True),
        even,
        None,
        "cosine",
    )
    found["degenerate: vectors, sign nearly all alike, one probe of 25"] = (vectors(0.25, 3), even, None, "sign")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios in whose name it is found")
    arguments = parser.parse_args()
    print("Share of 95 % intervals that hold the truth, in %; in brackets: median width over that of the true spread,")
    print("and share of replicates that count (status ok, pairs not all alike), in %, where not all do.")
    for name, scenario in scenarios().items():
        if arguments.only not in name:
            continue
        table = coverage(*scenario, arguments.replicates)
        print(f"\n{name}")
        for kind, (held, counted, width) in table.items():
            rest = "" if counted == 1 else f", {100 * counted:.0f}"
            print(f"  {kind:<9}{100 * held:6.1f} ({width:.2f}{rest})")


if __name__ == "__main__":
    main()
