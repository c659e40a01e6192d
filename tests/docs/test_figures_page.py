"""The page of all figures shows each, as it is drawn for a column, in few bytes."""

import importlib.util
import re

import matplotlib.image
import pytest
from pages import DOCS
from tfstiff_cli import main

from tfstiff.figures import FIGURES, WIDTHS

PAGE = (DOCS / "figures.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:])
LARGEST = 60_000  # bytes


def test_there_is_a_section_for_every_figure():
    assert sorted(SECTIONS) == sorted(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_shown_with_its_command_and_a_sentence(name):
    section = SECTIONS[name]
    assert f"](images/column/{name}.png)" in section
    assert re.search(rf"^    tfstiff plot .*--figure {name}\b.* --width column$", section, re.MULTILINE)
    sentence = section.split("![")[0].strip()
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0


@pytest.mark.parametrize(
    "path", [*sorted((DOCS / "images" / "column").iterdir()), DOCS / "images" / "report_begin.png"]
)
def test_a_picture_is_small_and_of_its_width(path):
    assert path.stat().st_size < LARGEST
    height, width, _ = matplotlib.image.imread(path).shape
    if path.parent.name == "column":
        assert path.stem in FIGURES
        assert width <= WIDTHS["column"] * 150  # dots per inch
        assert height <= 9.7 * 150  # inches of a page


def test_the_maker_reads_the_commands_of_the_page():
    spec = importlib.util.spec_from_file_location("make_figures", DOCS / "make_figures.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    commands = maker.commands()
    assert {command[0] for command in commands} == {"run", "sweep", "plot", "report"} <= set(main.list_commands(None))
    drawn = [command[command.index("--figure") + 1] for command in commands if command[0] == "plot"]
    assert sorted(drawn) == sorted(FIGURES)
    assert all("--out" in command for command in commands if command[0] in ("run", "sweep"))
