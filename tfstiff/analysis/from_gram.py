"""Quantities that need the product of every two gradients, from measurements that kept them (`keep_gram=True`)."""

from __future__ import annotations

import math

import numpy as np

from tfstiff.errors import InvalidInput, Unavailable
from tfstiff.records import Measurement


def gram_of_half(measurement: Measurement, half: str) -> np.ndarray:
    """(n, n) float64: the products of the gradients of one half of the probe.

    Args:
        measurement: A measurement that kept its Gram matrix.
        half: "train" or "validation".

    Raises:
        InvalidInput: There is no such half.
        Unavailable: The measurement did not keep the Gram matrix.
    """
    measurement.half(half)
    first = measurement.train.num_examples
    part = slice(0, first) if half == "train" else slice(first, None)
    return whole_gram(measurement)[part, part].astype(np.float64)


def whole_gram(measurement: Measurement) -> np.ndarray:
    """The products of all gradients, the training half first, as they were kept.

    Raises:
        Unavailable: The measurement did not keep them.
    """
    if measurement.gram is None:
        raise Unavailable(
            f"The measurement at step {measurement.step} did not keep the products of all gradients.",
            remedy="Measure with keep_gram=True.",
        )
    return measurement.gram


def effective_rank(gram: np.ndarray) -> float:
    """Effective rank of the gradients: `exp(−Σ p log p)` with p the eigenvalues of the Gram matrix over their sum.

    Roy and Vetterli 2007, "The effective rank: a measure of effective dimensionality", who take the singular values of
    a matrix; here the matrix is the Gram matrix itself, whose singular values are its eigenvalues. From 1 to n. NaN
    where all gradients are zero.

    Args:
        gram: (n, n) products of gradients; examples without a finite gradient are left out.
    """
    eigenvalues = np.clip(np.linalg.eigvalsh(_finite_part(gram)), 0, None)  # rounding leaves some below 0
    total = eigenvalues.sum()
    if not total > 0:
        return math.nan
    shares = eigenvalues[eigenvalues > 0] / total
    return float(np.exp(-shares @ np.log(shares)))


def gradient_confusion(gram: np.ndarray) -> float:
    """η: the smallest number with `g_i · g_j ≥ −η` for all i ≠ j (Sankararaman et al. 2020, arXiv 1904.06963).

    In units of squared gradients, at least 0. NaN without pairs.

    Args:
        gram: (n, n) products of gradients; examples without a finite gradient are left out.
    """
    pairs = _pairs(_finite_part(gram))
    return max(0.0, -float(pairs.min())) if len(pairs) else math.nan


def cosine_percentile(gram: np.ndarray, percentile: float = 5.0) -> float:
    """A percentile of the cosines of all pairs i ≠ j, by default the 5th.

    It tells of conflicts between gradients as their smallest cosine does (Sankararaman et al. 2020 plot both the
    minimum and the distribution), without growing with the number of pairs. NaN without pairs.

    Args:
        gram: (n, n) products of gradients; examples without a finite gradient are left out.
        percentile: 0 to 100.
    """
    part = _finite_part(gram)
    norms = np.sqrt(np.diag(part))
    inverse = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0)
    pairs = _pairs(part * inverse[:, None] * inverse)
    return float(np.percentile(pairs, percentile)) if len(pairs) else math.nan


def _finite_part(gram: np.ndarray) -> np.ndarray:
    gram = np.asarray(gram, np.float64)
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1]:
        raise InvalidInput("A Gram matrix must be square.", expected="(n, n)", received=gram.shape)
    kept = np.isfinite(np.diag(gram))
    return gram[np.ix_(kept, kept)]


def _pairs(values: np.ndarray) -> np.ndarray:
    return values[np.triu_indices(len(values), 1)]
