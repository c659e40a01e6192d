"""The audit itself, and what it found."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras

from tfstiff.gradients.explanation import WeightPlan, explain
from tfstiff.gradients.objective import ObjectiveFunction
from tfstiff.measuring.audit import batches, calls, differentiation, masks, measurement, precision, training
from tfstiff.measuring.audit.checks import FAILED, PASSED, Check, CheckFunction
from tfstiff.measuring.audit.subject import Subject
from tfstiff.records.shown import Showing, Shown

CHECKS = tuple(
    one
    for family in (calls, batches, masks, differentiation, precision, measurement, training)
    for one in vars(family).values()
    if isinstance(one, CheckFunction)
)


@dataclass(frozen=True, repr=False)
class Audit(Shown):
    """What an audit of a model found.

    Attributes:
        checks: The checks, in the order in which they were carried out.
        paths: How the gradients of each weight enter a Gram matrix; empty where the model cannot be measured.
        num_examples: On how many examples.
    """

    checks: tuple[Check, ...]
    paths: tuple[WeightPlan, ...]
    num_examples: int

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result == FAILED)

    def __getitem__(self, name: str) -> Check:
        """A check by its name."""
        return {check.name: check for check in self.checks}[name]

    def as_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "passed": self.passed,
            "num_examples": self.num_examples,
            "checks": [asdict(check) for check in self.checks],
            "paths": [asdict(path) for path in self.paths],
        }

    def _showing(self) -> Showing:
        counts = {result: sum(check.result == result for check in self.checks) for result in (PASSED, FAILED)}
        rows = [(check.name, check.question, check.result) for check in self.checks]
        notes = [f"{check.name}: {check.text} {check.remedy}".rstrip() for check in self.failures]
        line = (
            f"{counts[PASSED]} of {len(rows)} checks passed, {counts[FAILED]} failed, on {self.num_examples} examples"
        )
        return Showing(line, ("check", "question", "result"), rows, notes)


def audit(  # noqa: PLR0913  # as many as there are things to say
    model: keras.Model,
    x: Any,
    y: Any,
    *,
    loss: Any = None,
    objective: ObjectiveFunction | None = None,
    sample_weight: Any = None,
    num_examples: int = 16,
    another_process: bool = True,
    say: Callable[[str], object] | None = None,
) -> Audit:
    """Audits a model: is what is measured of it the model's own, each example's own, and what `fit` minimises?

    Losses and gradients of a few examples are computed in two ways that must agree: by the model as it is called and
    one tape an example, and by a batch that is permuted, divided, filled up or changed, by each method, precision and
    size of tiles, by what earlier measurements traced, by another process, and by the training step. An example is said
    to depend on others only after changing these moved its loss or its gradient. Nothing of the model is changed.

    Args:
        model: A Keras model; built on one example where it is not built.
        x: Inputs as the model takes them; first axis the examples, at least two.
        y: Targets as the loss takes them.
        loss: As `compile(loss=…)` takes it; None means the compiled one.
        objective: In place of a loss, a function `(model, x, y) -> (n,)` losses; see `gradient_gram`.
        sample_weight: (n,) weights of the examples, where `fit` is given some.
        num_examples: On how many of the examples, drawn at random; fewer where the model has very many weights.
        another_process: Whether another process is to load and measure the model too, which takes seconds.
        say: Is told the name of each check, with its result.

    Returns:
        What was found; `audit(…).passed` says whether no check failed.

    Raises:
        InvalidInput: There are fewer than two examples, not as many targets, or both a loss and an objective.
        UnsupportedModel: It is no Keras model, or has no loss or no trainable weights.
    """
    options = {"loss": loss, "objective": objective}
    subject = Subject(
        model,
        x,
        y,
        sample_weight=sample_weight,
        num_examples=num_examples,
        another_process=another_process,
        **options,
    )
    found = []
    for function in CHECKS:
        found.append(function(subject))
        if say is not None:
            say(f"{found[-1].name}: {found[-1].result}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            paths = explain(model, subject.x, subject.y, **options)
    except Exception:  # of any kind: a check has told it
        paths = []
    return Audit(tuple(found), tuple(paths), subject.count)
