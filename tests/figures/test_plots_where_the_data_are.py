"""`m.plot`, `run.plot`, `history.plot`, `tfstiff.plot`: every figure from what is in memory."""

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from synthetic_runs import series
from synthetic_sweeps import sweep

import tfstiff
from tfstiff.callbacks.history import History
from tfstiff.errors import InvalidInput
from tfstiff.figures import FIGURES, NothingToDraw
from tfstiff.figures.live import live_figure
from tfstiff.figures.overlays import overlay_numbers, run_names


@pytest.fixture
def run(make_run):
    return make_run(series(4, 3))


def heights(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line.get_ydata().tolist()


def test_a_class_matrix_is_that_of_the_measurement(run):
    m = run.measurements[1]
    figure = m.plot.class_matrix(pair_set="val_val", metric="sign")
    (image,) = figure.axes[0].images
    np.testing.assert_array_equal(image.get_array(), m["val_val"].sign.matrix)
    assert "validation–validation" in figure.axes[0].get_title()
    (image,) = run.plot.class_matrix().axes[0].images
    np.testing.assert_array_equal(image.get_array(), run.measurements[-1]["train_val"].cosine.matrix)
    (image,) = run.plot.class_matrix(measurement=0).axes[0].images
    np.testing.assert_array_equal(image.get_array(), run.measurements[0]["train_val"].cosine.matrix)


def test_a_quantity_over_time_with_the_pair_sets_asked_for(run):
    axes = run.plot.curves("sign_between", pair_sets=["train_val", "val_val"]).axes[0]
    for label, pair_set in (("train–validation", "train_val"), ("validation–validation", "val_val")):
        assert heights(axes, label) == [m[pair_set].sign.between for m in run.measurements]
    assert len(axes.get_legend().get_texts()) == 2
    assert heights(run.plot.curves("train_loss").axes[0], "training loss") == [m.train.loss for m in run.measurements]


def test_into_a_panel_that_is_given(run):
    figure = Figure()
    first, second, third = figure.subplots(1, 3)
    history = History(run.measurements)
    assert history.plot.curves(ax=first) is figure
    assert run.measurements[0].plot.class_matrix(ax=second) is figure
    assert tfstiff.plot(run, run).overlay(ax=third) is figure
    assert first.lines
    assert second.images
    assert third.lines


def test_every_figure_of_a_run_is_there_by_its_name(run, tmp_path):
    runs = sweep(tmp_path / "sweep")
    for name, kind in FIGURES.items():
        plots = tfstiff.plot(*runs) if kind.takes == "runs" else run.plot
        if kind.takes == "nothing":
            assert name not in dir(plots)
            continue
        assert name in dir(plots)
        if name in ("layers", "statistics", "class_groups", "directions"):
            with pytest.raises(NothingToDraw):
                getattr(plots, name)()
        else:
            assert isinstance(getattr(plots, name)(), Figure)


def test_called_it_draws_what_says_most(run):
    assert len(run.measurements[0].plot().axes) == 3  # two metrics, and the colours
    assert len(run.plot().axes) == 6
    assert len(tfstiff.plot(*run.measurements).curves("cosine_within").axes) == 1
    assert len(tfstiff.plot(run, run)().axes) == 1
    assert len(series(1, 0)[0].plot().axes) == 1  # without classes


def test_a_figure_shows_itself_without_pyplot(run):
    assert run.plot.curves()._repr_png_().startswith(b"\x89PNG")
    assert matplotlib.rcParams["font.size"] == matplotlib.rcParamsDefault["font.size"]


def test_an_overlay_names_runs_by_what_differs(make_run):
    measured = series(3, 2)
    spec = {"dataset": "mnist", "arch": "fc", "learning_rate": 1e-3, "seed": 0}
    runs = [
        make_run(measured, "a", spec=spec | {"permute_labels": False}),
        make_run(measured, "b", spec=spec | {"permute_labels": True}),
        make_run(measured, "c", spec=spec | {"permute_labels": True, "seed": 1}),
    ]
    assert run_names(runs[:2]) == ["permute labels no", "permute labels yes"]
    assert run_names(runs) == ["permute labels no, seed 0", "permute labels yes, seed 0", "permute labels yes, seed 1"]
    assert run_names([runs[0]]) == ["a"]
    assert run_names([runs[0], runs[0]]) == ["a (1)", "a (2)"]
    axes = tfstiff.plot(*runs).overlay("cosine_between", pair_set="val_val").axes[0]
    assert heights(axes, "permute labels no, seed 0") == [m["val_val"].cosine.between for m in measured]
    header, rows = overlay_numbers(runs, quantity="cosine_between", pair_set="val_val")
    assert header == ["run", "step", "epoch", "stiffness_cosine_between_val_val", "low", "high"]
    assert [row[:2] + row[3:4] for row in rows[:3]] == [
        ["permute labels no, seed 0", m.step, m["val_val"].cosine.between] for m in measured
    ]


def test_how_a_training_stands(run):
    figure = live_figure(run.measurements)
    assert heights(figure.axes[0], "training loss") == [m.train.loss for m in run.measurements]
    (image,) = figure.axes[2].images
    np.testing.assert_array_equal(image.get_array(), run.measurements[-1]["train_val"].cosine.matrix)
    assert len(live_figure(series(1, 0)).axes) == 2


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda run: run.plot.class_matrix(metric="angle"), "sign or cosine"),
        (lambda run: run.plot.class_matrix(pair_set="val"), "train_train"),
        (lambda run: run.plot.class_matrix(measurement=4), "0 to 3"),
        (lambda run: run.plot.curves("sign_inside"), "stiffness_sign_within_train_train"),
        (lambda run: run.plot.overlay("sign_inside"), "stiffness_sign_within_train_train"),
        (lambda run: run.measurements[0].plot.overlay(), "load_run"),
        (lambda run: tfstiff.plot(run, run).curves(), "of one run"),
        (lambda run: tfstiff.plot(), "several runs"),
        (lambda run: History().plot, "several runs"),
        (lambda run: run.plot.log_curves(colour="red"), "no such option"),
    ],
)
def test_what_cannot_be_drawn_is_said(run, draw, words):
    with pytest.raises(InvalidInput, match=words):
        draw(run)
    with pytest.raises(AttributeError, match="There is no figure nonsense"):
        run.plot.nonsense  # noqa: B018
