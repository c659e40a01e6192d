from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic_runs import SPEC, series, write_run
from synthetic_sweeps import sweep
from tfstiff_cli import main

from tfstiff.figures import FIGURES


def tfstiff(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "mine", series(2, 2)).folder


def test_paths_go_to_standard_output(folder):
    result = tfstiff("plot", folder, "--figure", "curves", "--format", "png")
    assert result.exit_code == 0
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert paths == [folder / "figures" / "curves.png", folder / "figures" / "curves.csv"]
    assert all(path.is_file() for path in paths)
    assert result.stderr == ""


def test_several_runs_share_an_out_folder_without_clashing(folder, tmp_path):
    write_run(tmp_path / "other", series(2, 2))
    out = tmp_path / "out"
    result = tfstiff("plot", folder, tmp_path / "other", "--out", out, "--figure", "curves", "--format", "svg")
    assert result.exit_code == 0
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.svg")} == {"mine/curves.svg", "other/curves.svg"}
    clash = write_run(tmp_path / "elsewhere" / "mine", series(1, 2)).folder
    assert tfstiff("plot", folder, clash, "--out", out, "--figure", "curves").exit_code == 2


def test_list_needs_no_run():
    result = tfstiff("plot", "--list")
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines.keys() == FIGURES.keys()
    assert all(kind.redraws in lines[name] and kind.description in lines[name] for name, kind in FIGURES.items())
    assert "several runs" in lines["critical_length"]


def test_an_empty_run_fails_and_the_others_are_drawn(folder, tmp_path):
    empty = write_run(tmp_path / "empty", [], status="running").folder
    result = tfstiff("plot", empty, folder, "--figure", "curves", "--format", "png")
    assert result.exit_code == 2
    assert "empty holds no measurement" in result.stderr
    assert str(folder / "figures" / "curves.png") in result.stdout


def test_a_figure_that_does_not_apply_is_said_on_standard_error(tmp_path):
    folder = write_run(tmp_path / "regression", series(2, 0)).folder
    result = tfstiff("plot", folder, "--figure", "class_matrices", "--figure", "curves", "--format", "png")
    assert result.exit_code == 0
    assert "class_matrices is left out" in result.stderr
    assert "class_matrices" not in result.stdout
    assert tfstiff("plot", folder, "--figure", "class_matrices").exit_code == 2


def drawn(result):
    return [Path(line) for line in result.stdout.splitlines() if line.endswith(".png")]


def test_every_figure_of_one_run_is_drawn_by_default_and_what_does_not_apply_is_said(folder):
    result = tfstiff("plot", folder, "--format", "png")
    assert result.exit_code == 0
    assert [path.stem for path in drawn(result)] == ["class_matrices", "curves", "log_curves", "distance"]
    assert "layers is left out" in result.stderr
    assert "--space all" in result.stderr
    assert "class_groups is left out" in result.stderr
    assert "--groups" in result.stderr
    assert "learning_rate" not in result.stderr


def test_runs_are_compared_in_the_folder_that_holds_them_all(tmp_path):
    runs = [run.folder for run in sweep(tmp_path / "sweep", seeds=(0,))]
    figures = ("critical_length", "learning_rate", "domain_size")
    result = tfstiff("plot", *runs, *(f"--figure={name}" for name in figures), "--format", "png", "--loss", "1.0,0.5")
    assert result.exit_code == 0, result.stderr
    assert drawn(result) == [tmp_path / "sweep" / "figures" / f"{name}.png" for name in figures]
    assert "0.5," in (tmp_path / "sweep" / "figures" / "learning_rate.csv").read_text()
    one = tfstiff("plot", runs[0], "--figure", "critical_length", "--format", "png")
    assert drawn(one) == [runs[0] / "figures" / "critical_length.png"]


def test_several_runs_have_their_own_figures_and_the_common_ones(tmp_path):
    runs = [run.folder for run in sweep(tmp_path, seeds=(0,), number=2)]
    result = tfstiff("plot", *runs, "--out", tmp_path / "out", "--format", "svg")
    assert result.exit_code == 0
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.svg")}
    assert {"lr0.0001-s0/curves.svg", "lr0.001-s0/curves.svg", "critical_length.svg", "domain_size.svg"} <= found


