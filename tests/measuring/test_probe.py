import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfstiff import Probe
from tfstiff.errors import InvalidInput
from tfstiff.measuring.arrays import flattened, kept_inputs
from tfstiff.measuring.summation.prepared import prepared
from tfstiff.records import PAIR_SETS
from tfstiff.stiffness.pairs import DistanceOptions


def split(count=60, num_classes=3, seed=0, features=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, features)).astype(np.float32), np.arange(count) % num_classes


TRAIN, VALIDATION = split(60, seed=1), split(45, seed=2)


def draw(train=TRAIN, validation=VALIDATION, **options):
    return Probe.from_arrays(train=train, validation=validation, **options)


def positions(half):
    return [int(name.rsplit("_", 1)[1]) for name in half.ids]


def counts(half):
    return np.bincount(half.classes).tolist()


def test_each_class_has_its_share():
    probe = draw(size=(12, 9))
    assert (len(probe.train), len(probe.validation)) == (12, 9)
    assert counts(probe.train) == [4, 4, 4]
    assert counts(probe.validation) == [3, 3, 3]
    assert probe.num_classes == 3
    assert probe.class_names == ("0", "1", "2")


def test_the_remainder_goes_to_classes_drawn_by_chance():
    favoured = set()
    for seed in range(20):
        shares = counts(draw(size=(14, 3), seed=seed).train)
        assert sorted(shares) == [4, 5, 5]
        favoured.add(tuple(shares))
    assert len(favoured) == 3


def test_classes_are_drawn_evenly_where_the_data_are_not():
    y = np.repeat([0, 1, 2], [40, 12, 8])
    assert counts(draw(train=(TRAIN[0], y), size=(24, 9)).train) == [8, 8, 8]


def test_rows_keep_their_order_and_belong_together():
    probe = draw(size=20, seed=3)
    for half, (x, y), name in ((probe.train, TRAIN, "train"), (probe.validation, VALIDATION, "validation")):
        chosen = positions(half)
        assert chosen == sorted(set(chosen))
        assert half.ids[0].startswith(f"{name}_")
        np.testing.assert_array_equal(half.x, x[chosen])
        np.testing.assert_array_equal(half.y, y[chosen])
        np.testing.assert_array_equal(half.classes, y[chosen])


def test_the_seed_decides():
    one, same, other = (draw(size=20, seed=seed) for seed in (5, 5, 6))
    assert one.train.ids.tolist() == same.train.ids.tolist() != other.train.ids.tolist()
    assert one.validation.ids.tolist() == same.validation.ids.tolist() != other.validation.ids.tolist()
    assert one.sha256() == same.sha256() != other.sha256()


def test_one_half_does_not_depend_on_the_size_of_the_other():
    assert draw(size=(20, 5)).validation.ids.tolist() == draw(size=(50, 5)).validation.ids.tolist()


def test_the_draw_leaves_global_random_numbers_alone():
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    draw(size=20)
    assert np.random.random() == expected


def test_everything():
    probe = draw(size=None)
    np.testing.assert_array_equal(probe.train.x, TRAIN[0])
    np.testing.assert_array_equal(probe.validation.y, VALIDATION[1])
    probe = draw(size=(None, 3))
    assert (len(probe.train), len(probe.validation)) == (60, 3)


@pytest.mark.parametrize("size", [61, (61, 9), (9, 46), 0, -1, (0, 3)])
def test_sizes_that_cannot_be(size):
    with pytest.raises(InvalidInput, match="probe cannot take"):
        draw(size=size)


def test_the_message_names_the_split_and_its_size():
    with pytest.raises(InvalidInput, match=r"46 examples of the validation split(.|\n)*1 to 45(.|\n)*smaller"):
        draw(size=(9, 46))


def test_a_short_class_is_taken_whole_with_a_warning():
    y = np.array([0] * 30 + [1] * 28 + [2] * 2)
    with pytest.warns(UserWarning, match=r"train split is short .* class 2 has 2 of 10") as caught:
        probe = draw(train=(TRAIN[0], y), size=(30, 9))
    assert counts(probe.train) == [10, 10, 2]
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_no_warning_without_need():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(size=(60, 45))
        draw(train=(TRAIN[0], np.array([0] * 58 + [1, 2])), size=None)


ONE_HOT = np.eye(3)[TRAIN[1]]


