"""One measurement: the gradients of a model on a probe, and the stiffness between them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tfstiff._options import takes
from tfstiff.datasets.groupings import group_indices
from tfstiff.gradients.chosen_weights import choice_in_words
from tfstiff.gradients.memory import MemoryPlan
from tfstiff.gradients.objective import ObjectiveFunction, check_model, resolve_objective
from tfstiff.gradients.options import NONE
from tfstiff.gradients.plan import plan_for
from tfstiff.gradients.preconditioner import Preconditioner, diagonal_of, named
from tfstiff.measuring import reservations
from tfstiff.measuring.direction_effects import DirectionsMet, Since, check_directions
from tfstiff.measuring.labels import accuracies, accuracy, as_read, check_labels, scores_of, why_no_accuracy
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe, ProbeHalf, check_probe, proof_sample
from tfstiff.measuring.sampling import pair_sample
from tfstiff.measuring.suitability import check_suits
from tfstiff.measuring.summation.footprint import footprint
from tfstiff.measuring.summation.parts import Part
from tfstiff.measuring.summation.prepared import prepared
from tfstiff.measuring.summation.probe_pass import ProbePass
from tfstiff.measuring.summation.probe_sums import PLAIN, WHOLE, ProbeSums, ProbeTotals, probe_sums
from tfstiff.measuring.summation.representations import (
    INPUT,
    check_space,
    chosen_space,
    input_width,
    representations,
    widths,
    without_distances,
)
from tfstiff.records import HalfSummary, Measurement, PairSetStiffness
from tfstiff.records.directions import DirectionEffects
from tfstiff.records.measurement import HALVES
from tfstiff.stiffness import pair_set_stiffness
from tfstiff.stiffness.example_scores import example_scores
from tfstiff.stiffness.example_stiffness import stiffness_of_examples
from tfstiff.stiffness.pairs import ComparedPairs, DistanceOptions


@takes(MeasureOptions)
def measure(
    model: keras.Model,
    probe: Probe,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    since: Since | None = None,
    **options: Any,
) -> Measurement:
    """Measures the stiffness of `model` on `probe`.

    One pass over both halves of the probe gives all pair sets. The products of the gradients are added up a tile at a
    time, so that nothing grows as the square of the probe; where the features of all examples do not fit into memory,
    they are computed again for each part of the pairs. The model is used in inference mode, without sample weights and
    without regularisation losses; nothing of it is changed.

    Args:
        model: A Keras model.
        probe: The examples.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, a function `(model, x, y) -> (n,)` losses; see `gradient_gram`.
        since: Of the directions `update` and `since_initialisation`: the weights that they lead from, by these names,
            arrays like `model.trainable_weights`.
        **options: Those of `MeasureOptions`.

    Raises:
        InvalidInput: An option is unknown or does not suit the probe, both a loss and an objective are given, labels do
            not suit the loss, a label has no output, no trainable weight is chosen, the memory limit is too small for
            this model, `since` has other shapes, or what the optimizer would do next cannot be told.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    chosen = MeasureOptions(**options)
    diagonal_of(model, chosen.preconditioner, chosen.weights)  # refused before anything slow
    return MeasurementTask(model, probe, chosen, loss=loss, objective=objective, since=since).run()


