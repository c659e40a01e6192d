"""Each test that docs/reliability.md names is there, and what no test shows is said not to be handled."""

import re
from pathlib import Path

_TESTS = Path(__file__).parents[1]
_PAGE = (_TESTS.parent / "docs" / "reliability.md").read_text(encoding="utf-8")
_ROWS = [line for line in _PAGE.splitlines() if line.startswith("| ") and not line.startswith("| fault")]


def named(text):
    return re.findall(r"`([\w/]+\.py)::(\w+)`", text)


def test_every_test_that_is_named_is_there():
    assert len(named(_PAGE)) > 100
    missing = [
        f"{path}::{name}"
        for path, name in named(_PAGE)
        if not re.search(rf"^def {name}\(", (_TESTS / path).read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not missing


def test_what_no_test_shows_is_said_not_to_be_handled():
    assert len(_ROWS) > 70
    for row in _ROWS:
        assert named(row.split("|")[3]) or "**" in row, row
