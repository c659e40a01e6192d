"""`tfstiff bench`: how fast this machine computes the per-example gradients of a model."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from tfstiff._quiet import import_tensorflow
from tfstiff.bench import GRADIENTS
from tfstiff.bench.timing import machine
from tfstiff.errors import InvalidInput
from tfstiff.gradients.options import METHODS

from .progress import choose_progress
from .setting_options import SETTINGS, setting_options
from .tables import plain_table, print_whole

if TYPE_CHECKING:
    import keras
    import numpy as np

    from tfstiff.bench.throughput import Throughput

_ABSENT = "–"
_ROUNDS = 3  # of timing: enough for a first answer within a minute


def _methods(_: click.Context, __: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(value.split(",")))
    known = (*METHODS, GRADIENTS)
    if set(names) - set(known):
        raise click.BadParameter(f"{value!r} is not a list of {', '.join(known)}.")
    return names


def _shape(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    parts = value.split("x")
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r} is not a shape such as 28x28x1.")
    return tuple(map(int, parts))


@click.command("bench")
@setting_options(("arch", "hidden"))
@click.option(
    "--input-shape",
    callback=_shape,
    metavar="SHAPE",
    default="28x28x1",
    show_default=True,
    help="Of one example; the examples are random.",
)
@click.option("--classes", type=click.IntRange(2), default=10, show_default=True)
@click.option("--dataset", help="Take the examples from a data set instead: a name that `tfstiff data list` shows.")
@setting_options(("data_dir", "offline"))
@click.option("--probe-size", type=click.IntRange(2), default=500, show_default=True, help="Examples in all.")
@click.option("--methods", callback=_methods, default=f"auto,{GRADIENTS},vectorized,jacobian,loop", show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, show_default=True, help="For each method, about.")
@click.option("--explain", is_flag=True, help="Measure nothing; print how the gradients of each weight are computed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(methods: tuple[str, ...], seconds: float, explain: bool, as_json: bool, **options: Any) -> None:
    """Measure the throughput of per-example gradients on this machine.

    Computes the gradients of the examples and the products of every two of them, by each
    method, in turns with plain forward+backward over the same examples, which computes
    nothing per example. A slow method is measured on fewer examples. per_example_gradients
    is the gradients alone, as that function and gradient_chunks give them, without products.

    \b
    Examples:
      tfstiff bench --arch cnn --input-shape 32x32x3
      tfstiff bench --dataset mnist --methods auto
      tfstiff bench --arch transformer --input-shape 200
      tfstiff bench --arch mymodels:build --explain
    """  # noqa: D301  # click wants the character \b itself
    sys.path.insert(0, "")  # a user's own module, named by --arch, lies where the command is run
    progress = choose_progress()
    import_tensorflow()
    options["arch"] = options["arch"] or SETTINGS["arch"].default
    build = functools.partial(_model_and_examples, **options)
    model, x, y = build()
    if explain:
        _explain(model, x, y, as_json)
        return
    from tfstiff.bench.throughput import throughput

    rows = throughput(build, methods, rounds=_ROUNDS, seconds=seconds, say=progress.say)
    described = machine() | {"arch": options["arch"], "input_shape": x.shape[1:], "parameters": model.count_params()}
    if as_json:
        click.echo(json.dumps({**described, "methods": [row.described() for row in rows]}, indent=2))
        return
    _print_throughput(rows, len(x), described)


def _model_and_examples(
    arch: str,
    hidden: tuple[int, ...] | None,
    input_shape: tuple[int, ...],
    classes: int,
    dataset: str | None,
    data_dir: str | None,
    offline: bool | None,
    probe_size: int,
) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    import keras
    import numpy as np

    from tfstiff import models
    from tfstiff.datasets import load, prepare
    from tfstiff.datasets.text import VOCABULARY_SIZE

    num_token_ids = None
    if dataset is None:
        random = np.random.default_rng(0)
        x = random.standard_normal((probe_size, *input_shape), np.float32)
        if arch in models.OF_TOKENS:
            num_token_ids = VOCABULARY_SIZE
            x = random.integers(1, num_token_ids, (probe_size, *input_shape), np.int32)
        y = random.integers(0, classes, probe_size)
    else:
        prepared = prepare(load(dataset, data_dir=data_dir, offline=bool(offline)))
        if prepared.num_classes is None:
            raise InvalidInput("The networks are classifiers, and this data set has regression targets.")
        num_token_ids = prepared.num_token_ids
        x, y, classes = prepared.train.x[:probe_size], prepared.train.y[:probe_size], prepared.num_classes
    keras.utils.set_random_seed(0)
    model = models.build(arch, x.shape[1:], classes, hidden, num_token_ids)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, x, y


def _print_throughput(rows: Sequence[Throughput], probe_size: int, described: dict[str, Any]) -> None:
    table = plain_table("method", "examples", "ms", "examples/s", "× forward+\nbackward", "peak memory\nMB")
    for row in rows:
        if row.seconds is None or row.ratio is None:
            table.add_row(row.method, *[_ABSENT] * 5)
            continue
        memory = _ABSENT if row.peak_memory is None else f"{row.peak_memory / 1e6:,.0f}"
        examples = f"{row.examples:,}" + "*" * (row.examples < probe_size)
        rate = f"{row.examples_per_second:,.0f}"
        table.add_row(row.method, examples, f"{1e3 * row.seconds:,.1f}", rate, f"{row.ratio:.1f}", memory)
    notes = [f"{row.method}: {row.reason}" for row in rows if row.reason]
    if any(0 < row.examples < probe_size for row in rows):
        notes.insert(0, f"* on as many of the {probe_size:,} as its time allows, against forward+backward over these")
    shape = "×".join(map(str, described["input_shape"]))
    notes.append(f"{described['arch']}: {described['parameters']:,} parameters, examples of {shape}")
    notes.append("on {processor}, {cores} cores, {date}".format(**described))
    print_whole(table, notes)


def _explain(model: keras.Model, x: np.ndarray, y: np.ndarray, as_json: bool) -> None:
    from tfstiff import gradients

    steps = gradients.explain(model, x, y)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(step) for step in steps], indent=2))
        return
    table = plain_table("weight", "operation", "form", "multiply-adds", "bytes")
    for step in steps:
        table.add_row(step.weight, step.operation, step.form, f"{step.multiply_adds:,}", f"{step.bytes:,}")
    totals = [f"{sum(getattr(step, field) for step in steps):,}" for field in ("multiply_adds", "bytes")]
    table.add_row("total", "", "", *totals)
    print_whole(table, [f"for the products of {len(x):,} examples"])
