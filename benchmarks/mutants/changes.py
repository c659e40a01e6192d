"""The ways in which a source file is changed, each at one place."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_UNSEEN = ("annotation", "returns", "decorator_list", "bases")  # of no effect at run time, most of them


@dataclass(frozen=True)
class Change:
    """`before`, at `line` and `column` (in bytes, from 0) of `file`, becomes `after`."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {_short(self.before)} → {_short(self.after)}"

    def applied(self) -> str:
        """The source of `file` with the change."""
        lines = Path(self.file).read_bytes().splitlines(keepends=True)
        head = b"".join(lines[: self.line - 1]) + lines[self.line - 1][: self.column]
        tail = lines[self.end_line - 1][self.end_column :] + b"".join(lines[self.end_line :])
        return (head + self.after.encode() + tail).decode()


def changes_of(path: Path) -> list[Change]:
    """Every change of one source file, in the order of its lines."""
    source = path.read_text()
    found = set()
    for node in _visited(ast.parse(source)):
        for old, new in _replacements(node):
            before, after = ast.get_source_segment(source, old) or "", ast.unparse(new)
            span = old.lineno, old.col_offset, old.end_lineno, old.end_col_offset
            found.add(Change(str(path), *span, before, f"({after})" if isinstance(old, ast.expr) else after))
    return sorted(found, key=lambda change: (change.line, change.column, change.after))


def _visited(node: ast.AST) -> Iterator[ast.AST]:
    """`node` and all below it, but for annotations, decorators, texts and what is said of an error."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in _UNSEEN or isinstance(node, ast.JoinedStr | ast.Raise):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_typing(child):
                yield from _visited(child)


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _replacements(node: ast.AST) -> Iterator[tuple[Any, ast.AST]]:
    """A part of `node`, or all of it, and what may stand in its place."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            changed = copy.copy(node)
            changed.ops = [*node.ops[:index], _OPERATORS[type(operator)](), *node.ops[index + 1 :]]
            yield node, changed
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        changed = copy.copy(node)
        changed.op = _OPERATORS[type(node.op)]()
        yield node, changed
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node, node.operand
    elif isinstance(node, ast.Constant):
        for constant in _constants(node.value):
            yield node, constant
    elif isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg:
                changed = copy.copy(node)
                changed.keywords = [*node.keywords[:index], *node.keywords[index + 1 :]]
                yield node, changed
    elif isinstance(node, ast.IfExp):
        yield node, ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.If | ast.While) and not _is_negated_by_another_change(node.test):
        yield node.test, ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.comprehension):
        yield from ((test, ast.Constant(True)) for test in node.ifs)
    elif isinstance(node, ast.Return) and ast.unparse(node) not in ("return", "return None"):
        yield node, ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Break | ast.Continue):
        yield node, ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    elif _may_be_missing(node):
        yield node, ast.Pass()


def _constants(value: object) -> list[ast.expr]:
    if isinstance(value, bool):
        return [ast.Constant(not value)]
    if not isinstance(value, int | float):
        return []
    less = ast.Constant(value - 1) if value >= 1 else ast.UnaryOp(ast.USub(), ast.Constant(1 - value))
    return [ast.Constant(value + 1), less]


def _is_negated_by_another_change(test: ast.expr) -> bool:
    if isinstance(test, ast.Compare):
        return not isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE) and len(test.ops) == 1
    return isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)


def _may_be_missing(node: ast.AST) -> bool:
    """Whether a statement can be left out with every name still defined."""
    if isinstance(node, ast.Assign):
        return not any(isinstance(target, ast.Name | ast.Tuple) for target in node.targets)
    return isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Yield))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:87]}…"
