"""How gradients align with the classes, and how many stand against each other."""

from __future__ import annotations

import math

import numpy as np

from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.sums import PairSetSums

_ROUNDING = 1e-6  # of single precision: a centred matrix smaller than that, relative to the whole, is noise


def negative_share(sums: PairSetSums) -> float:
    """The share of pairs whose gradients have a negative product: on which two examples harm each other.

    Gradient confusion (Sankararaman et al. 2020, arXiv 1904.06963) bounds the products of all pairs from below; as an
    extreme value that bound grows with the number of pairs. This share and `smallest_cosine` stand beside it.

    From the sums of the sign, Σ s = positive − negative, and of its square, Σ s² = positive + negative. NaN without
    pairs.

    Args:
        sums: Of any pair set.
    """
    sign = sums.values["sign"]
    pairs = sums.pair_counts().sum()
    return float((sign.squares.sum() - sign.rows.sum()) / 2 / pairs) if pairs else math.nan


def in_class_alignment(half: HalfSums) -> np.ndarray:
    """Ω_c of each class, (C,): the mean product of two gradients of the class over the square of their mean length.

    Ω_c = n_c Σ_{i≠j∈c} g_i · g_j / ((n_c − 1) (Σ_{i∈c} |g_i|)²); its mean over classes goes with generalisation (Mehta,
    Cutkosky and Neyshabur 2021, "Extreme memorization via scale of initialization", arXiv 2008.13363). Like the
    within-class cosine, but long gradients count for more. NaN for classes of fewer than two examples or of zero
    gradients only.
    """
    lengths = half.by_class(half.norms)
    defined = (half.counts > 1) & (lengths > 0)
    scale = np.where(defined, (half.counts - 1) * lengths**2, 1)
    return np.where(defined, half.counts * half.by_class(half.products[1]) / scale, np.nan)


def label_alignment(half: HalfSums) -> float:
    """Centred alignment of the matrix of cosines with that of "same class": gradient-Gram label alignment.

    ⟨HKH, HLH⟩ / (|HKH| |HLH|) with K the cosines, self pairs included, L_ij = 1 where two examples share their class,
    H = I − 1/n the centring (centred kernel alignment: Cortes, Mohri and Rostamizadeh 2012; as a measure of learning,
    for the neural tangent kernel, Baratin et al. 2021. K here is of loss gradients, not that kernel). 1 where gradients
    fall into one direction a class. Orthogonal gradients have sqrt((C − 1) / (n − 1)), for even classes, not 0.

    All of it follows from sums, with r_i = Σ_j K_ij:

        ⟨HKH, HLH⟩ = Σ_ij K_ij L_ij − (2/n) Σ_c n_c Σ_{i∈c} r_i + Σ_c (n_c/n)² Σ_i r_i,
        |HKH|² = Σ_ij K_ij² − (2/n) Σ r_i² + (Σ r_i)² / n²,

    and |HLH|² likewise, where r_i is the size of the class of i. NaN where there are fewer than two classes, or where
    all gradients are of one direction.
    """
    counts = half.counts
    count = counts.sum()
    if np.count_nonzero(counts) < 2:
        return math.nan
    self_pairs = half.norms > 0
    row_sums = half.cosines[0] + self_pairs
    total, size = row_sums.sum(), np.count_nonzero(self_pairs)
    matched = half.cosines[1].sum() + size - 2 / count * (counts @ half.by_class(row_sums))
    matched += (counts @ counts) / count**2 * total
    whole = half.sums.values["cosine"].squares.sum() + size
    cosines = whole - 2 / count * (row_sums @ row_sums) + (total / count) ** 2
    labels = counts @ counts - 2 / count * (counts**3).sum() + (counts @ counts / count) ** 2
    return float(matched / math.sqrt(cosines * labels)) if cosines > _ROUNDING * whole else math.nan


def class_mean_gram(half: HalfSums) -> np.ndarray:
    """(C, C) products of the classes' mean gradients, `mean_{i∈a} g_i · mean_{j∈b} g_j`, in squared gradients.

    The means over cells of the Gram matrix, self pairs included. With the covariance within classes they make up the
    second moment of the gradients, as the class means do that of features and logit gradients in Papyan's work
    ("Traces of class/cross-class structure pervade deep learning spectra", JMLR 2020); his cross-class means need one
    gradient for each logit and are not these. NaN for classes without an example.
    """
    cells = np.outer(half.counts, half.counts)
    whole = half.product_cells()
    whole[np.diag_indices_from(whole)] += half.by_class(half.squared_norms)
    return np.divide(whole, cells, out=np.full(cells.shape, np.nan), where=cells > 0) * half.sums.unit**2


def within_class_trace(half: HalfSums) -> float:
    """Trace of the covariance within classes: mean |g|² − Σ_a (n_a / n) |mean_{i∈a} g_i|², in squared gradients."""
    count = half.counts.sum()
    if not count:
        return math.nan
    squares = half.by_class(half.squared_norms)
    of_means = (squares + half.by_class(half.products[1])) / np.maximum(half.counts, 1)
    return max(0.0, float((squares - of_means).sum() / count)) * half.sums.unit**2


def between_class_spectrum(class_means: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Eigenvalues of the second moment of the classes' mean gradients, `Σ_a (n_a / n) m_a m_aᵀ`, largest first.

    They are those of the (C, C) matrix `sqrt(n_a n_b) / n · m_a · m_b`. Their sum and `within_class_trace` add up to
    the mean of `|g|²`. Outliers of the spectrum of all gradients lie near them (Papyan, JMLR 2020).

    Args:
        class_means: (C, C), products of the classes' mean gradients.
        counts: (C,), examples of each class; those of none are left out.
    """
    present = np.asarray(counts) > 0
    roots = np.sqrt(np.asarray(counts)[present] / np.sum(counts))
    return np.linalg.eigvalsh(class_means[np.ix_(present, present)] * np.outer(roots, roots))[::-1]
