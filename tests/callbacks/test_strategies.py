"""Training on several devices: the measurements are those of one."""

import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, RunSpec, StiffnessCallback, load_run
from tfstiff.errors import InvalidInput, UnsupportedModel

# Logical devices can be made only before TensorFlow starts.
_TWO_DEVICES = textwrap.dedent("""
    import sys
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from tfstiff import RunSpec
    from tfstiff.runs.run import run
    for strategy in ("none", "mirrored"):
        run(RunSpec(sys.argv[1], hidden=(16,), probe_size=(40, 30), epochs=2, strategy=strategy), strategy)
""")


def test_two_devices_measure_what_one_does(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = (rng.normal(size=(240, 6)) + 2 * np.eye(6)[y]).astype("float32")
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=x[:160], y_train=y[:160], x_validation=x[160:], y_validation=y[160:])
    subprocess.run([sys.executable, "-c", _TWO_DEVICES, f"npz:{path}"], check=True, cwd=tmp_path)
    one, two = (load_run(tmp_path / name) for name in ("none", "mirrored"))
    assert two.status == "completed"
    assert len(two.measurements) == len(one.measurements) > 3
    for first, second in zip(one.measurements, two.measurements, strict=True):
        assert first.learning_rate == second.learning_rate > 0
        assert first.updates == second.updates == first.step
        assert second.scalars() == pytest.approx(first.scalars(), rel=1e-4, abs=1e-5, nan_ok=True)


def test_training_by_several_processes_is_refused():
    with tf.distribute.MultiWorkerMirroredStrategy().scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = np.ones((8, 4), "float32"), np.arange(8) % 2
    probe = Probe.from_arrays((x, y), (x, y), size=None)
    stiffness = StiffnessCallback(probe)
    stiffness.set_model(model)
    with pytest.raises(UnsupportedModel, match="several processes"):
        stiffness.on_train_begin()


def test_an_unknown_strategy():
    with pytest.raises(InvalidInput, match="Unknown strategy"):
        RunSpec(strategy="tpu")
