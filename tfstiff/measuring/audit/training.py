"""Does `fit` minimise what is measured?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import global_random_state, mask_of, variable_of
from tfstiff.gradients.loss import predict
from tfstiff.gradients.tracing import coarsest_dtype
from tfstiff.gradients.unmeasured import left_out
from tfstiff.measuring.audit.checks import Found, check, failed, first_line, not_applicable, passed
from tfstiff.measuring.audit.subject import Subject, flat

# Differences of the two gradients, relative to that of `fit`, by what the model computes in.
_BOUNDS = {tf.float64: 1e-2, tf.float32: 1e-2, tf.bfloat16: 0.3, tf.float16: 0.3}
_REMEDY = "To measure the whole, pass objective=, a function (model, x, y) -> (n,) losses."


@check("fit", "Does fit minimise what is measured?")
def fit(subject: Subject) -> Found:
    """Compares the gradient that a training step hands to the optimizer with the mean of those of the examples."""
    model = subject.model
    if not getattr(model, "compiled", False) or getattr(model, "optimizer", None) is None:
        return not_applicable("The model is not compiled.")
    x, y = subject.tensors()
    try:
        minimised = gradient_of_fit(model, x, y, subject.sample_weight)
    except Exception as error:  # of any kind: a training step may be the user's own
        return not_applicable(f"Its training step cannot be taken here ({type(error).__name__}: {first_line(error)}).")
    if minimised is None:
        return not_applicable("Its training step hands no gradients to the model's optimizer.")
    measured = subject.own_gradients.mean(0)
    bound = _BOUNDS[coarsest_dtype(model)]
    lengths = [float(np.linalg.norm(one)) for one in (minimised, measured)]
    if not all(map(np.isfinite, lengths)):
        return not_applicable("Gradients are not finite.")
    factor = float(minimised @ measured / lengths[1] ** 2) if lengths[1] > 0 else 0.0
    size = max(lengths)
    difference = float(np.linalg.norm(minimised - measured) / size) if size > 0 else 0.0
    apart = float(np.linalg.norm(minimised - factor * measured) / size) if size > 0 else 0.0
    if difference <= bound:
        return passed(f"Its gradient is the mean of those measured, within {difference:.1g}.{_in_training(subject)}")
    if apart <= bound and factor > 0:
        return passed(
            f"Its gradient is {factor:.3g} times the mean of those measured, which changes no sign and no cosine."
            + _in_training(subject)
        )
    named = _named(subject, minimised - measured, bound * size)
    return failed(
        f"The gradient of what fit minimises differs from the mean of those measured by {difference:.2g} of its length "
        f"(bound {bound:g}), most at {subject.worst_weight(minimised[None], measured[None])}: {named}.",
        _REMEDY,
    )


def gradient_of_fit(model: keras.Model, x: Any, y: Any, sample_weight: np.ndarray | None = None) -> np.ndarray | None:
    """(P,) float64: the gradient that `train_step` hands to the model's optimizer, with the model in inference mode.

    The step is not taken: nothing of model, optimizer, metrics and random state is changed.

    Args:
        model: A compiled Keras model.
        x: Inputs of a batch, as tensors.
        y: Targets.
        sample_weight: As `fit` takes it.

    Returns:
        None where it hands over none.
    """
    handed: list[tuple[list[Any], list[Any]]] = []

    def apply(gradients: Sequence[Any], variables: Sequence[Any] | None = None) -> None:
        handed.append((list(gradients), list(model.trainable_weights if variables is None else variables)))

    data = (x, y) if sample_weight is None else (x, y, tf.constant(sample_weight))
    with _unchanged(model), _in_inference_mode(model), _in_place_of(model.optimizer, "apply", apply):
        scale = float(model.optimizer.scale_loss(tf.constant(1.0)))
        model.train_step(data)
    if not handed:
        return None
    total: dict[int, Any] = {}
    for gradients, variables in handed:
        for gradient, variable in zip(gradients, variables, strict=True):
            if gradient is not None:
                dense = tf.convert_to_tensor(gradient)
                total[id(variable)] = dense if id(variable) not in total else total[id(variable)] + dense
    weights = model.trainable_weights
    return flat([total.get(id(weight)) for weight in weights], list(map(variable_of, weights))) / scale


@contextmanager
def _unchanged(model: keras.Model) -> Iterator[None]:
    """Afterwards all variables hold what they held before."""
    shared = global_random_state()
    variables = [*model.variables, *model.metrics_variables, *([] if shared is None else [shared])]
    before = [tf.identity(variable_of(variable)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable_of(variable).assign(value)


@contextmanager
def _in_inference_mode(model: keras.Model) -> Iterator[None]:
    """Within it the model calls itself in inference mode whatever it is told, and has no metrics."""
    kind = type(model)

    def call(self: Any, *args: Any, **options: Any) -> Any:
        if "training" in options:
            options["training"] = False
        return kind.__call__(self, *args, **options)

    changed = type(kind.__name__, (kind,), {"__call__": call, "compute_metrics": lambda *_, **__: {}})
    object.__setattr__(model, "__class__", changed)
    try:
        yield
    finally:
        object.__setattr__(model, "__class__", kind)


@contextmanager
def _in_place_of(owner: Any, name: str, function: Any) -> Iterator[None]:
    object.__setattr__(owner, name, function)
    try:
        yield
    finally:
        object.__delattr__(owner, name)


def _named(subject: Subject, difference: np.ndarray, tolerance: float) -> str:
    """What fit minimises and is not measured, in words."""
    model = subject.model
    found = []
    if subject.loss is not None or subject.objective_function is not None:
        given = "an objective" if subject.loss is None else "a loss"
        found.append(f"measured is {given} that was given, and minimised what the model was compiled with")
    regularised = [weight for weight in model.trainable_weights if getattr(weight, "regularizer", None) is not None]
    penalty = _gradient_of_regularisation(model, regularised)
    if penalty.any():
        alone = bool(np.linalg.norm(difference - penalty) <= tolerance)
        found.append(f"{'alone ' * alone}the regularisation of {len(regularised)} weight{'s' * (len(regularised) > 1)}")
    found += left_out(model, subject.x)
    if subject.sample_weight is not None:
        found.append("sample weights")
    if subject.objective_function is None and _has_positions(subject):
        found.append("a mean over the unmasked positions of the whole batch, so that longer examples count for more")
    return "; ".join(found) or "nothing that is known of the model explains it"


def _gradient_of_regularisation(model: keras.Model, regularised: Sequence[keras.Variable]) -> np.ndarray:
    variables = [variable_of(weight) for weight in model.trainable_weights]
    if not regularised:
        return np.zeros(sum(variable.shape.num_elements() for variable in variables))
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.cast(weight.regularizer(weight), tf.float32) for weight in regularised])
    return flat(tape.gradient(total, variables), variables)


def _has_positions(subject: Subject) -> bool:
    """Whether a mask reaches the loss."""
    with keras.StatelessScope():
        outputs = tf.nest.flatten(predict(subject.model, subject.tensors()[0]))
    return any(mask_of(output) is not None for output in outputs)


def _in_training(subject: Subject) -> str:
    """A sentence on layers that do something else in training mode; empty where there are none."""
    x, _ = subject.tensors()
    try:
        with keras.StatelessScope():
            calm, trained = predict(subject.model, x), subject.model(x, training=True)
        same = all(
            np.allclose(one, other, rtol=1e-3, atol=1e-5)
            for one, other in zip(tf.nest.flatten(calm), tf.nest.flatten(trained), strict=True)
        )
    except Exception:  # of any kind: the model may not take `training`
        return ""
    return "" if same else " In training mode, as fit calls it, the model computes something else (dropout, …)."
