"""Which tests reach which lines, and how long each takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import coverage
import pytest


class _Watcher:
    """Tells `coverage` which test runs, and keeps the seconds of those that pass."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self.measured, self.seconds = measured, dict[str, float]()
        self._failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        self.measured.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if not report.passed:
            self._failed.add(report.nodeid)

    def passed(self) -> dict[str, float]:
        return {test: seconds for test, seconds in self.seconds.items() if test not in self._failed}


class Reach:
    """The tests that reach a place.

    Attributes:
        seconds: What each test that passes takes, by its id.
        lines: The ids of the tests that reach a line, by "file:line".
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        known = json.loads(path.read_text()) if path.exists() else {"seconds": {}, "lines": {}}
        self.seconds: dict[str, float] = known["seconds"]
        self.lines: dict[str, list[str]] = known["lines"]

    def watch(self, packages: Sequence[str], tests: Sequence[str]) -> None:
        """Runs `tests` and keeps what they reach, instead of what those files' tests reached before."""
        measured = coverage.Coverage(data_file=None, source=list(packages))
        watcher = _Watcher(measured)
        measured.start()
        pytest.main([*tests, "-q", "-p", "no:randomly", "-p", "no:cacheprovider"], plugins=[watcher])
        measured.stop()
        seconds, files = watcher.passed(), {_file(test) for test in watcher.seconds}
        lines = {place: {test for test in found if _file(test) not in files} for place, found in self.lines.items()}
        for file in measured.get_data().measured_files():
            for line, found in measured.get_data().contexts_by_lineno(file).items():
                place = f"{Path(file).relative_to(Path.cwd())}:{line}"
                lines.setdefault(place, set()).update(test for test in found if test in seconds)
        self.seconds = {test: took for test, took in self.seconds.items() if _file(test) not in files} | seconds
        self.lines = {place: sorted(found) for place, found in lines.items()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"seconds": self.seconds, "lines": self.lines}))

    def tests(self, file: str, first: int, last: int, limit: float) -> list[str]:
        """The tests that reach lines `first` to `last`, the quickest first, of at most `limit` seconds together.

        Where no test reaches them, as when they run on import alone, those that reach `file` at all.
        """
        found = {test for line in range(first, last + 1) for test in self.lines.get(f"{file}:{line}", ())}
        if not found:
            found = {test for place, tests in self.lines.items() if place.startswith(f"{file}:") for test in tests}
        chosen, total = [], 0.0
        for test in sorted(found, key=lambda test: self.seconds[test]):
            total += self.seconds[test]
            if chosen and total > limit:
                break
            chosen.append(test)
        return chosen


def _file(test: str) -> str:
    return test.split("::")[0]
