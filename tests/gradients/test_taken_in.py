"""A model that was changed since it was measured is measured as it is now; one that was not is not traced again."""

import types

import keras
import numpy as np
import tensorflow as tf

from tfstiff._keras import all_layers
from tfstiff.gradients import per_example_gradients
from tfstiff.gradients.plan import plan_for
from tfstiff.gradients.taken_in import taken_in

layers, ops = keras.layers, keras.ops
X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
Y = np.arange(3)
GLOBAL = {"scale": [1.0]}
SETTINGS = types.ModuleType("settings_of_mine")
SETTINGS.scale = 1.0


@tf.custom_gradient
def reversing(x, scale):
    return tf.identity(x), lambda upstream: (upstream * scale, None)


class Helper:
    def __init__(self):
        self.inner = types.SimpleNamespace(scale=1.0)

    def of(self, x):
        return x * self.inner.scale


class Own(layers.Layer):
    """Reads values of every kind, all 1 at first."""

    of_class = 1.0

    def __init__(self):
        super().__init__()
        self.number, self._private, self.array, self.helper = 1.0, 1.0, np.ones(5, "float32"), Helper()
        self.backwards = 1.0
        self.function, self.calls = self.scaled_by(1.0), 0

    @staticmethod
    def scaled_by(scale):
        return lambda x: x * scale

    @property
    def private(self):
        return self._private

    def call(self, x):
        x = self.function(self.helper.of(x)) * self.number * self.array * self.of_class
        return reversing(self._times_globals(x * self.private), getattr(self, "backwards"))  # noqa: B009

    def _times_globals(self, x):
        return x * GLOBAL["scale"][0] * SETTINGS.scale

    def counts(self):  # which no call depends on
        self.calls += 1


def model_of(*middle):
    inputs = keras.Input((4,))
    x = layers.Dense(5, activation="tanh", name="first")(inputs)
    for layer in middle:
        x = layer(x)
    model = keras.Model(inputs, layers.Dense(3)(x))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def state_of(model):
    return taken_in([*all_layers(model), model.loss])


def of_tapes(model, loss=None):
    """(n, P): the gradients of the model as it is called, a tape each."""
    found = []
    for place in range(len(X)):
        with tf.GradientTape() as tape:
            value = (loss or model.loss)(Y[[place]], model(X[[place]]))
        found.append(np.concatenate([np.ravel(one) for one in tape.gradient(value, model.trainable_weights)]))
    return np.stack(found)


CHANGES = {
    "an activation": lambda model, own: setattr(model.get_layer("first"), "activation", keras.activations.relu),
    "a number": lambda model, own: setattr(own, "number", 2.0),
    "a private number": lambda model, own: setattr(own, "_private", 2.0),
    "a number of backward passes alone": lambda model, own: setattr(own, "backwards", -1.0),
    "an array in place": lambda model, own: own.array.__imul__(3),
    "a closure": lambda model, own: setattr(own, "function", own.scaled_by(2.0)),
    "an object of an object": lambda model, own: setattr(own.helper.inner, "scale", 2.0),
    "a class": lambda model, own: setattr(Own, "of_class", 2.0),
    "a global": lambda model, own: GLOBAL["scale"].__setitem__(0, 2.0),
    "a module": lambda model, own: setattr(SETTINGS, "scale", 2.0),
    "the loss": lambda model, own: setattr(model, "loss", keras.losses.SparseCategoricalCrossentropy()),
    "the loss's own": lambda model, own: model.loss._fn_kwargs.update(from_logits=True),
}


MEASURED = ("an activation", "a number of backward passes alone", "a global", "the loss's own")


def test_what_has_changed_is_measured_as_it_is_now(monkeypatch):
    monkeypatch.setattr(Own, "of_class", 1.0)
    monkeypatch.setattr(SETTINGS, "scale", 1.0)
    monkeypatch.setitem(GLOBAL, "scale", [1.0])
    own = Own()
    model = model_of(own)
    per_example_gradients(model, X, Y)
    for change, make in CHANGES.items():
        before, expected_before = state_of(model), of_tapes(model)
        make(model, own)
        expected = of_tapes(model)
        assert np.abs(expected - expected_before).max() > 0.01, change
        assert state_of(model) != before, change
        if change in MEASURED:
            found = per_example_gradients(model, X, Y)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=change)


def test_an_objective_reads_a_global_that_has_changed(monkeypatch):
    monkeypatch.setitem(GLOBAL, "scale", [1.0])
    model = model_of()

    def objective(model, x, y):
        return GLOBAL["scale"][0] * ops.sum(model(x) ** 2, axis=-1)

    before = per_example_gradients(model, X, Y, objective=objective)
    GLOBAL["scale"][0] = 2.0
    after = per_example_gradients(model, X, Y, objective=objective)
    np.testing.assert_allclose(after, 2 * before, rtol=1e-5, atol=1e-7)


def test_a_loss_that_was_changed_is_not_taken_for_one_that_is_equal_now():
    model = model_of()
    one = keras.losses.SparseCategoricalCrossentropy()
    per_example_gradients(model, X, Y, loss=one)
    one._fn_kwargs.update(from_logits=True)
    other = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    other.name = one.name
    np.testing.assert_allclose(
        per_example_gradients(model, X, Y, loss=other), of_tapes(model, other), rtol=1e-4, atol=1e-6
    )


def test_what_has_not_changed_is_not_traced_again():
    own = Own()
    model = model_of(
        own,
        layers.Reshape((5, 1)),
        layers.Bidirectional(layers.GRU(3, return_sequences=True, dropout=0.2)),
        layers.RNN(layers.LSTMCell(3)),
        keras.Sequential([layers.Dense(4), layers.LeakyReLU(), layers.BatchNormalization(), layers.Dropout(0.5)]),
        layers.SpectralNormalization(layers.Dense(4)),
    )
    before = state_of(model)
    own.counts()
    for training in (False, True):
        model(X, training=training)
    model.set_weights([-weight for weight in model.get_weights()])
    assert state_of(model) == before
    own.number = 2
    assert state_of(model) != before


def test_a_plan_is_kept_through_training():
    model = model_of(layers.Dropout(0.5))
    plan = plan_for(model, X, Y)
    stop = keras.callbacks.EarlyStopping("loss", patience=0)
    model.fit(X, Y, epochs=2, batch_size=3, verbose=0, validation_data=(X, Y), callbacks=[stop])
    assert plan_for(model, X, Y) is plan
    model.get_layer("first").activation = keras.activations.relu
    assert plan_for(model, X, Y) is not plan
