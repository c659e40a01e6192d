"""A log folder that holds the records of a run: refused, moved aside, or gone on with."""

import json

import keras
import numpy as np
import pytest

from tfstiff import Probe, StiffnessCallback, load_run
from tfstiff.errors import InvalidInput
from tfstiff.records import RunWriter

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 5)).astype(np.float32), np.arange(24) % 3
PROBE = Probe.from_arrays((X[:12], Y[:12]), (X[12:], Y[12:]))


class Boom(keras.callbacks.Callback):
    """Ends the process, as far as callbacks see it, after some batches of an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 8:  # the third of epoch 2
            raise RuntimeError("killed")


def built():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def fit(place, *others, epochs=4, model=None, probe=PROBE, **options):
    """3 steps an epoch, measured at every step."""
    stiffness = StiffnessCallback(probe, 1, log_dir=place / "run", **options)
    backup = keras.callbacks.BackupAndRestore(str(place / "backup"))
    model = model or built()
    try:
        model.fit(X, Y, batch_size=8, shuffle=False, epochs=epochs, verbose=0, callbacks=[backup, stiffness, *others])
    finally:
        stiffness.on_train_end()  # a process that ends lets go of its folder
    return stiffness


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("alone"))


def killed(place):
    with pytest.raises(RuntimeError, match="killed"):
        fit(place, Boom())
    return load_run(place / "run")


def lines(folder, name):
    return (folder / name).read_text().splitlines()


def test_a_script_that_is_started_again_goes_on_to_the_same(tmp_path, alone):
    run = killed(tmp_path)
    assert [m.step for m in run.measurements][-1] == 8  # past the backup, which is of the end of epoch 2
    RunWriter(run.folder).add_event({"event": "early", "step": 3})
    RunWriter(run.folder).add_event({"event": "late", "step": 8})
    before = {path.name: path.read_bytes() for path in (run.folder / "records").iterdir()}
    stiffness = fit(tmp_path, resume=True)
    assert [m.step for m in stiffness.history] == [m.step for m in alone.history] == [*range(13)]
    for found, expected in zip(load_run(run.folder).measurements, alone.history, strict=True):
        assert found.scalars() == pytest.approx(expected.scalars(), rel=1e-4, abs=1e-5, nan_ok=True)
        assert found.epoch == expected.epoch
    steps = [json.loads(line)["step"] for line in lines(run.folder, "scalars.jsonl")]
    assert steps == [*range(13)]
    assert [line.split(",")[0] for line in lines(run.folder, "timings.csv")] == ["step", *map(str, range(13))]
    assert [event["event"] for event in load_run(run.folder).events] == ["early"]
    assert len(stiffness.seconds) == 13
    kept = {path.name.partition(".aside-")[0]: path.read_bytes() for path in (run.folder / "records").glob("*.aside-*")}
    assert kept == {name: before[name] for name in ("step-00000007.npz", "step-00000008.npz")}


def test_begun_anew_all_that_was_there_is_moved_aside(tmp_path, alone):
    run = killed(tmp_path)
    for path in sorted((tmp_path / "backup").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    stiffness = fit(tmp_path, resume=True)
    assert [m.step for m in stiffness.history] == [*range(13)]
    assert len(list((run.folder / "records").glob("*.aside-*"))) == 9


def test_overwrite_moves_the_folder_aside(tmp_path):
    run = killed(tmp_path)
    before = sorted(path.name for path in (run.folder / "records").iterdir())
    with pytest.warns(UserWarning, match="were moved to .*aside"):
        stiffness = fit(tmp_path, overwrite=True)
    (aside,) = tmp_path.glob("run.aside-*")
    assert sorted(path.name for path in (aside / "records").iterdir()) == before
    assert len(load_run(run.folder).measurements) == len(stiffness.history)


def test_what_cannot_be(tmp_path):
    killed(tmp_path)
    with pytest.raises(InvalidInput, match=r"another run(.|\n)*overwrite=True(.|\n)*resume=True"):
        fit(tmp_path)
    other = Probe.from_arrays((X[:10], Y[:10]), (X[12:], Y[12:]))
    with pytest.raises(InvalidInput, match="another probe"):
        fit(tmp_path, probe=other, resume=True)
    with pytest.raises(InvalidInput, match="Choose one"):
        StiffnessCallback(PROBE, overwrite=True, resume=True)


def test_a_new_folder_is_as_ever(tmp_path, alone):
    for options in ({"resume": True}, {"overwrite": True}):
        place = tmp_path / next(iter(options))
        assert len(fit(place, epochs=1, **options).history) == 4


def test_the_folder_says_how_training_stands(tmp_path):
    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.seen = (load_run(tmp_path / "run").status, load_run(tmp_path / "run").is_running)

    look = Look()
    fit(tmp_path, look, epochs=1)
    assert look.seen == ("running", True)
    run = load_run(tmp_path / "run")
    assert (run.status, run.is_running) == ("completed", False)
    assert run.state["ended"]
