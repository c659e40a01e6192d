"""Does the model compute the same at every call, and is it the same afterwards?"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfstiff._keras import global_random_state
from tfstiff.gradients.loss_checks import Outcome
from tfstiff.gradients.tracing import as_called
from tfstiff.measuring.audit.checks import Found, check, failed, passed
from tfstiff.measuring.audit.subject import LOSS_BOUND, Subject

_CALLS = 3


@check("random", "Does the model compute the same at every call?")
def random(subject: Subject) -> Found:
    """Calls again, with the random state held and with it moved on."""
    for _ in range(_CALLS - 1):
        if difference := subject.loss_difference(subject.outcome(*subject.tensors()), subject.base):
            return failed(
                f"The same examples have other losses at every call (by {difference:.2g}, bound {LOSS_BOUND:g}).",
                "Draw random numbers in training mode alone.",
            )
    state = [(variable, value) for variable, value in _assigned(subject) if _is_random_state(variable)]
    if difference := subject.loss_difference(_outcome_after(subject, state), subject.base):
        return failed(
            f"The model draws random numbers in inference: the next call has other losses (by {difference:.2g}, bound "
            f"{LOSS_BOUND:g}). Measured are those of one draw.",
            "Draw in training mode alone, if that is not meant.",
        )
    return passed(f"{_CALLS} calls had the same losses.")


@check("state", "Does a call leave the model as it was?")
def state(subject: Subject) -> Found:
    """Looks at what a call in inference mode assigns to."""
    changed = [
        variable
        for variable, value in _assigned(subject)
        if not _is_random_state(variable) and not np.array_equal(np.asarray(value), np.asarray(variable.value))
    ]
    if not changed:
        return passed("A call assigns to none of its variables.")
    moved = [(variable, value) for variable, value in _assigned(subject) if not _is_random_state(variable)]
    names = ", ".join(sorted({str(variable.path) for variable in changed})[:4])
    difference = subject.loss_difference(_outcome_after(subject, moved), subject.base)
    then = f"the next call has other losses (by {difference:.2g})" if difference else "losses stay the same"
    trainable = " trainable weights among them," if any(variable.trainable for variable in changed) else ""
    return failed(
        f"A call in inference mode assigns to {len(changed)} variable{'s' * (len(changed) > 1)} ({names}),{trainable} "
        f"so that {then}.",
        "Assign in training mode alone; a changed weight is computed with, in place of assigning it.",
    )


def _assigned(subject: Subject) -> list[tuple[keras.Variable, Any]]:
    """The variables that a call assigns to, with what they would hold."""
    with as_called(subject.model, subject.precision) as scope:
        subject.objective(subject.model, *subject.tensors())
    shared = global_random_state()
    variables = [*subject.model.variables, *([] if shared is None else [shared])]
    return [
        (variable, scope.get_current_value(variable)) for variable in variables if id(variable) in scope.state_mapping
    ]


def _outcome_after(subject: Subject, state: list[tuple[keras.Variable, Any]]) -> Outcome:
    with as_called(subject.model, subject.precision), keras.StatelessScope(state_mapping=state):
        return Outcome.of(*subject.objective(subject.model, *subject.tensors()))


def _is_random_state(variable: keras.Variable) -> bool:
    return "seed_generator" in str(variable.path)
