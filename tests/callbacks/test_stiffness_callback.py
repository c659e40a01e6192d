import copy
import csv
import gc
import random
import warnings
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, StiffnessCallback, gradient_gram, load_run, measure
from tfstiff.callbacks import schedules
from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.records import scalar_names

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3
PROBE = Probe.from_arrays(train=(X, Y), validation=(-X[:12], Y[:12]), size=9)
DEFAULT = [
    "stiffness_cosine_within_train_val",
    "stiffness_sign_between_train_val",
    "stiffness_critical_length_train_val",
]
STEPS = 5  # an epoch: 20 examples in batches of 4


def small(outputs=3, loss=None, steps_per_execution=1, learning_rate=0.1):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(outputs)])
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(learning_rate)
    model.compile(optimizer, loss, steps_per_execution=steps_per_execution)
    return model


def fit(model, *callbacks, data=None, epochs=2, **options):
    if data is None:
        options |= {"x": X, "y": Y, "batch_size": 4}
    else:
        options |= {"x": data}
    return model.fit(epochs=epochs, verbose=0, callbacks=list(callbacks), **options)


def same_states(found, expected):
    tf.nest.map_structure(lambda one, two: np.testing.assert_array_equal(one, two, strict=True), found, expected)


def state(model):
    """All variables, without their names."""
    optimizer = model.optimizer.variables
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    return [variable.numpy() for variable in (*model.variables, *optimizer, *metrics)]


def same_measurement(found, expected):
    assert found.scalars() == pytest.approx(expected.scalars(), nan_ok=True)
    assert (found.step, found.train) == (expected.step, expected.train)


# ---- the central promise: training goes on as if nobody had measured


def rich(steps_per_execution):
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    return model


def feed(kind):
    if kind == "numpy":
        return None
    return tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(20).batch(4)


def all_that_training_leaves(kind, steps_per_execution, *callbacks):
    model = rich(steps_per_execution)
    kept = fit(model, *callbacks, data=feed(kind), validation_data=(X[:8], Y[:8]))
    logs = {name: values for name, values in kept.history.items() if not name.startswith("stiffness_")}
    later = {
        "python": random.random(),
        "numpy": np.random.random(),
        "keras": keras.random.normal((3,)).numpy(),
        "tensorflow": tf.random.normal((3,)).numpy(),
        "initializer": keras.initializers.GlorotUniform()((2, 2)).numpy(),
        "dropout": model.layers[3].seed_generator.state.numpy(),
    }
    return state(model), logs, later


_undisturbed = {}


@pytest.mark.parametrize("method", ["auto", "vectorized"])
@pytest.mark.parametrize("steps_per_execution", [1, 3])
@pytest.mark.parametrize("kind", ["numpy", "tf.data"])
def test_training_is_bit_for_bit_the_same(kind, steps_per_execution, method):
    case = kind, steps_per_execution
    if case not in _undisturbed:
        _undisturbed[case] = all_that_training_leaves(*case)
    stiffness = StiffnessCallback(PROBE, 1, method=method)
    left, logs, later = all_that_training_leaves(*case, stiffness)
    assert [m.step for m in stiffness.history] == ([*range(11)] if steps_per_execution == 1 else [0, 3, 5, 8, 10])
    same_states(left, _undisturbed[case][0])
    assert logs == _undisturbed[case][1]
    same_states(later, _undisturbed[case][2])


class Unbuilt(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = keras.layers.Dense(6, activation="relu"), keras.layers.Dense(3)

    def call(self, x):
        return self.out(self.hidden(x))


def test_an_unbuilt_model_gets_the_weights_that_it_would_have_got():
    weights, initial = [], []
    for callbacks in ([], [StiffnessCallback(PROBE, [0, 1])]):
        keras.utils.set_random_seed(3)
        model = Unbuilt()
        assert not model.built
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        fit(model, *callbacks, epochs=1)
        weights.append(model.get_weights())
    same_states(*weights)
    keras.utils.set_random_seed(3)
    model = Unbuilt()
    model(X[:1])
    initial = measure(model, PROBE, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert callbacks[0].history[0].scalars() == pytest.approx(initial.scalars(), nan_ok=True)
    assert callbacks[0].history[0].step == 0


# ---- logs


def test_logs_are_python_floats_for_callbacks_that_come_later(tmp_path):
    seen = []
    stop = keras.callbacks.EarlyStopping("stiffness_cosine_within_train_val", mode="max", patience=50)
    stiffness = StiffnessCallback(PROBE)
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    table = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kept = fit(small(), stiffness, stop, look, table, epochs=3)
    expected = [{name: m.scalars()[name] for name in DEFAULT} for m in stiffness.history[1:]]
    assert [{name: logs[name] for name in DEFAULT} for logs in seen] == expected
    assert all(type(logs[name]) is float for logs in seen for name in DEFAULT)
    assert {name: kept.history[name] for name in DEFAULT} == {n: [row[n] for row in expected] for n in DEFAULT}
    assert set(kept.history) == {"loss", *DEFAULT}
    assert stop.best == max(row[DEFAULT[0]] for row in expected)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row[DEFAULT[1]]) for row in rows] == [row[DEFAULT[1]] for row in expected]