@pytest.mark.parametrize(
    "spelled",
    [
        TRAIN[1].astype(np.uint8),
        TRAIN[1].astype(np.int32)[:, None],
        TRAIN[1].tolist(),
        ONE_HOT,
        ONE_HOT.astype(np.float32),
        ONE_HOT.astype(np.int64),
        ONE_HOT.astype(bool),
        tf.constant(TRAIN[1]),
    ],
)
def test_spellings_of_labels(spelled):
    plain, probe = draw(size=12), draw(train=(TRAIN[0], spelled), size=12)
    assert probe.train.classes.dtype == np.int64
    np.testing.assert_array_equal(probe.train.classes, plain.train.classes)
    assert probe.train.ids.tolist() == plain.train.ids.tolist()
    labels = np.asarray(spelled)
    np.testing.assert_array_equal(probe.train.y, labels[positions(probe.train)], strict=True)


def test_two_classes_as_truth_values():
    truth = TRAIN[1] > 0
    probe = draw(train=(TRAIN[0], truth), validation=(VALIDATION[0], VALIDATION[1] > 0), size=10)
    assert counts(probe.train) == [5, 5]
    assert probe.train.y.dtype == bool


def test_one_hot_labels_say_how_many_classes_there_are():
    wide = np.eye(7)[TRAIN[1]]
    assert draw(train=(TRAIN[0], wide), size=6).num_classes == 7


def test_a_class_of_one_split_only_counts():
    assert draw(train=(TRAIN[0], np.arange(60) % 5), size=10).num_classes == 5
    assert draw(validation=(VALIDATION[0], np.arange(45) % 5), size=10).num_classes == 5


@pytest.mark.parametrize("shape", [(), (1,), (2,)])
def test_floating_labels_are_regression_targets(shape):
    rng = np.random.default_rng(0)
    targets = [rng.normal(size=(n, *shape)).astype(np.float32) for n in (60, 45)]
    probe = draw(train=(TRAIN[0], targets[0]), validation=(VALIDATION[0], targets[1]), size=10)
    assert (probe.num_classes, probe.class_names, probe.train.classes) == (None, (), None)
    np.testing.assert_array_equal(probe.train.y, targets[0][positions(probe.train)])
    assert not any("classes" in name for name in probe.members())
    assert prepared(probe, 250).compared("train_train", None, DistanceOptions()).sums.group_moments[0, 0] == 45


def test_classes_given_for_other_targets():
    targets = [np.random.default_rng(0).normal(size=(n, 7)) for n in (60, 45)]
    probe = draw(
        train=(TRAIN[0], targets[0]), validation=(VALIDATION[0], targets[1]), size=12, classes=(TRAIN[1], VALIDATION[1])
    )
    assert counts(probe.train) == [4, 4, 4]
    assert probe.num_classes == 3
    np.testing.assert_array_equal(probe.train.classes, TRAIN[1][positions(probe.train)])
    np.testing.assert_array_equal(probe.train.y, targets[0][positions(probe.train)])


def test_names_and_ids_of_ones_own():
    ids = [[f"image {i}" for i in range(60)], np.arange(45) + 100]
    probe = draw(size=6, class_names=["cat", "dog", "owl", "fox"], ids=ids)
    assert probe.class_names == ("cat", "dog", "owl", "fox")
    assert probe.num_classes == 4
    chosen = [int(name.split()[1]) for name in probe.train.ids]
    np.testing.assert_array_equal(probe.train.x, TRAIN[0][chosen])
    np.testing.assert_array_equal(probe.validation.x, VALIDATION[0][[int(name) - 100 for name in probe.validation.ids]])


@pytest.mark.parametrize(
    "options",
    [
        {"train": (TRAIN[0], TRAIN[1][:-1])},
        {"train": ({"a": TRAIN[0], "b": TRAIN[0][1:]}, TRAIN[1])},
        {"validation": (VALIDATION[0][:-1], VALIDATION[1])},
        {"ids": (np.arange(60), np.arange(44))},
        {"classes": (TRAIN[1][:-1], VALIDATION[1])},
        {"train": (TRAIN[0][:0], TRAIN[1][:0])},
        {"train": (TRAIN[0], 3)},
    ],
)
@pytest.mark.parametrize("size", [3, None])
def test_lengths_that_differ(options, size):
    with pytest.raises(InvalidInput, match="must have one row for each example"):
        draw(**options, size=size)


@pytest.mark.parametrize("labels", [TRAIN[1] - 1, np.where(TRAIN[1] == 2, 300, TRAIN[1])])
@pytest.mark.parametrize("place", ["train", "validation"])
def test_labels_out_of_range(labels, place):
    x, count = (TRAIN[0], 60) if place == "train" else (VALIDATION[0], 45)
    with pytest.raises(InvalidInput, match="out of range"):
        draw(**{place: (x, labels[:count])}, class_names=["a", "b", "c"])


