import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "figures"))
from synthetic_runs import measurement, series, write_run

import tfstiff.figures
from tfstiff.runs.figure_refresh import SHARE, FigureRefresh, TimeBudget
from tfstiff.runs.progress import Progress


class Clock:
    """Time that passes only where the test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Told(Progress):
    def __init__(self):
        self.calls = []

    def say(self, text):
        self.calls.append(("say", text))

    def begin(self, epochs, steps_per_epoch):
        self.calls.append(("begin", epochs, steps_per_epoch))

    def stepped(self, epoch, step, logs):
        self.calls.append(("stepped", epoch, step))

    def epoch_ended(self, epoch, logs, seconds):
        self.calls.append(("epoch_ended", epoch))

    def measured(self, measurement, seconds):
        self.calls.append(("measured", measurement.step))

    def end(self):
        self.calls.append(("end",))


def simulate(costs, pause):
    """When each thing was done and ended, where it may be done every `pause` seconds and costs as given."""
    clock = Clock()
    budget = TimeBudget(SHARE, 5.0, clock)
    done = []
    for cost in costs:
        while not budget.is_due():
            clock.now += pause
        with budget.spend():
            start = clock.now
            clock.now += cost
        done.append((start - 1000, clock.now - 1000))
    return done


@pytest.mark.parametrize(
    "costs", [[0.5] * 40, [5.0] * 20, [0.1 * 1.3**i for i in range(30)], [4.0, 0.01, 0.02, 3e-3, 4e-3] * 3]
)
@pytest.mark.parametrize("pause", [0.3, 60.0])
def test_what_is_done_never_takes_more_than_its_share(costs, pause):
    spent = 0.0
    for start, end in simulate(costs, pause):
        spent += end - start
        assert spent <= SHARE * end


def test_the_next_time_comes_no_sooner_than_after_fifty_times_the_cost():
    done = simulate([0.5, 1.0, 0.1, 0.7], pause=0.1)
    for (start, end), (after, _) in itertools.pairwise(done):
        assert after - end >= 50 * (end - start) - 1e-6


def test_the_share_is_made_use_of():
    _, end = simulate([1.0] * 500, pause=1.0)[-1]
    assert 500 / end > 0.9 * SHARE


@pytest.fixture
def drawn(monkeypatch):
    """Names of the figures drawn; each takes a second of the clock's."""
    names = []
    clock = Clock()

    def draw(run, wanted, formats, say):
        assert run.measurements
        names.append(*wanted)
        clock.now += 1.0

    monkeypatch.setattr(tfstiff.figures, "draw", draw)
    names_of = ["one", "two", "three"]
    monkeypatch.setattr(tfstiff.figures, "FIGURES", dict.fromkeys(names_of))
    return clock, names


def test_figures_are_drawn_in_turn_where_a_measurement_comes_late_enough(tmp_path, drawn):
    clock, names = drawn
    run = write_run(tmp_path / "mine", series(2, 2))
    refresh = FigureRefresh(run.folder, Progress(), clock)
    began = clock.now
    refresh.begin(9, 9)
    for minute in range(60):
        clock.now = max(clock.now, began + 60 * minute)
        refresh.measured(run.measurements[0], 0.1)
        assert len(names) <= max(0, SHARE * (clock.now - began))
    assert names[:4] == ["one", "two", "three", "one"]
    assert len(names) > 50


def test_nothing_is_drawn_in_a_short_run_or_before_it_begins(tmp_path, drawn):
    clock, names = drawn
    run = write_run(tmp_path / "mine", series(2, 2))
    refresh = FigureRefresh(run.folder, Progress(), clock)
    clock.now += 9999
    refresh.measured(run.measurements[0], 0.1)
    refresh.begin(9, 9)
    clock.now += 200
    refresh.measured(run.measurements[0], 0.1)
    assert names == []


def test_everything_is_passed_on():
    told = Told()
    refresh = FigureRefresh(Path("nowhere"), told, Clock())
    refresh.say("text")
    refresh.begin(2, 3)
    refresh.stepped(0, 1, {})
    refresh.measured(measurement(7, 0.1, 0.1, 2), 0.1)
    refresh.epoch_ended(0, {}, 1.0)
    refresh.end()
    expected = [("say", "text"), ("begin", 2, 3), ("stepped", 0, 1), ("measured", 7), ("epoch_ended", 0), ("end",)]
    assert told.calls == expected


def test_a_figure_that_cannot_be_drawn_ends_the_drawing_and_not_the_training(tmp_path, drawn, monkeypatch):
    clock, _ = drawn
    attempts = []

    def draw(*_, **__):
        attempts.append(1)
        raise RuntimeError("no ink")

    monkeypatch.setattr(tfstiff.figures, "draw", draw)
    told = Told()
    run = write_run(tmp_path / "mine", series(1, 2))
    refresh = FigureRefresh(run.folder, told, clock)
    refresh.begin(1, 1)
    for _ in range(5):
        clock.now += 1000
        refresh.measured(run.measurements[0], 0.1)
    assert [text for kind, *text in told.calls if kind == "say"] == [
        ["No more figures are drawn during training: RuntimeError: no ink"]
    ]
    assert len(attempts) == 1


def test_the_figures_are_those_of_the_plot_command(tmp_path):
    run = write_run(tmp_path / "mine", series(2, 2))
    clock = Clock()
    told = Told()
    refresh = FigureRefresh(run.folder, told, clock)
    refresh.begin(1, 1)
    clock.now += 300
    refresh.measured(run.measurements[0], 0.1)
    name = next(iter(tfstiff.figures.FIGURES))
    assert (run.folder / "figures" / f"{name}.png").exists(), told.calls
