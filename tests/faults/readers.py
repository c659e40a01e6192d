"""Every reader of a file, with a valid file for it, and edits that damage it; for `benchmarks/fuzzing.py` too."""

import dataclasses
import json
from pathlib import Path

import h5py
import numpy as np
from synthetic_runs import measurement

from tfstiff import RunSpec, load_run
from tfstiff.datasets import load
from tfstiff.datasets.groupings import read_grouping
from tfstiff.errors import RunNotFound
from tfstiff.measuring.distributed.part_file import read_part, write_part
from tfstiff.measuring.summation.probe_sums import ProbeTotals
from tfstiff.records import RunWriter, read_record
from tfstiff.records.claim import is_alive
from tfstiff.records.light import read_light_record
from tfstiff.runs.checkpoints.store import Checkpoint, CheckpointStore, read_checkpoint
from tfstiff.runs.inspection import inspect_run
from tfstiff.runs.progress import describe_event
from tfstiff.runs.saved.files import check_readable
from tfstiff.sweeps import load_sweep, plan_sweep, write_sweep
from tfstiff.sweeps.state import TrialState, read_state, write_state

KINDS = ("flip", "cut", "insert", "truncate", "repeat", "number")
_WORDS = (b"null", b"-1", b"1e999", b"[]", b"{}", b'""', b"true", b"99999999999999999999", b"\x00", b"\xff\xfe", b"[[")


def edited(content, edits):
    """Damaged content.

    Args:
        content: Of a valid file.
        edits: (kind, place as a share of the length, length, byte) of each edit.
    """
    for kind, share, length, byte in edits:
        place = int(share * len(content))
        if kind == "flip" and content:
            place = min(place, len(content) - 1)
            content = content[:place] + bytes([content[place] ^ (1 << byte % 8)]) + content[place + 1 :]
        elif kind == "cut":
            content = content[:place] + content[place + length :]
        elif kind == "insert":
            content = content[:place] + bytes([byte]) * length + content[place:]
        elif kind == "truncate":
            content = content[:place]
        elif kind == "repeat":
            content = content[:place] + content[place : place + length] * 2 + content[place + length :]
        elif kind == "number":
            content = content[:place] + _WORDS[byte % len(_WORDS)] + content[place + length :]
    return content


def _record(path):
    for read in (read_record, read_light_record):
        read(path).scalars()


def _of_run(attribute):
    def read(path):
        found = load_run(path.parent)
        value = getattr(found, attribute)
        if attribute == "events":
            list(map(describe_event, value))
            str(found.problems)
        if attribute == "spec":
            RunSpec.from_config(value).as_config()
        if attribute == "status":
            str(found.is_running)

    return read


def _made(folder):
    """A valid file for each reader, by its name."""
    writer = RunWriter(folder / "run")
    writer.write_config(RunSpec().as_config())
    writer.write_meta({"packages": {"numpy": "2"}})
    writer.write_status("running", pid=1, seconds=2.5)
    writer.write_probe(train_ids=np.array(["a", "b"]), train_classes=np.arange(2))
    writer.add(measurement(5, 1.0, 0.5, num_classes=2), 0.1)
    for name in ("training_loss_reached", "other"):
        writer.add_event({"event": name, "step": 5, "epoch": 1.0, "threshold": 0.5, "training_loss": 0.4})
    run = writer.folder
    (run / ".claim").write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    names = ("training", "callbacks", "logs", "sizes", "seconds", "seconds_in_fit", "settings")
    CheckpointStore(run / "checkpoints").save(Checkpoint(5, {name: {} for name in names}, {"w": np.arange(3)}))
    data = folder / "d.npz"
    x, y = np.eye(6, dtype=np.float32), np.arange(6) % 3
    np.savez(data, x_train=x, y_train=y, x_validation=x, y_validation=y, class_names=["a", "b", "c"])
    (folder / "groups.json").write_text(json.dumps({"one": ["a"], "two": ["b", "c"]}))
    (folder / "groups.toml").write_text('one = ["a"]\ntwo = ["b", "c"]\n')
    sweep = plan_sweep(folder / "sweep", [RunSpec(seed=seed) for seed in range(2)])[0]
    write_sweep(sweep)
    write_state(folder / "state.json", TrialState(state="running", epoch=1.0))
    part = folder / "part.npz"
    sums = {("", "train_val"): {("sum", 0): np.arange(4.0)}}
    write_part(part, ProbeTotals(sums, {("", 0): np.arange(3.0)}, {0: (np.arange(2.0),)}))
    model = folder / "m.weights.h5"
    with h5py.File(model, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=np.arange(6.0))
    return {
        "record": (run / "records" / "step-00000005.npz", _record),
        "config": (run / "config.json", _of_run("spec")),
        "meta": (run / "meta.json", _of_run("meta")),
        "status": (run / "status.json", _of_run("status")),
        "events": (run / "events.jsonl", _of_run("events")),
        "timings": (run / "timings.csv", _of_run("seconds_measuring")),
        "probe": (run / "probe.npz", _of_run("probe")),
        "claim": (run / ".claim", lambda path: is_alive(path.parent)),
        "scalars": (run / "scalars.jsonl", lambda path: inspect_run(path.parent)),
        "checkpoint": (next((run / "checkpoints").iterdir()), read_checkpoint),
        "npz data": (data, lambda path: load(f"npz:{path}")),
        "groups.json": (folder / "groups.json", lambda path: read_grouping(str(path))),
        "groups.toml": (folder / "groups.toml", lambda path: read_grouping(str(path))),
        "sweep": (sweep.folder / "sweep.json", lambda path: load_sweep(path.parent)),
        "trial state": (folder / "state.json", read_state),
        "part": (part, read_part),
        "weights": (model, check_readable),
    }


@dataclasses.dataclass(frozen=True)
class Reader:
    """A reader and a valid file for it."""

    path: Path
    content: bytes
    read: object

    def on(self, content):
        """Reads other content; raises what the reader does."""
        self.path.write_bytes(content)
        try:
            self.read(self.path)
        except RunNotFound:
            raise AssertionError("the folder was not found") from None


def readers(folder):
    """By name; each has a folder of its own."""
    names = [*_made(folder / "names")]
    found = {}
    for name in names:
        path, read = _made(folder / name.replace(" ", "-"))[name]
        found[name] = Reader(path, path.read_bytes(), read)
    return found
