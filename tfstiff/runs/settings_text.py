"""Settings of a run as they stand on the command line and in files, made into values. Imports no TensorFlow."""

from __future__ import annotations

from typing import Any

from tfstiff.errors import InvalidInput


def not_plain(what: str, expected: str, received: Any) -> InvalidInput:
    """The error of a setting that a file cannot hold."""
    text = f"The {what} of a run must be plain, so that it can be kept with it."
    return InvalidInput(text, expected=expected, received=received)


def widths(text: str) -> tuple[int, ...]:
    """`500,300,100`."""
    try:
        return tuple(int(width) for width in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not a list of whole numbers such as 500,300,100.") from None


def losses(text: str) -> tuple[float, ...]:
    """`1.0,0.3,0.1`, or `none`."""
    if text == "none":
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is not a loss such as 0.1, several such as 1.0,0.3,0.1, or none.") from None


def probe_size(text: str) -> tuple[int, int]:
    """`500`, or `500:1000`."""
    parts = text.split(":")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not a number such as 500, or two such as 500:1000.")
    return int(parts[0]), int(parts[-1])


def schedule(text: str) -> str | int | tuple[float, ...]:
    """`log`, `epoch`, `100` or `0,0.5,1,5`."""
    if text in ("log", "epoch"):
        return text
    try:
        return int(text) if text.isdigit() else tuple(float(point) for point in text.split(","))
    except ValueError:
        raise ValueError(
            f"{text!r} is not log, epoch, a number of steps such as 100, or a list of epochs such as 0,0.5,1,5."
        ) from None
