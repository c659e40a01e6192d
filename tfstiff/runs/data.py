"""The data of a run: its examples as they go into the network, and the probe drawn of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tfstiff.datasets import Dataset, Examples, load, prepare
from tfstiff.datasets.text import TextEncoding, num_ids
from tfstiff.errors import InvalidInput
from tfstiff.runs.losses import OF_NUMBERS
from tfstiff.runs.spec import PROBE_SIZE, RunSpec

if TYPE_CHECKING:
    from tfstiff.measuring.probe import Probe

# What a model takes: what `tfstiff run` trains on; the values as they are stored; those of images from 0 to 1.
STANDARDIZED, RAW, UNIT = "standardized", "raw", "unit"
INPUTS = (STANDARDIZED, RAW, UNIT)
_PREPARATION = ("centering", "train_examples", "permute_labels", "seed", "vocabulary_size", "sequence_length")


def load_examples(spec: RunSpec, inputs: str = STANDARDIZED, encoding: TextEncoding | None = None) -> Dataset:
    """Loads the data set of a specification, takes its subset and permutes its labels where it says so.

    Args:
        spec: What to load.
        inputs: `standardized`, as `tfstiff run` trains on: of zero mean, unit variance and unit length, or, of texts,
            token ids; `raw`, the values, or texts, as they are stored; or `unit`, those of 8-bit images divided by 255.
            All numbers but token ids in float32.
        encoding: How texts become token ids, of a run that was begun; None fits it to the training texts.

    Raises:
        InvalidInput: A name or value cannot be used, or `unit` is asked of other than 8-bit data.
        DatasetUnavailable: The data set is not here and cannot be fetched.
        DatasetCorrupt: The data set is damaged.
    """
    are_numbers = spec.training_loss in OF_NUMBERS
    raw = load(spec.dataset, data_dir=spec.data_dir, offline=spec.offline, as_numbers=are_numbers)
    from tfstiff.models import OF_TOKENS  # which imports TensorFlow

    if spec.arch in OF_TOKENS and raw.num_token_ids is None and not raw.train.are_texts:
        raw = replace(raw, num_token_ids=num_ids((raw.train.x, raw.validation.x)))
    prepared = prepare(raw, **{name: getattr(spec, name) for name in _PREPARATION}, encoding=encoding)
    if inputs == STANDARDIZED or (raw.num_token_ids is not None and inputs == RAW):
        return prepared
    if inputs == UNIT and raw.train.x.dtype != np.uint8:
        raise InvalidInput(
            "Only 8-bit values can be brought to between 0 and 1.", expected="uint8 images", received=raw.train.x.dtype
        )
    scale = np.float32(255 if inputs == UNIT else 1)
    places = {name: place for place, name in enumerate(raw.train.ids.tolist())}  # of a subset in what it is of
    chosen = np.array([places[name] for name in prepared.train.ids.tolist()])
    preparation = {**prepared.provenance["preparation"], "preprocessing": {"inputs": inputs}}
    targets = preparation.pop("targets", None)
    return replace(
        prepared,
        train=_as_stored(prepared.train, raw.train.x[chosen], scale, targets),
        validation=_as_stored(prepared.validation, raw.validation.x, scale, targets),
        num_token_ids=None,
        encoding=None,
        provenance={**prepared.provenance, "preparation": preparation},
    )


def draw_probe(spec: RunSpec, dataset: Dataset) -> Probe:
    """Draws the probe of a specification from its examples; by default all of them where there are fewer."""
    from tfstiff.measuring.probe import Probe

    train, validation = dataset.train, dataset.validation
    size = spec.probe_size
    if size == PROBE_SIZE:  # nobody asked for it
        size = min(size[0], len(train)), min(size[1], len(validation))
    return Probe.from_arrays(
        (train.x, train.y),
        (validation.x, validation.y),
        size=size,
        seed=spec.seed,
        class_names=dataset.class_names,
        ids=(train.ids, validation.ids),
    )


def _as_stored(examples: Examples, x: np.ndarray, scale: np.float32, targets: Mapping[str, float] | None) -> Examples:
    """The examples with other inputs, and with targets that are numbers as they were before they were standardised."""
    y = examples.y
    if targets is not None:
        y = (y.astype(np.float64) * targets["standard_deviation"] + targets["mean"]).astype(np.float32)
    return replace(examples, x=x if x.dtype.kind == "O" else x.astype(np.float32) / scale, y=y)
