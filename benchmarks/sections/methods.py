"""Every method on every model, against plain forward+backward."""

from __future__ import annotations

from sections import MEGABYTES, MILLISECONDS, MODELS, Case, Column, Row

TITLE = "Methods"
TEXT = """Per-example gradients and their Gram matrix by each method, in turns with plain forward+backward (the summed
loss and its gradient) over the same examples. A slow method is measured on fewer examples, against forward+backward
over these. Peak memory is what a call takes at its peak, in another process, where TensorFlow gives memory back."""
COLUMNS = (
    Column("model", "model"),
    Column("method", "method"),
    Column("examples", "examples", ","),
    Column("seconds", "ms", ",.1f", MILLISECONDS),
    Column("examples_per_second", "examples/s", ",.0f"),
    Column("ratio", "× forward+backward", ".2f"),
    Column("peak_memory", "peak memory, MB", ",.0f", MEGABYTES),
)
_METHODS = ("auto", "vectorized", "jacobian", "loop")


def cases(quick: bool, folder: str) -> list[Case]:
    examples, seconds = (50, 1.0) if quick else (500, 10.0)
    return [Case(name, measure, (name, examples, seconds), {"model": name}) for name in MODELS]


def measure(name: str, examples: int, seconds: float) -> list[Row]:
    import workloads

    from tfstiff.bench.throughput import throughput

    build = workloads.builder(name, examples)
    rows = throughput(build, _METHODS, seconds=seconds)
    return [{"model": name} | row.described() for row in rows]
