"""Every example of a whole training set against a few of reference: streamed, so that memory does not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._options import takes
from tfstiff.errors import InvalidInput
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.objective import ObjectiveFunction, check_model, resolve_objective
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.gradients.tracing import compiled
from tfstiff.measuring.labels import as_read, check_labels, scores_of
from tfstiff.measuring.probe import Probe, ProbeHalf, proof_sample
from tfstiff.measuring.summation.held import Held, held, lengths_of
from tfstiff.records.scores import ExampleScores
from tfstiff.stiffness.example_scores import example_scores
from tfstiff.stiffness.example_stiffness import mean_stiffness

_METRICS = ("cosine", "sign")  # as tiles hold them: the first and the last third of their columns


@takes(GradientOptions)
@compiled()
def score_examples(
    model: keras.Model,
    probe: Probe,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    memory_limit: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> ExampleScores:
    """Scores every training example of a probe, however many, by its stiffness with the validation half by class.

    What `measure` tells of the pairs of both halves, without the pairs of training examples, and a block of these at a
    time: memory grows with the validation half, and with n only by the scores.

    Args:
        model: A Keras model. Nothing of it is changed.
        probe: The training examples, and those of reference as its validation half, as of `Probe.from_arrays` with
            `size=(None, 1000)`.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss; see `gradient_gram`.
        memory_limit: Bytes that gradients may take; None means half of what is free.
        progress: Called with the examples scored so far, and n, after each block.
        **options: Those of `GradientOptions`.

    Raises:
        InvalidInput: As `measure` does.
        UnsupportedModel: As `measure` does.
    """
    resolved = resolve_objective(model, loss, objective)
    probe = as_read(probe, resolved)
    if not len(probe.validation):
        raise InvalidInput(
            "The probe has no validation examples to compare with.", expected="Probe.from_arrays(train, validation)"
        )
    check_model(model, probe.train.x, probe.train.y, resolved)
    check_labels(model, probe, resolved)
    sample, count = proof_sample(probe), len(probe.train)
    plan = plan_for(
        model, *sample, GradientOptions(**options), loss=loss, objective=objective, num_examples=len(probe.validation)
    )
    plan.prove(*sample)
    memory = plan.memory_for(len(probe.validation), memory_limit)
    num_classes = probe.num_classes or 1
    sums = np.zeros((2, len(_METRICS), count, num_classes))  # of values, and of their squares
    counts = np.zeros((count, num_classes), np.int32)
    parts: list[ExampleScores] = []
    windows = list(_blocks(len(probe.validation), max(memory.num_resident, 1)))
    for number, window in enumerate(windows):
        references = [
            _ready(plan, probe.validation, block, num_classes) for block in _blocks_of(window, memory.block_size)
        ]
        for block in _blocks(count, memory.block_size):
            factors = plan.factors(*_examples(probe.train, block))
            sizes, norms = lengths_of(factors)
            alone = np.ones((len(sizes), 1), np.float32)
            rows = held(factors, sizes, norms, alone, alone)
            for columns, per_class in references:
                _add(plan, rows, columns, sums[:, :, block])
                counts[block] += per_class * rows.is_finite[:, None]
            if number == 0:
                half = _part(probe.train, block)
                predictions = tf.nest.map_structure(lambda tensor: tensor.numpy(), factors.predictions)
                parts.append(
                    example_scores(
                        factors.losses.numpy(),
                        norms,
                        predictions,
                        probe.outputs_of(half),
                        scores=scores_of(model, resolved, predictions),
                        classes=half.classes,
                        outputs_of_classes=probe.outputs if len(probe.outputs) else None,
                    )
                )
            if progress is not None:
                progress((number * count + block.stop) // len(windows), count)
    stiffness = mean_stiffness(counts, {metric: (sums[0, i], sums[1, i]) for i, metric in enumerate(_METRICS)})
    return replace(_joined(parts), stiffness={"validation": stiffness})


def _ready(plan: GradientPlan, half: ProbeHalf, block: slice, num_classes: int) -> tuple[Held, np.ndarray]:
    """The gradients of some examples of reference, and how many there are of each class."""
    factors = plan.factors(*_examples(half, block))
    sizes, norms = lengths_of(factors)
    classes = np.zeros(len(sizes), int) if half.classes is None else half.classes[block]
    one_hot = (classes[:, None] == np.arange(num_classes)).astype(np.float32)
    return held(factors, sizes, norms, one_hot, one_hot[:, :1]), one_hot[np.isfinite(norms)].sum(0).astype(np.int32)


def _add(plan: GradientPlan, rows: Held, columns: Held, sums: np.ndarray) -> None:
    """Adds the sums over a tile to (2, 2, b, C) sums of values and squares, by metric."""
    fixed = (False,) * len(rows.side.outers)
    tile = plan.reduce_tile(rows.side, columns.side, (), (), fixed=fixed, is_diagonal=False, keep_cosines=False)
    for power, found in enumerate((tile.rows, tile.row_squares)):
        by_kind = found.numpy().astype(np.float64).reshape(len(rows.lengths), 3, -1)
        sums[power, 0] += by_kind[:, 0]
        sums[power, 1] += by_kind[:, 2]


def _joined(parts: Sequence[ExampleScores]) -> ExampleScores:
    """The scores of consecutive examples."""
    whole: dict[str, Any] = {}
    for field in fields(ExampleScores):
        found = [getattr(part, field.name) for part in parts]
        if field.name != "stiffness":
            whole[field.name] = None if any(one is None for one in found) else np.concatenate(found)
    return ExampleScores(**whole)


def _blocks(count: int, size: int) -> Iterator[slice]:
    """All of `count` examples in blocks of nearly equal size."""
    bounds = np.linspace(0, count, -(-count // size) + 1).astype(int).tolist()
    return (slice(*pair) for pair in pairwise(bounds))


def _blocks_of(window: slice, size: int) -> Iterator[slice]:
    return (slice(window.start + b.start, window.start + b.stop) for b in _blocks(window.stop - window.start, size))


def _examples(half: ProbeHalf, block: slice) -> Any:
    return tf.nest.map_structure(lambda array: tf.constant(array[block]), (half.x, half.y))


def _part(half: ProbeHalf, block: slice) -> ProbeHalf:
    x, y = tf.nest.map_structure(lambda array: array[block], (half.x, half.y))
    return ProbeHalf(x, y, None if half.classes is None else half.classes[block], half.ids[block])
