import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from made_up import sweep_of
from synthetic_runs import measurement, write_run
from tfstiff_cli import main

from tfstiff import RunSpec
from tfstiff.sweeps import write_sweep

EPOCHS = (0, 1, 2, 5, 10)
RATES = (1e-4, 4e-4, 1.6e-3)


def compare(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def train(folder, spec, epochs=EPOCHS, status="completed"):
    speed = 1 + 200 * spec.learning_rate
    found = [measurement(100 * epoch, float(epoch), min(1, speed * epoch / 12), 3, seed=spec.seed) for epoch in epochs]
    return write_run(folder, found, spec.as_config(), status)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    made = sweep_of(tmp_path_factory.mktemp("sweeps") / "sweep", RATES, (0, 1, 2))
    write_sweep(made)
    for trial in made.trials:
        train(made.run_folder(trial), trial.spec)
    return made


def tables(text):
    """By title, the rows of each table; the notes come after the last."""
    blocks = [block.splitlines() for block in text.split("\n\n")[:-1]]
    return {rows[0].split("  ")[0]: rows for rows in blocks}


def test_tables(sweep):
    result = compare(sweep.folder, "--epoch", "1,5", "--train-loss", "1.5")
    assert result.exit_code == 0, result.stderr
    found = tables(result.stdout)
    assert list(found) == [
        *(
            f"{metric} {kind} classes, train–validation pairs"
            for metric in ("sign", "cosine")
            for kind in ("within", "between")
        ),
        "critical length ξ, train–validation pairs",
    ]
    rows = result.stdout.splitlines()
    header = next(row for row in rows if row.startswith("sign between") and "epoch" in row)
    assert header.split("seeds")[1].split() == ["epoch", "1", "epoch", "5"]
    values = [m["train_val"].sign.between for m in (train_measurements(sweep, 4e-4, seed, 1) for seed in (0, 1, 2))]
    row = rows[rows.index(header) + 2]
    mean, half = np.mean(values), 4.30265 * np.std(values, ddof=1) / math.sqrt(3)  # t(0.975, 2)
    assert row.split()[:4] == ["learning", "rate", "0.0004", "3"]
    assert f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}] ±.020" in row  # t(0.975, 200) of 0.01
    assert rows[rows.index(header) + 4].startswith("difference")
    assert rows[rows.index(header) + 5].startswith("trend")
    assert "±" not in rows[rows.index(header) + 5]
    assert "75 % of 3 seeds" in result.stdout
    assert "learning rate 0.0016 less learning rate 0.0001" in result.stdout
    assert "not corrected for there being" in result.stdout
    assert "censored" in result.stdout
    assert "\x1b" not in result.output


def train_measurements(sweep, rate, seed, index):
    from tfstiff import load_run

    trial = next(one for one in sweep.trials if (one.spec.learning_rate, one.spec.seed) == (rate, seed))
    return load_run(sweep.run_folder(trial)).measurements[index]


def test_single_runs_and_sweeps_together(sweep, tmp_path):
    other = train(tmp_path / "other", RunSpec(learning_rate=8e-4))
    result = compare(sweep.folder, other.folder, "--quantity", "train_loss", "--json")
    document = json.loads(result.stdout)
    assert len(document["runs"]) == 10
    assert {(row["learning_rate"], row["num_seeds"]) for row in document["summaries"]} == {
        *((rate, 3) for rate in RATES),
        (8e-4, 1),
    }
    ((n, incomplete),) = {(row["num_seeds"], row["num_incomplete"]) for row in document["trends"]}
    assert (n, incomplete) == (1, 2)  # the one seed that has all four rates
    assert all(row["p_value"] is None for row in document["trends"])


def test_json_has_everything(sweep):
    result = compare(sweep.folder, "--epoch", "5", "--train-loss", "", "--json")
    document = json.loads(result.stdout)
    assert {row["quantity"] for row in document["summaries"]} == {
        "stiffness_sign_within_train_val",
        "stiffness_sign_between_train_val",
        "stiffness_cosine_within_train_val",
        "stiffness_cosine_between_train_val",
        "stiffness_critical_length_train_val",
    }
    (trend,) = [row for row in document["trends"] if row["quantity"] == "stiffness_critical_length_train_val"]
    assert (trend["num_values"], trend["num_seeds"], trend["by"], trend["at"]) == (3, 3, "epoch", 5.0)
    assert len(document["observations"]) == 5 * 9


