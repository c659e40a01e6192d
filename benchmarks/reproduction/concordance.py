"""Numbers that others published, computed again from gradient products."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.reproduction.tables import TABLES, append, are_there, read

SEEDS = 5
KEYS = ("seed", "check")


class Check(NamedTuple):
    """A published number.

    Attributes:
        text: What it is of.
        source: Who published it.
        published: The number, or the ends of a range; None where only a side is known.
        agrees: Whether our interval agrees with it.
    """

    text: str
    source: str
    published: str
    agrees: Callable[[float, float], bool]


def _near(value: float, within: float) -> Callable[[float, float], bool]:
    return lambda low, high: low <= value + within and high >= value - within


CHECKS = {
    "lds_dot": Check(
        "Attribution by gradient products, linear datamodelling score; MNIST 5,000/500, logistic regression",
        "dattri benchmark, read off a bar",
        ".33 ± .01",
        _near(0.33, 0.01),
    ),
    "lds_cosine": Check("The same by gradient cosines", "the same", ".19 ± .01", _near(0.19, 0.01)),
    "wrong_labels": Check(
        "Wrong labels (10 %) by the product of a gradient with itself, area under the ROC; the same model",
        "the same",
        ".98 ± .01",
        _near(0.98, 0.01),
    ),
    "wrong_labels_cosine": Check(
        "The same by its cosine with itself, which is 1 for every example", "the same", ".49", _near(0.5, 0.01)
    ),
    "disparity": Check(
        "Gradient disparity, train–train against train–validation, Pearson's ρ over configurations",
        "Forouzesh and Thiran 2021",
        ".957",
        _near(0.957, 0.02),
    ),
    "coherence_real": Check(
        "m-coherence at its highest, right labels (our network and data are far smaller)",
        "Chatterjee and Zielinski 2020, ImageNet, ResNet-50",
        "≈ 40; above 5",
        lambda low, _: low > 5,
    ),
    "coherence_random": Check("The same with random labels", "the same", "< 5", lambda _, high: high < 5),
    "disparity_rescaled": Check(
        "Gradient disparity, rescaled by the deviation of losses, train–train against train–validation, Pearson's ρ",
        "Forouzesh and Thiran 2021",
        ".957",
        _near(0.957, 0.02),
    ),
    "stopping_by_disparity": Check(
        "Stopping by rescaled disparity minus by 5-fold cross-validation, 256 images of MNIST, points of test accuracy",
        "the same",
        "16.5; above 0",
        lambda low, _: low > 0,
    ),
    "one_step": Check(
        "One-step generalisation ratio, real against from the GSNR, Pearson's ρ along full-batch gradient descent",
        "Liu et al. 2020",
        ".907 to .968",
        lambda low, high: high >= 0.907 and low <= 0.968,
    ),
    "figure_6_within": Check(
        "Sign within classes before training, CIFAR-10, `cnn-v1`",
        "Fort et al. 2019, figure 6, by eye",
        "1",
        lambda low, _: low > 0.95,
    ),
    "figure_6_between": Check("The same between classes", "the same", "≈ −1", lambda _, high: high < -0.8),
    "figure_6_vehicles": Check(
        "Sign between different vehicles after 1,600 steps at learning rate 0.001",
        "the same",
        ".5 to 1",
        lambda low, high: high >= 0.5 and low <= 1,
    ),
}


def train_all(data_dir: str | None, seeds: int, is_over: Any, folder: Path = TABLES) -> Iterator[dict[str, Any]]:
    """Computes what the table lacks, and yields what it was."""
    from benchmarks.reproduction.attribution import attribution, wrong_labels
    from benchmarks.reproduction.coherences import coherence
    from benchmarks.reproduction.disparities import disparity, stopping
    from benchmarks.reproduction.figure_six import figure_six
    from benchmarks.reproduction.one_step import one_step

    for seed in range(seeds):
        for names, compute in (
            (("lds_dot", "lds_cosine"), attribution),
            (("wrong_labels", "wrong_labels_cosine"), wrong_labels),
            (("disparity", "disparity_rescaled"), disparity),
            (("coherence_real", "coherence_random"), coherence),
            (("figure_6_within", "figure_6_between", "figure_6_vehicles"), figure_six),
            (("one_step",), one_step),
            (("stopping_by_disparity",), stopping),
        ):
            there = are_there("concordance", KEYS, folder)
            if all((seed, name) in there for name in names):
                continue
            if is_over():
                return
            values = zip(names, compute(data_dir, seed), strict=True)
            rows = [{"seed": seed, "check": name, "value": value} for name, value in values]
            append("concordance", [row for row in rows if (seed, row["check"]) not in there], folder)
            yield {"seed": seed, "check": names[0]}


def table() -> pd.DataFrame:
    return read("concordance")