def test_early_stopping_stops():
    stop = keras.callbacks.EarlyStopping("stiffness_sign_within_train_val", mode="max", patience=1, min_delta=5)
    stiffness = StiffnessCallback(PROBE, publish="stiffness_sign_within_train_val")
    assert len(fit(small(), stiffness, stop, epochs=9).epoch) == 2
    assert [m.step for m in stiffness.history] == [0, 5, 10]


def test_every_epoch_has_every_value_the_latest_there_is():
    stiffness = StiffnessCallback(PROBE, [2])
    kept = fit(small(), stiffness, epochs=3)
    latest = stiffness.history[0].scalars()[DEFAULT[0]]
    np.testing.assert_equal(kept.history[DEFAULT[0]], [np.nan, latest, latest])


@pytest.mark.parametrize(
    ("publish", "names"),
    [
        (None, DEFAULT),
        ("all", scalar_names(True)),
        ("stiffness_sign_within_val_val", ["stiffness_sign_within_val_val"]),
        (["stiffness_sign_within_val_val", "stiffness_cosine_between_train_train"],) * 2,
        ([], []),
    ],
)
def test_what_is_published(publish, names):
    kept = fit(small(), StiffnessCallback(PROBE, [0], publish=publish), epochs=1)
    assert set(kept.history) == {"loss", *names}


@pytest.mark.parametrize("publish", ["everything", ["stiffness_sign_mean_train_val"], "loss"])
def test_unknown_names(publish):
    with pytest.raises(InvalidInput, match="Unknown scalar"):
        StiffnessCallback(PROBE, publish=publish)


def test_unknown_schedules_and_methods():
    with pytest.raises(InvalidInput, match="Unknown schedule"):
        StiffnessCallback(PROBE, "weekly")
    with pytest.raises(InvalidInput, match="Unknown method"):
        fit(small(), StiffnessCallback(PROBE, method="magic"))


# ---- when


@pytest.mark.parametrize(
    ("schedule", "each", "by_three"),
    [
        ("epoch", [0, 5, 10], [0, 5, 10]),
        ("log", [0, 1, 2, 3, 5, 10], [0, 3, 5, 10]),
        (2, [0, 2, 4, 6, 8, 10], [0, 3, 5, 8, 10]),
        (4, [0, 4, 8], [0, 5, 8]),
        ([0.5, 1.2], [3, 6], [3, 8]),
        (schedules.at_steps([1, 7]), [1, 7], [3, 8]),
        (schedules.at_steps([1]) | "epoch", [0, 1, 5, 10], [0, 3, 5, 10]),
        ([99], [], []),
    ],
)
def test_schedules(schedule, each, by_three):
    for steps_per_execution, expected in ((1, each), (3, by_three)):
        stiffness = StiffnessCallback(PROBE, schedule)
        fit(small(steps_per_execution=steps_per_execution), stiffness)
        assert [m.step for m in stiffness.history] == expected
        assert [m.epoch for m in stiffness.history] == pytest.approx([step / STEPS for step in expected])
        assert [m.updates for m in stiffness.history] == expected
        assert len(stiffness.seconds) == len(expected)


def generator_data(batches=STEPS):
    """(batches of 4) whose number Keras learns only at the end of the first epoch."""

    def examples():
        for index in range(batches):
            place = index % STEPS * 4
            yield X[place : place + 4], Y[place : place + 4]

    spec = (tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None,), tf.int64))
    return tf.data.Dataset.from_generator(examples, output_signature=spec)


