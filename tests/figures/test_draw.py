import csv

import matplotlib
import pytest
from synthetic_runs import series
from synthetic_sweeps import sweep

from tfstiff.errors import InvalidInput
from tfstiff.figures import DEFAULT_FIGURES, FIGURES, draw


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_default_figure_is_saved_with_its_numbers(make_run):
    run = make_run(series(3, 2))
    paths = draw(run)
    names = {f"{name}.{suffix}" for name in DEFAULT_FIGURES for suffix in ("png", "svg", "csv")}
    assert {path.name for path in paths} == names
    assert sorted(paths) == sorted((run.folder / "figures").iterdir())
    for path in paths:
        head = path.read_bytes()[:200]
        assert {".png": b"\x89PNG", ".svg": b"<svg", ".csv": b"step,epoch"}[path.suffix] in head or b"<?xml" in head


def test_the_saved_numbers_are_the_records(make_run):
    run = make_run(series(3, 2))
    draw(run, ["class_matrices"], formats=["png"])
    rows = read(run.folder / "figures" / "class_matrices.csv")
    row = next(
        r
        for r in rows
        if (r["step"], r["pair_set"], r["metric"], r["class"], r["quantity"])
        == ("8", "val_val", "sign", "class 1", "stiffness")
    )
    assert float(row["class 0"]) == run.measurements[1]["val_val"].sign.matrix[1, 0]


def test_equal_runs_give_equal_files(make_run, tmp_path):
    run = make_run(series(2, 3, holes=True))
    for first, second in zip(draw(run), draw(run, folder=tmp_path / "again"), strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_names_folder_and_formats_are_obeyed(make_run, tmp_path):
    run = make_run()
    paths = draw(run, ["curves"], tmp_path / "deep" / "down", formats=["svg"])
    assert [path.name for path in paths] == ["curves.svg", "curves.csv"]
    assert paths[0].parent == tmp_path / "deep" / "down"
    assert not (run.folder / "figures").exists()


def test_what_does_not_apply_is_left_out_and_said(make_run):
    run = make_run(series(3, 0))
    said = []
    names = {path.stem for path in draw(run, formats=["png"], say=said.append)}
    assert names == {"curves", "log_curves", "distance"}
    assert len(said) == 1
    assert "class_matrices is left out" in said[0]
    with pytest.warns(UserWarning, match="class_matrices is left out"):
        assert draw(run, ["class_matrices"]) == []


def test_an_empty_run_is_refused(make_run):
    with pytest.raises(InvalidInput, match="no measurement"):
        draw(make_run([]))


@pytest.mark.parametrize("options", [{"names": ["curve"]}, {"formats": ["jpeg"]}])
def test_unknown_names_are_refused_with_the_known_ones(make_run, options):
    with pytest.raises(InvalidInput, match=r"curves|png, svg"):
        draw(make_run(), **options)


def test_a_folder_that_cannot_be_written_is_a_typed_error(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be saved"):
        draw(make_run(), ["curves"], tmp_path / "file" / "below")


def test_global_settings_neither_matter_nor_change(make_run, tmp_path):
    run = make_run()
    plain = draw(run, ["curves"], formats=["svg"])[0].read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "yellow"}):
        before = dict(matplotlib.rcParams)
        assert draw(run, ["curves"], tmp_path / "other", formats=["svg"])[0].read_bytes() == plain
        assert dict(matplotlib.rcParams) == before


def test_figures_take_a_run_several_or_none(make_run, tmp_path):
    run = make_run()
    assert draw(None, ["concept"], tmp_path / "out", formats=["svg"])[0].read_bytes().count(b"<path") > 10
    assert draw([run], ["curves"], formats=["png"])[0] == run.folder / "figures" / "curves.png"
    with pytest.raises(InvalidInput, match="is not of this many runs"):
        draw([run, run], ["curves"])
    with pytest.raises(InvalidInput, match="is not of this many runs"):
        draw(None, ["critical_length"])


def test_figures_of_several_runs_go_to_the_folder_that_holds_them(tmp_path):
    runs = sweep(tmp_path / "sweep", seeds=(0,), number=2)
    paths = draw(runs, ["critical_length"], formats=["png"])
    assert paths[0] == tmp_path / "sweep" / "figures" / "critical_length.png"


def test_options_reach_the_figures_that_have_them(make_run):
    run = make_run(series(2, 4))
    grouping = {"a": ("class 0", "class 2"), "b": ("class 1",)}
    paths = draw(run, ["class_groups", "curves"], formats=["png"], options={"grouping": grouping})
    assert read(paths[1])[1]["group"] == "a"
    with pytest.raises(InvalidInput, match="no option"):
        draw(run, ["curves"], options={"colour": "red"})


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_what_it_redraws(name):
    kind = FIGURES[name]
    assert kind.redraws.startswith(("v1 ", "ICLR ")) or not kind.redraws  # which no paper has
    assert kind.description.endswith(".")
    assert kind.takes in ("run", "runs", "nothing")


def test_what_a_figure_takes_and_its_options_are_those_of_its_functions():
    found = {name: (kind.takes, kind.options) for name, kind in FIGURES.items()}
    assert found["curves"] == ("run", ())
    assert found["class_groups"] == ("run", ("grouping",))
    assert found["domain_size"] == ("runs", ("levels", "extrapolate"))
    assert found["critical_length"] == ("runs", ("extrapolate",))
    assert found["concept"] == ("nothing", ())
