import errno
import json
import os
import stat

import pytest

from tfstiff.records.atomic import append_json_line, write_atomically, write_json


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("broken", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("existing", [None, b"old"])
def test_a_failing_system_call_leaves_what_was_there(tmp_path, monkeypatch, broken, existing):
    path = tmp_path / "file.bin"
    if existing is not None:
        path.write_bytes(existing)
    monkeypatch.setattr(os, broken, full_disk)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, lambda file: file.write(b"new"))
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if existing is None else {"file.bin": existing})


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("no")])
def test_a_failing_write_leaves_nothing(tmp_path, error):
    def write(file):
        file.write(b"half of it")
        raise error

    with pytest.raises(type(error)):
        write_atomically(tmp_path / "file.bin", write)
    assert list(tmp_path.iterdir()) == []


def test_the_name_appears_only_when_the_content_is_synced(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    events = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor):
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        events.append(("sync", os.fstat(descriptor).st_size if is_file else "folder", path.exists()))
        fsync(descriptor)

    def noted_replace(source, target):
        events.append(("replace", os.path.dirname(source) == str(tmp_path), path.exists()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_atomically(path, lambda file: file.write(b"content"))
    assert events == [("sync", 7, False), ("replace", True, False), ("sync", "folder", True)]
    assert path.read_bytes() == b"content"


def test_permissions_are_the_users(tmp_path):
    (tmp_path / "plain").write_text("")
    write_atomically(tmp_path / "ours", lambda file: file.write(b""))
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_has_no_nan(tmp_path):
    value = {"a": [1.5, float("nan")], "b": (float("inf"), {"c": -float("inf")}), "é": "ξ", "n": 3}
    expected = {"a": [1.5, None], "b": [None, {"c": None}], "é": "ξ", "n": 3}
    write_json(tmp_path / "one.json", value)
    append_json_line(tmp_path / "many.jsonl", value)
    append_json_line(tmp_path / "many.jsonl", {"second": 2})
    refuse = {"parse_constant": lambda name: pytest.fail(name)}
    assert json.loads((tmp_path / "one.json").read_text(), **refuse) == expected
    lines = (tmp_path / "many.jsonl").read_text().splitlines()
    assert [json.loads(line, **refuse) for line in lines] == [expected, {"second": 2}]
