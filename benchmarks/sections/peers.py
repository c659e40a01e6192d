"""What else computes per-example gradients, on the same models with the same weights and examples."""

from __future__ import annotations

from pathlib import Path

from sections import MEGABYTES, MILLISECONDS, Case, Column, Row

TITLE = "Peers"
TEXT = """Per-example gradients and their Gram matrix by other libraries, each in a process of its own, with the weights
and examples that tfstiff had, as many cores, and the fastest of a few chunk sizes. Only the upper triangle of the
products of chunks is computed, for all alike. A peer's matrix must agree with that of tfstiff to 1e-3 of the largest
entry before it is timed: *difference* says how well it did. The rows of `fc` are of
2026-12-01, the others of 2026-11-22."""
COLUMNS = (
    Column("model", "model"),
    Column("library", "library"),
    Column("configuration", "as"),
    Column("examples", "examples", ","),
    Column("seconds", "ms", ",.1f", MILLISECONDS),
    Column("times_tfstiff", "× tfstiff", ".1f"),
    Column("difference", "difference", ".1e"),
    Column("peak_memory", "peak memory, MB", ",.0f", MEGABYTES),
)
_MODELS = ("fc", "cnn", "cnn-v1", "resnet20", "encoder", "lstm")
_PEERS = {
    "PyTorch": "hooks",
    "torch.func": "torch_func",
    "BackPACK": "backpack",
    "Opacus": "opacus",
    "JAX": "keras_on_jax",
}
_ENVIRONMENTS = {"JAX": {"KERAS_BACKEND": "jax"}}


def cases(quick: bool, folder: str) -> list[Case]:
    examples, rounds = (40, 1) if quick else (1000, 3)
    found = []
    for name in _MODELS:
        path = str(Path(folder) / f"{name}.npz")
        labels = {"model": name, "library": "tfstiff"}
        found.append(Case(f"{name} by tfstiff", measure_tfstiff, (name, examples, rounds, path), labels))
        for library, module in _PEERS.items():
            labels = {"model": name, "library": library}
            arguments = (name, module, rounds, path, labels)
            found.append(Case(f"{name} by {library}", measure_peer, arguments, labels, _ENVIRONMENTS.get(library, {})))
    return found


def measure_tfstiff(name: str, examples: int, rounds: int, path: str) -> list[Row]:
    """Leaves weights, examples, products and time in `path`, for the peers."""
    import workloads
    from peers.exchange import Exchange

    from tfstiff import gradient_gram
    from tfstiff.bench.throughput import throughput

    build = workloads.builder(name, examples)
    methods = ("auto", "vectorized")
    _, *measured = throughput(build, methods, rounds=rounds, seconds=60.0 * rounds)
    model, x, y = build()
    weights = [weight.numpy() for weight in model.trainable_weights]
    Exchange(weights, x, y, gradient_gram(model, x, y), measured[0].seconds or 0.0).save(path)
    return [
        {"model": name, "library": "tfstiff", "configuration": row.method}
        | row.described()
        | {"times_tfstiff": row.seconds and row.seconds / (measured[0].seconds or 1)}
        for row in measured
    ]


def measure_peer(name: str, module: str, rounds: int, path: str, labels: Row) -> list[Row]:
    from peers.runner import compare

    return [labels | compare(name, module, path, rounds)]
