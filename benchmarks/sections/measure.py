"""A whole measurement, against plain forward+backward and against what no exact method can do without."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sections import MEGABYTES, MILLISECONDS, Case, Column, Row

TITLE = "A measurement"
TEXT = """`tfstiff.measure(model, probe)` on a probe of as many training as validation examples, second and later calls,
in turns with plain forward+backward over all of them, and with a large matrix product, whose rate is the machine's.
The *bound* is forward+backward and, at that rate, the n(n+1)/2 products of gradients by the form that takes fewest
multiply-adds: of P numbers where gradients are formed, of the factors' entries where they are not. The
aims are ours. Peak memory is that of a measurement less that of forward+backward."""
COLUMNS = (
    Column("model", "model"),
    Column("examples", "examples", ","),
    Column("parameters", "P", ","),
    Column("for_each_pair", "multiply-adds a pair", ","),
    Column("first", "first, s", ".1f"),
    Column("seconds", "ms", ",.1f", MILLISECONDS),
    Column("plain", "forward+backward, ms", ",.1f", MILLISECONDS),
    Column("rate", "products, GFLOP/s", ",.0f", 1e-9),
    Column("bound", "bound, ms", ",.1f", MILLISECONDS),
    Column("times_plain", "× forward+backward", ".2f"),
    Column("times_bound", "× bound", ".2f"),
    Column("peak_memory", "peak memory, MB", ",.0f", MEGABYTES),
    Column("aims", "aims"),
    Column("met", "met"),
)
# Model -> (key of the row, greatest value): ratios, and bytes.
_AIMS: dict[str, dict[str, float]] = {
    "fc": {"times_bound": 1.4, "peak_memory": 400e6},
    "cnn": {"times_bound": 1.3},
    "cnn-v1": {"times_bound": 1.3},
    "resnet20": {"times_bound": 1.4},
    "encoder": {"times_bound": 1.2},
    "lstm": {"times_bound": 1.4},
}
_SQUARE = 3072  # of the large product: 58 GFLOP


def cases(quick: bool, folder: str) -> list[Case]:
    half, rounds = (25, 3) if quick else (500, 7)
    return [Case(name, measure, (name, half, rounds), {"model": name}) for name in _AIMS]


def measure(name: str, half: int, rounds: int) -> list[Row]:
    import tensorflow as tf

    from tfstiff.bench.throughput import GIVE_MEMORY_BACK
    from tfstiff.bench.timing import Timing, in_new_process, take_turns

    start = time.perf_counter()
    parameters, for_each_pair, calls = _calls(name, half)
    calls["measure"]()
    first = time.perf_counter() - start
    factor = tf.random.normal((_SQUARE, _SQUARE))
    calls["product"] = lambda: tf.matmul(factor, factor)[0, 0].numpy()
    timings = take_turns(calls, rounds=rounds)
    rates = [2 * _SQUARE**3 / seconds for seconds in timings["product"].rounds]
    n = 2 * half
    operations = n * (n + 1) * for_each_pair
    bound = Timing(tuple(plain + operations / rate for plain, rate in zip(timings["plain"].rounds, rates, strict=True)))
    peaks = in_new_process(_peaks, name, half, environment=GIVE_MEMORY_BACK)
    row = {
        "model": name,
        "examples": n,
        "parameters": parameters,
        "for_each_pair": for_each_pair,
        "first": first,
        "seconds": timings["measure"].seconds,
        "plain": timings["plain"].seconds,
        "rate": 2 * _SQUARE**3 / timings["product"].seconds,
        "bound": bound.seconds,
        "times_plain": timings["measure"].ratio(timings["plain"]),
        "times_bound": timings["measure"].ratio(bound),
        "peak_memory": None if None in peaks.values() else max(0, peaks["measure"] - peaks["plain"]),
    }
    return [row | _judged(row, _AIMS[name])]


def _calls(name: str, half: int) -> tuple[int, int, dict[str, Callable[[], Any]]]:
    """Parameters, multiply-adds a pair; a whole measurement and plain forward+backward, over the same examples."""
    import workloads

    from tfstiff import Probe, measure
    from tfstiff.bench.throughput import forward_backward
    from tfstiff.gradients.plan import plan_for

    model, x, y = workloads.build(name, 2 * half)
    probe = Probe.from_arrays((x[:half], y[:half]), (x[half:], y[half:]), size=None)
    calls = {"plain": forward_backward(model, x, y), "measure": lambda: measure(model, probe)}
    for_each_pair = sum(cost.for_each_pair for cost in plan_for(model, x, y).parts[0].costs)
    return model.count_params(), for_each_pair, calls


def _peaks(name: str, half: int) -> dict[str, int | None]:
    from tfstiff.bench.timing import peak_memory

    *_, calls = _calls(name, half)
    for call in calls.values():
        call()
    return {key: peak_memory(call) for key, call in calls.items()}


def _judged(row: Row, aims: dict[str, float]) -> Row:
    columns = {column.key: column for column in COLUMNS}
    wanted = [
        f"{columns[key].header} ≤ {most * columns[key].scale:{columns[key].format}}" for key, most in aims.items()
    ]
    met = ["yes" if row[key] is not None and row[key] <= most else "no" for key, most in aims.items()]
    return {"aims": "; ".join(wanted), "met": "; ".join(met)}
