"""A run's folder: what `tfstiff run` and `StiffnessCallback(log_dir=…)` leave behind, and how it is read again.

config.json      the resolved settings       status.json     running, completed, failed, interrupted, diverged
meta.json        provenance                  log.txt         what was said
history.csv      Keras' logs, by epoch       scalars.jsonl   the scalars of each measurement; derived from records/
records/step-*.npz   the measurements        timings.csv     seconds that each measurement took
events.jsonl     why it measured off schedule figures/        pictures
probe.npz        ids, labels and, to look at, inputs of the probe
vocabulary.json  of texts: the words by token id, and how many token ids a text has
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.errors import RecordCorrupt, RunNotFound
from tfstiff.records.claim import is_alive
from tfstiff.records.light import read_light_record
from tfstiff.records.measurement import Measurement
from tfstiff.records.npz import read_members
from tfstiff.records.reading import bytes_of, read_lines, read_object
from tfstiff.records.record import read_record
from tfstiff.records.shown import Showing, Shown, from_above

MODELS = "models"  # the folder of the models that were kept


def record_path(folder: Path, step: int) -> Path:
    """Where a run's folder holds the measurement of a step."""
    return folder / "records" / f"step-{max(step, 0):08d}.npz"


def model_path(folder: Path, step: int) -> Path:
    """Where a run's folder holds the weights of a step, where they were kept."""
    return folder / MODELS / f"step-{max(step, 0):08d}.weights.h5"


def step_of(path: Path) -> int:
    """The step in the name of a record, or of a kept model: step-00000123.npz."""
    return int(path.name.removeprefix("step-").split(".")[0])


