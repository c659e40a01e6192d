"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sections import Column, Row, Section


def markdown(results: Mapping[str, Mapping[str, Any]], sections: Mapping[str, Section]) -> str:
    """A heading, what was measured on what, and a table, for each section that has results."""
    parts = ["# Results", "Written by `python benchmarks/run_all.py`."]
    for name, found in results.items():
        section = sections[name]
        parts += [f"## {section.TITLE}", section.TEXT.replace("\n", " "), _machine(found)]
        parts.append("\n".join(_table(section.COLUMNS, found["rows"])))
    return "\n\n".join(parts) + "\n"


def _machine(found: Mapping[str, Any]) -> str:
    machine = found["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.0f} GiB"
    quick = "; **quick**: few examples, for trying" if found["quick"] else ""
    return (
        f"{machine['date']}{quick}. {machine['processor']}, {machine['cores']} cores{memory}; {machine['system']}; "
        f"Python {machine['python']}; {packages}."
    )


def _table(columns: tuple[Column, ...], rows: list[Row]) -> list[str]:
    """Numbers to the right. A row that failed says why in the cells that it has no numbers for."""
    numeric = {column.key for column in columns if column.format}
    lines = [
        "| " + " | ".join(column.header for column in columns) + " |",
        "|" + "|".join("---:" if column.key in numeric else "---" for column in columns) + "|",
    ]
    for row in rows:
        cells = [_cell(column, row) for column in columns]
        if row.get("reason"):
            first = next(index for index, cell in enumerate(cells) if not cell)
            cells[first] = row["reason"].replace("|", "/")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _cell(column: Column, row: Row) -> str:
    value = row.get(column.key)
    if value is None or (row.get("reason") and not value):
        return ""
    return f"{value * column.scale if column.scale != 1 else value:{column.format}}"
