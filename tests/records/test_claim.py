"""One writer a folder; whether it is alive is told by its lock and, where that proves nothing, by its beats."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tfstiff.errors import InvalidInput
from tfstiff.records import claim as claim_module
from tfstiff.records.claim import CLAIM, LOCK, Claim, is_alive

HOLDS = """
import sys, time
from pathlib import Path
from tfstiff.records.claim import Claim
claim = Claim(Path(sys.argv[1]))
claim.take()
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(claim_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(claim_module, "SILENT_SECONDS", 0.5)


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path / "run")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"taken\n"
    yield process
    process.kill()
    process.wait()


def elsewhere(folder, host="another-machine"):
    """A process of another machine was heard of just now."""
    folder.mkdir(exist_ok=True)
    (folder / LOCK).touch()
    (folder / CLAIM).write_text(json.dumps({"host": host, "pid": 1}))


def test_another_process_has_the_folder_until_it_dies(tmp_path, holder):
    folder = tmp_path / "run"
    assert is_alive(folder)
    with pytest.raises(InvalidInput, match="Another process"):
        Claim(folder).take()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_alive(folder)  # at once, though its claim is there and its last beat is young
    with Claim(folder):
        assert is_alive(folder)
    assert not is_alive(folder)
    assert {path.name for path in folder.iterdir()} == {LOCK}


def test_a_claim_that_nobody_holds_any_more_is_none(tmp_path):
    claim = Claim(tmp_path)
    claim.take()
    del claim
    gc.collect()
    assert not is_alive(tmp_path)
    deadline = time.monotonic() + 30
    while any("_beat" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_patience(tmp_path, holder):
    threading.Timer(1.5, holder.kill).start()
    with Claim(tmp_path / "run", patience=60):
        assert holder.poll() is not None


def test_a_process_of_another_machine_that_beats_is_alive(tmp_path, quick):
    elsewhere(tmp_path)
    ended = threading.Event()
    heart = threading.Thread(target=claim_module._beat, args=(tmp_path / CLAIM, ended))
    heart.start()
    try:
        assert is_alive(tmp_path)
        with pytest.raises(InvalidInput, match="Another process"):
            Claim(tmp_path).take()
    finally:
        ended.set()
        heart.join()
    time.sleep(0.6)
    assert not is_alive(tmp_path)


def test_a_lock_that_is_free_is_not_blocked_by_a_name_that_the_machine_had_before(tmp_path, quick):
    elsewhere(tmp_path, "the-name-of-the-container-before")
    assert is_alive(tmp_path)  # as far as can be told at once
    with Claim(tmp_path):  # no beat comes
        pass


def test_where_there_are_no_locks_beats_decide(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(claim_module, "_locked", lambda folder, patience: None)
    first = Claim(tmp_path)
    first.take()
    assert is_alive(tmp_path)
    with pytest.raises(InvalidInput, match="Another process"):
        Claim(tmp_path).take()
    first.release()
    assert not is_alive(tmp_path)
    Claim(tmp_path).take()


def test_a_shared_claim_stands_for_the_others_of_its_process(tmp_path):
    with Claim(tmp_path, shared=True):
        other = Claim(tmp_path)
        other.take()
        other.release()
        assert is_alive(tmp_path)
    with Claim(tmp_path), pytest.raises(InvalidInput, match="Another process"):
        Claim(tmp_path).take()


def test_looking_writes_nothing_and_takes_nothing_from_who_begins(tmp_path):
    assert not is_alive(tmp_path)
    assert not list(tmp_path.iterdir())
    elsewhere(tmp_path, "somewhere")
    looks = threading.Thread(target=lambda: [is_alive(tmp_path) for _ in range(300)])
    (tmp_path / CLAIM).unlink()
    looks.start()
    for _ in range(20):
        with Claim(tmp_path):
            pass
    looks.join()


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00"])
def test_a_claim_that_cannot_be_read_is_none(tmp_path, text):
    elsewhere(tmp_path)
    (tmp_path / CLAIM).write_text(text)
    assert not is_alive(tmp_path)
    with Claim(tmp_path):
        assert json.loads((tmp_path / CLAIM).read_text())["pid"] == os.getpid()
