"""A sweep's folder, in which all of its state is.

sweep.json             the trials: names, hashes and specifications
trials/<name>/         their run folders, as `tfstiff run` leaves them
state/<name>.json      what the process of a trial last told, and why it failed
logs/<name>.txt        what that process wrote to standard output and standard error
ray.txt                what Ray said, where it ran them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfstiff.errors import InvalidInput, RecordCorrupt, RunNotFound
from tfstiff.records import open_run
from tfstiff.records.atomic import write_json
from tfstiff.records.claim import holds_something_else
from tfstiff.records.names import check_name
from tfstiff.records.reading import read_object
from tfstiff.records.shown import Brief
from tfstiff.runs.spec import RunSpec
from tfstiff.sweeps.identity import settings_hash, spec_from_dict, spec_hash
from tfstiff.sweeps.state import DONE, TrialState, read_state, write_state
from tfstiff.sweeps.trials import Trial, named, varied_settings

_MANIFEST = "sweep.json"
_SCHEMA = 1


@dataclass(frozen=True, repr=False)
class Sweep(Brief):
    """A sweep's folder and its trials.

    Attributes:
        folder: Absolute.
        trials: In the order in which they are run.
    """

    folder: Path
    trials: tuple[Trial, ...]

    @property
    def varied(self) -> list[str]:
        """The settings in which the trials differ, the seed last."""
        return varied_settings([trial.spec for trial in self.trials])

    def run_folder(self, trial: Trial) -> Path:
        """Where the trial's run is."""
        return self.folder / "trials" / trial.name

    def state_file(self, trial: Trial) -> Path:
        """Where the trial's process tells how far it is."""
        return self.folder / "state" / f"{trial.name}.json"

    def log_file(self, trial: Trial) -> Path:
        """Where the trial's process writes."""
        return self.folder / "logs" / f"{trial.name}.txt"

    def find(self, name: str) -> Trial:
        """The trial of that name.

        Raises:
            InvalidInput: There is none.
        """
        for trial in self.trials:
            if trial.name == name:
                return trial
        raise InvalidInput(f"{self.folder} has no trial of that name.", received=name)

    def state(self, trial: Trial) -> TrialState:
        """How it stands with a trial. Whether it is done is told by its run folder alone."""
        told = read_state(self.state_file(trial))
        try:
            status = self._status(trial)
        except RecordCorrupt as problem:
            return replace(told, state="failed", error=str(problem), exit_code=problem.exit_code)
        if status in DONE:
            return replace(told, state=status, error="")
        if told.is_done:  # the run folder was removed or is another's
            return TrialState()
        return told

    def _status(self, trial: Trial) -> str:
        """What the run folder says, where it is of this trial."""
        folder = self.run_folder(trial)
        if not (folder / "records").is_dir():
            return "unknown"
        run = open_run(folder)
        try:
            return run.status if spec_hash(RunSpec.from_config(run.spec)) == trial.hash else "unknown"
        except InvalidInput:  # the settings of something else
            return "unknown"

    def missing(self) -> list[Trial]:
        """The trials that are not done: those that never ran, were interrupted, or failed."""
        return [trial for trial in self.trials if not self.state(trial).is_done]

    def record(self, trial: Trial, state: TrialState) -> None:
        """Keeps what became of a trial where its process could not."""
        write_state(self.state_file(trial), state)


def plan_sweep(folder: str | Path, specs: Sequence[RunSpec]) -> tuple[Sweep, int]:
    """The sweep of these specifications in a folder, which may hold some of them already. Writes nothing.

    A sweep may grow: trials that the folder has keep their names and what they left behind.

    Args:
        folder: New, empty, or of a sweep whose trials are all among `specs`.
        specs: What to run, each once.

    Returns:
        The sweep, and how many of its trials the folder does not know yet.

    Raises:
        InvalidInput: The folder holds something else, or a sweep with other trials.
    """
    folder = Path(folder).absolute()
    check_name(folder)
    existing: tuple[Trial, ...] = ()
    if (folder / _MANIFEST).exists():
        existing = load_sweep(folder).trials
        wanted = {spec_hash(spec) for spec in specs}
        others = [trial.name for trial in existing if trial.hash not in wanted]
        if others:
            raise InvalidInput(
                f"{folder} is a sweep with trials that are not asked for now.",
                expected="the same trials, or these and more",
                received=", ".join(others),
                remedy=f"Choose another --out, or finish that sweep: tfstiff sweep --resume {folder}",
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise holds_something_else(folder, expected="a new or empty folder, or that of a sweep")
    return Sweep(folder, tuple(named(specs, existing))), len(specs) - len(existing)


def write_sweep(sweep: Sweep) -> None:
    """Creates the folder, or brings its list of trials up to date.

    Raises:
        OSError: The folder cannot be written.
    """
    for part in ("trials", "state", "logs"):
        (sweep.folder / part).mkdir(parents=True, exist_ok=True)
    trials = [{"name": trial.name, "hash": trial.hash, "spec": trial.spec.as_config()} for trial in sweep.trials]
    write_json(sweep.folder / _MANIFEST, {"schema": _SCHEMA, "trials": trials})


def is_sweep(folder: str | Path) -> bool:
    """Whether a folder is that of a sweep."""
    return (Path(folder) / _MANIFEST).is_file()


def load_sweep(folder: str | Path) -> Sweep:
    """Opens a sweep's folder.

    Raises:
        RunNotFound: It is none.
        RecordCorrupt: Its list of trials is damaged, or of a newer version.
    """
    path = Path(folder).absolute() / _MANIFEST
    if not path.is_file():
        raise RunNotFound(
            f"{folder} is not a sweep's folder.", expected=f"a folder with {_MANIFEST}, as `tfstiff sweep` writes"
        )
    try:
        manifest = read_object(path)
        if manifest["schema"] != _SCHEMA:
            raise RecordCorrupt(f"{path} is of another version.", expected=str(_SCHEMA), received=manifest["schema"])
        trials = []
        for entry in manifest["trials"]:
            if settings_hash(entry["spec"]) != entry["hash"]:
                raise RecordCorrupt(
                    f"{path} was changed: the trial {entry['name']} has another hash than its settings.",
                    remedy="Make a new sweep of the settings that you want.",
                )
            trials.append(Trial(entry["name"], spec_from_dict(entry["spec"])))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise RecordCorrupt(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    return Sweep(path.parent, tuple(trials))
