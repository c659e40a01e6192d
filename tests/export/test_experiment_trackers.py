"""The code of docs/how-to/experiment-trackers.md, run as it stands there.

With the real Weights & Biases (offline) and MLflow (a local folder) where they are installed, else with doubles of what
the page uses of them.
"""

import importlib.util
import math
import re
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np
import pytest
from synthetic_runs import series, write_run

import tfstiff

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "experiment-trackers.md"
LOGGED = "stiffness_cosine_within_train_val"


def blocks(kind):
    found = re.findall(rf"^```python {kind}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the page's code may use, in a folder where runs/mine is a run."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5)).astype("float32"), np.arange(12) % 3
    model = keras.Sequential([keras.layers.Input((5,)), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    probe = tfstiff.Probe.from_arrays((x, y), (x + 0.1, y), size=9)
    return {"tfstiff": tfstiff, "model": model, "x_train": x, "y_train": y, "probe": probe}


class Recorder:
    """Takes rows of values, as (step or None, values)."""

    def __init__(self):
        self.rows = []

    def log(self, values, step=None):
        self.rows.append((step, dict(values)))


def double_of_wandb(monkeypatch):
    recorder = Recorder()

    class WandbMetricsLogger(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            recorder.log({f"epoch/{name}": value for name, value in logs.items()})

    @contextmanager
    def init(project):
        yield recorder

    module, callbacks = types.ModuleType("wandb"), types.ModuleType("wandb.integration.keras")
    module.init, callbacks.WandbMetricsLogger = init, WandbMetricsLogger
    for name, found in (("wandb", module), ("wandb.integration", module), ("wandb.integration.keras", callbacks)):
        monkeypatch.setitem(sys.modules, name, found)
    return lambda: recorder.rows


def real_wandb(monkeypatch, folder):
    """Offline, seen through what reaches the run: its files have no public reader."""
    for name, value in (("MODE", "offline"), ("SILENT", "true"), ("DIR", str(folder))):
        monkeypatch.setenv(f"WANDB_{name}", value)
    import wandb

    recorder = Recorder()
    log = wandb.Run.log

    def seen(run, data, step=None, **options):
        recorder.log(data, step)
        log(run, data, step, **options)

    monkeypatch.setattr(wandb.Run, "log", seen)
    return lambda: recorder.rows


def double_of_mlflow(monkeypatch):
    recorder = Recorder()

    class MlflowCallback(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            recorder.log(logs, step=epoch)

    @contextmanager
    def start_run():
        yield None

    module, callbacks = types.ModuleType("mlflow"), types.ModuleType("mlflow.keras")
    module.start_run, module.log_metrics, callbacks.MlflowCallback = start_run, recorder.log, MlflowCallback
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setitem(sys.modules, "mlflow.keras", callbacks)
    return lambda: recorder.rows


def real_mlflow(monkeypatch, folder):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    mlflow.set_tracking_uri(f"file://{folder}/mlruns")

    def rows():
        mlflow.flush_async_logging()
        client = mlflow.MlflowClient()
        runs = sorted(client.search_runs(["0"]), key=lambda run: run.info.start_time)
        values = {}
        for index, run in enumerate(runs):
            for name in run.data.metrics:
                for metric in client.get_metric_history(run.info.run_id, name):
                    values.setdefault((index, metric.step), {})[name] = metric.value
        return [(step, values[index, step]) for index, step in sorted(values)]

    return rows


def tracker(kind, monkeypatch, folder):
    if importlib.util.find_spec(kind) is None:
        return {"wandb": double_of_wandb, "mlflow": double_of_mlflow}[kind](monkeypatch)
    return {"wandb": real_wandb, "mlflow": real_mlflow}[kind](monkeypatch, folder)


@pytest.mark.parametrize(("kind", "prefix"), [("wandb", "epoch/"), ("mlflow", "")])
def test_the_examples_send_the_scalars_of_a_training_and_of_a_run(kind, prefix, names, tmp_path, monkeypatch):
    run = write_run(tmp_path / "runs" / "mine", series(3, 2))
    rows = tracker(kind, monkeypatch, tmp_path)
    for block in blocks(kind):
        exec(block, names)
    trained = [values for _, values in rows() if prefix + "loss" in values]
    assert len(trained) == 2
    published = names["stiffness"].history
    for values, m in zip(trained, published[1:], strict=True):
        for name, value in m.scalars().items():
            if math.isfinite(value):
                assert values[prefix + name] == pytest.approx(value, rel=1e-6), name
    sent = {step: values for step, values in rows() if "training_loss" in values}
    assert sorted(sent) == [m.step for m in run.measurements]
    for m in run.measurements:
        assert sent[m.step][LOGGED] == pytest.approx(m["train_val"].cosine.within, rel=1e-6)


def test_the_tensorboard_and_xarray_examples_run(names, tmp_path):
    for block in blocks("tensorboard"):
        exec(block, names)
    assert list((tmp_path / "runs" / "mine").glob("*tfevents*"))
    for block in blocks("xarray"):
        exec(block, names)
    assert names["within"].dims == ("measurement",)
    assert names["last"].dims == ("class_a", "class_b")