@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize(
    ("steps_per_execution", "schedule", "expected", "warns"),
    [
        (1, "epoch", [0, 5, 10], False),
        (3, "epoch", [0, 5, 10], False),
        (1, 2, [0, 2, 4, 6, 8, 10], True),
        (3, 2, [0, 3, 5, 8, 10], True),
        (3, 6, [0, 8], True),
        (1, "log", [0, 5, 10], True),
        (1, [0, 0.2, 1.2], [0, 5, 6], True),
    ],
)
def test_epochs_of_unknown_length(steps_per_execution, schedule, expected, warns):
    stiffness = StiffnessCallback(PROBE, schedule)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(small(steps_per_execution=steps_per_execution), stiffness, data=generator_data())
    assert any("How many steps" in str(one.message) for one in caught) is warns
    assert [m.step for m in stiffness.history] == expected
    for m in stiffness.history:
        if m.step % STEPS == 0 and not (isinstance(schedule, int) and m.step == STEPS):
            assert m.epoch == m.step / STEPS
        elif m.step > STEPS:
            assert m.epoch == pytest.approx(m.step / STEPS)
        else:
            assert np.isnan(m.epoch)


@pytest.mark.filterwarnings("ignore:.*ran out of data", "ignore:How many steps")
def test_a_step_that_is_due_twice_is_measured_once():
    stiffness = StiffnessCallback(PROBE, schedules.every_steps(5) | "epoch")
    fit(small(), stiffness, data=generator_data())
    assert [m.step for m in stiffness.history] == [0, 5, 10]


@pytest.mark.filterwarnings("ignore:.*ran out of data", "ignore:How many steps")
def test_a_longer_fit_after_one_of_unknown_length():
    model, stiffness = small(), StiffnessCallback(PROBE, schedules.every_steps(4) | "epoch")
    fit(model, stiffness, data=generator_data(5), epochs=1)
    fit(model, stiffness, data=generator_data(9), epochs=1)
    assert [m.step for m in stiffness.history] == [0, 4, 5, 8, 12, 14]
    assert stiffness.history[-1].epoch == 2


def test_steps_per_epoch_of_an_endless_dataset():
    stiffness = StiffnessCallback(PROBE, [0, 0.5, 1, 2])
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).repeat().batch(4)
    fit(small(), stiffness, data=endless, steps_per_epoch=4)
    assert [(m.step, m.epoch) for m in stiffness.history] == [(0, 0), (2, 0.5), (4, 1), (8, 2)]


def test_records_hold_what_the_model_was_at_that_step():
    stiffness = StiffnessCallback(PROBE, 3)
    states = {}
    model = small()

    def keep(batch, logs):
        states[int(model.optimizer.iterations.numpy())] = model.get_weights()

    states[0] = model.get_weights()
    fit(model, stiffness, keras.callbacks.LambdaCallback(on_train_batch_end=keep))
    for m in stiffness.history:
        model.set_weights(states[m.step])
        expected = measure(model, PROBE)
        assert m.scalars() == pytest.approx(expected.scalars(), nan_ok=True)
        assert m.train == expected.train


def test_learning_rates():
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3, 7], [0.1, 0.01, 0.001])
    stiffness = StiffnessCallback(PROBE, schedules.at_steps([0, 2, 5, 9]))
    fit(small(learning_rate=rate), stiffness)
    assert [m.learning_rate for m in stiffness.history] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_updates_are_counted_apart_where_gradients_are_accumulated():
    model = small()
    model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2), model.loss)
    stiffness = StiffnessCallback(PROBE)
    fit(model, stiffness)
    assert [(m.step, m.updates) for m in stiffness.history] == [(0, 0), (5, 2), (10, 5)]


# ---- several fits, several models


def test_a_second_fit_goes_on():
    model, stiffness = small(), StiffnessCallback(PROBE)
    fit(model, stiffness)
    fit(model, stiffness, epochs=1)
    assert [(m.step, m.epoch, m.updates) for m in stiffness.history] == [(n * 5, n, n * 5) for n in range(4)]


def test_a_second_fit_with_initial_epoch_goes_on():
    model, stiffness = small(), StiffnessCallback(PROBE, [0, 0.6, 2, 2.6, 3])
    fit(model, stiffness)
    fit(model, stiffness, epochs=4, initial_epoch=2)
    expected = [(0, 0), (3, 0.6), (10, 2), (13, 2.6), (15, 3)]
    assert [m.step for m in stiffness.history] == [step for step, _ in expected]
    assert [m.epoch for m in stiffness.history] == pytest.approx([epoch for _, epoch in expected])


def test_a_first_fit_may_begin_later():
    stiffness = StiffnessCallback(PROBE)
    fit(small(), stiffness, epochs=4, initial_epoch=2)
    assert [(m.step, m.epoch) for m in stiffness.history] == [(10, 2), (15, 3), (20, 4)]


