"""Runs whose targets are numbers."""

import json

import keras
import numpy as np
import pytest

from tfstiff import RunSpec, run
from tfstiff.datasets import load, prepare
from tfstiff.errors import InvalidInput
from tfstiff.runs.data import RAW, load_examples
from tfstiff.runs.losses import LOSSES, OF_NUMBERS, chosen_loss, make_loss

SIZES = 40, 20


def write(path, targets):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(sum(SIZES), 5)).astype(np.float32)
    y = targets(x)
    np.savez(path, x_train=x[: SIZES[0]], y_train=y[: SIZES[0]], x_val=x[SIZES[0] :], y_val=y[SIZES[0] :])
    return f"npz:{path}"


def fractions(x):
    return (1000 + 50 * x[:, 0]).astype(np.float32)


def whole(x):
    return np.clip(np.round(2 * x[:, 0] + 3), 0, 6).astype(np.int64)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A run by Huber's loss on whole numbers, and its specification."""
    folder = tmp_path_factory.mktemp("runs")
    rest = {"hidden": (8,), "epochs": 2, "batch_size": 8, "keep_models": True, "schedule": "epoch"}
    spec = RunSpec(write(folder / "whole.npz", whole), training_loss="huber", **rest)
    return run(spec, folder / "run"), spec


def test_what_is_recorded_is_the_loss_of_standardised_numbers(ended):
    found, spec = ended
    assert found.status == "completed"
    assert (found.spec["loss"], found.spec["num_classes"], found.spec["num_outputs"]) == ("huber", None, 1)
    raw = np.load(spec.dataset.removeprefix("npz:"))
    mean, deviation = raw["y_train"].mean(), raw["y_train"].std()
    told = json.loads((found.folder / "meta.json").read_text())["dataset"]["preparation"]["targets"]
    assert told == pytest.approx({"mean": mean, "standard_deviation": deviation})
    last = found.measurements[-1]
    model = found.model_at(last.step)
    x = prepare(load(spec.dataset)).validation.x
    predicted = model.predict(x, verbose=0)[:, 0]
    away = np.abs(predicted - (raw["y_val"] - mean) / deviation)
    expected = np.where(away <= 1, away**2 / 2, away - 0.5).mean()
    assert last.validation.loss == pytest.approx(expected, rel=1e-5)
    assert np.isnan(last.validation.accuracy)
    assert last["train_val"].sign is None
    assert np.isfinite(last["train_val"].mean_cosine)
    assert last.train.num_examples == SIZES[0]  # the default probe, of fewer than 500 examples
    assert type(model.loss) is keras.losses.Huber
    assert "accuracy" not in (found.folder / "history.csv").read_text()
    assert not any(
        "_within_" in name for name in json.loads((found.folder / "scalars.jsonl").read_text().split("\n")[0])
    )


def test_numbers_are_those_of_the_file_where_inputs_are(ended):
    _, spec = ended
    data = load_examples(spec, RAW)
    raw = np.load(spec.dataset.removeprefix("npz:"))
    np.testing.assert_allclose(data.train.y, raw["y_train"], atol=1e-5)
    np.testing.assert_allclose(data.validation.y, raw["y_val"], atol=1e-5)
    assert data.num_classes is None


def test_whole_numbers_are_classes_but_for_a_loss_of_numbers(tmp_path):
    name = write(tmp_path / "whole.npz", whole)
    assert load_examples(RunSpec(name)).num_classes == 7
    assert load_examples(RunSpec(name, training_loss="mean_absolute_error")).num_classes is None
    numbers = load_examples(RunSpec(write(tmp_path / "fractions.npz", fractions)))
    assert numbers.num_classes is None
    assert (numbers.train.y.mean(), numbers.train.y.std()) == pytest.approx((0, 1), abs=1e-4)


def test_a_run_on_numbers_goes_on_by_the_same_command(ended):
    found, spec = ended
    again = run(spec, found.folder)
    assert again.status == "completed"
    assert [m.validation.loss for m in again.measurements] == [m.validation.loss for m in found.measurements]


@pytest.mark.parametrize(("name", "num_classes"), [*((one, 3) for one in OF_NUMBERS), (LOSSES[1], None)])
def test_a_loss_of_other_targets_is_refused(name, num_classes):
    with pytest.raises(InvalidInput, match=r"the targets of mine are (classes|numbers)"):
        chosen_loss(name, num_classes, "mine")


@pytest.mark.parametrize("name", LOSSES[1:])
def test_losses_are_those_of_keras_by_that_name(name):
    made = make_loss(name)
    rng = np.random.default_rng(0)
    if name in OF_NUMBERS:
        y, outputs = rng.normal(size=(2, 4, 1))
        assert float(made(y, outputs)) == pytest.approx(float(np.mean(keras.losses.get(name)(y, outputs))))
    else:
        y, outputs = np.array([0, 1, 2]), rng.normal(size=(3, 3))
        expected = np.log(np.exp(outputs).sum(1)) - outputs[np.arange(3), y]
        assert float(made(y, outputs)) == pytest.approx(expected.mean(), rel=1e-6)


def test_an_unknown_loss_is_refused_before_anything_is_read():
    with pytest.raises(InvalidInput):
        RunSpec("npz:nowhere.npz", training_loss="nosuch")
