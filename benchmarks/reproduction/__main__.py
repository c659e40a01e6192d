"""The command line: see the package."""

from __future__ import annotations

import argparse
import sys
import time

import benchmarks.reproduction as package
from benchmarks.reproduction import claims, concordance, league, page, pictures, predictors

PARTS = {"predictors": predictors, "league": league, "claims": claims, "concordance": concordance}


def main() -> None:
    parser = argparse.ArgumentParser(description=package.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=[*PARTS, "all", "page"])
    parser.add_argument("--data-dir", help="folder of prepared TFDS data sets")
    parser.add_argument("--seeds", type=int, help="default: as the decision rules say")
    parser.add_argument("--budget", type=float, default=float("inf"), help="minutes after which nothing is begun")
    arguments = parser.parse_args()
    began = time.monotonic()
    for name, part in PARTS.items():
        if arguments.part in (name, "all"):
            trainings = part.train_all(
                arguments.data_dir,
                part.SEEDS if arguments.seeds is None else arguments.seeds,
                lambda: time.monotonic() - began > 60 * arguments.budget,
            )
            for design in trainings:
                minutes = (time.monotonic() - began) / 60
                print(f"{minutes:6.1f} min  {name}: {design}", file=sys.stderr, flush=True)
    if arguments.part in ("page", "all"):
        page.update()
        for path in (page.PAGE, *pictures.draw_all()):
            print(path)


if __name__ == "__main__":
    main()
