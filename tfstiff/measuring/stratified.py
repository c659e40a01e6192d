"""A draw with the same number of examples of each class."""

from __future__ import annotations

import warnings

import numpy as np


def stratified(classes: np.ndarray, name: str, wanted: int, random: np.random.Generator) -> np.ndarray:
    """Draws examples, as many of each class as far as there are enough.

    Args:
        classes: (n,) class of each example.
        name: Of the split, for the warning that classes are short of examples.
        wanted: Examples to draw.
        random: Draws.

    Returns:
        Their places, at most `wanted`: a class with fewer examples than its share is taken whole.
    """
    present = np.unique(classes)
    share, extra = divmod(wanted, len(present))
    favoured = set(random.permutation(present)[:extra].tolist())
    chosen, short = [], []
    for label in present.tolist():
        members = random.permutation(np.flatnonzero(classes == label))
        target = share + (label in favoured)
        if len(members) < target:
            short.append(f"class {label} has {len(members)} of {target}")
        chosen.append(members[:target])
    if short:
        warnings.warn(
            f"The {name} split is short of examples for an even probe, so these classes are taken whole: "
            f"{', '.join(short)}.",
            stacklevel=5,
        )
    return np.concatenate(chosen)
