"""Real models: whether they come out right, by which path, and what first and later calls take.

    python benchmarks/real_models.py                       # all, each in a process of its own; goes on where it ended
    python benchmarks/real_models.py MobileNetV2 --anew

What was found is in tables/real_models.csv, and is printed by family at the end. Of each model: `right` (against one
tape an example), `refused` with the reason, or `wrong`; the weights on the generic path; processor seconds of the first
and of later calls, as multiples of the model's own traced gradient; and the memory that the process held at most.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from tfstiff.bench.timing import processor_seconds
from tfstiff.records.atomic import write_text

TABLE = Path(__file__).parent / "tables" / "real_models.csv"
_REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names; all where none is given")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--anew", action="store_true", help="those too that are in the table")
    parser.add_argument("--seconds", type=int, default=900, help="after which a model is given up")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(_measure(chosen.one)))
        return
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=["model"])
    for name in chosen.models or list(_cases()):
        if name in set(table["model"]) and not chosen.anew:
            continue
        found = _in_a_process(name, chosen.seconds)
        print(_line(found), file=sys.stderr, flush=True)
        found["generic"] = "; ".join(found.get("generic", []))
        table = pd.concat([table[table["model"] != name], pd.DataFrame([found])])
        write_text(TABLE, table.to_csv(index=False, float_format="%.4g"))
    print(by_family(table).to_string())


def by_family(table: pd.DataFrame) -> pd.DataFrame:
    """Counts of outcomes, and medians of the multiples of a plain gradient, a row a family."""
    kinds = table["outcome"].str.split(":").str[0].str.split().str[0]
    groups = table.assign(generic=table["generic"].notna() & (table["generic"] != "")).groupby("family")
    counts = pd.crosstab(table["family"], kinds)
    columns = {name: (name, "median") for name in ("first", "later", "peak_gigabytes")}
    return counts.join(groups.agg(generic=("generic", "sum"), **columns).round(2))


def _cases() -> dict[str, Any]:
    from real import applications

    found = applications.cases()
    try:
        from real import hub
    except ImportError as reason:
        print(f"KerasHub is left out: {reason}", file=sys.stderr)
        return found
    return found | hub.cases()


def _in_a_process(name: str, seconds: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"model": name, "family": _cases()[name].family, "outcome": f"unfinished after {seconds} s"}
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [""]
        return {"model": name, "family": _cases()[name].family, "outcome": f"died with {done.returncode}: {reason[0]}"}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _measure(name: str) -> dict[str, Any]:
    import numpy as np
    import tensorflow as tf
    from real.case import loss

    import tfstiff
    from tfstiff.errors import UnsupportedModel

    case = _cases()[name]
    model, x, y = case.build()
    x, y = tf.nest.map_structure(tf.constant, (x, y))
    weights = [weight.value for weight in model.trainable_weights]
    per_position = loss()

    def example_loss(x: Any, y: Any) -> tf.Tensor:
        return tf.reduce_mean(per_position.call(y, model(x, training=False)))

    @tf.function(autograph=False)
    def own(x: Any, y: Any) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = example_loss(x, y)
        return tape.gradient(value, weights, None, "zero")

    own_first, own_later = _seconds(lambda: own(x, y))
    found: dict[str, Any] = {"model": name, "family": case.family, "weights": len(weights)}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            first, later = _seconds(lambda: tfstiff.gradient_gram(model, x, y, loss=loss()))
        except UnsupportedModel as reason:
            return found | {"outcome": f"refused: {str(reason).splitlines()[0]}"}
    found["first"], found["later"] = first / own_first, later / own_later
    found["first_seconds"], found["later_seconds"] = first, later
    found["generic"] = [str(one.message) for one in warned if "slower path" in str(one.message)]
    found["peak_gigabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    gram = np.asarray(tfstiff.gradient_gram(model, x, y, loss=loss()), np.float64)
    rows = []
    for index in range(len(y)):
        one_x, one_y = tf.nest.map_structure(lambda array, i=index: array[i : i + 1], (x, y))
        gradients = [tf.convert_to_tensor(part) for part in own(one_x, one_y)]
        rows.append(np.concatenate([np.asarray(part, np.float64).ravel() for part in gradients]))
    expected = np.stack(rows) @ np.stack(rows).T
    found["error"] = float(np.abs(gram - expected).max() / np.abs(expected).max())
    return found | {"outcome": "right" if found["error"] < 1e-3 else "wrong"}


def _seconds(function: Any) -> tuple[float, float]:
    """Processor seconds of the first call and of a later one."""
    times = [processor_seconds(function) for _ in range(2 + _REPEATS)]
    return times[0], min(times[2:])


def _line(found: dict[str, Any]) -> str:
    if "first" not in found:
        return f"{found['model']}: {found['outcome']}"
    path = f"; generic: {found['generic']}" if found["generic"] else ""
    return (
        f"{found['model']}: {found['outcome']} ({found['error']:.0e}), first {found['first_seconds']:.1f} s = "
        f"{found['first']:.1f} x, later {found['later_seconds']:.3f} s = {found['later']:.1f} x, "
        f"{found['peak_gigabytes']:.1f} GB{path}"
    )


if __name__ == "__main__":
    main()
