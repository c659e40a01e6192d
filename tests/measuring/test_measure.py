import dataclasses
import importlib
import pkgutil
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfstiff
from tfstiff import Probe, measure
from tfstiff.errors import InvalidInput, UnsupportedModel

CLASSES = 3
PLACES = {
    "train_train": ("train", "train"),
    "train_val": ("train", "validation"),
    "val_val": ("validation", "validation"),
}


def arrays(count, seed, num_classes=CLASSES):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 5)).astype(np.float32), rng.integers(0, num_classes, count)


TRAIN, VALIDATION = arrays(11, 1), arrays(8, 2)


def probe_of(train=TRAIN, validation=VALIDATION, **options):
    return Probe.from_arrays(train=train, validation=validation, size=None, **options)


def classifier(outputs=CLASSES, loss="sparse", seed=0, **dense):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(outputs, **dense)]
    )
    if loss == "sparse":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


def gradients(model, half):
    """(n, P) float64, by one tape an example."""
    rows = []
    for i in range(len(half)):
        with tf.GradientTape() as tape:
            value = model.loss(tf.constant(half.y[i : i + 1]), model(half.x[i : i + 1], training=False))
        rows.append(np.concatenate([g.numpy().ravel() for g in tape.gradient(value, model.trainable_variables)]))
    return np.array(rows, np.float64)


def cosines(one, two):
    return (one @ two.T) / np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(two, axis=1))


def cell(values, kept):
    return values[kept].mean() if kept.any() else np.nan


def test_no_module_takes_the_place_of_a_public_name():
    for module in pkgutil.iter_modules(tfstiff.__path__):
        importlib.import_module(f"tfstiff.{module.name}")
    assert tfstiff.measure is measure
    assert not {module.name for module in pkgutil.iter_modules(tfstiff.__path__)} & set(tfstiff.__all__)


@pytest.mark.parametrize("method", ["auto", "vectorized", "loop"])
def test_equals_a_tape_for_each_example(method):
    model, probe = classifier(), probe_of()
    found = measure(model, probe, method=method, keep_gram=True)
    g = {"train": gradients(model, probe.train), "validation": gradients(model, probe.validation)}
    for name, (rows, columns) in PLACES.items():
        cosine = cosines(g[rows], g[columns])
        y, y2 = getattr(probe, rows).classes, getattr(probe, columns).classes
        other = ~np.eye(len(y), dtype=bool) if rows == columns else np.ones(cosine.shape, bool)
        assert np.abs(cosine).min() > 1e-4, "signs that rounding could turn"
        for metric, values in (("sign", np.sign(cosine)), ("cosine", cosine)):
            expected = [
                [cell(values, other & np.outer(y == a, y2 == b)) for b in range(CLASSES)] for a in range(CLASSES)
            ]
            by_class = getattr(found[name], metric)
            np.testing.assert_allclose(by_class.matrix, expected, atol=1e-5)
            np.testing.assert_allclose(by_class.within, np.nanmean(np.diag(expected)), atol=1e-5)
            apart = np.asarray(expected)[~np.eye(CLASSES, dtype=bool)]
            np.testing.assert_allclose(by_class.between, np.nanmean(apart), atol=1e-5)
            np.testing.assert_allclose(getattr(found[name], f"mean_{metric}"), values[other].mean(), atol=1e-5)
        near = np.triu(other, 1) if rows == columns else other
        near = near & (y[:, None] == y2)
        distance = 1 - cosines(*(getattr(probe, half).x.astype(np.float64) for half in (rows, columns)))
        slope, intercept = np.polyfit(distance[near], cosine[near], 1)
        length = found[name].critical_length
        np.testing.assert_allclose([length.slope, length.intercept], [slope, intercept], atol=1e-4)
        assert length.num_pairs == near.sum() == found[name].distance_profile.count.sum()
    both = np.concatenate([g["train"], g["validation"]])
    np.testing.assert_allclose(found.gram, both @ both.T, atol=1e-5)
    assert found.method == method
    assert measure(model, probe).gram is None


def test_scalars_have_the_names_of_keras_logs():
    found = measure(classifier(), probe_of())
    scalars = found.scalars()
    assert len(scalars) == 15
    assert all(type(value) is float for value in scalars.values())
    for name in PLACES:
        assert scalars[f"stiffness_cosine_within_{name}"] == found[name].cosine.within
        assert scalars[f"stiffness_sign_between_{name}"] == found[name].sign.between
        assert scalars[f"stiffness_critical_length_{name}"] == found[name].critical_length.value


