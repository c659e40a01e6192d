"""The notebooks run from their first cell to their last, and hold no output that could be older than the code."""

import ast
import json

import matplotlib
import pytest
from matplotlib.figure import Figure
from pages import DOCS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


def code_cells(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run_cell(text, names, place):
    """What a cell shows at its end, as a notebook has it."""
    body = ast.parse(text).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), place, "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), place, "eval"), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", matplotlib.get_backend())
    monkeypatch.setattr("tfstiff.runs.run.draw_figures", lambda *_: None)
    shown, names = [], {"__name__": "__main__"}
    for index, cell in enumerate(code_cells(path)):
        shown.append(run_cell("".join(cell["source"]), names, f"{path.name}, cell {index}"))
    pictures = [one._repr_png_() for one in shown if isinstance(one, Figure)]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    tables = [table for one in shown if hasattr(one, "_repr_html_") and (table := one._repr_html_()) is not None]
    assert tables
    assert not any("object at 0x" in table for table in tables)
    if path.stem == "finding-examples":
        assert len(names["found"]) >= 5  # what the sentence that is printed promises to be of use for


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_kept(path):
    for cell in code_cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_all_four_are_listed():
    assert len(NOTEBOOKS) == 4
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in text
