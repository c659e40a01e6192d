import json

import numpy as np
import pytest

from tfstiff.datasets.groupings import BUILT_IN, group_indices, known_grouping, read_grouping
from tfstiff.errors import InvalidInput

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# The superclass of each class of CIFAR-100, classes and superclasses in alphabetical order: the coarse label of each
# fine label in the published files.
COARSE = [
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1),
    *(10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12),
    *(12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0),
    *(17, 8, 14, 13),
]
ANIMALS = ("cat", "dog", "car")


def test_the_vehicles_of_cifar10():
    indices, names = group_indices(read_grouping("cifar10"), CIFAR10)
    assert names == ("vehicles", "animals")
    assert np.flatnonzero(indices == 0).tolist() == [0, 1, 8, 9]
    assert indices.dtype == np.int64


def test_the_superclasses_of_cifar100_are_the_published_ones():
    grouping = read_grouping("cifar100")
    classes = sorted(name for names in grouping.values() for name in names)
    assert len(classes) == len(set(classes)) == 100
    assert {len(names) for names in grouping.values()} == {5}
    assert list(grouping) == sorted(grouping)
    assert group_indices(grouping, classes)[0].tolist() == COARSE


def test_built_in_groupings_are_known_by_their_classes():
    assert known_grouping(CIFAR10[::-1]) is BUILT_IN["cifar10"]
    assert known_grouping(CIFAR10[1:]) is None


@pytest.mark.parametrize("text", ["pets=cat,dog;things=car", " pets = cat , dog ; things = car ;"])
def test_a_grouping_as_text(text):
    indices, names = group_indices(read_grouping(text), ANIMALS)
    assert (indices.tolist(), names) == ([0, 0, 1], ("pets", "things"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("g.json", json.dumps({"pets": ["cat", "dog"], "things": ["car"]})),
        ("g.toml", 'pets = ["cat", "dog"]\nthings = ["car"]\n'),
        ("G.JSON", '{"pets": ["dog", "cat"], "things": ["car"]}'),
    ],
)
def test_a_grouping_in_a_file(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert group_indices(read_grouping(str(tmp_path / name)), ANIMALS)[0].tolist() == [0, 0, 1]


def test_numbers_are_names_too(tmp_path):
    (tmp_path / "g.json").write_text('{"low": [0, 1], "high": [2]}')
    for source in (str(tmp_path / "g.json"), "low=0,1;high=2"):
        assert group_indices(read_grouping(source), ("0", "1", "2"))[0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "source", ["", ";", "cifar-10", "cat,dog", "pets=cat,dog;car", "a=1;a=2", "a=", "a=1,,2", "=1"]
)
def test_text_that_cannot_be_read(source):
    with pytest.raises(InvalidInput):
        read_grouping(source)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("g.json", b"{"),
        ("g.json", b"[]"),
        ("g.json", b"{}"),
        ("g.json", b'{"a": "cat"}'),
        ("g.json", b'{"a": []}'),
        ("g.json", b'{"a": {"b": []}}'),
        ("g.json", b"\xff\xfe\x00"),
        ("g.toml", b"a = ["),
        ("g.toml", b"a = 3"),
        ("g.toml", None),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput):
        read_grouping(str(tmp_path / name))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pets=cat,dog,wolf;things=car", "not classes of the data set: wolf"),
        ("pets=cat,dog;things=car,dog", "in several groups, or twice in one: dog"),
        ("pets=cat,dog,dog;things=car", "twice in one: dog"),
    ],
)
def test_no_class_is_in_two_groups_or_unknown(text, told):
    with pytest.raises(InvalidInput, match=told):
        group_indices(read_grouping(text), ANIMALS)


def test_classes_in_no_group_are_marked():
    indices, names = group_indices(read_grouping("pets=dog,cat"), ANIMALS)
    assert (indices.tolist(), names) == ([0, 0, -1], ("pets",))
