import math

import numpy as np
import pytest
from plain_sums import sums_of

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.statistics import STATISTICS, half_statistics
from tfstiff.stiffness.statistics.class_means import class_mean_gram
from tfstiff.stiffness.statistics.coherence import coherence
from tfstiff.stiffness.statistics.noise_scale import noise_scale

RNG = np.random.default_rng(0)
CLASSES = np.arange(20) % 4
GRADIENTS = RNG.normal(size=(20, 6)) + 0.5 * RNG.normal(size=(4, 6))[CLASSES] + 0.5


def test_all_of_them_at_once():
    sums = sums_of(GRADIENTS, CLASSES)
    found = half_statistics(sums)
    gram = GRADIENTS @ GRADIENTS.T
    pairs = gram[np.triu_indices(20, 1)]
    norms = np.linalg.norm(GRADIENTS, axis=1)
    assert found["mean_squared_norm"] == pytest.approx(np.trace(gram) / 20)
    assert found["m_coherence"] == pytest.approx(gram.sum() / np.trace(gram))
    assert found["gradient_diversity"] == pytest.approx(np.trace(gram) / gram.sum())
    assert found["batch_size_bound"] == pytest.approx(20 * np.trace(gram) / gram.sum())
    assert found["negative_share"] == pytest.approx(np.mean(pairs < 0))
    assert found["smallest_cosine"] == pytest.approx((gram / np.outer(norms, norms)).min())
    assert found["participation_ratio"] == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum())
    noise = noise_scale(coherence(HalfSums(sums)))
    assert [found[f"noise_scale{end}"] for end in ("", "_low", "_high")] == [noise.value, noise.low, noise.high]
    means = class_mean_gram(HalfSums(sums))
    share = np.full(4, 1 / 4)
    assert found["within_class_trace"] + share @ np.diag(means) == pytest.approx(found["mean_squared_norm"])
    assert list(found) == [name for statistic in STATISTICS for name, _ in statistic.columns()]
    assert not any(math.isnan(value) for value in found.values())


def test_one_class_has_nothing_to_compare():
    found = half_statistics(sums_of(GRADIENTS))
    assert math.isnan(found["in_class_alignment"])
    assert math.isnan(found["label_alignment"])
    assert math.isnan(found["within_class_trace"])
    assert found["coherence"] > 0


@pytest.mark.parametrize("gradients", [np.zeros((4, 3)), np.full((4, 3), np.nan), np.zeros((0, 3)), np.ones((1, 3))])
def test_nothing_to_measure_is_nan_without_a_warning(gradients, recwarn):
    found = half_statistics(sums_of(gradients, np.arange(len(gradients)) % 2, num_classes=2))
    assert math.isnan(found["coherence"])
    assert math.isnan(found["label_alignment"])
    assert not recwarn.list


def test_two_halves_have_none():
    with pytest.raises(InvalidInput, match="one half"):
        half_statistics(sums_of(GRADIENTS, CLASSES, GRADIENTS, CLASSES))
