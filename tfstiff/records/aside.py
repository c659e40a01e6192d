"""What is in the way is moved aside, never deleted."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime
from pathlib import Path


def move_aside(path: Path) -> Path:
    """Renames a file, folder or link to `NAME.aside-TIME`, beside it.

    Returns:
        Its new path.

    Raises:
        OSError: Its folder cannot be written.
    """
    name = f"{path.name}.aside-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    free = next(found for found in map(path.with_name, names) if not os.path.lexists(found))
    path.rename(free)
    return free