def last_layer(num_classes, seed=0):
    """Only a Dense layer after ReLU features is trainable."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((5,)),
            keras.layers.Dense(7, activation="relu", trainable=False),
            keras.layers.Dense(num_classes),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_the_last_layer_is_always_stiff_within_a_class(num_classes):
    model = last_layer(num_classes)
    halves = [(x, np.arange(25) % num_classes) for x, _ in (arrays(25, seed) for seed in (3, 4))]
    model.fit(*halves[0], epochs=5, verbose=0)
    found = measure(model, probe_of(*halves))
    for name in PLACES:
        np.testing.assert_array_equal(np.diag(found[name].sign.matrix), 1)


def test_two_classes_are_anti_stiff_in_the_last_layer():
    model = last_layer(2)
    halves = [arrays(25, seed, 2) for seed in (3, 4)]
    model.fit(*halves[0], epochs=5, verbose=0)
    found = measure(model, probe_of(*halves))
    for name in PLACES:
        np.testing.assert_array_equal(found[name].sign.matrix, [[1, -1], [-1, 1]])


@pytest.mark.parametrize("num_classes", [2, 4])
def test_uniform_predictions_have_a_cosine_of_minus_one_over_others(num_classes):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(num_classes, kernel_initializer="zeros")])
    model.layers[0].kernel.trainable = False  # of the bias alone, the gradient is p − e_y
    model.layers[0]._trainable_variables = [model.layers[0].bias]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = measure(model, probe_of(arrays(20, 1, num_classes), arrays(20, 2, num_classes)))
    expected = np.where(np.eye(num_classes, dtype=bool), 1, -1 / (num_classes - 1))
    for name in PLACES:
        np.testing.assert_allclose(found[name].cosine.matrix, expected, atol=1e-6)
        np.testing.assert_array_equal(found[name].sign.matrix, np.sign(expected))


def test_equal_examples_have_a_cosine_of_1():
    x = np.repeat(TRAIN[0][:1], 6, 0)
    y = np.ones(6, int)
    found = measure(classifier(), probe_of((x, y), (x, y)))
    for name in PLACES:
        assert found[name].cosine.matrix[1, 1] == pytest.approx(1, abs=1e-5)
        assert found[name].sign.matrix[1, 1] == 1
        assert found[name].critical_length.status == "too_few_pairs"


def test_a_scale_of_each_examples_loss_changes_nothing():
    scales = keras.random.uniform((19,), 0.1, 10, seed=1).numpy()
    x = np.concatenate([TRAIN[0], VALIDATION[0]])

    class Scaled(keras.losses.Loss):
        """Squared error, times a number that the target carries besides."""

        def call(self, y_true, y_pred):
            return y_true[:, 1] * (y_true[:, 0] - y_pred[:, 0]) ** 2

    model = classifier(1, loss=Scaled())
    targets = np.sin(x[:, :1] * 3)
    found = []
    for weights in (np.ones_like(scales), scales):
        y = np.concatenate([targets, weights[:, None]], 1).astype(np.float32)
        classes = (TRAIN[1], VALIDATION[1])
        found.append(measure(model, probe_of((x[:11], y[:11]), (x[11:], y[11:]), classes=classes), keep_gram=True))
    assert not np.allclose(found[0].gram, found[1].gram, rtol=0.1)
    for name in PLACES:
        np.testing.assert_array_equal(found[0][name].sign.matrix, found[1][name].sign.matrix)
        np.testing.assert_allclose(found[0][name].cosine.matrix, found[1][name].cosine.matrix, atol=1e-5)


def test_symmetry():
    model = classifier()
    found, mirrored = measure(model, probe_of()), measure(model, probe_of(VALIDATION, TRAIN))
    for name in ("train_train", "val_val"):
        np.testing.assert_allclose(found[name].cosine.matrix, found[name].cosine.matrix.T, atol=1e-6)
        np.testing.assert_array_equal(found[name].pair_counts, found[name].pair_counts.T)
    np.testing.assert_allclose(found["train_val"].cosine.matrix, mirrored["train_val"].cosine.matrix.T, atol=1e-5)
    np.testing.assert_allclose(found["train_train"].sign.matrix, mirrored["val_val"].sign.matrix, atol=1e-5)


def test_regression():
    model = classifier(1, loss=keras.losses.MeanSquaredError())
    rng = np.random.default_rng(0)
    halves = [(x, rng.normal(size=(len(x), 1)).astype(np.float32)) for x, _ in (TRAIN, VALIDATION)]
    probe = probe_of(*halves)
    found = measure(model, probe)
    g = {"train": gradients(model, probe.train), "validation": gradients(model, probe.validation)}
    for name, (rows, columns) in PLACES.items():
        cosine = cosines(g[rows], g[columns])
        other = ~np.eye(len(cosine), dtype=bool) if rows == columns else np.ones(cosine.shape, bool)
        np.testing.assert_allclose(found[name].mean_cosine, cosine[other].mean(), atol=1e-5)
        np.testing.assert_allclose(found[name].mean_sign, np.sign(cosine)[other].mean(), atol=1e-6)
        assert found[name].sign is found[name].cosine is found[name].pair_counts is None
        pairs = np.count_nonzero(np.triu(other, 1) if rows == columns else other)
        assert found[name].critical_length.num_pairs == pairs
    assert found.class_names == ()
    assert np.isnan(found.train.accuracy)
    assert len(found.scalars()) == 9
    assert found.scalars()["stiffness_cosine_mean_train_val"] == found["train_val"].mean_cosine


def binary(from_logits):
    activation = None if from_logits else "sigmoid"
    return classifier(1, loss=keras.losses.BinaryCrossentropy(from_logits=from_logits), activation=activation)


@pytest.mark.parametrize(
    ("shape", "dtype", "from_logits"),
    [((-1,), np.int64, True), ((-1, 1), np.int64, False), ((-1,), bool, False), ((-1, 1), bool, True)],
)
def test_one_output_for_two_classes(shape, dtype, from_logits):
    model = binary(from_logits)
    halves = [(x, (y > 0).astype(dtype).reshape(shape)) for x, y in (TRAIN, VALIDATION)]
    found = measure(model, probe_of(*halves))
    for half, (x, y) in ((found.train, halves[0]), (found.validation, halves[1])):
        chosen = model(x).numpy()[:, 0] > (0 if from_logits else 0.5)
        assert half.accuracy == (chosen == y.ravel()).mean()
        assert half.loss == pytest.approx(
            model.evaluate(x, y.reshape(-1, 1).astype(np.float32), verbose=0)[0], abs=1e-5
        )
    assert found["train_train"].sign.matrix.shape == (2, 2)
    tape = gradients(model, probe_of(*[(x, y.reshape(-1, 1).astype(np.float32)) for x, y in halves]).train)
    y = halves[0][1].ravel().astype(int)
    between = np.outer(y == 0, y == 1)
    assert found["train_train"].cosine.matrix[0, 1] == pytest.approx(cosines(tape, tape)[between].mean(), abs=1e-5)


def test_one_hot_labels_give_what_integers_give():
    model = classifier(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    one_hot = [(x, np.eye(CLASSES, dtype=np.float32)[y]) for x, y in (TRAIN, VALIDATION)]
    found, integers = measure(model, probe_of(*one_hot)), measure(classifier(), probe_of())
    for name in PLACES:
        np.testing.assert_allclose(found[name].cosine.matrix, integers[name].cosine.matrix, atol=1e-5)
    for half, expected in ((found.train, integers.train), (found.validation, integers.validation)):
        assert half.loss == pytest.approx(expected.loss, rel=1e-6)  # two operations, whose last bits may differ
        assert dataclasses.replace(half, loss=expected.loss) == expected


def test_losses_and_accuracies_are_those_of_evaluate():
    model = classifier()
    model.fit(*TRAIN, epochs=10, verbose=0)
    found = measure(model, probe_of())
    for half, (x, y) in ((found.train, TRAIN), (found.validation, VALIDATION)):
        loss, accuracy = model.evaluate(x, y, verbose=0)
        assert half.loss == pytest.approx(loss, abs=1e-5)
        assert half.accuracy == pytest.approx(accuracy, abs=1e-6)
        assert half.num_examples == len(x)
    assert 0 < found.train.accuracy < 1


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(CLASSES)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize("make", ["functional", "unbuilt", "subclassed", "built subclassed"])
@pytest.mark.parametrize("half", ["train", "validation"])
def test_labels_without_an_output(make, half):
    model = classifier() if make == "functional" else Subclassed()
    if make == "unbuilt":
        model = keras.Sequential([keras.layers.Dense(CLASSES)])
    if make == "built subclassed":
        model(TRAIN[0])
    halves = {"train": TRAIN, "validation": VALIDATION}
    halves[half] = (halves[half][0], np.where(np.arange(len(halves[half][1])) == 2, CLASSES, halves[half][1]))
    with pytest.raises(InvalidInput, match=r"out of range for the model(.|\n)*0 to 2(.|\n)*Received: 3"):
        measure(model, probe_of(**halves), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def test_classes_that_are_no_labels_may_be_more_than_outputs():
    model = classifier(5, loss="mse")  # an autoencoder, say
    many = (np.arange(11) % 9, np.arange(8))
    found = measure(model, probe_of((TRAIN[0], TRAIN[0]), (VALIDATION[0], VALIDATION[0]), classes=many))
    assert found["train_val"].cosine.matrix.shape == (9, 9)


def test_a_diverged_model():
    model = classifier()
    model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])
    found = measure(model, probe_of())
    assert np.isnan(found.train.loss)
    assert (found.train.num_nonfinite, found.validation.num_nonfinite) == (11, 8)
    for name in PLACES:
        assert np.isnan(found[name].sign.matrix).all()
        assert found[name].pair_counts.sum() == 0
        assert found[name].critical_length.status == "too_few_pairs"
    assert all(np.isnan(value) for value in found.scalars().values())


def test_one_example_without_a_finite_gradient_leaves_the_others():
    x = TRAIN[0].copy()
    x[4] = np.inf
    found, whole = measure(classifier(), probe_of((x, TRAIN[1]))), measure(classifier(), probe_of())
    assert (found.train.num_nonfinite, found.validation.num_nonfinite) == (1, 0)
    kept = np.arange(11) != 4
    without = measure(classifier(), probe_of((TRAIN[0][kept], TRAIN[1][kept])))
    for name in PLACES:
        np.testing.assert_allclose(found[name].cosine.matrix, without[name].cosine.matrix, atol=1e-5)
        profile, expected = found[name].distance_profile, without[name].distance_profile
        np.testing.assert_allclose(profile.edges, expected.edges)
        np.testing.assert_array_equal(profile.count, expected.count)
        assert found[name].critical_length.value == pytest.approx(without[name].critical_length.value, abs=1e-4)
    np.testing.assert_allclose(found["val_val"].cosine.matrix, whole["val_val"].cosine.matrix, atol=1e-6)


def test_zero_gradients_are_counted():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation="relu", use_bias=False)])
    model.compile("sgd", "mse")
    model.set_weights([np.array([[1.0], [0], [0], [0], [0]])])
    halves = [(x, np.full((len(x), 1), -1.0, np.float32)) for x, _ in (TRAIN, VALIDATION)]
    found = measure(model, probe_of(*halves))
    assert found.train.num_zero_gradients == (TRAIN[0][:, 0] <= 0).sum() > 0
    assert found.validation.num_zero_gradients == (VALIDATION[0][:, 0] <= 0).sum() > 0
    assert found.train.num_nonfinite == 0


def test_a_loss_other_than_the_compiled_one():
    model = classifier(loss="mse")
    found = measure(model, probe_of(), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = measure(classifier(), probe_of())
    np.testing.assert_allclose(found["train_val"].cosine.matrix, expected["train_val"].cosine.matrix, atol=1e-6)


def test_what_cannot_be_measured():
    model = classifier()
    with pytest.raises(InvalidInput, match="Unknown method"):
        measure(model, probe_of(), method="magic")
    uncompiled = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.raises(UnsupportedModel, match="no loss"):
        measure(uncompiled, probe_of())
    model.trainable = False
    with pytest.raises(UnsupportedModel, match="no trainable weights"):
        measure(model, probe_of())
    with pytest.raises(UnsupportedModel, match="Only Keras 3 models"):
        measure(lambda x: x, probe_of(), loss="mse")


def test_nothing_of_the_model_changes():
    model = classifier()
    model.fit(*TRAIN, epochs=1, verbose=0)
    before = tf.nest.map_structure(np.copy, model.get_state_tree(value_format="numpy_array"))
    measure(model, probe_of())
    after = model.get_state_tree(value_format="numpy_array")
    tf.nest.map_structure(np.testing.assert_array_equal, after, before)


def test_several_outputs_with_a_loss_each():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, activation="tanh")(inputs)
    model = keras.Model(inputs, {"label": keras.layers.Dense(3)(hidden), "size": keras.layers.Dense(1)(hidden)})
    losses = {"label": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "size": "mse"}
    model.compile(loss=losses, loss_weights={"label": 1.0, "size": 0.5})
    random = np.random.default_rng(0)
    x, labels, sizes = random.normal(size=(12, 4)), random.integers(0, 3, 12), random.normal(size=(12, 1))
    split = {"label": labels, "size": sizes}
    probe = Probe.from_arrays((x, split), (x[:6], {name: y[:6] for name, y in split.items()}), size=None)
    assert probe.num_classes is None
    classed = Probe.from_arrays(
        (x, split),
        (x[:6], {name: y[:6] for name, y in split.items()}),
        size=None,
        classes=(labels, labels[:6]),
    )
    found = measure(model, classed)
    rows = []
    for index in range(12):
        with tf.GradientTape() as tape:
            predicted = model(x[index : index + 1])
            loss = losses["label"](labels[index : index + 1], predicted["label"])
            loss += 0.5 * tf.reduce_mean((predicted["size"] - sizes[index : index + 1]) ** 2)
        rows.append(np.concatenate([np.ravel(part) for part in tape.gradient(loss, model.trainable_variables)]))
    unit = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = unit @ unit[:6].T
    for first, second in np.ndindex(3, 3):
        expected = cell(cosine, np.outer(labels == first, labels[:6] == second))
        assert found["train_val"].cosine.matrix[first, second] == pytest.approx(expected, abs=1e-5, nan_ok=True)
    assert np.isnan(found.train.accuracy)
    assert measure(model, probe)["train_val"].mean_cosine == pytest.approx(cosine.mean(), abs=1e-5)


def test_tiny_gradients_keep_their_cosines():
    """Products of gradients of 1e-25 are zero in single precision; cosines must not be."""
    model = classifier(loss=lambda y, p: 1e-25 * keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True))
    usual = classifier()
    usual.set_weights(model.get_weights())
    tiny, expected = measure(model, probe_of()), measure(usual, probe_of())
    assert tiny.train.num_zero_gradients == 0
    for pair_set in ("train_train", "train_val", "val_val"):
        np.testing.assert_allclose(tiny[pair_set].cosine.matrix, expected[pair_set].cosine.matrix, atol=1e-5)
        np.testing.assert_allclose(tiny[pair_set].sign.matrix, expected[pair_set].sign.matrix)


def test_scalars_in_the_space_of_a_layer():
    model, probe = classifier(), probe_of()
    name = model.layers[0].name
    found = measure(model, probe, space=name)
    assert list(found["train_val"].spaces) == [name]
    value = found.scalars()["stiffness_critical_length_train_val"]
    np.testing.assert_equal(value, found["train_val"].spaces[name].critical_length.value)


FOUR = tuple("abcd")


def grouped(**options):
    probe = Probe.from_arrays(train=arrays(40, 1, 4), validation=arrays(40, 2, 4), size=None, class_names=FOUR)
    return measure(classifier(4), probe, **options)


def test_blocks_of_classes_are_compared_where_groups_are_given():
    plain, found = grouped(), grouped(groups={"one": ["a", "c"], "two": ["b", "d"]})
    assert (plain.groups, plain["train_val"].sign.blocks) == ({}, None)
    assert found.groups == {"one": ("a", "c"), "two": ("b", "d")}
    matrix = found["train_val"].cosine.matrix
    same = np.mean([matrix[0, 2], matrix[2, 0], matrix[1, 3], matrix[3, 1]])
    blocks = found["train_val"].cosine.blocks
    np.testing.assert_allclose(blocks.same_group, same, atol=1e-12)
    np.testing.assert_allclose(blocks.contrast, blocks.same_group - blocks.different_group)
    assert (blocks.num_groupings, blocks.is_exact) == (6, True)
    assert found.scalars()["stiffness_cosine_block_contrast_train_val"] == blocks.contrast
    assert found.standard_errors()["stiffness_cosine_block_contrast_train_val"] == blocks.contrast_se
    assert len(found.scalars()) == len(plain.scalars()) + 6
    assert grouped(groups="one=a,c;two=b,d")["val_val"].sign.blocks.p_value == found["val_val"].sign.blocks.p_value


def test_known_classes_have_their_groups():
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    halves = [(x, np.arange(40) % 10) for x, _ in (arrays(40, seed) for seed in (3, 4))]
    probe = Probe.from_arrays(train=halves[0], validation=halves[1], size=None, class_names=names)
    found = measure(classifier(10), probe)
    assert list(found.groups) == ["vehicles", "animals"]
    assert found["train_train"].sign.blocks.num_groupings == 210
    assert measure(classifier(10), probe, groups=None).groups == {}
    assert measure(classifier(10), probe, groups="none").groups == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": "one=a,e"}, "are not classes"),
        ({"groups": "missing.json"}, "cannot be read"),
        ({"groups": {}}, "list of class names"),
        ({"critical_length_method": "fixed_effects", "distance_pairs": "all"}, "fixed effects"),
    ],
)
def test_choices_that_do_not_suit_the_probe(options, message):
    with pytest.raises(InvalidInput, match=message):
        grouped(**options)
    probe = Probe.from_arrays(train=arrays(40, 1, 4), validation=arrays(40, 2, 4), size=None, class_names=FOUR)
    with pytest.raises(InvalidInput, match=message):  # before training
        tfstiff.StiffnessCallback(probe, **options)


def test_regression_targets_have_no_classes_to_group_or_to_have_effects():
    x = TRAIN[0]
    probe = Probe.from_arrays(train=(x, x[:, :1]), validation=(x, x[:, :1]), size=None)
    model = classifier(1, "mse")
    assert measure(model, probe)["train_val"].sign is None
    for options in ({"groups": "a=0"}, {"critical_length_method": "fixed_effects"}):
        with pytest.raises(InvalidInput, match="classes"):
            measure(model, probe, **options)


@pytest.mark.parametrize("method", ["first_crossing", "fixed_effects"])
def test_critical_lengths_need_no_list_of_pairs(monkeypatch, method):
    """With an interval, from pairs that are too many to be kept."""
    expected = grouped(critical_length_method=method)["train_val"].critical_length
    monkeypatch.setattr("tfstiff.stiffness.pairs.KEPT_PAIRS", 10)
    found = grouped(critical_length_method=method)["train_val"].critical_length
    assert (found.method, found.interval) == (method, expected.interval)
    np.testing.assert_allclose([found.value, found.low, found.high], [expected.value, expected.low, expected.high])


def two_scores(loss, activation=None):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1, activation)])
    model.compile("adam", loss)
    return model


RANDOM = np.random.default_rng(8)
FIVE = RANDOM.normal(size=(80, 5)).astype("float32")
SIDE = (FIVE[:, 0] > 0.2).astype(int)


def of(labels, **options):
    return Probe.from_arrays((FIVE[:40], labels[:40]), (FIVE[40:], labels[40:]), **options)


def focal_on_logits(y, prediction):
    y = keras.ops.cast(keras.ops.reshape(y, (-1, 1)), prediction.dtype)
    right = keras.ops.sigmoid(prediction) * y + keras.ops.sigmoid(-prediction) * (1 - y)
    return keras.ops.mean(-((1 - right) ** 2) * keras.ops.log(right + 1e-7), axis=-1)


@pytest.mark.parametrize(
    ("loss", "activation", "labels", "threshold"),
    [
        (focal_on_logits, None, SIDE, 0),
        (keras.losses.Hinge(), None, 2 * SIDE - 1, 0),
        (keras.losses.Hinge(), None, (2 * SIDE - 1).astype("float32"), 0),
        (keras.losses.BinaryCrossentropy(from_logits=True), None, SIDE.astype("float32"), 0),
        ("binary_crossentropy", "sigmoid", SIDE[:, None], 0.5),
    ],
    ids=["focal on logits", "hinge", "hinge of floats", "logits of floats", "sigmoid"],
)
def test_accuracy_has_the_threshold_of_the_loss(loss, activation, labels, threshold):
    model, probe = two_scores(loss, activation), of(labels)
    m = measure(model, probe)
    chosen = model(probe.train.x).numpy()[:, 0] > threshold
    expected = float((chosen == (probe.train.y.reshape(-1) > 0)).mean())
    assert m.train.accuracy == expected
    assert m.class_names in (("0", "1"), ("-1", "1"))


def test_a_loss_of_numbers_makes_whole_numbers_targets():
    ages = RANDOM.integers(20, 60, 80)
    for labels in (ages, SIDE.astype("float32"), RANDOM.permutation(np.arange(50_000, 50_080))):
        m = measure(two_scores("mse"), of(labels))
        assert m.class_names == ()
        assert np.isnan(m.train.accuracy)
        assert m["train_val"].cosine is None
        assert np.isfinite(m["train_val"].mean_cosine)


def test_a_loss_of_classes_refuses_prices_before_anything_is_computed():
    probe = Probe.from_arrays((FIVE, np.arange(80) * 977), (FIVE, np.arange(80) * 977 + 5))
    assert probe.num_classes is None
    with pytest.raises(InvalidInput, match="different whole numbers"):
        measure(two_scores(keras.losses.BinaryCrossentropy(from_logits=True)), probe)


def test_scores_of_ones_own_logits():
    import functools

    y = RANDOM.integers(0, 3, 80)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    expected = None
    for loss in (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=True),
        lambda y, p: keras.ops.sparse_categorical_crossentropy(y, p, from_logits=True),
    ):
        m = measure(model, of(y), loss=loss)
        if expected is None:
            logits = model(of(y).train.x).numpy().astype(float)
            p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            expected = np.linalg.norm(p - np.eye(3)[of(y).train.y], axis=1)
        np.testing.assert_allclose(m.train.scores.el2n, expected, rtol=1e-5)


def test_an_objective_is_measured_as_the_loss_that_it_is():
    model, probe = two_scores(keras.losses.BinaryCrossentropy(from_logits=True)), of(SIDE)
    expected = measure(model, probe)

    def cross_entropy(model, x, y):
        scores = model(x)
        y = keras.ops.cast(keras.ops.reshape(y, (-1, 1)), scores.dtype)
        return keras.ops.binary_crossentropy(y, scores, from_logits=True)[:, 0], scores

    m = measure(model, probe, objective=cross_entropy)
    np.testing.assert_allclose(m["train_val"].cosine.matrix, expected["train_val"].cosine.matrix, rtol=1e-4, atol=1e-6)
    assert m.train.loss == pytest.approx(expected.train.loss, rel=1e-5)
    assert m.train.accuracy == expected.train.accuracy
    silent = measure(model, probe, objective=lambda model, x, y: cross_entropy(model, x, y)[0])
    assert np.isnan(silent.train.accuracy)
    assert silent.train.scores.el2n is None


def test_the_user_says_what_predictions_are():
    probe = of(SIDE)

    def unknown(y, prediction):  # values from 0 to 1, of which nothing says what they are
        return keras.ops.mean((keras.ops.sigmoid(4 * prediction) - y) ** 2, axis=-1)

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1), keras.layers.ReLU(1.0)])
    model.compile(loss=unknown)
    with pytest.warns(UserWarning, match=r"no accuracy and no EL2N \(NaN\).* from_logits=True or False"):
        silent = measure(model, probe)
    assert np.isnan(silent.train.accuracy)
    values = model(probe.train.x).numpy()[:, 0]
    for from_logits, threshold in ((True, 0), (False, 0.5)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            m = measure(model, probe, from_logits=from_logits)
        assert m.train.accuracy == ((values > threshold) == (probe.train.y > 0)).mean()
        chances = 1 / (1 + np.exp(-values)) if from_logits else values
        np.testing.assert_allclose(m.train.scores.el2n, np.sqrt(2) * np.abs(chances - probe.train.y), rtol=1e-5)
    assert ((values > 0) != (values > 0.5)).any()
    with pytest.raises(InvalidInput, match="from_logits"):
        measure(model, probe, from_logits="yes")


def test_what_the_user_says_comes_before_what_the_loss_says():
    y = RANDOM.integers(0, 3, 80)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="softmax")])
    wrong = keras.losses.SparseCategoricalCrossentropy(from_logits=True)  # of probabilities
    found = measure(model, of(y), loss=wrong, from_logits=False)
    error = model(of(y).train.x).numpy() - np.eye(3)[of(y).train.y]
    np.testing.assert_allclose(found.train.scores.el2n, np.linalg.norm(error, axis=1), rtol=1e-5)
    assert not np.allclose(measure(model, of(y), loss=wrong).train.scores.el2n, found.train.scores.el2n)


def test_of_several_outputs_it_is_told_why_there_is_no_accuracy():
    inputs = keras.Input((5,))
    model = keras.Model(inputs, {"a": keras.layers.Dense(3)(inputs), "b": keras.layers.Dense(1)(inputs)})
    y = RANDOM.integers(0, 3, 80)
    targets, classes = {"a": np.eye(3, dtype="float32")[y], "b": np.ones((80, 1), "float32")}, (y, y)
    probe = Probe.from_arrays((FIVE, targets), (FIVE, targets), classes=classes)
    with pytest.warns(UserWarning, match="the model has several outputs"):
        m = measure(model, probe, loss={"a": "mse", "b": "mse"})
    assert np.isnan(m.train.accuracy)
    assert m.train.accuracies == {}  # both losses are of numbers

    def of_one(model, x, y):
        found = model(x)
        return keras.ops.mean((found["a"] - y["a"]) ** 2, axis=-1), found["a"]

    m = measure(model, probe, objective=of_one)
    assert m.train.accuracy == (model(probe.train.x)["a"].numpy().argmax(1) == probe.train.classes).mean()


def test_several_outputs_have_an_accuracy_each():
    """Sparse and one-hot classes, one probability, hinge, and numbers; in a dict, and in the order of a list."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((5,))
    names = {"sparse": 3, "hot": 3, "yes": 1, "margin": 1, "number": 1}
    heads = {
        name: keras.layers.Dense(size, activation="sigmoid" if name == "yes" else None, name=name)(inputs)
        for name, size in names.items()
    }
    labels, flags = RANDOM.integers(0, 3, 80), RANDOM.integers(0, 2, (80, 1))
    y = {"sparse": labels, "hot": np.eye(3)[labels[::-1]], "yes": flags, "margin": 2 * flags[::-1] - 1, "number": flags}
    losses = {
        "sparse": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "hot": keras.losses.CategoricalCrossentropy(from_logits=True),
        "yes": "binary_crossentropy",
        "margin": "hinge",
        "number": "mse",
    }
    by_name, by_place = keras.Model(inputs, heads), keras.Model(inputs, list(heads.values()))
    outputs = {name: part.numpy() for name, part in by_name(FIVE).items()}
    expected = {
        "sparse": np.mean(outputs["sparse"].argmax(1) == labels),
        "hot": np.mean(outputs["hot"].argmax(1) == labels[::-1]),
        "yes": np.mean((outputs["yes"] > 0.5) == flags),
        "margin": np.mean((outputs["margin"] > 0) == flags[::-1]),
    }
    probe = Probe.from_arrays((FIVE, y), (FIVE[:6], {name: part[:6] for name, part in y.items()}), size=None)
    in_order = Probe.from_arrays(
        (FIVE, list(y.values())), (FIVE[:6], [part[:6] for part in y.values()]), size=None, classes=None
    )
    for found in (measure(by_name, probe, loss=losses), measure(by_place, in_order, loss=list(losses.values()))):
        assert found.train.accuracies == pytest.approx(expected)
        assert found.validation.accuracies.keys() == expected.keys()
    assert measure(classifier(), probe_of()).train.accuracies == {}


