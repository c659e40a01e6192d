"""Do results depend on how they are divided, or on the process that computes them?"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np

from tfstiff.errors import InvalidInput, PartFailed, UnsupportedModel
from tfstiff.gradients.gram import gram_of
from tfstiff.gradients.memory import MemoryPlan
from tfstiff.measuring.audit.checks import Found, check, failed, not_applicable, passed
from tfstiff.measuring.audit.differentiation import cosine_difference
from tfstiff.measuring.audit.subject import Subject
from tfstiff.measuring.distributed import measure_in_parts
from tfstiff.measuring.measure import MeasurementTask
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.probe import Probe
from tfstiff.records import Measurement

_BOUND = 1e-3
_SIZES = (1, 3)  # of tiles
_UNKNOWN_CLASS = "Could not locate"  # as Keras says it
_PAIRS = ("train_train",)


@check("tiles", "Do results depend on the size of tiles?")
def tiles(subject: Subject) -> Found:
    """Compares products, and their sums, of tiles of several sizes."""
    plan = subject.measured.plan
    grams = []
    for size in (subject.count, *_SIZES):
        starts = range(0, subject.count, size)
        chunks = [
            plan.factors(*subject.tensors(np.arange(start, min(start + size, subject.count)))) for start in starts
        ]
        scales = np.concatenate([chunk.scales.numpy() for chunk in chunks]).astype(np.float64)
        grams.append(gram_of(plan.products, chunks) / np.outer(scales, scales))
        difference = cosine_difference(grams[-1], grams[0])
        if difference > _BOUND:
            return failed(
                f"In tiles of {size} products are others than in one of {subject.count} (cosines by {difference:.2g}, "
                f"bound {_BOUND:g}).",
                "A rule that was registered counts the examples of a batch.",
            )
    found = _measured(subject, MemoryPlan(_SIZES[-1], 2 * _SIZES[-1], 0))
    expected = _mean_cosine(grams[0])
    off = abs(found["train_train"].mean_cosine - expected)
    if off > _BOUND:
        return failed(
            f"A measurement in tiles of {_SIZES[-1]} has a mean cosine that is off by {off:.2g} from that of all "
            f"products (bound {_BOUND:g})."
        )
    sizes = ", ".join(map(str, (*_SIZES, subject.count)))
    return passed(f"Tiles of {sizes} examples give the same, within {_BOUND:g}.")


@check("process", "Does another process compute the same?")
def process(subject: Subject) -> Found:
    """Saves the model, and has another process load and measure it."""
    if not subject.another_process:
        return not_applicable("It was not asked for.")
    if subject.objective_function is not None:
        return not_applicable("Another process would not know the objective.")
    expected = _measured(subject)
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            place = Path(folder) / "job"
            options = {"pair_sets": _PAIRS, "loss": subject.loss}
            found = measure_in_parts(subject.model, _probe(subject), place, processes=1, **options)
    except UnsupportedModel as error:
        if "once it has been saved" in error.what:
            return failed(error.what, error.remedy or "")
        return not_applicable(error.what)
    except PartFailed as error:
        if _UNKNOWN_CLASS in error.what:
            return not_applicable("Another process does not know the classes of the model's layers.")
        return failed(f"Another process fails: {error.what}")
    except (TypeError, ValueError, NotImplementedError) as error:
        return not_applicable(f"The model cannot be saved: {error}")
    scores = found.train.scores, expected.train.scores
    norms = [one.gradient_norm for one in scores if one is not None]
    lengths = float(np.nanmax(np.abs(norms[0] - norms[1]) / np.nanmax(norms[1]))) if len(norms) == 2 else 0.0
    cosine = abs(found["train_train"].mean_cosine - expected["train_train"].mean_cosine)
    if max(lengths, cosine) > _BOUND:
        return failed(
            f"Another process, which loads the model from a file, measures something else (lengths of gradients by "
            f"{lengths:.2g}, the mean cosine by {cosine:.2g}, bound {_BOUND:g}).",
            "Look for what the model computes with and its file does not hold: globals, the environment, hash().",
        )
    return passed(f"Another process, which loads the model from a file, measures the same, within {_BOUND:g}.")


def _probe(subject: Subject) -> Probe:
    """The examples as a probe; their labels as numbers where they cannot be read as classes."""
    try:
        return Probe.from_arrays((subject.x, subject.y), size=None)
    except InvalidInput:
        return Probe.from_arrays((subject.x, subject.y), size=None, classes=None)


def _measured(subject: Subject, memory: MemoryPlan | None = None) -> Measurement:
    given = {"loss": subject.loss, "objective": subject.objective_function}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = MeasureOptions(pair_sets=_PAIRS)
        return MeasurementTask(subject.model, _probe(subject), options, memory=memory, **given).run()


def _mean_cosine(gram: np.ndarray) -> float:
    """Of all pairs of two examples whose gradients are finite."""
    kept = np.isfinite(np.diag(gram))
    gram = gram[np.ix_(kept, kept)].astype(np.float64)
    lengths = np.sqrt(np.diag(gram))
    scale = np.outer(lengths, lengths)
    cosines = np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0)
    return float(cosines[np.triu_indices(len(cosines), 1)].mean())
