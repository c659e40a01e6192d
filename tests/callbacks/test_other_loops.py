"""The callback where something else than `keras.Model.fit` calls it, and what `fit` was given beside it."""

import pickle
import types
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, StiffnessCallback, StopAtTrainingLoss, load_run, measure
from tfstiff._keras import arguments_of_fit
from tfstiff.errors import UnsupportedModel

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 3
PROBE = Probe.from_arrays((X[:15], Y[:15]), (X[15:], Y[15:]))
STEPS = 4


def small():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def by_hand(model, *callbacks, epochs=2, step=None, **params):
    """A loop of one's own over `CallbackList`, as Keras' guide writes it."""
    listed = keras.callbacks.CallbackList(callbacks, model=model, **params)
    listed.on_train_begin()
    for epoch in range(epochs):
        listed.on_epoch_begin(epoch)
        for batch in range(STEPS):
            listed.on_train_batch_begin(batch)
            (step or (lambda: model.train_on_batch(X, Y)))()
            listed.on_train_batch_end(batch, {})
        listed.on_epoch_end(epoch, {})
    listed.on_train_end()


@pytest.fixture(scope="module")
def fitted():
    """What `fit` measures at every step of the same training."""
    data = tf.data.Dataset.from_tensors((X, Y)).repeat()
    stiffness = StiffnessCallback(PROBE, 1)
    small().fit(data, epochs=2, steps_per_epoch=STEPS, verbose=0, shuffle=False, callbacks=[stiffness])
    return {m.step: m for m in stiffness.history}


@pytest.mark.parametrize(
    ("schedule", "params", "moments"),
    [
        ("epoch", {}, [(0, 0), (4, 1), (8, 2)]),
        (3, {}, [(0, 0), (3, np.nan), (6, 1.5)]),  # how long the first epoch is, is not known within it
        (3, {"epochs": 2, "steps": STEPS}, [(0, 0), (3, 0.75), (6, 1.5)]),
    ],
)
def test_a_loop_of_ones_own_is_measured_as_fit_is(fitted, schedule, params, moments, tmp_path):
    stiffness = StiffnessCallback(PROBE, schedule, log_dir=tmp_path / "own")
    by_hand(small(), stiffness, **params)
    np.testing.assert_array_equal([(m.step, m.epoch) for m in stiffness.history], moments)
    for found in stiffness.history:
        assert found.scalars() == pytest.approx(fitted[found.step].scalars(), nan_ok=True, abs=1e-5)
    assert [m.step for m in load_run(tmp_path / "own").measurements] == [step for step, _ in moments]
    assert len(pickle.loads(pickle.dumps(stiffness)).history) == len(moments)


def test_a_loop_of_ones_own_without_compile():
    model, loss = small(), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    plain.set_weights(model.get_weights())
    optimizer = keras.optimizers.SGD()

    def step():
        with tf.GradientTape() as tape:
            value = loss(Y, plain(X, training=True))
        optimizer.apply(tape.gradient(value, plain.trainable_weights), plain.trainable_weights)

    found, expected = StiffnessCallback(PROBE, 2, loss=loss), StiffnessCallback(PROBE, 2)
    by_hand(plain, found, step=step)
    by_hand(model, expected)
    assert [m.step for m in found.history] == [m.step for m in expected.history] == [0, 2, 4, 6, 8]
    for one, other in zip(found.history, expected.history, strict=True):
        assert one.train.loss == pytest.approx(other.train.loss, rel=1e-4)


def test_stopping_at_a_loss_in_a_loop_of_ones_own():
    model = small()
    first = model.evaluate(X, Y, verbose=0)
    stop = StopAtTrainingLoss(X, Y, (first - 1e-3, 1e-9), interval=1)
    by_hand(model, stop)
    assert [one.threshold for one in stop.reached] == [first - 1e-3]


class OfKerasTwo:
    """What a model of tf_keras is to the eye."""

    loss = "mse"


