import io
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from made_up import directions
from synthetic_runs import NAN, measurement, series, write_run
from tfstiff_cli import main
from tfstiff_cli.tables import print_measurements

from tfstiff.records import RunWriter
from tfstiff.runs.progress import describe


def show(*arguments, **environment):
    return CliRunner().invoke(main, ["show", *map(str, arguments)], env=environment)


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "mine", series(3, 2))


def table_rows(text):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.split()[:2] == ["epoch", "step"])
    return [line.split() for line in lines[start + 1 :]]


@pytest.mark.parametrize("pair_set", ["train_val", "val_val"])
def test_a_row_a_measurement(run, pair_set):
    result = show(run.folder, "--pair-set", pair_set)
    assert result.exit_code == 0
    rows = table_rows(result.stdout)
    for row, m in zip(rows[:3], run.measurements, strict=True):
        sign, cosine = m[pair_set].sign, m[pair_set].cosine
        expected = [f"{m.epoch:.3g}", str(m.step), f"{m.train.loss:.4f}", f"{m.validation.loss:.4f}"]
        means = [
            f"{x:.3f}±{'.039' if i % 2 == 0 else '.020'}"  # t(0.975, 200) of 0.02 and 0.01
            for i, x in enumerate([sign.within, sign.between, cosine.within, cosine.between])
        ]
        accuracy, length = (f"{x:.3f}" for x in (m.validation.accuracy, m[pair_set].critical_length.value))
        assert row[:10] == [*expected, accuracy, *means, length]
    assert [row[10:] for row in rows[:3]] == [[">>"], [">"], []]


def test_what_steps_along_directions_do_to_each_class(tmp_path):
    m = replace(measurement(7, 1.0, 0.5, 3), directions=directions(3))
    run = write_run(tmp_path / "mine", [m])
    lines = show(run.folder, COLUMNS="200").stdout.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("Share of examples that a step"))
    assert lines[begin].endswith("epoch 1 (step 7)")
    rows = {line[:8].strip(): line[8:].split() for line in lines[begin : begin + 8]}
    update, means = (m.directions[name].validation for name in ("update", "class_means"))
    for c, name in enumerate(m.class_names):
        assert rows[name][1].startswith(f"{update.helped[0, c]:.3f}±")
        assert rows[name][3].startswith(f"{means.helped[c, c]:.3f}±")
    assert rows["mean"][1].startswith(f"{update.mean_helped:.3f}±")
    assert "next_update: the weights have not moved" in lines
    assert max(map(len, show(run.folder).stdout.splitlines())) <= 100
    (row,) = json.loads(show(run.folder, "--json").stdout)["measurements"]
    assert row["stiffness_helped_by_update_validation"] == update.mean_helped
    assert row["stiffness_cosine_with_update_train_se"] == m.directions["update"].train.mean_cosine_se


def test_without_a_pair_set_it_shows_one_that_was_measured(tmp_path):
    whole = measurement(0, 0.0, 0.0)
    one = replace(whole, pair_sets={"val_val": whole["val_val"]})
    folder = write_run(tmp_path / "mine", [one]).folder
    result = show(folder)
    assert "pairs:         val_val" in result.stdout
    assert f"{one['val_val'].sign.within:.3f}±.039" in table_rows(result.stdout)[0]
    assert describe(one, 0.1).startswith("step 0")


def test_training_losses_that_were_reached(run):
    event = {"event": "training_loss_reached", "step": 30, "epoch": 1.5, "threshold": 0.3, "training_loss": 0.29871}
    RunWriter(run.folder).add_event(event)
    assert "step 30: training loss 0.3 reached, with 0.2987" in show(run.folder).stdout.splitlines()
    assert json.loads(show(run.folder, "--json").stdout)["events"] == [event]
    (run.folder / "events.jsonl").write_text("nonsense\n")
    result = show(run.folder, "--strict")
    assert result.exit_code == 3
    assert "events.jsonl" in result.stderr
    assert len(table_rows(result.stdout)) > 3


def test_the_header_names_the_run(run):
    lines = show(run.folder).stdout.splitlines()
    assert [line.split(":", 1)[0] for line in lines[:6]] == [
        "run",
        "status",
        "data set",
        "arch",
        "learning rate",
        "pairs",
    ]
    assert [line.split()[-1] for line in lines[1:6]] == ["completed", "fashion_mnist", "cnn", "0.0008", "train_val"]


def test_the_legend_has_the_marks_that_occur(run):
    legend = [row[0] for row in table_rows(show(run.folder).stdout)[3:] if row]
    assert legend[:2] == [">", ">>"]


@pytest.mark.parametrize("columns", ["20", "80"])
def test_piped_output_is_plain_and_never_truncated(run, columns):
    text = show(run.folder, COLUMNS=columns).stdout
    assert "\x1b" not in text
    assert "…" not in text
    assert all(f"{m['train_val'].cosine.between:.3f}±.020" in text for m in run.measurements)


