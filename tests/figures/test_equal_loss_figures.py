import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from synthetic_runs import series, write_run
from synthetic_sweeps import NAN, length, sweep, with_lengths

from tfstiff import at_training_loss
from tfstiff.analysis.comparison import common_losses
from tfstiff.errors import InvalidInput
from tfstiff.figures import NothingToDraw, domain_size, learning_rate
from tfstiff.figures.between_classes import learning_rate_numbers
from tfstiff.figures.domain_sizes import domain_size_numbers
from tfstiff.figures.learning_rates import by_learning_rate

# series(5) has training losses of 2.3, 1.775, 1.25, 0.725 and 0.2.


def means(axes, pair_set="train_val"):
    (found,) = [line for line in axes.lines if line.get_label() == pair_set]
    return found.get_xdata(), found.get_ydata()


def with_space(runs, lengths, space="dense"):
    """Runs whose measurements have another space with these critical lengths."""
    return [
        write_run(
            run.folder.parent / f"{run.folder.name}-more", with_lengths(run.measurements, lengths, space), run.spec
        )
        for run in runs
    ]


def test_lines_join_the_means_at_each_loss(tmp_path):
    runs = sweep(tmp_path, rates=(1e-4, 1e-3), seeds=(0, 1, 2))
    axes = learning_rate(runs, levels=[0.5, 1.5]).axes
    assert [panel.get_title() for panel in axes[:2]] == ["training loss 1.5", "training loss 0.5"]
    name = "stiffness_sign_between_train_val"
    expected = [np.mean([at_training_loss(run, 1.5)[name].value for run in each]) for each in (runs[:3], runs[3:])]
    rates, values = means(axes[0])
    np.testing.assert_allclose(values, expected)
    np.testing.assert_allclose(rates, [1e-4, 1e-3])  # the middle one of three pair sets is not shifted


def test_every_run_is_a_dot_with_its_bar(tmp_path):
    runs = sweep(tmp_path, seeds=(0, 1, 2))
    panel = learning_rate(runs, levels=[1.0]).axes[0]
    dots = [line for line in panel.lines if line.get_label() == "_runs"]
    assert [len(line.get_ydata()) for line in dots] == [3] * 6  # pair sets times rates
    found = at_training_loss(runs[0], 1.0)["stiffness_sign_between_train_train"]
    segment = panel.collections[0].get_segments()[0]
    np.testing.assert_allclose(segment[:, 1], [found.interval_low, found.interval_high])


def test_runs_that_do_not_reach_a_loss_are_counted_and_leave_a_gap(tmp_path):
    runs = sweep(tmp_path, rates=(1e-4, 1e-3, 1e-2), seeds=(0,))
    short = write_run(tmp_path / "short", runs[1].measurements[:2], spec=runs[1].spec)
    axes = learning_rate([runs[0], short, runs[2]], levels=[0.5]).axes
    assert axes[0].get_title() == "training loss 0.5\n1 of 3 runs do not pass it"
    assert means(axes[0])[0].tolist() == [1e-4, 1e-2]


def test_what_belongs_to_a_rate_stands_on_its_ground_and_none_is_cut_off(tmp_path):
    runs = sweep(tmp_path, rates=(1e-4, 4e-4, 3e-3), seeds=(0, 1))
    for figure in (learning_rate(runs, levels=[1.0]), domain_size(with_space(runs, [length(0.3)] * 5), levels=[1.0])):
        panel = figure.axes[0]
        grounds = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in panel.patches]
        assert all(end < begin for (_, end), (begin, _) in pairwise(grounds))
        assert panel.get_xlim()[0] < grounds[0][0]
        assert grounds[-1][1] < panel.get_xlim()[1]
        dots = {x for line in panel.lines if line.get_label() in ("_runs", "_filled") for x in line.get_xdata()}
        assert len(dots) == (9 if figure.axes[0].get_ylabel() == "between-class sign" else 6)
        assert all(sum(begin < x < end for begin, end in grounds) == 1 for x in dots)


def test_regression_has_means(tmp_path):
    figure = learning_rate(sweep(tmp_path, num_classes=0), levels=[1.0])
    assert figure.axes[0].get_ylabel() == "mean sign"


@pytest.mark.parametrize("figure", [learning_rate, domain_size])
def test_one_learning_rate_is_nothing_to_compare(tmp_path, figure):
    with pytest.raises(NothingToDraw, match=r"learning rate 0\.0001"):
        figure(sweep(tmp_path, rates=(1e-4,)))


def titles(figure):
    return [panel.get_title().partition("\n")[0] for panel in figure.axes]


def test_levels_are_those_to_stop_at_else_three_that_all_pass(tmp_path):
    runs = sweep(tmp_path, seeds=(0,), number=5)
    found = [f"training loss {one.at:.3g}" for one in common_losses(runs)]
    assert titles(learning_rate(runs))[:3] == found
    assert titles(domain_size(runs))[:3] == found
    assert titles(learning_rate(runs, levels=[0.3, 1]))[:2] == ["training loss 1", "training loss 0.3"]
    stopped = sweep(tmp_path / "stopped", seeds=(0,), stop_at_loss=[1.0, 0.5, 0.01])
    assert titles(domain_size(stopped))[:2] == ["training loss 1", "training loss 0.5"]  # none comes down to 0.01
    with pytest.raises(InvalidInput, match="finite"):
        learning_rate(runs, levels=[NAN])


def test_runs_without_a_loss_in_common_are_left_out(tmp_path):
    high, low = sweep(tmp_path, seeds=(0,))
    high = write_run(tmp_path / "high", high.measurements[:2], spec=high.spec)  # down to 1.775
    low = write_run(tmp_path / "low", low.measurements[3:], spec=low.spec)  # from 0.725
    with pytest.raises(NothingToDraw, match=r"no training loss that all runs"):
        learning_rate([high, low])


