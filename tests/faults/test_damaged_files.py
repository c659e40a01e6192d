"""Files of a run that are damaged, or made by somebody else: the rest is shown, and what is wrong is said in words."""

import dataclasses
import json
import shutil
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic_runs import measurement
from tfstiff_cli import main

from tfstiff import load_run
from tfstiff.analysis.source import read_sources
from tfstiff.errors import InvalidInput, RecordCorrupt, RecordUnreadable, TfstiffError
from tfstiff.figures import draw
from tfstiff.records import RunWriter, read_record
from tfstiff.records.record import write_record
from tfstiff.report.findings import findings

GROWING = ("events.jsonl", "scalars.jsonl", "timings.csv", "history.csv")
WHOLE = ("config.json", "meta.json", "status.json")
RESERVATION = "The training half of the probe has no example of 1 class: Bag."


@pytest.fixture(autouse=True)
def no_signals(monkeypatch):
    monkeypatch.setattr(sys.modules["tfstiff_cli.main"], "end_on_signals", lambda *_: None)


@pytest.fixture
def run(tmp_path):
    writer = RunWriter(tmp_path / "run")
    writer.write_config({"dataset": "mnist", "arch": "fc", "metrics": ["cosine"]})
    writer.write_meta({"packages": {}})
    writer.write_status("completed")
    writer.write_probe(train_ids=np.array(["a"]))
    for step in (0, 5):
        writer.add(measurement(step, step / 5, step / 5, num_classes=3), 0.1)
    for name in ("one", "two"):
        writer.add_event({"event": name, "step": 5, "epoch": 1.0})
    writer.add_epoch(0, {"loss": 0.5})
    return writer.folder


