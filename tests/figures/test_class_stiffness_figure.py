import math
from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import by_class, measurement, series

from tfstiff import load_run
from tfstiff.errors import InvalidInput
from tfstiff.figures import ChosenRun, NothingToDraw, class_matrices
from tfstiff.figures.cells import two_digits, uncertain_cells
from tfstiff.figures.class_stiffness import class_matrices_numbers
from tfstiff.records import PAIR_SETS, RunWriter


def panels(figure):
    return [axes for axes in figure.axes if axes.images]


def notes(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def values_of(axes):
    return [collection for collection in axes.collections if collection.get_gid() == "values"]


def pixel(image, row, column):
    return image.to_rgba(image.get_array())[row, column]


def rings_of(axes, kind="rings"):
    """Columns and rows of the cells that have a ring, or a bar."""
    found = [collection.get_offsets() for collection in axes.collections if collection.get_gid() == kind]
    return sorted((round(x), round(y)) for x, y in np.concatenate([*found, np.empty((0, 2))]).tolist())


def with_matrix(matrix, pair_set="train_val", metric="sign", **options):
    one = measurement(0, 0.0, 0, len(matrix), **options)
    changed = replace(one[pair_set], **{metric: by_class(np.asarray(matrix, float))})
    return replace(one, pair_sets={**one.pair_sets, pair_set: changed})


def test_colours_run_from_blue_over_white_to_red():
    figure = class_matrices([with_matrix([[1, 0], [-1, 0.5]])], pair_sets=["train_val"], metrics=["sign"])
    (image,) = panels(figure)[0].images
    assert tuple(pixel(image, 0, 1)) == (1, 1, 1, 1)
    red, _, blue, _ = pixel(image, 0, 0)
    assert red > 2 * blue
    red, _, blue, _ = pixel(image, 1, 0)
    assert blue > 2 * red
    red, _, blue, _ = pixel(image, 1, 1)
    assert red > blue
    assert image.get_clim() == (-1, 1)


def test_rows_are_the_first_half_and_columns_the_second():
    matrix = [[0.1, 0.2], [0.3, 0.4]]
    figure = class_matrices([with_matrix(matrix)], pair_sets=["train_val"], metrics=["sign"])
    axes = panels(figure)[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), matrix)
    assert axes.get_ylabel() == "training class"
    assert axes.get_xlabel() == "validation class"
    figure.canvas.draw()
    (values,) = values_of(axes)
    assert values.get_offsets().tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]  # x, then y


def test_a_single_stage_names_the_classes_of_each_pair_set():
    axes = panels(class_matrices(series(1, 2), pair_sets=PAIR_SETS))
    assert [panel.get_title() for panel in axes[:3]] == ["train–train", "train–validation", "validation–validation"]
    assert [panel.get_ylabel() for panel in axes[:3]] == ["training class", "training class", "validation class"]
    assert [panel.get_xlabel() for panel in axes[:3]] == ["training class", "validation class", "validation class"]


@pytest.mark.parametrize(("number", "columns"), [(2, 2), (3, 3), (80, 4)])
def test_a_column_a_stage(number, columns):
    axes = panels(class_matrices(series(number, 2)))
    assert len(axes) == 2 * columns  # of one pair set, sign and cosine
    assert [axes[row].get_ylabel() for row in (0, columns)] == ["training class"] * 2
    assert axes[0].get_subplotspec().get_gridspec().ncols == columns


def test_one_stage_has_its_metrics_beside_each_other_and_pair_sets_are_drawn_where_asked_for(make_run):
    assert [panel.get_title() for panel in panels(class_matrices(series(1, 2)))] == ["sign", "cosine"]
    run = make_run(series(1, 2))
    assert len(panels(class_matrices(ChosenRun(run.folder, pair_sets=("train_train", "val_val"))))) == 4


def test_in_a_column_stages_are_the_rows():
    axes = panels(class_matrices(series(3, 2), width="column"))
    grid = axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (3, 2)
    np.testing.assert_array_equal(axes[3].images[0].get_array(), series(3, 2)[1]["train_val"].cosine.matrix)