def test_bounds_stay_bounds(sweep):
    arguments = (
        sweep.folder,
        "--epoch",
        "1",
        "--train-loss",
        "",
        "--quantity",
        "stiffness_critical_length_train_val",
        "--json",
    )
    document = json.loads(compare(*arguments).stdout)
    assert {row["status"] for row in document["observations"]} == {"censored"}
    assert {row["high"] for row in document["observations"]} == {"inf"}
    assert {(row["num_censored"], row["mean"], row["median_low"]) for row in document["summaries"]} == {(3, None, 0.9)}
    assert "(3 censored)" in compare(*arguments[:-1]).stdout
    document = json.loads(compare(*arguments, "--extrapolate-xi").stdout)
    assert {row["num_censored"] for row in document["summaries"]} == {0}
    assert all(row["median_low"] > 0.9 for row in document["summaries"])


def test_csv(sweep, tmp_path):
    result = compare(
        sweep.folder, "--epoch", "1,5", "--train-loss", "", "--quantity", "validation_loss", "--csv", tmp_path / "csv"
    )
    assert sorted(path.name for path in (tmp_path / "csv").iterdir()) == [
        "differences.csv",
        "observations.csv",
        "summaries.csv",
        "trends.csv",
    ]
    with (tmp_path / "csv" / "summaries.csv").open() as file:
        rows = list(csv.DictReader(file))
    document = json.loads(
        compare(sweep.folder, "--epoch", "1,5", "--train-loss", "", "--quantity", "validation_loss", "--json").stdout
    )
    assert [float(row["median_low"]) for row in rows] == [row["median_low"] for row in document["summaries"]]
    assert [float(row["learning_rate"]) for row in rows] == [*np.repeat(RATES, 1)] * 2
    assert str(tmp_path / "csv" / "trends.csv") in result.stderr


def test_pair_set_and_metrics(tmp_path):
    runs = [train(tmp_path / str(seed), RunSpec(seed=seed, metrics=("sign",))).folder for seed in (0, 1)]
    found = tables(compare(*runs, "--pair-set", "val_val").stdout)
    assert list(found) == [
        f"{name}, validation–validation pairs"
        for name in ("sign within classes", "sign between classes", "critical length ξ")
    ]


def test_one_seed_is_told(tmp_path):
    result = compare(train(tmp_path / "mine", RunSpec()).folder)
    assert result.exit_code == 0
    assert "One seed each" in result.stdout
    assert "trend" not in result.stdout
    assert "[" not in tables(result.stdout)["sign within classes, train–validation pairs"][1]


def test_what_is_left_out_is_told(sweep, tmp_path):
    made = sweep_of(tmp_path / "sweep", (1e-4,), (0, 1, 2))
    write_sweep(made)
    first, second, third = made.trials
    train(made.run_folder(first), first.spec)
    train(made.run_folder(second), second.spec, (), "running")
    result = compare(made.folder, train(tmp_path / "again", first.spec).folder)
    assert result.exit_code == 0
    assert f"The trial {third.name} has not run." in result.stderr
    assert f"{made.run_folder(second)} has no measurement" in result.stderr
    assert "again is left out: another run has its settings and seed." in result.stdout


def test_a_run_that_diverged_counts_as_far_as_it_went(tmp_path):
    runs = [train(tmp_path / str(seed), RunSpec(seed=seed)) for seed in (0, 1, 2)]
    last = runs[2].measurements[-1]
    diverged = [*runs[2].measurements[:-1], replace(last, train=replace(last.train, loss=math.nan))]
    other = write_run(tmp_path / "diverged", diverged, RunSpec(seed=2).as_config(), "diverged")
    result = compare(runs[0].folder, runs[1].folder, other.folder, "--epoch", "5,10", "--quantity", "train_loss")
    assert "is not completed but diverged" in result.stderr
    row = next(row for row in result.stdout.splitlines() if row.startswith("all runs"))
    assert row.count("(n 2)") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--quantity", "momentum"], "no quantity"),
        (["--epoch", "x"], "list of numbers"),
        (["--train-loss", "-1"], "0 or more"),
        (["--epoch", "nan"], "0 or more"),
        (["--pair-set", "all"], "all"),
    ],
)
def test_what_cannot_be_used(sweep, arguments, words):
    result = compare(sweep.folder, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_a_folder_of_something_else(tmp_path):
    result = compare(tmp_path)
    assert result.exit_code == 2
    assert "not a run folder" in result.stderr


def test_nothing_to_compare(tmp_path):
    result = compare(train(tmp_path / "empty", RunSpec(), ()).folder)
    assert result.exit_code == 2
    assert "no run to compare" in result.stderr
