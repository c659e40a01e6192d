"""How values show themselves: a line as `repr`, a small table where they are printed, the same as HTML in a notebook.

What a line or a table says may need a room above this one, such as the intervals of analysis. That room is named and
imported when it is asked for, so that imports run one way.
"""

from __future__ import annotations

import dataclasses
import html
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LONGEST = 60  # characters of one value in a line
_MOST = 5  # names of a mapping, or items of a sequence, in a line


@dataclasses.dataclass(frozen=True)
class Showing:
    """What is shown of an object, plain text throughout.

    Attributes:
        line: All of it in one line, without the name of its class.
        header: Of the table's columns.
        rows: Of the table; as long as `header`.
        notes: Lines below it.
    """

    line: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()

    def text(self) -> str:
        """The line, the table and the notes as text."""
        lines = [on_one_line(self.line)]
        if self.rows:
            table = [[on_one_line(cell) for cell in row] for row in (self.header, *self.rows)]
            widths = [max(map(len, column)) for column in zip(*table, strict=True)]
            lines += ["  ".join(_aligned(row, widths)).rstrip() for row in table]
        return "\n".join([*lines, *map(on_one_line, self.notes)])

    def html(self) -> str:
        """The same as HTML, in which nothing that is shown is markup."""
        parts = [f"<p>{_escaped(self.line)}</p>"]
        if self.rows:
            head = "".join(f"<th>{_escaped(cell)}</th>" for cell in self.header)
            body = "".join(f"<tr>{''.join(f'<td>{_escaped(cell)}</td>' for cell in row)}</tr>" for row in self.rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        parts += [f"<p><small>{_escaped(note)}</small></p>" for note in self.notes]
        return f"<div>{''.join(parts)}</div>"


class Brief:
    """A dataclass whose `repr` is short: arrays by their shapes, many names by their number."""

    def __repr__(self) -> str:
        shown = (f"{name}={brief(getattr(self, name))}" for name in _shown_names(self))
        return f"{type(self).__name__}({', '.join(shown)})"


class Shown:
    """An object that shows itself by a line, and by a small table where it is printed or stands at a cell's end."""

    def _line(self) -> str:
        return self._showing().line

    def _showing(self) -> Showing:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({on_one_line(self._line())})"

    def __str__(self) -> str:
        return self._showing().text()

    def _repr_html_(self) -> str:
        return self._showing().html()


def from_above(room: str, name: str) -> Any:
    """A name of a module of a room above, imported when it is asked for."""
    return getattr(importlib.import_module(f"tfstiff.{room}"), name)


def brief(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, np.ndarray):
        return f"array of {'×'.join(map(str, value.shape)) or 'one number'}"
    if isinstance(value, bool | int) or value is None:
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return f"{{{_first(value)}}}"
    if isinstance(value, list | tuple):
        return f"[{_first(value)}]"
    return _cut(repr(value))


def on_one_line(text: str) -> str:
    """A text without line ends or characters that steer a terminal, which stand as Python writes them."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _shown_names(value: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(value) if field.repr]


def _first(values: Mapping[Any, Any] | Sequence[Any]) -> str:
    shown = ", ".join(brief(value) for value in list(values)[:_MOST])
    return shown + (f", … {len(values)} in all" if len(values) > _MOST else "")


def _cut(text: str) -> str:
    text = on_one_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _escaped(text: str) -> str:
    return html.escape(on_one_line(text))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """The first cell to the left, the others to the right."""
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
