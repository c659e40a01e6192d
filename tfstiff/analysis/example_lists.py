"""Which examples of a probe to look at: those that fight their class, agree with another, help, or were forgotten.

Whether an example's mean stiffness lies beyond a bound is tested by Student's t, one-sided, with its standard error
over the draw of the other examples. All examples of a half are tested at once, so that p-values are those of Benjamini
and Hochberg 1995, by which at most one in twenty of the examples that are told apart is told so falsely, in
expectation. (Examples share the others that they are compared with; that tests are correlated positively it allows.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfstiff.analysis.examples import ids_of, index_in_split
from tfstiff.errors import Unavailable
from tfstiff.records import Measurement
from tfstiff.records.example_frame import own_and_others
from tfstiff.records.scores import ExampleScores, ExampleStiffness
from tfstiff.records.words import HALVES_IN_WORDS

FALSE_DISCOVERIES = 0.05
_FEWEST_OF_A_CLASS = 8  # examples whose quartiles mean something
_HELD = "past its error (false discoveries held to 5\u00a0%)"


@dataclass(frozen=True)
class ExampleList:
    """Examples in the order in which they are worth a look.

    Attributes:
        name: Of the list.
        title: What it is of, in a few words.
        sentence: What was found; where nothing was, that nothing was, or why it was not looked for.
        rows: One for each example that it could be told of, in order: `id`, `index` in the split (None where the id
            does not tell), `place` in the half of the probe, `class`, and what the list ranks by. `is_certain` where
            an error was weighed.
    """

    name: str
    title: str
    sentence: str
    rows: Sequence[Mapping[str, Any]] = field(default=())


@dataclass(frozen=True)
class ExamplesAt:
    """The examples of one half of the probe, at one measurement.

    Attributes:
        half: `train` or `validation`.
        scores: Of the examples.
        class_names: Names of the classes; empty for regression targets.
        ids: (n,) their ids.
    """

    half: str
    scores: ExampleScores
    class_names: Sequence[str]
    ids: np.ndarray

    @property
    def words(self) -> str:
        """`training` or `validation`."""
        return HALVES_IN_WORDS[self.half]

    def compared_with(self, wanted: str) -> tuple[str, ExampleStiffness] | None:
        """The half that they were compared with, and how it went: the one wanted, else the other; None without any."""
        known = self.scores.stiffness
        name = wanted if wanted in known else next(iter(known), None)
        return None if name is None else (name, known[name])

    def row(self, place: int) -> dict[str, Any]:
        """What every list tells of an example."""
        found = {"id": str(self.ids[place]), "index": index_in_split(str(self.ids[place])), "place": int(place)}
        if self.scores.classes is not None:
            found["class"] = self.name_of(int(self.scores.classes[place]))
        if self.scores.predicted is not None:
            found["predicted"] = self.name_of(int(self.scores.predicted[place]))
        return found

    def name_of(self, place: int) -> str | None:
        """The name of a class."""
        return self.class_names[place] if 0 <= place < len(self.class_names) else None


def examples_at(measurement: Measurement, probe: Mapping[str, np.ndarray], half: str) -> ExamplesAt:
    """The examples of one half of the probe at one measurement.

    Args:
        measurement: The measurement.
        probe: Ids of the probe's examples, as in a run's `probe.npz`.
        half: `train` or `validation`.

    Raises:
        InvalidInput: There is no such half.
        Unavailable: The record, of an older version, holds no scores of examples.
    """
    summary = measurement.half(half)
    if summary.scores is None or not summary.scores.stiffness:
        raise Unavailable(
            f"Step {measurement.step} does not say how {HALVES_IN_WORDS[half]} examples go with others.",
            remedy="Measure again, with pairs of that half: records of older versions of tfstiff lack it.",
        )
    return ExamplesAt(half, summary.scores, measurement.class_names, ids_of(probe, half, summary.num_examples))


def fighting_their_class(examples: ExamplesAt) -> ExampleList:
    """Those whose mean cosine with the other examples of their class is smallest."""
    title = "Fight their own class"
    if examples.scores.classes is None:
        return ExampleList("fight", title, "Without classes no example can fight its own.")
    half, found = _with(examples, examples.half)
    value, error = own_and_others(found, examples.scores.classes, "cosine")["own"]
    degrees = found.counts[np.arange(len(value)), examples.scores.classes] - 1.0
    is_certain = _discoveries(_below(value, error, degrees))
    count, size = int(is_certain.sum()), int(np.isfinite(value).sum())
    what = f"{_others(examples, half)} of it"
    mean = f"the mean cosine with {what}"
    sentence = (
        f"{count} of {size} {examples.words} examples {_verb(count, 'fight', 'their', 'its')} own class: {mean} lies "
        f"below 0, {_HELD}."
        if count
        else f"No {examples.words} example can be told to fight its own class: of none lies {mean} below 0, {_HELD}."
    )
    return ExampleList("fight", title, sentence, _rows(examples, value, error, is_certain, "cosine_own", largest=False))


def in_doubt_of_their_label(examples: ExamplesAt) -> ExampleList:
    """Those whose predicted probabilities are farthest from their label (EL2N), with what they agree with.

    Of all scores that were tried on planted wrong labels EL2N finds them best (`benchmarks/mislabelled.py`), so that it
    makes the order; where it is not known, the difference of the mean cosines with the closest class and with the own
    does. Which agree with another class more than with their own is told past the errors. Of a network that ends in a
    softmax the gradients of one class agree in its last layer whatever the inputs are, so that wrong labels seldom do;
    so it is told too which agree with their class far less than others do (`is_unusual`).
    """
    title = "Label looks wrong"
    if examples.scores.classes is None or len(examples.class_names) < 2:
        return ExampleList("label", title, "Labels are doubted only where there are two classes or more.")
    half, found = _with(examples, examples.half)
    parts = own_and_others(found, examples.scores.classes, "cosine")
    (own, own_error), (other, other_error, closest) = parts["own"], parts["closest"]
    places = np.arange(len(own))
    degrees = [found.counts[places, chosen] - 1.0 for chosen in (examples.scores.classes, closest)]
    value, variances = other - own, np.stack([own_error, other_error]) ** 2
    error = np.sqrt(variances.sum(0))
    choices = np.maximum((found.counts > 0).sum(1) - 1, 1)  # among which the closest class was chosen
    p_values = np.minimum(_below(-value, error, _satterthwaite(variances, np.stack(degrees))) * choices, 1)
    is_certain = _discoveries(p_values)
    count, size = int(is_certain.sum()), int(np.isfinite(value).sum())
    what = f"(mean cosines with {_others(examples, half)}, past their errors; false discoveries held to 5\u00a0%)"
    sentence = (
        f"{count} of {size} {examples.words} examples {_verb(count, 'agree')} with another class more than with "
        f"{'its' if count == 1 else 'their'} own {what}."
        if count
        else f"Of no {examples.words} example can it be told that it agrees with another class more than with its own "
        f"{what}."
    )
    is_unusual = _unusually_low(own, examples.scores.classes)
    unusual = int(is_unusual.sum())
    sentence += (
        f" {unusual or 'None'} {_verb(unusual or 1, 'agree')} with {'its' if unusual < 2 else 'their'} class far less "
        "than is usual in it: below the lower quartile of the class less three times the distance between its "
        "quartiles."
    )
    rows = _rows(examples, value, error, is_certain, "cosine_closest_less_own", largest=True)
    el2n = examples.scores.el2n
    if el2n is not None and np.isfinite(el2n).any():
        sentence += " The order is that of EL2N, the distance of the predicted probabilities from the label."
        rows.sort(key=lambda row: -np.nan_to_num(el2n[row["place"]], nan=-1))
    for row in rows:
        place = row["place"]
        row |= {} if el2n is None else {"el2n": float(el2n[place])}
        row |= {"closest_class": examples.name_of(int(closest[place])), "is_unusual": bool(is_unusual[place])}
        row |= {"cosine_own": float(own[place]), "cosine_closest": float(other[place])}
    return ExampleList("label", title, sentence, rows)


def most_helpful(examples: ExamplesAt) -> ExampleList:
    """Those whose mean cosine with all classes, each counted alike, is largest; of validation examples if measured."""
    half, found = _with(examples, "validation")
    cosine, variances = found.cosine.astype(np.float64), found.cosine_se.astype(np.float64) ** 2
    known = np.isfinite(cosine)
    count_known = np.maximum(known.sum(1), 1)
    value = np.where(known.any(1), np.where(known, cosine, 0).sum(1) / count_known, np.nan)
    error = np.sqrt(np.where(known, variances, 0).sum(1)) / count_known
    degrees = _satterthwaite(np.where(known, variances, 0).T, np.where(known, found.counts - 1.0, np.inf).T)
    is_certain = _discoveries(_below(-value, error, degrees))
    count, size = int(is_certain.sum()), int(np.isfinite(value).sum())
    what = _others(examples, half)
    mean = f"the mean cosine with them{', each class counted alike,' if len(examples.class_names) > 1 else ''}"
    sentence = (
        f"{count} of {size} {examples.words} examples {_verb(count, 'help')} {what}: {mean} lies above 0, {_HELD}."
        if count
        else f"No {examples.words} example can be told to help {what}: of none {mean} lies above 0, {_HELD}."
    )
    return ExampleList(
        "helpful", "Most helpful", sentence, _rows(examples, value, error, is_certain, "cosine_mean", largest=True)
    )


def _unusually_low(values: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """(n,) which values lie below Tukey's outer fence of their class (1977, "Exploratory data analysis")."""
    found = np.zeros(len(values), bool)
    for place in np.unique(classes):
        of_class = (classes == place) & np.isfinite(values)
        if of_class.sum() >= _FEWEST_OF_A_CLASS:
            low, high = np.quantile(values[of_class], (0.25, 0.75))
            found |= of_class & (values < low - 3 * (high - low))
    return found


