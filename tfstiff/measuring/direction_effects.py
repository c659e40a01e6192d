"""Does a step along a direction help each class? What a measurement tells of the directions that it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfstiff.errors import unknown_name
from tfstiff.gradients.gradient_factors import GradientFactors
from tfstiff.gradients.gradient_plan import GradientPlan
from tfstiff.gradients.tracing import compiled
from tfstiff.measuring.directional import Products, joined, products_of
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


class DirectionsMet:
    """The gradients of a probe met with the directions that a measurement is asked for.

    A pass over the probe shows the gradients of its blocks while it has them (`add`), so that along a direction costs
    a product more; those of blocks that it did not show are computed.

    Args:
        model: Of the plan.
        plan: Computes the gradients.
        examples: Those of `probe`, in blocks.
        probe: The probe.
        names: Some of `DIRECTIONS`.
        since: By name: the weights that directions lead from.
    """

    def __init__(
        self,
        model: keras.Model,
        plan: GradientPlan,
        examples: PreparedProbe,
        probe: Probe,
        names: Sequence[str],
        since: Since | None,
    ) -> None:
        self._plan, self._examples, self._probe, self._names = plan, examples, probe, names
        self._statuses: dict[str, str] = {}
        parts: dict[str, list[np.ndarray]] = {}
        batch = next_batch(probe.train) if NEXT_UPDATE in names else None
        for name in names:
            before = (since or {}).get(name)
            if name == CLASS_MEANS:
                continue
            if name in SINCE and before is None:
                self._statuses[name] = UNKNOWN
                continue
            one = named_parts(model, name, measured=plan.weights, since=before, batch=batch)
            self._statuses[name] = status_of(one)
            if self._statuses[name] == MEASURED:
                parts[name] = one
        self._directions = Directions(tuple(parts), [np.stack(of) for of in zip(*parts.values(), strict=True)])
        self._found: dict[int, Products] = {}  # by block

    def add(self, index: int, factors: GradientFactors) -> None:
        """Takes the gradients of a block, which are looked at once."""
        if self._directions.names and index not in self._found:
            by_weight = self._plan.products_along(factors, self._directions.parts)
            self._found[index] = products_of(factors, by_weight, range(len(self._plan.weights)), self._directions)

    @compiled()
    def effects(self, sums: Mapping[str, PairSetSums]) -> dict[str, DirectionEffects]:
        """Tells of each direction what a step along it does to each class of both halves.

        Args:
            sums: By pair set: the sums of products without a preconditioner, from which `class_means` follow.
        """
        halves = [self._along(place) for place in range(len(HALVES))] if self._directions.names else []
        found: dict[str, DirectionEffects] = {}
        for name in self._names:
            if name == CLASS_MEANS:
                found[name] = _of_class_means(self._examples, self._probe, sums)
            elif self._statuses[name] != MEASURED:
                found[name] = DirectionEffects(self._statuses[name])
            else:
                place = self._directions.names.index(name)
                effects = (None if of is None else of[place] for of in halves)
                found[name] = DirectionEffects(MEASURED, self._directions.lengths[place : place + 1], *effects)
        return found

    def _along(self, half: int) -> list[StepEffects] | None:
        """Of each direction; None for a half without examples."""
        examples = self._examples
        blocks = [index for index, block in enumerate(examples.blocks) if block.half == half]
        if not blocks:
            return None
        for index in blocks:
            if index not in self._found:
                self.add(index, self._plan.factors(*examples.examples(index)))
        weights = range(len(self._plan.weights))
        met = joined(self._directions, weights, [self._found[index] for index in blocks], np.zeros(0))
        classes = examples.classes[half][np.concatenate([examples.blocks[index].indices for index in blocks])]
        columns = ((slice(None), slice(place, place + 1)) for place in range(len(met.names)))
        return [step_effects(met.products[one], met.cosines[one], classes, examples.num_classes) for one in columns]


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
