"""What `tfstiff doctor` finds, of the installation or of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfstiff.errors import RecordUnreadable, TfstiffError
from tfstiff.records.aside import move_aside


@dataclass(frozen=True)
class Finding:
    """Something that was looked at.

    Attributes:
        what: Its name.
        text: What was found, in words.
        is_wrong: Whether it is damaged, missing or in the way.
        lost: What is lost by it; empty where nothing is.
        remedy: How to mend it; empty where there is nothing to mend.
        mend: Mends it, and says what was done; None where that is the user's to do.
    """

    what: str
    text: str
    is_wrong: bool = False
    lost: str = ""
    remedy: str = ""
    mend: Callable[[], str] | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        found = {name: getattr(self, name) for name in ("what", "text", "is_wrong", "lost", "remedy")}
        return found | {"can_be_mended": self.mend is not None}


def moved(path: Path) -> Callable[[], str]:
    """Moves a file aside, once it is called, and says so."""
    return lambda: f"Moved aside to {move_aside(path).name}."


def damaged(path: Path, folder: Path, error: Exception, lost: str) -> Finding:
    """A file that cannot be read; one that cannot be opened may be whole, and stays."""
    name = str(path.relative_to(folder))
    text = error.what if isinstance(error, TfstiffError) else str(error)
    if isinstance(error, RecordUnreadable | OSError):
        return Finding(name, text, True, remedy="Check its permissions, and the disk or network that it is on.")
    if "newer tfstiff" in text:
        return Finding(name, text, True, remedy="Install the newest: pip install --upgrade tfstiff")
    return Finding(name, text, True, lost, "--repair moves it aside.", moved(path))
