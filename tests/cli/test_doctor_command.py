"""Each kind of damage is planted, named with what is lost, and mended; a sound folder has nothing wrong."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic_runs import measurement
from tfstiff_cli import main

from tfstiff import RunSpec, load_run
from tfstiff.records import RunWriter
from tfstiff.records.claim import Claim
from tfstiff.runs import installation
from tfstiff.runs.checkpoints.store import Checkpoint, CheckpointStore
from tfstiff.sweeps import plan_sweep, write_sweep


@pytest.fixture(autouse=True)
def no_signals(monkeypatch):
    monkeypatch.setattr(sys.modules["tfstiff_cli.main"], "end_on_signals", lambda *_: None)


def write(folder, settings=None):
    writer = RunWriter(folder)
    settings = RunSpec().as_config() if settings is None else settings
    writer.write_config(settings)
    writer.write_meta({})
    writer.write_status("completed")
    writer.write_probe(train_ids=np.array(["a"]))
    for step in (0, 5, 10):
        writer.add(measurement(step, step / 5, step / 10, num_classes=2), 0.1)
    for name in ("one", "two"):
        writer.add_event({"event": name, "step": 5, "epoch": 1.0})
    for epoch in range(2):
        writer.add_epoch(epoch, {"loss": 0.5})
    names = ("training", "callbacks", "logs", "sizes", "seconds", "seconds_in_fit")
    state = {key: {} for key in names} | {"settings": settings}
    for step in (5, 10):
        CheckpointStore(folder / "checkpoints").save(Checkpoint(step, state, {"w": np.arange(3)}))
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return write(tmp_path_factory.mktemp("template") / "run")


@pytest.fixture
def run(template, tmp_path):
    return shutil.copytree(template, tmp_path / "run")


def doctor(*arguments):
    found = CliRunner().invoke(main, ["doctor", *map(str, arguments), "--json"], catch_exceptions=False)
    assert found.exit_code in (0, 1), found.output
    document = json.loads(found.stdout)
    wrong = {one["what"]: one for one in document["findings"] if one["is_wrong"]}
    assert (document["wrong"], found.exit_code) == (len(wrong), 1 if wrong else 0)
    return wrong, {one["what"]: one for one in document["findings"]}


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_sound_run(run):
    before = content(run)
    wrong, found = doctor(run, "--repair")
    assert not wrong
    assert "3 measurements" in found["records"]["text"]
    assert content(run) == before
    assert "Nothing is wrong." in CliRunner().invoke(main, ["doctor", str(run)]).output


def flip(path):
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 200)  # single bytes between the members mean nothing
    content[middle] = bytes(byte ^ 0x80 for byte in content[middle])
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("records/step-00000005.npz", "the measurement of step 5"),
        ("probe.npz", "which examples"),
        ("meta.json", "with which versions"),
        ("status.json", "how it ended"),
        ("config.json", ""),
        ("scalars.jsonl", ""),
        ("events.jsonl", "what these lines told"),
        ("history.csv", "what these lines told"),
        ("timings.csv", "what these lines told"),
        ("checkpoints/", "this point to go on from"),
    ],
)
def test_each_file_that_is_damaged(run, name, lost):
    path = next((run / name).glob("step-00000010-*")) if name.endswith("/") else run / name
    name = str(path.relative_to(run))
    if path.suffix in (".csv", ".jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0] + b"\xff,\n" + b"".join(lines[2:]))
    elif path.suffix == ".json":
        path.write_bytes(b"\xff" + path.read_bytes())
    else:
        flip(path)
    damaged = content(run)
    wrong, _ = doctor(run)
    assert [*wrong] == [name] if name != "records/step-00000005.npz" else name in wrong
    assert wrong[name]["lost"].startswith(lost)
    assert bool(wrong[name]["lost"]) == bool(lost)
    assert content(run) == damaged
    wrong, found = doctor(run, "--repair")
    assert not wrong
    assert "Moved aside" in found[name]["text"]
    now = content(run)
    assert damaged[path.relative_to(run)] in now.values()  # nothing is deleted
    assert not doctor(run)[0]


def test_what_is_derived_is_made_again(run):
    before = content(run)
    (run / "scalars.jsonl").unlink()
    (run / "config.json").write_text("{")
    wrong, _ = doctor(run)
    assert {*wrong} == {"scalars.jsonl", "config.json"}
    doctor(run, "--repair")
    assert (run / "scalars.jsonl").read_bytes() == before[(run / "scalars.jsonl").relative_to(run)]
    assert load_run(run).spec == RunSpec().as_config()
    lines = (run / "scalars.jsonl").read_text().splitlines()
    (run / "scalars.jsonl").write_text("\n".join([lines[0], lines[1].replace('"step": 5', '"step": 6')]) + "\n")
    assert [*doctor(run)[0]] == ["scalars.jsonl"]


def test_lines_that_are_whole_are_kept(run):
    with (run / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "half')
    assert doctor(run)[0]["events.jsonl"]["text"] == "1 of its lines is damaged."
    doctor(run, "--repair")
    assert [event["event"] for event in load_run(run).events] == ["one", "two"]
    assert (run / "events.jsonl").read_bytes().endswith(b"}\n")


def test_a_record_under_another_name_one_of_a_newer_version_and_what_is_no_record(run):
    records = run / "records"
    (records / "step-00000005.npz").rename(records / "step-00000007.npz")
    np.savez(records / "step-00000020.npz", schema=99)
    (records / "notes.txt").write_text("mine")
    (records / ".tmp-x.npz").write_bytes(b"half")
    wrong, found = doctor(run)
    assert {*wrong} == {"records/step-00000007.npz", "records/step-00000020.npz", "scalars.jsonl"}
    assert "Install the newest" in wrong["records/step-00000020.npz"]["remedy"]
    assert "no record" in found["records/notes.txt"]["text"]
    assert "temporary" in found["temporary files"]["text"]
    wrong, _ = doctor(run, "--repair")
    assert {*wrong} == {"records/step-00000020.npz"}  # another version may read it
    assert (records / "step-00000020.npz").exists()
    assert (records / "notes.txt").exists()
    assert not (records / ".tmp-x.npz").exists()


def test_a_run_that_is_going_on_is_looked_at_and_not_mended(run):
    RunWriter(run).write_status("running")
    assert "tfstiff run --resume" in doctor(run)[1]["status"]["remedy"]
    with Claim(run):
        assert "is writing there" in doctor(run)[1]["status"]["text"]
        found = CliRunner().invoke(main, ["doctor", str(run), "--repair"])
        assert (found.exit_code, "Another process" in found.output) == (2, True)


def test_a_sweep(tmp_path):
    specs = [RunSpec(seed=seed) for seed in range(2)]
    sweep = plan_sweep(tmp_path / "sweep", specs)[0]
    write_sweep(sweep)
    place = write(sweep.run_folder(sweep.trials[0]), specs[0].as_config())
    wrong, found = doctor(sweep.folder)
    assert not wrong
    assert "has no measurement: waiting" in found[f"trials/{sweep.trials[1].name}"]["text"]
    flip(place / "records" / "step-00000005.npz")
    assert f"trials/{sweep.trials[0].name}/records/step-00000005.npz" in doctor(sweep.folder)[0]
    assert not doctor(sweep.folder, "--repair")[0]
    (sweep.folder / "sweep.json").write_text("{")
    assert [*doctor(sweep.folder)[0]] == ["sweep.json"]


def test_what_is_no_run(tmp_path):
    assert CliRunner().invoke(main, ["doctor", str(tmp_path)]).exit_code == 2
    assert CliRunner().invoke(main, ["doctor", "--repair"]).exit_code == 2


def test_the_installation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "TF_USE_LEGACY_KERAS"):
        monkeypatch.delenv(name, raising=False)
    wrong, found = doctor("--data-dir", tmp_path)
    assert not wrong
    assert "the methods agree" in found["gradients"]["text"]
    assert "CPU:0" in found["devices"]["text"]
    assert f"glue/mnli not in {tmp_path}" in found["data sets"]["text"]
    assert not list(tmp_path.iterdir())


def test_a_tensorflow_that_cannot_be_imported_is_found_and_the_rest_looked_over(tmp_path):
    (tmp_path / "broken" / "tensorflow").mkdir(parents=True)
    (tmp_path / "broken" / "tensorflow" / "__init__.py").write_text("raise ImportError('no libsuch.so')")
    path = os.pathsep.join([str(tmp_path / "broken"), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "tfstiff", "doctor", "--data-dir", str(tmp_path), "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    found = {one["what"]: one for one in json.loads(done.stdout)["findings"]}
    assert "no libsuch.so" in found["tensorflow"]["text"]
    assert "cores" in found["machine"]["text"]


def test_what_is_wrong_with_an_installation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keras.py").write_text("")
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "1")
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    whole = installation._version
    versions = {"numpy": "1.0", "scipy": None, "tensorflow-cpu": "2.0", "plotly": None}
    monkeypatch.setattr(installation, "_version", lambda name: versions.get(name, whole(name)))
    monkeypatch.setattr(installation, "_gradients", lambda: installation.Finding("gradients", "", True))

    def fails(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryDirectory", fails)
    wrong, found = doctor("--data-dir", tmp_path)
    names = {"numpy", "scipy", "KERAS_MAX_EPOCHS", "TF_USE_LEGACY_KERAS", "tensorflow-cpu", "keras.py", "gradients"}
    assert names <= {*wrong}
    assert {name for name in wrong if os.sep in name} == {str(tmp_path), str(installation._temporary().resolve())}
    assert wrong["numpy"]["remedy"] == "pip install 'numpy>=1.26'"
    assert found["[report]"]["remedy"] == "pip install 'tfstiff[report]'"
    assert not found["[report]"]["is_wrong"]
