import math
from dataclasses import replace

import pytest
from synthetic_runs import series, write_run

from tfstiff import load_run
from tfstiff.analysis.turn_rules import Turn
from tfstiff.analysis.turns_of_training import TurningPoints
from tfstiff.figures import curves, log_curves
from tfstiff.records import RunWriter


def marks(figure):
    return [
        [line.get_xdata()[0] for line in axes.lines if line.get_label() == "_stiffness_drop"] for axes in figure.axes
    ]


def legend(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def found(monkeypatch, status, index=-1, time=math.nan):
    nothing = Turn("other")
    turn = TurningPoints(Turn("stiffness_drop", status, index, time), nothing, nothing, nothing, "epoch", "")
    monkeypatch.setattr("tfstiff.analysis.turns_of_training.turning_points", lambda *_: turn)


def test_a_confirmed_turning_point_is_marked_in_every_panel(monkeypatch):
    measured = series(8, 2)
    found(monkeypatch, "confirmed", 5, measured[5].epoch)
    figure = curves(measured)
    figure.canvas.draw()
    assert marks(figure) == [[measured[5].epoch]] * 6
    assert any(text.startswith("stiffness turns down: epoch") for text in legend(figure))


def test_without_one_nothing_is_marked(monkeypatch):
    for status in ("unconfirmed", "none"):
        found(monkeypatch, status, 3, 1.0)
        figure = curves(series(8, 2))
        assert marks(figure) == [[]] * 6
        assert not any("stiffness turns down" in text for text in legend(figure))
    assert len(curves(series(3, 0)).axes) == 3


def test_where_training_was_stopped_that_is_the_mark(tmp_path, monkeypatch):
    measured = series(8, 2)
    found(monkeypatch, "confirmed", 2, measured[2].epoch)
    write_run(tmp_path / "run", measured)
    event = {"event": "stiffness_dropped", "step": measured[7].step, "peak_step": measured[3].step}
    RunWriter(tmp_path / "run").add_event({"event": "training_loss_reached", "step": 1, "epoch": 0.1})
    RunWriter(tmp_path / "run").add_event(event)
    assert marks(curves(load_run(tmp_path / "run"))) == [[measured[3].epoch]] * 6


def test_each_rule_that_finds_a_turn_has_a_line_of_its_own_where_it_belongs(monkeypatch):
    measured = series(8, 2)
    rules = {"stiffness_drop": 2, "validation_minimum": 4, "generalization_loss": 6, "gap_growth": 5}
    turns = [Turn(rule, "confirmed", index, measured[index].epoch) for rule, index in rules.items()]
    turn = TurningPoints(*turns, "epoch", "")
    monkeypatch.setattr("tfstiff.analysis.turns_of_training.turning_points", lambda *_: turn)
    figure = curves(measured)
    loss, *others = figure.axes
    at = {line.get_label()[1:]: line.get_xdata()[0] for line in loss.lines if line.get_label()[1:] in rules}
    assert at == {rule: measured[index].epoch for rule, index in rules.items()}
    for panel in others:
        assert {line.get_label()[1:] for line in panel.lines} & rules.keys() == {"stiffness_drop", "validation_minimum"}
    dashes = {str(line._dash_pattern) for line in loss.lines if line.get_label()[1:] in rules}
    assert len(dashes) == 4
    assert any(text.startswith("validation loss is lowest: epoch") for text in legend(figure))
    assert marks(log_curves(measured)) == [[measured[2].epoch]] * 6


def test_marks_of_one_time_stand_beside_each_other(monkeypatch):
    measured = series(8, 2)
    turns = [Turn(rule, "confirmed", 4, measured[4].epoch) for rule in ("stiffness_drop", "validation_minimum")]
    turn = TurningPoints(*turns, *[Turn("other")] * 2, "epoch", "")
    monkeypatch.setattr("tfstiff.analysis.turns_of_training.turning_points", lambda *_: turn)
    figure = curves(measured)
    figure.canvas.draw()
    lines = [one for one in figure.axes[0].lines if one.get_label() in ("_stiffness_drop", "_validation_minimum")]
    first, second = (one.get_transform().transform((one.get_xdata()[0], 0))[0] for one in lines)
    assert second - first == pytest.approx(2 * figure.dpi / 72)


def test_the_rules_are_applied_to_the_records():
    falling = [
        replace(m, validation=replace(m.validation, loss=loss))
        for m, loss in zip(series(8, 2), (2.0, 1.5, 1.0, 0.8, 0.9, 1.0, 1.1, 1.2), strict=True)
    ]
    (text,) = [text for text in legend(curves(falling)) if "5 % above" in text]
    assert text.endswith(f"(step {falling[4].step})")