def test_negative_labels_without_names_are_numbers():
    assert draw(train=(TRAIN[0], TRAIN[1] - 1)).num_classes is None


def test_inputs_in_a_dict():
    x = {"image": TRAIN[0].reshape(60, 2, 2), "age": np.arange(60.0)[:, None]}
    x_val = {"image": VALIDATION[0].reshape(45, 2, 2), "age": np.arange(45.0)[:, None]}
    probe = draw(train=(x, TRAIN[1]), validation=(x_val, VALIDATION[1]), size=9)
    np.testing.assert_array_equal(probe.train.x["image"], x["image"][positions(probe.train)])
    np.testing.assert_array_equal(probe.train.x["age"][:, 0], positions(probe.train))
    side_by_side = {name: half.x for name, half in (("t", probe.train), ("v", probe.validation))}
    flat = {k: np.concatenate([part["age"], part["image"].reshape(9, 4)], 1) for k, part in side_by_side.items()}
    as_one = draw(train=(flat["t"], probe.train.y), validation=(flat["v"], probe.validation.y), size=None)
    np.testing.assert_array_equal(flattened(probe.train.x), flattened(as_one.train.x))
    for name in PAIR_SETS:
        found, expected = (prepared(one, 250).compared(name, None, DistanceOptions()) for one in (probe, as_one))
        np.testing.assert_array_equal(found.tile(0).distances, expected.tile(0).distances)


def test_the_pairs_of_the_inputs_are_made_once():
    probe = draw(size=6)
    made = prepared(probe, 250)
    assert prepared(probe, 250) is made
    assert prepared(probe, 2) is not made
    for name in PAIR_SETS:
        assert made.compared(name, None, DistanceOptions()) is made.compared(name, None, DistanceOptions())
        assert made.compared(name, None, DistanceOptions()) is not made.compared(name, None, DistanceOptions("l1"))


@pytest.mark.parametrize("block_size", [1, 2, 4, 6, 7, 100])
def test_blocks_hold_every_example_once_and_tiles_every_pair(block_size):
    probe = draw(size=(6, 9))
    made = prepared(probe, block_size)
    for place, half in enumerate((probe.train, probe.validation)):
        blocks = [block for block in made.blocks if block.half == place]
        assert max(len(block.indices) for block in blocks) <= block_size
        order = np.concatenate([block.indices for block in blocks])
        assert sorted(order) == list(range(len(half)))
        assert (np.diff(half.classes[order]) >= 0).all()
        for block in blocks:
            expected = half.classes[block.indices][:, None] == np.arange(block.classes.start, block.classes.stop)
            np.testing.assert_array_equal(block.one_hot, expected)
    for index, block in enumerate(made.blocks):
        half = (probe.train, probe.validation)[block.half]
        x, y = made.examples(index)
        np.testing.assert_array_equal(x, half.x[block.indices])
        np.testing.assert_array_equal(y, half.y[block.indices])
    for name, (rows, columns) in {"train_train": (6, 6), "train_val": (6, 9), "val_val": (9, 9)}.items():
        seen = np.zeros((rows, columns), int)
        for i, j in made.tiles(name):
            seen[np.ix_(made.blocks[i].indices, made.blocks[j].indices)] += 1
            if rows == columns and i != j:
                seen[np.ix_(made.blocks[j].indices, made.blocks[i].indices)] += 1
        assert (seen == 1).all()


def test_members_are_ids_classes_and_inputs():
    probe = draw(size=6)
    members = probe.members()
    assert set(members) == {f"{half}_{what}" for half in ("train", "validation") for what in ("ids", "classes", "x")}
    np.testing.assert_allclose(members["train_x"], probe.train.x, rtol=1e-3)
    assert members["train_x"].dtype == np.float16
    np.testing.assert_array_equal(members["validation_classes"], probe.validation.classes)
    assert members["train_ids"].dtype.kind == "U"


def test_inputs_are_kept_as_they_can_be_looked_at(monkeypatch):
    texts, bytes_ = np.array([["a word"]]), np.array([[7, 255]], np.uint8)
    for x in (texts, bytes_):
        (kept,) = kept_inputs({"train_x": x}).values()
        assert kept is x
    assert kept_inputs({"train_x": np.array([[1e9, -np.inf]])})["train_x"].tolist() == [[65504, -65504]]
    assert kept_inputs({"train_x": [texts, bytes_]}) == {}  # a model of several inputs
    monkeypatch.setattr("tfstiff.measuring.arrays._KEPT_BYTES", 1)
    assert kept_inputs({"train_x": bytes_}) == {}


