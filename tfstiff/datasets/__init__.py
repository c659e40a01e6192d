"""Data sets as NumPy arrays: load one by name, prepare it for training.

Nothing here imports TensorFlow or tensorflow_datasets until a data set that needs them is loaded.
"""

from tfstiff.datasets.catalog import DEFAULT, CatalogRow, catalog, load, names
from tfstiff.datasets.dataset import Dataset, Examples
from tfstiff.datasets.preparation import prepare
from tfstiff.datasets.preprocessing import CENTERINGS, Preprocessing

__all__ = [
    "CENTERINGS",
    "DEFAULT",
    "CatalogRow",
    "Dataset",
    "Examples",
    "Preprocessing",
    "catalog",
    "load",
    "names",
    "prepare",
]
