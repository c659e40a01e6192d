"""When measurements were taken: the axis to draw them against, and the few that tell the story of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter

from tfstiff.analysis.readings import times_of
from tfstiff.figures.tick_labels import RoomyLabels
from tfstiff.records import Measurement
from tfstiff.records.words import moment

_VERY_EARLY = 0.05  # epochs
_DECADES = 2  # a logarithmic axis is worth its trouble from here on


def choose_stages(measurements: Sequence[Measurement], limit: int = 4) -> list[Measurement]:
    """Up to `limit` distinct measurements: the first, a very early one, one about epoch 1, the last.

    The first and the last come before the others. Where nothing was measured before epoch 1, a middle one of the later
    measurements takes the early one's place. Without epochs, or in less than one, the two between are spread evenly in
    the logarithm of time.

    Args:
        measurements: In order of time.
        limit: How many at most, 1 to 4.
    """
    when, unit = times_of(measurements)
    last = len(measurements) - 1
    chosen = {0, last} if limit > 1 else {last}

    def take(low: int, high: int, target: float) -> int | None:
        """Chooses, strictly between two indices, the measurement whose time is nearest to `target` by ratio."""
        candidates = [index for index in range(low + 1, high) if when[index] > 0]
        if not candidates or len(chosen) >= limit:
            return None
        nearest = min(candidates, key=lambda index: abs(math.log(when[index] / target)))
        chosen.add(nearest)
        return nearest

    earliest = next((time for time in when[1:] if time > 0), None)
    if earliest is not None:
        whole = unit == "epoch" and when[last] > 1
        middle = take(0, last, 1.0 if whole else earliest ** (1 / 3) * when[last] ** (2 / 3))
        if middle is not None:
            early = math.sqrt(earliest * when[middle])
            if take(0, middle, min(_VERY_EARLY, early) if whole else early) is None:
                take(middle, last, math.sqrt(when[middle] * when[last]))
    return [measurements[index] for index in sorted(chosen)]


def stage_title(measurement: Measurement) -> str:
    """When a measurement was taken, in short lines."""
    text = moment(measurement).replace(" (", "\n").rstrip(")")
    return text[0].upper() + text[1:]


def set_time_axis(axes: Axes, when: Sequence[float], unit: str, *, logarithmic: bool | None = None) -> None:
    """Scales and labels the x axis.

    Time 0, the initialisation, has no logarithm: it stands apart at the left, behind a break of the axis.

    Args:
        axes: The panel.
        when: All times that it shows.
        unit: Of the times.
        logarithmic: Whether the axis is, where there are two times above 0; None where they span two decades.
    """
    axes.set_xlabel(unit)
    positive = {time for time in when if time > 0}
    if logarithmic is None:
        logarithmic = len(positive) > 1 and math.log10(max(positive) / min(positive)) >= _DECADES
    if not logarithmic or len(positive) < 2:
        margin = 0.04 * (max(when) - min(when)) or 0.5
        axes.set_xlim(min(when) - margin, max(when) + margin)
        if len(set(when)) == 1:
            axes.set_xticks([when[0]])
        return
    low, high = min(positive), max(positive)
    axes.set_xlabel(f"{unit} (logarithmic)")
    axes.set_xscale("symlog", linthresh=low, linscale=0.5)
    begins_at_zero = min(when) <= 0
    axes.set_xlim(-0.3 * low if begins_at_zero else low * 0.8, high * 1.3)
    decades = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    ticks = decades[:: math.ceil(len(decades) / 6)] if len(decades) > 1 else [low, high]
    axes.xaxis.set_major_locator(FixedLocator([0.0] * begins_at_zero + ticks))
    axes.xaxis.set_major_formatter(RoomyLabels(_time_in_words))
    parts = [
        10.0**power * part
        for power in range(math.floor(math.log10(low)), 1 + math.floor(math.log10(high)))
        for part in range(2, 10)
    ]
    axes.xaxis.set_minor_locator(FixedLocator([part for part in parts if low <= part <= high * 1.3]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    if begins_at_zero:
        axes.plot(
            [0.45 * low, 0.65 * low],
            [0, 0],
            transform=axes.get_xaxis_transform(),
            marker=[(-1, -2), (1, 2)],
            markersize=6,
            linestyle="none",
            color="black",
            markeredgewidth=0.6,
            clip_on=False,
            label="_axis break",
        )


def _time_in_words(time: float) -> str:
    return f"{float(f'{time:.3g}'):g}" if time else "init"  # of three digits; 1000, where .3g has 1e+03
