import base64
import dataclasses
import gzip
import json

import numpy as np
import pytest
from synthetic_runs import series

from tfstiff.analysis.source import read_sources
from tfstiff.report import chart_data as module
from tfstiff.report.chart_data import chart_data


def unpacked(found):
    document = json.loads(gzip.decompress(base64.b64decode(found.json)))
    kind = {100: np.int8, 10_000: np.dtype("<i2")}[found.steps]
    return document, np.frombuffer(gzip.decompress(base64.b64decode(found.cells)), kind)


def matrix(document, cells, steps, where, index, which="at"):
    place = document["runs"][0]["scopes"][where[0]][where[1]][where[2]]["matrices"][index]
    whole = cells[place[which] : place[which] + place["size"] ** 2].astype(float).reshape(place["size"], -1)
    return np.where(whole == np.iinfo(cells.dtype).min, np.nan, whole / steps)


@pytest.mark.parametrize("limit", [10**9, 0])
def test_matrices_come_back_to_the_precision_that_is_said(make_run, monkeypatch, limit):
    monkeypatch.setattr(module, "_FINE_CELLS", limit)
    run = make_run(series(4, 5, holes=True))
    found = chart_data(read_sources([run]))
    document, cells = unpacked(found)
    assert found.steps == (10_000 if limit else 100)
    for index, one in enumerate(run.measurements):
        for pair_set in one.pair_sets:
            for metric in ("sign", "cosine"):
                original = getattr(one[pair_set], metric)
                read = matrix(document, cells, found.steps, ("", pair_set, metric), index)
                np.testing.assert_allclose(read, original.matrix, atol=0.5001 / found.steps)  # NaN where NaN
                half = matrix(document, cells, found.steps, ("", pair_set, metric), index, "half")
                expected = np.where(np.isnan(original.matrix), np.nan, 2.0211 * 0.05)  # t(0.975, 40)
                np.testing.assert_allclose(half, expected, atol=0.5001 / found.steps + 2e-4)


def test_series_profiles_and_lines_are_those_of_the_records(make_run):
    run = make_run(series(5, 3))
    document, _ = unpacked(chart_data(read_sources([run])))
    scope = document["runs"][0]["scopes"][""]
    within = [one["val_val"].cosine.within for one in run.measurements]
    assert scope["val_val"]["cosine"]["within"]["value"] == pytest.approx(within, rel=1e-4)
    assert scope["val_val"]["cosine"]["within"]["half"] == pytest.approx(
        [0.02 * 1.97190] * 5, rel=1e-4
    )  # t(0.975, 200)
    profile, original = scope["train_val"]["spaces"]["input"][2], run.measurements[2]["train_val"]
    means = [np.nan if mean is None else mean for mean in profile["cosine"]]
    np.testing.assert_allclose(means, original.distance_profile.mean, rtol=1e-4)
    assert profile["xi"] == pytest.approx(original.critical_length.value, rel=1e-4)
    assert profile["status"] == original.critical_length.status


def test_a_length_that_means_nothing_is_not_drawn(make_run):
    one = series(1, 3)[0]
    pair_set = one["train_val"]
    length = dataclasses.replace(pair_set.critical_length, status="no_decay")
    space = dataclasses.replace(pair_set.spaces["input"], critical_length=length)
    pair_sets = {"train_val": dataclasses.replace(pair_set, spaces={"input": space})}
    run = make_run([dataclasses.replace(one, pair_sets=pair_sets)])
    document, _ = unpacked(chart_data(read_sources([run])))
    assert document["runs"][0]["scopes"][""]["train_val"]["spaces"]["input"][0]["xi"] is None


def test_too_many_matrices_are_thinned_and_it_is_said(make_run, monkeypatch):
    run = make_run([dataclasses.replace(one, layers={"dense": one.pair_sets}) for one in series(8, 4)])
    cells_of_one = 4 * 3 * 16
    monkeypatch.setattr(module, "_MOST_CELLS", 4 * cells_of_one)
    found = chart_data(read_sources([run]))
    document, cells = unpacked(found)
    kept = document["runs"][0]["scopes"][""]["train_val"]["sign"]["matrices"]
    assert [index for index, one in enumerate(kept) if one is not None] == [1, 3, 5, 7]
    assert not any(document["runs"][0]["scopes"]["dense"]["train_val"]["sign"]["matrices"])
    assert len(document["runs"][0]["scopes"]["dense"]["train_val"]["sign"]["within"]["value"]) == 8
    assert cells.size == 4 * cells_of_one
    assert "all but one in 2 measurements" in found.left_out
    assert "class matrices of single layers" in found.left_out


def test_one_hundred_classes_and_eighty_records_stay_small(make_run):
    run = make_run(series(80, 100))
    found = chart_data(read_sources([run]))
    assert found.steps == 100
    assert found.left_out == ""
    assert len(found.cells) + len(found.json) < 10e6
