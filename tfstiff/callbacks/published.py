"""Which values of a measurement go into Keras' logs."""

from __future__ import annotations

from collections.abc import Sequence

from tfstiff.errors import InvalidInput
from tfstiff.records.words import default_pair_set

_PUBLISHED = {  # by whether there are classes
    True: ("cosine_within", "sign_between", "critical_length"),
    False: ("cosine_mean", "sign_mean", "critical_length"),
}


def published_names(
    publish: Sequence[str] | str | None, known: tuple[str, ...], has_classes: bool, pair_sets: tuple[str, ...]
) -> tuple[str, ...]:
    """The scalars that go into Keras' logs.

    Args:
        publish: Their names, `all`, or None for the most telling ones.
        known: Those that each measurement has.
        has_classes: Whether the labels are classes.
        pair_sets: That are measured.

    Raises:
        InvalidInput: A name is not known.
    """
    if publish is None:
        pair_set = default_pair_set(pair_sets)
        return tuple(f"stiffness_{name}_{pair_set}" for name in _PUBLISHED[has_classes])
    names = known if publish == "all" else (publish,) if isinstance(publish, str) else tuple(publish)
    for name in names:
        if name not in known:
            raise InvalidInput("Unknown scalar to publish.", expected=", ".join(known), received=name)
    return names
