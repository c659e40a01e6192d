"""Many measurements, several threads and devices, a clock that jumps, a folder that was moved."""

import gc
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest
import synthetic_runs
import tensorflow as tf
from click.testing import CliRunner
from tfstiff_cli import main

from tfstiff import Probe, StiffnessCallback, load_run, measure
from tfstiff._keras import loops_over_time

X, Y = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32), np.arange(24) % 3
PROBE = Probe.from_arrays(train=(X, Y), validation=(-X, Y))


def compiled(width=5):
    keras.utils.set_random_seed(width)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(width, activation="tanh"), keras.layers.Dense(3)], name=f"of_{width}"
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def traces():
    kind = type(tf.function(lambda: None))
    return sum(one.experimental_get_tracing_count() for one in gc.get_objects() if type(one) is kind)


def test_many_measurements_trace_nothing_again():  # benchmarks/long_use.py makes 2000
    model = compiled()
    for _ in range(2):
        measure(model, PROBE)
    before = traces()
    for _ in range(10):
        model.set_weights([weight + 0.01 for weight in model.get_weights()])
        measure(model, PROBE)
    assert traces() == before > 0


def test_two_fits_in_two_threads_measure_what_they_do_one_after_the_other():
    def fitted(model):
        stiffness = StiffnessCallback(PROBE, [0, 1, 2])
        model.fit(X, Y, epochs=2, batch_size=12, shuffle=False, verbose=0, callbacks=[stiffness])
        return [one.scalars() for one in stiffness.history]

    alone = [fitted(compiled(width)) for width in (5, 6)]
    together = {}
    models = [compiled(width) for width in (5, 6)]
    threads = [threading.Thread(target=lambda m=m, n=n: together.update({n: fitted(m)})) for n, m in enumerate(models)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not tf.config.functions_run_eagerly()
    for place in (0, 1):
        for found, expected in zip(together[place], alone[place], strict=True):
            assert found == pytest.approx(expected, abs=1e-4, nan_ok=True)


ELSEWHERE = """
import json, sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, sys.argv[1])
from test_long_use import PROBE, compiled
from tfstiff import measure
with tf.device("CPU:1"):
    print(json.dumps(measure(compiled(), PROBE).scalars()))
"""


def test_loops_are_laid_out_anew_in_the_thread_that_traces_alone():
    found = []

    def wrap(name, loop):
        return lambda *_, **__: "changed"

    with loops_over_time(wrap):
        layer, x = keras.layers.SimpleRNN(2), np.zeros((1, 3, 2), np.float32)
        thread = threading.Thread(target=lambda: found.append(layer(x).shape))
        thread.start()
        thread.join()
        with pytest.raises(ValueError, match="unpack"):  # no three values
            layer(x)
    assert found == [(1, 2)]


def test_other_numbers_of_threads_and_a_second_logical_device():
    places = os.pathsep.join(sys.path)
    environment = os.environ | {"TF_NUM_INTRAOP_THREADS": "4", "TF_NUM_INTEROP_THREADS": "2", "PYTHONPATH": places}
    here = os.path.dirname(__file__)
    ended = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, here], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found == pytest.approx(measure(compiled(), PROBE).scalars(), abs=1e-4, nan_ok=True)


def test_a_clock_that_jumps_back(tmp_path, monkeypatch):
    real, jumps = time.time, itertools.count()
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * next(jumps))
    stiffness = StiffnessCallback(PROBE, [0, 1, 2], log_dir=tmp_path / "run")
    compiled().fit(X, Y, epochs=2, batch_size=12, verbose=0, callbacks=[stiffness])
    run = load_run(tmp_path / "run")
    assert [one.step for one in run.measurements] == [0, 2, 4]
    assert not CliRunner().invoke(main, ["show", str(tmp_path / "run")]).exception


def contents(folder):
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def test_a_folder_that_was_copied_or_packed_and_is_not_written_when_read(tmp_path):
    written = synthetic_runs.write_run(tmp_path / "run", synthetic_runs.series(3, num_classes=3))
    expected = [one.scalars() for one in written.measurements]
    shutil.copytree(tmp_path / "run", tmp_path / "copied")
    shutil.unpack_archive(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "run"), tmp_path / "unpacked")
    shutil.rmtree(tmp_path / "run")
    for name in ("copied", "unpacked"):
        folder = tmp_path / name
        before = contents(folder)
        found = [one.scalars() for one in load_run(folder).measurements]
        assert str(found) == str(expected)  # NaN as NaN
        for command in ("show", "doctor"):
            ended = CliRunner().invoke(main, [command, str(folder)])
            assert not ended.exception, ended.output
        assert contents(folder) == before