def test_runs_that_cannot_be_compared_are_told_why(tmp_path, folder):
    other = write_run(tmp_path / "other", series(2, 2), spec={**SPEC, "arch": "fc", "learning_rate": 1e-3}).folder
    result = tfstiff("plot", folder, other, "--figure", "critical_length")
    assert result.exit_code == 2
    assert "The runs differ in arch (cnn, fc)" in result.stderr


def test_runs_that_cannot_be_compared_have_their_own_figures(tmp_path, folder):
    other = write_run(tmp_path / "other", series(2, 2), spec={**SPEC, "arch": "fc", "learning_rate": 1e-3}).folder
    result = tfstiff("plot", folder, other, "--format", "png", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "The figure critical_length is left out. The runs differ in arch (cnn, fc)" in result.stderr
    assert (tmp_path / "out" / "overlay.png").is_file()


def test_what_is_drawn_can_be_chosen(tmp_path, folder):
    other = write_run(tmp_path / "other", series(2, 2), spec={**SPEC, "arch": "fc"}).folder
    chosen = ("--pair-set", "val_val", "--metric", "sign", "--out", tmp_path / "out", "--format", "pdf")
    result = tfstiff(
        "plot", folder, other, "--figure", "overlay", "--figure", "class_matrices", "--stage", "0", *chosen
    )
    assert result.exit_code == 0, result.stderr
    header = (tmp_path / "out" / "overlay.csv").read_text().splitlines()[0]
    assert header == "run,step,epoch,stiffness_sign_within_val_val,low,high"
    rows = (tmp_path / "out" / "mine" / "class_matrices.csv").read_text().splitlines()[1:]
    assert {tuple(row.split(",")[index] for index in (0, 2)) for row in rows} == {("0", "val_val")}
    assert (tmp_path / "out" / "overlay.pdf").is_file()
    result = tfstiff("plot", folder, other, "--figure", "overlay", "--quantity", "train_loss", *chosen)
    assert "train_loss" in (tmp_path / "out" / "overlay.csv").read_text()
    assert tfstiff("plot", folder, "--stage", "first").exit_code == 2


def test_groups_are_given_by_name_file_or_text(tmp_path):
    folder = write_run(tmp_path / "mine", series(2, 4)).folder
    groups = "a=class 0,class 2;b=class 1,class 3"
    result = tfstiff("plot", folder, "--figure", "class_groups", "--groups", groups, "--format", "png")
    assert result.exit_code == 0, result.stderr
    header = (folder / "figures" / "class_groups.csv").read_text().splitlines()[0]
    assert header.endswith("class 0,class 2,class 1,class 3")
    assert tfstiff("plot", folder, "--groups", "nonsense").exit_code == 2
    assert tfstiff("plot", folder, "--figure", "class_groups", "--groups", "a=fish").exit_code == 2


def test_the_concept_needs_no_run(tmp_path):
    result = tfstiff("plot", "--figure", "concept", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["concept.csv", "concept.png", "concept.svg"]
    assert tfstiff("plot", "--figure", "concept", "--figure", "curves").exit_code == 2


def test_wrong_usage(folder, tmp_path):
    assert tfstiff("plot").exit_code == 2
    assert "Missing argument 'RUN...'" in tfstiff("plot").stderr
    assert tfstiff("plot", folder, "--figure", "pie").exit_code == 2
    assert tfstiff("plot", folder, "--loss", "low").exit_code == 2
    result = tfstiff("plot", tmp_path / "absent")
    assert result.exit_code == 2
    assert "is not a run folder" in result.stderr


@pytest.mark.parametrize("name", ["show", "plot"])
def test_help_keeps_the_examples_on_lines_of_their_own(name):
    lines = tfstiff(name, "--help").stdout.splitlines()
    assert f"    tfstiff {name} runs/mine" in lines
