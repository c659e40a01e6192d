import csv
import dataclasses
import math
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from arbitrary import measurements as arbitrary_measurements
from hypothesis import given, settings
from rich_records import rich
from synthetic_runs import measurement, series, write_run

from tfstiff.errors import InvalidInput
from tfstiff.export import DEFAULT_TABLES, TIDY_TABLES, write_tidy
from tfstiff.export.frames import read_frames
from tfstiff.export.schema import TABLES, class_labels
from tfstiff.records import METRICS


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def number(text):
    return math.nan if text == "" else float(text)


def same(found, expected):
    return found == expected or (math.isnan(found) and math.isnan(expected))


def only(rows, **keys):
    found = [row for row in rows if all(row[key] == str(value) for key, value in keys.items())]
    assert len(found) == 1, (len(found), keys)
    return found[0]


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "mine", series(3, 4, holes=True))


def test_csv_has_every_class_pair_bin_and_mean_with_all_digits(run, tmp_path):
    paths = {path.stem: path for path in write_tidy([run], tmp_path / "out")}
    matrix, distance = rows_of(paths["class_matrix"]), rows_of(paths["distance"])
    stiffness, lengths = rows_of(paths["stiffness"]), rows_of(paths["critical_length"])
    assert len(matrix) == 3 * 3 * 2 * 4 * 4
    assert len(distance) == 3 * 3 * 2 * 20
    for m in run.measurements:
        for pair_set, found in m.pair_sets.items():
            place = {"run": "mine", "step": m.step, "epoch": m.epoch, "layer": "(all)", "pair_set": pair_set}
            for metric in METRICS:
                by_class = getattr(found, metric)
                for (i, j), value in np.ndenumerate(by_class.matrix):
                    pair = {"class_a": m.class_names[i], "class_b": m.class_names[j]}
                    row = only(matrix, **place, metric=metric, **pair)
                    assert same(number(row["value"]), value)
                    assert same(number(row["se"]), by_class.matrix_se[i, j])
                    assert int(row["num_pairs"]) == found.pair_counts[i, j]
                for quantity in ("within", "between", "contrast", "within_pairs"):
                    row = only(stiffness, **place, metric=metric, quantity=quantity)
                    assert same(number(row["value"]), getattr(by_class, quantity))
                    assert same(number(row["se"]), getattr(by_class, f"{quantity}_se"))
                row = only(stiffness, **place, metric=metric, quantity="mean")
                assert same(number(row["value"]), getattr(found, f"mean_{metric}"))
            profile = found.distance_profile
            for index in range(20):
                by_metric = {name: only(distance, **place, metric=name, bin=index) for name in METRICS}
                assert same(number(by_metric["cosine"]["value"]), profile.mean[index])
                assert same(number(by_metric["sign"]["value"]), profile.mean_sign[index])
                for row in by_metric.values():
                    assert (float(row["low"]), float(row["high"])) == tuple(profile.edges[index : index + 2])
                    assert int(row["num_pairs"]) == profile.count[index]
            row = only(lengths, **place, space="input", fit="all")
            length = found.critical_length
            assert same(number(row["value"]), length.value)
            assert (row["status"], row["interval"]) == (length.status, length.interval)
            assert float(row["covariance"]) == length.covariance[0, 1]


def test_parquet_holds_what_csv_holds_and_the_units(run, tmp_path):
    csv_paths = write_tidy([run], tmp_path / "csv", "csv", TIDY_TABLES)
    parquet = {path.stem: path for path in write_tidy([run], tmp_path / "parquet", "parquet", TIDY_TABLES)}
    assert {path.stem for path in csv_paths} == {*parquet, "columns"}
    for path in csv_paths:
        if path.stem == "columns":
            continue
        table = pq.read_table(parquet[path.stem])
        rows = rows_of(path)
        assert table.column_names == list(rows[0])
        for row, expected in zip(table.to_pylist(), rows, strict=True):
            for name, value in row.items():
                text = expected[name]
                assert same(number(text), value) if isinstance(value, float) else text == str(value), (path.stem, name)
    field = pq.read_schema(parquet["distance"]).field("low")
    assert field.metadata[b"units"] == b"distance"


def test_the_dictionary_describes_every_column(run, tmp_path):
    paths = {path.stem: path for path in write_tidy([run], tmp_path)}
    described = {(row["table"], row["column"]) for row in rows_of(paths.pop("columns"))}
    assert described == {(name, column) for name, path in paths.items() for column in rows_of(path)[0]}


@given(arbitrary_measurements())
@settings(max_examples=15, deadline=None)
def test_any_measurement_becomes_frames_with_a_row_a_combination_of_keys(m):
    for name, frame in read_frames([m]).items():
        keys = list(TABLES[name].keys)
        assert not frame.duplicated(keys).any()
        assert {*keys} < {*frame} <= {*keys, *(column.name for column in TABLES[name].columns)}


