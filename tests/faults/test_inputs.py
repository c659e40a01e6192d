"""What cannot be used as given ends in words, before training, and leaves nothing in the way."""

import dataclasses
import math
import sys
import types

import keras
import numpy as np
import pytest

from tfstiff import Probe, RunSpec, StiffnessCallback, models, run
from tfstiff.errors import DatasetCorrupt, InvalidInput, TfstiffError
from tfstiff.measuring.distributed.job import write_job
from tfstiff.measuring.distributed.part_file import read_part
from tfstiff.records.names import check_name
from tfstiff.sweeps import plan_sweep

NAMES = [field.name for field in dataclasses.fields(RunSpec)]
VALUES = [None, "x", "", 5, -1, 0, 1.5, math.nan, math.inf, 10**20, True, [], [None], ["x"], [-1], [1, 2, 3], {}, [[1]]]
X, Y = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32), np.arange(24) % 3


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_wrong_kind(name):
    """A config.json may hold anything."""
    accepted = 0
    for value in VALUES:
        try:
            found = RunSpec.from_config({name: value})
            found.as_config()
            found.measured_steps(10)
            accepted += 1
        except InvalidInput:
            pass
    assert accepted < len(VALUES)


@pytest.mark.parametrize("epochs", [99999999999999999999, 2**31, 2**31 - 1])
def test_more_epochs_than_there_can_be(epochs):
    with pytest.raises(InvalidInput, match=r"whole number above 0|measurements"):
        RunSpec(epochs=epochs).measured_steps(100)


@pytest.fixture
def broken(monkeypatch):
    module = types.ModuleType("broken_networks")
    module.none = lambda *_: None
    module.one = lambda shape: None
    module.number = 7

    def fails(shape, classes):
        raise RuntimeError("no such thing")

    module.fails = fails
    monkeypatch.setitem(sys.modules, "broken_networks", module)


@pytest.mark.parametrize(
    ("arch", "says"),
    [
        (":x", "Unknown architecture"),
        ("x:", "Unknown architecture"),
        (":", "Unknown architecture"),
        ("json:loads", "cannot be built: TypeError"),
        ("os:system", "cannot be built: TypeError"),
        ("os:nosuch", "cannot be imported"),
        ("no.such:thing", "cannot be imported"),
        ("..x:y", "cannot be imported"),
        ("broken_networks:none", "did not build a Keras 3 model"),
        ("broken_networks:one", "cannot be built: TypeError"),
        ("broken_networks:fails", r"cannot be built: RuntimeError: no such thing \(.*test_inputs.py, line \d+\)"),
        ("broken_networks:number", "is no function"),
    ],
)
def test_architectures_that_are_none(broken, arch, says):
    with pytest.raises(InvalidInput, match=says):
        models.build(arch, (4,), 3)


@pytest.mark.parametrize("name", ["a" * 300, "a\x1b[2Jb", "a\nb", "a\x00b", "ä" * 150])
def test_names_that_no_folder_can_have(tmp_path, name):
    probe = Probe.from_arrays(train=(X, Y), validation=(-X, Y))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for use in (
        lambda folder: run(RunSpec(), folder),
        lambda folder: plan_sweep(folder, [RunSpec()]),
        lambda folder: model.fit(X, Y, verbose=0, callbacks=[StiffnessCallback(probe, log_dir=folder)]),
    ):
        with pytest.raises(InvalidInput, match="The name of a folder"):
            use(tmp_path / name / "run")
    assert not list(tmp_path.iterdir())


def test_names_of_folders_that_are_fine(tmp_path):
    for name in ("a", "lr=1e-4, seed 3", "Größe", "日本語", "a" * 200):
        check_name(tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.where(Y == 1, np.nan, Y), "NaN or infinite"),
        (np.where(Y == 1, np.inf, Y + 0.5), "NaN or infinite"),
        (np.array([object()] * 24), "cannot be read"),
        (np.array(["a", None, "b"] * 8, object), "cannot be read"),
        (Y + 1j, "cannot be read"),
        (np.array(Y, "datetime64[s]"), "cannot be read"),
    ],
)
def test_labels_that_are_none(labels, says):
    with pytest.raises(InvalidInput, match=says):
        Probe.from_arrays(train=(X, labels), validation=(-X, labels))


def test_labels_that_are_fine():
    for labels in (np.array([*"abc"] * 8, object), [b"a", b"b", b"c"] * 8, Y.astype(object), np.array([*"abc"] * 8)):
        assert Probe.from_arrays(train=(X, labels), validation=(-X, labels)).num_classes == 3
    missing = np.where(Y == 1, np.nan, Y)
    assert Probe.from_arrays(train=(X, missing), validation=(-X, missing), classes=None).num_classes is None


def test_classes_of_one_name():
    for names in (("a", "b", "a"), ["x"] * 3):
        with pytest.raises(InvalidInput, match="have one name"):
            Probe.from_arrays(train=(X, Y), validation=(-X, Y), class_names=names)


@pytest.fixture
def spec(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=X, y_train=Y, x_validation=-X, y_validation=Y)
    return RunSpec(
        f"npz:{tmp_path / 'd.npz'}", epochs=3, batch_size=8, probe_size=(9, 6), hidden=(4,), schedule=(0.0, 3.0)
    )


@pytest.fixture
def limits(monkeypatch):
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)
    yield keras.config
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


def test_what_is_refused_leaves_nothing_in_the_way(tmp_path, spec, limits):
    limits.set_max_steps_per_epoch(2)
    with pytest.raises(InvalidInput, match="KERAS_MAX_STEPS_PER_EPOCH=2"):
        run(spec, tmp_path / "run")
    limits.set_max_steps_per_epoch(3)
    with pytest.raises(InvalidInput, match="nolayer"):
        run(dataclasses.replace(spec, space="nolayer"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    limits.set_max_epochs(1)
    with pytest.warns(UserWarning, match="KERAS_MAX_EPOCHS is set, and passed over"):
        found = run(spec, tmp_path / "run")
    assert (found.status, [m.epoch for m in found.measurements]) == ("completed", [0, 3])


def test_members_larger_than_memory(tmp_path, spec, monkeypatch):
    def full(*_, **__):
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setattr("numpy.lib.format.read_array", full)
    with pytest.raises(DatasetCorrupt, match="does not fit into memory"):
        run(spec, tmp_path / "run")


def test_a_part_that_is_damaged_is_summed_again_and_what_is_in_the_way_moved_aside(tmp_path):
    path = tmp_path / "00000.npz"
    for content in (b"", b"PK", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(TfstiffError, match="The part"):
            read_part(path)
    mine = tmp_path / "mine"
    for name in ("arrays", "parts"):
        (mine / name).mkdir(parents=True)
        (mine / name / "song.flac").write_text("mine")
    with pytest.warns(UserWarning, match="Moved aside"), pytest.raises(AttributeError):
        write_job(mine, None, None, None, None, name="", division=None)
    (aside,) = tmp_path.glob("mine.aside-*")
    assert (aside / "arrays" / "song.flac").read_text() == "mine"
