"""Means over seeds with 95 % intervals, and what follows from them by the decision rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.reproduction import claims, concordance, league, predictors
from tfstiff.stiffness.intervals import quantile

FEWEST_SEEDS = 3
AS_GOOD = 0.5  # percentage points of test accuracy
REFERENCE = "validation loss"


class Mean(NamedTuple):
    """A mean over seeds, and the ends of its interval; NaN where there are too few."""

    value: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        limits = f" [{self.low:.2f}, {self.high:.2f}]" if math.isfinite(self.low) else ""
        return f"{self.value:.2f}{limits}".replace("-", "−")


def mean_of(values: Sequence[float] | Any) -> Mean:
    """By Student's t. Seeds without a value are left out; all alike, they have an interval of no width."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if len(known) < FEWEST_SEEDS:
        return Mean(float(known.mean()) if len(known) else math.nan, math.nan, math.nan, len(known))
    width = float(quantile(len(known) - 1)) * known.std(ddof=1) / math.sqrt(len(known))
    return Mean(float(known.mean()), float(known.mean() - width), float(known.mean() + width), len(known))


def of_claim(claim: str, found: Mean) -> str:
    """supported, not supported, or undecided."""
    if not math.isfinite(found.low):
        return "undecided"
    if claim == "1s":  # that something is about 0
        if found.low >= -0.1 and found.high <= 0.1:
            return "supported"
        return "not supported" if found.high < -0.1 or found.low > 0.1 else "undecided"
    low, high = (found.low, found.high) if claim in claims.ABOVE_ZERO else (-found.high, -found.low)
    return "supported" if low > 0 else "not supported" if high < 0 else "undecided"


def of_rule(difference: Mean) -> str:
    """Of the paired difference in regret from the validation loss: better, worse, as good, or not told apart."""
    if not math.isfinite(difference.low):
        return "undecided"
    if difference.high < 0:
        return "better"
    if difference.low > -AS_GOOD and difference.high < AS_GOOD:
        return "as good"
    return "worse" if difference.low > 0 else "not told apart"


def is_competitive(difference: Mean) -> bool:
    return difference.high < AS_GOOD


def claims_table() -> pd.DataFrame:
    found = claims.statistics(*claims.tables())
    rows = []
    for claim, sentence in claims.CLAIMS.items():
        row = {"#": claim, "claim": sentence}
        for dataset, arch in claims.DATA:
            one = found[(found["claim"] == claim) & (found["dataset"] == dataset) & (found["arch"] == arch)]
            mean = mean_of(one["value"])
            nothing = "undecided: there is no such number in any seed" if len(one) else "not run"
            row[f"{dataset}, {arch}"] = f"{of_claim(claim, mean)}: {mean}" if mean.seeds else nothing
        rows.append(row)
    return pd.DataFrame(rows)


def league_table() -> pd.DataFrame:
    """Rules by their mean regret."""
    found = league.regrets(*league.tables())
    wide = league.by_seed(found)
    trained = found[found["seed"].isin(wide.index)].groupby("rule")["epochs"].mean()
    rows = []
    for rule in wide.mean().sort_values().index:
        regret, difference = mean_of(wide[rule]), mean_of(wide[rule] - wide[REFERENCE])
        is_reference = rule == REFERENCE
        rows.append(
            {
                "rule": rule,
                "regret, points": str(regret),
                "minus that of the validation loss": "" if is_reference else str(difference),
                "verdict": "" if is_reference else of_rule(difference),
                "competitive": "" if is_reference else "yes" if is_competitive(difference) else "no",
                "epochs": f"{trained[rule]:.1f}",
                "validation examples": league.examples_needed(rule),
            }
        )
    return pd.DataFrame(rows)


def concordance_table() -> pd.DataFrame:
    found = concordance.table()
    rows = []
    for name, check in concordance.CHECKS.items():
        mean = mean_of(found.loc[found["check"] == name, "value"] if len(found) else [])
        known = np.isfinite(mean.low)
        agrees = "not run" if not known else "yes" if check.agrees(mean.low, mean.high) else "no"
        rows.append(
            {
                "of": check.text,
                "by": check.source,
                "published": check.published,
                "ours": str(mean) if known else "",
                "agree": agrees,
            }
        )
    return pd.DataFrame(rows)


def regret_by_noise() -> pd.DataFrame:
    """Mean regret of a few rules by the share of wrong labels and the number of examples."""
    found = league.regrets(*league.tables())
    found = found[found["seed"].isin(league.by_seed(found).index)]
    table = found.pivot_table(index="rule", columns=["n", "noise"], values="regret", aggfunc="mean")
    table.columns = [f"{n:,}: {noise:.0%}" for n, noise in table.columns]
    return table.loc[table.mean(axis=1).sort_values().index].round(2).reset_index()


def predictors_table() -> pd.DataFrame:
    """Candidates by how well they foretell each outcome, by factor and over all."""
    found = predictors.scored(predictors.table())
    rows: dict[str, dict[str, Any]] = {name: {"candidate": name} for name in predictors.CANDIDATES}
    for moment in predictors.STEPS:
        for outcome in predictors.OUTCOMES:
            one = found[(found["moment"] == moment) & (found["outcome"] == outcome)]
            wide = one.pivot_table(index="seed", columns="candidate", values="by_factor")
            over_all = one.groupby("candidate")["over_all"].mean()
            column = f"{moment}: {outcome.replace('_', '-')}"
            for candidate, row in rows.items():
                is_better = [
                    mark
                    for mark, other in (("T", "train_loss"), ("V", "validation_loss"))
                    if candidate != other and mean_of(wide[candidate] - wide[other]).low > 0
                ]
                row[column] = f"{mean_of(wide[candidate])} {''.join(is_better)}".strip()
                row[f"τ {column}"] = f"{over_all[candidate]:.2f}".replace("-", "−")
    return pd.DataFrame(list(rows.values()))
