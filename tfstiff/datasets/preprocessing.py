"""Centre, scale to unit variance, then scale every example to unit Euclidean length.

The statistics come from the training examples only. Unit length makes inner products of inputs cosines, so that the
distance between two examples is 1 − their inner product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.records.shown import Brief

Centering = Literal["auto", "global", "channel", "pixel", "feature"]
CENTERINGS: tuple[str, ...] = get_args(Centering)

# Bytes of one float64 chunk: small beside the data, large enough that the loop costs nothing.
_CHUNK_BYTES = 32 * 2**20


@dataclass(frozen=True, eq=False, repr=False)
class Preprocessing(Brief):
    """A fitted transformation of inputs. Make one with `Preprocessing.fit`.

    Attributes:
        centering: "global" (one mean and deviation), "channel" (one per last axis), "pixel" or "feature" (one per input
            element, as images and rows of features call it).
        mean: float64, () or (c,) or the shape of one example.
        std: float64, as `mean`; 1 where the training values are all the same.
        fitted_on: The number of training examples the statistics come from.
    """

    centering: str
    mean: np.ndarray
    std: np.ndarray
    fitted_on: int

    @classmethod
    def fit(cls, x_train: np.ndarray, centering: str = "auto") -> Preprocessing:
        """Computes the statistics, in float64, of `x_train`, (n, ...) numeric.

        Features of a row have units of their own, and those of large numbers would drown the others: so `auto` is
        "feature" for rows, (n, d), and "global" for all else, as images are.

        Raises:
            InvalidInput: An unknown `centering`, no examples, or values that are not finite.
        """
        if centering not in CENTERINGS:
            raise InvalidInput("Unknown centering.", expected=" or ".join(CENTERINGS), received=centering)
        if x_train.ndim < 2 or x_train.size == 0:
            raise InvalidInput(
                "Preprocessing needs training examples to be fitted on.",
                expected="an array (n, ...) with n > 0",
                received=x_train.shape,
            )
        if centering == "auto":
            centering = "feature" if x_train.ndim == 2 else "global"
        last = x_train.ndim - 1
        axes = {"global": tuple(range(x_train.ndim)), "channel": tuple(range(last)), "pixel": (0,)}.get(centering, (0,))
        count = np.prod([x_train.shape[axis] for axis in axes])

        total: Any = 0.0
        low: Any = np.inf
        high: Any = -np.inf
        for chunk in _chunks(x_train):
            total = total + _reduced(np.add, chunk, axes)
            low = np.minimum(low, _reduced(np.minimum, chunk, axes))
            high = np.maximum(high, _reduced(np.maximum, chunk, axes))
        if not np.isfinite(total).all():
            raise InvalidInput("The training inputs hold NaN or infinite values.", expected="finite inputs")
        # Where all values are equal the rounded sum would leave a residue that scaling to unit length blows up.
        constant = low == high
        mean = np.where(constant, low, total / count)
        # Two passes: the one-pass formula cancels when the mean is large beside the deviation.
        squares: Any = sum(_reduced(np.add, (chunk - mean) ** 2, axes) for chunk in _chunks(x_train))
        std = np.where(constant, 1.0, np.sqrt(squares / count))
        return cls(centering, mean, std, len(x_train))

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Returns `x`, (n, ...), centred, scaled, and every example at unit length: float32 of the same shape.

        An example that is zero after centring stays zero.

        Raises:
            InvalidInput: `x` has another shape of example than the statistics.
        """
        suffix = x.shape[x.ndim - self.mean.ndim :] if x.ndim > self.mean.ndim else None
        if suffix != self.mean.shape:
            raise InvalidInput(
                "The inputs have another shape than those the preprocessing was fitted on.",
                expected=f"examples that end in shape {self.mean.shape}",
                received=x.shape,
            )
        result = np.empty(x.shape, np.float32)
        start = 0
        for chunk in _chunks(x):
            scaled = (chunk - self.mean) / self.std
            flat = scaled.reshape(len(scaled), -1)
            length = np.linalg.norm(flat, axis=1, keepdims=True)
            flat /= np.where(length > 0, length, 1.0)
            result[start : start + len(flat)] = flat.reshape(scaled.shape)
            start += len(flat)
        return result

    def in_words(self) -> str:
        """What is done to inputs, as a sentence."""
        of = {"global": "over all values", "channel": "for each channel", "pixel": "for each pixel"}
        how = of.get(self.centering, f"for each of {self.mean.size} features")
        return f"Inputs are brought to zero mean and unit variance {how}, then each example to unit length."

    def summary(self) -> dict[str, Any]:
        """Returns a JSON-able description; statistics per input element are given by their SHA-256, not in full."""
        if self.centering in ("pixel", "feature"):
            both = np.stack([self.mean, self.std]).astype("<f8")
            statistics: dict[str, Any] = {"sha256": hashlib.sha256(both.tobytes()).hexdigest()}
        else:
            statistics = {"mean": self.mean.tolist(), "std": self.std.tolist()}
        return {"centering": self.centering, **statistics, "fitted_on": self.fitted_on, "unit_length": True}


def _reduced(operation: np.ufunc, chunk: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Reduces over the examples first, then over the other `axes`: five times faster than over all at once."""
    by_position = operation.reduce(chunk, axis=0)
    return operation.reduce(by_position, axis=tuple(axis - 1 for axis in axes if axis > 0))


def _chunks(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yields `x` in float64, a bounded number of examples at a time."""
    rows = max(1, _CHUNK_BYTES // max(1, 8 * int(np.prod(x.shape[1:]))))
    for start in range(0, len(x), rows):
        yield x[start : start + rows].astype(np.float64)