def test_outputs_of_one_layer_all_count():
    """Keras calls both by the layer's name."""
    keras.utils.set_random_seed(4)
    inputs, shared = keras.Input((5,)), keras.layers.Dense(3)
    model = keras.Model(inputs, [shared(inputs), shared(keras.ops.tanh(inputs))])
    labels = [RANDOM.integers(0, 3, 80), RANDOM.integers(0, 3, 80)]
    probe = Probe.from_arrays((FIVE, labels), (FIVE[:6], [part[:6] for part in labels]), size=None, classes=None)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    found = measure(model, probe, loss=[loss, loss])
    outputs = [part.numpy() for part in model(FIVE)]
    assert found.train.loss == pytest.approx(sum(float(loss(*pair)) for pair in zip(labels, outputs, strict=True)))
    shares = [(part.argmax(1) == y).mean() for y, part in zip(labels, outputs, strict=True)]
    assert list(found.train.accuracies.values()) == pytest.approx(shares)


def texts(count, seed):
    rng = np.random.default_rng(seed)
    words = np.array(["good", "bad", "fine", "poor", "nice", "awful", "film", "plot"])
    rows = np.array([" ".join(rng.choice(words, rng.integers(3, 9))) for _ in range(count)])
    return rows[:, None], (np.char.count(rows, "good") > 0).astype(int)


