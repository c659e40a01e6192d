"""Are the gradients that are measured those of the model, whichever way they are computed?"""

from __future__ import annotations

import warnings

import numpy as np

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients.gram import gram_of
from tfstiff.gradients.loss_checks import Outcome
from tfstiff.gradients.options import METHODS, GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.measuring.audit.checks import Found, check, failed, not_applicable, passed
from tfstiff.measuring.audit.subject import LOSS_BOUND, Subject

_COSINE_BOUND = 1e-3
_NAMED = 200  # characters of a warning


@check("trace", "Is what is differentiated the model as it is called?")
def trace(subject: Subject) -> Found:
    """Compares the losses of a new trace with those of the model as its user calls it."""
    try:
        plan = subject.measured.plan
    except UnsupportedModel as error:
        return failed(f"The model cannot be measured: {error.what}", error.remedy or "")
    factors = plan.factors(*subject.tensors())
    found = Outcome.of(factors.losses, factors.predictions)
    if difference := subject.loss_difference(found, subject.outcome(*subject.tensors(), "float32")):
        return failed(
            f"The losses that are differentiated are off by {difference:.2g} from those of the model as it is called "
            f"(bound {LOSS_BOUND:g}).",
            "Look for code that does something else while it is traced.",
        )
    return passed(f"Losses and outputs are the same, within {LOSS_BOUND:g}.")


@check("cache", "Is what was traced before still the model?")
def cache(subject: Subject) -> Found:
    """Compares the plan that earlier measurements left, or this one makes, with one of the audit's own."""
    fresh = subject.measured.plan.gradients(*subject.tensors()).numpy().astype(np.float64)
    given = {"loss": subject.loss, "objective": subject.objective_function}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = subject.proved(plan_for(subject.model, subject.x, subject.y, GradientOptions(), **given))
    factors = kept.factors(*subject.tensors())
    loss = subject.loss_difference(
        Outcome.of(factors.losses, factors.predictions), subject.outcome(*subject.tensors(), "float32")
    )
    found = kept.gradients(*subject.tensors()).numpy().astype(np.float64)
    difference = subject.differences(found, fresh).max()
    if loss or difference > subject.gradient_bound:
        return failed(
            "What was traced at an earlier measurement is not the model of now: gradients are off by "
            f"{difference:.2g} of their lengths (bound {subject.gradient_bound:g}), losses by {loss:.2g}.",
            "Layers, their attributes or globals that they read were changed since. Build the model anew, for example "
            "with keras.models.clone_model and set_weights, and measure that.",
        )
    return passed("What is kept of earlier measurements computes what a new trace does.")


@check("rules", "Are the rules for the operations right?")
def rules(subject: Subject) -> Found:
    """Looks at which weights passed the proof, and which take a slower path, and why."""
    proved = subject.measured
    slower = len(proved.without_rule | proved.disproved)
    told = proved.told if len(proved.told) <= _NAMED else f"{proved.told[: _NAMED - 1]}…"
    if proved.disproved:
        names = ", ".join(str(subject.model.trainable_weights[index].path) for index in sorted(proved.disproved)[:3])
        return failed(
            f"Rules for {len(proved.disproved)} weights ({names}) give wrong gradients. {told} What is measured "
            "is computed in the slower way.",
            "Correct the rule that was registered; a rule of tfstiff itself is a bug to report.",
        )
    count = len(subject.model.trainable_weights)
    if slower:
        return passed(f"{count - slower} of {count} weights have rules, which are right. {told}")
    return passed(f"The gradients of all {count} weights were proved by rules.")


@check("methods", "Do all methods agree with plain tapes?")
def methods(subject: Subject) -> Found:
    """Compares the gradients of every method, and their products, with one tape an example."""
    expected = subject.own_gradients
    agree, refused, worst = [], [], 0.0
    for method in METHODS:
        if method == "structured":  # which auto is, but where it has no rule
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                plan = subject.proved(subject.plan(method))
        except UnsupportedModel as error:
            refused.append(f"{method} is refused ({error.what})")
            continue
        found = plan.gradients(*subject.tensors()).numpy().astype(np.float64)
        difference = subject.differences(found, expected).max()
        if difference > subject.gradient_bound:
            return failed(
                f"Gradients by the method {method} differ from those of one tape an example by {difference:.2g} of "
                f"their lengths (bound {subject.gradient_bound:g}), most at {subject.worst_weight(found, expected)}.",
                "A rule that was registered, or code that a trace runs otherwise, is wrong.",
            )
        factors = plan.factors(*subject.tensors())
        scales = factors.scales.numpy().astype(np.float64)
        gram = gram_of(plan.products, [factors]) / np.outer(scales, scales)
        off = cosine_difference(gram, expected @ expected.T)
        if off > max(_COSINE_BOUND, subject.gradient_bound):
            return failed(
                f"Products of gradients by the method {method} differ from those of one tape an example (cosines by "
                f"{off:.2g}, bound {max(_COSINE_BOUND, subject.gradient_bound):g}).",
            )
        agree.append(method)
        worst = max(worst, difference)
    if not agree:
        return not_applicable(f"No method can be used: {'; '.join(refused)}")
    more = f" {'; '.join(refused)}." if refused else ""
    return passed(f"{', '.join(agree)} agree, within {worst:.1g} of the lengths.{more}")


@check("variables", "Are all variables that losses depend on the model's?")
def variables(subject: Subject) -> Found:
    """Looks for variables that Keras does not track."""
    untracked = subject.measured.plan.untracked
    if untracked is not None:
        return failed(untracked)
    return passed(f"All are among the {len(subject.model.variables)} variables of the model.")


def cosine_difference(gram: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of products, relative to the lengths of the gradients."""
    lengths = np.sqrt(np.maximum(np.diag(expected), 0))
    scale = np.outer(lengths, lengths)
    is_finite = np.isfinite(expected)
    if (is_finite != np.isfinite(gram)).any():
        return float("inf")
    error = np.abs(np.where(is_finite, gram - expected, 0))
    floor = 1e-8 * np.nan_to_num(scale).max(initial=0)
    return float(np.divide(error, np.maximum(scale, floor), out=np.zeros_like(error), where=scale + floor > 0).max())
