from synthetic_runs import series, write_run

from tfstiff.figures import curves
from tfstiff.records import RunWriter, load_run
from tfstiff.stiffness.onset import Onset
from tfstiff.stiffness.overfitting import OverfittingOnset


def marks(figure):
    return [
        [line.get_xdata()[0] for line in axes.lines if line.get_label() == "_stiffness turns down"]
        for axes in figure.axes
    ]


def legend(figure):
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def found(monkeypatch, status, index=-1):
    nothing = Onset("other")
    onset = OverfittingOnset(Onset("stiffness_drop", status, index), nothing, nothing, nothing, "epoch")
    monkeypatch.setattr("tfstiff.figures.over_time.overfitting_onset", lambda measurements: onset)


def test_a_confirmed_turning_point_is_marked_in_every_panel(monkeypatch):
    measured = series(8, 2)
    found(monkeypatch, "confirmed", 5)
    figure = curves(measured)
    figure.canvas.draw()
    assert marks(figure) == [[measured[5].epoch]] * 6
    assert "stiffness turns down" in legend(figure)


def test_without_one_nothing_is_marked(monkeypatch):
    for status in ("unconfirmed", "none"):
        found(monkeypatch, status, 3)
        figure = curves(series(8, 2))
        assert marks(figure) == [[]] * 6
        assert "stiffness turns down" not in legend(figure)
    assert marks(curves(series(1, 2))) == [[]] * 6
    assert len(curves(series(3, 0)).axes) == 3


def test_where_training_was_stopped_that_is_the_mark(tmp_path, monkeypatch):
    found(monkeypatch, "confirmed", 2)
    write_run(tmp_path / "run", series(8, 2))
    event = {"event": "stiffness_dropped", "step": 9, "epoch": 9.0, "peak_step": 3, "peak_epoch": 3.5}
    RunWriter(tmp_path / "run").add_event({"event": "training_loss_reached", "step": 1, "epoch": 0.1})
    RunWriter(tmp_path / "run").add_event(event)
    assert marks(curves(load_run(tmp_path / "run"))) == [[3.5]] * 6
