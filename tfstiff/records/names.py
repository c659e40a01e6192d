"""Names that folders may have."""

from __future__ import annotations

import os
from pathlib import Path

from tfstiff.errors import InvalidInput
from tfstiff.records.reading import printable

_LONGEST = 200  # bytes; file systems take 255, and what is moved aside gets a longer name


def check_name(path: Path) -> None:
    """Checks, before anything is done, that a folder can have its name.

    Raises:
        InvalidInput: A part of the path is too long, or holds control characters.
    """
    for part in path.parts:
        if len(os.fsencode(part)) > _LONGEST:
            raise InvalidInput(
                "The name of a folder is too long.",
                expected=f"at most {_LONGEST} bytes between two slashes",
                received=f"{len(os.fsencode(part))} bytes, {part[:40]}…",
            )
        if "\0" in part or "\n" in part or "\t" in part or printable(part) != part:
            raise InvalidInput("The name of a folder holds control characters.", received=part)
