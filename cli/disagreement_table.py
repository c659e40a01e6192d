"""How often a preconditioner turns the sign of products of gradients, as `show` prints it and `run` ends with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import IO

from tfstiff.analysis.measured_rows import main_pair_set, with_half_width
from tfstiff.analysis.readings import reading
from tfstiff.records import Measurement
from tfstiff.records.words import ABSENT

from .tables import plain_table, print_whole


def print_disagreements(
    measurements: Sequence[Measurement], pair_set: str | None = None, file: IO[str] | None = None
) -> None:
    """Prints a row a measurement with a preconditioner; nothing where none has one.

    Args:
        measurements: In order of time; may be empty.
        pair_set: `train_train`, `train_val` or `val_val`; None chooses one that was measured.
        file: Standard output where None.
    """
    pair_set = pair_set or main_pair_set(measurements)
    scaled = [one for one in measurements if pair_set in one.plain]
    if not scaled:
        return
    has_classes = scaled[0][pair_set].sign_disagreement is not None
    kinds = ("within", "between") if has_classes else ("mean",)
    table = plain_table("epoch", "step", *kinds)
    for one in scaled:
        when = f"{one.epoch:.3g}" if math.isfinite(one.epoch) else ABSENT, str(one.step) if one.step >= 0 else ABSENT
        shares = (with_half_width(reading(one, f"sign_disagreement_{kind}_{pair_set}")) for kind in kinds)
        table.add_row(*when, *shares)
    note = f"Preconditioner: {scaled[-1].preconditioner}. All other tables are of products with it."
    print_whole(table, [note], file, title="Share of pairs whose sign the preconditioner turns")