def test_the_digest_sees_inputs_and_targets():
    base = draw(size=None).sha256()
    x, y = TRAIN[0].copy(), TRAIN[1].copy()
    x[3, 1] += 1
    y[3] = (y[3] + 1) % 3
    assert (
        len({base, draw(train=(x, TRAIN[1]), size=None).sha256(), draw(train=(TRAIN[0], y), size=None).sha256()}) == 3
    )


def datasets(batch=None, labels=lambda y: y, **options):
    made = []
    for x, y in (TRAIN, VALIDATION):
        dataset = tf.data.Dataset.from_tensor_slices((x, labels(y)))
        made.append(dataset if batch is None else dataset.batch(batch, **options))
    return made


def same_probe(found, expected):
    for half, wanted in ((found.train, expected.train), (found.validation, expected.validation)):
        np.testing.assert_array_equal(half.x, wanted.x, strict=True)
        np.testing.assert_array_equal(half.y, wanted.y)
        np.testing.assert_array_equal(half.classes, wanted.classes)
        assert half.ids.tolist() == wanted.ids.tolist()


@pytest.mark.parametrize("batch", [None, 1, 7, 60, 100])
def test_from_tf_data(batch):
    same_probe(Probe.from_dataset(*datasets(batch), size=12, seed=4), draw(size=12, seed=4))


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_from_tf_data_in_batches_of_fixed_size(batch):
    same_probe(Probe.from_dataset(*datasets(batch, drop_remainder=True), size=12), draw(size=12))


@pytest.mark.parametrize("batch", [None, 1, 7])
@pytest.mark.parametrize("num_classes", [3, 4])  # 4: as many classes as features
def test_from_tf_data_with_one_hot_labels(batch, num_classes):
    def one_hot(y):
        return np.eye(num_classes, dtype=np.float32)[y]

    arrays = [(x, one_hot(y)) for x, y in (TRAIN, VALIDATION)]
    found = Probe.from_dataset(*datasets(batch, one_hot), size=12)
    same_probe(found, Probe.from_arrays(*arrays, size=12))
    assert found.num_classes == num_classes


def test_from_unbatched_images_as_high_as_there_are_classes():
    made = [
        tf.data.Dataset.from_tensor_slices(
            (np.ones((30, 5, 2), np.float32), np.eye(5, dtype=np.float32)[np.arange(30) % 5])
        )
        for _ in range(2)
    ]
    assert Probe.from_dataset(*made, size=10).train.x.shape == (10, 5, 2)


@pytest.mark.parametrize("batch", [2, 3])
def test_batches_of_fixed_size_with_two_classes(batch):
    def as_float(y):
        return (y > 0).astype(np.float32)

    probe = Probe.from_dataset(*datasets(batch, as_float, drop_remainder=True), size=None)
    assert probe.train.x.shape == (60, 4)
    np.testing.assert_array_equal(probe.train.y, as_float(TRAIN[1]))


def test_dicts_and_weights_in_a_dataset():
    made = [
        tf.data.Dataset.from_tensor_slices(({"a": x, "b": x[:, :1]}, y, y * 0.5)).batch(8)
        for x, y in (TRAIN, VALIDATION)
    ]
    probe = Probe.from_dataset(*made, size=9)
    plain = draw(size=9)
    np.testing.assert_array_equal(probe.train.x["a"], plain.train.x)
    np.testing.assert_array_equal(probe.train.x["b"], plain.train.x[:, :1])


@pytest.mark.parametrize("batch", [None, 7])
def test_a_dataset_without_end(batch):
    endless = [dataset.repeat() for dataset in datasets(batch)]
    with pytest.raises(InvalidInput, match="no end"):
        Probe.from_dataset(*endless)
    arrays = [(x[:30], y[:30]) for x, y in (TRAIN, VALIDATION)]
    same_probe(Probe.from_dataset(*endless, max_examples=30, size=9), Probe.from_arrays(*arrays, size=9))


def test_only_as_much_is_read_as_is_asked_for():
    def examples():
        yield from zip(*TRAIN, strict=True)
        raise AssertionError("read too far")

    spec = (tf.TensorSpec((4,), tf.float32), tf.TensorSpec((), tf.int64))
    dataset = tf.data.Dataset.from_generator(examples, output_signature=spec)
    probe = Probe.from_dataset(dataset, datasets()[1], max_examples=20, size=None)
    assert (len(probe.train), len(probe.validation)) == (20, 20)


