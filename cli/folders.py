"""The folder that a command writes to where none is asked for."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

_LONGEST = 150  # characters
_ENDING = re.compile(r"\.(npz|keras|weights\.h5)$")


def default_folder(*parts: str | Path, suffix: str | None = None) -> Path:
    """`runs/<parts>-<suffix>`.

    Args:
        *parts: Words, names of data sets and networks, and paths, of which the last part stands without its ending.
        suffix: What tells it from others; the time where None.
    """
    words = [_ENDING.sub("", str(part).removeprefix("npz:").rstrip("/").rpartition("/")[2]) for part in parts]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(words)).strip("-.")
    return Path("runs") / f"{name[:_LONGEST]}-{suffix or datetime.now().strftime('%Y%m%d-%H%M%S')}"
