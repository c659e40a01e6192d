import dataclasses
import json
import math
import re
import sys
from urllib.parse import unquote

import numpy as np
import pytest
import xarray as xr
from made_up import directions
from rich_records import rich
from synthetic_runs import measurement, series, write_run

from tfstiff.errors import InvalidInput
from tfstiff.export import write_netcdf
from tfstiff.export.frames import measurement_frame, read_frames
from tfstiff.records.record import _members

HALVES = {"train": "train", "val": "validation"}
FOLLOWS = re.compile(r"num_empty_cells$|^class_names$|^reservations$")  # from others; a coordinate; an attribute
COVARIANCE = {"intercept_variance": (0, 0), "covariance": (0, 1), "slope_variance": (1, 1)}


class Selected:
    """A data set at some labels; each selection is made once, for there are hundreds of members to a place."""

    def __init__(self, ds):
        self.ds = ds
        self.known = {}

    def sel(self, **labels):
        key = tuple(sorted(labels.items()))
        if key not in self.known:
            self.known[key] = Selected(self.ds.sel(labels))
        return self.known[key]

    def __getitem__(self, name):
        return self.ds[name]


def of_pair_set(ds, name, pair_set, sizes):
    """The variables of a data set, already at one measurement, layer and pair set, that hold a record's member."""
    if found := re.fullmatch(r"(sign|cosine|sign_disagreement)/(matrix|matrix_se|matrix_df)", name):
        return ds.sel(metric=found[1])[found[2].replace("matrix", "class_matrix")]
    if found := re.fullmatch(r"(sign|cosine|sign_disagreement)/(blocks/)?(\w+)_influence", name):
        kind = "block_contrast" if found[2] else found[3]
        values = ds.sel(metric=found[1])[f"influence_{kind}"]
        halves = dict.fromkeys(HALVES[half] for half in pair_set.split("_"))
        return np.concatenate([values.sel(half=half)[: sizes[half]] for half in halves])
    if found := re.fullmatch(r"(sign|cosine|sign_disagreement)/blocks/(p_value|num_groupings|is_exact)", name):
        return ds.sel(metric=found[1])[f"group_permutation_{found[2]}"]
    if found := re.fullmatch(r"(sign|cosine|sign_disagreement)/(blocks/)?(\w+?)(_se|_df)?", name):
        quantity = "block_contrast" if found[2] and found[3] == "contrast" else found[3]
        return ds.sel(metric=found[1], quantity=quantity)[f"stiffness{found[4] or ''}"]
    if found := re.fullmatch(r"mean_(sign|cosine|sign_disagreement)(_se)?", name):
        return ds.sel(metric=found[1], quantity="mean")[f"stiffness{found[2] or ''}"]
    if found := re.fullmatch(r"spaces/([^/]+)/(\w+)/(\w+)", name):
        return of_space(ds.sel(space=unquote(found[1])), found[2], found[3])
    if name == "class_mean_gram":
        return ds[name]
    if name == "pair_counts":
        return ds["class_matrix_num_pairs"]
    return ds[name.removeprefix("statistics/") if "/" in name else f"pair_sets_{name}"]


def of_space(ds, part, name):
    if part == "profile":
        if name == "edges":
            low, high = (ds[f"distance_{side}"].dropna("bin") for side in ("low", "high"))
            return np.append(low, high[-1])
        metric = "sign" if name.startswith("mean_sign") else "cosine"
        if name.startswith("mean"):
            suffix = "_se" if name.endswith("_se") else ""
            return ds.sel(metric=metric)[f"distance_stiffness{suffix}"]
        return ds[{"count": "distance_num_pairs"}.get(name, f"distance_{name}")]
    if part == "by_class":
        prefix = "class_critical_length"
    else:
        prefix = "critical_length"
        ds = ds.sel(fit="all" if part == "critical_length" else "fixed_effects")
    if name == "covariance":
        return {place: ds[f"{prefix}_{key}"] for key, place in COVARIANCE.items()}
    return ds[prefix if name == "value" else f"{prefix}_{name}"]


