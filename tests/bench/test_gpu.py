"""The benchmark of GPUs: its logic, on a logical device of the processor."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from tfstiff.bench.timing import in_new_process

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")


def on_the_second_processor(folder):
    """In a process of its own: two logical devices, of which the second computes."""
    sys.path.insert(0, BENCHMARKS)
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    gpu = importlib.import_module("gpu")
    gpu.ROUNDS = 1
    path = str(Path(folder) / "processor.npz")
    return gpu.on_processor("fc", 20, path, "CPU"), gpu.on_device("fc", 20, path, "CPU")


def test_what_a_device_computes_is_compared_and_timed(tmp_path):
    nothing, found = in_new_process(on_the_second_processor, str(tmp_path))
    assert nothing == {}
    assert found["place"] == "CPU:1"
    for name in ("gram", "cosines", "gram, full float32", "cosines, full float32"):
        assert 0 <= found[name] < 1e-5
    assert found["ratio"] > 0
    assert np.isfinite([found["measure, ms"], found["forward+backward, ms"]]).all()


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delitem(sys.modules, "gpu", raising=False)
    yield importlib.import_module("gpu")
    sys.modules.pop("gpu", None)


@pytest.mark.parametrize("names", [[], ["A GPU"]])
def test_elsewhere_it_says_why_it_does_nothing(gpu, monkeypatch, capsys, tmp_path, names):
    monkeypatch.setattr(gpu, "TABLE", tmp_path / "gpu.csv")
    monkeypatch.setattr(gpu, "in_new_process", lambda function, *arguments, **_: names if arguments == ("GPU",) else {})
    assert gpu.main(["--models", "fc,cnn"]) == 0
    said = capsys.readouterr().out
    assert ("sees no GPU" in said) is not bool(names)
    assert (tmp_path / "gpu.csv").exists() is bool(names)


def test_one_that_fails_or_comes_too_late_has_its_reason(gpu, monkeypatch):
    def in_new_process(function, name, *rest, seconds, environment):
        assert environment == (gpu.NO_GPU if function is gpu.on_processor else {})
        assert seconds <= 100
        if name == "cnn":
            raise gpu.BenchmarkFailed("no memory")
        return {"ratio": 2.0} if function is gpu.on_device else {}

    monkeypatch.setattr(gpu, "in_new_process", in_new_process)
    table = gpu.rows(["fc", "cnn"], 20, "GPU", 100).set_index("model")
    assert table.loc["fc", "ratio"] == 2.0
    assert table.loc["cnn", "reason"] == "no memory"
    assert gpu.rows(["fc"], 20, "GPU", 0)["reason"][0] == "No time is left of 0 s."
