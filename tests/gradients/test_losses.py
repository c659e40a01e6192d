"""Losses as Keras takes them, in all their shapes, and inputs in structures."""

import contextlib
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gram, relative_error
from scaled_products import gradient_products
from small_models import SOFTMAX, Weighted, dense_net, labelled, sequential

from tfstiff.errors import UnsupportedModel
from tfstiff.gradients import METHODS, gradient_gram, per_example_gradients

layers = keras.layers


def compare(build, x, y, loss, method="auto", reference_loss=None):
    model = build()
    expected = reference_gram(float64_twin(build, model), x, y, reference_loss or loss)
    assert relative_error(gradient_gram(model, x, y, loss=loss, method=method), expected) < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_labels_in_all_their_forms(method):
    x, y = labelled((4,))
    model = dense_net()
    one_hot = np.eye(3)[y]
    expected = reference_gram(float64_twin(dense_net, model), x, y, SOFTMAX)
    categorical = keras.losses.CategoricalCrossentropy(from_logits=True)
    for labels, loss in (
        (y, SOFTMAX),
        (y[:, None], SOFTMAX),
        (y.astype("uint8"), SOFTMAX),
        (y.astype("float32"), SOFTMAX),
        (one_hot, categorical),
        (one_hot.astype("int64"), categorical),
    ):
        assert relative_error(gradient_gram(model, x, labels, loss=loss, method=method), expected) < 1e-5


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        ("mse", lambda y, p: tf.reduce_mean((y - p) ** 2)),
        ("mean_absolute_error", lambda y, p: tf.reduce_mean(tf.abs(y - p))),
        (keras.losses.Huber(delta=0.3), lambda y, p: tf.reduce_mean(
            tf.where(tf.abs(y - p) < 0.3, (y - p) ** 2 / 2, 0.3 * (tf.abs(y - p) - 0.15)))),
        (keras.losses.MeanSquaredError, lambda y, p: tf.reduce_mean((y - p) ** 2)),
        (lambda y, p: tf.reduce_sum((y - p) ** 4, -1), lambda y, p: tf.reduce_sum((y - p) ** 4)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regression(loss, formula, dtype):
    """Targets in NumPy's double precision are as good as in single, as they are for `fit`."""
    x, _ = labelled((4,))
    y = np.random.default_rng(5).normal(size=(6, 3)).astype(dtype)
    compare(dense_net, x, y, loss, reference_loss=lambda y, p: formula(tf.cast(y, p.dtype), p))


def test_integer_targets_of_ones_own_loss():
    def squares(y, prediction):
        return tf.reduce_mean((y - prediction) ** 2, -1)

    x, _ = labelled((4,))
    y = np.arange(18).reshape(6, 3) % 5
    compare(dense_net, x, y, squares, reference_loss=lambda y, p: squares(tf.cast(y, p.dtype), p))


def test_targets_without_the_last_axis():
    """Targets (n,) for predictions (n, 1): Keras aligns them before it calls a loss function."""

    def build():
        return sequential((4,), layers.Dense(5, activation="tanh"), layers.Dense(1))

    x, _ = labelled((4,))
    y = np.random.default_rng(5).normal(size=6)

    def squares(y, prediction):
        return tf.reduce_mean((y - prediction) ** 2, -1)

    compare(build, x, y, squares, reference_loss=lambda y, p: (tf.cast(y, p.dtype) - p[:, 0]) ** 2)


def test_the_reduction_is_not_applied():
    x, y = labelled((4,))
    for reduction in ("sum", None, "sum_over_batch_size", "mean_with_sample_weight"):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
        compare(dense_net, x, y, loss, reference_loss=SOFTMAX)


def test_compiled_and_uncompiled():
    x, y = labelled((4,))
    model = dense_net()
    given = gradient_gram(model, x, y, loss=SOFTMAX)
    model.compile(loss=SOFTMAX)
    np.testing.assert_array_equal(gradient_gram(model, x, y), given)
    model.compile(loss=[SOFTMAX])
    np.testing.assert_array_equal(gradient_gram(model, x, y), given)
    squares = gradient_gram(model, x, np.eye(3)[y], loss="mse")
    assert relative_error(squares, given) > 0.1  # the loss given stands over the compiled one


def test_regularisation_and_dropout_are_left_out():
    def build(**options):
        return lambda: sequential(
            (4,), layers.Dense(5, activation="tanh", **options), layers.Dropout(0.5), layers.Dense(3)
        )

    x, y = labelled((4,))
    model, plain = build(kernel_regularizer=keras.regularizers.L2(1.0))(), build()
    twin = float64_twin(plain, model)
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), reference_gram(twin, x, y, SOFTMAX)) < 1e-5


