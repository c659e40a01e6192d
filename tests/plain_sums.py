"""The sums over pairs, from gradients, by plain NumPy in double precision."""

import numpy as np

from tfstiff.stiffness.batches import NUM_BATCHES, random_batches
from tfstiff.stiffness.half_sums import HalfSums
from tfstiff.stiffness.sums import PairSetSums, ValueSums


def sums_of(gradients, classes=None, gradients2=None, classes2=None, num_classes=None):
    """Of a symmetric pair set, or, with `gradients2`, of two halves."""
    is_symmetric = gradients2 is None
    g, y = clean(gradients, classes)
    g2, y2 = (g, y) if is_symmetric else clean(gradients2, classes2)
    count = num_classes or max(y.max(initial=0), y2.max(initial=0)) + 1
    norms, norms2 = np.linalg.norm(g, axis=1), np.linalg.norm(g2, axis=1)
    unit = max(norms.max(initial=0), norms2.max(initial=0)) or 1.0
    counted = np.outer(y >= 0, y2 >= 0)
    if is_symmetric:
        np.fill_diagonal(counted, False)
    products = np.where(counted, (g / unit) @ (g2 / unit).T, 0)
    lengths = np.outer(norms, norms2) / unit**2
    cosine = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    rows, columns = np.eye(count)[y] * (y >= 0)[:, None], np.eye(count)[y2] * (y2 >= 0)[:, None]

    batches = np.where(y < 0, -1, random_batches(len(y)))
    by_batch = np.arange(NUM_BATCHES)[:, None] == batches
    by_batch2 = np.arange(NUM_BATCHES)[:, None] == np.where(y2 < 0, -1, random_batches(len(y2)))

    def value_sums(values):
        return ValueSums(
            values @ columns, values.T @ rows, values**2 @ columns, (values**2).T @ rows, rows.T @ values**2 @ columns
        )

    return PairSetSums(
        is_symmetric=is_symmetric,
        classes_rows=y,
        classes_columns=y2,
        norms_rows=norms,
        norms_columns=norms2,
        values={"sign": value_sums(np.sign(products)), "cosine": value_sums(cosine)},
        products=value_sums(products),
        batches_rows=batches,
        batch_products=by_batch @ products @ by_batch2.T,
        unit=unit,
        smallest_cosine=float(cosine[counted].min()) if counted.any() else np.nan,
        num_zero=0,
        num_uncertain_signs=0,
        distance={},
    )


def half_of(gradients, classes=None, **options):
    return HalfSums(sums_of(gradients, classes, **options))


def clean(gradients, classes):
    gradients = np.asarray(gradients, np.float64)
    classes = np.zeros(len(gradients), int) if classes is None else np.asarray(classes)
    finite = np.isfinite(gradients).all(1)
    return np.where(finite[:, None], gradients, 0), np.where(finite, classes, -1)
