"""Runs of which one operation on the disk fails, and what must hold then. `benchmarks/injection.py` fails each."""

import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import numpy as np
from click.testing import CliRunner
from faulty_disk import Disk, Killed
from made_up import measurements
from tfstiff_cli import main as tfstiff

from tfstiff import RunSpec, load_run, run
from tfstiff.runs.checkpoints.interval import CheckpointInterval

EVERY_STEP = CheckpointInterval(steps=1)


def specification(place: Path) -> RunSpec:
    """A run of four steps, with everything on that writes."""
    y = np.arange(24) % 3
    x = (np.random.default_rng(0).normal(size=(24, 4)) + 2 * np.eye(4)[y]).astype(np.float32)
    np.savez(place / "d.npz", x_train=x[:16], y_train=y[:16], x_validation=x[16:], y_validation=y[16:])
    return RunSpec(
        f"npz:{place / 'd.npz'}",
        epochs=2,
        batch_size=8,
        probe_size=(6, 3),
        hidden=(3,),
        schedule=(0.0, 0.5, 1, 2),
        keep_models=True,
        stop_at_loss=(50.0, 1e-9),  # the first is reached at once: an event
        stop_interval=1,
    )


@contextmanager
def made_up(is_real: bool) -> Iterator[None]:
    """Measurements at the price of none, figures left out."""

    with mock.patch("tfstiff.runs.run.draw_figures"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with nullcontext() if is_real else measurements():
            yield


def records(folder: Path) -> dict[str, bytes]:
    """What was recorded, by name; of kept models the names alone, since HDF5 writes clocks."""
    found = {f"records/{path.name}": path.read_bytes() for path in (folder / "records").glob("step-*.npz")}
    return found | {f"models/{path.name}": b"" for path in (folder / "models").glob("step-*.h5")}


def shown(folder: Path) -> None:
    """Sees that `tfstiff show` works, and says of no record that it is damaged."""
    with mock.patch.object(sys.modules["tfstiff_cli.main"], "end_on_signals"):
        result = CliRunner().invoke(tfstiff, ["show", str(folder), "--strict"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


def injected(disk: Disk, spec: RunSpec, folder: Path, place: int, mode: str, expected: dict[str, bytes]) -> str:
    """Fails one operation, looks at what is left, and goes on; returns how the run ended."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with disk.failing(place, mode):
            run(spec, folder, checkpoints=EVERY_STEP)
        ended = "completed"
    except (OSError, Killed) as error:
        ended = type(error).__name__
    what = f"{mode} at {place}: {disk.operations[place]}"
    if (folder / "records").is_dir():
        found = load_run(folder)
        assert not found.problems, (what, found.problems)
        left = records(folder)
        assert left == {name: expected[name] for name in left}, what
        shown(folder)
        assert len(found.measurements) == sum(name.startswith("records/") for name in left), what
    again = run(spec, folder, checkpoints=EVERY_STEP)
    assert again.status == "completed", what
    assert records(folder) == expected, what
    left_over = [path for path in folder.rglob(".tmp-*") if ".aside-" not in str(path)]
    assert not left_over or ended == "completed", (what, left_over)
    shown(folder)
    return ended


def places(operations: list[str]) -> list[int]:
    """Of the writes of one file, which may be hundreds, the first and the last; all other operations."""
    return [
        place
        for place, operation in enumerate(operations)
        if not operation == operations[max(place - 1, 0)] == operations[min(place + 1, len(operations) - 1)]
    ]


def undisturbed(disk: Disk, spec: RunSpec, folder: Path) -> tuple[list[str], dict[str, bytes]]:
    """The operations of a run that is left alone, and what it records."""
    with disk.failing():
        run(spec, folder, checkpoints=EVERY_STEP)
    return [*disk.operations], records(folder)
