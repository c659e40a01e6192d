"""A class stiffness matrix as a small PNG, quick enough to draw while a model trains."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from tfstiff.figures.style import STIFFNESS_COLOURS, drawing_style, new_figure, short_name
from tfstiff.records.words import HALF_NAMES

DOTS_PER_INCH = 100
_WIDTH, _HEIGHT = 4.8, 4.3  # inches
_MATRIX = (0.24, 0.235, 0.615, 0.685)  # left, bottom, width, height, as parts of the figure
_MOST_NAMES = 40  # classes, beyond which their names cannot be read


@drawing_style()
def matrix_png(matrix: np.ndarray, class_names: Sequence[str], title: str, pair_set: str) -> bytes:
    """Draws one matrix with its class names and a colour bar from −1 (blue) over 0 (white) to 1 (red).

    Args:
        matrix: (C, C) stiffness; NaN cells are hatched.
        class_names: C names.
        title: Above the matrix.
        pair_set: `train_train`, `train_val` or `val_val`: the first half's classes are the rows.
    """
    figure = new_figure(_WIDTH, _HEIGHT)
    figure.set_layout_engine("none")  # a fixed place for the axes: measuring all texts takes most of the time
    axes = figure.add_axes(_MATRIX)
    axes.patch.set(facecolor="0.9", edgecolor="0.55", hatch="//////", linewidth=0)
    image = axes.imshow(matrix, cmap=STIFFNESS_COLOURS, vmin=-1, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(True)
    number = len(class_names)
    if number <= _MOST_NAMES:
        ticks, labels = range(number), [short_name(name, 14) for name in class_names]
        size, length, rotation = 7.0 if number <= 20 else 5.0, 0, 90
    else:  # some of them, by number
        ticks = range(0, number, round(number / 50) * 10)
        labels, size, length, rotation = [str(tick) for tick in ticks], 7.0, 2, 0
    axes.set_xticks(ticks, labels, rotation=rotation, fontsize=size, parse_math=False)
    axes.set_yticks(ticks, labels, fontsize=size, parse_math=False)
    axes.tick_params(length=length, pad=2)
    first, second = (HALF_NAMES[half] for half in pair_set.split("_"))
    figure.text(0.5475, 0.015, f"{second} class", ha="center", va="bottom")
    figure.text(0.015, 0.5775, f"{first} class", ha="left", va="center", rotation=90)
    axes.set_title(title)
    bar = figure.colorbar(image, cax=figure.add_axes((0.885, 0.235, 0.025, 0.685)), ticks=[-1, -0.5, 0, 0.5, 1])
    bar.outline.set_linewidth(0.6)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DOTS_PER_INCH)
    return content.getvalue()
