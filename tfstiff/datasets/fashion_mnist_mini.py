"""The embedded data set: a part of Fashion-MNIST that ships with tfstiff, so that it works with no network at all."""

from __future__ import annotations

import hashlib
import io
from importlib import resources

import numpy as np

from tfstiff.datasets.dataset import Dataset, Examples
from tfstiff.errors import DatasetCorrupt

NAME = "fashion_mnist_mini"
SHA256 = "f4ef8c5b5947f9d454c91028be5527b6d719b5fb5ad36db86f1267d20decf990"
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def load() -> Dataset:
    """Returns 10,000 training and 2,000 validation images, (28, 28, 1) uint8, 1,000 and 200 of each of 10 classes.

    An id such as "train_00042" is the position of the example in TensorFlow Datasets' fashion_mnist 3.0.1.

    Raises:
        DatasetCorrupt: The file in the installed package is missing or not the one that was shipped.
    """
    resource = resources.files("tfstiff.datasets.embedded") / f"{NAME}.npz"
    try:
        content = resource.read_bytes()
    except OSError as error:
        raise DatasetCorrupt(
            f"The embedded data set {resource} cannot be read.", received=error, remedy="install tfstiff again."
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise DatasetCorrupt(
            f"The embedded data set {resource} is damaged.",
            expected=f"sha256 {SHA256}",
            received=f"sha256 {digest}",
            remedy="install tfstiff again.",
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as members:
        train, validation = (
            Examples(
                members[f"x_{split}"],
                members[f"y_{split}"].astype(np.int64),
                np.array([f"{source}_{index:05d}" for index in members[f"index_{split}"]]),
            )
            for split, source in (("train", "train"), ("validation", "test"))
        )
    return Dataset(NAME, train, validation, CLASS_NAMES).with_provenance("embedded", version=SHA256[:12])
