import dataclasses
import io
import sys

import pytest
from click.testing import CliRunner
from rich.console import Console
from synthetic_runs import measurement, series, write_run
from tfstiff_cli import main, watch
from tfstiff_cli.panel import Sparkline, measurement_panel
from tfstiff_cli.progress import LiveProgress

from tfstiff.records import RunFolder, RunWriter
from tfstiff.records.claim import Claim
from tfstiff.runs.progress import describe


def watched(folder, *options, then=(), is_alive=True):
    """Runs the command; before its second look, and each after, one of `then` is called in place of waiting.

    Meanwhile a process has the folder, where it is there and `is_alive`.
    """
    steps = iter(then)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch.time, "sleep", lambda _: next(steps)())
        if not (is_alive and folder.is_dir()):
            return CliRunner().invoke(main, ["watch", str(folder), *options])
        with Claim(folder):
            return CliRunner().invoke(main, ["watch", str(folder), *options])


def status(folder, name, **details):
    RunWriter(folder).write_status(name, **details)


def test_it_tells_each_measurement_once_as_it_comes_and_ends_with_the_run(tmp_path):
    one, two, three = series(3, 2)
    run = write_run(tmp_path / "mine", [one])
    status(run.folder, "running")
    writer = RunWriter(run.folder)
    result = watched(
        run.folder,
        then=[
            lambda: writer.add(two, 0.1),
            lambda: None,
            lambda: (writer.add(three, 0.1), status(run.folder, "completed")),
        ],
    )
    assert result.stdout.splitlines() == [describe(m) for m in (one, two, three)]
    assert result.stderr.strip() == "The run is complete."
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("name", "details", "exit_code", "words"),
    [
        ("completed", {}, 0, "complete"),
        ("diverged", {}, 4, "no longer finite"),
        ("failed", {"error": "ValueError: no good"}, 1, "ValueError: no good"),
        ("interrupted", {}, 1, "interrupted"),
        ("running", {}, 1, "process is gone"),  # nobody holds the folder
    ],
)
def test_the_exit_code_tells_how_the_run_ended(tmp_path, name, details, exit_code, words):
    run = write_run(tmp_path / "mine", series(1, 2))
    status(run.folder, name, **details)
    for options in ([], ["--once"]):
        result = watched(run.folder, *options, is_alive=False)
        assert (result.exit_code, len(result.stdout.splitlines())) == (exit_code, 1)
        assert words in result.stderr


def test_once_shows_a_run_that_has_not_begun_to_measure(tmp_path):
    run = write_run(tmp_path / "mine", [])
    status(run.folder, "running")
    result = watched(run.folder, "--once")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing is measured yet" in result.stderr


def test_a_run_that_ends_between_two_looks_at_its_status_has_not_died(tmp_path, monkeypatch):
    run = write_run(tmp_path / "mine", series(1, 2))
    status(run.folder, "running")

    def ended(_):
        status(run.folder, "completed")
        return False

    monkeypatch.setattr(RunFolder, "is_running", property(ended))
    assert watched(run.folder).exit_code == 0


def test_a_folder_that_says_nothing_of_its_end_is_followed_until_interrupted(tmp_path):
    run = write_run(tmp_path / "mine", series(1, 2))
    (run.folder / "status.json").unlink()

    def interrupt():
        raise KeyboardInterrupt

    result = watched(run.folder, then=[lambda: None, interrupt])
    assert result.exit_code == 130
    assert len(result.stdout.splitlines()) == 1
    assert "not known" in watched(run.folder, "--once").stderr


def test_a_run_whose_folder_is_removed_has_failed(tmp_path):
    run = write_run(tmp_path / "mine", [])
    status(run.folder, "running")
    result = watched(run.folder, then=[lambda: run.folder.rename(tmp_path / "elsewhere")])
    assert (result.exit_code, result.stderr.strip()) == (1, watch._ENDS["gone"][1])


def test_a_run_that_begins_anew_is_told_anew(tmp_path):
    first, again = measurement(5, 0.1, 0.1, 2), measurement(5, 0.1, 0.9, 2)
    run = write_run(tmp_path / "mine", [first])
    status(run.folder, "running")
    path = next((run.folder / "records").iterdir())
    result = watched(
        run.folder,
        then=[path.unlink, lambda: (RunWriter(run.folder).add(again, 0.1), status(run.folder, "completed"))],
    )
    assert result.stdout.splitlines() == [describe(first), describe(again)]