def stored(ds, name, sizes):
    """What the data set of one measurement holds of a member of its record."""
    if found := re.fullmatch(r"(?:layers/([^/]+)|pair_sets|plain)/(\w+)/(.+)", name):
        of_all = "(plain)" if name.startswith("plain") else "(all)"
        place = {"layer": unquote(found[1]) if found[1] else of_all, "pair_set": found[2]}
        return of_pair_set(ds.sel(**place), found[3], found[2], sizes)
    if found := re.fullmatch(r"(train|validation)/scores/stiffness/(\w+)/(\w+)", name):
        at = ds.sel(half=found[1], other_half=found[2])
        if found[3] == "counts":
            return at["example_stiffness_num_others"][: sizes[found[1]]]
        metric, _, end = found[3].partition("_")
        return at.sel(metric=metric)[f"example_stiffness{'_se' * bool(end)}"][: sizes[found[1]]]
    if found := re.fullmatch(r"(train|validation)/scores/classes", name):
        return ds.sel(half=found[1])["example_label"][: sizes[found[1]]]
    if found := re.fullmatch(r"(train|validation)/scores/(\w+)", name):
        return ds.sel(half=found[1])[f"example_{found[2]}"][: sizes[found[1]]]
    if found := re.fullmatch(r"groups/(.+)", name):
        return ds["class_a"].values[ds["class_group"].values == unquote(found[1])]
    return ds[name.replace("/", "_")]


def assert_stored(value, expected, name):
    if isinstance(value, dict):
        for place, part in value.items():
            assert_stored(part, expected[(..., *place)], f"{name}{place}")
        return
    found, expected = np.asarray(value), np.asarray(expected)
    if found.dtype.kind == "O":
        found = found.astype(str)
    if found.ndim and found.shape != expected.shape:  # bins that only another space has
        assert np.isnan(found[len(expected) :]).all(), name
        found = found[: len(expected)]
    np.testing.assert_array_equal(found, expected, err_msg=name)


def assert_whole(ds, measurements):
    for index, m in enumerate(measurements):
        sizes = {"train": m.train.num_examples, "validation": m.validation.num_examples}
        at = Selected(ds.isel(measurement=index).load())
        names = [name for name, _ in _members(m)]
        assert len(names) > 90
        for name, value in _members(m):
            if not FOLLOWS.search(name):
                assert_stored(stored(at, name, sizes), value, name)
    assert ds.attrs.get("reservations", "") == "".join(text for m in measurements[:1] for text in m.reservations)


@pytest.fixture
def rich_run(tmp_path):
    return write_run(tmp_path / "mine", [rich(5), rich(40, seed=2)])


def test_every_number_and_text_of_the_records_is_in_the_data_set(rich_run):
    assert_whole(rich_run.to_xarray(), rich_run.measurements)


def test_what_was_measured_with_a_preconditioner(tmp_path):
    m = rich(5)
    pair_sets = {
        name: dataclasses.replace(
            found, sign_disagreement=found.cosine, mean_sign_disagreement=0.25, mean_sign_disagreement_se=0.01
        )
        for name, found in m.pair_sets.items()
    }
    m = dataclasses.replace(m, preconditioner="optimizer", weights="head", pair_sets=pair_sets, plain=rich(7).pair_sets)
    run = write_run(tmp_path / "mine", [m])
    ds = run.to_xarray()
    assert_whole(ds, run.measurements)
    assert (str(ds.preconditioner[0].item()), str(ds.weights[0].item())) == ("optimizer", "head")
    assert "(plain)" in ds.layer


def test_what_steps_along_directions_do(tmp_path):
    m = dataclasses.replace(rich(5), directions=directions(3))
    run = write_run(tmp_path / "mine", [m])
    ds = run.to_xarray().isel(measurement=0)
    assert dict(zip(ds.direction.values, ds.directions_status.values, strict=True)) == {
        "update": "ok",
        "class_means": "ok",
        "next_update": "zero",
    }
    for name, steps in (("update", ["(one)"]), ("class_means", list(m.class_names))):
        of = ds.sel(direction=name, step_on=steps)
        np.testing.assert_array_equal(of.step_effects_length, m.directions[name].lengths)
        for half in ("train", "validation"):
            effects = getattr(m.directions[name], half)
            for column in ("num_examples", "change", "change_se", "cosine", "cosine_se", "helped", "helped_se"):
                found = of[f"step_effects_{column}"].sel(half=half, class_a=list(m.class_names))
                np.testing.assert_array_equal(found, getattr(effects, column))
    (row, *_) = read_frames([m])["step_effects"].to_dict("records")
    assert (row["direction"], row["half"], row["change"]) == (
        "update",
        "train",
        m.directions["update"].train.change[0, 0],
    )
    table = measurement_frame([m])
    assert (table["helped_by_update_validation"] == m.directions["update"].validation.mean_helped).all()
    with xr.open_dataset(write_netcdf(run, tmp_path / "mine.nc")) as read:
        assert read.identical(run.to_xarray())


