"""Records that an older version wrote: `schema-2.npz.gz` is one of schema 2, as it was written, packed."""

import dataclasses
import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic_runs import measurement, write_run
from tfstiff_cli import main

from tfstiff import load_run
from tfstiff.errors import RecordCorrupt
from tfstiff.records import open_run, read_record, scalar_row, write_record
from tfstiff.records.run_folder import record_path

CONTENT = gzip.decompress((Path(__file__).parent / "schema-2.npz.gz").read_bytes())


@pytest.fixture
def record(tmp_path):
    (tmp_path / "one.npz").write_bytes(CONTENT)
    return tmp_path / "one.npz"


def members(path):
    """Every member by its name, the scalars among them, read by NumPy."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays | json.loads(arrays.pop("scalars").item())


def at(found, name):
    """What a measurement has in the place of a member's name."""
    name = name.replace("diagnostics/class_mean_gram", "class_mean_gram").replace("diagnostics", "statistics")
    for part in name.split("/"):
        found = found[unquote(part)] if isinstance(found, Mapping) else getattr(found, part)
    return found


def test_every_member_of_schema_2_is_read(record):
    found, expected = read_record(record), members(record)
    assert expected.pop("schema") == 2
    assert len(expected) > 400
    for name, value in expected.items():
        np.testing.assert_array_equal(at(found, name), value, err_msg=name)


def without(path, name):
    """Takes a member, or a scalar, out of a record."""
    with np.load(path) as file:
        arrays = {member: file[member] for member in file.files if member != name}
    scalars = json.loads(arrays["scalars"].item())
    scalars.pop(name, None)
    np.savez(path, **arrays | {"scalars": np.asarray(json.dumps(scalars))})


def is_absent(value):
    if dataclasses.is_dataclass(value):
        return all(is_absent(getattr(value, field.name)) for field in dataclasses.fields(value))
    return value is None or value in ((), {}, -1, 0, "", "unavailable", "linear", "cosine") or math.isnan(value)


def test_a_record_without_any_one_member_is_read_and_tells_all_the_others(record):
    expected = {name: value for name, value in members(record).items() if name != "schema"}
    names = [name for name in expected if "/" not in name or name.startswith(("train", "pair_sets/train_train"))]
    assert len(names) > 100
    for name in names:
        record.write_bytes(CONTENT)
        without(record, name)
        found = read_record(record)
        if "diagnostics" in name and "class_mean_gram" not in name:
            assert name.split("/")[-1] not in found[name.split("/")[1]].statistics
        else:
            assert is_absent(at(found, name)), name
        other = next(some for some in names if some != name)
        np.testing.assert_array_equal(at(found, other), expected[other])
        assert scalar_row(found).keys() == scalar_row(read_record(record)).keys()


@pytest.mark.parametrize("branch", ["train", "pair_sets/train_val/sign", "pair_sets/val_val/spaces/input/profile"])
def test_a_record_without_a_whole_branch_is_read(record, branch):
    for name in members(record):
        if name.startswith(f"{branch}/"):
            without(record, name)
    assert at(read_record(record), branch) is None or is_absent(at(read_record(record), branch))


def test_without_arrays_the_scalars_are_the_same(record):
    whole, light = read_record(record), read_record(record, with_arrays=False)
    assert scalar_row(light) == scalar_row(whole)
    assert light.standard_errors().keys() == whole.standard_errors().keys()
    assert light["train_val"].critical_length.status == whole["train_val"].critical_length.status
    assert whole.gram is not None
    assert light.gram is light["train_val"].sign.matrix is None


def test_a_light_run_has_the_same_scalars_and_reads_its_pair_sets_again(tmp_path):
    whole = write_run(tmp_path / "mine", [measurement(step, step / 10, step / 20) for step in (0, 10)])
    light = open_run(whole.folder, is_light=True)
    assert [scalar_row(m) for m in light.measurements] == [scalar_row(m) for m in whole.measurements]
    assert [m.standard_errors().keys() for m in light.measurements] == [
        m.standard_errors().keys() for m in whole.measurements
    ]
    last = light.measurements[-1]
    assert list(last.pair_sets) == list(whole.measurements[-1].pair_sets)
    assert last["train_val"].sign.matrix is None
    assert "nothing" not in last.pair_sets
    write_record(record_path(whole.folder, 10), measurement(10, 1.0, 0.9))  # another in its place
    assert last["train_val"].sign.within == measurement(10, 1.0, 0.9)["train_val"].sign.within
    record_path(whole.folder, 10).write_bytes(b"damaged")
    with pytest.raises(RecordCorrupt):
        last["train_val"]


@pytest.fixture
def newer(tmp_path):
    """A run of which a newer version wrote the second record."""
    run = write_run(tmp_path / "mine", [measurement(step, step / 10, step / 20) for step in (0, 10, 20)])
    path = run.folder / "records" / "step-00000010.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **arrays | {"schema": np.asarray(99)})
    return run


def test_a_newer_schema_is_refused_with_what_to_install(newer):
    with pytest.raises(RecordCorrupt, match="pip install --upgrade tfstiff") as caught:
        read_record(newer.folder / "records" / "step-00000010.npz")
    assert "newer tfstiff" in str(caught.value)
    assert [m.step for m in load_run(newer.folder).measurements] == [0, 20]


@pytest.mark.parametrize(
    "command", [["show"], ["plot", "--figure", "curves"], ["report", "--static"], ["compare"], ["export"]]
)
def test_every_command_that_reads_tells_what_it_left_out(newer, command):
    told = CliRunner().invoke(main, [command[0], str(newer.folder), *command[1:]]).stderr
    assert "newer tfstiff" in told
    assert "pip install --upgrade tfstiff" in told