def test_scores_influence_and_statistics_are_of_the_right_half_and_pair_set():
    rich_measurement = rich()
    probe = {"train_ids": np.array(["a", "b"]), "validation_ids": np.array(["c", "d", "e"])}
    frames = read_frames([rich_measurement], probe)
    influence = frames["influence"].query("layer == '(all)'")

    def of(pair_set, metric, half):
        chosen = (influence.pair_set == pair_set) & (influence.metric == metric) & (influence.half == half)
        return influence[chosen].within

    expected = rich_measurement["train_val"].cosine.within_influence
    np.testing.assert_array_equal(of("train_val", "cosine", "train"), expected[:2])
    np.testing.assert_array_equal(of("train_val", "cosine", "validation"), expected[2:])
    assert of("train_train", "sign", "validation").empty
    assert {*frames["statistics"].pair_set} == {"train_train", "val_val"}
    assert frames["probe"][["half", "example", "id"]].to_numpy().tolist() == [
        ["train", 0, "a"], ["train", 1, "b"], *(["validation", i, name] for i, name in enumerate("cde"))
    ]  # fmt: skip
    scores = frames["scores"]
    np.testing.assert_array_equal(scores[scores.half == "validation"].loss, rich_measurement.validation.scores.loss)


@pytest.mark.parametrize("name", ["=1+1", "+a", "-a", "@sum", "\t=1"])
def test_texts_that_a_spreadsheet_would_run_are_made_harmless_in_csv_alone(tmp_path, name):
    one = dataclasses.replace(measurement(7, 1.0, 0.5, 2), class_names=(name, "b"))
    run = write_run(tmp_path / "mine", [one])
    paths = write_tidy([run], tmp_path / "csv", tables=["class_matrix"])
    rows = rows_of(paths[0])
    assert {row["class_a"] for row in rows} == {f"'{name}", "b"}
    assert any(row["value"].startswith("-") for row in rows)
    (path,) = write_tidy([run], tmp_path / "parquet", "parquet", ["class_matrix"])
    assert {*pq.read_table(path)["class_a"].to_pylist()} == {name, "b"}
    assert run.to_xarray().class_a.values.tolist() == [name, "b"]


def test_a_data_frame_has_a_row_a_measurement_and_pair_set(tmp_path):
    run = write_run(tmp_path / "mine", [rich(5), rich(40, seed=2)])
    frame = run.to_dataframe()
    assert len(frame) == 6
    for m in run.measurements:
        for pair_set, found in m.pair_sets.items():
            (row,) = frame[(frame.step == m.step) & (frame.pair_set == pair_set)].to_dict("records")
            assert row["cosine_within"] == found.cosine.within
            assert row["sign_between_se"] == found.sign.between_se
            assert row["cosine_block_contrast"] == found.cosine.blocks.contrast
            assert (row["critical_length"], row["critical_length_status"]) == (
                found.critical_length.value, found.critical_length.status
            )  # fmt: skip
            assert row["validation_loss"] == m.validation.loss
            assert same(row["noise_scale"], found.statistics.get("noise_scale", math.nan))


def test_several_runs_share_tables_told_apart_by_name(tmp_path):
    runs = [write_run(tmp_path / name, series(2, 2)) for name in ("first", "second")]
    runs[1] = write_run(tmp_path / "third", [dataclasses.replace(measurement(7, 1.0, 0.5, 0), class_names=())])
    path = next(path for path in write_tidy(runs, tmp_path / "out") if path.stem == "stiffness")
    rows = rows_of(path)
    assert {row["run"] for row in rows} == {"first", "third"}
    assert {row["quantity"] for row in rows if row["run"] == "third"} == {"mean"}
    with pytest.raises(InvalidInput, match="names of their own"):
        write_tidy([runs[0], runs[0]], tmp_path / "out")


@pytest.mark.parametrize(("form", "tables"), [("xml", DEFAULT_TABLES), ("csv", ["nonsense"])])
def test_unknown_names_are_refused_before_anything_is_written(run, tmp_path, form, tables):
    with pytest.raises(InvalidInput, match="There is no"):
        write_tidy([run], tmp_path / "out", form, tables)
    assert not (tmp_path / "out").exists()


def test_parquet_without_its_library_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"tfstiff\[export\]"):
        write_tidy([run], tmp_path / "out", "parquet")


@pytest.mark.parametrize(
    ("names", "count", "expected"),
    [(("a", "b"), 2, ["a", "b"]), (("a", "a"), 2, ["0", "1"]), ((), 3, ["0", "1", "2"])],
)
def test_classes_without_names_of_their_own_are_numbered(names, count, expected):
    assert class_labels(names, count) == expected