def test_netcdf_reads_back_the_same_with_every_number(rich_run, tmp_path):
    path = write_netcdf(rich_run, tmp_path / "deep" / "mine.nc")
    with xr.open_dataset(path) as read:
        assert read.identical(rich_run.to_xarray())
        assert_whole(read, rich_run.measurements)


def test_netcdf_is_plain_enough_for_another_reader(rich_run, tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(write_netcdf(rich_run, tmp_path / "mine.nc")) as file:
        matrix = file["class_matrix"][-1, 0, 1, 1]
        assert [name.decode() for name in file["class_a"][:]] == list(rich_run.measurements[0].class_names)
    np.testing.assert_array_equal(matrix, rich_run.measurements[-1]["train_val"].cosine.matrix)


def test_dimensions_and_coordinates_have_the_usual_names(rich_run):
    ds = rich_run.to_xarray()
    assert ds.class_matrix.dims == ("measurement", "layer", "pair_set", "metric", "class_a", "class_b")
    assert ds.distance_stiffness.dims == ("measurement", "layer", "pair_set", "space", "metric", "bin")
    assert list(ds.layer) == ["(all)", "model/dense", "model/dense_1"]
    assert list(ds.space) == ["input", "model/dense"]
    assert list(ds.step) == [5, 40]
    assert json.loads(ds.attrs["config"]) == rich_run.spec


def test_every_variable_says_what_it_is_and_numbers_their_unit(rich_run):
    ds = rich_run.to_xarray()
    for name, variable in ds.variables.items():
        assert variable.attrs["long_name"], name
        if name not in ds.dims and variable.dtype.kind in "if":
            assert variable.attrs["units"], name


def test_a_pair_set_or_layer_that_was_not_measured_everywhere_is_nan_there(tmp_path):
    first, second = rich(1), rich(2)
    second = dataclasses.replace(second, pair_sets={"val_val": second["val_val"]}, layers={})
    ds = write_run(tmp_path / "mine", [first, second]).to_xarray()
    assert_whole(ds, [first, second])
    assert np.isnan(ds.class_matrix.sel(pair_set="train_val", layer="(all)").isel(measurement=1)).all()
    assert np.isnan(ds.stiffness.sel(layer="model/dense").isel(measurement=1)).all()
    status = ds.critical_length_status.sel(pair_set="train_val", layer="(all)", space="input", fit="all")
    assert status.values.tolist() == [first["train_val"].critical_length.status, ""]


@pytest.mark.parametrize("measurements", [series(1, 2), series(2, 0), series(2, 3, holes=True)])
def test_one_record_regression_and_empty_cells_are_whole(tmp_path, measurements):
    assert_whole(write_run(tmp_path / "mine", measurements).to_xarray(), measurements)


def test_whole_numbers_stay_whole_where_none_is_missing(rich_run):
    ds = rich_run.to_xarray()
    assert ds.train_num_examples.dtype == np.int64
    assert ds.influence_within.dtype == np.float32
    assert ds.distance_num_pairs.dtype == np.float64  # the spaces have 20 and 7 bins


def test_a_run_without_a_measurement_is_an_empty_data_set(tmp_path):
    assert write_run(tmp_path / "mine", []).to_xarray().sizes["measurement"] == 0


def test_probe_ids_and_classes_stand_beside_the_scores(rich_run):
    np.savez(
        rich_run.folder / "probe.npz",
        train_ids=np.array(["a", "b"]),
        validation_ids=np.array(["c", "d", "e"]),
        train_classes=np.array([0, 2]),
        validation_classes=np.array([1, 1, 0]),
    )
    ds = rich_run.to_xarray()
    assert ds.example_id.sel(half="validation").values.tolist() == ["c", "d", "e"]
    assert ds.example_class.sel(half="train").values.tolist()[:2] == [0, 2]
    assert math.isnan(ds.example_class.sel(half="train").values[2])


def test_without_its_library_the_error_names_the_extra(tmp_path, monkeypatch):
    run = write_run(tmp_path / "mine", [measurement(0, 0.0, 0.0, 2)])
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(InvalidInput, match=r"pip install 'tfstiff\[export\]'"):
        write_netcdf(run, tmp_path / "mine.nc")