class Sequence(keras.utils.PyDataset):
    def __init__(self, x, y, batch=8, endless=False):
        super().__init__()
        self.x, self.y, self.batch, self.endless = x, y, batch, endless

    @property
    def num_batches(self):
        return None if self.endless else -(-len(self.x) // self.batch)

    def __getitem__(self, index):
        start = index * self.batch % len(self.x)
        return self.x[start : start + self.batch], self.y[start : start + self.batch]


def test_from_pydataset():
    same_probe(Probe.from_dataset(Sequence(*TRAIN), Sequence(*VALIDATION), size=12), draw(size=12))
    endless = [Sequence(*arrays, endless=True) for arrays in (TRAIN, VALIDATION)]
    with pytest.raises(InvalidInput, match="no end"):
        Probe.from_dataset(*endless)
    arrays = [(x[:30], y[:30]) for x, y in (TRAIN, VALIDATION)]
    same_probe(Probe.from_dataset(*endless, max_examples=30, size=9), Probe.from_arrays(*arrays, size=9))
    short = Probe.from_dataset(Sequence(*TRAIN), Sequence(*VALIDATION), max_examples=1000, size=None)
    assert (len(short.train), len(short.validation)) == (60, 45)


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        (TRAIN, "tf.data.Dataset, a keras.utils.PyDataset"),
        (tf.data.Dataset.from_tensor_slices(TRAIN).take(0), "empty"),
        (tf.data.Dataset.from_tensor_slices(TRAIN[0]), r"not \(inputs, labels\)"),
        (tf.data.Dataset.from_tensor_slices(TRAIN[0]).batch(5), r"not \(inputs, labels\)"),
        (tf.data.Dataset.from_tensor_slices({"x": TRAIN[0]}), r"not \(inputs, labels\)"),
    ],
)
def test_what_is_no_dataset_of_pairs(dataset, told):
    with pytest.raises(InvalidInput, match=told):
        Probe.from_dataset(dataset, datasets()[1])


def test_an_option_that_is_misspelt_is_named():
    pair = (np.zeros((4, 2)), np.array([0, 1, 0, 1]))
    with pytest.raises(InvalidInput, match=r"Did you mean class_names\?"):
        Probe.from_arrays(pair, pair, class_name=("a", "b"))
    with pytest.raises(InvalidInput, match=r"Did you mean size\?"):
        Probe.from_dataset(iter([pair]), sizes=3)
    assert len(Probe.from_dataset(iter([pair]), size=2, max_examples=3).train) == 2


@pytest.mark.parametrize(
    ("given", "received", "remedy"),
    [
        (np.zeros((4, 2)), "ndarray", r"train=\(x, y\)"),
        ([np.zeros((4, 2))], "list of ndarray", r"train=\(x, y\)"),
        ((np.zeros((4, 2)), None), "tuple of ndarray, NoneType", r"train=\(x, y\)"),
        ((np.zeros(2), np.zeros(2), np.zeros(2)), "tuple of ndarray, ndarray, ndarray", r"train=\(x, y\)"),
        (pd.DataFrame({"a": [1.0], "label": [0]}), "DataFrame", r'frame\["label"\]'),
        (tf.data.Dataset.range(3), "_RangeDataset", "Probe.from_dataset"),
        ((tf.data.Dataset.range(3), [0, 1, 2]), "tuple of _RangeDataset, list", "Probe.from_dataset"),
    ],
)
def test_what_is_no_pair_is_named(given, received, remedy):
    with pytest.raises(InvalidInput, match=remedy) as caught:
        Probe.from_arrays(given)
    assert caught.value.received == repr(received)


def test_without_validation():
    x = np.arange(12.0).reshape(6, 2)
    probe = Probe.from_arrays(
        (x, [0, 1, 2, 0, 1, 2]), size=3, classes=([5, 6, 7] * 2, None), ids=(list("abcdef"), None)
    )
    assert (len(probe.train), len(probe.validation)) == (3, 0)
    assert probe.validation.x.shape == (0, 2)
    assert probe.class_names == tuple(map(str, range(8)))
    assert set(probe.train.ids) < set("abcdef")
    assert "3 training and 0 validation examples" in repr(probe)
    assert "–" in str(probe)
    assert probe.pair_sets_of(("train_train", "train_val", "val_val")) == ("train_train",)
    with pytest.raises(InvalidInput, match="no validation examples"):
        probe.pair_sets_of(("train_val",))
    with pytest.raises(InvalidInput, match="no validation split"):
        Probe.from_arrays((x, range(6)), ids=(list("abcdef"), ["g"]))
    for labels in ([0.5, 1.5] * 3, np.eye(3)[[0, 1, 2] * 2], list("ababab"), [[True], [False]] * 3):
        assert len(Probe.from_arrays((x, labels)).validation) == 0