def test_batch_normalisation_uses_its_moving_statistics():
    def build():
        return sequential((4,), layers.Dense(5), layers.BatchNormalization(), layers.Dense(3))

    model = build()
    model.layers[1].moving_mean.assign(np.arange(5.0))
    model.layers[1].moving_variance.assign(np.arange(1.0, 6.0))
    x, y = labelled((4,))
    expected = reference_gram(float64_twin(build, model), x, y, SOFTMAX)
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX, method="structured"), expected) < 1e-5
    np.testing.assert_array_equal(model.layers[1].moving_mean, np.arange(5.0))


@functools.cache
def multiplies_tokens_in_batches():
    """As Keras before 3.15 does, which multiplies all tokens as rows of one matrix."""
    graph = tf.function(layers.Dense(3)).get_concrete_function(tf.TensorSpec((None, 5, 4))).graph
    return any(operation.type.startswith("BatchMatMul") for operation in graph.get_operations())


@contextlib.contextmanager
def refused_where_vectorising_broadcasts(method):
    """Over examples, a product of tokens in batches becomes one that broadcasts: refused, and never to be computed."""
    if method in ("vectorized", "jacobian") and multiplies_tokens_in_batches():
        with pytest.raises(UnsupportedModel, match="broadcasting matrix product"):
            yield
    else:
        yield


def per_token():
    return sequential((5, 4), layers.Dense(6, activation="tanh"), layers.Dense(3))


@pytest.mark.parametrize("method", METHODS)
def test_a_loss_per_token_is_averaged(method):
    x = labelled((5, 4))[0]
    y = np.random.default_rng(1).integers(0, 3, (6, 5))
    values = SOFTMAX.call(y, (model := per_token())(x)).numpy()
    assert values.shape == (6, 5)
    with refused_where_vectorising_broadcasts(method):
        compare(per_token, x, y, SOFTMAX, method)
    with refused_where_vectorising_broadcasts(method):
        losses = gradient_products(model, x, y, loss=SOFTMAX, method=method).losses
        assert relative_error(losses, values.mean(1)) < 1e-6


def embedded():
    return sequential((5,), layers.Embedding(7, 4, mask_zero=True), layers.Dense(3))


def masked_sentences():
    rng = np.random.default_rng(2)
    x, y = rng.integers(1, 7, (6, 5)), rng.integers(0, 3, (6, 5))
    for row, length in enumerate((5, 4, 3, 2, 1, 5)):
        x[row, length:] = 0
    return x, y


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["auto", "loop", "jacobian"])
def test_masked_tokens_do_not_count(method):
    x, y = masked_sentences()
    model = embedded()
    twin = float64_twin(embedded, model)
    expected = np.zeros((6, model.count_params()))
    for row, length in enumerate((5, 4, 3, 2, 1, 5)):  # each sentence cut to what is not masked
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(SOFTMAX.call(y[row : row + 1, :length], twin(x[row : row + 1, :length])))
        gradients = tape.gradient(value, [weight.value for weight in twin.trainable_weights])
        expected[row] = np.concatenate([tf.convert_to_tensor(gradient).numpy().ravel() for gradient in gradients])
    with refused_where_vectorising_broadcasts(method):
        assert relative_error(per_example_gradients(model, x, y, loss=SOFTMAX, method=method), expected) < 1e-5
    with refused_where_vectorising_broadcasts(method):
        assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX, method=method), expected @ expected.T) < 1e-5


def test_a_sentence_masked_altogether_has_no_gradient():
    x, y = masked_sentences()
    x[2] = 0
    gram = gradient_gram(embedded(), x, y, loss=SOFTMAX, method="structured")
    assert not gram[2].any()
    assert np.isfinite(gram).all()
    assert gram[[0, 1, 3], [0, 1, 3]].all()


def test_tokens_of_the_class_to_ignore_do_not_count():
    x = labelled((5, 4))[0]
    y = np.random.default_rng(1).integers(0, 3, (6, 5))
    y[:, 3:] = -1
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model = per_token()
    expected = reference_gram(float64_twin(per_token, model), x[:, :3], y[:, :3], SOFTMAX)
    assert relative_error(gradient_gram(model, x, y, loss=loss), expected) < 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("structure", ["dict", "list"])
def test_several_inputs(structure, method):
    def build():
        inputs = {"left": keras.Input((4,), name="left"), "right": keras.Input((2, 3), name="right")}
        joined = layers.Concatenate()([inputs["left"], layers.Flatten()(inputs["right"])])
        outputs = layers.Dense(3)(layers.Dense(5, activation="tanh")(joined))
        return keras.Model(inputs if structure == "dict" else list(inputs.values()), outputs)

    x = {"left": labelled((4,))[0], "right": labelled((2, 3), seed=1)[0]}
    compare(build, x if structure == "dict" else list(x.values()), labelled((4,))[1], SOFTMAX, method)


