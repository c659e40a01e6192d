"""Whether the steps that a run was asked for help each class, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from tfstiff.analysis.readings import readings_of_effects
from tfstiff.analysis.source import Source
from tfstiff.records.directions import CLASS_MEANS, StepEffects
from tfstiff.records.words import DIRECTION_NAMES, HALVES_IN_WORDS, moment

_MOST_NAMED = 3


def direction_findings(source: Source) -> Iterator[str]:
    """A sentence for each direction of which anything is known at the last measurement.

    A class counts where the 95 % interval of the mean change of its examples' losses lies to one side of 0.
    """
    last = source.measurements[-1]
    for name, of in last.directions.items():
        known = {half: effects for half in HALVES_IN_WORDS if (effects := getattr(of, half)) is not None}
        parts = [_told(effects, HALVES_IN_WORDS[half], last.class_names) for half, effects in known.items()]
        if any(parts):
            step = DIRECTION_NAMES[name] if name == CLASS_MEANS else f"a step along {DIRECTION_NAMES[name]}"
            told = "; ".join(filter(None, parts))
            yield f"At {moment(last)}, to first order, {step} {told}.{_by_chance(len(last.class_names))}"


def _told(effects: StepEffects, half: str, class_names: tuple[str, ...]) -> str:
    """What it does to one half; nothing where no error is known."""
    changes = readings_of_effects(effects, "change")
    known = [(place, one) for place, one in enumerate(changes) if one.low < one.high]
    lowered = [place for place, one in known if one.high < 0]
    raised = [place for place, one in known if one.low > 0]
    if not known:
        return ""
    if len(changes) == 1:
        verb = "lowers" if lowered else "raises" if raised else "cannot be told to lower or raise"
        return f"{verb} the mean loss of {half} examples"
    named = [f"“{class_names[place]}”" for place in raised if place < len(class_names)]
    names = f" ({', '.join(named)})" if 0 < len(named) <= _MOST_NAMED else ""
    return (
        f"lowers the mean loss of {len(lowered)} and raises that of {len(raised)}{names} of {len(known)} classes of "
        f"{half} examples"
    )


def _by_chance(num_classes: int) -> str:
    if num_classes < 2:
        return ""
    return (
        f" Of the others it cannot be told; did it nothing, about {0.05 * num_classes:.2g} of {num_classes} classes "
        "would seem lowered or raised by chance."
    )
