"""One measurement: the gradients of a model on a probe, and the stiffness between them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfstiff.datasets.groupings import Grouping, chosen_grouping, group_indices
from tfstiff.errors import InvalidInput
from tfstiff.gradients.loss import resolve_loss
from tfstiff.gradients.memory import MemoryPlan
from tfstiff.gradients.objective import check_model
from tfstiff.gradients.plan import check_choices, plan_for
from tfstiff.measuring.labels import accuracy, check_labels
from tfstiff.measuring.probe import Arrays, Probe, ProbeHalf
from tfstiff.measuring.summation.parts import Part
from tfstiff.measuring.summation.prepared import HALVES, prepared
from tfstiff.measuring.summation.probe_pass import ProbePass
from tfstiff.measuring.summation.probe_sums import WHOLE, ProbeSums, ProbeTotals, probe_sums
from tfstiff.measuring.summation.representations import representations
from tfstiff.records import PAIR_SETS, HalfSummary, Measurement
from tfstiff.stiffness import pair_set_stiffness
from tfstiff.stiffness.estimate import check_critical_length
from tfstiff.stiffness.example_scores import example_scores
from tfstiff.stiffness.pairs import KEPT_PAIRS, ComparedPairs, DistanceOptions, num_candidates

_METHOD_OF_PAIRS = "isotonic"  # for critical lengths: it needs every pair, the others sums over them
_PROOF_EXAMPLES = 64  # of each half, from which the proof draws


def measure(  # noqa: PLR0913 - what is measured is chosen here, by name, one choice an argument
    model: keras.Model,
    probe: Probe,
    *,
    loss: Any = None,
    method: str = "auto",
    precision: str = "float32",
    pair_sets: Sequence[str] = PAIR_SETS,
    distance: str = "cosine",
    space: str = "input",
    distance_pairs: str = "within",
    distance_bins: str = "equal_width",
    critical_length_method: str = "linear",
    critical_length_metric: str = "cosine",
    groups: str | Grouping | None = "auto",
    per_layer: bool = False,
    keep_gram: bool = False,
    memory_limit: int | None = None,
) -> Measurement:
    """Measures the stiffness of `model` on `probe`.

    One pass over both halves of the probe gives all pair sets. The products of the gradients are added up a tile at a
    time, so that nothing grows as the square of the probe. The model is used in inference mode, without sample weights
    and without regularisation losses; nothing of it is changed.

    Args:
        model: A Keras model.
        probe: The examples.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        method: How gradients are computed; see `gradient_gram`.
        precision: In which gradients are computed, `"float32"`, `"float64"` or `"policy"`; see `gradient_gram`.
        pair_sets: Which of `"train_train"`, `"train_val"` and `"val_val"` to measure.
        distance: Between two examples: `"cosine"` (1 − cos), `"cosine_similarity"`, `"l1"` or `"l2"`.
        space: Where distances are measured: `"input"`, the name of a layer (its output), or `"all"`.
        distance_pairs: Pairs compared by distance: of the same class (`"within"`), of different ones (`"between"`), or
            `"all"`.
        distance_bins: Bins of `"equal_width"`, or `"quantile"`: of equally many pairs.
        critical_length_method: How ξ is found: `"linear"`, `"fixed_effects"` (of classes), `"linear_binned"`,
            `"first_crossing"`, or `"isotonic"`, which can have 2 million pairs of a pair set.
        critical_length_metric: The stiffness of which ξ is the zero: `"cosine"` or `"sign"`.
        groups: Groups of classes whose blocks in the class matrix are compared: `"auto"`, CIFAR-100's superclasses,
            CIFAR-10's vehicles and animals, and of other classes none; None; a name, file or text as
            `tfstiff.datasets.groupings.read_grouping` takes them; or a list of class names for each group's name.
        per_layer: Whether to measure the gradients of each layer's weights by themselves too.
        keep_gram: Whether the measurement keeps the (n, n) products of all gradients.
        memory_limit: Bytes that the gradients may take; None means half of what is free. Where the factors of all
            examples do not fit, they are computed again for each part of the pairs.

    Raises:
        InvalidInput: A choice is unknown or does not suit the probe, a label has no output, or the memory limit is too
            small for this model.
        UnsupportedModel: No loss, no trainable weights, quantised layers, or examples that interact.
    """
    return MeasurementTask(
        model,
        probe,
        loss=loss,
        method=method,
        precision=precision,
        pair_sets=pair_sets,
        distance=distance,
        space=space,
        distance_pairs=distance_pairs,
        distance_bins=distance_bins,
        critical_length_method=critical_length_method,
        critical_length_metric=critical_length_metric,
        groups=groups,
        per_layer=per_layer,
        keep_gram=keep_gram,
        memory_limit=memory_limit,
    ).run()


class MeasurementTask:
    """One measurement, checked and prepared: the model traced and proved, the probe in blocks.

    Args:
        model: A Keras model.
        probe: The examples.
        memory: How gradients are held; None means as `memory_limit` says.
        **options: Those of `measure`.

    Attributes:
        pair_sets: Those that are measured.
        memory: How gradients are held.
        blocks: The probe in blocks.

    Raises:
        InvalidInput: As `measure` does.
        UnsupportedModel: As `measure` does.
    """

    def __init__(self, model: keras.Model, probe: Probe, *, memory: MemoryPlan | None = None, **options: Any) -> None:
        self._distances, self._grouping = check_options(probe, **options)
        self._options = chosen = _chosen(options)
        self._model, self._examples = model, probe
        self.pair_sets: Sequence[str] = chosen["pair_sets"]
        check_model(model, probe.train.x)
        check_labels(model, probe)
        count, sample = len(probe.train) + len(probe.validation), _sample(probe)
        how = {name: chosen[name] for name in ("loss", "method", "precision")}
        self._plan = plan_for(model, *sample, num_examples=count, **how)
        self._plan.prove(*sample)
        self.memory = memory or self._plan.memory_for(count, chosen["memory_limit"])
        self.blocks = prepared(probe, self.memory.block_size)
        self._spaces = representations(model, probe, chosen["space"])

    def run(self) -> Measurement:
        """Makes the measurement."""
        needs_pairs = self._options["critical_length_method"] == _METHOD_OF_PAIRS
        return self.measurement(
            self._pass(
                self._compared(),
                keep_gram=self._options["keep_gram"],
                keep_pairs_of=self._options["critical_length_metric"] if needs_pairs else None,
            ).run()
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
        probe, chosen, grouping = self._examples, self._options, self._grouping
        from_logits = resolve_loss(self._model, chosen["loss"]).from_logits

        def summary(half: ProbeHalf, place: int) -> HalfSummary:
            norms, losses, predictions = found.norms[place], found.losses[place], found.predictions[place]
            return HalfSummary(
                num_examples=len(half),
                loss=float(losses.mean(dtype=np.float64)),
                accuracy=accuracy(half.classes, predictions, from_logits),
                num_zero_gradients=int((norms == 0).sum()),
                num_nonfinite=int((~np.isfinite(norms)).sum()),
                scores=example_scores(losses, norms, predictions, half.classes, from_logits=from_logits),
            )

        how = {name: chosen[name] for name in ("critical_length_method", "critical_length_metric", "distance")}
        groups = None if grouping is None else group_indices(grouping, probe.class_names)[0]
        stiffness = {
            layer: {
                name: pair_set_stiffness(
                    sums,
                    has_classes=probe.num_classes is not None,
                    groups=groups,
                    pairs=found.pairs[layer][name] if found.pairs else None,
                    **how,
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
            method=chosen["method"],
            layers=stiffness,
            gram=found.gram,
            groups={name: tuple(classes) for name, classes in (grouping or {}).items()},
        )

    def _pass(self, compared: Mapping[str, Mapping[str, ComparedPairs]], **rest: Any) -> ProbePass:
        per_layer = self._options["per_layer"]
        return ProbePass(self._plan, self.blocks, self.memory, self.pair_sets, compared, per_layer=per_layer, **rest)

    def _compared(self) -> dict[str, dict[str, ComparedPairs]]:
        return {
            space: {name: self.blocks.compared(name, vectors, self._distances) for name in self.pair_sets}
            for space, vectors in self._spaces.items()
        }


def _chosen(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `measure`, its defaults in place of those that are not given.

    Raises:
        InvalidInput: It has no such argument.
    """
    offered = {name: argument.default for name, argument in list(inspect.signature(measure).parameters.items())[2:]}
    if unknown := options.keys() - offered:
        raise InvalidInput("Unknown options.", expected=", ".join(offered), received=sorted(unknown))
    return offered | dict(options)


