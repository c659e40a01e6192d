from pathlib import Path

import numpy as np
import pytest

from tfstiff.datasets import fashion_mnist_mini, load
from tfstiff.datasets.embedded import make_fashion_mnist_mini as maker
from tfstiff.errors import DatasetCorrupt

PREPARED = Path(__file__).resolve().parents[3] / "shared" / "tfds"


def test_what_is_in_it():
    dataset = load("fashion_mnist_mini")
    assert dataset.num_classes == 10
    for examples, count in ((dataset.train, 10_000), (dataset.validation, 2_000)):
        assert examples.x.shape == (count, 28, 28, 1)
        assert examples.x.dtype == np.uint8
        assert examples.y.dtype == np.int64
        assert np.bincount(examples.y).tolist() == [count // 10] * 10
        assert len(np.unique(examples.ids)) == count
        assert len(set(examples.y[:50].tolist())) == 10  # shuffled, not class after class
    assert dataset.train.ids[0].startswith("train_")
    assert dataset.validation.ids[0].startswith("test_")


@pytest.mark.skipif(not PREPARED.is_dir(), reason="no prepared Fashion-MNIST beside the repository")
def test_images_are_the_chosen_ones_of_fashion_mnist():
    mini, full = load("fashion_mnist_mini"), load("fashion_mnist", data_dir=PREPARED, offline=True)
    assert mini.class_names == full.class_names
    for small, large in ((mini.train, full.train), (mini.validation, full.validation)):
        position = {identity: index for index, identity in enumerate(large.ids)}
        rows = np.array([position[identity] for identity in small.ids])
        np.testing.assert_array_equal(small.x, large.x[rows])
        np.testing.assert_array_equal(small.y, large.y[rows])
        np.testing.assert_array_equal(rows, maker.select(large.y, len(small) // 10))
        for label in range(10):
            assert (np.diff(rows[small.y == label]) > 0).all()


def test_packing_is_deterministic_and_readable(tmp_path):
    labels = np.array([1, 0, 1, 1, 0, 0])
    chosen = maker.select(labels, 2)
    assert sorted(chosen.tolist()) == [0, 1, 2, 4]
    content = maker.pack({"x": labels, "chosen": chosen})
    assert content == maker.pack({"x": labels, "chosen": chosen})
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with np.load(path, allow_pickle=False) as members:
        np.testing.assert_array_equal(members["x"], labels)


def test_a_damaged_file_is_told(monkeypatch):
    monkeypatch.setattr(fashion_mnist_mini, "SHA256", "0" * 64)
    with pytest.raises(DatasetCorrupt, match="install tfstiff again"):
        load("fashion_mnist_mini")


def test_a_missing_file_is_told(monkeypatch):
    monkeypatch.setattr(fashion_mnist_mini, "NAME", "absent")
    with pytest.raises(DatasetCorrupt, match="install tfstiff again"):
        load("fashion_mnist_mini")
