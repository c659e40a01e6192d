"""Files of a run's folder that grow by a line, looked through: the lines that are whole outlive the others."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from tfstiff.errors import RecordUnreadable
from tfstiff.records.atomic import write_atomically
from tfstiff.records.reading import bytes_of
from tfstiff.runs.finding import Finding, damaged, moved

_FILES = ("events.jsonl", "history.csv", "timings.csv")  # nothing else holds what they do


def growing_files(folder: Path) -> Iterator[Finding]:
    """One finding a file."""
    for name in _FILES:
        path = folder / name
        if not path.exists():
            continue
        try:
            content = bytes_of(path)
        except RecordUnreadable as error:
            yield damaged(path, folder, error, "")
            continue
        lines = content.split(b"\n")[:-1] if content else []
        width = _cells(lines[0]) if lines and name.endswith("csv") else None
        whole = [line for line in lines if _is_whole(line, width)]
        is_cut = bool(content) and not content.endswith(b"\n")
        if len(whole) == len(lines) and not is_cut:
            yield Finding(name, f"{len(lines)} lines, each whole")
            continue
        number = len(lines) - len(whole) + is_cut
        text = f"{number} of its lines {'is' if number == 1 else 'are'} damaged."

        def kept(path: Path = path, whole: list[bytes] = whole) -> str:
            where = moved(path)()
            write_atomically(path, lambda file: file.write(b"".join(line + b"\n" for line in whole)))
            return f"{where} The lines that are whole were kept."

        yield Finding(name, text, True, "what these lines told", "--repair keeps the others.", kept)


def _cells(line: bytes) -> int | None:
    try:
        return len(next(csv.reader(io.StringIO(line.decode()))))
    except (ValueError, csv.Error, StopIteration):
        return -1  # that of no line


def _is_whole(line: bytes, width: int | None) -> bool:
    if width is not None:
        return b"\0" not in line and _cells(line) == width
    try:
        return isinstance(json.loads(line.decode()), dict)
    except (ValueError, RecursionError):
        return False
