from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import NAN, by_class, measurement, series

from tfstiff.datasets.groupings import BUILT_IN
from tfstiff.errors import InvalidInput
from tfstiff.figures import NothingToDraw, class_groups
from tfstiff.figures.class_groups import class_groups_numbers
from tfstiff.records import BlockStiffness

NAMES = ("car", "cat", "ship", "dog")
GROUPS = {"vehicles": ("car", "ship"), "animals": ("cat", "dog")}


def blocks(**changes):
    numbers = {"same_group": 0.5, "different_group": -0.25, "contrast": 0.75, "contrast_se": 0.1, "p_value": 0.03}
    whole = {"same_group_se": 0.1, "same_group_df": 9.0, "different_group_se": 0.1, "different_group_df": 9.0}
    whole |= {"contrast_df": np.inf, "num_groupings": 3, "is_exact": True, "contrast_influence": np.zeros(4)}
    return BlockStiffness(**(whole | numbers | changes))


def of_matrix(matrix, groups=None, found=None):
    one = measurement(0, 0.0, 0, 4, class_names=NAMES)
    sign = replace(by_class(np.asarray(matrix, float)), blocks=found)
    stiffness = replace(one["train_val"], sign=sign)
    return replace(one, pair_sets={**one.pair_sets, "train_val": stiffness}, groups=groups or {})


MATRIX = np.array([[1.0, -0.1, 0.5, -0.2], [-0.3, 1.0, -0.4, 0.6], [0.7, -0.1, 1.0, -0.2], [-0.3, 0.8, -0.4, 1.0]])


def matrix_panels(figure):
    return [axes for axes in figure.axes if axes.images and len(axes.images[0].get_array()) > 1]


def test_classes_of_a_group_stand_side_by_side():
    panel = matrix_panels(class_groups([of_matrix(MATRIX)], grouping=GROUPS))[0]
    order = [0, 2, 1, 3]
    np.testing.assert_array_equal(panel.images[0].get_array(), MATRIX[np.ix_(order, order)])
    assert [label.get_text() for label in panel.get_yticklabels()] == ["car", "ship", "cat", "dog"]
    frames = [(patch.get_x(), patch.get_width()) for patch in panel.patches]
    assert frames == [(-0.5, 2), (1.5, 2)]
    assert panel.get_ylabel() == "training class"


def test_titles_say_what_the_blocks_hold():
    title = matrix_panels(class_groups([of_matrix(MATRIX)], grouping=GROUPS))[0].get_title()
    assert "same group 0.650\ndifferent −0.250" in title  # means of .5 .7 .6 .8, and of the eight others


def test_blocks_of_the_record_have_their_interval():
    one = of_matrix(MATRIX, GROUPS, blocks())
    figure = class_groups([one])
    title = matrix_panels(figure)[0].get_title()
    assert any("±: to the ends of the 95 % interval" in text.get_text() for text in figure.legends[0].get_texts())
    assert "same group 0.500\ndifferent −0.250\nΔ 0.750 ± 0.196\np = 0.030" in title
    others = {"a": ("car", "cat"), "b": ("ship", "dog")}
    assert "±" not in matrix_panels(class_groups([one], grouping=others))[0].get_title()


def test_a_class_in_no_group_comes_last():
    panel = matrix_panels(class_groups([of_matrix(MATRIX)], grouping={"animals": ("cat", "dog")}))[0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["cat", "dog", "car", "ship"]
    assert len(panel.patches) == 1


def test_known_classes_have_a_known_grouping_and_a_hundred_show_its_groups():
    names = tuple(sorted(name for group in BUILT_IN["cifar100"].values() for name in group))
    figure = class_groups([measurement(0, 0.0, 0, 100, class_names=names)])
    figure.canvas.draw()
    panel = matrix_panels(figure)[0]
    labels = [label for label in panel.get_yticklabels() if label.get_text()]
    assert [label.get_text() for label in labels][:2] == ["aquatic mammals", "fish"]
    assert len(labels) == 20
    boxes = [label.get_window_extent() for label in labels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


@pytest.mark.parametrize(("number", "columns"), [(1, 1), (3, 3), (80, 4)])
def test_a_column_a_stage_a_row_a_metric(number, columns):
    measured = series(number, 4, class_names=NAMES)
    figure = class_groups(measured, grouping=GROUPS)
    assert len(matrix_panels(figure)) == 2 * columns


def test_empty_cells_are_no_obstacle():
    matrix = MATRIX.copy()
    matrix[0, 2] = matrix[2, 0] = NAN
    figure = class_groups([of_matrix(matrix)], grouping=GROUPS)
    figure.canvas.draw()
    assert "same group 0.700" in matrix_panels(figure)[0].get_title()


def test_unknown_groups_are_left_out_with_the_option_that_names_them():
    with pytest.raises(NothingToDraw, match="--groups"):
        class_groups(series(3, 4, class_names=NAMES))
    with pytest.raises(NothingToDraw, match="classes"):
        class_groups(series(3, 0), grouping=GROUPS)
    with pytest.raises(InvalidInput, match="not classes"):
        class_groups(series(3, 4, class_names=NAMES), grouping={"fish": ("cod",)})


def test_numbers_are_the_ordered_matrices():
    header, rows = class_groups_numbers([of_matrix(MATRIX)], grouping=GROUPS)
    assert header[-4:] == ["car", "ship", "cat", "dog"]
    row = dict(zip(header, rows[1], strict=True))
    assert (row["group"], row["class"], row["quantity"], row["metric"]) == ("vehicles", "ship", "stiffness", "sign")
    assert (row["car"], row["cat"]) == (0.7, -0.1)
