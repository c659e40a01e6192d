import csv
import sys
from pathlib import Path

import pytest
import xarray as xr
from click.testing import CliRunner
from synthetic_runs import series, write_run
from tfstiff_cli import main

from tfstiff.export import EVENT_FILE


def export(*arguments):
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "mine", series(2, 2))


def test_by_default_the_tables_are_csv_in_the_run_and_their_paths_are_printed(run):
    result = export(run.folder)
    assert result.exit_code == 0
    printed = [Path(line) for line in result.stdout.splitlines()]
    assert set(printed) == set((run.folder / "export").iterdir())
    assert {path.suffix for path in printed} == {".csv"}
    assert {"measurements", "stiffness", "class_matrix", "distance", "critical_length"} <= {p.stem for p in printed}
    assert "influence" not in {path.stem for path in printed}


def test_every_format_at_once_and_chosen_tables(run):
    formats = [option for form in ("csv", "parquet", "netcdf") for option in ("--format", form)]
    result = export(run.folder, *formats, "--tensorboard", "--no-images", "--table", "influence")
    assert result.exit_code == 0
    names = [str(Path(line).relative_to(run.folder)) for line in result.stdout.splitlines()]
    tables = ["export/influence.csv", "export/columns.csv", "export/influence.parquet"]
    assert names == [*tables, "export/mine.nc", EVENT_FILE]
    with xr.open_dataset(run.folder / "export" / "mine.nc") as read:
        assert read.identical(run.to_xarray())


def test_tensorboard_alone_writes_nothing_else(run):
    result = export(run.folder, "--tensorboard", "--no-images")
    assert result.stdout.splitlines() == [str(run.folder / EVENT_FILE)]


def test_several_runs_come_together_in_one_folder(run, tmp_path):
    other = write_run(tmp_path / "other", series(3, 2))
    out = tmp_path / "out"
    options = ["--format", "csv", "--format", "netcdf", "--table", "stiffness", "--tensorboard", "--no-images"]
    result = export(run.folder, other.folder, *options, "--out", out)
    assert result.exit_code == 0
    with (out / "stiffness.csv").open(newline="") as file:
        assert {row["run"] for row in csv.DictReader(file)} == {"mine", "other"}
    expected = ["columns.csv", "mine", "mine.nc", "other", "other.nc", "stiffness.csv"]
    assert sorted(path.name for path in out.iterdir()) == expected
    assert (out / "other" / EVENT_FILE).exists()


def test_runs_of_one_name_cannot_come_together(run, tmp_path):
    write_run(tmp_path / "deep" / "mine", series(1, 2))
    result = export(run.folder, tmp_path / "deep" / "mine", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_damaged_record_and_an_empty_run_are_named_and_the_rest_is_exported(run, tmp_path):
    empty = write_run(tmp_path / "empty", [])
    result = export(empty.folder, run.folder, "--table", "stiffness")
    assert result.exit_code == 2
    assert "holds no measurement" in result.stderr
    assert len(result.stdout.splitlines()) == 2
    sorted((run.folder / "records").iterdir())[0].write_bytes(b"no record")
    result = export(run.folder, "--table", "stiffness")
    assert result.exit_code == 3
    assert "cannot be read" in result.stderr
    assert len(result.stdout.splitlines()) == 2


def test_a_missing_library_is_named_with_its_extra_and_what_can_be_is_written(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    result = export(run.folder, "--format", "csv", "--format", "netcdf", "--table", "stiffness")
    assert result.exit_code == 2
    assert "pip install 'tfstiff[export]'" in result.stderr
    assert (run.folder / "export" / "stiffness.csv").exists()


def test_tables_of_netcdf_alone_are_a_usage_error(run):
    assert export(run.folder, "--format", "netcdf", "--table", "stiffness").exit_code == 2
    assert export(run.folder, "--table", "nonsense").exit_code == 2
    assert export("nowhere").exit_code == 2
