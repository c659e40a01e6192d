"""The guard of speed: its rules, with ratios that are made up."""

import importlib.util
import sys
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def guard():
    spec = importlib.util.spec_from_file_location("guard_of_speed", FOLDER / "guard.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def table():
    return pd.DataFrame(
        [("A", "fc", 2.0), ("A", "cnn", 1.5), ("B", "fc", 3.0)],
        columns=["processor", "workload", "ratio"],
    )


def one_by_one(*ratios):
    waiting = list(ratios)
    return lambda: waiting.pop(0)


def test_the_ratio_of_this_processor_or_twice_that_of_another(guard, table):
    assert guard.bound_of(table, "fc", "A").most == pytest.approx(1.3 * 2)
    assert guard.bound_of(table, "fc", "C").most == pytest.approx(2 * 3)
    assert "another processor" in guard.bound_of(table, "fc", "C").why
    assert guard.bound_of(table, "lstm", "A").most == float("inf")
    assert guard.bound_of(table[:0], "fc", "A").most == float("inf")


@pytest.mark.parametrize(
    ("ratios", "tried", "holds"),
    [
        ((2.5,), 1, True),
        ((2.7, 2.5), 2, True),
        ((9.0, 2.7, 2.6), 3, True),
        ((2.7, 2.8, 2.9, 1.0), 3, False),
    ],
)
def test_the_best_of_three_tries_counts_and_no_more_are_made(guard, ratios, tried, holds):
    found = guard.verdict(one_by_one(*ratios), guard.Bound(2.6, ""))
    assert found.ratios == list(ratios[:tried])
    assert found.holds is holds


def test_what_is_stored_takes_the_place_of_what_was(guard, table):
    found = guard.with_ratios(table, "A", {"fc": 2.2222, "lstm": 4.0})
    rows = list(found.itertuples(index=False, name=None))
    assert rows == [
        ("A", "cnn", 1.5),
        ("A", "fc", 2.22),
        ("A", "lstm", 4.0),
        ("B", "fc", 3.0),
    ]
    assert guard.bound_of(found, "fc", "A").most == pytest.approx(1.3 * 2.22)


@pytest.mark.parametrize(("ratio", "code"), [(2.0, 0), (2.7, 1)])
def test_its_exit_code(guard, table, monkeypatch, tmp_path, capsys, ratio, code):
    path = tmp_path / "guard.csv"
    for name, value in {"TABLE": path, "WORKLOADS": {"fc": (1, {})}, "ratio_of": lambda name: lambda: ratio}.items():
        monkeypatch.setattr(guard, name, value)
    monkeypatch.setattr(guard, "processor_name", lambda: "A")
    monkeypatch.setattr(sys, "argv", ["guard.py"])
    table.to_csv(path, index=False)
    assert guard.main() == code
    said = capsys.readouterr()
    assert f"fc: {ratio:.2f}" in said.out
    assert ("slower" in said.err) is bool(code)
    monkeypatch.setattr(sys, "argv", ["guard.py", "--store"])
    assert guard.main() == 0
    assert guard.bound_of(pd.read_csv(path), "fc", "A").most == pytest.approx(1.3 * ratio)


def test_every_workload_is_one_of_the_benchmarks(guard):
    assert list(guard.WORKLOADS) == ["fc", "cnn", "encoder", "lstm"]