@pytest.mark.filterwarnings("ignore:.*ran out of data")
@pytest.mark.parametrize(("data", "expected"), [(None, [0, 5, 10]), (generator_data, [0, 8, 13])])
def test_a_fit_after_one_that_was_interrupted(data, expected):
    def interrupt(batch, logs):
        if batch == 2:
            raise KeyboardInterrupt

    model, stiffness = small(), StiffnessCallback(PROBE)
    with pytest.raises(KeyboardInterrupt):
        fit(model, stiffness, keras.callbacks.LambdaCallback(on_train_batch_end=interrupt), data=data and data())
    fit(model, stiffness, data=data and data())
    assert [(m.step, m.epoch) for m in stiffness.history] == [(step, n) for n, step in enumerate(expected)]


def test_another_model_begins_anew():
    stiffness = StiffnessCallback(PROBE)
    one = small()
    fit(one, stiffness)
    first = stiffness.history
    two = keras.models.clone_model(one)
    two.compile("sgd", one.loss)
    fit(two, stiffness, epochs=1)
    assert [m.step for m in stiffness.history] == [0, 5]
    assert [m.step for m in first] == [0, 5, 10]
    assert len(stiffness.seconds) == 2


def test_the_callback_does_not_keep_models_alive():
    model, stiffness = small(), StiffnessCallback(PROBE)
    fit(model, stiffness, epochs=1)
    fit(small(), stiffness, epochs=1)
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None


def test_copies_are_fresh_and_share_the_probe(tmp_path):
    stiffness = StiffnessCallback(
        PROBE, [0, 1], log_dir=tmp_path / "a", publish=DEFAULT[:1], loss="mse", method="loop", keep_gram=True
    )
    before = copy.deepcopy(stiffness)
    model = small()
    fit(model, StiffnessCallback(PROBE), epochs=1)
    stiffness.loss = None
    fit(model, stiffness, epochs=1)
    after = copy.deepcopy(stiffness)
    for copied in (before, after):
        assert copied.probe is PROBE
        assert copied.history == copied.seconds == []
        assert copied.log_dir == tmp_path / "a"
        assert copied.publish == tuple(DEFAULT[:1])
        assert (copied.options.method, copied.options.keep_gram) == ("loop", True)
    assert (before.loss, after.loss) == ("mse", None)
    before.log_dir = before.loss = None
    fit(small(), before, epochs=1)
    assert [m.step for m in before.history] == [0, 5]
    assert before.history[0].gram.shape == (18, 18)


