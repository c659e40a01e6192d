import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))
from synthetic_runs import series, write_run
from tfstiff_cli import main


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
    assert tfstiff("plot", folder, clash, "--out", out).exit_code == 2


def test_list_needs_no_run():
    result = tfstiff("plot", "--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["class_matrices", "curves", "distance"]


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


def test_wrong_usage(folder, tmp_path):
    assert tfstiff("plot").exit_code == 2
    assert tfstiff("plot", folder, "--figure", "pie").exit_code == 2
    result = tfstiff("plot", tmp_path / "absent")
    assert result.exit_code == 2
    assert "is not a run folder" in result.stderr


def test_show_and_plot_import_neither_tensorflow_nor_pyplot(folder):
    program = (
        "import sys; from click.testing import CliRunner; from tfstiff_cli import main\n"
        f"for arguments in (['show', {str(folder)!r}], ['plot', {str(folder)!r}, '--format', 'png']):\n"
        "    result = CliRunner().invoke(main, arguments)\n"
        "    assert result.exit_code == 0, result.output\n"
        "sys.exit(', '.join({'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules)) or 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["show", "plot"])
def test_help_keeps_the_examples_on_lines_of_their_own(name):
    lines = tfstiff(name, "--help").stdout.splitlines()
    assert f"    tfstiff {name} runs/mine" in lines