def invoked(*arguments):
    """What a command ends with; a traceback is an error of the test."""
    found = CliRunner().invoke(main, [str(one) for one in arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def damaged(content, how, name):
    if how == "a byte":
        return content[:6] + b"\xff" + content[7:]
    if how == "a zero":
        return content[:6] + b"\0" + content[7:]
    if how == "nested":
        return b"[" * 100_000 + b"\n"
    if how == "empty":
        return b""
    return b"[1]\n3\nnull\n" if name.endswith("jsonl") else b"a,b\n1,2\n" if name.endswith("csv") else b"[3]"


@pytest.mark.parametrize("how", ["a byte", "a zero", "nested", "empty", "another kind"])
@pytest.mark.parametrize("name", [*GROWING, *WHOLE])
def test_show_shows_the_rest_whatever_file_is_damaged(run, name, how):
    path = run / name
    path.write_bytes(damaged(path.read_bytes(), how, name))
    for more in ((), ("--json",)):
        found = invoked("show", run, *more)
        assert found.exit_code == 0
        assert ("cosine" in found.output) if not more else ('"measurements"' in found.output)
    is_named = name in found.output and "Warning" in found.output
    assert is_named == (name in WHOLE or (name == "events.jsonl" and how != "empty"))


@pytest.mark.parametrize("name", [*GROWING, *WHOLE, "probe.npz"])
def test_others_end_with_words(run, name):
    (run / name).write_bytes(damaged((run / name).read_bytes(), "a byte", name))
    assert invoked("watch", run, "--once").exit_code in (0, RecordCorrupt.exit_code)
    assert invoked("compare", run).exit_code in (0, InvalidInput.exit_code)  # where nothing is left to compare
    assert invoked("export", run, "--out", run.parent / "tables").exit_code in (0, RecordCorrupt.exit_code)
    found = load_run(run)
    for attribute in ("spec", "meta", "status", "events", "probe", "seconds_measuring", "timings"):
        try:
            getattr(found, attribute)
        except TfstiffError as error:
            assert str(run / name) in str(error)  # noqa: PT017 (either is right)


@pytest.mark.parametrize("name", ["config.json", "status.json"])
def test_a_comparison_leaves_out_a_run_that_does_not_say_what_it_is(run, tmp_path, name):
    other = shutil.copytree(run, tmp_path / "other")
    (run / name).write_bytes(b"\xff")
    found = invoked("compare", run, other)
    assert found.exit_code == 0
    assert f"{run / name} is not JSON" in found.stderr
    assert f"{run} is left out." in found.stderr


def test_lines_that_are_whole_are_read(run):
    path = run / "events.jsonl"
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\xff\xfe\n" + second + b'{"event": "half')
    found = load_run(run)
    assert [event["event"] for event in found.events] == ["one", "two"]
    assert [str(problem) for problem in found.problems] == [
        f"{path} does not hold a JSON object in line 2; the other lines are read."
    ]


@pytest.mark.parametrize("event", ["training_loss_reached", "stiffness_dropped", "turn_confirmed", 7, [1]])
def test_events_of_another_making_are_named(run, event):
    (run / "events.jsonl").write_text(json.dumps({"event": event, "rule": ["x"], "threshold": "x", "step": {}}) + "\n")
    assert invoked("show", run).exit_code == 0


def test_what_may_not_be_opened_is_not_called_damaged(run, monkeypatch):
    path = run / "records" / "step-00000005.npz"
    whole = type(path).open

    def refuses(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return whole(self, *args, **kwargs)

    monkeypatch.setattr("pathlib.Path.open", refuses)
    with pytest.raises(RecordUnreadable, match="cannot be read now: Permission denied"):
        read_record(path)
    found = load_run(run)
    assert [m.step for m in found.measurements] == [0]
    assert "Nothing says that it is damaged" in str(found.problems[0])
    assert "Permission denied" in invoked("show", run).output


def test_escape_sequences_reach_no_terminal(run):
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e"
    RunWriter(run).write_config({"dataset": evil, "arch": evil, "stiffness_monitor": evil, "metrics": [evil]})
    RunWriter(run).write_status(evil, error=evil)
    found = dataclasses.replace(
        measurement(9, 2.0, 1.0, num_classes=3),
        class_names=(evil, "b", "c"),
        groups={evil: (evil,)},
        reservations=(evil,),
        method=evil,
    )
    RunWriter(run).add(found, 0.1)
    RunWriter(run).add_event({"event": "stiffness_dropped", "monitor": evil, "peak_value": 1.0, "peak_step": 0,
                              "value": 0.5, "step": 5})  # fmt: skip
    for command in (("show", run), ("show", run, "--json"), ("watch", run, "--once"), ("compare", run)):
        output = invoked(*command).output
        assert not set("\x1b\x07\u202e") & set(output), command
    assert read_record(run / "records" / "step-00000009.npz").class_names[0].startswith("\ufffd]52")


def test_files_that_unpack_to_more_than_memory_are_refused(run, tmp_path, monkeypatch):
    monkeypatch.setattr("tfstiff.records.npz._LARGEST_UNPACKED", 2**20)
    path = run / "records" / "step-00000005.npz"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert read_record(path).step == 5
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gram.npy", bytes(2**20 + 1))
    assert path.stat().st_size < 2**18
    with pytest.raises(RecordCorrupt, match="unpacks to more than"):
        read_record(path)
    large = tmp_path / "large.npz"
    header = b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
    with zipfile.ZipFile(large, "w") as archive:
        archive.writestr("schema.npy", header.ljust(127) + b"\n")
    with pytest.raises(RecordCorrupt):
        read_record(large)


def test_what_is_to_be_borne_in_mind_is_shown_everywhere(run):
    folder = run / "records"
    draw(load_run(run), ["curves"], run / "before", formats=("svg",))
    assert RESERVATION not in invoked("show", run).output
    for path in folder.iterdir():
        write_record(path, dataclasses.replace(read_record(path), reservations=(RESERVATION,)))
    assert f"Warning: {RESERVATION}" in invoked("show", run).output
    assert json.loads(invoked("show", run, "--json").output)["reservations"] == [RESERVATION]
    (source,) = read_sources([load_run(run)])
    assert RESERVATION in dict(findings(source))["Reservations"]
    draw(load_run(run), ["curves"], run / "after", formats=("svg",))
    before, after = ((run / name / "curves.svg").read_text() for name in ("before", "after"))
    assert RESERVATION in after
    assert RESERVATION not in before


def test_cells_that_a_spreadsheet_would_run(tmp_path):
    formulas = ["=cmd()", "+1+x", "-x", "@SUM(A1)"]
    runs = []
    for number, text in enumerate([*formulas, "fc"]):
        writer = RunWriter(tmp_path / f"run-{number}")
        writer.write_config({"dataset": "mnist", "arch": text, "seed": 0, "learning_rate": 0.1})
        for step in (0, 5):
            writer.add(measurement(step, step / 5, step / 5, num_classes=2), 0.1)
        runs.append(writer.folder)
    invoked("compare", *runs, "--csv", tmp_path / "csv")
    table = (tmp_path / "csv" / "observations.csv").read_text()
    for text in formulas:
        assert f"'{text}" in table
        assert f",{text}" not in table
    assert "-0." in table  # numbers are as they are
    assert "'-0." not in table