class MeasurementTask:
    """One measurement, checked and prepared: the model traced and proved, the probe in blocks.

    Args:
        model: A Keras model.
        probe: The examples.
        options: What is measured, and how.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss.
        memory: How gradients are held; None means as `memory_limit` says.
        since: See `measure`.

    Attributes:
        pair_sets: Those that are measured.
        memory: How gradients are held.
        blocks: The probe in blocks.

    Raises:
        InvalidInput: As `measure` does.
        UnsupportedModel: As `measure` does.
    """

    def __init__(
        self,
        model: keras.Model,
        probe: Probe,
        options: MeasureOptions,
        *,
        loss: Any = None,
        objective: ObjectiveFunction | None = None,
        memory: MemoryPlan | None = None,
        since: Since | None = None,
    ) -> None:
        check_probe(probe)
        check_directions(model, options.directions, since)
        self._since = since
        self._objective = resolve_objective(model, loss, objective)
        probe = as_read(probe, self._objective)
        self._grouping = check_suits(options, probe)
        self._sample = pair_sample(options, probe)
        self._distances = DistanceOptions(options.distance, options.distance_pairs, options.distance_bins)
        self._model, self._examples, self._options = model, probe, options
        self.pair_sets = probe.pair_sets_of(options.pair_sets)
        check_model(model, probe.train.x, probe.train.y, self._objective)
        check_labels(model, probe, self._objective)
        if options.preconditioner != NONE:
            Preconditioner(model, options.preconditioner)  # or there is none for this optimizer
        count, sample = len(probe.train) + len(probe.validation), proof_sample(probe)
        self._plan = plan_for(model, *sample, options, loss=loss, objective=objective, num_examples=count)
        self._plan.prove(*sample)
        check_space(model, options.space)
        taken = footprint(probe, options, self.pair_sets, widths(model, probe, options.space), len(self._plan.layers))
        self.memory = memory or self._plan.memory_for(count, options.memory_limit, taken)
        kept = taken.kept(self.memory.num_spare)
        self.blocks = prepared(probe, self.memory.block_size, self._sample.num_subsets, kept)
        self._has_distances = input_width(model, probe) > 0
        if not self._has_distances and chosen_space(model, probe, options.space) == INPUT:
            warnings.warn(without_distances(model), stacklevel=3)

    @cached_property
    def _spaces(self) -> dict[str, tuple[np.ndarray, ...] | None]:
        return representations(self._model, self._examples, self._options.space)

    def reservations(self) -> list[str]:
        """What to bear in mind of the probe, its inputs and the model, a sentence each; each is warned of once."""
        kept = self.blocks.kept
        if "reservations" not in kept:
            kept["reservations"] = reservations.of_probe(self._examples)
        found = list(kept["reservations"])
        if self._objective.loss is not None:
            found += reservations.of_inputs(self._model, self._examples)
        for text in found:
            self._warn_once(text, text)
        found += [self._plan.untracked] * (self._plan.untracked is not None)  # of which tracing warned
        return found + reservations.of_sample(self._sample)

    def _warn_once(self, key: str, text: str) -> None:
        told = self.blocks.kept.setdefault("told", set())
        if key not in told:
            told.add(key)
            warnings.warn(text, stacklevel=4)

    def run(self) -> Measurement:
        """Makes the measurement."""
        diagonal = diagonal_of(self._model, self._options.preconditioner, self._options.weights)
        return self.measurement(
            self._pass(self._compared(), keep_gram=self._options.keep_gram, diagonal=diagonal, show=self._met.add).run()
        )

    def edges(self) -> dict[str, dict[str, list[float]]]:
        """By space and pair set: the edges of the distance bins, which all parts must share."""
        compared = self._compared()
        return {space: {name: pairs.edges.tolist() for name, pairs in sets.items()} for space, sets in compared.items()}

    def totals(self, part: Part, edges: Mapping[str, Mapping[str, Sequence[float]]]) -> ProbeTotals:
        """What a part adds up.

        Args:
            part: Its tiles.
            edges: As `edges` gives them.
        """
        compared = {
            space: {
                name: self.blocks.compared_in(
                    part.tiles[name], name, vectors, self._distances, np.array(edges[space][name], float)
                )
                for name in self.pair_sets
            }
            for space, vectors in self._spaces.items()
        }
        return self._pass(compared, part=part).totals()

    def sums(self, totals: ProbeTotals) -> ProbeSums:
        """The sums, from the totals of all parts added up."""
        return probe_sums(totals, self.blocks, self._plan.factors(*self.blocks.examples(0)).predictions)

    def measurement(self, found: ProbeSums) -> Measurement:
        """The measurement, from its sums."""
        probe, options, grouping = self._examples, self._options, self._grouping

        def summary(half: ProbeHalf, place: int) -> HalfSummary:
            if not len(half):
                return HalfSummary(0, float("nan"), float("nan"), 0, 0)
            norms, losses, predictions = found.norms[place], found.losses[place], found.predictions[place]
            outputs = probe.outputs_of(half)
            kind = scores_of(self._model, self._objective, predictions, options.from_logits)
            if why := why_no_accuracy(outputs, predictions, kind):
                self._warn_once(why, f"There is no accuracy and no EL2N (NaN): {why}.")
            for key, text in reservations.of_gradients(("training", "validation")[place], norms):
                self._warn_once(key, text)
            return HalfSummary(
                num_examples=len(half),
                loss=float(losses.mean(dtype=np.float64)),
                accuracy=accuracy(outputs, predictions, kind),
                accuracies=accuracies(self._objective, half.y, predictions, options.from_logits),
                num_zero_gradients=int((norms == 0).sum()),
                num_nonfinite=int((~np.isfinite(norms)).sum()),
                scores=example_scores(
                    losses,
                    norms,
                    predictions,
                    outputs,
                    scores=kind,
                    classes=half.classes,
                    outputs_of_classes=probe.outputs if len(probe.outputs) else None,
                    stiffness=stiffness_of_examples(found.pair_sets[WHOLE], HALVES[place]),
                ),
            )

        groups = None if grouping is None else group_indices(grouping, probe.class_names)[0]
        stiffness = {
            layer: {
                name: self._told(
                    pair_set_stiffness(
                        sums,
                        has_classes=probe.num_classes is not None,
                        groups=groups,
                        rule=options.critical_length_rule(),
                    )
                )
                for name, sums in sets.items()
            }
            for layer, sets in found.pair_sets.items()
        }
        return Measurement(
            train=summary(probe.train, 0),
            validation=summary(probe.validation, 1),
            pair_sets=stiffness.pop(WHOLE),
            class_names=probe.class_names,
            method=options.method,
            plain=stiffness.pop(PLAIN, {}),
            layers=stiffness,
            preconditioner=named(options.preconditioner),
            gram=found.gram,
            groups={name: tuple(classes) for name, classes in (grouping or {}).items()},
            reservations=tuple(self.reservations()),
            weights=choice_in_words(self._model, options.weights, self._plan.weights),
            sampled_pairs=None if self._sample.is_whole else self._sample.num_pairs,
            directions=self._directions(found),
        )

    def _directions(self, found: ProbeSums) -> dict[str, DirectionEffects]:
        plain = found.pair_sets.get(PLAIN, found.pair_sets[WHOLE])
        return self._met.effects(plain if self._sample.is_whole else {})  # sums over all pairs

    @cached_property
    def _met(self) -> DirectionsMet:
        return DirectionsMet(
            self._model, self._plan, self.blocks, self._examples, self._options.directions, self._since
        )

    def _told(self, found: PairSetStiffness) -> PairSetStiffness:
        """The same, with the reason where there is no ξ since inputs have no distances."""
        if self._has_distances or INPUT not in found.spaces:
            return found
        space = found.spaces[INPUT]
        length = replace(space.critical_length, status="unavailable")
        return replace(found, spaces={**found.spaces, INPUT: replace(space, critical_length=length)})

    def _pass(self, compared: Mapping[str, Mapping[str, ComparedPairs]], **rest: Any) -> ProbePass:
        rest["per_layer"] = self._options.per_layer
        return ProbePass(self._plan, self.blocks, self.memory, self.pair_sets, compared, **rest)

    def _compared(self) -> dict[str, dict[str, ComparedPairs]]:
        return {
            space: {name: self.blocks.compared(name, vectors, self._distances) for name in self.pair_sets}
            for space, vectors in self._spaces.items()
        }
