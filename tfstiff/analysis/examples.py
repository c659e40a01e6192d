"""The examples of a run's probe over its measurements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfstiff.records import Measurement

if TYPE_CHECKING:
    import pandas as pd


def examples_over_time(
    measurements: Sequence[Measurement], probe: Mapping[str, np.ndarray], half: str, *, by_class: bool = False
) -> pd.DataFrame:
    """A row a measurement and example of one half of the probe; see `Measurement.examples`.

    Args:
        measurements: In order of time. Those without scores of examples are left out.
        probe: Ids of the probe's examples, as in a run's `probe.npz`; without one an example has its place in the half.
        half: `train` or `validation`.
        by_class: A row a measurement, example and class.

    Raises:
        InvalidInput: There is no such half.
    """
    import pandas as pd

    frames = []
    for m in measurements:
        if m.half(half).scores is not None:
            frame = m.examples(half, by_class=by_class)
            frame.insert(0, "id", ids_of(probe, half, m.half(half).num_examples)[frame["example"]])
            frame.insert(0, "epoch", m.epoch)
            frame.insert(0, "step", m.step)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def ids_of(probe: Mapping[str, np.ndarray], half: str, count: int) -> np.ndarray:
    """(count,) ids of a half's examples: those that the probe has, else their places, as text.

    Args:
        probe: As in a run's `probe.npz`.
        half: `train` or `validation`.
        count: Examples of the half.
    """
    known = probe.get(f"{half}_ids")
    if known is None or len(known) != count:
        return np.arange(count).astype(str).astype(object)
    return known.astype(str).astype(object)


def index_in_split(name: str) -> int | None:
    """The place of an example in its split, from an id such as `train_00012`; None where the id is of another kind.

    Such ids are made for data that brings none of its own, from arrays too.
    """
    found = re.fullmatch(r"(?:train|validation|test)_(\d+)", name)
    return None if found is None else int(found[1])
