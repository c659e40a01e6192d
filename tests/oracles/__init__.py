"""The slow, obviously right computation that everything fast is compared with: one eager tape an example, in float64.

Nothing here uses tfstiff.
"""

import keras
import numpy as np
import tensorflow as tf


def float64_twin(build, model):
    """`build()` once more with float64 layers, holding the weights of `model`, which `build()` made before."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        twin = build()
    finally:
        keras.config.set_dtype_policy(policy)
    twin.set_weights(model.get_weights())
    return twin


def take(arrays, index):
    return tf.nest.map_structure(lambda array: tf.constant(array[index]), arrays)


def reference_gradients(model, x, y, loss):
    """(n, P) float64: the gradient of each example's loss; of several positions, of the mean over them.

    `loss` is a `keras.losses.Loss` or a function of one example's (y, prediction), both with an axis of length 1 first.
    """
    rows = []
    for i in range(len(tf.nest.flatten(x)[0])):
        with tf.GradientTape() as tape:
            prediction = model(take(x, slice(i, i + 1)), training=False)
            assert all(output.dtype == tf.float64 for output in tf.nest.flatten(prediction))
            values = getattr(loss, "call", loss)(take(y, slice(i, i + 1)), prediction)
            value = tf.reduce_mean(values)
        weights = [weight.value for weight in model.trainable_weights]
        gradients = tape.gradient(value, weights, unconnected_gradients="zero")
        rows.append(np.concatenate([tf.convert_to_tensor(gradient).numpy().ravel() for gradient in gradients]))
    return np.stack(rows)


def reference_gram(model, x, y, loss):
    """(n, n) float64."""
    gradients = reference_gradients(model, x, y, loss)
    return gradients @ gradients.T


def relative_error(found, expected):
    """The largest difference, relative to the largest entry; shapes must be equal, and not everything zero."""
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    return np.abs(found - expected).max() / np.abs(expected).max()


def differing_signs(gram, expected, smallest_cosine=1e-6):
    """The share of pairs whose sign differs, among those whose cosine is not within rounding of zero."""
    norms = np.sqrt(np.diag(expected))
    clear = np.abs(expected) > smallest_cosine * np.outer(norms, norms)
    return float((np.sign(gram) != np.sign(expected))[clear].mean())


def assert_same(found, expected):
    """Sees that nested dataclasses and dicts of numbers are equal, up to rounding of float64."""
    assert type(found) is type(expected)
    if hasattr(expected, "__dataclass_fields__"):
        for name in expected.__dataclass_fields__:
            assert_same(getattr(found, name), getattr(expected, name))
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            assert_same(found[name], expected[name])
    elif expected is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
