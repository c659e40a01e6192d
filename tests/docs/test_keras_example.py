"""The example in the form of keras.io runs to its end, and its header has the fields that its builder asks for."""

import runpy

from pages import DOCS

EXAMPLE = DOCS / "examples" / "stiffness_during_training.py"
FIELDS = ("Title", "Author", "Date created", "Last modified", "Description", "Accelerator")


def test_it_runs_and_its_figures_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(EXAMPLE))
    assert [len(names["probe"].train.y), names["stiffness"].history[-1].epoch] == [100, 3]
    assert {path.name for path in tmp_path.glob("*.png")} == {"class_matrix.png", "curves.png"}
    table = capsys.readouterr().out
    assert "cosine_within_se" in table
    assert table.count("\n") >= len(names["stiffness"].history)


def test_its_header():
    lines = EXAMPLE.read_text("utf-8").split('"""')[1].strip().splitlines()
    assert [line.partition(": ")[0] for line in lines] == list(FIELDS)
