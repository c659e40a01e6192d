"""Tables on narrow terminals, and what is written where a sign cannot be."""

import io
import os
import subprocess
import sys
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner
from rich.table import Table
from synthetic_runs import measurement, series, write_run
from tfstiff_cli import main
from tfstiff_cli.encoding import writable, write_in_any_encoding
from tfstiff_cli.tables import fitting, plain_table, print_measurements, print_whole

from tfstiff.records.words import BENT, LENGTH_STATUSES
from tfstiff.stiffness.statistics import STATISTICS


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("narrow") / "mine", series(4, 3))


def printed(monkeypatch, columns, write):
    monkeypatch.setenv("COLUMNS", str(columns))
    file = io.StringIO()
    write(file)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [80, 60, 40, 20])
def test_a_table_fits_and_nothing_is_lost(monkeypatch, columns, run):
    lines = printed(monkeypatch, columns, lambda file: print_measurements(run.measurements, file=file))
    rows = [line for line in lines if not line.startswith(">")]
    assert max(map(len, rows)) <= columns
    for m in run.measurements:
        found = m["train_val"]
        for number in (found.sign.within, found.cosine.between, found.critical_length.value, m.validation.accuracy):
            assert any(f"{number:.3f}" in row and row.split()[0] == f"{m.epoch:.3g}" for row in rows)


def test_the_steps_stay_where_the_epochs_are_not_known(monkeypatch):
    unknown = [measurement(step, float("nan"), 0.5) for step in (0, 30)]
    lines = printed(monkeypatch, 80, lambda file: print_measurements(unknown, file=file))
    assert any(line.split()[:2] == ["–", "30"] for line in lines)


def test_what_fits_is_one_table_and_what_does_not_several_with_the_first_column():
    table = plain_table("name", "a", "b", "c")
    table.add_row("first", "1" * 10, "2" * 10, "3" * 10)
    assert fitting(table, 80) == [table]
    (close,) = fitting(table, 38)
    assert [column.header for column in close.columns] == ["name", "a", "b", "c"]
    parts = fitting(table, 27)
    assert [[column.header for column in part.columns] for part in parts] == [["name", "a", "b"], ["name", "c"]]
    assert [list(part.columns[0].cells) for part in parts] == [["first"], ["first"]]
    assert len(fitting(table, 3)) == 3  # narrower than a cell: a column each


def test_an_empty_table_is_printed(monkeypatch):
    assert printed(monkeypatch, 10, lambda file: print_whole(Table(), ["a note"], file))[-1] == "a note"


def test_show_fits_eighty_columns_where_the_width_is_not_known(tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    *others, last = series(4, 3)
    found = {name: 1234.5678e-9 for statistic in STATISTICS for name, _ in statistic.columns()}
    sets = {name: replace(last["train_val"], statistics=found) for name in ("train_train", "train_val", "val_val")}
    run = write_run(tmp_path / "run", [*others, replace(last, pair_sets=sets)])
    lines = CliRunner().invoke(main, ["show", str(run.folder)]).stdout.splitlines()
    assert any(line.startswith("mean squared norm") for line in lines)
    assert max(len(line) for line in lines if not line.startswith("run:")) <= 80


def test_marks_are_explained_within_eighty_columns():
    assert max(len(f"{one.mark:<2} {one.words}") for one in (*LENGTH_STATUSES.values(), BENT)) <= 80


ENCODINGS = ["cp1252", "ascii", "latin-1", "cp437", "shift_jis"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_sign_that_cannot_be_written_has_a_substitute(encoding, run):
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", file)
        patch.setenv("COLUMNS", "80")
        write_in_any_encoding()
        main(["show", str(run.folder)], standalone_mode=False)
        click.echo("±–ξ\u2603")
        sys.stdout.flush()
    text = raw.getvalue().decode(encoding)
    assert text.splitlines()[-1] == writable("±–ξ\u2603", encoding)
    rows = [line for line in text.splitlines() if line.startswith(" ")]
    assert max(map(len, rows)) <= 80
    found = run.measurements[0]["train_val"].sign.within
    assert f"{found:.3f}{writable('±', encoding)}.039" in text
    assert f"{writable('ξ', encoding)} lies beyond" in text


def test_substitutes():
    assert writable("±–ξ…\u2603", "ascii") == "+/--xi...?"
    assert writable("±–ξ…\u2603", "cp1252") == "±–xi…?"
    assert writable("±–ξ…\u2603", "utf-8") == writable("±–ξ…\u2603", None) == "±–ξ…\u2603"


def test_names_are_not_markup(monkeypatch):
    table = plain_table("name", "a")
    table.add_row("[red]x[/blue]", "1")
    assert printed(monkeypatch, 80, lambda file: print_whole(table, ["[b]"], file))[1:] == ["[red]x[/blue]  1", "[b]"]


def test_the_backend_of_a_notebook_is_no_matter(run, tmp_path):
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline", "COLUMNS": "80"}
    environment |= {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "tfstiff", "plot", str(run.folder), "--figure", "curves", "--out", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".svg", ".csv"}


def test_a_comparison_that_does_not_fit_has_its_title_above(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(main, ["compare", str(run.folder), "--epoch", "0,1,20"]).stdout.splitlines()
    place = lines.index("sign between classes, train–validation pairs")
    assert lines[place + 1].split()[:2] == ["seeds", "epoch"]
    assert lines[place + 2].startswith("all runs")
    tables = [line for line in lines if line.startswith(("all runs", " ")) or "epoch" in line]
    assert max(map(len, tables)) <= 80


def test_the_list_of_data_sets_fits(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = CliRunner().invoke(main, ["data", "list"]).stdout.splitlines()
    assert lines[0].split() == ["NAME", "HERE", "TRAIN", "VALIDATION", "SHAPE", "CLASSES"]
    assert any(line.startswith("spherical_harmonics ") and "Points on a sphere" in line for line in lines)
    assert max(map(len, lines)) <= 80
