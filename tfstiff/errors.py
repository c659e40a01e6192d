"""The errors that tfstiff raises: one base, typed children, one wording.

Every message says what happened, then, where they are known, what was expected, what was received and how to mend it.
The command line prints the message and ends with the error's `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

_ABSENT = object()


class TfstiffError(Exception):
    """Base of all errors raised on purpose by tfstiff.

    Args:
        what: What happened, as a sentence.
        expected: What would have been right.
        received: The offending value; its `repr` is shown.
        remedy: How to mend it.
    """

    exit_code = 1

    def __init__(
        self, what: str, *, expected: str | None = None, received: Any = _ABSENT, remedy: str | None = None
    ) -> None:
        self.what = what
        self.expected = expected
        self.received = None if received is _ABSENT else _shortened(repr(received))
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("Expected", self.expected), ("Received", self.received), ("Remedy", self.remedy)):
            if text is not None:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


class InvalidInput(TfstiffError, ValueError):
    """An argument, option or array cannot be used as given."""

    exit_code = 2


class UnsupportedModel(InvalidInput):
    """The model cannot be measured: no loss, no trainable weights, examples that interact, …"""


class Unavailable(TfstiffError):
    """A quantity needs something that the measurement did not keep."""


class DatasetUnavailable(TfstiffError):
    """A data set is not on this machine and could not be fetched."""

    exit_code = 3


class DatasetCorrupt(TfstiffError):
    """A data set is on this machine but damaged or incomplete."""

    exit_code = 3


class PartFailed(TfstiffError):
    """A process that sums a part of a large probe's pairs failed."""


class RunNotFound(InvalidInput):
    """The given path is not a run folder."""


class RecordCorrupt(TfstiffError):
    """A record of a run cannot be read: truncated, damaged, or of an unknown schema."""

    exit_code = 3


class RecordUnreadable(RecordCorrupt):
    """A file of a run cannot be opened, for want of permission, say; it may be whole."""

    exit_code = 1


class CheckpointCorrupt(TfstiffError):
    """A checkpoint of a run cannot be read, or does not fit the run."""

    exit_code = 3


class ModelCorrupt(TfstiffError):
    """A saved model, or a file of weights, cannot be read: truncated or damaged."""

    exit_code = 3


class TrainingDiverged(TfstiffError):
    """The training loss became NaN or infinite. Raised only where it was asked for."""

    exit_code = 4


def unknown_name(what: str, received: Any, known: Iterable[str]) -> InvalidInput:
    """The error of a name that is none of those known, with the one that was probably meant.

    Args:
        what: What happened, as a sentence.
        received: The name.
        known: Those known.
    """
    names = list(known)
    close = meant(received, names)
    remedy = f"Did you mean {close}?" if close else None
    return InvalidInput(what, expected=" | ".join(names), received=received, remedy=remedy)


def meant(received: Any, known: Iterable[str]) -> str | None:
    """The one of the known names that was probably meant; None where none is close."""
    close = difflib.get_close_matches(received, list(known), n=1) if isinstance(received, str) else []
    return close[0] if close else None


def listed(names: Sequence[str], most: int) -> str:
    """The names with commas between them; of more than `most`, so many and how many more there are."""
    return ", ".join(names[:most]) + f" and {len(names) - most} more" * (len(names) > most)


def _shortened(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
