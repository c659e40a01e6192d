"""Saved models, read: Keras' own files, of whole models (.keras) or of weights (.weights.h5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras

import tfstiff.models.transformer  # noqa: F401  # makes its layers known to Keras, for models that are read
from tfstiff import models
from tfstiff.errors import InvalidInput, ModelCorrupt, RecordCorrupt, UnsupportedModel
from tfstiff.records import RunFolder
from tfstiff.records.run_folder import model_path
from tfstiff.runs.losses import OF_NUMBERS, loss_in, make_loss, outputs_in
from tfstiff.runs.own_code import check_named_again
from tfstiff.runs.saved.files import WEIGHTS, check_readable


def load_model(path: str | Path, build: Callable[[], keras.Model] | None = None) -> keras.Model:
    """Reads a model in Keras' safe mode, in which no code that the file holds is run.

    Args:
        path: A file `.keras`, or one `.weights.h5`.
        build: Builds the model that the weights of the file are of. Needed for a file of weights; a whole model that
            holds code or classes unknown to Keras can be read with it too, for its weights.

    Returns:
        The model, compiled as it was saved where the file says how and nothing was built.

    Raises:
        InvalidInput: There is no such file, it is of another kind, or its weights do not fit what was built.
        ModelCorrupt: It is damaged.
        UnsupportedModel: It holds code that would have to be run, or a class that is not known here.
    """
    path = Path(path)
    check_readable(path)
    if build is not None:
        return _with_weights(build(), path)
    if path.name.endswith(WEIGHTS):
        raise InvalidInput(
            f"{path} holds weights, not the model that they are of.",
            remedy="Say which with --arch: a name, or package.module:function.",
        )
    try:
        return keras.saving.load_model(path, safe_mode=True)
    except (TypeError, ValueError, KeyError, OSError) as error:
        raise _reason(path, error) from error


def model_of_run(run: RunFolder, step: int, arch: str | None = None) -> keras.Model:
    """What `Run.model_at` returns."""
    if step not in run.model_steps:
        raise InvalidInput(
            f"{run.folder} has no model of step {step}.",
            expected=f"one of {run.model_steps}" if run.model_steps else "a run with --keep-models",
            received=step,
        )
    model = load_model(model_path(run.folder, step), partial(models.build, *_network(run, arch)))
    loss = loss_in(run.spec)
    model.compile(loss=make_loss(loss), metrics=None if loss in OF_NUMBERS else ["accuracy"])
    return model


def _network(run: RunFolder, named: str | None) -> tuple[str, tuple[int, ...], int, tuple[int, ...] | None, int | None]:
    """What `models.build` takes, out of the settings of a run that may come from anybody."""
    names = ("input_shape", "num_classes", "hidden", "num_token_ids")
    arch, shape = run.spec.get("arch"), _sizes(run.spec.get("input_shape"))
    outputs = _sizes([outputs_in(run.spec)])
    hidden, tokens = run.spec.get("hidden"), run.spec.get("num_token_ids")
    widths, num_ids = _sizes([] if hidden is None else hidden), _sizes([] if tokens is None else [tokens])
    if not isinstance(arch, str) or shape is None or outputs is None or widths is None or num_ids is None:
        raise RecordCorrupt(
            f"{run.folder / 'config.json'} does not say which model was trained.",
            expected=f"a name for arch, and whole numbers above 0 for {', '.join(names)}",
            received=(arch, *(run.spec.get(name) for name in names)),
        )
    check_named_again(arch, [named], run.folder, f"model_at(step, arch={arch!r})")
    return arch, shape, outputs[0], None if hidden is None else widths, num_ids[0] if num_ids else None


def _sizes(values: Any) -> tuple[int, ...] | None:
    """The whole numbers above 0 in a list; None where it is something else."""
    is_fit = isinstance(values, list) and all(type(value) is int and 0 < value < 2**31 for value in values)
    return tuple(values) if is_fit else None


def _with_weights(model: keras.Model, path: Path) -> keras.Model:
    try:
        model.load_weights(path)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"The weights in {path} do not fit the architecture: {_first_line(error)}",
            remedy="Give the architecture, and its hidden widths, that they were saved of.",
        ) from error
    return model


def _reason(path: Path, error: Exception) -> InvalidInput | ModelCorrupt:
    """The error to raise where Keras could not read a file whose archive is whole."""
    text = str(error)
    if "safe_mode" in text or "nsafe deserialization" in text:
        return UnsupportedModel(
            f"The model {path} holds Python code (a Lambda layer), which is not run.",
            remedy="Give --arch package.module:function, your own code that builds it; its weights are read then.",
        )
    if "Could not locate" in text or "could not be deserialized" in text or "cannot be deserialized" in text:
        return UnsupportedModel(
            f"The model {path} has a part that is not known here: {_first_line(error)}",
            remedy="Give --arch package.module:function, your own code that builds it; its weights are read then.",
        )
    return ModelCorrupt(f"The model {path} cannot be read: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
