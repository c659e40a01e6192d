import math

import numpy as np
import pytest
from plain_sums import half_of

from tfstiff.errors import InvalidInput
from tfstiff.stiffness.per_parameter import (
    evidence_stopping_score,
    gradient_signal_to_noise_ratio,
    normalized_variance,
    one_step_generalization_ratio,
    parameter_moments,
)
from tfstiff.stiffness.statistics.coherence import coherence
from tfstiff.stiffness.statistics.noise_scale import noise_scale

MEAN = np.array([1.0, -2, 0, 0, 3])
VARIANCE = np.array([1.0, 8, 2, 0, 0])  # the fourth is dead; the fifth the same in all examples


def test_moments():
    gradients = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    found = parameter_moments(gradients)
    np.testing.assert_allclose(found.mean, gradients.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.variance, gradients.astype(float).var(0, ddof=1))
    assert found.num_examples == 9
    for wrong in (gradients[:1], gradients[0]):
        with pytest.raises(InvalidInput, match="at least two"):
            parameter_moments(wrong)


def test_known_values():
    np.testing.assert_array_equal(gradient_signal_to_noise_ratio(MEAN, VARIANCE), [1, 0.5, 0, np.nan, np.inf])
    assert normalized_variance(MEAN, VARIANCE) == pytest.approx((1 / 2 + 8 / 12 + 1 + 0) / 4)
    assert evidence_stopping_score(MEAN[:4], VARIANCE[:4], 10) == pytest.approx(1 - 10 * 1.5 / 3)
    assert evidence_stopping_score(MEAN, VARIANCE, 10) == -math.inf
    assert one_step_generalization_ratio(MEAN, VARIANCE, 10) == pytest.approx(14 / (14 + 1.1))


def test_nothing_but_dead_parameters():
    zero = np.zeros(3)
    assert math.isnan(normalized_variance(zero, zero))
    assert math.isnan(evidence_stopping_score(zero, zero, 5))
    assert math.isnan(one_step_generalization_ratio(zero, zero, 5))


def test_the_generalization_ratio_is_the_form_it_is_published_in():
    count, mean, variance = 7, MEAN[:3], VARIANCE[:3]
    ratio = gradient_signal_to_noise_ratio(mean, variance)
    weight = mean**2 + variance / count
    published = 1 - np.sum(weight / weight.sum() / (ratio + 1 / count)) / count
    assert one_step_generalization_ratio(mean, variance, count) == pytest.approx(published)


def test_the_score_of_noise_alone_is_that_of_the_f_distribution():
    rng = np.random.default_rng(2)
    gradients = rng.normal(size=(20, 40_000)) * rng.uniform(0.1, 10, 40_000)
    # n mean² / variance has the expectation (n − 1) / (n − 3)
    assert evidence_stopping_score(*parameter_moments(gradients)) == pytest.approx(1 - 19 / 17, abs=0.03)
    assert evidence_stopping_score(*parameter_moments(gradients + 5)) < -1


def test_the_variance_weighted_mean_of_the_ratio_is_one_over_the_noise_scale():
    gradients = np.random.default_rng(3).normal(size=(800, 5)) + np.array([1, 0, 2, 0, 0.5])
    mean, variance, _ = parameter_moments(gradients)
    weighted = (gradient_signal_to_noise_ratio(mean, variance) * variance).sum() / variance.sum()
    assert 1 / weighted == pytest.approx(noise_scale(coherence(half_of(gradients))).value, rel=0.03)
