"""From a raw data set to what a run trains on: a subset, labels permuted or not, inputs preprocessed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tfstiff.datasets.dataset import Dataset, Examples
from tfstiff.datasets.preprocessing import Preprocessing
from tfstiff.datasets.text import SEQUENCE_LENGTH, VOCABULARY_SIZE, TextEncoding, TokenIds
from tfstiff.errors import InvalidInput

# One independent random stream for each use of the seed: asking for one choice must not change another.
_SUBSET_STREAM, _PERMUTATION_STREAM = 0, 1


def prepare(
    dataset: Dataset,
    *,
    centering: str = "auto",
    train_examples: int | None = None,
    permute_labels: bool = False,
    seed: int = 0,
    vocabulary_size: int = VOCABULARY_SIZE,
    sequence_length: int = SEQUENCE_LENGTH,
    encoding: TextEncoding | None = None,
) -> Dataset:
    """Takes a subset of the training examples, permutes their labels if asked, then preprocesses both splits.

    Texts become token ids; inputs that are token ids stay as they are; numbers are centred and scaled, and so are
    targets that are numbers. Statistics and vocabulary are fitted on the training examples that remain. The validation
    split is never subset or permuted.

    Permuted labels are those of the first version of the paper (its figure 4: a fully connected network on MNIST "with
    randomly permuted training set labels"; it does not say how they were drawn). Whatever is drawn from the training
    split afterwards, such as the training half of a probe, has the permuted labels that the network learns; validation
    examples keep their true ones, and on those alone that version measured.

    Args:
        dataset: Raw data, as `load` returns it.
        centering: See `Preprocessing`.
        train_examples: Size of the training subset, drawn class by class in proportion; None keeps all.
        permute_labels: Give the training examples each other's labels. The class counts stay, and about one label in
            the number of classes stays by chance; the true label of an example is found in the raw data by its id.
        seed: Seed of the subset and of the permutation; at least 0.
        vocabulary_size: Of texts: the most token ids that there are to be.
        sequence_length: Of texts: the most token ids of a text.
        encoding: Of texts: how they become token ids, in place of one that is fitted.

    Returns:
        A data set with float32 inputs, or int32 token ids. Its provenance describes the raw splits and gains
        `preparation`, where `labels_kept` is the share of training examples that have their true label; `targets` says
        how targets that are numbers were scaled.

    Raises:
        InvalidInput: Fewer examples than asked for, or an unknown centering, or a negative seed.
    """
    if seed < 0:
        raise InvalidInput("A seed is a whole number from 0.", received=seed)
    train = dataset.train
    if train_examples is not None:
        train = train.take(_subset(train, dataset.num_classes, train_examples, _stream(seed, _SUBSET_STREAM)))
    true_labels = train.y
    if permute_labels:
        order = _stream(seed, _PERMUTATION_STREAM).permutation(len(train))
        # The superclass goes with the class, so that the two labels of an example still agree.
        train = replace(train, y=train.y[order], coarse=None if train.coarse is None else train.coarse[order])
    preprocessing: Preprocessing | TextEncoding | TokenIds
    num_token_ids = dataset.num_token_ids
    if train.are_texts:
        preprocessing = encoding = encoding or TextEncoding.fit(train.x, vocabulary_size, sequence_length)
        num_token_ids = len(encoding.words)
    elif num_token_ids is not None:
        preprocessing, encoding = TokenIds(num_token_ids), None
    else:
        preprocessing, encoding = Preprocessing.fit(train.x, centering), None
    preparation: dict[str, Any] = {
        "train_examples": len(train),
        "permute_labels": permute_labels,
        "labels_kept": float((train.y == true_labels).mean()),
        "seed": seed,
        "preprocessing": preprocessing.summary() | {"in_words": preprocessing.in_words()},
    }
    y, y_validation = train.y, dataset.validation.y
    if dataset.num_classes is None:
        mean, deviation = float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64)) or 1.0
        y, y_validation = (((one - mean) / deviation).astype(np.float32) for one in (y, y_validation))
        preparation["targets"] = {"mean": mean, "standard_deviation": deviation}
    return replace(
        dataset,
        train=replace(train, x=preprocessing.apply(train.x), y=y),
        validation=replace(dataset.validation, x=preprocessing.apply(dataset.validation.x), y=y_validation),
        num_token_ids=num_token_ids,
        encoding=encoding,
        provenance={**dataset.provenance, "preparation": preparation},
    )


def _stream(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream,)))


def _subset(train: Examples, num_classes: int | None, size: int, random: np.random.Generator) -> np.ndarray:
    """Returns the sorted indices, (size,), of a random subset with classes in proportion (largest remainder)."""
    if not 1 <= size <= len(train):
        raise InvalidInput(
            "The training subset must hold at least 1 example and no more than there are.",
            expected=f"1 to {len(train)} training examples",
            received=size,
        )
    if num_classes is None:
        return np.sort(random.permutation(len(train))[:size])
    quota = np.bincount(train.y, minlength=num_classes) * size / len(train)
    take = np.floor(quota).astype(int)
    remainder_order = np.argsort(take - quota, kind="stable")
    take[remainder_order[: size - take.sum()]] += 1
    chosen = [random.permutation(np.flatnonzero(train.y == label))[: take[label]] for label in range(num_classes)]
    return np.sort(np.concatenate(chosen))
