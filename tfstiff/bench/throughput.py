"""How fast a machine computes the per-example gradients of a model, and their Gram matrix by each method."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from tfstiff.bench import GRADIENTS
from tfstiff.bench.timing import BenchmarkFailed, in_new_process, peak_memory, take_turns
from tfstiff.errors import TfstiffError, unknown_name
from tfstiff.gradients import METHODS, gradient_chunks, gradient_gram
from tfstiff.gradients.loss import predict, resolve_loss

Build = Callable[[], tuple[keras.Model, Any, Any]]

PLAIN = "forward+backward"
_FAST = ("auto", "structured")
_TRIAL = 16  # examples that a slower method is first tried on; a chunk of `jacobian`
_FAILURES = (TfstiffError, ValueError, NotImplementedError, tf.errors.OpError)

# TensorFlow keeps what it allocated once for later. With this its memory goes back to the system, so that each call can
# be seen to take its own. It costs time, so nothing is timed under it.
GIVE_MEMORY_BACK = {"TF_ONEDNN_USE_SYSTEM_ALLOCATOR": "1"}


@dataclass(frozen=True)
class Throughput:
    """What one method does.

    Attributes:
        method: One of `gradient_gram`'s; or `GRADIENTS`: the gradients themselves, a chunk at a time; or `PLAIN`: the
            summed loss and its gradient, nothing per example.
        examples: n, on which it was measured.
        seconds: For the Gram matrix, or the gradients, of all n; None where the method does not support the model.
        ratio: How many times as long as `PLAIN` over the same examples, in the same run.
        peak_memory: Bytes that a call takes at its peak; None where it is not known.
        reason: Why the model is not supported; empty where it is.
    """

    method: str
    examples: int
    seconds: float | None = None
    ratio: float | None = None
    peak_memory: int | None = None
    reason: str = ""

    @property
    def examples_per_second(self) -> float | None:
        """Examples whose gradients, and products where they are asked for, are computed in a second."""
        return None if self.seconds is None else self.examples / self.seconds

    def described(self) -> dict[str, Any]:
        """All of it under the attributes' names, for JSON."""
        return asdict(self) | {"examples_per_second": self.examples_per_second}


def throughput(
    build: Build,
    methods: Sequence[str] = ("auto",),
    *,
    rounds: int = 5,
    seconds: float = 5.0,
    say: Callable[[str], object] = lambda text: None,
) -> list[Throughput]:
    """Measures methods against plain forward+backward, in turns; then the memory of each, in another process.

    Args:
        build: Returns a compiled Keras model, inputs whose first axis is the n examples, and targets. It is called in
            both processes, so it must be picklable.
        methods: Of `gradient_gram`, and `GRADIENTS`.
        rounds: How often each is timed; medians are returned.
        seconds: What the rounds of one method may take, about. A slow method is measured on fewer examples.
        say: Is told what is being done.

    Returns:
        One for `PLAIN` over all examples, then one for each method, in order.

    Raises:
        InvalidInput: A method is unknown.
    """
    for method in set(methods) - {*METHODS, GRADIENTS}:
        raise unknown_name("Unknown method.", method, (*METHODS, GRADIENTS))
    model, x, y = build()
    counts = {PLAIN: len(tf.nest.flatten(x)[0])}
    reasons: dict[str, str] = {}
    for method in methods:
        say(f"{method}: tracing, and trying how fast it is")
        try:
            counts[method] = _affordable(model, x, y, method, seconds / rounds)
        except _FAILURES as error:
            reasons[method] = "not supported: " + (str(error) or type(error).__name__).splitlines()[0]
    # Each is compared with forward+backward over the same examples.
    pairs = dict.fromkeys([(PLAIN, count) for count in counts.values()] + list(counts.items()))
    say("timing, in turns")
    timings = take_turns({pair: _call(model, x, y, *pair) for pair in pairs}, rounds=rounds)
    say("looking at the memory")
    try:
        memory = in_new_process(_peak_memory, build, counts, environment=GIVE_MEMORY_BACK)
    except BenchmarkFailed as error:
        say(f"The peak memory is not known. {error}")
        memory = {}
    return [
        Throughput(method, 0, reason=reasons[method])
        if method in reasons
        else Throughput(
            method,
            counts[method],
            timings[method, counts[method]].seconds,
            timings[method, counts[method]].ratio(timings[PLAIN, counts[method]]),
            memory.get(method),
        )
        for method in (PLAIN, *methods)
    ]


def forward_backward(model: keras.Model, x: Any, y: Any) -> Callable[[], object]:
    """A call that computes the summed loss of all examples and its gradient, nothing per example.

    Args:
        model: A compiled Keras model.
        x: Inputs; first axis the examples.
        y: Targets.
    """
    loss = resolve_loss(model)
    inputs, targets = tf.nest.map_structure(tf.constant, (x, y))

    @tf.function(autograph=False)
    def compute(x: Any, y: Any) -> tuple[tf.Tensor, Any]:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(loss(y, predict(model, x)))
        return total, tape.gradient(total, [weight.value for weight in model.trainable_weights])

    return lambda: float(compute(inputs, targets)[0])


def _call(model: keras.Model, x: Any, y: Any, method: str, count: int) -> Callable[[], object]:
    """A call of one method, or of plain forward+backward, over the first `count` examples."""
    x, y = tf.nest.map_structure(lambda array: array[:count], (x, y))
    if method == PLAIN:
        return forward_backward(model, x, y)
    if method == GRADIENTS:
        return lambda: sum(len(chunk) for chunk in gradient_chunks(model, x, y))  # of which none is kept
    return lambda: gradient_gram(model, x, y, method=method)


def _affordable(model: keras.Model, x: Any, y: Any, method: str, seconds: float) -> int:
    """As many of the examples as `method` takes `seconds` for, judged from a few; at least these few."""
    count = len(tf.nest.flatten(x)[0])
    trial = count if method in _FAST else min(_TRIAL, count)
    call = _call(model, x, y, method, trial)
    call()  # traces and proves
    start = time.perf_counter()
    call()
    rate = trial / (time.perf_counter() - start)
    return max(trial, min(count, int(rate * seconds)))


def _peak_memory(build: Build, counts: dict[str, int]) -> dict[str, int | None]:
    model, x, y = build()
    found = {}
    for method, count in counts.items():
        call = _call(model, x, y, method, count)
        call()  # the graph, which is made once, is left out
        found[method] = peak_memory(call)
    return found
