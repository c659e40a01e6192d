import dataclasses
import json
import zipfile

import numpy as np
import pytest
from arbitrary import assert_same, measurements
from hypothesis import HealthCheck, Phase, find, given, settings

from tfstiff.errors import RecordCorrupt
from tfstiff.records import read_record, write_record
from tfstiff.records.record import SCHEMA

ROUND_TRIP = settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def measurement():
    """Some measurement with classes and a Gram matrix."""
    return find(
        measurements(),
        lambda m: len(m.class_names) == 2 and m.gram is not None and len(m.gram) == 2,
        settings=settings(database=None, phases=[Phase.generate], max_examples=5000, deadline=None),
    )


@ROUND_TRIP
@given(measurements())
def test_round_trip(tmp_path_factory, expected):
    path = tmp_path_factory.mktemp("records") / "step-00000000.npz"
    write_record(path, expected)
    assert_same(read_record(path), expected)


def test_equal_measurements_have_equal_bytes(tmp_path, measurement):
    write_record(tmp_path / "one.npz", measurement)
    write_record(tmp_path / "two.npz", dataclasses.replace(measurement))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_no_member_needs_pickle(tmp_path, measurement):
    path = tmp_path / "one.npz"
    write_record(path, measurement)
    with np.load(path, allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} <= set("iufUS")
        assert file["schema"] == SCHEMA
        np.testing.assert_array_equal(file["pair_sets/train_val/sign/matrix"], measurement["train_val"].sign.matrix)


def test_objects_are_refused_in_writing_and_in_reading(tmp_path, measurement):
    broken = dataclasses.replace(measurement, gram=np.array([{}], object))
    with pytest.raises(ValueError, match=r"pickle|[Oo]bject"):
        write_record(tmp_path / "one.npz", broken)
    assert list(tmp_path.iterdir()) == []
    np.savez(tmp_path / "two.npz", schema=1, gram=np.array([{}], object))
    with pytest.raises(RecordCorrupt):
        read_record(tmp_path / "two.npz")


def test_truncated_anywhere(tmp_path, measurement):
    path = tmp_path / "one.npz"
    write_record(path, measurement)
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(RecordCorrupt, match=r"one\.npz"):
            read_record(path)


def test_a_flipped_bit_is_noticed_or_harmless(tmp_path, measurement):
    path = tmp_path / "one.npz"
    write_record(path, measurement)
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_record(path)
        except RecordCorrupt:
            noticed += 1
        else:
            assert_same(found, measurement)
    assert noticed > 100


def test_a_damaged_length_that_hides_the_next_member_is_noticed(tmp_path, measurement):
    path = tmp_path / "one.npz"
    write_record(path, measurement)
    whole = bytearray(path.read_bytes())
    first = whole.index(b"PK\x01\x02")
    second = whole.index(b"PK\x01\x02", first + 4)
    third = whole.index(b"PK\x01\x02", second + 4)
    whole[first + 32 : first + 34] = (third - second).to_bytes(2, "little")  # of a comment, which swallows the second
    path.write_bytes(whole)
    with zipfile.ZipFile(path) as archive:  # which does not notice
        assert len(archive.infolist()) == whole.count(b"PK\x01\x02") - 1
    with pytest.raises(RecordCorrupt, match="says that it has"):
        read_record(path)


def test_a_damaged_shape_is_noticed(tmp_path, measurement):
    path = tmp_path / "one.npz"
    write_record(path, dataclasses.replace(measurement, gram=np.zeros((40, 70), np.float32)))
    whole = path.read_bytes()
    assert whole.count(b"(40, 70)") == 1
    path.write_bytes(whole.replace(b"(40, 70)", b"(40, 10)"))  # a shorter array, which can be read
    with pytest.raises(RecordCorrupt):
        read_record(path)


@pytest.mark.parametrize("member", ["pair_sets/train_val/sign/matrix", "class_names", "scalars"])
def test_flipped_bytes_of_a_value_are_noticed(tmp_path, measurement, member):
    path = tmp_path / "one.npz"
    write_record(path, dataclasses.replace(measurement, method="auto", class_names=("cat", "dog")))
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{member}.npy")
    name, extra = (int.from_bytes(whole[info.header_offset + at :][:2], "little") for at in (26, 28))
    whole[info.header_offset + 30 + name + extra + info.file_size - 4] ^= 0x10
    path.write_bytes(whole)
    with pytest.raises(RecordCorrupt):
        read_record(path)


def rewritten(path, **changes):
    with np.load(path) as file:
        members = {name: file[name] for name in file.files}
    if members["scalars"].shape == ():
        scalars = json.loads(members["scalars"].item())
        changed = {name: changes.pop(name) for name in list(changes) if name in scalars}
        members["scalars"] = np.asarray(json.dumps({k: v for k, v in (scalars | changed).items() if v is not None}))
    members |= changes
    np.savez(path, **{name: value for name, value in members.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema": np.asarray(1)}, "schema"),
        ({"schema": np.asarray(99)}, "newer tfstiff"),
        ({"schema": None}, "schema"),
        ({"schema": np.asarray([1, 1])}, "schema"),
        ({"schema": np.asarray("one")}, "schema"),
        ({"train/loss": [0.0, 0.0, 0.0]}, "wrong kind"),
        ({"train/loss": "low"}, "wrong kind"),
        ({"scalars": None}, "missing"),
        ({"scalars": np.asarray("{")}, "wrong kind"),
        ({"scalars": np.asarray("[]")}, "wrong kind"),
        ({"scalars": np.zeros(3)}, "wrong kind"),
        ({"class_names": np.asarray("cat")}, "wrong kind"),
    ],
)
def test_unknown_schemas_and_wrong_members(tmp_path, measurement, changes, told):
    path = tmp_path / "one.npz"
    write_record(path, measurement)
    rewritten(path, **changes)
    with pytest.raises(RecordCorrupt, match=told):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"not a record", b"\x93NUMPY\x01\x00"])
def test_other_files(tmp_path, content):
    (tmp_path / "one.npz").write_bytes(content)
    with pytest.raises(RecordCorrupt):
        read_record(tmp_path / "one.npz")


def test_an_array_under_the_name_of_a_record(tmp_path):
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(RecordCorrupt):
        read_record(tmp_path / "one.npz")
