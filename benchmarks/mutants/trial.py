"""One change put to the tests, in a process of its own."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from changes import Change
from hypothesis import Phase, settings

SURVIVED = "survived"


class _Stopper:
    """Keeps the first failure. Hypothesis need not make it smaller."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_configure(self) -> None:
        settings.register_profile("mutants", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
        settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def warm_up() -> None:
    """Imports what takes long and is not changed, so that a fork has it. No operation may run before the fork."""
    for name in ("tensorflow", "keras", "scipy.stats", "scipy.optimize", "hypothesis"):
        importlib.import_module(name)


def verdict(change: Change, tests: list[str], seconds: float) -> str:
    """The id of the first of `tests` that fails with `change`, "import", "timeout" after `seconds`, or `SURVIVED`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os.close(reading)
        _quiet()
        try:
            os.write(writing, _judged(change, tests).encode())
        finally:
            os._exit(0)
    os.close(writing)
    until = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)
            return "timeout"
        time.sleep(0.05)
    with os.fdopen(reading) as answer:
        return answer.read() or "crash"


def _quiet() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)


def _judged(change: Change, tests: list[str]) -> str:
    code = compile(change.applied(), str(Path(change.file).resolve()), "exec", dont_inherit=True)
    unchanged = SourceFileLoader.get_code

    def get_code(self: SourceFileLoader, fullname: str) -> CodeType | None:
        is_changed = Path(self.path).resolve() == Path(change.file).resolve()
        return code if is_changed else unchanged(self, fullname)

    SourceFileLoader.get_code = get_code  # type: ignore[method-assign]
    name = change.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if any(loaded.split(".")[0] == "tfstiff" for loaded in sys.modules):
        return "broken: imported before the fork"
    try:
        importlib.import_module(name)
    except Exception:
        return "import"
    stopper: Any = _Stopper()
    status = pytest.main([*tests, "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"], plugins=[stopper])
    if status == pytest.ExitCode.OK:
        return SURVIVED
    return stopper.failed or f"broken: pytest ended with {status}"
