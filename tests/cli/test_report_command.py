import pytest
from click.testing import CliRunner
from synthetic_runs import series, write_run
from tfstiff_cli import main


def tfstiff(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "mine", series(3, 2)).folder


def test_the_path_goes_to_standard_output(folder):
    result = tfstiff("report", folder)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{folder / 'report.html'}\n"
    assert (folder / "report.html").read_text("utf-8").startswith("<!doctype html>")


def test_several_runs_give_one_report(folder, tmp_path):
    other = write_run(tmp_path / "other", series(3, 2)).folder
    assert tfstiff("report", folder, other).stdout == f"{tmp_path / 'report.html'}\n"
    out = tmp_path / "new" / "both.html"
    assert tfstiff("report", folder, other, "--out", out).stdout == f"{out}\n"
    assert "Stiffness of 2 runs" in out.read_text("utf-8")


def test_what_commands_left_beside_runs_is_no_run(folder, tmp_path):
    """So that `runs/*` can be said again."""
    write_run(tmp_path / "other", series(3, 2))
    assert tfstiff("plot", *sorted(tmp_path.iterdir()), "--figure", "critical_length").exit_code == 0
    assert tfstiff("report", *sorted(tmp_path.iterdir())).exit_code == 0
    everything = sorted(tmp_path.iterdir())
    assert [path.name for path in everything] == ["figures", "mine", "other", "report.html"]
    for command in ("plot", "report", "show", "export", "compare"):
        result = tfstiff(command, *everything, *(["--figure", "critical_length"] if command == "plot" else []))
        assert (command, result.exit_code) == (command, 0)
    assert tfstiff("show", *everything).stdout == tfstiff("show", tmp_path / "mine", tmp_path / "other").stdout
    result = tfstiff("show", tmp_path / "figures")
    assert result.exit_code == 2
    assert "is not a run folder" in result.stderr


def test_a_static_report_has_no_script(tmp_path):
    folder = write_run(tmp_path / "plain", series(1, 0)).folder
    assert tfstiff("report", folder, "--static").exit_code == 0
    assert "<script" not in (folder / "report.html").read_text("utf-8")


def test_damaged_records_are_told_and_the_rest_is_reported(folder):
    sorted((folder / "records").iterdir())[0].write_bytes(b"")
    result = tfstiff("report", folder)
    assert result.exit_code == 0
    assert "cannot be read" in result.stderr


def test_wrong_usage(folder, tmp_path):
    assert tfstiff("report").exit_code == 2
    assert tfstiff("report", tmp_path / "absent").exit_code == 2
    assert tfstiff("report", folder, "--out", tmp_path).exit_code == 2
    empty = write_run(tmp_path / "empty", []).folder
    result = tfstiff("report", empty)
    assert result.exit_code == 2
    assert "nothing to report" in result.stderr
    (tmp_path / "file").write_text("")
    assert "cannot be written" in tfstiff("report", folder, "--out", tmp_path / "file" / "r.html").stderr
