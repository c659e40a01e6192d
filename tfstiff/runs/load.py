"""A run as users hold it: its folder, read, with what other rooms make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfstiff.datasets.text import TextEncoding
from tfstiff.errors import InvalidInput, RecordCorrupt
from tfstiff.records import RunFolder, open_run

if TYPE_CHECKING:
    import keras
    import pandas
    import xarray


_REMEDY = "Bring it back, or run again: what the network learnt is of that vocabulary."


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

    def encode(self, texts: Sequence[Any]) -> np.ndarray:
        """Texts as the run's network takes them, by the vocabulary that was kept with the run.

        Args:
            texts: n texts, or, where examples are of several texts, n rows of as many.

        Returns:
            Token ids, (n, length) int32.

        Raises:
            InvalidInput: The run is not one of texts.
            RecordCorrupt: vocabulary.json is damaged.
        """
        encoding = encoding_of(self)
        if encoding is None:
            raise InvalidInput(f"{self.folder} keeps no vocabulary.", expected="a run of texts")
        return encoding.apply(np.asarray(texts, dtype=object))

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


def encoding_of(run: RunFolder) -> TextEncoding | None:
    """How the texts of a run become token ids; None where it was not kept with the run, which has no texts, say.

    Raises:
        RecordCorrupt: vocabulary.json is damaged, or another one than the run was begun with.
    """
    path, expected = run.folder / "vocabulary.json", run.spec.get("vocabulary_sha256")
    if not run.vocabulary and expected is None:
        return None
    try:
        found = TextEncoding.from_config(run.vocabulary)
    except InvalidInput as error:
        raise RecordCorrupt(f"{path} is missing, or holds no vocabulary.", received=error, remedy=_REMEDY) from error
    if expected is not None and found.sha256() != expected:
        raise RecordCorrupt(f"{path} is not the vocabulary of the run.", remedy=_REMEDY)
    return found


def load_run(folder: str | Path) -> Run:
    """Opens a run folder for reading. Records are read when first asked for.

    Args:
        folder: What `tfstiff run` or `StiffnessCallback(log_dir=…)` wrote.

    Raises:
        RunNotFound: There is no such folder, or it holds no run.
    """
    return Run(open_run(folder).folder)