def test_cells_without_a_pair_show_the_hatched_ground():
    figure = class_matrices([with_matrix([[1, math.nan], [0, 1]])], pair_sets=["train_val"], metrics=["sign"])
    axes = panels(figure)[0]
    assert pixel(axes.images[0], 0, 1)[3] == 0
    assert axes.patch.get_hatch()
    (values,) = values_of(axes)
    assert len(values.get_offsets()) == 3
    assert "no pair in the cell" in notes(figure)
    assert "no pair in the cell" not in notes(class_matrices(series(1, 2)))


@pytest.mark.parametrize(("num_classes", "shown"), [(2, True), (10, True), (25, False), (100, False)])
def test_values_are_printed_only_where_they_can_be_read(num_classes, shown):
    figure = class_matrices(series(1, num_classes), pair_sets=["val_val"], metrics=["cosine"])
    figure.canvas.draw()
    values = values_of(panels(figure)[0])
    assert bool(values) == shown
    for one in values:  # each no wider than its cell
        transform = one.get_transform().transform
        widest = max(np.ptp(transform(path.get_extents().get_points())[:, 0]) for path in one.get_paths())
        assert 0 < widest < panels(figure)[0].get_window_extent().width / num_classes


def test_the_printed_values_have_the_shapes_of_their_digits():
    figure = class_matrices([with_matrix([[0.25, 0.25], [-0.25, 1]])], pair_sets=["train_val"], metrics=["sign"])
    paths = values_of(panels(figure)[0])[0].get_paths()
    np.testing.assert_array_equal(paths[0].vertices, paths[1].vertices)
    extents = [path.get_extents() for path in paths]
    assert extents[3].width < extents[0].width < extents[2].width  # a digit, a point and two, a minus before them
    assert all(extent.x0 + extent.x1 == pytest.approx(0, abs=1e-9) for extent in extents)  # in the middle of the cell


def test_cells_whose_interval_holds_zero_are_told_apart():
    one = with_matrix([[0.09, 0.11], [-0.09, 0.9]])  # standard errors of 0.05 with 40 degrees: 0.10 is the limit
    assert uncertain_cells(one["train_val"].sign).tolist() == [[True, False], [True, False]]
    figure = class_matrices([one], pair_sets=["train_val"], metrics=["sign"])
    assert rings_of(panels(figure)[0]) == [(0, 0), (0, 1)]
    assert any("holds 0" in note for note in notes(figure))
    assert "standard error of a cell: 0.05 (median), at most 0.05" in notes(figure)
    certain = class_matrices([with_matrix([[1, 0.5], [0.5, 1]])], pair_sets=["train_val"], metrics=["sign"])
    assert not any("holds 0" in note for note in notes(certain))
    assert rings_of(panels(certain)[0]) == []


def test_rings_are_there_where_values_are_not():
    matrix = np.full((25, 25), 0.9)
    matrix[3, 7] = 0.01
    figure = class_matrices([with_matrix(matrix)], pair_sets=["train_val"], metrics=["sign"])
    assert values_of(panels(figure)[0]) == []
    assert rings_of(panels(figure)[0]) == [(7, 3)]
    assert any("holds 0" in note for note in notes(figure))


def test_cells_below_zero_have_a_bar_where_no_value_says_so():
    matrix = np.full((25, 25), 0.9)
    matrix[3, 7], matrix[5, 2], matrix[6, 1], matrix[0, 0] = -0.01, -0.5, -1, math.nan  # the first is not sure
    figure = class_matrices([with_matrix(matrix)], pair_sets=["train_val"], metrics=["sign"])
    (axes,) = panels(figure)
    assert rings_of(axes, "bars") == [(1, 6), (2, 5)]
    assert "below 0" in notes(figure)
    with_values = class_matrices([with_matrix([[0.9, -0.9], [-0.9, 0.9]])], pair_sets=["train_val"], metrics=["sign"])
    assert rings_of(panels(with_values)[0], "bars") == []
    assert "below 0" not in notes(with_values)


