"""The losses that are differentiated are those of the model as its user calls it, and each example's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Rows, dense_net, labelled, sequential

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients import METHODS, gradient_gram

layers = keras.layers


def tokens():
    """Sentences of 8 words, half of them padded from the sixth on."""
    x = np.random.default_rng(13).integers(1, 30, (10, 8))
    x[:5, 5:] = 0
    return x, np.arange(10) % 4


@pytest.mark.filterwarnings("ignore:The gradients of some weights take the slower path")
@pytest.mark.parametrize(
    ("recurrent", "then", "method"),
    [
        (layers.GRU, "pooling", "auto"),
        (layers.GRU, "recurrent", "loop"),
        (layers.LSTM, "pooling", "loop"),
        (layers.LSTM, "recurrent", "auto"),
    ],
)
def test_padded_sentences_read_in_both_directions(recurrent, then, method):
    def build():
        last = layers.GlobalAveragePooling1D() if then == "pooling" else layers.LSTM(5)
        both = layers.Bidirectional(recurrent(6, return_sequences=True))
        embedding = layers.Embedding(30, 8, mask_zero=True)
        return keras.Sequential([keras.Input((8,), dtype="int32"), embedding, both, last, layers.Dense(4)])

    model = build()
    x, y = tokens()
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    gram = gradient_gram(model, x, y, loss=SOFTMAX, method=method)
    assert relative_error(gram, expected @ expected.T) < 1e-5


class Twofold(keras.layers.Layer):
    """`x W`, and twice that where it is traced."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    def call(self, x):
        return tf.matmul(x, tf.convert_to_tensor(self.kernel)) * (1.0 if tf.executing_eagerly() else 2.0)


@pytest.mark.parametrize("method", METHODS)
def test_a_trace_that_is_another_model_is_refused(method):
    model = sequential((4,), Twofold())
    with pytest.raises(UnsupportedModel, match="losses differentiated are not those of the model"):
        gradient_gram(model, *labelled((4,), 12), loss=SOFTMAX, method=method)


def unseeded(x):
    return x + tf.random.normal(tf.shape(x))


@pytest.mark.parametrize("method", METHODS)
def test_a_model_with_other_losses_at_every_call(method):
    model = sequential((4,), layers.Dense(3), Rows(unseeded), layers.Dense(3))
    with pytest.raises(UnsupportedModel, match="random in inference"):
        gradient_gram(model, *labelled((4,), 12), loss=SOFTMAX, method=method)


class Sampled(keras.layers.Layer):
    """Adds noise in inference too."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed)


def test_draws_from_a_seed_are_held_fixed():
    def build():
        return sequential((4,), layers.Dense(3), Sampled(), layers.Dense(3))

    model = build()
    x, y = labelled((4,), 12)
    state = model.layers[1].seed.state.numpy()
    gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert (model.layers[1].seed.state.numpy() == state).all()
    rows = []
    for index in range(12):
        with keras.StatelessScope(), tf.GradientTape() as tape:
            loss = SOFTMAX.call(y, model(x))[index]
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        rows.append(np.concatenate([gradient.numpy().ravel() for gradient in gradients]))
    assert relative_error(gram, np.array(rows) @ np.array(rows).T) < 1e-5


@pytest.mark.parametrize("method", ["loop", "vectorized"])
def test_draws_for_places_cannot_be_had_one_by_one(method):
    model = sequential((4,), layers.Dense(3), Sampled(), layers.Dense(3))
    with pytest.raises(UnsupportedModel, match="depend on the example's place in the batch"):
        gradient_gram(model, *labelled((4,), 12), loss=SOFTMAX, method=method)


@pytest.mark.parametrize("precision", ["float32", "float64", "policy"])
def test_half_precision_is_no_difference(precision):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = dense_net()
    finally:
        keras.config.set_dtype_policy("float32")
    assert gradient_gram(model, *labelled((4,), 12), loss=SOFTMAX, precision=precision).any()


@pytest.mark.parametrize(
    ("loss", "method"),
    [
        *(("sparse_categorical_crossentropy", method) for method in METHODS),
        *(("categorical_crossentropy", method) for method in METHODS),
        (keras.losses.sparse_categorical_crossentropy, "auto"),
        (keras.losses.CategoricalCrossentropy(), "auto"),
    ],
)
def test_labels_of_another_form_than_the_loss_takes_are_told_apart_in_words(loss, method):
    takes_numbers = "sparse" in getattr(loss, "__name__", str(loss))
    x, numbers = np.ones((6, 5), np.float32), np.arange(6) % 3
    rows = np.eye(3, dtype=np.float32)[numbers]
    model = sequential((5,), layers.Dense(3, activation="softmax"))
    wrong, right = (rows, numbers) if takes_numbers else (numbers, rows)
    with pytest.raises(UnsupportedModel, match="labels of another form") as caught:
        gradient_gram(model, x, wrong, loss=loss, method=method)
    assert "compile with" in caught.value.remedy
    assert gradient_gram(model, x, right, loss=loss, method=method).shape == (6, 6)


def test_numbers_in_a_column_and_for_each_place_are_numbers():
    x, numbers = np.ones((6, 4, 5), np.float32), np.arange(24).reshape(6, 4) % 3
    model = sequential((4, 5), layers.Dense(3, activation="softmax"))
    flat = gradient_gram(model, x, numbers, loss="sparse_categorical_crossentropy")
    column = gradient_gram(model, x, numbers[..., None], loss="sparse_categorical_crossentropy")
    np.testing.assert_allclose(flat, column, rtol=1e-6)
    with pytest.raises(UnsupportedModel, match="labels of another form"):
        gradient_gram(model, x, numbers, loss="categorical_crossentropy")


def test_a_misspelt_loss_is_told_which_was_meant():
    model = sequential((5,), layers.Dense(3, activation="softmax"))
    with pytest.raises(UnsupportedModel, match="not known to Keras") as caught:
        gradient_gram(model, np.ones((6, 5)), np.arange(6) % 3, loss="sparse_categorical_crossentropi")
    assert caught.value.remedy == "Did you mean sparse_categorical_crossentropy?"
