"""Probes of data as people hold them: lists, frames, ragged rows, data sets of every structure."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe
from tfstiff.errors import InvalidInput
from tfstiff.measuring.arrays import dense, dense_inputs, targets
from tfstiff.measuring.collecting import collect

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(24, 6)).astype("float32")
KIND, AGE = RANDOM.integers(0, 3, 24), RANDOM.normal(size=(24, 1)).astype("float32")
RAGGED = [[1, 2], [3], [4, 5, 6]]
PADDED = [[1, 2, 0], [3, 0, 0], [4, 5, 6]]


def rows_as_objects():
    rows = np.empty(3, object)
    rows[:] = RAGGED
    return rows


@pytest.mark.parametrize("rows", [RAGGED, tuple(RAGGED), rows_as_objects(), tf.ragged.constant(RAGGED)])
def test_rows_of_unequal_length_are_padded(rows):
    found = dense_inputs(rows)
    assert found.tolist() == PADDED
    assert found.dtype.kind == "i"


@pytest.mark.parametrize(
    "text", [["a", "bc"], np.array(["a", "bc"]), np.array([b"a", b"bc"]), np.array(["a", "bc"], object)]
)
def test_text_is_text(text):
    found = dense(text)
    assert (found.dtype.kind, found.tolist()) == ("U", ["a", "bc"])


def test_what_is_one_input_and_what_are_several():
    assert dense_inputs([[1.0, 2.0], [3.0, 4.0]]).shape == (2, 2)
    assert [part.shape for part in dense_inputs([X, X[:, :2]])] == [(24, 6), (24, 2)]
    assert {name: part.shape for name, part in dense_inputs({"a": X, "b": [1, 2]}).items()} == {"a": (24, 6), "b": (2,)}
    np.testing.assert_array_equal(dense_inputs(tf.sparse.from_dense(X)), X)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(dense_inputs(pandas.DataFrame(X)), X)
    assert targets(pandas.Series(["cat", "dog"])).tolist() == ["cat", "dog"]
    assert [part.shape for part in targets((KIND, AGE))] == [(24,), (24, 1)]


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(index * 6, index * 6 + 6)
        return X[part], {"kind": KIND[part], "age": AGE[part]}


LABELS = {"dict": {"kind": KIND, "age": AGE}, "tuple": (KIND, AGE), "array": KIND}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("max_examples", [None, 10])
@pytest.mark.parametrize("batched", [True, False])
def test_a_data_set_is_read_as_it_was_made(labels, max_examples, batched):
    dataset = tf.data.Dataset.from_tensor_slices((X, LABELS[labels]))
    x, y = collect(dataset.batch(7) if batched else dataset, max_examples)
    np.testing.assert_array_equal(x, X[:max_examples])
    for found, expected in zip(keras.tree.flatten(y), keras.tree.flatten(LABELS[labels]), strict=True):
        np.testing.assert_array_equal(found, expected[:max_examples])
    assert type(y) is type(LABELS[labels])


def test_a_sequence_of_keras_with_labels_in_a_dict():
    x, y = collect(Sequence())
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y["age"], AGE)
    assert len(collect(Sequence(), 8)[1]["kind"]) == 8


def test_batches_of_unequal_width_are_padded_together():
    lengths = RANDOM.integers(1, 9, 20)

    def rows():
        for number, length in enumerate(lengths):
            yield np.full(length, number + 1), number % 2

    signature = (tf.TensorSpec((None,), tf.int64), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(rows, output_signature=signature).padded_batch(4)
    x, y = collect(dataset)
    assert x.shape == (20, lengths.max())
    assert (x > 0).sum(1).tolist() == lengths.tolist()
    assert (x.max(1) == np.arange(1, 21)).all()
    assert y.tolist() == [number % 2 for number in range(20)]


def test_ragged_and_sparse_elements():
    ragged = tf.data.Dataset.from_tensor_slices((tf.ragged.constant(RAGGED * 4), np.arange(12) % 2)).batch(5)
    assert collect(ragged)[0].tolist() == PADDED * 4
    sparse = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(X), KIND)).batch(5)
    np.testing.assert_array_equal(collect(sparse)[0], X)


def test_sample_weights_are_told_once_and_left_out():
    dataset = tf.data.Dataset.from_tensor_slices((X, KIND, np.ones(24))).batch(5)
    with pytest.warns(UserWarning, match="sample weights") as told:
        x, y = collect(dataset)
    assert (len(told), len(x), len(y)) == (1, 24, 24)


def test_batches_of_a_generator():
    batches = ((X[start : start + 5], KIND[start : start + 5]) for start in range(0, 24, 5))
    np.testing.assert_array_equal(collect(batches)[0], X)

    def endless():
        while True:
            yield X, KIND

    assert len(collect(endless(), 30)[0]) == 30


@pytest.mark.parametrize("given", [(X, KIND), X, "imdb", 3])
def test_what_is_no_data_set_is_named(given):
    with pytest.raises(InvalidInput, match="data set is expected") as error:
        Probe.from_dataset(given, given)
    assert "from_arrays" in str(error.value)


@pytest.mark.parametrize("given", [X, tf.data.Dataset.range(3), (X,)])
def test_what_is_no_pair_is_named(given):
    with pytest.raises(InvalidInput, match="train split is not a pair") as error:
        Probe.from_arrays(given, (X, KIND))
    assert "from_dataset" in str(error.value)


def test_splits_are_padded_alike():
    probe = Probe.from_arrays((RAGGED, [0, 1, 0]), ([[7], [8, 9], [1]], [1, 0, 1]))
    assert probe.train.x.tolist() == PADDED
    assert probe.validation.x.tolist() == [[7, 0, 0], [8, 9, 0], [1, 0, 0]]
    with pytest.raises(InvalidInput, match="inputs of the two splits differ"):
        Probe.from_arrays((X, KIND), (X[:, :, None, None], KIND))


def test_text_labels_become_numbers_with_names():
    animals = np.array(["dog", "cat", "eel"])[KIND]
    probe = Probe.from_arrays((X[:12], animals[:12]), (X[12:], animals[12:]))
    assert probe.class_names == ("cat", "dog", "eel")
    assert [probe.class_names[one] for one in probe.train.y] == animals[:12].tolist()
    assert probe.labels_are.startswith("3 classes, from text")


def test_the_default_size_is_all_where_there_are_few():
    assert len(Probe.from_arrays((X, KIND), (X, KIND)).train) == 24
    many = np.zeros((700, 1)), np.arange(700) % 2
    assert len(Probe.from_arrays(many, many).train) == 500
    with pytest.raises(InvalidInput, match="cannot take 500"):
        Probe.from_arrays((X, KIND), (X, KIND), size=500)


def test_the_loss_decides_what_whole_numbers_are():
    probe = Probe.from_arrays((X[:12], KIND[:12]), (X[12:], KIND[12:]))
    assert probe.num_classes == 3
    assert probe.read_for("classes") is probe
    assert probe.read_for(None) is probe
    numbers = probe.read_for("numbers")
    assert (numbers.num_classes, numbers.train.classes, numbers.labels_are) == (
        None,
        None,
        "numbers, as the loss takes them",
    )
    assert numbers.sha256() == probe.sha256()
    assert probe.read_for("numbers") is numbers
    one_hot = Probe.from_arrays((X[:12], np.eye(3)[KIND[:12]]), (X[12:], np.eye(3)[KIND[12:]]))
    assert one_hot.read_for("numbers") is one_hot
    prices = RANDOM.permutation(np.arange(10_000, 10_400))
    dear = Probe.from_arrays((np.zeros((200, 2)), prices[:200]), (np.zeros((200, 2)), prices[200:]))
    assert dear.read_for("numbers") is dear
    with pytest.raises(InvalidInput, match="hardly"):
        dear.read_for("classes")


def test_classes_can_be_said():
    none = Probe.from_arrays((X[:12], KIND[:12]), (X[12:], KIND[12:]), classes=None)
    assert none.num_classes is None
    assert none.read_for("classes") is none  # who says so is not told otherwise
    given = Probe.from_arrays((X[:12], AGE[:12]), (X[12:], AGE[12:]), classes=(KIND[:12], KIND[12:]))
    assert given.num_classes == 3
    assert given.read_for("numbers") is given
    with pytest.raises(InvalidInput, match="Unknown classes"):
        Probe.from_arrays((X, KIND), (X, KIND), classes="none")
