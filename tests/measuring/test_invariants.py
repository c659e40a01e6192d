"""What must hold of any network's gradients whatever it has learnt: identities, on trained networks and real images.

Each test logs the largest error that it found: `pytest --log-cli-level=INFO tests/test_invariants.py` shows them.
"""

import logging
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, finite_step_stiffness, gradient_gram, measure, per_example_gradients
from tfstiff.datasets import fashion_mnist_mini

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
PAIR_SETS = ("train_train", "train_val", "val_val")
COUNT = 30  # three of each class


@cache
def images():
    """(training, validation), each (inputs (30, 28, 28, 1) of mean 0 and unit length, labels)."""
    data = fashion_mnist_mini.load()
    halves = []
    for half in (data.train, data.validation):
        chosen = np.concatenate([np.flatnonzero(half.y == label)[:3] for label in range(10)])
        x = half.x[chosen].astype(np.float64) / 255
        x -= x.mean((1, 2, 3), keepdims=True)
        x /= np.sqrt((x**2).sum((1, 2, 3), keepdims=True))
        halves.append((x.astype(np.float32), half.y[chosen]))
    return tuple(halves)


def dense_layers():
    widths = (64, 32)
    return [keras.layers.Flatten(), *[keras.layers.Dense(width, activation="relu") for width in widths]]


def convolutional_layers():
    layers = []
    for width in (8, 16):
        layers += [keras.layers.Conv2D(width, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D(2)]
    return [*layers, keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dense(20, "relu")]


def recurrent_layers():
    return [keras.layers.Reshape((7, 112)), keras.layers.GRU(12), keras.layers.Dense(16, activation="relu")]


FEATURES = {"dense": dense_layers, "convolutional": convolutional_layers, "recurrent": recurrent_layers}


def labels_of(num_classes, half=0):
    return images()[half][1] % num_classes


@cache
def trained(kind="dense", num_classes=10):
    """A network of that kind after a few steps: single precision has few digits of the error of a sure prediction."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((28, 28, 1)), *FEATURES[kind](), keras.layers.Dense(num_classes)])
    model.compile(keras.optimizers.Adam(3e-3), SOFTMAX)
    model.fit(images()[0][0], labels_of(num_classes), batch_size=10, epochs=15 if num_classes > 2 else 5, verbose=0)
    return model


def probabilities(model, x):
    logits = model(x, training=False).numpy().astype(np.float64)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def relative(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def cosines(gram):
    norms = np.sqrt(np.diag(gram).astype(np.float64))
    return gram / np.outer(norms, norms)


def last_layer(model, x, y):
    """The Gram matrix of the last Dense layer alone."""
    return gradient_gram(model, x, y, per_layer=True)[model.layers[-1].path]


@pytest.fixture
def record():
    def within(error, tolerance):
        logging.getLogger(__name__).info("largest error %.1e, at most %.0e", error, tolerance)
        assert error <= tolerance

    return within


kinds = pytest.mark.parametrize("kind", list(FEATURES))


@kinds
@pytest.mark.parametrize("num_classes", [2, 10])
def test_the_last_layers_products_are_of_features_and_errors(kind, num_classes, record):
    """(h_i · h_j + 1) (p_i · p_j − p_i[y_j] − p_j[y_i] + 1[y_i = y_j]), the softmax error being p − e_y."""
    model, (x, _), y = trained(kind, num_classes), images()[0], labels_of(num_classes)
    p, h = probabilities(model, x), x
    for layer in model.layers[:-1]:
        h = layer(h, training=False)
    h = h.numpy().astype(np.float64)
    errors = p @ p.T - p[:, y] - p[:, y].T + (y[:, None] == y)
    record(relative(last_layer(model, x, y), (h @ h.T + 1) * errors), 2e-6)


@kinds
@pytest.mark.parametrize("num_classes", [2, 10])
def test_the_last_layer_after_relu_is_stiff_within_a_class(kind, num_classes, record):
    """With features of one sign the sign is that of the errors' product, a sum of positive terms within a class."""
    model, (x, _), y = trained(kind, num_classes), images()[0], labels_of(num_classes)
    within = cosines(last_layer(model, x, y))[y[:, None] == y]
    record(-within.min(), 0)


@kinds
def test_different_classes_are_stiff_in_the_last_layer_iff_they_share_a_confusion(kind, record):
    model, (x, y) = trained(kind), images()[0]
    p = probabilities(model, x)
    margin = p @ p.T - p[:, y] - p[:, y].T
    apart = y[:, None] != y
    assert 0 < (margin[apart] > 0).mean() < 1, "both occur"
    record((np.sign(last_layer(model, x, y)) != np.sign(margin))[apart & (np.abs(margin) > 1e-6)].mean(), 0)


@kinds
def test_two_classes_are_always_anti_stiff_in_the_last_layer(kind, record):
    model, (x, _), y = trained(kind, 2), images()[0], labels_of(2)
    record(cosines(last_layer(model, x, y))[y[:, None] != y].max(), 0)


@kinds
@pytest.mark.parametrize("num_classes", [2, 10])
def test_uniform_predictions_oppose_all_other_classes_alike(kind, num_classes, record):
    """cos = κ within a class and −κ / (K − 1) between, κ that of the features (with 1 beside them for the bias)."""
    keras.utils.set_random_seed(0)
    output = keras.layers.Dense(num_classes, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((28, 28, 1)), *FEATURES[kind](), output])
    model.compile("sgd", SOFTMAX)
    x, y = images()[0][0], labels_of(num_classes)
    h = x
    for layer in model.layers[:-1]:
        h = layer(h, training=False)
    kernel = h.numpy().astype(np.float64) @ h.numpy().T + 1
    expected = cosines(kernel) * np.where(y[:, None] == y, 1, -1 / (num_classes - 1))
    gram = gradient_gram(model, x, y)  # nothing passes a kernel of zeros to the layers below
    record(np.abs(cosines(gram) - expected).max(), 2e-6)
    probe = Probe.from_arrays((x, y), (images()[1][0], labels_of(num_classes, 1)), size=None)
    found = measure(model, probe)
    for pair_set in PAIR_SETS:
        assert (found[pair_set].sign.within, found[pair_set].sign.between) == pytest.approx((1, -1), abs=1e-12)


