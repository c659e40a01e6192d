"""Cells of CSV files that spreadsheets open."""

from __future__ import annotations

from typing import Any

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is run by spreadsheets


def harmless(value: Any) -> Any:
    """The value of a cell; a text that a spreadsheet would take for a formula has an apostrophe before it."""
    if not isinstance(value, str) or not value.startswith(_FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
