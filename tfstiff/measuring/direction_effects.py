"""Does a step along a direction help each class? What a measurement tells of the directions that it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfstiff.errors import unknown_name
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.tracing import compiled
from tfstiff.measuring.directional import stiffness_along
from tfstiff.measuring.directions import SINCE, Directions, known_optimizer, named_parts, status_of
from tfstiff.measuring.probe import Probe, ProbeHalf
from tfstiff.measuring.summation.prepared import PreparedProbe
from tfstiff.records.directions import (
    CLASS_MEANS,
    MEASURED,
    NEXT_UPDATE,
    NO_CLASSES,
    NO_PAIRS,
    UNKNOWN,
    DirectionEffects,
    StepEffects,
)
from tfstiff.records.measurement import HALVES
from tfstiff.stiffness.step_effects import class_step_products, step_effects
from tfstiff.stiffness.sums import PairSetSums

_BATCH = 256  # examples of the step that the optimizer would take next: a training batch, whatever the probe's size
Since = Mapping[str, Sequence[Any]]


def check_directions(model: keras.Model, directions: Sequence[str], since: Since | None = None) -> None:
    """Checks, before anything slow, that directions can be told of.

    Raises:
        InvalidInput: They cannot: of the next update, as `known_optimizer` says; `since` has a name that leads from
            nowhere.
    """
    for name in since or {}:
        if name not in SINCE:
            raise unknown_name("This direction leads from no weights.", name, tuple(SINCE))
    if NEXT_UPDATE in directions:
        known_optimizer(model)


def next_batch(half: ProbeHalf) -> tuple[Any, Any]:
    """The training examples of the probe, evenly 256 of more, that `next_update` is a step on."""
    count = len(half)
    places = np.linspace(0, count - 1, min(count, _BATCH)).astype(int)
    return keras.tree.map_structure(lambda array: array[places], (half.x, half.y))


@compiled()
def direction_effects(
    model: keras.Model,
    plan: GradientPlan,
    examples: PreparedProbe,
    probe: Probe,
    directions: Sequence[str],
    sums: Mapping[str, PairSetSums],
    since: Since | None,
) -> dict[str, DirectionEffects]:
    """Tells of each direction what a step along it does to each class of both halves.

    All but `class_means` share one forward and backward pass over the probe; those follow from the sums over pairs.

    Args:
        model: Of the plan.
        plan: Computes the gradients.
        examples: Those of `probe`, in blocks.
        probe: The probe.
        directions: Some of `DIRECTIONS`.
        sums: By pair set: the sums of products without a preconditioner.
        since: By name: the weights that directions lead from.
    """
    parts: dict[str, list[np.ndarray]] = {}
    found: dict[str, DirectionEffects] = {}
    batch = next_batch(probe.train) if NEXT_UPDATE in directions else None
    for name in directions:
        if name == CLASS_MEANS:
            found[name] = _of_class_means(examples, probe, sums)
        elif name in SINCE and (since or {}).get(name) is None:
            found[name] = DirectionEffects(UNKNOWN)
        else:
            one = named_parts(model, name, measured=plan.weights, since=(since or {}).get(name), batch=batch)
            found[name] = DirectionEffects(status_of(one))
            if found[name].status == MEASURED:
                parts[name] = one
    if parts:
        joined = Directions(tuple(parts), [np.stack(of) for of in zip(*parts.values(), strict=True)])
        halves = [_along(plan, examples, place, joined) for place in range(len(HALVES))]
        for place, name in enumerate(parts):
            effects = (None if of is None else of[place] for of in halves)
            found[name] = DirectionEffects(MEASURED, joined.lengths[place : place + 1], *effects)
    return {name: found[name] for name in directions}


def _along(plan: GradientPlan, examples: PreparedProbe, half: int, directions: Directions) -> list[StepEffects] | None:
    """Of each direction; None for a half without examples."""
    blocks = [index for index, block in enumerate(examples.blocks) if block.half == half]
    if not blocks:
        return None
    found = stiffness_along(plan, directions, (examples.examples(index) for index in blocks))
    classes = examples.classes[half][np.concatenate([examples.blocks[index].indices for index in blocks])]
    columns = ((slice(None), slice(place, place + 1)) for place in range(len(directions.names)))
    return [step_effects(found.products[one], found.cosines[one], classes, examples.num_classes) for one in columns]


def _of_class_means(examples: PreparedProbe, probe: Probe, sums: Mapping[str, PairSetSums]) -> DirectionEffects:
    if probe.num_classes is None:
        return DirectionEffects(NO_CLASSES)
    if "train_train" not in sums:
        return DirectionEffects(NO_PAIRS)
    effects, lengths = {}, None
    for half, (name, pair_set) in enumerate(zip(HALVES, ("train_train", "train_val"), strict=True)):
        if pair_set in sums:
            products, cosines, lengths = class_step_products(sums["train_train"], sums[pair_set])
            effects[name] = step_effects(products, cosines, examples.classes[half], examples.num_classes, are_own=True)
    return DirectionEffects(MEASURED, lengths, **effects)
