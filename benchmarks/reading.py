"""How long records take to be read, and what comparing many runs takes: seconds and peak memory.

    python benchmarks/reading.py --runs 1000 --records 29

The records are of one measurement of 1,000 examples of 10 classes, whose losses, epochs and stiffness are then made to
differ. Runs are of four learning rates, ten seeds and as many networks as it takes, and share their records' files as
hard links, so that little disk is needed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tfstiff.records import Measurement, RunWriter, open_run, read_record, write_record
from tfstiff.records.run_folder import record_path

RATES = (1e-4, 3e-4, 1e-3, 3e-3)
SEEDS = 10
COMPARE = """
import atexit, sys
from tfstiff_cli import main

def tell():  # what the process itself held at most; getrusage counts what it was forked from
    sys.stderr.write(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))

atexit.register(tell)
main()
"""


def measured() -> Measurement:
    """A measurement of a small network, as large as `tfstiff run` records by default."""
    import keras

    import tfstiff

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 20)).astype(np.float32), np.arange(1000) % 10
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return tfstiff.measure(model, tfstiff.Probe.from_arrays((x[:500], y[:500]), (x[500:], y[500:]), size=None))


def series(found: Measurement, number: int, rng: np.random.Generator) -> list[Measurement]:
    """The measurement at `number` steps of a training that comes down to a loss of 0.1."""
    losses = np.geomspace(2.3, 0.1, number) * np.exp(rng.normal(0, 0.02, number))
    halves = [dataclasses.replace(found.train, loss=float(loss)) for loss in losses]
    return [
        dataclasses.replace(found, step=100 * step, epoch=float(step), train=half, validation=half)
        for step, half in enumerate(halves)
    ]


def write_runs(folder: Path, num_runs: int, num_records: int) -> list[Path]:
    found, made = measured(), {}
    for rate in RATES:
        for seed in range(SEEDS):
            kept = folder / "kept" / f"{rate}-{seed}"
            kept.mkdir(parents=True)
            made[rate, seed] = [kept / f"{index}.npz" for index in range(num_records)]
            rng = np.random.default_rng([seed, RATES.index(rate)])
            for path, one in zip(made[rate, seed], series(found, num_records, rng), strict=True):
                write_record(path, one)
    runs = []
    for number in range(num_runs):
        rate, seed = RATES[number % len(RATES)], number // len(RATES) % SEEDS
        arch = f"network{number // len(RATES) // SEEDS}"
        writer = RunWriter(folder / "runs" / f"{arch}-lr{rate:g}-seed{seed}")
        writer.write_config({"dataset": "made_up", "arch": arch, "learning_rate": rate, "seed": seed})
        writer.write_status("completed")
        for index, path in enumerate(made[rate, seed]):
            os.link(path, record_path(writer.folder, 100 * index))
        runs.append(writer.folder)
    return runs


def milliseconds(paths: list[Path], **options: bool) -> float:
    times = []
    for path in paths:
        begun = time.perf_counter()
        read_record(path, **options)
        times.append(time.perf_counter() - begun)
    return 1000 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--records", type=int, default=29)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        runs = write_runs(Path(name), chosen.runs, chosen.records)
        paths = [path for run in runs[:20] for path in sorted((run / "records").iterdir())]
        print(f"a record: {paths[0].stat().st_size / 1000:.0f} kB")
        print(
            f"read whole: {milliseconds(paths):.2f} ms; without arrays: {milliseconds(paths, with_arrays=False):.2f} ms"
        )
        begun = time.perf_counter()
        count = sum(len(open_run(run).measurements) for run in runs[:20])
        print(f"opening {count} records of {len(runs[:20])} runs: {time.perf_counter() - begun:.2f} s")
        begun = time.perf_counter()
        command = [sys.executable, "-c", COMPARE, "compare", *map(str, runs), "--json"]
        done = subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - begun
        peak = int(done.stderr.split()[-2]) / 1024
        print(
            f"compare of {len(runs)} runs of {chosen.records} records: {seconds:.1f} s, {peak:.0f} MiB at the peak, "
            f"{len(json.loads(done.stdout)['summaries'])} rows"
        )


if __name__ == "__main__":
    main()
