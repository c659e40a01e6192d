"""A run as users hold it: its folder, read, with what other rooms make of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfstiff.records import RunFolder, open_run

if TYPE_CHECKING:
    import keras
    import pandas
    import xarray


@dataclass(frozen=True, repr=False)
class Run(RunFolder):
    """A run read from its folder, and what can be made of it. Nothing is read before it is asked for."""

    def to_xarray(self) -> xarray.Dataset:
        """All that was measured, as one xarray data set: see `tfstiff.export.as_dataset`."""
        from tfstiff.export import as_dataset

        return as_dataset(self)

    def to_dataframe(self) -> pandas.DataFrame:
        """A row a measurement and pair set: when, losses, stiffness with standard errors, ξ, the half's statistics."""
        from tfstiff.export import measurement_frame

        return measurement_frame(self.measurements)

    def examples(self, half: str = "train", *, by_class: bool = False) -> pandas.DataFrame:
        """A row a measurement and example of one half of the probe, with the example's id.

        Columns `step`, `epoch`, `id`, and those of `Measurement.examples`. A measurement of an older version, which
        holds no scores of examples, has no row.

        Args:
            half: `train` or `validation`.
            by_class: As for `Measurement.examples`.

        Raises:
            InvalidInput: There is no such half.
        """
        from tfstiff.analysis.examples import examples_over_time

        return examples_over_time(self.measurements, self.probe, half, by_class=by_class)

    def model_at(self, step: int, arch: str | None = None) -> keras.Model:
        """The model as it was at a step, of a run that kept its models.

        It is built by the run's architecture, and compiled with the run's loss, without the optimizer's state.

        Args:
            step: One of `model_steps`.
            arch: The run's own `package.module:function`, given again, since a folder may come from anybody and that
                code is run. Not needed for networks of tfstiff.

        Raises:
            InvalidInput: No model of that step was kept, or the run's network is code that `arch` does not name.
            RecordCorrupt: The settings do not say which model it is.
            ModelCorrupt: Its file is damaged.
        """
        from tfstiff.runs.saved.reading import model_of_run  # which imports TensorFlow

        return model_of_run(self, step, arch)


def load_run(folder: str | Path) -> Run:
    """Opens a run folder for reading. Records are read when first asked for.

    Args:
        folder: What `tfstiff run` or `StiffnessCallback(log_dir=…)` wrote.

    Raises:
        RunNotFound: There is no such folder, or it holds no run.
    """
    return Run(open_run(folder).folder)
