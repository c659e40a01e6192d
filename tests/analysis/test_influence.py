import math

import numpy as np
import pytest
from test_from_gram import GRADIENTS, measured

from tfstiff.analysis.influence import tracin_influence
from tfstiff.errors import InvalidInput, Unavailable


def test_it_is_the_sum_over_checkpoints():
    kept = [measured(scale * GRADIENTS @ GRADIENTS.T, learning_rate=rate, step=step)
            for step, (scale, rate) in enumerate([(1.0, 0.1), (0.5, 0.2), (2.0, 0.01)])]  # fmt: skip
    found = tracin_influence(kept)
    whole = (0.1 + 0.5 * 0.2 + 2 * 0.01) * GRADIENTS @ GRADIENTS.T
    np.testing.assert_allclose(found.train_on_validation, whole[:18, 18:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.self_influence, np.diag(whole)[:18], rtol=1e-5)
    assert found.steps == (0, 1, 2)


def test_gradient_descent_on_a_linear_model_lowers_losses_by_the_influence():
    """Of one training example a step, plain gradient descent: the ideal that TracIn starts from."""
    rng = np.random.default_rng(1)
    x, truth = rng.normal(size=(30, 4)), rng.normal(size=4)
    y, w, rate = x @ truth, np.zeros(4), 1e-4

    def losses(w):
        return 0.5 * (x @ w - y) ** 2

    start, checkpoints = losses(w), []
    for step in range(40):
        gradients = (x @ w - y)[:, None] * x
        checkpoints.append(measured(gradients @ gradients.T, learning_rate=rate, step=step))
        w = w - rate * gradients[:18].sum(0)
    found = tracin_influence(checkpoints)
    np.testing.assert_allclose(found.train_on_validation.sum(0), (start - losses(w))[18:], rtol=0.05, atol=1e-3)


def test_what_it_needs():
    gram = GRADIENTS @ GRADIENTS.T
    with pytest.raises(Unavailable, match="keep_gram=True"):
        tracin_influence([measured(gram), measured()])
    with pytest.raises(InvalidInput, match="no learning rate"):
        tracin_influence([measured(gram, learning_rate=math.nan)])
    with pytest.raises(InvalidInput, match="different sizes"):
        tracin_influence([measured(gram), measured(gram, num_train=17)])
    with pytest.raises(InvalidInput, match="no measurement"):
        tracin_influence([])
