"""Classes or numbers: one rule, against the labels that people have."""

import numpy as np
import pytest

from tfstiff.datasets.classes import check_readable, given_classes, read_classes
from tfstiff.errors import InvalidInput

RANDOM = np.random.default_rng(0)
THREE = np.array([2, 0, 1, 1, 2, 0, 2, 1])


def halves(labels):
    middle = len(labels) // 2
    return labels[:middle], labels[middle:]


@pytest.mark.parametrize(
    "spelling",
    [
        lambda y: y,
        lambda y: y.astype("uint8"),
        lambda y: y.astype("float32"),
        lambda y: y[:, None],
        lambda y: np.eye(3)[y],
        lambda y: np.eye(3, dtype=bool)[y],
    ],
    ids=["integers", "bytes", "whole floats", "(n, 1)", "one-hot", "one-hot booleans"],
)
def test_three_classes_in_every_spelling(spelling):
    found = read_classes(halves(spelling(THREE)))
    assert np.concatenate(found.of).tolist() == THREE.tolist()
    assert found.names == ("0", "1", "2")
    assert found.outputs.tolist() == [0, 1, 2]


@pytest.mark.parametrize("texts", [np.array(["eel", "cat", "dog"]), np.array([b"eel", b"cat", b"dog"])])
def test_text_is_encoded_and_keeps_its_names(texts):
    found = read_classes(halves(texts[THREE]))
    assert found.names == ("cat", "dog", "eel")
    assert [found.names[one] for one in np.concatenate(found.of)] == [("eel", "cat", "dog")[one] for one in THREE]
    named = read_classes(halves(np.array(["eel", "cat", "dog"])[THREE]), ("eel", "dog", "cat", "asp"))
    assert np.concatenate(named.of).tolist() == [{0: 0, 1: 2, 2: 1}[one] for one in THREE]
    with pytest.raises(InvalidInput, match="no name"):
        read_classes(halves(np.array(["eel", "cat", "dog"])[THREE]), ("eel", "dog"))


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32"])
def test_hinge_labels_are_two_classes(dtype):
    found = read_classes(halves(np.where(THREE > 1, 1, -1).astype(dtype)))
    assert np.concatenate(found.of).tolist() == (THREE > 1).astype(int).tolist()
    assert (found.names, found.outputs.tolist()) == (("-1", "1"), [0, 1])


def test_booleans_are_two_classes():
    found = read_classes(halves(THREE > 1))
    assert (found.names, np.concatenate(found.of).tolist()) == (("False", "True"), (THREE > 1).astype(int).tolist())


@pytest.mark.parametrize(
    "labels",
    [
        RANDOM.normal(size=40),
        RANDOM.integers(50_000, 500_000, 400),
        RANDOM.integers(25, 350, 300).astype(float),
        RANDOM.integers(-5, 5, 40),
        RANDOM.normal(size=(40, 3)),
        np.arange(400),
    ],
    ids=["fractions", "prices", "diabetes", "negative", "several numbers", "ids"],
)
def test_numbers_are_numbers(labels):
    assert read_classes(halves(labels)) is None


def test_labels_with_gaps_are_numbered_anew_and_keep_their_outputs():
    labels = np.array([7, 104233, 998001])[THREE]
    found = read_classes(halves(labels))
    assert np.concatenate(found.of).tolist() == THREE.tolist()
    assert found.names == ("7", "104233", "998001")
    assert found.outputs[np.concatenate(found.of)].tolist() == labels.tolist()


def test_a_class_that_is_absent_keeps_its_number():
    found = read_classes(halves(np.array([0, 2, 9, 2, 0, 9])))
    assert len(found.names) == 10
    assert np.concatenate(found.of).tolist() == [0, 2, 9, 2, 0, 9]


def test_many_classes_of_several_examples_are_classes():
    labels = np.repeat(np.arange(150), 4)
    assert len(read_classes(halves(labels)).names) == 150


def test_several_labels_an_example_in_one_split_alone():
    single = np.eye(4, dtype=int)[RANDOM.integers(0, 4, 20)]
    several = single.copy()
    several[:3, 0] = 1
    several[several.sum(1) == 1] |= np.array([1, 1, 0, 0])
    assert read_classes((single, several)) is None
    assert read_classes((single, single)) is not None


@pytest.mark.parametrize("labels", [THREE, np.where(THREE > 1, 1, -1)])
def test_whole_numbers_may_be_numbers_and_one_hot_rows_may_not(labels):
    assert read_classes(halves(labels)).may_be_numbers
    assert not read_classes(halves(np.eye(3)[THREE])).may_be_numbers


def test_names_bound_the_labels():
    with pytest.raises(InvalidInput, match="out of range") as error:
        read_classes(halves(THREE), ("a", "b"))
    assert "0 to 1" in str(error.value)
    with pytest.raises(InvalidInput, match="differ in number"):
        read_classes(halves(np.eye(3)[THREE]), ("a", "b"))


def test_given_classes():
    found = given_classes(halves(THREE), ("a", "b", "c"))
    assert (found.names, found.how, found.may_be_numbers) == (("a", "b", "c"), "given", False)
    with pytest.raises(InvalidInput, match="are not classes"):
        given_classes(halves(RANDOM.normal(size=8)))


def test_a_loss_of_classes_refuses_what_hardly_is():
    prices = halves(RANDOM.permutation(np.arange(50_000, 50_400)))
    with pytest.raises(InvalidInput, match="400 different whole numbers") as error:
        check_readable(prices, read_classes(prices))
    assert "classes=None" in str(error.value)
    check_readable(halves(THREE), read_classes(halves(THREE)))
    check_readable(halves(RANDOM.normal(size=8)), None)  # fractions: Keras says what it makes of them


def test_what_is_no_label_is_refused():
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_classes([np.zeros(3, complex), np.zeros(3, complex)])
