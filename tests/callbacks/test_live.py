"""The live view: in a cell it draws anew, elsewhere it writes a line; its troubles are no trouble of the training."""

import sys
import types
import warnings

import pytest
from synthetic_runs import series

from tfstiff.callbacks.history import History
from tfstiff.callbacks.live import LiveView, in_notebook


class Handle:
    def __init__(self, shown):
        self._shown = shown

    def update(self, figure):
        self._shown.append(("update", figure))


@pytest.fixture
def cell(monkeypatch):
    """What is shown in a notebook's cell."""
    shown = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.version_info = (9, 0)  # which matplotlib looks at
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    display.display = lambda figure, display_id: shown.append(("new", figure)) or Handle(shown)
    ipython.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_in_a_cell_it_is_drawn_anew_and_each_fit_has_its_own(cell):
    assert in_notebook()
    view, history = LiveView(), History(series(3, 2))
    for number in (1, 2, 3):
        view.measured(History(history[:number]))
    view.begin()
    view.measured(history)
    assert [kind for kind, _ in cell] == ["new", "update", "update", "new"]
    assert all(figure._repr_png_().startswith(b"\x89PNG") for _, figure in cell[:1])


def test_elsewhere_it_is_a_line(capsys):
    assert not in_notebook()
    history = History(series(2, 2))
    LiveView().measured(history)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"epoch {history[-1].epoch:.3g} (step 8); loss ")
    assert captured.err.count("\n") == 1


def test_a_view_that_fails_ends_with_one_warning(cell, monkeypatch):
    def fail(_):
        raise ValueError("no room")

    monkeypatch.setattr("tfstiff.figures.live.live_figure", fail)
    view = LiveView()
    with pytest.warns(UserWarning, match="The live view ends: ValueError: no room"):
        view.measured(History(series(1, 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view.measured(History(series(2, 2)))
