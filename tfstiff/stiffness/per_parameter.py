"""Signal and noise of the gradient of each parameter. These need moments per parameter; no product of gradients does.

Parameters whose gradient is zero in all examples (units that are dead, classes that do not occur) have no signal and no
noise. They are left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tfstiff.errors import InvalidInput


class ParameterMoments(NamedTuple):
    """Moments of the gradient over n examples, for each of P parameters.

    Attributes:
        mean: (P,) float64.
        variance: (P,) float64, unbiased (over n − 1).
        num_examples: n.
    """

    mean: np.ndarray
    variance: np.ndarray
    num_examples: int


def parameter_moments(gradients: np.ndarray) -> ParameterMoments:
    """Computes the moments of `tfstiff.per_example_gradients`.

    Args:
        gradients: (n, P), n at least 2.

    Raises:
        InvalidInput: It is not such a matrix.
    """
    gradients = np.asarray(gradients)
    if gradients.ndim != 2 or len(gradients) < 2:
        raise InvalidInput(
            "Moments need the gradients of at least two examples.", expected="(n, P)", received=gradients.shape
        )
    return ParameterMoments(
        gradients.mean(0, dtype=np.float64), gradients.var(0, ddof=1, dtype=np.float64), len(gradients)
    )


def gradient_signal_to_noise_ratio(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """GSNR of each parameter, `r = mean² / variance` (Liu et al. 2020, arXiv 2001.07384). NaN for dead parameters.

    The mean square of n examples exceeds the square of the expectation by variance / n, so a parameter without any
    signal has a GSNR of about 1/n. The mean of r weighted by the variance is 1 / the gradient noise scale; only its
    unweighted mean or median tells more.

    Args:
        mean: (P,) mean gradient of each parameter.
        variance: (P,) variance over examples.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean**2 / variance


def one_step_generalization_ratio(mean: np.ndarray, variance: np.ndarray, num_examples: int) -> float:
    """OSGR: what one step of gradient descent on n examples gains on new ones, over what it gains on those n.

    Liu et al. 2020 (arXiv 2001.07384) write R = 1 − (1/n) Σ_j W_j / (r_j + 1/n), with r the GSNR and W_j the share of
    parameter j in Σ_j (mean_j² + variance_j / n). Since r_j + 1/n = (mean_j² + variance_j / n) / variance_j, that is

        R = Σ mean² / Σ (mean² + variance / n).

    NaN where all gradients are zero.

    Args:
        mean: (P,) expectation of each parameter's gradient. The mean of few examples overstates its square.
        variance: (P,) variance over examples.
        num_examples: n.
    """
    signal = float(np.sum(mean**2))
    whole = signal + float(np.sum(variance)) / num_examples
    return signal / whole if whole else math.nan


def normalized_variance(mean: np.ndarray, variance: np.ndarray) -> float:
    """Mean over parameters of `variance / (variance + mean²)`, from 0, no noise, to 1, noise alone.

    The variance of the gradient over its second moment (Faghri et al. 2020, "A study of gradient variance in deep
    learning", arXiv 2007.04532; parameter by parameter, as their code does it). It differs from the gradient noise
    scale, the ratio of sums over parameters. NaN where all gradients are zero.

    Args:
        mean: (P,) mean gradient of each parameter.
        variance: (P,) variance over examples.
    """
    second_moment = variance + mean**2
    alive = second_moment > 0
    return float((variance[alive] / second_moment[alive]).mean()) if alive.any() else math.nan


def evidence_stopping_score(mean: np.ndarray, variance: np.ndarray, num_examples: int) -> float:
    """Evidence-based criterion for stopping without a validation set: `1 − (n/P) Σ mean² / variance`.

    Above 0 the gradients are within what noise alone gives, and training should stop (Mahsereci et al. 2017, "Early
    stopping without a validation set", arXiv 1703.09580, equation 7). It is for plain stochastic gradient descent. P
    counts the parameters that are not dead. A parameter whose gradient is the same in all examples makes it −∞.

    Args:
        mean: (P,) mean gradient of each parameter over the n examples.
        variance: (P,) unbiased variance over examples.
        num_examples: n.
    """
    ratio = gradient_signal_to_noise_ratio(mean, variance)
    alive = ratio[~np.isnan(ratio)]
    return 1 - num_examples * float(alive.mean()) if len(alive) else math.nan