@kinds
def test_gradients_average_to_zero_over_the_predicted_labels(kind, record):
    """Σ_k p_k(x) g(x, k) = 0: the expectation of the score, for labels drawn from the model itself."""
    model, (x, _) = trained(kind), images()[0]
    x = x[::6]
    p = probabilities(model, x)
    by_label = [per_example_gradients(model, x, np.full(len(x), label)) for label in range(10)]
    weighted = np.stack([p[:, label, None] * by_label[label] for label in range(10)]).astype(np.float64)
    sizes = np.linalg.norm(weighted, axis=2).sum(0)
    record((np.linalg.norm(weighted.sum(0), axis=1) / sizes).max(), 2e-6)


@kinds
def test_the_mean_of_all_products_is_the_squared_batch_gradient(kind, record):
    model, (x, y) = trained(kind), images()[0]
    with tf.GradientTape() as tape:
        loss = SOFTMAX(y, model(x, training=False))
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    squared = sum(float(np.sum(gradient.numpy().astype(np.float64) ** 2)) for gradient in gradients)
    gram = gradient_gram(model, x, y).astype(np.float64)
    # In units of the mean of |g|²: late in training the batch gradient is far smaller than those of examples
    record(abs(gram.mean() - squared) / np.diag(gram).mean(), 1e-6)


@kinds
def test_small_steps_do_what_the_products_say(kind, record):
    probe = Probe.from_arrays(*(tuple(part[::5] for part in half) for half in images()), size=None)
    found = finite_step_stiffness(trained(kind), probe, [1e-1, 1e-2], normalized=True, precision="float64")
    assert found.sign_agreement[1] >= found.sign_agreement[0] - 0.05
    assert found.median_deviation[1] < 0.3 * found.median_deviation[0]
    record(abs(found.median_ratio[1] - 1), 0.05)


@kinds
def test_equal_examples_have_a_cosine_of_1(kind, record):
    model, (x, y) = trained(kind), images()[0]
    gram = gradient_gram(model, np.concatenate([x, x]), np.concatenate([y, y]))
    record(np.abs(np.diag(cosines(gram), COUNT) - 1).max(), 2e-6)


@kinds
def test_a_scale_of_the_loss_scales_products_by_its_square(kind, record):
    model, (x, y) = trained(kind), images()[0]

    def scaled(labels, logits):
        return 7 * keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    gram, larger = gradient_gram(model, x, y), gradient_gram(model, x, y, loss=scaled)
    record(relative(larger, 49 * gram), 5e-6)
    probe = Probe.from_arrays(*images(), size=None)
    one, two = measure(model, probe), measure(model, probe, loss=scaled)
    for pair_set in PAIR_SETS:
        np.testing.assert_allclose(two[pair_set].cosine.matrix, one[pair_set].cosine.matrix, atol=2e-5)


@kinds
def test_products_are_symmetric_and_halves_change_places(kind, record):
    model, ((x, y), (x2, y2)) = trained(kind), images()
    gram, across = gradient_gram(model, x, y), gradient_gram(model, x, y, x2, y2)
    back = gradient_gram(model, x2, y2, x, y)
    record(max(relative(gram, gram.T), relative(across, back.T)), 2e-6)
    found = measure(model, Probe.from_arrays((x, y), (x2, y2), size=None))
    turned = measure(model, Probe.from_arrays((x2, y2), (x, y), size=None))
    for pair_set, other in zip(PAIR_SETS, PAIR_SETS[::-1], strict=True):
        one, two = found[pair_set].cosine.matrix, turned[other].cosine.matrix
        np.testing.assert_allclose(one, two.T, atol=2e-5)


@kinds
def test_the_order_of_examples_does_not_matter(kind, record):
    model, ((x, y), validation) = trained(kind), images()
    order = np.random.default_rng(0).permutation(COUNT)
    gram = gradient_gram(model, x, y)
    record(relative(gradient_gram(model, x[order], y[order]), gram[np.ix_(order, order)]), 2e-6)
    one = measure(model, Probe.from_arrays((x, y), validation, size=None))
    two = measure(model, Probe.from_arrays((x[order], y[order]), validation, size=None))
    for pair_set in PAIR_SETS:
        np.testing.assert_allclose(two[pair_set].cosine.matrix, one[pair_set].cosine.matrix, atol=2e-5)
        assert two[pair_set].critical_length.slope == pytest.approx(one[pair_set].critical_length.slope, abs=1e-4)
