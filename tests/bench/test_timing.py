import os
import time

import numpy as np
import pytest

from tfstiff.bench import timing as benchmarking
from tfstiff.bench.timing import BenchmarkFailed, Timing, in_new_process, machine, peak_memory, take_turns


def test_functions_take_turns():
    calls = []
    functions = {name: lambda name=name: calls.append(name) for name in "abc"}
    timings = take_turns(functions, rounds=2, warm_ups=1)
    assert "".join(calls) == "abc" * 3
    assert list(timings) == list("abc")
    assert all(len(timing.rounds) == 2 for timing in timings.values())


def test_medians_and_ratios_are_taken_over_rounds(monkeypatch):
    ticks = iter(np.cumsum([0, 1, 0, 2, 0, 10, 0, 30, 0, 3, 0, 3]))  # start, end, start, end, ...
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    timings = take_turns({"a": lambda: None, "b": lambda: None}, rounds=3, warm_ups=0)
    assert timings["a"].rounds == (1, 10, 3)
    assert timings["a"].seconds == 3
    assert timings["b"].ratio(timings["a"]) == 2  # of 2, 3 and 1


def test_ratio_needs_the_same_rounds():
    with pytest.raises(ValueError, match="shorter"):
        Timing((1.0, 2.0)).ratio(Timing((1.0,)))


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="no count of resident memory to begin anew")
@pytest.mark.parametrize("megabytes", [0, 40, 10])  # a smaller peak after a larger one
def test_peak_memory(megabytes):
    found = peak_memory(lambda: np.ones(megabytes * 125_000))
    assert found == pytest.approx(megabytes * 1e6, abs=2e6)


def test_peak_memory_where_an_earlier_peak_hides_it(monkeypatch):
    monkeypatch.setattr(benchmarking, "_status", lambda field: {"VmHWM": 900, "VmRSS": 500}[field])
    monkeypatch.setattr(benchmarking.Path, "write_text", _refuse)
    assert peak_memory(lambda: None) is None


def test_peak_memory_without_proc(monkeypatch):
    monkeypatch.setattr(benchmarking, "_status", lambda field: None)
    monkeypatch.setattr(benchmarking.Path, "write_text", _refuse)
    peaks = iter([100, 160])
    monkeypatch.setattr(benchmarking, "_peak_so_far", lambda: next(peaks))
    assert peak_memory(lambda: None) == 60


def _refuse(*_):
    raise OSError


def square(number):
    return number**2


def fail():
    raise ArithmeticError("No such number.")


def die():
    os._exit(7)


def test_a_new_process_answers():
    assert in_new_process(square, 7) == 49
    assert in_new_process(os.getpid) != os.getpid()


def test_a_new_process_has_its_variables(monkeypatch):
    monkeypatch.delenv("TFSTIFF_TEST", raising=False)
    assert in_new_process(os.getenv, "TFSTIFF_TEST", environment={"TFSTIFF_TEST": "yes"}) == "yes"
    assert "TFSTIFF_TEST" not in os.environ


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (fail, (), "ArithmeticError: No such number."),
        (die, (), "exit code 7"),
        (time.sleep, (60,), "Not done after 1 s"),
    ],
)
def test_a_new_process_that_fails(function, arguments, message):
    seconds = 1 if arguments else None
    with pytest.raises(BenchmarkFailed, match=message):
        in_new_process(function, *arguments, seconds=seconds)


def test_machine():
    found = machine("click")
    assert found["cores"] >= 1
    assert found["processor"]
    assert found["date"].endswith("UTC")
    assert {"tfstiff", "tensorflow", "keras", "numpy", "click"} <= found["packages"].keys()
    assert found["memory"] is None or found["memory"] > 1e9
