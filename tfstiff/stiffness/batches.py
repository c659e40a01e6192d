"""Mini-batches that the probe is cut into, for what compares steps on batches rather than on single examples."""

from __future__ import annotations

import numpy as np

NUM_BATCHES = 5  # as many as Forouzesh and Thiran 2021 compare


def random_batches(num_examples: int) -> np.ndarray:
    """The mini-batch of each example, (n,) int64: disjoint ones of one size, always the same; -1 for what is left."""
    size = num_examples // NUM_BATCHES
    batches = np.full(num_examples, -1)
    batches[np.random.default_rng(0).permutation(num_examples)[: size * NUM_BATCHES]] = np.arange(
        size * NUM_BATCHES
    ) // max(size, 1)
    return batches