def test_texts_are_measured_and_have_distances_in_the_space_of_a_layer():
    train, validation = texts(30, 0), texts(30, 1)
    vectorize = keras.layers.TextVectorization(max_tokens=20, output_sequence_length=8)
    vectorize.adapt(train[0])
    keras.utils.set_random_seed(0)

    def network(inputs, tokens):
        embedded = keras.layers.Embedding(20, 8, mask_zero=True)(tokens)
        pooled = keras.layers.GlobalAveragePooling1D(name="pooled")(embedded)
        built = keras.Model(inputs, keras.layers.Dense(1)(pooled))
        built.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        return built

    texts_in, tokens_in = keras.Input((1,), dtype="string"), keras.Input((8,), dtype="int64")
    model, as_tokens = network(texts_in, vectorize(texts_in)), network(tokens_in, tokens_in)
    as_tokens.set_weights(model.get_weights())
    probe = Probe.from_arrays(train, validation)
    with pytest.warns(UserWarning, match="inputs are no numbers") as told:
        m = measure(model, probe, space="input")
    assert len(told) == 1
    assert m["train_val"].critical_length.status == "unavailable"
    assert np.isfinite(m["train_val"].cosine.within)
    numbers = Probe.from_arrays(*((vectorize(x).numpy(), y) for x, y in (train, validation)))
    expected = measure(as_tokens, numbers, space="pooled")
    found = measure(model, probe)  # in the space of `pooled`, since there are no distances between texts
    assert list(found["train_val"].spaces) == ["pooled"]
    np.testing.assert_allclose(found["train_val"].cosine.matrix, expected["train_val"].cosine.matrix, rtol=1e-5)
    assert found["train_val"].critical_length.num_pairs == expected["train_val"].critical_length.num_pairs > 0
    assert found["train_val"].critical_length.status == expected["train_val"].critical_length.status
