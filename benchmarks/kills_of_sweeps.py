"""Kills sweeps with SIGKILL at random moments, drivers and trials, and compares with one that was left alone.

    python benchmarks/kills_of_sweeps.py --kills 20
    python benchmarks/kills_of_sweeps.py --kills 20 --ray    # trials as tasks of a Ray cluster that each driver starts

The same command is given until it ends well. A trial whose driver is gone is asked to end; one that is killed alone is
begun again by the driver, or by Ray. At the end every trial's folder must be equal, bit for bit, but for clocks
(`kills.differences`).
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from kills import differences

from tfstiff.sweeps import is_sweep, load_sweep

OPTIONS = "--lr 1e-3,3e-3 --epochs 2 --train-examples 2000 --probe-size 40 --schedule 0,0.5,1,2 --hidden 20"
OPTIONS += " --keep-models --deterministic --offline --jobs 2"


def started(folder: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from tfstiff_cli import main; main()", "sweep", *OPTIONS.split(), *options]
    with (folder.parent / f"{folder.name}.txt").open("ab") as file:
        return subprocess.Popen([*command, "--out", str(folder)], stdout=file, stderr=file)


def running(folder: Path) -> list[int]:
    """The processes of trials that run."""
    if not is_sweep(folder):
        return []
    sweep = load_sweep(folder)
    states = [sweep.state(trial) for trial in sweep.trials]
    return [state.pid for state in states if state.state == "running" and state.pid and psutil.pid_exists(state.pid)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="until then, processes are killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ray", action="store_true", help="run the trials on Ray")
    parser.add_argument("--out", type=Path, help="keep the sweeps there")
    choices = parser.parse_args()
    options = ["--ray"] if choices.ray else []
    draw = random.Random(choices.seed)
    out = choices.out or Path(tempfile.mkdtemp())
    out.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    if started(out / "alone", options).wait():
        sys.exit(f"the sweep left alone failed: see {out}/alone.txt")
    lasted = time.perf_counter() - begun
    print(f"left alone: {lasted:.0f} s", flush=True)
    kills, drivers, sweeps, equal = 0, 0, 0, 0
    while kills < choices.kills:
        folder, here, code = out / f"killed-{sweeps}", [], -9
        while code:
            process = started(folder, options)
            if kills < choices.kills and len(here) < 4:
                moment = time.perf_counter() + draw.uniform(0, lasted)
                while process.poll() is None and time.perf_counter() < moment:
                    time.sleep(0.01)
                trials = running(folder)
                if process.poll() is None and trials and draw.random() < 0.5:
                    subprocess.run(["kill", "-KILL", str(draw.choice(trials))], check=False)
                    here.append("trial")
                elif process.poll() is None:
                    process.kill()
                    here.append("driver")
            code = process.wait()
            if code not in (0, 5, -9):
                sys.exit(f"{folder} ended with {code}: see {folder}.txt")
        kills, drivers = kills + len(here), drivers + here.count("driver")
        names = sorted(path.name for path in (out / "alone" / "trials").iterdir())
        found = {name: differences(out / "alone" / "trials" / name, folder / "trials" / name) for name in names}
        found = {name: which for name, which in found.items() if which}
        sweeps, equal = sweeps + 1, equal + (not found)
        print(f"{folder.name}: killed {', '.join(here) or 'nothing'}; {found or 'equal'}", flush=True)
    print(f"{kills} kills ({drivers} of drivers) in {sweeps} sweeps; {equal} of {sweeps} equal.")
    if choices.out is None:
        shutil.rmtree(out)
    sys.exit(equal != sweeps)


if __name__ == "__main__":
    main()