def check_options(probe: Probe, **options: Any) -> tuple[DistanceOptions, Grouping | None]:
    """Sees, before anything is computed, that choices that `measure` offers are known and suit the probe.

    Args:
        probe: The examples.
        **options: Arguments of `measure`; its defaults stand in for others.

    Returns:
        Those about distances, and the groups of classes.

    Raises:
        InvalidInput: One is not.
    """
    chosen = _chosen(options)
    check_choices(chosen["method"], chosen["precision"])
    pair_sets = chosen["pair_sets"]
    if isinstance(pair_sets, str) or not pair_sets or not set(pair_sets) <= set(PAIR_SETS):
        raise InvalidInput("Unknown pair sets.", expected=f"some of {', '.join(PAIR_SETS)}", received=pair_sets)
    distances = DistanceOptions(chosen["distance"], chosen["distance_pairs"], chosen["distance_bins"])
    how = chosen["critical_length_method"]
    compared = distances.compared if (probe.num_classes or 1) > 1 else "all"
    check_critical_length(how, chosen["critical_length_metric"], distances.distance, compared)
    if how == _METHOD_OF_PAIRS:
        _check_pairs(probe, pair_sets, distances.compared)
    return distances, chosen_grouping(chosen["groups"], probe.class_names)


def _check_pairs(probe: Probe, pair_sets: Sequence[str], compared: str) -> None:
    """Sees that a method that needs every pair can have them."""
    classes = [
        np.zeros(len(half), np.int64) if half.classes is None else half.classes
        for half in (probe.train, probe.validation)
    ]
    for name in pair_sets:
        first, second = HALVES[name]
        count = num_candidates(classes[first], None if first == second else classes[second], compared)
        if count > KEPT_PAIRS:
            raise InvalidInput(
                f"Critical lengths by {_METHOD_OF_PAIRS} need every compared pair, and {name} has {count:,}.",
                expected=f"at most {KEPT_PAIRS:,}",
                remedy="Make the probe smaller, or choose first_crossing, which needs sums over pairs alone.",
            )


def _sample(probe: Probe) -> tuple[Arrays, Arrays]:
    """A few examples of both halves."""
    halves = ((half.x, half.y) for half in (probe.train, probe.validation))
    return keras.tree.map_structure(lambda *parts: np.concatenate([part[:_PROOF_EXAMPLES] for part in parts]), *halves)
