"""Time and memory as examples and widths grow."""

from __future__ import annotations

from typing import Any

from sections import MEGABYTES, MILLISECONDS, Case, Column, Row

TITLE = "Growth"
TEXT = """The Gram matrix by `auto` of more and more examples, and of wider and wider models."""
COLUMNS = (
    Column("model", "model"),
    Column("widths", "widths"),
    Column("parameters", "parameters", ","),
    Column("examples", "examples", ","),
    Column("seconds", "ms", ",.1f", MILLISECONDS),
    Column("ratio", "× forward+backward", ".2f"),
    Column("peak_memory", "peak memory, MB", ",.0f", MEGABYTES),
)
_HIDDEN, _CHANNELS = (500, 300, 100), (16, 32, 32)


def cases(quick: bool, folder: str) -> list[Case]:
    counts = (50, 100) if quick else (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
    examples = 50 if quick else 500
    found = [_case("fc", count, hidden=_HIDDEN) for count in counts]
    found += [_case("fc", examples, hidden=_times(_HIDDEN, factor)) for factor in (0.5, 2, 4)]
    return found + [_case("cnn", examples, channels=_times(_CHANNELS, factor)) for factor in (1, 2, 4)]


def _case(name: str, examples: int, **widths: Any) -> Case:
    (described,) = ("-".join(map(str, values)) for values in widths.values())
    labels = {"model": name, "widths": described, "examples": examples}
    return Case(f"{name} {described} on {examples}", measure, (name, examples, widths, labels), labels)


def _times(widths: tuple[int, ...], factor: float) -> tuple[int, ...]:
    return tuple(int(width * factor) for width in widths)


def measure(name: str, examples: int, widths: dict[str, Any], labels: Row) -> list[Row]:
    import workloads

    from tfstiff.bench.throughput import throughput

    build = workloads.builder(name, examples, **widths)
    _, gram = throughput(build, rounds=3)
    return [labels | gram.described() | {"parameters": build()[0].count_params()}]
