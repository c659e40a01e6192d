"""Mean stiffness of single examples, against a double loop over pairs, and its errors against drawing anew."""

import math

import numpy as np
import pytest
from plain_pairs import cosine_of, is_finite, sign_of
from plain_sums import sums_of

from tfstiff.stiffness.example_stiffness import mean_stiffness, stiffness_of_examples

RNG = np.random.default_rng(0)
METRICS = {"sign": sign_of, "cosine": cosine_of}


def plain(gradients, gradients2, classes2, num_classes, metric):
    """Of each example: by class, the values with the examples of it; `gradients2` is None for the same examples."""
    others = gradients if gradients2 is None else gradients2
    return [
        [
            [
                metric(g, other)
                for j, other in enumerate(others)
                if classes2[j] == c and not (gradients2 is None and i == j) and is_finite(other) and is_finite(g)
            ]
            for c in range(num_classes)
        ]
        for i, g in enumerate(gradients)
    ]


def assert_is(found, values, metric):
    for i, of_example in enumerate(values):
        for c, of_class in enumerate(of_example):
            m = len(of_class)
            assert found.counts[i, c] == m
            mean = sum(of_class) / m if m else math.nan
            error = math.sqrt(sum((v - mean) ** 2 for v in of_class) / (m * (m - 1))) if m > 1 else math.nan
            np.testing.assert_allclose(getattr(found, metric)[i, c], mean, atol=1e-6)
            np.testing.assert_allclose(getattr(found, f"{metric}_se")[i, c], error, atol=1e-6)


@pytest.mark.parametrize("damage", [None, "zero", "nan"])
def test_equals_a_double_loop(damage):
    g, g2 = RNG.normal(size=(9, 4)) + 0.3, RNG.normal(size=(7, 4))
    y, y2 = np.array([0, 0, 0, 0, 2, 2, 2, 3, 2]), np.array([0, 0, 1, 3, 3, 3, 2])
    if damage:
        g[1], g2[4] = {"zero": (0, 0), "nan": (np.nan, np.inf)}[damage]
    sums = {
        "train_train": sums_of(g, y, num_classes=4),
        "train_val": sums_of(g, y, g2, y2, num_classes=4),
        "val_val": sums_of(g2, y2, num_classes=4),
    }
    train, validation = (stiffness_of_examples(sums, half) for half in ("train", "validation"))
    assert list(train) == list(validation) == ["train", "validation"]
    for metric, of in METRICS.items():
        assert_is(train["train"], plain(g, None, y, 4, of), metric)
        assert_is(train["validation"], plain(g, g2, y2, 4, of), metric)
        assert_is(validation["train"], plain(g2, g, y, 4, of), metric)
        assert_is(validation["validation"], plain(g2, None, y2, 4, of), metric)


def test_counts_are_kept_in_as_few_bytes_as_they_need():
    sums = {metric: (np.zeros((1, 1)), np.zeros((1, 1))) for metric in METRICS}
    for count, dtype in ((32_767, np.int16), (32_768, np.int32)):
        found = mean_stiffness(np.array([[count]]), sums)
        assert found.counts.dtype == dtype
        assert found.counts[0, 0] == count


def test_halves_whose_pairs_were_not_measured_are_absent():
    sums = {"val_val": sums_of(RNG.normal(size=(4, 3)))}
    assert stiffness_of_examples(sums, "train") == {}
    assert list(stiffness_of_examples(sums, "validation")) == ["validation"]


def test_errors_are_those_of_drawing_the_other_examples_anew():
    """One example and 2,000 draws of others; the mean of the squared errors is the variance of the mean."""
    example, sizes = RNG.normal(size=3), (4, 12)
    means, errors = {"sign": [], "cosine": []}, {"sign": [], "cosine": []}
    y = np.repeat([0, 1], sizes)
    for _ in range(2000):
        others = RNG.normal(size=(16, 3)) + np.where(y[:, None] == 0, 0.8, -0.3)
        found = stiffness_of_examples({"train_val": sums_of(example[None], [0], others, y)}, "train")["validation"]
        for metric, of in means.items():
            of.append(getattr(found, metric)[0])
            errors[metric].append(getattr(found, f"{metric}_se")[0] ** 2)
    for metric, of in means.items():
        np.testing.assert_allclose(np.mean(errors[metric], 0), np.var(of, 0, ddof=1), rtol=0.12)
