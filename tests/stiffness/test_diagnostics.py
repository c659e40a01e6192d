import dataclasses
import math

import numpy as np
import pytest
from plain_sums import sums_of

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.coherence import coherence, noise_scale
from tfstiff.stiffness.diagnostics import gradient_diagnostics
from tfstiff.stiffness.half_sums import HalfSums

RNG = np.random.default_rng(0)
CLASSES = np.arange(20) % 4
GRADIENTS = RNG.normal(size=(20, 6)) + 0.5 * RNG.normal(size=(4, 6))[CLASSES] + 0.5


def test_all_of_them_at_once():
    sums = sums_of(GRADIENTS, CLASSES)
    found = gradient_diagnostics(sums)
    gram = GRADIENTS @ GRADIENTS.T
    pairs = gram[np.triu_indices(20, 1)]
    norms = np.linalg.norm(GRADIENTS, axis=1)
    assert found.mean_squared_norm == pytest.approx(np.trace(gram) / 20)
    assert found.m_coherence == pytest.approx(gram.sum() / np.trace(gram))
    assert found.gradient_diversity == pytest.approx(np.trace(gram) / gram.sum())
    assert found.batch_size_bound == pytest.approx(20 * np.trace(gram) / gram.sum())
    assert found.negative_share == pytest.approx(np.mean(pairs < 0))
    assert found.smallest_cosine == pytest.approx((gram / np.outer(norms, norms)).min())
    assert found.participation_ratio == pytest.approx(np.trace(gram) ** 2 / (gram**2).sum())
    assert (found.noise_scale, found.noise_scale_low, found.noise_scale_high) == noise_scale(coherence(HalfSums(sums)))
    assert found.class_mean_gram is not None
    share = np.full(4, 1 / 4)
    assert found.within_class_trace + share @ np.diag(found.class_mean_gram) == pytest.approx(found.mean_squared_norm)
    assert not any(math.isnan(value) for value in dataclasses.astuple(found) if isinstance(value, float))


def test_one_class_has_nothing_to_compare():
    found = gradient_diagnostics(sums_of(GRADIENTS))
    assert found.class_mean_gram is None
    assert math.isnan(found.in_class_alignment)
    assert math.isnan(found.label_alignment)
    assert math.isnan(found.within_class_trace)
    assert found.coherence > 0


@pytest.mark.parametrize("gradients", [np.zeros((4, 3)), np.full((4, 3), np.nan), np.zeros((0, 3)), np.ones((1, 3))])
def test_nothing_to_measure_is_nan_without_a_warning(gradients, recwarn):
    found = gradient_diagnostics(sums_of(gradients, np.arange(len(gradients)) % 2, num_classes=2))
    assert math.isnan(found.coherence)
    assert math.isnan(found.label_alignment)
    assert not recwarn.list


def test_two_halves_have_none():
    with pytest.raises(InvalidInput, match="one half"):
        gradient_diagnostics(sums_of(GRADIENTS, CLASSES, GRADIENTS, CLASSES))