def test_gradients_to_beware_of_are_told(run, tmp_path):
    usual = run.measurements[-1]
    across = usual["train_val"]
    few, many = 1, int(across.pair_counts.sum()) // 50
    odd = replace(
        usual,
        step=usual.step + 1,
        train=replace(usual.train, num_zero_gradients=3),
        validation=replace(usual.validation, num_nonfinite=2),
        pair_sets={**usual.pair_sets, "train_val": replace(across, num_uncertain_signs=many)},
    )
    usual = replace(usual, pair_sets={**usual.pair_sets, "train_val": replace(across, num_uncertain_signs=few)})
    folder = write_run(tmp_path / "odd", [usual, odd])
    lines = [line for line in show(folder.folder).stdout.splitlines() if line.startswith("step ")]
    (line,) = lines  # nothing of the usual one
    assert line.startswith(f"step {odd.step}: 3 zero gradients, 2 gradients that are not finite")
    assert f"{many} pairs whose sign is too close to call" in line


def test_no_color_is_honoured_on_a_terminal(monkeypatch, run):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    file = Terminal()
    print_measurements(run.measurements, file=file)
    assert "\x1b[3" not in file.getvalue()
    assert "…" not in file.getvalue()


def test_json_holds_what_the_records_hold(run):
    result = show(run.folder, "--json")
    document = json.loads(result.stdout)
    expected = {"folder", "status", "config", "groups", "measurements", "turns", "events", "problems", "reservations"}
    assert set(document) == expected
    assert document["config"] == run.spec
    last = document["measurements"][-1]
    assert last["stiffness_sign_within_train_train"] == run.measurements[-1]["train_train"].sign.within
    assert last["critical_length_status_val_val"] == run.measurements[-1]["val_val"].critical_length.status
    assert last["stiffness_sign_within_train_train_se"] == run.measurements[-1]["train_train"].sign.within_se
    assert last["critical_length_low_val_val"] == run.measurements[-1]["val_val"].critical_length.low
    assert document["problems"] == []


def test_json_has_null_for_nan(tmp_path):
    one = replace(measurement(0, NAN, 0, 0), learning_rate=NAN)
    folder = write_run(tmp_path / "nan", [one]).folder
    document = json.loads(show(folder, "--json").stdout, parse_constant=lambda name: pytest.fail(name))
    assert document["measurements"][0]["epoch"] is None
    assert document["measurements"][0]["validation_accuracy"] is None


def test_several_runs(run, tmp_path):
    other = write_run(tmp_path / "other", series(1, 2), status="failed").folder
    text = show(run.folder, other).stdout
    assert text.index("mine") < text.index("other") < text.index("failed")
    assert [one["status"] for one in json.loads(show(run.folder, other, "--json").stdout)] == ["completed", "failed"]


def test_regression_has_means_and_no_accuracy(tmp_path):
    run = write_run(tmp_path / "regression", series(2, 0))
    text = show(run.folder).stdout
    assert "acc." not in text
    m = run.measurements[1]["train_val"]
    assert table_rows(text)[1][4:6] == [f"{m.mean_sign:.3f}±.059", f"{m.mean_cosine:.3f}±.039"]


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_run_without_measurements(tmp_path, status):
    folder = write_run(tmp_path / "empty", [], status=status).folder
    result = show(folder)
    assert result.exit_code == 0
    assert "No measurements" in result.stdout
    assert json.loads(show(folder, "--json").stdout)["measurements"] == []


def test_damaged_files_are_named_and_the_rest_is_shown(run):
    record = run.folder / "records" / "step-00000008.npz"
    record.write_bytes(record.read_bytes()[:100])
    (run.folder / "config.json").write_text('{"dataset": ')
    result = show(run.folder)
    assert result.exit_code == 0
    assert len([row for row in table_rows(result.stdout) if row and row[0] in ("0", "20")]) == 2
    assert "step-00000008.npz" in result.stderr
    assert "config.json" in result.stderr
    assert "2 file(s)" in result.stderr
    assert len(json.loads(show(run.folder, "--json").stdout)["problems"]) == 2
    assert show(run.folder, "--strict").exit_code == 3


def test_strict_is_content_with_a_whole_run(run):
    assert show(run.folder, "--strict").exit_code == 0


def test_wrong_usage(tmp_path):
    assert show().exit_code == 2
    result = show(tmp_path / "absent")
    assert result.exit_code == 2
    assert "is not a run folder" in result.stderr


def test_statistics_of_the_last_measurement_are_shown(tmp_path):
    first, last = series(2)
    found = {
        "noise_scale": 812.5,
        "noise_scale_low": 600.0,
        "noise_scale_high": float("inf"),
        "gradient_disparity": 0.25,
    }
    sets = last.pair_sets | {"val_val": replace(last["val_val"], statistics=found)}
    run = write_run(tmp_path / "mine", [first, replace(last, pair_sets=sets)])
    shown = show(run.folder).stdout
    lines = shown[shown.index("Statistics of the probe's halves") :].splitlines()
    assert lines[1].split() == ["validation"]
    assert [line.split() for line in lines if line.startswith("noise")] == [
        ["noise", "scale", "812.5", "(600", "to", "inf)", "examples"]
    ]
    assert next(line.split() for line in lines if line.startswith("label alignment"))[2:] == ["–"]
    document = json.loads(show(run.folder, "--json").stdout)["measurements"]
    assert document[1]["gradient_disparity_val_val"] == 0.25
    assert "gradient_disparity_val_val" not in document[0]
    assert "Statistics" not in show(write_run(tmp_path / "other", [first]).folder).stdout
