"""What a run finds around it: folders, backends, compilers."""

import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest
from synthetic_runs import SPEC, series, write_run

from tfstiff import Probe, RunSpec, StiffnessCallback, run
from tfstiff.errors import InvalidInput

X, Y = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32), np.arange(24) % 3
PROBE = Probe.from_arrays(train=(X, Y), validation=(-X, Y))


def compiled(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    return model


def test_a_model_that_is_compiled_by_xla():
    found = []
    for jit in (False, True):
        stiffness = StiffnessCallback(PROBE, [0, 1])
        compiled(jit_compile=jit).fit(X, Y, batch_size=12, verbose=0, shuffle=False, callbacks=[stiffness])
        found.append([one.scalars() for one in stiffness.history])
    for plain, by_xla in zip(*found, strict=True):
        assert by_xla == pytest.approx(plain, abs=1e-4, nan_ok=True)


def test_another_backend(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(InvalidInput, match="another backend") as caught:
        run(RunSpec(), tmp_path / "run")
    assert "KERAS_BACKEND=tensorflow" in caught.value.remedy
    with pytest.raises(InvalidInput, match="another backend"):
        compiled().fit(X, Y, verbose=0, callbacks=[StiffnessCallback(PROBE)])


@pytest.mark.parametrize("kind", ["a file", "below a file", "read only"])
def test_folders_that_cannot_be_written(tmp_path, monkeypatch, kind):
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / {"a file": "file", "below a file": "file/run", "read only": "run"}[kind]
    if kind == "read only":  # who is root may write everywhere

        def refuses(self, *_, **__):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr("pathlib.Path.mkdir", refuses)
    model = compiled()
    before = model.get_weights()
    for use in (
        lambda: run(RunSpec(), folder),
        lambda: model.fit(X, Y, verbose=0, callbacks=[StiffnessCallback(PROBE, log_dir=folder)]),
    ):
        with pytest.raises((OSError, InvalidInput)):
            use()
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def read_only(tmp_path):
    """A run on a mount that nobody can write to, and what runs commands where that is mounted."""
    folder = tmp_path / "mount"
    write_run(folder / "mine", series(3, 2), SPEC | {"dataset": "fashion_mnist_mini"}, status="interrupted")
    mount = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}"

    def call(*arguments):
        command = shlex.join([sys.executable, "-m", "tfstiff", *map(str, arguments)])
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount} || exit 99; {command}"]
        return subprocess.run(inside, cwd=tmp_path, capture_output=True, text=True, check=False)

    try:
        mounts = call("--version").returncode == 0
    except FileNotFoundError:
        mounts = False
    if not mounts:
        pytest.skip("nothing can be mounted here without other rights")
    return folder / "mine", call


def test_a_run_on_a_mount_that_is_read_only(read_only, tmp_path):
    folder, call = read_only
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for command in (["show", folder], ["plot", folder, "--figure", "curves", "--out", tmp_path / "figures"]):
        found = call(*command)
        assert found.returncode == 0, found.stderr
    assert (tmp_path / "figures" / "curves.png").exists()
    for command, told in ((["report", folder], "cannot be written"), (["run", "--resume", folder], "Read-only file")):
        found = call(*command)
        assert found.returncode in (1, 2)
        assert told in found.stderr
        assert "Remedy: Choose a folder that" in found.stderr
        assert "Traceback" not in found.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


FORKED = """
import os, sys

import keras
import numpy as np
import tensorflow as tf

import tfstiff

X, Y = np.ones((6, 4), np.float32), np.arange(6) % 3
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def model():
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    made.compile("sgd", LOSS)
    return made


def gram():
    tfstiff.gradient_gram(model() if before else trained, X, Y)


def fit():
    callback = tfstiff.StiffnessCallback(tfstiff.Probe.from_arrays((X, Y), (X, Y)), [0])
    (model() if before else trained).fit(X, Y, verbose=0, callbacks=[callback])


tfstiff.StiffnessCallback, tfstiff.gradient_gram
before = sys.argv[1] == "before"  # TensorFlow has run
trained = None if before else model()
for number, task in enumerate([gram, fit]):
    if not (child := os.fork()):
        try:
            task()
        except tfstiff.TfstiffError as error:
            print(error, flush=True)
            os._exit(7)
        os._exit(0)
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize(("when", "code"), [("before", 0), ("after", 7)])
def test_a_process_forked_before_or_after_tensorflow_ran(when, code):
    command = [sys.executable, "-c", FORKED, when]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert ended.stdout.count(f"ended with {code}") == 2, ended.stdout + ended.stderr
    assert ended.stdout.count('get_context("spawn")') == (2 if code else 0)