def _with(examples: ExamplesAt, wanted: str) -> tuple[str, ExampleStiffness]:
    found = examples.compared_with(wanted)
    if found is None:
        raise Unavailable("The measurement does not say how single examples go with others.", remedy="Measure again.")
    return found


def _others(examples: ExamplesAt, half: str) -> str:
    return f"the {'other ' if half == examples.half else ''}{HALVES_IN_WORDS[half]} examples"


def _verb(count: int, verb: str, *possessives: str) -> str:
    """`fight their`, or of one example `fights its`."""
    plural, singular = possessives or ("", "")
    return f"{verb}s {singular}".rstrip() if count == 1 else f"{verb} {plural}".rstrip()


def _below(value: np.ndarray, error: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """(n,) one-sided p-values of values that are below 0; NaN where there is no error."""
    from scipy.special import stdtr  # not above: commands that only read records start without it

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(degrees > 0, stdtr(np.minimum(degrees, 1e12), value / error), np.nan)


def _satterthwaite(variances: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """(n,) degrees of freedom of sums of independent variances (k, n), as of Satterthwaite 1946."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return variances.sum(0) ** 2 / (variances**2 / degrees).sum(0)


def _discoveries(p_values: np.ndarray) -> np.ndarray:
    """(n,) which of the tests are told apart, with false discoveries held to 5 %; those without a p-value are not."""
    from scipy.stats import false_discovery_control

    known = np.isfinite(p_values)
    found = np.zeros(len(p_values), bool)
    if known.any():
        found[known] = false_discovery_control(p_values[known]) <= FALSE_DISCOVERIES
    return found


def _rows(
    examples: ExamplesAt, value: np.ndarray, error: np.ndarray, is_certain: np.ndarray, name: str, *, largest: bool
) -> list[dict[str, Any]]:
    order = np.argsort(-value if largest else value, kind="stable")
    return [
        {
            **examples.row(place),
            name: float(value[place]),
            f"{name}_se": float(error[place]),
            "is_certain": bool(is_certain[place]),
            "loss": float(examples.scores.loss[place]),
        }
        for place in order[np.isfinite(value[order])]
    ]
