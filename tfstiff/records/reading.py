"""Files of JSON, read as what may come from anybody: bounded, typed errors alone, no control characters.

A text with an escape sequence in it would, printed, move the cursor, or write to the clipboard of some terminals.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tfstiff.errors import RecordCorrupt, RecordUnreadable, listed

_LARGEST = 64 * 2**20  # bytes; the files of the longest runs are far smaller
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # bidirectional ones too


def read_object(path: Path) -> dict[str, Any]:
    """Reads a file that holds a JSON object.

    Raises:
        RecordCorrupt: It does not, or is too large.
        RecordUnreadable: It cannot be opened.
    """
    try:
        value = _parsed(_text_of(path))
    except (ValueError, RecursionError) as error:
        raise RecordCorrupt(f"{path} is not JSON: {_reason(error)}") from error
    if not isinstance(value, dict):
        raise RecordCorrupt(f"{path} does not hold a JSON object.", received=value)
    return value


def read_lines(path: Path) -> tuple[list[dict[str, Any]], list[RecordCorrupt]]:
    """Reads a file of a JSON object a line; the last may be half written.

    Returns:
        The objects; and an error that names the lines that hold none, where there are any.

    Raises:
        RecordCorrupt: The file is too large.
        RecordUnreadable: It cannot be opened.
    """
    found, damaged = [], []
    content = bytes_of(path, _LARGEST)
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            value = _parsed(line.decode())
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            found.append(value)
        else:
            damaged.append(str(number))
    if not damaged:
        return found, []
    which = listed(damaged, 10)
    return found, [RecordCorrupt(f"{path} does not hold a JSON object in line {which}; the other lines are read.")]


def bytes_of(path: Path, largest: int | None = None) -> bytes:
    """The content of a file.

    Raises:
        RecordCorrupt: It holds more than `largest` bytes, where that is given.
        RecordUnreadable: It cannot be opened.
    """
    try:
        with path.open("rb") as file:
            content = file.read() if largest is None else file.read(largest + 1)
    except OSError as error:
        raise RecordUnreadable(
            f"{path} cannot be read now: {error.strerror or error}.",
            remedy="Nothing says that it is damaged: check its permissions, and the disk or network that it is on.",
        ) from error
    if largest is not None and len(content) > largest:
        raise RecordCorrupt(f"{path} is too large to be what its name says.", expected=f"at most {largest:,} bytes")
    return content


def printable(text: str) -> str:
    """The text with a replacement character for each control character but tab and line feed."""
    return _CONTROLS.sub("\ufffd", text)


def _text_of(path: Path) -> str:
    return bytes_of(path, _LARGEST).decode()


def _parsed(text: str) -> Any:
    return _without_controls(json.loads(text))


def _without_controls(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_without_controls(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): _without_controls(item) for key, item in value.items()}
    return value


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