def test_domain_sizes_are_interpolated_at_the_loss(tmp_path):
    runs = sweep(tmp_path, seeds=(0,), number=5)
    header, rows = domain_size_numbers(runs, levels=[1.0])
    row = dict(zip(header, rows[0], strict=True))
    share = math.log(1.25 / 1.0) / math.log(1.25 / 0.725)  # between the third measurement and the fourth
    size = (1 - share) * 0.75 + share * 0.70
    assert (row["size_low"], row["size_high"]) == pytest.approx((size, size))
    assert (row["low"], row["high"]) == pytest.approx((size - 0.1, size + 0.1))
    assert (row["status"], row["space"]) == ("ok", "input")


@pytest.mark.parametrize(
    ("around", "size", "status"),
    [
        ([length(0.9), length(1.5, "extrapolated")], (0.9, math.inf), "censored"),
        ([length(0.5), length(NAN, "no_decay")], (NAN, NAN), "no_decay"),
        ([length(NAN, "no_decay"), length(0.5)], (NAN, NAN), "no_decay"),
        ([length(0.05), length(-1.0, "all_nonpositive")], (-math.inf, 0.05), "censored"),
    ],
)
def test_what_was_not_observed_is_a_bound_or_missing(tmp_path, around, size, status):
    measured = with_lengths(series(5, 2), [length(0.5)] * 2 + around + [length(0.5)])
    runs = [write_run(tmp_path / str(rate), measured, spec={"learning_rate": rate}) for rate in (1e-4, 1e-3)]
    header, rows = domain_size_numbers(runs, levels=[1.0])
    row = dict(zip(header, rows[0], strict=True))
    assert row["status"] == status
    np.testing.assert_allclose((row["size_low"], row["size_high"]), size)
    domain_size(runs, levels=[1.0]).canvas.draw()


def test_extrapolated_ones_are_taken_where_that_is_asked_for(tmp_path):
    measured = with_lengths(series(5, 2), [length(0.5)] * 2 + [length(1.5, "extrapolated")] * 3)
    runs = [write_run(tmp_path / str(rate), measured, spec={"learning_rate": rate}) for rate in (1e-4, 1e-3)]
    header, rows = domain_size_numbers(runs, levels=[1.0], extrapolate=True)
    row = dict(zip(header, rows[0], strict=True))
    assert (row["size_low"], row["size_high"], row["status"]) == (1.5, 1.5, "extrapolated")
    figure = domain_size(runs, levels=[1.0], extrapolate=True)
    assert {line.get_label() for line in figure.axes[0].lines} == {"_hollow"}


def test_a_line_is_a_space(tmp_path):
    runs = with_space(sweep(tmp_path, seeds=(0,)), [length(0.3)] * 5)
    figure = domain_size(runs, levels=[1.0])
    labels = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert labels[:2] == ["input", "dense"]
    filled = [line.get_ydata() for line in figure.axes[0].lines if line.get_label() == "_filled"]
    assert [len(values) for values in filled] == [2, 2]
    np.testing.assert_allclose(filled[1], 0.3)


def test_many_spaces_are_thinned_out_and_that_is_said(tmp_path):
    runs = []
    for rate in (1e-4, 1e-3):
        measured = [replace(one, pair_sets={"val_val": one["val_val"]}) for one in series(2, 2)]
        for number in range(14):
            measured = with_lengths(measured, [length(0.3)] * 2, f"dense_{number}")
        runs.append(write_run(tmp_path / str(rate), measured, spec={"learning_rate": rate}))
    figure = domain_size(runs, levels=[1.0])
    assert "10 of 15 spaces" in figure.get_suptitle()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (labels[0], labels[-1], len(labels)) == ("input", "dense_13", 10)


def test_groups_are_in_order_of_the_rate_and_told_apart(tmp_path):
    groups = by_learning_rate(sweep(tmp_path, rates=(1e-2, 1e-4, 1e-3, 3e-3, 3e-4), seeds=(0,), number=2))
    assert [group.rate for group in groups] == [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    assert len({group.look["marker"] for group in groups}) == 5
    grey = [np.dot(group.look["color"][:3], (0.299, 0.587, 0.114)) for group in groups]
    assert (np.diff(grey) > 0.05).all()


def test_numbers_of_the_scalars_are_those_at_the_loss(tmp_path):
    runs = sweep(tmp_path, seeds=(0,))
    header, rows = learning_rate_numbers(runs, levels=[1.0])
    table = {(row[1], row[3]): dict(zip(header, row, strict=True)) for row in rows}
    name = "stiffness_cosine_between_val_val"
    found = at_training_loss(runs[1], 1.0)[name]
    row = table[1e-3, name]
    assert (row["value"], row["se_at_most"], row["status"], row["run"]) == (found.value, found.se, "ok", "lr0.001-s0")
    assert (row["low"], row["high"]) == (found.interval_low, found.interval_high)


def test_missing_pair_sets_and_metrics_are_left_out(tmp_path):
    runs = []
    for rate in (1e-4, 1e-3):
        measured = [replace(one, pair_sets={"val_val": one["val_val"]}) for one in series(5, 2)]
        runs.append(write_run(tmp_path / str(rate), measured, spec={"learning_rate": rate, "metrics": ["sign"]}))
    assert len(learning_rate(runs, levels=[1.0]).axes) == 1
    assert len(domain_size(runs, levels=[1.0, 0.5]).axes) == 2
