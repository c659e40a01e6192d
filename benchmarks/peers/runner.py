"""How every peer is put to use, compared and timed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from peers.exchange import Exchange
from tfstiff.bench.timing import peak_memory, take_turns

TOLERANCE = 1e-3  # of the largest entry: float32 sums in another order
_CHUNKS = (20, 10, 4, 2)  # shares of the examples; the explicit gradients of all are kept, those of a chunk twice


def compare(name: str, module: str, path: str, rounds: int) -> dict[str, Any]:
    """Uses the peer in `module` on the model `name`: a row of the table.

    Raises:
        ValueError: Its Gram matrix is not that of tfstiff.
    """
    given = Exchange.load(path)
    count = len(given.x)
    try:
        peer = importlib.import_module(f"peers.{module}")
        rows, configuration = peer.gradient_rows(name, given.weights, given.x, given.y)
        chunks = [count // share for share in getattr(peer, "CHUNKS", _CHUNKS)]
        candidates = {chunk: partial(gram, rows, count, chunk) for chunk in chunks}
        difference = max(_difference(call(), given.gram) for call in candidates.values())
    except Exception as error:  # whatever a library raises where it does not know a layer
        return {"reason": f"not supported: {type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    if not difference <= TOLERANCE:
        raise ValueError(f"The products differ from those of tfstiff by {difference:.1e} of the largest.")
    trial = take_turns(candidates, rounds=1, warm_ups=0)
    chunk = min(trial, key=lambda size: trial[size].seconds)
    timing = take_turns({chunk: candidates[chunk]}, rounds=rounds, warm_ups=0)[chunk]
    return {
        "configuration": f"{configuration}, chunks of {chunk}",
        "examples": count,
        "seconds": timing.seconds,
        "times_tfstiff": timing.seconds / given.seconds,
        "difference": difference,
        "peak_memory": peak_memory(candidates[chunk]),
    }


def gram(rows: Callable[[int, int], Any], count: int, chunk: int) -> np.ndarray:
    """The products of all gradients, of which `rows` gives those of a chunk; each pair of chunks is multiplied once."""
    starts = range(0, count, chunk)
    blocks = [rows(start, min(start + chunk, count)) for start in starts]
    products = np.empty((count, count), np.float32)
    for index, first in enumerate(starts):
        for second, block in zip(starts[index:], blocks[index:], strict=True):
            tile = _on_host(blocks[index] @ block.T)
            products[first : first + chunk, second : second + chunk] = tile
            products[second : second + chunk, first : first + chunk] = tile.T
    return products


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _on_host(tile: Any) -> np.ndarray:
    return np.asarray(tile.cpu() if hasattr(tile, "cpu") else tile)
