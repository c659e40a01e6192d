"""The data sets by name. A new data set is one entry of `_ENTRIES`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tfstiff.datasets import fashion_mnist_mini, npz_source, spherical_harmonics, tfds_source
from tfstiff.datasets.dataset import Dataset
from tfstiff.datasets.tfds_source import Source
from tfstiff.errors import InvalidInput, unknown_name

DEFAULT = fashion_mnist_mini.NAME
_NPZ_PREFIX = "npz:"
_SPHERE_PREFIX = f"{spherical_harmonics.NAME}:"


@dataclass(frozen=True)
class CatalogRow:
    """What is known of a data set without loading it; None where only the file tells."""

    name: str
    description: str
    shape: tuple[int, ...] | None
    classes: int | None
    train_examples: int | None
    validation_examples: int | None
    source: str
    available: bool | None


@dataclass(frozen=True)
class _Entry:
    description: str
    shape: tuple[int, ...] | None
    classes: int
    train_examples: int
    validation_examples: int
    source: str
    load: Callable[[Path, bool], Dataset]
    is_available: Callable[[Path], bool]


def _from_tfds(
    source: Source, description: str, shape: tuple[int, ...] | None, classes: int, sizes: tuple[int, int]
) -> _Entry:
    return _Entry(
        description,
        shape,
        classes,
        *sizes,
        source=f"TensorFlow Datasets {source.path}/{source.version}",
        load=lambda data_dir, offline: tfds_source.load(source, data_dir, offline),
        is_available=lambda data_dir: tfds_source.is_prepared(source, data_dir),
    )


_ENTRIES = {
    DEFAULT: _Entry(
        "A sixth of Fashion-MNIST, part of tfstiff (the default)",
        (28, 28, 1),
        10,
        10_000,
        2_000,
        source="embedded",
        load=lambda data_dir, offline: fashion_mnist_mini.load(),
        is_available=lambda data_dir: True,
    ),
    "mnist": _from_tfds(Source("mnist", "3.0.1"), "Handwritten digits", (28, 28, 1), 10, (60_000, 10_000)),
    "fashion_mnist": _from_tfds(
        Source("fashion_mnist", "3.0.1"), "Pictures of clothing", (28, 28, 1), 10, (60_000, 10_000)
    ),
    "cifar10": _from_tfds(Source("cifar10", "3.0.2"), "Small photographs", (32, 32, 3), 10, (50_000, 10_000)),
    "cifar100": _from_tfds(
        Source("cifar100", "3.0.2"),
        "Small photographs, with 20 superclasses",
        (32, 32, 3),
        100,
        (50_000, 10_000),
    ),
    "imdb_reviews": _from_tfds(
        Source("imdb_reviews", "1.0.0", config="plain_text", texts=("text",)),
        "Texts: reviews of films, good or bad",
        None,
        2,
        (25_000, 25_000),
    ),
    "ag_news_subset": _from_tfds(
        Source("ag_news_subset", "1.0.0", texts=("description",)),
        "Texts: news of four kinds",
        None,
        4,
        (120_000, 7_600),
    ),
    "glue/mnli": _from_tfds(
        Source("glue/mnli", "2.0.0", texts=("premise", "hypothesis"), validation="validation_matched"),
        "Two texts: does one follow from the other? (MultiNLI)",
        None,
        3,
        (392_702, 9_815),
    ),
    spherical_harmonics.NAME: _Entry(
        "Points on a sphere, classes by harmonics; not of the papers",
        (10,),
        10,
        10_000,
        2_000,
        source="generated",
        load=lambda data_dir, offline: spherical_harmonics.load(),
        is_available=lambda data_dir: True,
    ),
}


def names() -> tuple[str, ...]:
    """Returns the names that `load` knows, the default first; it takes `npz:…` and `spherical_harmonics:…` too."""
    return tuple(_ENTRIES)


def catalog(data_dir: str | os.PathLike[str] | None = None) -> list[CatalogRow]:
    """Describes every data set, and whether it can be loaded here without a network. Imports no TensorFlow."""
    directory = tfds_source.resolve_data_dir(data_dir)
    rows = [
        CatalogRow(
            name=name,
            description=entry.description,
            shape=entry.shape,
            classes=entry.classes,
            train_examples=entry.train_examples,
            validation_examples=entry.validation_examples,
            source=entry.source,
            available=entry.is_available(directory),
        )
        for name, entry in _ENTRIES.items()
    ]
    own = CatalogRow(f"{_NPZ_PREFIX}PATH", "Your own arrays: x_train, y_train, …", None, None, None, None, "file", None)
    return [*rows, own]


def check_name(name: str) -> None:
    """Checks that a data set is known by its name, and its options by theirs. Loads nothing.

    Raises:
        InvalidInput: It is not.
    """
    if isinstance(name, str) and name.startswith(_SPHERE_PREFIX):
        spherical_harmonics.parse(name.removeprefix(_SPHERE_PREFIX))
        return
    is_file = isinstance(name, str) and name.startswith(_NPZ_PREFIX) and name != _NPZ_PREFIX
    if not is_file and name not in _ENTRIES:
        known = [*_ENTRIES, f"{_NPZ_PREFIX}PATH", f"{_SPHERE_PREFIX}OPTIONS"]
        what = "There is no data set of that name."
        if isinstance(name, str) and name.endswith(".npz"):
            raise InvalidInput(what, received=name, remedy=f"Did you mean the file, {_NPZ_PREFIX}{name}?")
        raise unknown_name(what, name, known)


def check_can_load(name: str) -> None:
    """Checks, besides, that the file of a data set is there.

    Raises:
        InvalidInput: The name is not known.
        DatasetUnavailable: There is no such file.
    """
    check_name(name)
    if name.startswith(_NPZ_PREFIX):
        npz_source.check_is_there(Path(name.removeprefix(_NPZ_PREFIX)).expanduser())


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
    as_numbers: bool = False,
) -> Dataset:
    """Loads the raw data set `name`.

    Args:
        name: One of `names()`; or `npz:PATH` for an npz file with x_train, y_train, x_validation, y_validation; or
            `spherical_harmonics:degree=3,dimension=10,…` with options as `spherical_harmonics.parse` reads them.
        data_dir: TensorFlow Datasets' directory; None is its default, $TFDS_DATA_DIR or else ~/tensorflow_datasets.
        offline: Never use the network.
        as_numbers: Of an npz file: its targets are numbers to regress on, also where they are whole ones.

    Returns:
        The data as stored: images are (n, h, w, c) uint8.

    Raises:
        InvalidInput: An unknown name or option, or an npz file whose arrays cannot be used.
        DatasetUnavailable: The data is not here and could not be fetched.
        DatasetCorrupt: The data is here but damaged or incomplete.
    """
    check_name(name)
    if name.startswith(_NPZ_PREFIX):
        return npz_source.load(name.removeprefix(_NPZ_PREFIX), as_numbers)
    if name.startswith(_SPHERE_PREFIX):
        return spherical_harmonics.load(name.removeprefix(_SPHERE_PREFIX))
    return _ENTRIES[name].load(tfds_source.resolve_data_dir(data_dir), offline)
