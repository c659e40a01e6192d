"""The values that a measurement has, and which of them go into Keras' logs."""

from __future__ import annotations

from collections.abc import Sequence

from tfstiff.errors import InvalidInput
from tfstiff.gradients.options import NONE
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe, check_probe
from tfstiff.measuring.suitability import check_suits
from tfstiff.records import scalar_names
from tfstiff.records.measurement import HALVES
from tfstiff.records.words import default_pair_set

_PUBLISHED = {  # by whether there are classes
    True: ("cosine_within", "sign_between", "critical_length"),
    False: ("cosine_mean", "sign_mean", "critical_length"),
}


def names_of_values(
    options: MeasureOptions, probe: Probe, publish: Sequence[str] | str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The scalars of each measurement, and those of them that go into Keras' logs.

    Args:
        options: What is measured.
        probe: On which; its labels, as they were read, decide what there is.
        publish: Names, `all`, or None for the most telling ones.

    Raises:
        InvalidInput: The options do not suit the probe, or a name is not known.
    """
    check_probe(probe)
    grouping = check_suits(options, probe)
    pair_sets = probe.pair_sets_of(options.pair_sets)
    has_classes = probe.num_classes is not None
    halves = tuple(name for name in HALVES if len(getattr(probe, name)))
    known = scalar_names(
        has_classes,
        pair_sets,
        has_groups=grouping is not None,
        has_preconditioner=options.preconditioner != NONE,
        directions=options.directions,
        halves=halves,
    )
    if publish is None:
        pair_set = default_pair_set(pair_sets)
        most_telling = [f"stiffness_{name}_{pair_set}" for name in _PUBLISHED[has_classes]]
        most_telling += [f"stiffness_helped_by_{name}_{halves[-1]}" for name in options.directions]
        return known, tuple(most_telling)
    names = known if publish == "all" else (publish,) if isinstance(publish, str) else tuple(publish)
    for name in names:
        if name not in known:
            raise InvalidInput("Unknown scalar to publish.", expected=", ".join(known), received=name)
    return known, names