OfKerasTwo.__module__ = "tf_keras.src.engine.training"


def test_a_model_of_keras_2_is_refused_in_words():
    told = "this is one of Keras 2"
    with pytest.raises(UnsupportedModel, match=told):
        measure(OfKerasTwo(), PROBE)
    for callback in (StiffnessCallback(PROBE), StopAtTrainingLoss(X, Y, 0.1)):
        with pytest.raises(UnsupportedModel, match=told):
            callback.set_model(OfKerasTwo())
    with pytest.raises(UnsupportedModel, match=r"Only Keras 3 models can be measured[.]"):
        measure(types.SimpleNamespace(loss="mse"), PROBE)


def test_tf_keras_itself():
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(3)])
    model.compile("sgd", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(UnsupportedModel, match="this is one of Keras 2"):
        model.fit(X, Y, verbose=0, callbacks=[StiffnessCallback(PROBE)])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"x": X, "y": Y, "class_weight": {0: 1.0, 1: 2.0, 2: 1.0}}, "class_weight"),
        ({"x": X, "y": Y, "sample_weight": np.ones(30)}, "sample_weight"),
        ({"x": tf.data.Dataset.from_tensors((X, Y, np.ones(30)))}, "sample weights in its data set"),
    ],
)
def test_weights_of_fit_are_named_once(given, told):
    with pytest.warns(UserWarning, match=told) as found:
        small().fit(**given, epochs=2, verbose=0, callbacks=[StiffnessCallback(PROBE)])
    assert len([one for one in found if "fit weighs its examples" in str(one.message)]) == 1


@pytest.mark.parametrize("given", [{"x": X, "y": Y}, {"x": tf.data.Dataset.from_tensors((X, Y))}])
def test_without_weights_nothing_is_told(given):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="fit weighs")
        small().fit(**given, verbose=0, callbacks=[StiffnessCallback(PROBE)])


def test_what_fit_was_called_with_is_seen_of_the_model_that_fits():
    seen, model, other = [], small(), small()
    look = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append((arguments_of_fit(model), arguments_of_fit(other)))
    )
    model.fit(X, Y, epochs=3, verbose=0, class_weight={0: 2.0}, callbacks=[look])
    ((ours, others),) = seen
    assert (ours["epochs"], ours["class_weight"], others) == (3, {0: 2.0}, {})
    assert arguments_of_fit(model) == {}


def test_keras_tuner_copies_the_callback_for_each_trial(tmp_path):
    keras_tuner = pytest.importorskip("keras_tuner")

    def build(choices):
        model = small()
        model.optimizer.learning_rate = choices.Float("rate", 1e-3, 1e-1, sampling="log")
        return model

    tuner = keras_tuner.RandomSearch(build, "val_loss", max_trials=2, seed=0, directory=tmp_path, project_name="t")
    stiffness = StiffnessCallback(PROBE, log_dir=tmp_path / "stiffness")
    tuner.search(X, Y, epochs=2, validation_data=(X, Y), verbose=0, callbacks=[stiffness])
    runs = [load_run(tmp_path / name) for name in ("stiffness", "stiffness-2")]
    assert [[m.step for m in run.measurements] for run in runs] == [[0, 1, 2]] * 2
    assert runs[0].measurements[0].learning_rate != runs[1].measurements[0].learning_rate


def test_scikeras(tmp_path):
    wrappers = pytest.importorskip("scikeras.wrappers")
    stiffness = StiffnessCallback(PROBE, log_dir=tmp_path / "stiffness")
    found = wrappers.KerasClassifier(
        small,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        epochs=2,
        verbose=0,
        callbacks=[stiffness],
    )
    found.fit(X, Y)
    assert [m.step for m in load_run(tmp_path / "stiffness").measurements] == [0, 1, 2]
    assert len(pickle.loads(pickle.dumps(stiffness)).history) in (0, 3)
