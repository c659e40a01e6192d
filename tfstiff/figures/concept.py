"""What stiffness is, as a diagram: figure 1 of both versions of the paper. It needs no run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tfstiff.figures.kinds import register_figure
from tfstiff.figures.sizes import DEFAULT_WIDTH, inches, is_column
from tfstiff.figures.style import STIFFNESS_COLOURS, Figure, Numbers, drawing_style, new_figure, write_title

# What a step on the first example does to the second -> angle between their gradients, in degrees.
_CASES = {"stiff": 40, "not stiff": 90, "anti-stiff": 140}
_STEP = 0.9  # along −g1, in which the losses are drawn
_FIRST, _SECOND = "#0072B2", "#D55E00"
_DASHES = (0, (4, 1.5))
_ARROW: dict[str, Any] = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0}
_TINTS = {"stiff": 0.72, "not stiff": 0.5, "anti-stiff": 0.28}  # of the colours of class matrices


@drawing_style()
def concept(*, width: str = DEFAULT_WIDTH) -> Figure:
    """Draws the two equivalent views of stiffness, for pairs that are stiff, not stiff and anti-stiff.

    Above, losses: a small step against the gradient of the loss of the first example lowers that loss, and lowers,
    leaves or raises the loss of the second. Below, gradients: the angle between the two decides it.

    Args:
        width: `column` or `page`, of a paper; in a column the pairs stand below each other.

    Raises:
        InvalidInput: There is no such width.
    """
    upright = is_column(width)
    figure = new_figure(inches(width), 5.2 if upright else 4.6)
    axes = figure.subplots(3, 2).T if upright else figure.subplots(2, 3)
    for above, below, (name, angle) in zip(axes[0], axes[1], _CASES.items(), strict=True):
        _draw_losses(above, angle)
        _draw_gradients(below, name, angle)
        above.set_title(name, fontsize=7.5 if upright else 10, weight="bold")
    for panel, words in zip(axes[:, 0], ("a)  change of the losses", "b)  alignment of the gradients"), strict=True):
        panel.annotate(words, (0.5, 1.2), xycoords="axes fraction", ha="center") if upright else panel.set_ylabel(words)
    write_title(figure, "Stiffness: does a gradient step on one example help another?", {})
    return figure


def concept_numbers() -> Numbers:
    """Header and rows of the pairs that `concept` draws: gradients of length 1 and a small step."""
    rows: list[list[object]] = [
        [name, angle, _cosine(angle), int(np.sign(_cosine(angle))), -1.0, -_cosine(angle)]
        for name, angle in _CASES.items()
    ]
    header = ["case", "angle_degrees", "cosine", "sign", "change_of_loss_1_per_step", "change_of_loss_2_per_step"]
    return header, rows


def _cosine(angle: float) -> float:
    return 0.0 if angle == 90 else math.cos(math.radians(angle))


def _draw_losses(axes: Axes, angle: float) -> None:
    """The losses along the step, with what it changes."""
    at = np.linspace(0, 1.2, 40)
    for name, slope, level, color, dash in (("1", 1.0, 2.3, _FIRST, "-"), ("2", _cosine(angle), 1.0, _SECOND, _DASHES)):
        loss = level - 0.7 * slope * at + 0.12 * abs(slope) * at**2
        after = float(np.interp(_STEP, at, loss))
        axes.plot([0, 1.2], [level] * 2, color="0.75", linewidth=0.6, zorder=0)
        axes.plot(at, loss, color=color, linestyle=dash)
        axes.plot([0], [level], marker="o", color=color)
        if slope:
            axes.annotate("", (_STEP, after), (_STEP, level), arrowprops=_ARROW | {"color": color, "linewidth": 1.2})
        change = f"ΔL$_{name}$ {'<' if slope > 0 else '>' if slope < 0 else '='} 0"
        axes.text(1.27, (after + level) / 2, change, color=color, va="center", fontsize=7)
        axes.text(-0.07, level, f"L$_{name}$", color=color, va="center", ha="right", fontsize=7.5)
    axes.set(xlim=(-0.3, 1.95), ylim=(0.1, 2.6), yticks=[])
    axes.set_xticks([0, _STEP], ["W", "W − ε g$_1$"], fontsize=6.5)
    axes.spines["left"].set_visible(False)


def _draw_gradients(axes: Axes, name: str, angle: float) -> None:
    """The two gradients and the angle between them."""
    turn = np.radians(np.linspace(0, angle, 40))
    tint = STIFFNESS_COLOURS(_TINTS[name])
    axes.fill([0, *0.45 * np.cos(turn)], [0, *0.45 * np.sin(turn)], facecolor=tint, edgecolor="0.5", linewidth=0.6)
    for label, degrees, color, dash in (("g$_1$", 0, _FIRST, "-"), ("g$_2$", angle, _SECOND, _DASHES)):
        tip = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        look = {"color": color, "linestyle": dash, "linewidth": 1.5, "mutation_scale": 11}
        axes.annotate("", tip, (0, 0), arrowprops=_ARROW | look)
        axes.text(1.16 * tip[0], 1.16 * tip[1], label, color=color, ha="center", va="center", fontsize=8)
    cosine = _cosine(angle)
    product = f"g$_1$ · g$_2$ {'>' if cosine > 0 else '<' if cosine < 0 else '='} 0"
    numbers = f"sign {np.sign(cosine):.0f},  cos {cosine:.2f}".replace("-", "−")
    axes.text(0.1, -0.34, f"{product}\n{numbers}", ha="center", va="center", fontsize=7)
    axes.set(xlim=(-1.15, 1.45), ylim=(-0.6, 1.3), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


register_figure(concept, concept_numbers, "What stiffness is; needs no run.", "v1 1; ICLR 1")
