"""What takes several measurements, or products of gradients and inputs: examples forgotten, duplicates at odds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfstiff.analysis.example_lists import ExampleList, ExamplesAt
from tfstiff.records.pair_set import SMALLEST_COSINE
from tfstiff.stiffness.pairwise import cosine_distance

NEAR = 0.001  # share of the pairs, the nearest ones, that are looked through for near duplicates


def forgotten(history: Sequence[ExamplesAt]) -> ExampleList:
    """Those that were classified rightly at one measurement and wrongly at the next (Toneva et al. 2019).

    "An empirical study of example forgetting during deep neural network learning", arXiv 1812.05159, who look after
    every step in which the example took part; we look at measurements, and see fewer of these events.

    Args:
        history: The examples of one half at each measurement, in order of time, at least one.
    """
    title, last = "Forgotten", history[-1]
    judged = [one for one in history if one.scores.predicted is not None and one.scores.classes is not None]
    if len(judged) < 2:
        return ExampleList("forgotten", title, "Whether examples were forgotten takes two measurements of classes.")
    is_right = np.stack([one.scores.predicted == one.scores.classes for one in judged])
    times = (is_right[:-1] & ~is_right[1:]).sum(0)
    count = int((times > 0).sum())
    wrong = int(((times > 0) & ~is_right[-1]).sum())
    size = len(times)
    one_of = f"one of {len(judged)} measurements"
    sentence = (
        f"{count} of {size} {last.words} examples {'was' if count == 1 else 'were'} classified rightly at {one_of} and "
        f"wrongly at the next; {wrong} of them {'is' if wrong == 1 else 'are'} wrong at the last."
        if count
        else f"No {last.words} example that was classified rightly at {one_of} was wrong at the next."
    )
    order = np.lexsort((-last.scores.loss, is_right[-1], -times))
    rows = [
        {
            **last.row(place),
            "times_forgotten": int(times[place]),
            "is_right": bool(is_right[-1, place]),
            "loss": float(last.scores.loss[place]),
        }
        for place in order[times[order] > 0]
    ]
    return ExampleList("forgotten", title, sentence, rows)


def opposed_duplicates(examples: ExamplesAt, gram: np.ndarray | None, inputs: np.ndarray | None) -> ExampleList:
    """Pairs of near duplicates whose gradients oppose one another.

    Near are the nearest of all pairs, one in a thousand and at least one, by the distance 1 − cos of their inputs. The
    nearest that oppose one another come first.

    Args:
        examples: Of one half.
        gram: (n, n) products of their gradients; None where they were not kept.
        inputs: (n, d) their inputs; None where they were not kept, or are no numbers.
    """
    title = "Near duplicates at odds"
    if gram is None:
        return ExampleList(
            "duplicates",
            title,
            "Near duplicates were not looked for: the measurement kept no products of gradients (--keep-gram).",
        )
    if inputs is None or len(inputs) < 2 or not inputs.shape[1]:
        return ExampleList(
            "duplicates", title, "Near duplicates were not looked for: the run kept no inputs that are numbers."
        )
    norms = np.sqrt(np.diag(gram).astype(np.float64))
    rows, columns = np.triu_indices(len(gram), 1)
    lengths = norms[rows] * norms[columns]
    kept = np.isfinite(lengths) & (lengths > 0)
    rows, columns, lengths = rows[kept], columns[kept], lengths[kept]
    if not len(rows):
        return ExampleList(
            "duplicates", title, "Near duplicates were not looked for: no two gradients can be compared."
        )
    cosines = gram[rows, columns] / lengths
    distances = cosine_distance(inputs, inputs)[rows, columns]
    number = max(int(NEAR * len(rows)), 1)
    near = np.argsort(distances, kind="stable")[:number]
    opposed = near[cosines[near] < -SMALLEST_COSINE]
    count = len(opposed)
    pairs = "pairs" if number > 1 else "pair"
    sentence = (
        f"Of the {number:,} nearest {pairs} of {examples.words} examples (1 − cos of their inputs up to "
        f"{distances[near[-1]]:.2g}), {count or 'none'} {'have' if count > 1 else 'has'} gradients that oppose one "
        "another."
    )
    found = []
    for pair in opposed:
        first, second = examples.row(rows[pair]), examples.row(columns[pair])
        found.append(
            {
                **first,
                **{f"other_{name}": value for name, value in second.items()},
                "distance": float(distances[pair]),
                "cosine": float(cosines[pair]),
            }
        )
    return ExampleList("duplicates", title, sentence, found)