class Subclassed(keras.Model):
    """Built at its first call, with a weight of the model itself and a call that takes no `training`."""

    def __init__(self):
        super().__init__()
        self.dense, self.scale = layers.Dense(3), Weighted(lambda x, w: x * w, (3,))

    def call(self, x):
        return self.scale(self.dense(x))


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_is_not_built(method):
    x, y = labelled((4,))
    model = Subclassed()
    found = gradient_gram(model, x, y, loss=SOFTMAX, method=method)

    def build():
        twin = Subclassed()
        twin(x[:1])
        return twin

    assert relative_error(found, reference_gram(float64_twin(build, model), x, y, SOFTMAX)) < 1e-5


def test_a_model_in_double_precision():
    x, y = labelled((4,))
    model = dense_net()
    twin = float64_twin(dense_net, model)
    gram = gradient_gram(twin, x, y, loss=SOFTMAX)
    assert gram.dtype == np.float64
    assert relative_error(gram, reference_gram(twin, x, y, SOFTMAX)) < 1e-13


def test_losses_that_differ_in_a_setting_that_their_configuration_leaves_out():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    x, y = np.ones((4, 3), "float32"), 5 + np.arange(4.0)[:, None]
    found = [gradient_gram(model, x, y, loss=keras.losses.Huber(delta)) for delta in (0.5, 1.0)]
    np.testing.assert_allclose(4 * found[0], found[1], rtol=1e-5)  # far out its gradient is delta


@pytest.mark.parametrize("reduce", [tf.reduce_mean, tf.reduce_sum])
def test_a_loss_of_one_value_a_batch_is_measured_where_it_is_made_of_those_of_its_examples(reduce):
    def squares(y, prediction):
        return reduce(tf.reduce_mean((y - prediction) ** 2, -1))

    x, _ = labelled((4,))
    y = np.random.default_rng(5).normal(size=(6, 3))
    compare(dense_net, x, y, squares, reference_loss=lambda y, p: tf.reduce_mean((tf.cast(y, p.dtype) - p) ** 2))


def test_what_compares_every_target_with_every_prediction_is_refused_with_shapes():
    class Squares(keras.losses.Loss):  # to which Keras gives targets as they are
        def call(self, y, prediction):
            return keras.ops.square(y - prediction)

    model = sequential((4,), layers.Dense(1))
    x, _ = labelled((4,))
    y = np.arange(6.0)
    with pytest.raises(UnsupportedModel, match="predictions of all") as error:
        gradient_gram(model, x, y, loss=Squares())
    assert "targets (None,) and predictions (None, 1)" in str(error.value)
    aligned = gradient_gram(model, x, y[:, None], loss=Squares())
    np.testing.assert_allclose(aligned, gradient_gram(model, x, y, loss="mse"), rtol=1e-5)


@pytest.mark.parametrize("count", [3, 6])
def test_a_sum_over_the_wrong_axis_is_refused(count):
    def slip(y, prediction):
        return keras.ops.sum((y - prediction) ** 2, axis=0)

    with pytest.raises(UnsupportedModel, match="value for each example"):
        gradient_gram(dense_net(), labelled((4,), count)[0], np.ones((count, 3)), loss=slip)


def test_dice_of_whole_batches_is_refused_and_of_examples_is_not():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 6, 6, 1)).astype("float32")
    masks = (images > 0).astype("float32")

    def build():
        return sequential(
            (6, 6, 1), layers.Conv2D(3, 3, padding="same", activation="tanh"), layers.Conv2D(1, 1, activation="sigmoid")
        )

    with pytest.raises(UnsupportedModel, match="neither the mean nor the sum") as error:
        gradient_gram(build(), images, masks, loss=keras.losses.Dice())
    assert "axis=(1, 2, 3)" in str(error.value)

    def dice(y, p):
        y = tf.cast(y, p.dtype)
        return 1 - (2 * tf.reduce_sum(y * p) + 1e-7) / (tf.reduce_sum(y) + tf.reduce_sum(p) + 1e-7)

    compare(build, images, masks, keras.losses.Dice(axis=(1, 2, 3)), reference_loss=dice)


def test_positions_without_a_target_do_not_count():
    """A missing target is NaN; the loss gives 0 there, and the mean is over what is there."""

    def build():
        return sequential((5, 4), layers.Dense(3, activation="tanh"), layers.Dense(1), layers.Reshape((5,)))

    def squares(y, prediction):
        there = ~tf.math.is_nan(y)
        return tf.where(there, (tf.where(there, y, 0) - prediction) ** 2, 0)

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(6, 5, 4)).astype("float32"), rng.normal(size=(6, 5))
    y[0, 1:] = y[2, 3] = np.nan

    def over_what_is_there(y, p):
        there = ~tf.math.is_nan(y)
        return tf.reduce_mean((tf.boolean_mask(tf.cast(y, p.dtype), there) - tf.boolean_mask(p, there)) ** 2)

    compare(build, x, y, squares, reference_loss=over_what_is_there)