def test_copies_write_beside_each_other(tmp_path):
    original = StiffnessCallback(PROBE, [0], log_dir=tmp_path / "a")
    for _ in range(3):  # as a tuner does for each trial
        fit(small(), copy.deepcopy(original), epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a-2", "a-3"]
    assert all(len(load_run(path).measurements) == 1 for path in tmp_path.iterdir())


def test_unknown_options_are_refused():
    with pytest.raises(InvalidInput, match="has no such option"):
        StiffnessCallback(PROBE, methode="loop")
    with pytest.raises(InvalidInput, match="Unknown method"):
        StiffnessCallback(PROBE, method="lopo")
    with pytest.raises(InvalidInput, match="Unknown precision"):
        StiffnessCallback(PROBE, precision="float16")


def test_each_layer_by_itself(tmp_path):
    model = keras.Sequential([keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    stiffness = StiffnessCallback(PROBE, [0, 1], log_dir=tmp_path / "a", per_layer=True)
    fit(model, stiffness, epochs=1)
    found = load_run(tmp_path / "a").measurements[-1].layers
    x = np.concatenate([PROBE.train.x, PROBE.validation.x])
    y = np.concatenate([PROBE.train.y, PROBE.validation.y])
    grams = gradient_gram(model, x, y, per_layer=True)
    assert list(found) == list(grams) == [layer.path for layer in model.layers]
    count = len(PROBE.train)
    for layer, gram in grams.items():
        norms = np.sqrt(np.diag(gram))
        cosines = (gram / np.outer(norms, norms))[:count, count:]
        for first, second in np.ndindex(3, 3):
            cell = cosines[PROBE.train.classes == first][:, PROBE.validation.classes == second]
            assert found[layer]["train_val"].cosine.matrix[first, second] == pytest.approx(cell.mean(), abs=1e-5)


# ---- records


def test_records_equal_the_history(tmp_path):
    stiffness = StiffnessCallback(PROBE, 2, log_dir=tmp_path / "new" / "run", keep_gram=True)
    model = small()
    fit(model, stiffness, epochs=1)
    fit(model, stiffness, epochs=1)
    run = load_run(tmp_path / "new" / "run")
    assert run.problems == []
    assert [m.step for m in run.measurements] == [0, 2, 4, 6, 8, 10]
    for found, expected in zip(run.measurements, stiffness.history, strict=True):
        same_measurement(found, expected)
        np.testing.assert_array_equal(found.gram, expected.gram)
        for name in expected.pair_sets:
            np.testing.assert_array_equal(found[name].sign.matrix, expected[name].sign.matrix)
    with np.load(tmp_path / "new" / "run" / "probe.npz") as kept:
        assert {name: kept[name].tolist() for name in kept} == {n: a.tolist() for n, a in PROBE.members().items()}


def test_each_record_is_on_disk_before_training_goes_on(tmp_path):
    counts = []
    stiffness = StiffnessCallback(PROBE, 2, log_dir=tmp_path)
    look = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: counts.append(len(load_run(tmp_path).measurements))
    )
    fit(small(), stiffness, look, epochs=1)
    assert counts == [1, 2, 2, 3, 3]


def test_a_log_folder_of_another_run_is_refused_every_time(tmp_path):
    fit(small(), StiffnessCallback(PROBE, log_dir=tmp_path), epochs=1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    model, stiffness = small(), StiffnessCallback(PROBE, log_dir=tmp_path)
    weights = model.get_weights()
    for _ in range(2):
        with pytest.raises(InvalidInput, match="records of another run"):
            fit(model, stiffness)
    same_states(model.get_weights(), weights)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_another_model_needs_another_log_folder(tmp_path):
    stiffness = StiffnessCallback(PROBE, log_dir=tmp_path)
    fit(small(), stiffness, epochs=1)
    with pytest.raises(InvalidInput, match="records of another run"):
        fit(small(), stiffness, epochs=1)
    assert [m.step for m in stiffness.history] == [0, 5]


# ---- what cannot be measured is told before training


def untouched(model, stiffness, error, told):
    weights = model.get_weights()
    with pytest.raises(error, match=told):
        fit(model, stiffness)
    same_states(model.get_weights(), weights)


def test_a_model_without_a_loss():
    class OwnStep(keras.Sequential):
        def train_step(self, data):
            raise AssertionError("training began")

    model = OwnStep([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd")
    untouched(model, StiffnessCallback(PROBE), UnsupportedModel, "no loss")


def test_a_model_without_trainable_weights():
    model = small()
    model.trainable = False
    untouched(model, StiffnessCallback(PROBE, [7]), UnsupportedModel, "no trainable weights")


def test_labels_without_an_output():
    many = Probe.from_arrays(train=(X, np.arange(20) % 5), validation=(X, Y), size=10)
    untouched(small(), StiffnessCallback(many, [7]), InvalidInput, "out of range for the model")


def test_a_loss_of_its_own():
    stiffness = StiffnessCallback(PROBE, [0], loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model = small()
    expected = measure(model, PROBE)
    model.compile("sgd", loss=lambda y, p: keras.ops.mean(p))
    fit(model, stiffness, epochs=1)
    assert stiffness.history[0].scalars() == pytest.approx(expected.scalars(), nan_ok=True)


# ---- other callbacks, other targets


@pytest.mark.parametrize("place", [0, 1])
def test_weights_restored_when_training_begins_are_what_is_measured_first(place):
    model, other = small(), small()
    expected = measure(other, PROBE)
    restore = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: model.set_weights(other.get_weights()))
    stiffness = StiffnessCallback(PROBE, [0])
    callbacks = [restore]
    callbacks.insert(place, stiffness)
    fit(model, *callbacks, epochs=1)
    assert stiffness.history[0].scalars() == pytest.approx(expected.scalars(), nan_ok=True)


def test_regression():
    targets = RNG.normal(size=(20, 1)).astype(np.float32)
    probe = Probe.from_arrays(train=(X, targets), validation=(-X, targets), size=10)
    stiffness = StiffnessCallback(probe)
    model = small(1, keras.losses.MeanSquaredError())
    kept = model.fit(X, targets, epochs=2, verbose=0, callbacks=[stiffness])
    names = {"stiffness_cosine_mean_train_val", "stiffness_sign_mean_train_val", "stiffness_critical_length_train_val"}
    assert set(kept.history) == {"loss", *names}
    means = [m["train_val"].mean_cosine for m in stiffness.history[1:]]
    assert kept.history["stiffness_cosine_mean_train_val"] == means


def test_validation_and_eager_execution():
    model = small()
    model.compile("sgd", model.loss, run_eagerly=True)
    stiffness = StiffnessCallback(PROBE)
    kept = fit(model, stiffness, epochs=1, validation_data=(X[:8], Y[:8]))
    assert [m.step for m in stiffness.history] == [0, 5]
    assert {"val_loss", *DEFAULT} <= set(kept.history)