def test_in_grey_a_bar_tells_minus_one_from_one():
    matrix = np.where(np.arange(25)[:, None] < 12, -1.0, 1.0) * np.ones((25, 25))
    figure = class_matrices([with_matrix(matrix)], pair_sets=["train_val"], metrics=["sign"])
    figure.canvas.draw()
    (axes,) = panels(figure)
    grey = np.asarray(figure.canvas.buffer_rgba())[..., :3] @ [0.299, 0.587, 0.114]
    box = axes.get_window_extent()
    height = len(grey)
    columns = slice(int(box.x0 + 0.02 * box.width), int(box.x0 + 0.98 * box.width))  # without the frame
    below, above = (
        grey[height - int(box.y0 + high * box.height) : height - int(box.y0 + low * box.height), columns]
        for low, high in ((0.55, 0.95), (0.05, 0.45))
    )
    assert abs(np.median(below) - np.median(above)) < 30  # the colours alone
    assert below.std() > 5 * above.std()


def test_a_hundred_names_give_way_to_numbers():
    axes = panels(class_matrices(series(1, 100)))[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "20", "40", "60", "80"]
    assert axes.get_ylabel() == "training class, by number"


def test_odd_names_are_shown_as_they_are():
    names = ("$x_1$ and $", "a name that goes on\nand on and on")
    figure = class_matrices(series(1, 2, class_names=names))
    figure.canvas.draw()  # an unbalanced or wrong formula would raise here
    labels = panels(figure)[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["$x_1$ and $", "a name that goe…"]
    assert not any(label.get_parse_math() for label in labels)


def test_labels_of_neighbours_do_not_overlap():
    figure = class_matrices(series(3, 10))
    figure.canvas.draw()
    for axes in panels(figure):
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            boxes = [label.get_window_extent() for label in labels if label.get_text()]
            assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize(
    ("value", "text"), [(0.996, "1"), (-1, "−1"), (0.25, ".25"), (-0.25, "−.25"), (0.001, "0"), (-0.001, "0")]
)
def test_two_digits(value, text):
    assert two_digits(value) == text


def test_numbers_are_the_records():
    measured = series(80, 2)
    header, rows = class_matrices_numbers(measured)
    assert header == ["step", "epoch", "pair_set", "metric", "quantity", "class", "class 0", "class 1"]
    assert len(rows) == 3 * 2 * 4 * 2 * 2
    last = measured[-1]["train_val"].cosine
    for quantity, matrix in (("stiffness", last.matrix), ("standard error", last.matrix_se)):
        row = next(row for row in rows if row[:6] == [37500, 20.0, "train_val", "cosine", quantity, "class 1"])
        assert row[6:] == matrix[1].tolist()


def test_title_names_the_run(make_run):
    figure = class_matrices(make_run(spec={"dataset": "d$_1$", "arch": "cnn", "learning_rate": 8e-4}))
    assert figure.get_suptitle() == "Class stiffness: d$_1$, cnn, learning rate 0.0008"
    assert class_matrices(make_run(name="bare", spec={})).get_suptitle() == "Class stiffness: bare"


def test_regression_has_no_classes():
    with pytest.raises(NothingToDraw, match="classes"):
        class_matrices(series(3, 0))


@pytest.mark.parametrize("options", [{"pair_sets": ["train"]}, {"metrics": []}, {"metrics": ["cos"]}])
def test_unknown_choices_are_refused(options):
    with pytest.raises(InvalidInput, match="some of"):
        class_matrices(series(1, 2), **options)
    with pytest.raises(InvalidInput, match="column or page"):
        class_matrices(series(1, 2), width="wide")


def test_what_was_not_measured_or_is_not_shown_is_left_out(tmp_path):
    writer = RunWriter(tmp_path)
    writer.write_config({"metrics": ["sign"]})
    for one in series(2, 3):
        writer.add(replace(one, pair_sets={"val_val": one["val_val"]}), 0.1)
    assert len(panels(class_matrices(load_run(tmp_path)))) == 2  # two stages of one pair set and one metric
    writer.write_config({})
    assert len(panels(class_matrices(load_run(tmp_path)))) == 4
