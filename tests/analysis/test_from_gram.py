import dataclasses
import math

import numpy as np
import pytest

from tfstiff.analysis.from_gram import (
    cosine_percentile,
    effective_rank,
    gradient_confusion,
    gram_of_half,
    whole_gram,
)
from tfstiff.errors import InvalidInput, TfstiffError, Unavailable
from tfstiff.records import HalfSummary, Measurement

RNG = np.random.default_rng(0)
GRADIENTS = RNG.normal(size=(30, 4)).astype(np.float32)


def measured(gram=None, num_train=18, learning_rate=0.1, step=3):
    train, validation = (HalfSummary(count, 1.0, 0.5, 0, 0) for count in (num_train, 30 - num_train))
    return Measurement(train, validation, {}, step=step, learning_rate=learning_rate, gram=gram)


def test_the_halves_of_a_kept_gram():
    kept = measured(GRADIENTS @ GRADIENTS.T)
    np.testing.assert_allclose(gram_of_half(kept, "train"), GRADIENTS[:18] @ GRADIENTS[:18].T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        gram_of_half(kept, "validation"), GRADIENTS[18:] @ GRADIENTS[18:].T, rtol=1e-5, atol=1e-6
    )
    assert whole_gram(kept) is kept.gram
    with pytest.raises(InvalidInput, match="Unknown half"):
        gram_of_half(kept, "test")


def test_what_was_not_kept_is_unavailable():
    with pytest.raises(Unavailable, match=r"step 3 did not keep(.|\n)*keep_gram=True"):
        gram_of_half(measured(), "train")
    assert issubclass(Unavailable, TfstiffError)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_the_effective_rank_of_even_directions_is_their_number(rank):
    gradients = 3 * np.eye(6)[np.arange(24) % rank]
    assert effective_rank(gradients @ gradients.T) == pytest.approx(rank)


def test_the_effective_rank_of_uneven_directions():
    shares = np.array([0.7, 0.2, 0.1])
    basis, _ = np.linalg.qr(RNG.normal(size=(5, 5)))
    gram = (basis[:, :3] * shares) @ basis[:, :3].T
    assert effective_rank(gram) == pytest.approx(math.exp(-(shares * np.log(shares)).sum()))
    assert math.isnan(effective_rank(np.zeros((4, 4))))


def test_confusion_and_percentiles_are_of_the_pairs():
    gram = GRADIENTS.astype(float) @ GRADIENTS.T
    pairs = np.triu_indices(30, 1)
    assert gradient_confusion(gram) == pytest.approx(-gram[pairs].min())
    norms = np.linalg.norm(GRADIENTS, axis=1)
    cosine = gram / np.outer(norms, norms)
    assert cosine_percentile(gram) == pytest.approx(np.percentile(cosine[pairs], 5), abs=1e-6)
    assert cosine_percentile(gram, 0) == pytest.approx(cosine[pairs].min(), abs=1e-6)
    assert gradient_confusion(np.ones((3, 3))) == 0
    assert math.isnan(gradient_confusion(np.ones((1, 1))))
    assert math.isnan(cosine_percentile(np.ones((1, 1))))


def test_examples_without_a_finite_gradient_are_left_out():
    gram = GRADIENTS.astype(float) @ GRADIENTS.T
    holed = gram.copy()
    holed[4] = holed[:, 4] = np.nan
    rest = np.delete(np.delete(gram, 4, 0), 4, 1)
    for function in (effective_rank, gradient_confusion, cosine_percentile):
        assert function(holed) == pytest.approx(function(rest))
        with pytest.raises(InvalidInput, match="square"):
            function(gram[:3])


def test_a_measurement_is_left_as_it_is():
    kept = measured(GRADIENTS @ GRADIENTS.T)
    before = dataclasses.replace(kept, gram=kept.gram.copy())
    effective_rank(gram_of_half(kept, "train"))
    np.testing.assert_array_equal(kept.gram, before.gram)
