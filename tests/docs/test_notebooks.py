"""The notebooks run to their last cell in a kernel, and hold no output that could be older than the code."""

import json

import pytest
from pages import DOCS

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
# Figures of runs have tests of their own, and would take most of the time of these.
WITHOUT_FIGURES = "import tfstiff.runs.run\n\ntfstiff.runs.run.draw_figures = lambda *_: None"


def code_cells(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The outputs of each notebook, by its name: all in one kernel, since TensorFlow takes long to load."""
    nbformat = pytest.importorskip("nbformat", reason="nbclient and ipykernel, of the extra test, are not installed")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    folder = tmp_path_factory.mktemp("notebooks")
    new_cell = nbformat.v4.new_code_cell
    whole, ends = nbformat.v4.new_notebook(cells=[new_cell(WITHOUT_FIGURES)]), {}
    for path in NOTEBOOKS:
        cells = [new_cell("".join(cell["source"])) for cell in code_cells(path)]
        whole.cells += [new_cell("%reset -f"), *cells]  # no name of one is there in the next
        ends[path.stem] = cells
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder))
        nbclient.NotebookClient(
            whole, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        ).execute()  # which raises what a cell does
    return {name: [output for cell in cells for output in cell.outputs] for name, cells in ends.items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end_and_shows_tables_and_figures(path, shown):
    data = [output.data for output in shown[path.stem] if "data" in output]
    tables = [one["text/html"] for one in data if "text/html" in one]
    assert tables
    assert not any("object at 0x" in table for table in tables)
    if path.stem != "finding-examples":
        assert any("image/png" in one for one in data)
    else:
        found = next(one["text/plain"] for one in data if "of the 10 wrong labels" in one["text/plain"])
        assert int(found.lstrip("(").partition(",")[0]) >= 5  # what the sentence promises to be of use for


def test_no_warning_of_tensorflow_reaches_a_reader(shown):
    told = "".join(output.text for outputs in shown.values() for output in outputs if output.output_type == "stream")
    assert "retracing" not in told
    assert "RuntimeWarning" not in told


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
