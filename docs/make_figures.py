"""Makes the pictures of docs/figures.md by the commands that stand there, and one of the report: `make figures`.

The runs are kept in build/figures and made where they are missing, which takes some minutes. Without Chromium the
picture of the report stays as it is.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "figures.md"
FOLDER = ROOT / "docs" / "images" / "column"
REPORT = ROOT / "docs" / "images" / "report_begin.png"
_PLACE = ROOT / "build" / "figures"  # where the commands are given
_COLOURS = 96  # in a picture; more are hardly seen, and take twice the bytes
_SCREEN = (1100, 800)  # pixels


def commands() -> list[list[str]]:
    """The commands of the page, in order, without `tfstiff`."""
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in re.findall(r"^    (tfstiff .*)$", text, re.MULTILINE)]


def make() -> None:
    """Trains what is missing, draws every figure, and takes the picture of the report."""
    _PLACE.mkdir(parents=True, exist_ok=True)
    for command in commands():
        if command[0] == "plot":
            _tfstiff([*command, "--format", "png", "--out", "drawn"])
        elif command[0] == "report" or not (_PLACE / command[command.index("--out") + 1]).exists():
            _tfstiff(command)
        if command[0] == "report":
            _picture_of(_PLACE / command[1] / "report.html")
    FOLDER.mkdir(exist_ok=True)
    for drawn in sorted((_PLACE / "drawn").glob("*.png")):
        _save_small(drawn, FOLDER / drawn.name)


def _tfstiff(arguments: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "tfstiff", *arguments], cwd=_PLACE, check=True)


def _picture_of(page: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("There is no Chromium here, so the picture of the report stays as it is.\n")
        return
    taken = _PLACE / "report.png"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--virtual-time-budget=20000"]
    options.append(f"--window-size={_SCREEN[0]},{_SCREEN[1]}")
    subprocess.run([chromium, *options, f"--screenshot={taken}", page.as_uri()], check=True, capture_output=True)
    _save_small(taken, REPORT)


def _save_small(picture: Path, path: Path) -> None:
    """Saves a picture with few colours, none mixed of dots, among them those of thin lines and of grounds."""
    whole = Image.open(picture).convert("RGB")
    image = whole.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    image.save(path, "png", optimize=True)
    sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    make()
