import contextlib
from pathlib import Path

import numpy as np
import pytest

from tfstiff.datasets import load
from tfstiff.errors import DatasetCorrupt, DatasetUnavailable, InvalidInput

RANDOM = np.random.default_rng(0)


def arrays(**changes):
    """A good file's members, changed; a change to None takes the member away."""
    members = {
        "x_train": RANDOM.normal(size=(8, 5)).astype(np.float32),
        "y_train": np.arange(8) % 3,
        "x_validation": RANDOM.normal(size=(4, 5)).astype(np.float32),
        "y_validation": np.arange(4) % 3,
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        path = tmp_path / "mine.npz"
        np.savez(path, **arrays(**changes))
        return f"npz:{path}"

    return write


def test_a_plain_file(write):
    name = write()
    dataset = load(name)
    assert dataset.name == name
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.y.dtype == np.int64
    assert dataset.train.ids[1] == "train_00001"
    assert dataset.validation.ids[1] == "validation_00001"
    assert dataset.provenance["splits"]["train"]["examples"] == 8


@pytest.mark.parametrize("suffix", ["val", "test"])
def test_other_names_of_the_validation_split(write, suffix):
    good = arrays()
    name = write(
        x_validation=None,
        y_validation=None,
        ids_validation=np.array(list("abcd")),
        **{f"x_{suffix}": good["x_validation"], f"y_{suffix}": good["y_validation"]},
    )
    dataset = load(name)
    np.testing.assert_array_equal(dataset.validation.x, good["x_validation"])
    assert dataset.validation.ids.tolist() == list("abcd")


@pytest.mark.parametrize(
    ("shape", "result"), [((6, 5), (6, 5, 1)), ((6, 5, 3), (6, 5, 3)), ((7,), (7,))], ids=["hw", "hwc", "features"]
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_shapes_and_dtypes_of_inputs(write, shape, result, dtype):
    dataset = load(write(x_train=np.ones((8, *shape), dtype), x_validation=np.ones((4, *shape), dtype)))
    assert dataset.train.x.shape == (8, *result)
    assert dataset.train.x.dtype == dtype


@pytest.mark.parametrize(
    "convert",
    [
        lambda y: y.astype(np.uint8),
        lambda y: y.astype(np.float32),
        lambda y: y[:, np.newaxis],
        lambda y: np.eye(3)[y],
        lambda y: np.eye(3, dtype=bool)[y],
    ],
    ids=["uint8", "whole floats", "(n, 1)", "one-hot", "one-hot bool"],
)
def test_spellings_of_class_labels(write, convert):
    dataset = load(write(y_train=convert(np.arange(8) % 3), y_validation=convert(np.arange(4) % 3)))
    assert dataset.train.y.tolist() == (np.arange(8) % 3).tolist()
    assert dataset.num_classes == 3


def test_one_hot_labels_count_classes_that_do_not_occur(write):
    assert load(write(y_train=np.eye(5)[np.arange(8) % 3])).num_classes == 5


def test_text_labels_are_numbered_and_keep_their_names(write):
    dataset = load(write(y_train=np.array([*"abcabcab"]), y_validation=np.array([*"cabc"])))
    assert (dataset.class_names, dataset.validation.y.tolist()) == (("a", "b", "c"), [2, 0, 1, 2])


def test_labels_with_gaps_are_numbered_anew(write):
    dataset = load(write(y_train=np.arange(8) * 1000))
    assert dataset.class_names == ("0", "1", "2", *(f"{k}000" for k in range(1, 8)))
    assert dataset.train.y.tolist() == [0, *range(3, 10)]


def test_prices_in_whole_numbers_are_targets(write):
    prices = np.random.default_rng(0).integers(50_000, 500_000, 300)
    good = {"x_train": np.ones((300, 5), np.float32), "y_train": prices}
    assert load(write(**good)).num_classes is None


def test_negative_numbers_are_targets(write):
    assert load(write(y_train=np.arange(8) - 3)).num_classes is None


def test_regression_targets(write):
    dataset = load(write(y_train=np.linspace(-1, 1, 8)[:, np.newaxis], y_validation=np.arange(4)))
    assert dataset.num_classes is None
    assert dataset.train.y.dtype == dataset.validation.y.dtype == np.float32
    np.testing.assert_allclose(dataset.train.y, np.linspace(-1, 1, 8), rtol=1e-6)


def test_names_and_ids(write):
    dataset = load(
        write(
            class_names=np.array(["a", "b", "c", "d"]),
            ids_train=np.arange(100, 108),
            ids_validation=np.array([*"wxyz"]),
        )
    )
    assert dataset.class_names == ("a", "b", "c", "d")
    assert dataset.train.ids[0] == "100"
    assert dataset.validation.ids.tolist() == [*"wxyz"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, "x_train"),
        ({"y_validation": None}, "y_validation"),
        ({"y_train": np.arange(7)}, "y_train differ in length"),
        ({"x_train": np.zeros((0, 5)), "y_train": np.zeros(0, int)}, "x_train"),
        ({"x_train": np.full((8, 5), np.nan)}, "x_train .* NaN"),
        ({"x_train": np.full((8, 5), np.inf)}, "x_train .* infinite"),
        ({"x_train": np.zeros((8, 4))}, "differ in shape"),
        ({"x_train": np.zeros(8)}, "x_train"),
        ({"x_train": np.zeros((8, 5), complex)}, "x_train .* complex"),
        ({"x_train": np.array([[object()] * 5] * 8)}, "x_train .* Python objects"),
        ({"y_train": np.full(8, np.nan)}, "y_train .* NaN"),
        ({"y_train": np.array([*"abcdefgh"])}, "cannot be read"),
        ({"y_train": np.zeros(8, complex)}, "y_train .* dtype"),
        ({"y_train": np.zeros((8, 3))}, "y_train"),
        ({"y_train": np.linspace(0, 1, 8), "class_names": np.array(["a", "b"])}, "class labels"),
        ({"class_names": np.array(["a", "b"])}, "out of range"),
        ({"class_names": np.array("a")}, "class_names"),
        ({"ids_train": np.arange(7)}, "ids_train"),
        ({"ids_train": np.zeros(8, int)}, "ids_train .* alike"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(write, changes, message):
    with pytest.raises(InvalidInput, match=message):
        load(write(**changes))


def test_a_missing_file(tmp_path):
    with pytest.raises(DatasetUnavailable, match="absent"):
        load(f"npz:{tmp_path / 'absent.npz'}")
    with pytest.raises(DatasetUnavailable):
        load(f"npz:{tmp_path}")


@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_truncated_file(write, keep):
    path = write().removeprefix("npz:")
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(DatasetCorrupt):
        load(f"npz:{path}")


def test_flipped_bytes_are_found_or_harmless_but_never_something_else(write):
    path = write().removeprefix("npz:")
    content = Path(path).read_bytes()
    good = load(f"npz:{path}").provenance["splits"]
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        Path(path).write_bytes(damaged)
        with contextlib.suppress(DatasetCorrupt, InvalidInput):
            assert load(f"npz:{path}").provenance["splits"] == good


def test_a_file_that_is_no_archive(tmp_path):
    path = tmp_path / "a.npz"
    np.save(path.open("wb"), np.zeros(3))
    with pytest.raises(DatasetCorrupt, match="not an npz"):
        load(f"npz:{path}")


@pytest.mark.parametrize("content", [b"x,y\n1,2\n", b"P", b"", b"\x80\x04N."])  # the last is a pickle
def test_a_file_that_is_something_else_is_no_call_to_load_pickles(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DatasetCorrupt, match="not an npz file") as caught:
        load(f"npz:{tmp_path / 'a.npz'}")
    assert "pickle" not in str(caught.value)