@dataclass(frozen=True, repr=False)
class RunFolder(Shown):
    """A run read from its folder.

    Attributes:
        folder: Where it is.
        is_light: Whether its measurements hold little, so that a thousand runs fit into memory: they are read without
            arrays and layers, and what is of a pair set is read again when it is asked for.
    """

    folder: Path
    is_light: bool = False

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The resolved settings (config.json); empty where there are none."""
        return self._json("config.json")

    @cached_property
    def meta(self) -> dict[str, Any]:
        """The provenance (meta.json); empty where there is none."""
        return self._json("meta.json")

    @cached_property
    def vocabulary(self) -> dict[str, Any]:
        """How texts become token ids: `words` by id, and `sequence_length` (vocabulary.json); empty without texts."""
        return self._json("vocabulary.json")

    @cached_property
    def status(self) -> str:
        """running, completed, failed, interrupted or diverged; `unknown` where nothing was left behind."""
        return str(self._json("status.json").get("status", "unknown"))

    @property
    def is_running(self) -> bool:
        """Whether the process that writes this run is alive, as far as can be told from this machine.

        See `tfstiff.records.claim`.
        """
        return self._json("status.json").get("status") == "running" and is_alive(self.folder)

    @property
    def state(self) -> dict[str, Any]:
        """status.json as it stands now: `status`, `pid`, `host`, `started`, `ended`, …; empty where there is none."""
        return self._json("status.json")

    @cached_property
    def timings(self) -> dict[str, float]:
        """Where the time of a run that has ended went: `seconds…` and `images_per_second`."""
        return {name: value for name, value in self._json("status.json").items() if "second" in name}

    @cached_property
    def seconds_measuring(self) -> list[float]:
        """The seconds that each measurement took (timings.csv), in the order in which they were made.

        Raises:
            RecordCorrupt: The file is damaged.
        """
        path = self.folder / "timings.csv"
        if not path.exists():
            return []
        try:
            rows = csv.DictReader(io.StringIO(bytes_of(path).decode(), newline=""))
            return [float(row["seconds"]) for row in rows]
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise RecordCorrupt(
                f"{path} does not hold the seconds of a measurement a line: {type(error).__name__}: {error}",
                remedy="It may be moved away: nothing else needs it.",
            ) from error

    @property
    def events(self) -> list[dict[str, Any]]:
        """What happened beside the schedule, such as a training loss that was reached: each with its step and epoch.

        Lines that are damaged are left out; `problems` names them.
        """
        return self._lines[0]

    @cached_property
    def probe(self) -> dict[str, np.ndarray]:
        """Ids, classes and inputs of the probe's examples (probe.npz); empty where there are none.

        Inputs, `train_x` and `validation_x`, are to look at: numbers with a point are in half precision. They are not
        there where the model has several, or they take more than 64 MiB.

        Raises:
            RecordCorrupt: The file is damaged.
        """
        path = self.folder / "probe.npz"
        if not path.exists():
            return {}
        content = bytes_of(path)
        try:
            return read_members(content)
        except Exception as error:  # by the place of the damage; see `read_record`
            raise RecordCorrupt(f"{path} cannot be read: {error}") from error

    @cached_property
    def model_steps(self) -> list[int]:
        """The steps of the models that were kept, in order."""
        return sorted(map(step_of, (self.folder / MODELS).glob("step-*.weights.h5")))

    @cached_property
    def measurements(self) -> list[Measurement]:
        """The measurements in order of their step. Damaged records are left out; `problems` names them."""
        return self._records[0]

    @cached_property
    def problems(self) -> list[RecordCorrupt]:
        """One error for each record that cannot be read, and one for lines of events.jsonl that cannot."""
        return [*self._records[1], *self._lines[1]]

    @cached_property
    def _lines(self) -> tuple[list[dict[str, Any]], list[RecordCorrupt]]:
        path = self.folder / "events.jsonl"
        try:
            return read_lines(path) if path.exists() else ([], [])
        except RecordCorrupt as problem:
            return [], [problem]

    @cached_property
    def _records(self) -> tuple[list[Measurement], list[RecordCorrupt]]:
        measurements, problems = [], []
        for path in sorted((self.folder / "records").glob("step-*.npz")):
            try:
                measurements.append(read_light_record(path) if self.is_light else read_record(path))
            except RecordCorrupt as problem:
                problems.append(problem)
        return sorted(measurements, key=lambda measurement: measurement.step), problems

    @property
    def plot(self) -> Any:
        """The figures of this run: `run.plot()`, `run.plot.curves("sign_within")`, `run.plot.distance()`.

        See `tfstiff.figures.plotting.Plots`.
        """
        return from_above("figures.plotting", "Plots")(self)

    def _line(self) -> str:
        number = len(list((self.folder / "records").glob("step-*.npz")))
        named = [self._setting(name) for name in ("status", "dataset", "arch")]
        return ", ".join([repr(str(self.folder)), f"{number} measurements", *filter(None, named)])

    def _setting(self, name: str) -> str:
        """What a line tells of the run; nothing where the file that says it is damaged."""
        try:
            return self.status if name == "status" else str(self.spec.get(name, ""))
        except (RecordCorrupt, OSError):
            return ""

    def _showing(self) -> Showing:
        return from_above("analysis.showings", "of_measurements")(self._line(), self.measurements)

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return read_object(path) if path.exists() else {}


def open_run(folder: str | Path, *, is_light: bool = False) -> RunFolder:
    """Opens a run folder for reading. Records are read when first asked for.

    Args:
        folder: What `tfstiff run` or `StiffnessCallback(log_dir=…)` wrote.
        is_light: As in `RunFolder`.

    Raises:
        RunNotFound: There is no such folder, or it holds no run.
    """
    path = Path(folder)
    if not (path / "records").is_dir():
        raise RunNotFound(
            f"{path} is not a run folder.",
            expected="a folder with records/ in it, as `tfstiff run --out` or StiffnessCallback(log_dir=…) writes",
            remedy=_where_runs_are(path),
        )
    return RunFolder(path, is_light)


def _where_runs_are(path: Path) -> str:
    """What to do about a path that is no run: name one that lies in it, or the one in which it lies."""
    if not path.exists():
        return "Check the path: there is no such folder."
    if not path.is_dir():
        return "Check the path: it is a file."
    runs = sorted(records.parent for records in path.glob("*/records") if records.is_dir())
    if runs:
        others = f", or all {len(runs)} runs in it as {path}/*" if len(runs) > 1 else ""
        return f"Give the run in it, {runs[0]}{others}."
    above = next((one for one in path.absolute().parents if (one / "records").is_dir()), None)
    return "Check the path." if above is None else f"Give the run that it is a part of: {above}"
