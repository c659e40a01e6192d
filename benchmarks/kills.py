"""Kills runs with SIGKILL at random moments, resumes them, and compares what they come to with a run left alone.

    python benchmarks/kills.py --kills 20

The network has dropout, noise and batch normalisation, and the run waits for training losses, so that every kind of
state matters. A run may be killed several times before it ends, each time some moments after it has written a file of a
random number. Everything that a run leaves behind must be equal, bit for bit, but for clocks: records, weights at each
measurement, logs, events, settings. Runs are processes forked from one that has imported TensorFlow and not run it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import h5py
import keras  # noqa: F401 - each run finds it imported
import numpy as np
from tfstiff_cli import main as main_of_tfstiff

import tfstiff.runs.run

NETWORK = """
import keras

def build(input_shape, num_classes):
    layers = keras.layers
    return keras.Sequential([
        keras.Input(input_shape), layers.Flatten(), layers.GaussianNoise(0.01), layers.Dense(100),
        layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.3), layers.Dense(num_classes),
    ], name="noisy")
"""
AGAIN = 0.4  # of the resumed runs are killed again
MOMENTS = 0.3  # seconds at most after a file was written
EXACT = ("config.json", "history.csv", "scalars.jsonl", "events.jsonl", "probe.npz")


class Started:
    """A process that begins the run in `folder`, or resumes it where it had begun before it was killed."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        resume = ["--resume", str(folder), "--arch", "noisy_network:build"]  # code of one's own is named again
        has_begun = (folder / "config.json").exists()
        arguments = ["run", "--checkpoint-every", "16", *(resume if has_begun else [*options, "--out", str(folder)])]
        self.pid = os.fork()
        if not self.pid:
            with (folder.parent / f"{folder.name}.txt").open("ab") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.chdir(folder.parent)
            try:
                main_of_tfstiff(arguments)
            except SystemExit as end:
                sys.stderr.flush()
                os._exit(int(end.code or 0))
            os._exit(0)
        self.code: int | None = None

    def poll(self) -> int | None:
        if self.code is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.code = os.waitstatus_to_exitcode(ended[1])
        return self.code

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.01)
        return code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def num_files(folder: Path) -> int:
    """How many files there are in it, and below it."""
    return sum(len(files) for _, _, files in os.walk(folder))


def weights(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found


def are_equal(one: Path, two: Path) -> bool:
    if one.suffix != ".h5":
        return one.read_bytes() == two.read_bytes()
    a, b = weights(one), weights(two)
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def differences(one: Path, two: Path) -> list[str]:
    """Names of what is not equal, bit for bit."""
    found = [name for name in EXACT if (one / name).read_bytes() != (two / name).read_bytes()]
    for folder in ("records", "models"):
        names = {path.name for run in (one, two) for path in (run / folder).iterdir() if ".aside-" not in path.name}
        for name in sorted(names):
            paths = (one / folder / name, two / folder / name)
            if not all(path.exists() for path in paths) or not are_equal(*paths):
                found.append(f"{folder}/{name}")
    steps = [[row.split(",")[0] for row in (run / "timings.csv").read_text().split()] for run in (one, two)]
    return found + (["timings.csv"] if steps[0] != steps[1] else [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="until then, runs are killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--default-mode", action="store_true", help="without --deterministic")
    parser.add_argument("--out", type=Path, help="keep the runs there")
    choices = parser.parse_args()
    draw = random.Random(choices.seed)
    tfstiff.runs.run.draw_figures = lambda *_: None  # which are not compared, and take as long as the run
    out = choices.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    (out / "noisy_network.py").write_text(NETWORK)
    options = ["--arch", "noisy_network:build", "--epochs", "2", "--train-examples", "4000", "--probe-size", "60"]
    options += ["--lr", "3e-3", "--schedule", "0,0.1,0.5,1,2", "--keep-models"]
    options += ["--stop-at-loss", "1.0,0.5,0.01", "--offline", *([] if choices.default_mode else ["--deterministic"])]

    if Started(out / "alone", options).wait():
        sys.exit(f"the run left alone failed: see {out}/alone.txt")
    most = num_files(out / "alone")
    kills, runs, equal, resumed = 0, 0, 0, []
    while kills < choices.kills:
        folder = out / f"killed-{runs}"
        here = 0
        while True:
            process = Started(folder, options)
            if kills < choices.kills and (here == 0 or draw.random() < AGAIN):
                number = draw.randint(min(num_files(folder), most), most)
                while process.poll() is None and num_files(folder) < number:
                    time.sleep(0.002)
                time.sleep(draw.uniform(0, MOMENTS))
                if process.poll() is None:
                    process.kill()
                    kills, here = kills + 1, here + 1
            code = process.wait()
            if code == 0:
                break
            if code != -9:
                sys.exit(f"{folder} ended with {code}: see {folder}.txt")
        meta = json.loads((folder / "meta.json").read_text())
        steps = [segment["step"] for segment in meta.get("resumed", [])]
        found = differences(out / "alone", folder)
        runs, equal = runs + 1, equal + (not found)
        resumed += steps
        print(f"{folder.name}: {here} kills, resumed from steps {steps}, {found or 'equal'}", flush=True)
    print(f"{kills} kills in {runs} runs, {len(resumed)} of them resumed from a checkpoint; {equal} of {runs} equal.")
    if choices.out is None:
        shutil.rmtree(out)
    sys.exit(equal != runs)


if __name__ == "__main__":
    main()
