import csv

import matplotlib
import pytest
from synthetic_runs import series

from tfstiff.errors import InvalidInput
from tfstiff.figures import FIGURES, draw


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_figure_is_saved_with_its_numbers(make_run):
    run = make_run(series(3, 2))
    paths = draw(run)
    assert {path.name for path in paths} == {f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg", "csv")}
    assert sorted(paths) == sorted((run.folder / "figures").iterdir())
    for path in paths:
        head = path.read_bytes()[:200]
        assert {".png": b"\x89PNG", ".svg": b"<svg", ".csv": b"step,epoch"}[path.suffix] in head or b"<?xml" in head


def test_the_saved_numbers_are_the_records(make_run):
    run = make_run(series(3, 2))
    draw(run, ["class_matrices"], formats=["png"])
    rows = read(run.folder / "figures" / "class_matrices.csv")
    row = next(
        r for r in rows if (r["step"], r["pair_set"], r["metric"], r["class"]) == ("8", "val_val", "sign", "class 1")
    )
    assert float(row["class 0"]) == run.measurements[1]["val_val"].sign.matrix[1, 0]


def test_equal_runs_give_equal_files(make_run, tmp_path):
    run = make_run(series(1, 3, holes=True))
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
    assert names == {"curves", "distance"}
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
