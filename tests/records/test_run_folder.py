import csv
import dataclasses
import errno
import json
import os

import numpy as np
import pytest
from arbitrary import assert_same, measurements
from hypothesis import Phase, find, settings
from synthetic_runs import series, write_run

from tfstiff import load_run
from tfstiff.errors import RecordCorrupt, RunNotFound
from tfstiff.records import RunWriter, scalar_names


@pytest.fixture(scope="module")
def measurement():
    return find(
        measurements(),
        lambda m: len(m.class_names) == 2 and m.train.loss == m.train.loss,
        settings=settings(database=None, phases=[Phase.generate], max_examples=5000, deadline=None),
    )


@pytest.fixture
def run(tmp_path, measurement):
    """Three records, written in another order than that of their steps."""
    writer = RunWriter(tmp_path / "deep" / "run")
    for step in (200, 0, 123456789):
        writer.add(dataclasses.replace(measurement, step=step), seconds=0.25)
    return load_run(tmp_path / "deep" / "run")


def test_measurements_come_in_order_of_their_step(run, measurement):
    assert [m.step for m in run.measurements] == [0, 200, 123456789]
    assert_same(run.measurements[1], dataclasses.replace(measurement, step=200))
    assert run.problems == []


def test_damaged_records_are_named_and_the_others_read(run):
    records = sorted((run.folder / "records").iterdir())
    records[0].write_bytes(records[0].read_bytes()[:-30])
    np.savez(records[1], schema=7)
    again = load_run(run.folder)
    assert [m.step for m in again.measurements] == [123456789]
    assert [problem.what.count(str(path)) for problem, path in zip(again.problems, records[:2], strict=True)] == [1, 1]
    assert all(isinstance(problem, RecordCorrupt) for problem in again.problems)


def test_a_leftover_temporary_file_is_no_record(run):
    (run.folder / "records" / ".tmp-abc.npz").write_bytes(b"half")
    assert len(load_run(run.folder).measurements) == 3
    assert load_run(run.folder).problems == []


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_leaves_no_part_of_a_record(run, measurement, monkeypatch, broken):
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}

    def full_disk(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, broken, full_disk)
    with pytest.raises(OSError, match="No space"):
        RunWriter(run.folder).add(dataclasses.replace(measurement, step=300), seconds=0.25)
    assert {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()} == before


def test_scalars_and_timings_have_a_row_a_record(run, measurement):
    rows = [json.loads(line) for line in (run.folder / "scalars.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [200, 0, 123456789]
    assert set(scalar_names(True)) <= set(rows[0])
    assert rows[0]["train_loss"] == pytest.approx(measurement.train.loss, nan_ok=True)
    with (run.folder / "timings.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"step": str(step), "seconds": "0.25"} for step in (200, 0, 123456789)]


def test_events(tmp_path):
    writer = RunWriter(tmp_path)
    assert load_run(tmp_path).events == []
    events = [{"event": "one", "step": 3, "epoch": 0.5}, {"event": "two", "loss": float("nan")}]
    for event in events:
        writer.add_event(event)
    expected = [events[0], {"event": "two", "loss": None}]
    assert load_run(tmp_path).events == expected
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "thr')  # killed while writing
    assert load_run(tmp_path).events == expected
    (tmp_path / "events.jsonl").write_text('nonsense\n{"event": "four"}\n')
    found = load_run(tmp_path)
    assert found.events == [{"event": "four"}]
    assert "events.jsonl does not hold a JSON object in line 1;" in str(found.problems[0])


def test_the_first_epoch_decides_the_columns_of_the_history(tmp_path):
    writer = RunWriter(tmp_path)
    writer.add_epoch(0, {"loss": 1.5, "accuracy": 0.5})
    writer.add_epoch(1, {"accuracy": 0.75, "val_loss": 9.0, "loss": 1.25})
    RunWriter(tmp_path).add_epoch(2, {"loss": 1.0})
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["loss"], row["accuracy"]) for row in rows] == [
        ("0", "1.5", "0.5"),
        ("1", "1.25", "0.75"),
        ("2", "1.0", ""),
    ]


def test_settings_status_and_provenance(run):
    assert (run.spec, run.meta, run.status, run.timings) == ({}, {}, "unknown", {})
    writer = RunWriter(run.folder)
    writer.write_config({"epochs": 3, "probe_size": (1, 2)})
    writer.write_meta({"python": "3"})
    writer.write_status("completed", pid=1, seconds=2.5, seconds_in_fit=2.0, images_per_second=10.0)
    again = load_run(run.folder)
    assert (again.spec, again.meta, again.status) == ({"epochs": 3, "probe_size": [1, 2]}, {"python": "3"}, "completed")
    assert again.timings == {"seconds": 2.5, "seconds_in_fit": 2.0, "images_per_second": 10.0}


@pytest.mark.parametrize("text", ["{", "[1]", '"text"', ""])
def test_damaged_settings(run, text):
    (run.folder / "config.json").write_text(text)
    with pytest.raises(RecordCorrupt, match=r"config\.json"):
        _ = load_run(run.folder).spec


def test_what_is_no_run(tmp_path):
    with pytest.raises(RunNotFound, match="no such folder"):
        load_run(tmp_path / "absent")
    with pytest.raises(RunNotFound, match="is not a run folder"):
        load_run(tmp_path)
    (tmp_path / "log.txt").write_text("")
    with pytest.raises(RunNotFound, match="it is a file"):
        load_run(tmp_path / "log.txt")


def test_what_is_no_run_but_holds_some_or_is_a_part_of_one_names_them(tmp_path):
    for name in ("second", "first"):
        write_run(tmp_path / "runs" / name, series(1))
    remedies = {path: remedy_of(tmp_path / "runs" / path) for path in (".", "first/records", "first/figures")}
    assert f"{tmp_path / 'runs' / 'first'}, or all 2 runs in it as {tmp_path / 'runs'}/*" in remedies["."]
    assert str(tmp_path / "runs" / "first") in remedies["first/records"]
    assert "no such folder" in remedies["first/figures"]
    (tmp_path / "runs" / "first" / "figures").mkdir()
    assert str(tmp_path / "runs" / "first") in remedy_of(tmp_path / "runs" / "first" / "figures")


def remedy_of(path):
    with pytest.raises(RunNotFound) as caught:
        load_run(path)
    return caught.value.remedy
