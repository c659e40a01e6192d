"""Data sets read through TensorFlow Datasets, whole, into NumPy arrays.

Whole, because a damaged or missing shard must show before training starts, not in the middle of an epoch.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff._quiet import import_tensorflow
from tfstiff.datasets.dataset import Dataset, Examples, numbered_ids
from tfstiff.datasets.tfds_preparation import ensure_prepared, reason, remedy
from tfstiff.errors import DatasetCorrupt, InvalidInput, TfstiffError


@dataclass(frozen=True)
class Source:
    """Where TensorFlow Datasets has what is needed.

    Attributes:
        name: Such as "cifar10"; with the configuration where several are of interest, such as "glue/mnli".
        version: Such as "3.0.2": pinned, so that equal names mean equal data.
        config: Name of the only configuration, where the name does not have it.
        texts: Names of the features that are an example's texts; none where it is an image.
        validation: The split that is taken for validation.
    """

    name: str
    version: str
    config: str = ""
    texts: tuple[str, ...] = ()
    validation: str = "test"

    @property
    def path(self) -> str:
        """The name with the configuration."""
        return f"{self.name}/{self.config}" if self.config else self.name

    def folder(self, data_dir: Path) -> Path:
        """Where it is once it is prepared."""
        return data_dir / self.path / self.version


def resolve_data_dir(data_dir: str | os.PathLike[str] | None) -> Path:
    """Returns `data_dir`, or TensorFlow Datasets' own default: $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
        InvalidInput: `data_dir` is the address of a remote store.
    """
    chosen = os.fspath(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if "://" in chosen:
        raise InvalidInput("The data directory must be on a local or mounted file system.", received=chosen)
    return Path(chosen).expanduser().absolute()


def is_prepared(source: Source, data_dir: Path) -> bool:
    """Tells, by path alone, whether TensorFlow Datasets has prepared the data set in `data_dir`."""
    return os.path.isfile(source.folder(data_dir) / "dataset_info.json")


def load(source: Source, data_dir: Path, offline: bool) -> Dataset:
    """Reads both splits of a data set of classes; downloads and prepares it first if need be.

    Args:
        source: Which.
        data_dir: TensorFlow Datasets' directory. Written to only where the data set must be prepared.
        offline: Never use the network.

    Returns:
        Images, (n, h, w, c) uint8, or texts, in the order of TensorFlow Datasets.

    Raises:
        DatasetUnavailable: It is not prepared and cannot be fetched.
        DatasetCorrupt: It is prepared, but damaged or incomplete.
    """
    import_tensorflow()
    import tensorflow_datasets as tfds

    folder = source.folder(data_dir)
    if not os.path.exists(folder):
        ensure_prepared(source.path, source.version, data_dir, offline)
    try:
        if not is_prepared(source, data_dir):
            raise FileNotFoundError("dataset_info.json is missing")
        builder = tfds.builder(source.path, version=source.version, data_dir=str(data_dir))
        features = builder.info.features
        dataset = Dataset(
            name=source.name,
            train=_examples(tfds, builder, "train", source.texts),
            validation=_examples(tfds, builder, source.validation, source.texts),
            class_names=tuple(features["label"].names),
            superclass_names=tuple(features["coarse_label"].names) if "coarse_label" in features else (),
        )
    except (TfstiffError, MemoryError):
        raise
    # TensorFlow Datasets raises a dozen unrelated types here, from AssertionError to tf.errors.DataLossError.
    except Exception as error:
        raise DatasetCorrupt(
            f"The prepared data set {source.name} in {folder} cannot be read.",
            expected="the complete folder that TensorFlow Datasets wrote",
            received=reason(error),
            remedy=remedy(source.path, source.version, data_dir, damaged=True),
        ) from error
    _check_labels(dataset, folder, remedy(source.path, source.version, data_dir, damaged=True))
    return dataset.with_provenance("tensorflow_datasets", version=source.version)


def _examples(tfds: Any, builder: Any, split: str, texts: Sequence[str]) -> Examples:
    expected = builder.info.splits[split].num_examples
    columns = tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False, batch_size=-1))
    count = len(columns["label"])
    if count != expected:
        raise ValueError(f"split {split!r} has {count} examples, dataset_info.json declares {expected}")
    ids = np.char.decode(columns["id"].astype(np.bytes_), "utf-8") if "id" in columns else numbered_ids(split, count)
    coarse = columns["coarse_label"].astype(np.int64) if "coarse_label" in columns else None
    inputs = _texts([columns[feature] for feature in texts]) if texts else columns["image"]
    return Examples(inputs, columns["label"].astype(np.int64), ids, coarse)


def _texts(columns: Sequence[np.ndarray]) -> np.ndarray:
    """(n,), or (n, t) where there are t columns: as `str`."""
    rows = np.stack(columns, axis=1) if len(columns) > 1 else columns[0]
    return np.array([text.decode() for text in rows.ravel()], dtype=object).reshape(rows.shape)


def _check_labels(dataset: Dataset, folder: Path, mend: str) -> None:
    for split, examples in (("train", dataset.train), ("validation", dataset.validation)):
        for labels, names in ((examples.y, dataset.class_names), (examples.coarse, dataset.superclass_names)):
            if labels is not None and ((labels < 0) | (labels >= len(names))).any():
                raise DatasetCorrupt(
                    f"The {split} split of {folder} has labels out of range.",
                    expected=f"0 to {len(names) - 1}",
                    received=(int(labels.min()), int(labels.max())),
                    remedy=mend,
                )
