"""How much memory a measurement may take, and how it is divided."""

from __future__ import annotations

import logging
import sys
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
import tensorflow as tf

from tfstiff._keras import memory_of_devices
from tfstiff.errors import InvalidInput

_DEFAULT_SHARE = 0.5  # of what is free
_CGROUP = Path("/sys/fs/cgroup")
# Rows of a block of examples: as many as a matrix product needs to be fast, and more where their factors are small.
_FEWEST_ROWS, _MOST_ROWS, _BLOCK_BYTES = 500, 2000, 64 * 2**20
_SMALL_BLOCK = 100  # rows, where memory is short
# What nobody counts: pieces between allocations, and what TensorFlow's kernels take for themselves. Of a small limit at
# most a share.
_UNCOUNTED, _UNCOUNTED_SHARE = 32 * 2**20, 4

_log = logging.getLogger(__name__)


class MemoryPlan(NamedTuple):
    """How the factors of n examples are held.

    Attributes:
        block_size: Examples whose factors are computed together.
        num_resident: Examples whose factors are held at a time; those of the others are computed again for each such
            set. All n where they fit.
        num_bytes: The most memory that this is estimated to take, with what is not counted.
        num_spare: Bytes that are left within the limit, for what is kept from one measurement to the next.
    """

    block_size: int
    num_resident: int
    num_bytes: int
    num_spare: int = sys.maxsize


def nothing(block_size: int) -> int:
    """What is taken beside factors, where they are all that is counted: no bytes."""
    return 0


def plan_memory(
    num_examples: int,
    factor_bytes: int,
    working_bytes: int,
    limit: int | None = None,
    beside: Callable[[int], int] = nothing,
) -> MemoryPlan:
    """Plans a measurement of `num_examples` within `limit` bytes.

    Args:
        num_examples: n, of both halves.
        factor_bytes: Bytes that the factors of one example take.
        working_bytes: Bytes that computing them takes, for each example of a block.
        limit: Bytes; None means half of what is free.
        beside: Bytes that are taken beside factors, by the size of a block; never fewer for a larger one.

    Raises:
        InvalidInput: Not even one example at a time fits.
    """
    limit = default_limit() if limit is None else limit
    uncounted = min(_UNCOUNTED, -(-limit // _UNCOUNTED_SHARE))
    wanted = min(max(_BLOCK_BYTES // factor_bytes, _FEWEST_ROWS), _MOST_ROWS, num_examples)

    def needed(num_resident: int, block_size: int) -> int:
        counted = num_resident * factor_bytes + block_size * (factor_bytes + working_bytes) + beside(block_size)
        return counted + uncounted

    block_size = bisect_right(range(1, wanted + 1), limit, key=lambda size: needed(size, size))
    if block_size < 1:
        raise InvalidInput(
            "The memory limit is too small for the gradients of this model on this probe.",
            expected=f"at least {_least_limit(needed(1, 1) - uncounted):,} bytes",
            received=f"{limit:,} bytes",
            remedy="Raise memory_limit, or measure a smaller model or probe.",
        )
    if block_size > _SMALL_BLOCK:  # factors that are kept come first
        larger = range(_SMALL_BLOCK + 1, block_size + 1)
        block_size = _SMALL_BLOCK + bisect_right(larger, limit, key=lambda size: needed(num_examples, size))
    if needed(num_examples, block_size) <= limit:
        taken = needed(num_examples, block_size)
        plan = MemoryPlan(block_size, num_examples, taken, limit - taken)
        _log.info("Gradient factors of all %d examples are kept: at most %.2f GB.", num_examples, plan.num_bytes / 1e9)
        return plan
    fitting = (limit - needed(0, block_size)) // factor_bytes
    num_resident = max(fitting // block_size, 1) * block_size
    taken = needed(num_resident, block_size)
    plan = MemoryPlan(block_size, num_resident, taken, limit - taken)
    _log.info(
        "Gradient factors of %d of %d examples are kept at a time, the others computed again for each such set: "
        "at most %.2f GB.",
        num_resident,
        num_examples,
        plan.num_bytes / 1e9,
    )
    return plan


def _least_limit(counted: int) -> int:
    """The smallest limit within which `counted` bytes fit beside what is not counted."""
    return min(counted + _UNCOUNTED, -(-counted * _UNCOUNTED_SHARE // (_UNCOUNTED_SHARE - 1)))


def default_limit() -> int:
    """Bytes that a measurement may take where none are given, on the device that gradients are computed on."""
    on_device = device_bytes()
    return int(_DEFAULT_SHARE * (free_bytes() if on_device is None else min(free_bytes(), on_device)))


def device_bytes(kind: str = "GPU") -> int | None:
    """Memory of the first device of a kind that TensorFlow can still take; None where there is no such device.

    Factors are on that device, sums and compared pairs on the host.
    """
    if not tf.config.list_logical_devices(kind):
        return None
    used = int(tf.config.experimental.get_memory_info(f"{kind}:0")["current"])
    return max(memory_of_devices(kind)[0] - used, 0)


def free_bytes() -> int:
    """Memory that this process can still take: what the machine has free, or its control group."""
    available = int(psutil.virtual_memory().available)
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return available if limit == "max" else min(available, max(int(limit) - used, 0))
