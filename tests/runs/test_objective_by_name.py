"""`--objective module:function` on the commands: measured as in Python, and imported only where it is named."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from own_code import code_of_ones_own
from tfstiff_cli import main

from tfstiff import RunSpec, load_run, measure, run
from tfstiff.errors import InvalidInput
from tfstiff.runs.data import draw_probe, load_examples
from tfstiff.sweeps import plan_sweep, write_sweep

NAME = "tfstiff_own_objective:smoothed"
CODE = """
import keras

def smoothed(model, x, y):
    scores = model(x, training=False)
    rows = 0.8 * keras.ops.one_hot(y, 3) + 0.2 / 3
    return keras.ops.categorical_crossentropy(rows, scores, from_logits=True), scores

none = 3
"""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objective")
    y, rng = np.arange(60) % 3, np.random.default_rng(0)
    x = (rng.normal(size=(60, 6)) + 2 * np.eye(6)[y]).astype(np.float32)
    np.savez(folder / "mine.npz", x_train=x[:40], y_train=y[:40], x_validation=x[40:], y_validation=y[40:])
    with code_of_ones_own(folder, "tfstiff_own_objective", CODE):
        yield folder


def spec_of(**changes):
    options = {"objective": NAME, "epochs": 1, "schedule": "epoch", "hidden": (4,), "keep_models": True}
    return RunSpec("npz:mine.npz", probe_size=(9, 6), **options | changes)


@pytest.fixture(scope="module")
def finished(place):
    return run(spec_of(), place / "run")


def expected(finished, step, **objective):
    probe = draw_probe(spec_of(), load_examples(spec_of()))
    return measure(finished.model_at(step), probe, **objective)


def tfstiff(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_a_run_measures_it_and_trains_by_its_loss(finished):
    import tfstiff_own_objective

    for found in finished.measurements:
        by_hand = expected(finished, found.step, objective=tfstiff_own_objective.smoothed)
        assert found.scalars() == pytest.approx(by_hand.scalars(), nan_ok=True, abs=1e-5)
        assert found.train.loss == pytest.approx(by_hand.train.loss, rel=1e-5)
        assert found.train.accuracy == by_hand.train.accuracy
        assert found.train.loss != pytest.approx(expected(finished, found.step).train.loss, rel=1e-3)
    plain = run(spec_of(objective=None), finished.folder.parent / "plain")
    assert plain.model_at(2).get_weights()[0] == pytest.approx(finished.model_at(2).get_weights()[0])


def test_measuring_a_run_takes_it_again_another_or_a_loss(finished):
    folder = finished.folder
    result = tfstiff("measure", folder, "--out", "refused")
    assert result.exit_code == 2
    assert f"--objective {NAME}" in result.output
    assert tfstiff("measure", folder, "--objective", NAME, "--out", "again").exit_code == 0
    for found, before in zip(load_run("again").measurements, finished.measurements, strict=True):
        assert found.scalars() == pytest.approx(before.scalars(), nan_ok=True, abs=1e-5)
        assert found.train.loss == pytest.approx(before.train.loss, rel=1e-5)
    loss = "sparse_categorical_crossentropy"
    assert tfstiff("measure", folder, "--loss", loss, "--out", "by-loss").exit_code == 0
    assert load_run("by-loss").spec["objective"] is None
    both = tfstiff("measure", folder, "--loss", loss, "--objective", NAME, "--out", "both")
    assert both.exit_code == 2
    assert "not both" in both.output
    spread = tfstiff("measure", folder, "--objective", NAME, "--jobs", "2", "--out", "spread")
    assert spread.exit_code == 2
    assert "Leave out --jobs" in spread.output


def test_a_folder_of_anybodys_runs_no_code_of_its_choice(finished, tmp_path):
    config = json.loads((finished.folder / "config.json").read_text()) | {"objective": "subprocess:call"}
    (tmp_path / "evil" / "records").mkdir(parents=True)
    (tmp_path / "evil" / "config.json").write_text(json.dumps(config))
    write_sweep(plan_sweep(tmp_path / "sweep", [dataclasses.replace(spec_of(), objective="subprocess:call")])[0])
    for command in (("run", "--resume", tmp_path / "evil"), ("sweep", "--dry-run", "--resume", tmp_path / "sweep")):
        result = tfstiff(*command)
        assert result.exit_code == 2
        assert "names code of its own" in result.output
        assert "--objective subprocess:call" in result.output
    assert (
        tfstiff("sweep", "--dry-run", "--resume", tmp_path / "sweep", "--objective", "subprocess:call").exit_code == 0
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here:loss", "cannot be imported"),
        ("tfstiff_own_objective:missing", "cannot be imported"),
        ("tfstiff_own_objective:none", "is no function"),
    ],
)
def test_what_cannot_be_imported_is_told_before_training(name, message, tmp_path):
    with pytest.raises(InvalidInput, match=message):
        run(spec_of(objective=name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_objective_has_a_module():
    for name in ("mse", ":loss", "losses:"):
        with pytest.raises(InvalidInput, match="function of your own"):
            spec_of(objective=name)
    assert keras.losses.get("mse")  # which --loss takes