def test_a_damaged_record_is_named_once_and_the_others_are_told(tmp_path):
    run = write_run(tmp_path / "mine", series(3, 2))
    path = sorted((run.folder / "records").iterdir())[1]
    path.write_bytes(b"no record")
    status(run.folder, "running")
    result = watched(run.folder, then=[lambda: None, lambda: status(run.folder, "completed")])
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.count(path.name) == 1


def test_it_wants_a_run_and_a_positive_interval(tmp_path):
    assert watched(tmp_path / "nothing").exit_code == 2
    run = write_run(tmp_path / "mine", [])
    assert watched(run.folder, "--interval", "0").exit_code == 2
    (run.folder / "status.json").write_text("{")
    assert watched(run.folder).exit_code == 3


def shown(renderable, width=100, **options):
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True, **options)
    console.print(renderable)
    return console.file.getvalue()


def test_on_a_terminal_the_panel_stands_there_with_how_far_the_run_is(tmp_path, monkeypatch):
    run = write_run(tmp_path / "mine", series(3, 2), spec={"measured_steps": [0, 8, 37500, 99999]}, status="completed")
    monkeypatch.setattr(watch, "Console", lambda: Console(force_terminal=True, width=100, file=sys.stdout))
    result = watched(run.folder)
    last = run.measurements[-1]
    assert f"{last['train_val'].cosine.within:.3f}±.039" in result.stdout
    assert "completed, 3 of 4 measurements" in result.stdout
    assert result.exit_code == 0


def test_the_panel_has_the_latest_numbers_their_errors_and_the_status_of_the_critical_length():
    measurements = series(3, 2)
    latest = measurements[-1]["train_val"]
    text = shown(measurement_panel(measurements, "note"))
    for number in (latest.sign.between, latest.cosine.within, latest.critical_length.value):
        assert f"{number:.3f}" in text
    assert f"{measurements[-1].train.loss:.4f}" in text
    assert f"{latest.critical_length.low:.3g} to {latest.critical_length.high:.3g}" in text
    assert "beyond" in shown(measurement_panel(measurements[:1]))
    assert "note" in text
    assert "sign" not in shown(measurement_panel(measurements, metrics=["cosine"]))


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_panel_keeps_its_numbers_whole_on_narrow_terminals(width):
    lines = shown(measurement_panel(series(60, 2)), width=width).splitlines()
    assert max(map(len, lines)) <= width
    if width > 40:
        assert not any("…" in line for line in lines)


def test_the_panel_of_regression_one_pair_set_no_measurement_and_no_critical_length():
    assert "cosine mean" in shown(measurement_panel(series(2, 0)))
    whole = measurement(3, 0.1, 0.5, 2)
    assert "pairs val_val" in shown(
        measurement_panel([dataclasses.replace(whole, pair_sets={"val_val": whole["val_val"]})])
    )
    assert "No measurement yet" in shown(measurement_panel([], "running"))


def test_sparklines_rise_with_the_values_leave_gaps_and_fit():
    assert Sparkline([0, 1, 2, 3, 4, 5, 6, 7]).bars(8) == "▁▂▃▄▅▆▇█"
    assert Sparkline([7, float("nan"), float("inf"), 0]).bars(9) == "█  ▁"
    assert Sparkline([3.0, 3.0]).bars(5)[0] in "▄▅"
    assert Sparkline([]).bars(5) == Sparkline([1.0]).bars(0)[1:] == ""
    assert Sparkline([0, 0, 7, 7]).bars(2) == "▁█"
    assert shown(Sparkline([0, 7]), legacy_windows=False).strip() == "▁█"


def test_training_on_a_terminal_shows_the_panel_above_the_bar_and_takes_both_away():
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    progress = LiveProgress(console)
    progress.say("[begin]")
    progress.begin(2, 10)
    m = measurement(4, 0.4, 0.5, 2)
    progress.measured(dataclasses.replace(m, gram=None), 0.25)
    progress.stepped(0, 4, {"loss": 0.5})
    progress._live.refresh()
    text = console.file.getvalue()
    assert "[begin]" in text
    assert f"{m['train_val'].cosine.within:.3f}±.039" in text
    assert "measured in 0.2 s" in text
    assert "epoch 1/2" in text
    assert "4/10" in text
    progress.end()
    assert not progress._live.is_started
