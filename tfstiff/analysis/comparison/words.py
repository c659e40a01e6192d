"""What a comparison found, in the words of tables: the same on the terminal and in reports."""

from __future__ import annotations

import math

from tfstiff.analysis.comparison.differences import Difference
from tfstiff.analysis.comparison.observations import Observation
from tfstiff.analysis.comparison.over_seeds import OverSeeds
from tfstiff.analysis.comparison.trend import Trend
from tfstiff.records.words import ABSENT, bounds_in_words, has_interval, in_brackets, number

# What is drawn of a run whose value is not observed, by its status.
HOLLOW_IN_WORDS = {
    "censored": "the value lies beyond the distances observed, and the mark is the bound that is known",
    "extrapolated": "a straight line was extended past the distances observed",
}


def observation_in_words(found: Observation, *, minus: str = "−") -> str:
    """`0.512 [0.498, 0.530]`, `>0.900 (censored)`, `– (not reached)`: a run's value, its interval, its status."""
    text = bounds_in_words(found.low, found.high, minus=minus)
    if has_interval(found.interval_low, found.interval_high):
        text = in_brackets(found.value, found.interval_low, found.interval_high, minus=minus)
    return text + (f" ({found.status.replace('_', ' ')})" if found.status != "ok" else "")


def summary_in_words(found: OverSeeds, *, minus: str = "−") -> str:
    """`0.512 [0.498, 0.530] ±.024 (n 2)`: a group over its seeds, and of how many something is known, if not of all."""
    if found.num_seeds == 0:
        return ABSENT
    text, (low, high) = bounds_in_words(*found.center, minus=minus), found.limits
    if not math.isnan(low):
        text += f" [{number(low, minus=minus)}, {number(high, minus=minus)}]"
    if math.isfinite(found.probe_half_width):
        text += f" ±{number(found.probe_half_width).removeprefix('0')}"
    marks = [f"n {found.num_seeds}"] if found.num_missing else []
    marks += [f"{found.num_censored} censored"] if found.num_censored else []
    return f"{text} ({', '.join(marks)})" if marks else text


def difference_in_words(found: Difference, *, minus: str = "−") -> str:
    """`0.120 [0.050, 0.190]`; a dash where it cannot be told."""
    return ABSENT if found.status != "ok" else in_brackets(found.value, found.low, found.high, minus=minus)


def trend_in_words(found: Trend, *, minus: str = "−") -> str:
    """`τ −1.00, p 0.0093`."""
    if not found.num_seeds:
        return ABSENT
    p_value = f"{found.p_value:.2g}" if math.isfinite(found.p_value) else ABSENT
    text = f"τ {found.tau:+.2f}, p {p_value}".replace("-", minus)
    return text + (f" (n {found.num_seeds})" if found.num_incomplete else "")
