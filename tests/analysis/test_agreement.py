"""A user who gives the same runs to `show`, `compare`, `plot` and `report` reads the same numbers in the same words."""

import base64
import csv
import gzip
import json
import math
import re
import sys
from dataclasses import replace
from html import escape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))
from planted_curves import TIMES, planted
from synthetic_runs import SPEC, series, write_run
from tfstiff_cli import main

from tfstiff import RunSpec, load_run
from tfstiff.analysis.comparison.words import HOLLOW_IN_WORDS, observation_in_words, summary_in_words
from tfstiff.figures import critical_length, curves, learning_rate
from tfstiff.records import RunWriter, words
from tfstiff.stiffness.intervals import interval

ROOT = Path(__file__).parents[2]
BETWEEN, LENGTH = "stiffness_cosine_between_train_val", "stiffness_critical_length_train_val"
RATES, SEEDS = (1e-4, 1e-3), (0, 1)


def tfstiff(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def page_data(path):
    """The numbers behind the charts of a report."""
    packed = re.search(r'id="data-packed">([^<]*)<', path.read_text("utf-8")).group(1)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_four(folder, **changes):
    """Two learning rates with two seeds each, whose ξ lies beyond the distances observed at first."""
    runs = []
    for rate in RATES:
        for seed in SEEDS:
            spec = RunSpec(learning_rate=rate, seed=seed, **(changes if seed else {})).as_config()
            runs.append(write_run(folder / f"lr{rate:g}-s{seed}", series(7, 3, seed=seed + int(1e4 * rate)), spec))
    return runs


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    """The runs, and what each command says of them."""
    folder = tmp_path_factory.mktemp("four")
    runs = write_four(folder)
    folders = [run.folder for run in runs]
    compared = json.loads(tfstiff("compare", *folders, "--json"))
    names = ("learning_rate", "domain_size")
    tfstiff("plot", *folders, *(f"--figure={name}" for name in names), "--format", "svg", "--out", folder / "figures")
    tfstiff("report", *folders, "--out", folder / "report.html")
    return SimpleNamespace(
        runs=runs,
        folders=folders,
        compared=compared,
        figures={name: rows_of(folder / "figures" / f"{name}.csv") for name in names},
        report=page_data(folder / "report.html"),
        page=(folder / "report.html").read_text("utf-8"),
    )


def observed(four, quantity, by):
    """What `compare` says of each run: by level, learning rate and seed."""
    found = [row for row in four.compared["observations"] if (row["quantity"], row["by"]) == (quantity, by)]
    return {(row["at"], row["learning_rate"], row["seed"]): row for row in found}


def number(value):
    return math.nan if value is None else float(value)


# ---- where runs are compared


def test_the_same_epochs_and_losses(four):
    by = {
        kind: {row["at"] for row in four.compared["summaries"] if row["by"] == kind} for kind in ("epoch", "train_loss")
    }
    assert by["epoch"]
    assert by["train_loss"]
    for rows in four.figures.values():
        assert {float(row["train_loss"]) for row in rows} == by["train_loss"]
    titles = [point["title"] for point in four.report["comparison"]["points"]]
    expected = [f"epoch {at:.3g}" for at in sorted(by["epoch"])]
    assert titles == expected + [f"training loss {at:.3g}" for at in sorted(by["train_loss"], reverse=True)]
    drawn = learning_rate(four.runs)
    assert [panel.get_title() for panel in drawn.axes[: len(by["train_loss"])]] == titles[len(expected) :]


def test_the_same_values_of_each_run_with_the_same_intervals(four):
    found = observed(four, BETWEEN, "train_loss")
    drawn = [row for row in four.figures["learning_rate"] if row["scalar"] == BETWEEN]
    assert len(drawn) == len(found)
    for row in drawn:
        seed = int(row["run"][-1])
        one = found[float(row["train_loss"]), float(row["learning_rate"]), seed]
        assert [float(row[name]) for name in ("value", "low", "high")] == [
            one[name] for name in ("low", "interval_low", "interval_high")
        ]
    for point in four.report["comparison"]["points"]:
        kind = "epoch" if point["title"].startswith("epoch") else "train_loss"
        at = next(at for at, *_ in observed(four, BETWEEN, kind) if f"{at:.3g}" == point["title"].split()[-1])
        for run, value in zip(four.runs, point["values"][BETWEEN], strict=True):
            one = observed(four, BETWEEN, kind)[at, run.spec["learning_rate"], run.spec["seed"]]
            for name, other in (("value", "low"), ("low", "interval_low"), ("high", "interval_high")):
                assert value[name] == pytest.approx(one[other], rel=1e-4)


def test_the_same_means_over_seeds_with_the_same_intervals(four):
    levels = sorted({row["at"] for row in four.compared["summaries"] if row["by"] == "train_loss"}, reverse=True)
    drawn = learning_rate(four.runs)
    text = tfstiff("compare", *four.folders)
    for panel, level in zip(drawn.axes[len(levels) :], levels, strict=False):  # the lower row is of the cosine
        rows = [
            row
            for row in four.compared["summaries"]
            if (row["quantity"], row["by"], row["at"]) == (BETWEEN, "train_loss", level)
        ]
        (line,) = [line for line in panel.lines if line.get_label() == "train_val"]
        np.testing.assert_allclose(line.get_ydata(), [row["mean"] for row in rows])
        (point,) = [one for one in four.report["comparison"]["points"] if one["title"] == f"training loss {level:.3g}"]
        for row, mean in zip(rows, point["means"][BETWEEN], strict=True):
            assert mean["value"] == pytest.approx(row["mean"], rel=1e-4)
            cell = f"{row['mean']:.3f} [{row['mean_low']:.3f}, {row['mean_high']:.3f}]"
            assert cell in text
            assert cell.replace("-", "−") in four.page
            assert cell.replace("-", "−") in mean["words"]


# ---- what an extrapolated ξ counts as


def test_a_critical_length_beyond_the_distances_is_the_same_bound_everywhere(four):
    found = observed(four, LENGTH, "train_loss")
    assert {row["status"] for row in found.values()} == {"ok", "censored"}
    for row in four.figures["domain_size"]:
        if (row["pair_set"], row["space"]) == ("train_val", "input"):
            one = found[float(row["train_loss"]), float(row["learning_rate"]), int(row["run"][-1])]
            assert row["status"] == one["status"]
            assert (float(row["size_low"]), float(row["size_high"])) == (number(one["low"]), number(one["high"]))
    for point in four.report["comparison"]["points"]:
        kind = "epoch" if point["title"].startswith("epoch") else "train_loss"
        for run, value in zip(four.runs, point["values"][LENGTH], strict=True):
            (one,) = [
                row
                for (at, rate, seed), row in observed(four, LENGTH, kind).items()
                if f"{at:.3g}" == point["title"].split()[-1]
                and (rate, seed) == (run.spec["learning_rate"], run.spec["seed"])
            ]
            assert value["note"] == ("" if one["status"] == "ok" else HOLLOW_IN_WORDS[one["status"]])
            assert value["words"].startswith(words.bounds_in_words(number(one["low"]), number(one["high"])))
    marks = {line.get_label() for panel in critical_length(four.runs).axes for line in panel.lines}
    assert "_lower bound" in marks
    assert "_hollow" not in marks


def test_it_is_taken_by_all_where_that_is_asked_for(four, tmp_path):
    compared = json.loads(tfstiff("compare", *four.folders, "--extrapolate-xi", "--json"))
    assert "censored" not in {row["status"] for row in compared["observations"]}
    tfstiff("plot", *four.folders, "--figure=domain_size", "--extrapolate-xi", "--format=svg", "--out", tmp_path)
    taken = {row["low"] for row in compared["observations"] if (row["quantity"], row["by"]) == (LENGTH, "train_loss")}
    drawn = {float(row["size_low"]) for row in rows_of(tmp_path / "domain_size.csv") if row["pair_set"] == "train_val"}
    assert drawn == taken


# ---- which settings separate runs


@pytest.mark.parametrize(
    ("change", "separates"), [({"keep_gram": True, "epochs": 20}, False), ({"space": "all"}, True)]
)
def test_the_same_settings_separate_runs(tmp_path, change, separates):
    folders = [run.folder for run in write_four(tmp_path, **change)]
    compared = json.loads(tfstiff("compare", *folders, "--quantity", BETWEEN, "--json"))
    groups = {(row["learning_rate"], row.get("space")) for row in compared["summaries"]}
    assert len(groups) == (4 if separates else 2)
    tfstiff("report", *folders, "--out", tmp_path / "report.html")
    assert len({run["group"] for run in page_data(tmp_path / "report.html")["runs"]}) == len(groups)
    result = CliRunner().invoke(main, ["plot", *map(str, folders), "--figure=critical_length", "--format=svg"])
    assert (result.exit_code != 0) == separates
    assert ("The runs differ in space" in result.output) == separates


# ---- an interval


def test_the_same_interval_of_a_mean(four):
    run = four.runs[0]
    last = run.measurements[-1]
    found = last["train_val"].cosine
    low, high = interval(found.within, found.within_se, found.within_df)
    shown = tfstiff("show", run.folder)
    assert f"{found.within:.3f}±{(high - low) / 2:.3f}".replace("±0", "±") in shown
    assert f"{found.within:.3f} ± {(high - low) / 2:.3f}" in four.page
    series_of = four.report["runs"][0]["scopes"][""]["train_val"]["cosine"]["within"]
    assert series_of["half"][-1] == pytest.approx((high - low) / 2, rel=1e-4)
    panel = curves(run).axes[4]
    ends = [collection.get_paths()[0].vertices for collection in panel.collections]
    at_last = [vertices[np.isclose(vertices[:, 0], last.epoch)][:, 1] for vertices in ends]
    assert any(np.isclose(one.min(), low) and np.isclose(one.max(), high) for one in at_last)


def test_nobody_multiplies_standard_errors_by_a_number_of_his_own():
    for path in sources():
        if path.parent.name in ("analysis", "comparison", "figures", "report", "charts", "cli"):
            assert not re.search(r"\b1\.96\b", path.read_text("utf-8")), path


# ---- a turning point


def test_the_same_turning_points_by_the_run_s_own_monitor(tmp_path):
    from tfstiff.callbacks.turning_points import TurnEvents

    monitor = "stiffness_sign_between_val_val"
    values, _, _ = planted(3.0, noise=1e-3, seed=0)
    measured = []
    for step, (one, value) in enumerate(zip(series(len(TIMES), 2)[-1:] * len(TIMES), values, strict=True)):
        pairs = one["val_val"]
        sign = replace(pairs.sign, between=float(value), between_influence=np.full(50, 1e-4, np.float32))
        pair_sets = {**one.pair_sets, "val_val": replace(pairs, sign=sign)}
        train = replace(one.train, loss=0.5 if step else 2.0)
        measured.append(replace(one, train=train, step=step, epoch=float(TIMES[step]), pair_sets=pair_sets))
    write_run(tmp_path / "run", measured, {**SPEC, "stiffness_monitor": monitor})
    run = load_run(tmp_path / "run")
    turns = json.loads(tfstiff("show", run.folder, "--json"))["turns"]
    assert turns["monitor"] == monitor
    drop = turns["rules"]["stiffness_drop"]
    assert drop["status"] == "confirmed"
    assert drop["turn_epoch"] == pytest.approx(3.0, abs=1)
    tfstiff("report", run.folder)
    assert page_data(run.folder / "report.html")["runs"][0]["turn"] == pytest.approx(drop["turn_epoch"], rel=1e-4)
    assert f"at epoch {drop['turn_epoch']:.3g}, and has fallen" in (run.folder / "report.html").read_text("utf-8")
    (mark,) = {line.get_xdata()[0] for line in curves(run).axes[0].lines if line.get_label() == "_stiffness_drop"}
    assert mark == drop["turn_epoch"]
    noted = {}
    stiffness = SimpleNamespace(
        history=run.measurements,
        events=[],
        scalars=tuple(run.measurements[0].scalars()),
        note=lambda event, **details: noted.update({event: details}),
    )
    TurnEvents(stiffness, monitor).on_train_end()
    assert noted["turning_points"]["rules"] == turns["rules"]


def test_where_training_was_stopped_is_the_turning_point_for_all(tmp_path):
    run = write_run(tmp_path / "run", series(8, 2))
    peak, last = run.measurements[3], run.measurements[7]
    RunWriter(run.folder).add_event({"event": "stiffness_dropped", "step": last.step, "peak_step": peak.step})
    run = load_run(run.folder)
    drop = json.loads(tfstiff("show", run.folder, "--json"))["turns"]["rules"]["stiffness_drop"]
    assert (drop["turn_step"], drop["confirmed_step"]) == (peak.step, last.step)
    tfstiff("report", run.folder)
    assert page_data(run.folder / "report.html")["runs"][0]["turn"] == pytest.approx(peak.epoch, rel=1e-4)
    (mark,) = {line.get_xdata()[0] for line in curves(run).axes[0].lines if line.get_label() == "_stiffness_drop"}
    assert mark == peak.epoch


# ---- words


def sources():
    folders = (ROOT / "tfstiff", ROOT / "cli")
    return [path for folder in folders for kind in ("*.py", "*.js", "*.j2") for path in folder.rglob(kind)]


def test_words_stand_in_one_place():
    texts = [*words.PAIR_SET_NAMES.values(), *(one.words for one in words.LENGTH_STATUSES.values())]
    texts += [*words.TURNS_IN_WORDS.values(), *words.METRICS_IN_WORDS.values()]
    for path in sources():
        if path != Path(words.__file__).resolve():
            text = path.read_text("utf-8")
            assert not [one for one in texts if f'"{one}"' in text], path
            assert not re.search(r"['\"]train_val['\"] if ", text), path


def test_the_page_has_its_words_from_the_table(four):
    assert four.report["words"]["pairs"] == words.PAIR_SET_NAMES
    assert four.report["words"]["halves"] == words.HALF_NAMES
    assert four.report["words"]["distances"] == words.DISTANCE_NAMES


def test_without_a_run_across_the_halves_all_show_the_same_pair_set(tmp_path):
    only = [replace(one, pair_sets={"val_val": one["val_val"]}) for one in series(4, 2)]
    folders = [
        write_run(tmp_path / str(rate), only, {**SPEC, "learning_rate": rate, "seed": 0}).folder for rate in RATES
    ]
    assert "pairs:         val_val" in tfstiff("show", folders[0])
    quantities = {row["quantity"] for row in json.loads(tfstiff("compare", *folders, "--json"))["summaries"]}
    assert all(name.endswith("_val_val") for name in quantities)
    tfstiff("report", *folders, "--out", tmp_path / "report.html")
    data = page_data(tmp_path / "report.html")
    assert set(data["comparison"]["names"]) == quantities
    assert {run["main"] for run in data["runs"]} == {"val_val"}


def test_a_value_is_written_in_one_way(four):
    """The table of the terminal and those of the report are made by the same functions."""
    from tfstiff.analysis.comparison import compare

    found = compare(four.runs)
    text = tfstiff("compare", *four.folders)
    for place in found.observations:
        summary = found.summary(*place)
        assert summary_in_words(summary, minus="-") in text
        assert f"<td>{escape(summary_in_words(summary))}</td>" in four.page
        for one in found.observations[place].values():
            assert f"<td>{escape(observation_in_words(one))}</td>" in four.page
