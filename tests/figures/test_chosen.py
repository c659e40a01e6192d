"""What `tfstiff plot` draws of a run: some pair sets, metrics and stages."""

import csv
from dataclasses import replace

import pytest
from synthetic_runs import measurement, series

from tfstiff.errors import InvalidInput
from tfstiff.figures import FIGURES, ChosenRun, FigureKind, draw
from tfstiff.figures.chosen import at_epochs


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_pair_sets_metrics_and_stages(make_run, tmp_path):
    run = make_run(series(6, 3))
    last = run.measurements[-1].epoch
    chosen = ChosenRun(run.folder, pair_sets=("train_val",), metrics=("sign",), stages=(0.0, last))
    assert chosen.spec == run.spec | {"metrics": ["sign"]}
    assert [m.step for m in chosen.measurements] == [run.measurements[0].step, run.measurements[-1].step]
    assert [list(m.pair_sets) for m in chosen.measurements] == [["train_val"]] * 2
    draw(chosen, ["class_matrices", "curves"], tmp_path, formats=["pdf"])
    matrices, curves = read(tmp_path / "class_matrices.csv"), read(tmp_path / "curves.csv")
    assert {(row["pair_set"], row["step"]) for row in matrices} == {("train_val", "0"), ("train_val", "37500")}
    assert [int(row["step"]) for row in curves] == [m.step for m in run.measurements]  # over time: all of them
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in (tmp_path / "curves.pdf").read_bytes()
    assert [m.step for m in ChosenRun(run.folder).measurements] == [m.step for m in run.measurements]


def test_one_metric_has_two_rows_of_panels(make_run):
    axes = ChosenRun(make_run(series(2, 3)).folder, metrics=("cosine",)).plot.curves().axes
    titles = [panel.get_title() for panel in axes]
    assert titles == [
        "Loss on the probe",
        "Within-class stiffness",
        "Accuracy on the probe",
        "Between-class stiffness",
    ]


def test_a_stage_is_the_nearest_measurement_and_counts_once():
    found = [measurement(epoch * 10, float(epoch), 0.5, 2) for epoch in (0, 1, 4)]
    assert [m.epoch for m in at_epochs(found, (3.9, 0.2, 5.0))] == [0, 4]
    assert at_epochs([], (1.0,)) == []
    with pytest.raises(InvalidInput, match="--stage"):
        at_epochs([replace(found[0], epoch=float("nan"))], (1.0,))


def test_pairs_that_were_not_measured(make_run):
    first = series(1, 2)[0]
    run = make_run([replace(first, pair_sets={"val_val": first["val_val"]})])
    with pytest.raises(InvalidInput, match="val_val"):
        draw(ChosenRun(run.folder, pair_sets=("train_val",)))


def test_a_figure_that_cannot_be_drawn_is_no_failure_of_the_others(make_run, monkeypatch):
    def broken(source, width="page"):
        raise ZeroDivisionError("no")

    run, said = make_run(series(2, 2)), []
    monkeypatch.setitem(FIGURES, "broken", FigureKind(broken, broken, "", "", "run", ()))
    paths = draw(run, ["broken", "curves"], formats=["png"], say=said.append)
    assert [path.name for path in paths] == ["curves.png", "curves.csv"]
    assert said == ["The figure broken is left out. It could not be drawn: ZeroDivisionError: no"]
    with pytest.raises(ZeroDivisionError):
        draw(run, ["broken"], formats=["png"])
