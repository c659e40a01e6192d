"""`tfstiff examples --all`: every training example of a data set, by a model that is trained already."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from tfstiff._quiet import import_tensorflow
from tfstiff.analysis.example_lists import ExamplesAt
from tfstiff.errors import InvalidInput
from tfstiff.records import HalfSummary, Measurement, open_run
from tfstiff.runs.load import encoding_of
from tfstiff.runs.losses import outputs_in
from tfstiff.runs.own_code import check_named_again
from tfstiff.runs.saved.files import ModelFile, check_readable, model_files
from tfstiff.runs.spec import RunSpec


def scored(
    model: Path, step: int | None, reference: int, inputs: str, arch: str | None, given: dict[str, Any]
) -> tuple[Measurement, ExamplesAt]:
    """Scores all training examples, and says how far it is on standard error.

    Args:
        model: A saved model, or the folder of a run that kept its models.
        step: Of the model, of a run; None means the last.
        reference: Validation examples to compare with.
        inputs: What the model takes.
        arch: The network that weights are of.
        given: Settings of the data set.

    Raises:
        InvalidInput: There is no such model, or it does not go with the data set.
    """
    is_run = (model / "records").is_dir()
    if not is_run and "dataset" not in given:
        raise click.UsageError("Say which data set the examples are of: --dataset NAME.")
    config = open_run(model).spec if is_run else {}
    spec = replace(RunSpec.from_config(config), **given) if is_run else RunSpec.from_preset("iclr", **given)
    if is_run:
        check_named_again(arch or spec.arch, [arch], model, f"--arch {spec.arch}")
    file = _chosen(model_files(model), step, model)
    check_readable(file.path)
    sys.path.insert(0, "")  # a user's own module, named by --arch, lies where the command is run
    import_tensorflow()
    from tfstiff.measuring.probe import Probe
    from tfstiff.measuring.ranking import score_examples
    from tfstiff.runs.data import load_examples
    from tfstiff.runs.saved.measuring import SavedModels, builder
    from tfstiff.runs.saved.on_data import fitted
    from tfstiff.runs.saved.reading import load_model

    encoding = encoding_of(open_run(model)) if is_run else None
    dataset = load_examples(spec if is_run or arch is None else replace(spec, arch=arch), inputs, encoding)
    train, validation = dataset.train, dataset.validation
    probe = Probe.from_arrays(
        (train.x, train.y),
        (validation.x, validation.y),
        size=(None, min(reference, len(validation.ids))),
        seed=spec.seed,
        class_names=dataset.class_names,
        ids=(train.ids, validation.ids),
    )
    network = (spec.arch if is_run else arch, spec.hidden if is_run else None)
    saved = SavedModels([file], *network, config.get("input_shape"), outputs_in(config), config.get("num_token_ids"))
    found = load_model(file.path, builder(saved, dataset))
    loss, probe = fitted(found, dataset, probe, None, _say)
    _say(f"Scoring {len(probe.train):,} training examples against {len(probe.validation):,} validation examples.")
    scores = score_examples(found, probe, loss=loss, progress=_counter())
    halves = HalfSummary(len(probe.train), float(scores.loss.mean()), float("nan"), 0, 0, scores)
    others = HalfSummary(len(probe.validation), float("nan"), float("nan"), 0, 0)
    measurement = Measurement(halves, others, {}, probe.class_names, step=file.step, epoch=file.epoch)
    ids = np.asarray(probe.train.ids).astype(str).astype(object)
    return measurement, ExamplesAt("train", scores, probe.class_names, ids)


def _chosen(files: list[ModelFile], step: int | None, model: Path) -> ModelFile:
    chosen = [file for file in files if step in (None, file.step)]
    if not chosen:
        known = ", ".join(str(file.step) for file in files)
        raise InvalidInput(f"{model} has no model of step {step}.", expected=known, received=step)
    return chosen[-1]


def _say(text: str) -> None:
    click.echo(text, err=True)


def _counter() -> Callable[[int, int], None]:
    """Tells the share that is done: in place on a terminal, else a line each tenth."""
    shown = -1

    def tell(done: int, count: int) -> None:
        nonlocal shown
        is_live = sys.stderr.isatty()
        share = done * 100 // count if is_live else done * 10 // count * 10
        if share > shown:
            shown = share
            text = f"{done:,} of {count:,} ({share} %)"
            click.echo(f"\r{text}" if is_live else text, err=True, nl=not is_live or done == count)

    return tell
