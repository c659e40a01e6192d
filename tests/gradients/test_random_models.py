"""Random small models: whatever the structure, `auto` gives what one float64 tape an example gives."""

import warnings

import keras
import numpy as np
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Weighted

from tfstiff.gradients import gradient_gram, per_example_gradients

layers = keras.layers
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

ACTIVATIONS = st.sampled_from([None, "relu", "tanh", "softplus", "gelu"])
FUNCTIONS = {
    "multiply": lambda x, w: x * w,
    "add": lambda x, w: w + x,
    "subtract": lambda x, w: x - w,
    "subtract from": lambda x, w: w - x,
    "multiply a slice": lambda x, w: x[..., :1] * w,
}


@st.composite
def broadcasting_shapes(draw, example_shape):
    """A shape that broadcasts with (n, *example_shape): leading axes left out, some axes of size one."""
    kept = draw(st.integers(0, len(example_shape)))
    shape = tuple(draw(st.sampled_from([1, size])) for size in example_shape[len(example_shape) - kept :])
    return (1, *shape) if kept == len(example_shape) and draw(st.booleans()) else shape


# Each family draws a function that makes a layer, and the shape of its output for one example.


@st.composite
def weighted(draw, shape):
    function, weight_shape = draw(st.sampled_from(list(FUNCTIONS))), draw(broadcasting_shapes(shape))
    output = np.broadcast_shapes((1, *shape[:-1], 1) if function == "multiply a slice" else (1, *shape), weight_shape)
    return lambda: Weighted(FUNCTIONS[function], weight_shape), output[1:]


@st.composite
def dense(draw, shape):
    units, bias, activation = draw(st.integers(1, 6)), draw(st.booleans()), draw(ACTIVATIONS)
    return lambda: layers.Dense(units, activation, use_bias=bias), (*shape[:-1], units)


@st.composite
def convolution(draw, shape):
    if len(shape) != 3:
        return draw(dense(shape))
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    # On a CPU, TensorFlow 2.21 reads beyond an image of one column and one channel where the stride along it is not 1.
    strides = [draw(st.integers(1, 3 if size > 1 else 1)) for size in shape[:2]] if dilation == 1 else [1, 1]
    options = {
        "filters": draw(st.integers(1, 4)),
        "kernel_size": (draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        "strides": strides,
        "padding": draw(st.sampled_from(["same", "valid"])),
        "use_bias": draw(st.booleans()),
        "activation": draw(ACTIVATIONS),
        "dilation_rate": dilation,
    }
    if options["padding"] == "same":
        size = [-(-shape[axis] // strides[axis]) for axis in range(2)]
    else:
        extents = [dilation * (extent - 1) + 1 for extent in options["kernel_size"]]
        size = [(shape[axis] - extents[axis]) // strides[axis] + 1 for axis in range(2)]
    if min(size) < 1:  # a kernel larger than the image
        return draw(dense(shape))
    return lambda: layers.Conv2D(**options), (*map(int, size), options["filters"])


@st.composite
def networks(draw, input_shapes, families):
    """A function that builds a model, and the shape of its examples.

    Layers in a row, each perhaps used twice where its output can be its input, perhaps frozen, perhaps with a branch
    that the loss does not reach; a Dense layer of three outputs at the end.
    """
    input_shape = draw(input_shapes)
    steps, shape = [], input_shape
    for _ in range(draw(st.integers(1, 3))):
        make, output_shape = draw(draw(st.sampled_from(families))(shape))
        twice, frozen = draw(st.booleans()), draw(st.sampled_from([False, False, True]))
        steps.append((make, twice and output_shape == shape, frozen))
        shape = output_shape
    unreached = draw(st.booleans())

    def build():
        inputs = x = keras.Input(input_shape)
        for make, twice, frozen in steps:
            layer = make()
            layer.trainable = not frozen
            x = layer(layer(x)) if twice else layer(x)
        outputs = layers.Dense(3)(layers.Flatten()(x))
        if unreached:  # connected, but with no way for a gradient
            aside = layers.Dense(3)(layers.Flatten()(inputs))
            outputs = layers.Lambda(lambda both: both[0] + tf.stop_gradient(both[1]))([outputs, aside])
        return keras.Model(inputs, outputs)

    return build, input_shape


def check(network, seed, count):
    build, shape = network
    keras.utils.set_random_seed(seed)
    model = build()
    rng = np.random.default_rng(seed)
    for weight in model.weights:  # biases start at zero: move them
        weight.assign_add(rng.normal(scale=0.1, size=weight.shape))
    x, y = rng.normal(size=(count, *shape)).astype("float32"), rng.integers(0, 3, count)
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The gradients of some weights take the slower path")
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
        gradients = per_example_gradients(model, x, y, loss=SOFTMAX)
    assert relative_error(gradients, expected) < 1e-5
    assert relative_error(gram, expected @ expected.T) < 1e-5


def shapes(*axes):
    return st.tuples(*axes)


class Attended(keras.layers.Layer):
    """Self-attention with a residual."""

    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 2)

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return x + self.attention(x, x)


# By name, what makes a layer that takes sequences (or images) of any length and width to such again.
SEQUENCES = {
    "convolution": lambda: layers.Conv1D(3, 2, padding="same", activation="tanh"),
    "causal": lambda: layers.Conv1D(4, 2, dilation_rate=2, padding="causal"),
    "LSTM": lambda: layers.LSTM(3, return_sequences=True),
    "backwards": lambda: layers.GRU(2, return_sequences=True, go_backwards=True),
    "both ways": lambda: layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True)),
    "attention": Attended,
    "normalised": lambda: layers.LayerNormalization(),
    "dense": lambda: layers.Dense(4, activation="gelu"),
    "at each step": lambda: layers.TimeDistributed(layers.Dense(3, activation="tanh")),
}
IMAGES = {
    "convolution": lambda: layers.Conv2D(4, 3, padding="same", activation="tanh"),
    "strides": lambda: layers.Conv2D(4, 2, strides=2, padding="same"),
    "groups": lambda: layers.Conv2D(4, 2, groups=2, padding="same"),
    "dilation": lambda: layers.Conv2D(4, 2, dilation_rate=2, padding="same"),
    "depthwise": lambda: layers.DepthwiseConv2D(2, padding="same", activation="tanh"),
    "separable": lambda: layers.SeparableConv2D(4, 2, padding="same"),
    "transposed": lambda: layers.Conv2DTranspose(4, 2, strides=2, padding="same"),
    "group norm": lambda: layers.GroupNormalization(2),
    "batch norm": lambda: layers.BatchNormalization(),
    "PReLU": lambda: layers.PReLU(),
    "PReLU, shared": lambda: layers.PReLU(shared_axes=[1, 2]),
}


def check_exact(build, x, seed, count):
    """Without the generic path. Where terms cancel, what one tape an example makes of it is allowed tenfold."""
    keras.utils.set_random_seed(seed)
    model, rng = build(), np.random.default_rng(seed)
    for weight in model.weights:
        if "moving_variance" not in weight.path:
            weight.assign_add(rng.normal(scale=0.2, size=weight.shape))
    y = rng.integers(0, 3, count)
    expected = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The gradients of some weights take the slower path")
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    error = relative_error(gram, expected @ expected.T)
    if error >= 1e-5:
        looped = gradient_gram(model, x, y, loss=SOFTMAX, method="loop")
        assert error < 10 * relative_error(looped, expected @ expected.T)


def network(names, layers_by_name, inputs, first=None):
    def build():
        x = inputs_of = inputs()
        if first:
            x = first()(x)
        for name in names:
            x = layers_by_name[name]()(x)
        return keras.Model(inputs_of, layers.Dense(3)(layers.Flatten()(x)))

    return build


@settings(max_examples=12, **COMMON)
@given(
    names=st.lists(st.sampled_from(sorted(SEQUENCES)), min_size=2, max_size=3),
    seed=st.integers(0, 1000),
    count=st.integers(1, 6),
    looked_up=st.booleans(),
    length=st.integers(2, 4),
)
def test_sequences(names, seed, count, looked_up, length):
    rng = np.random.default_rng(seed)
    if looked_up:
        x = rng.integers(1, 5, (count, length))
        inputs, first = (lambda: keras.Input((length,), dtype="int64")), (lambda: layers.Embedding(5, 3))
    else:
        x = rng.normal(size=(count, length, 3)).astype("float32")
        inputs, first = (lambda: keras.Input((length, 3))), None
    check_exact(network(names, SEQUENCES, inputs, first), x, seed, count)


@settings(max_examples=12, **COMMON)
@given(
    names=st.lists(st.sampled_from(sorted(IMAGES)), min_size=2, max_size=3),
    seed=st.integers(0, 1000),
    count=st.integers(1, 6),
    size=st.tuples(st.integers(3, 5), st.integers(3, 5)),
)
def test_images(names, seed, count, size):
    x = np.random.default_rng(seed).normal(size=(count, *size, 4)).astype("float32")
    check_exact(network(names, IMAGES, lambda: keras.Input((*size, 4))), x, seed, count)


@settings(max_examples=15, **COMMON)
@given(
    network=networks(
        st.one_of(shapes(st.integers(1, 6)), shapes(st.integers(1, 4), st.integers(1, 5))), [dense, dense, weighted]
    ),
    seed=st.integers(0, 1000),
    count=st.integers(1, 6),
)
def test_dense_chains(network, seed, count):
    check(network, seed, count)


@settings(max_examples=15, **COMMON)
@given(
    network=networks(
        shapes(st.integers(3, 9), st.integers(3, 9), st.integers(1, 5)), [convolution, convolution, weighted, dense]
    ),
    seed=st.integers(0, 1000),
    count=st.integers(1, 6),
)
def test_convolutions(network, seed, count):
    check(network, seed, count)


@settings(max_examples=8, **COMMON)
@given(
    network=networks(shapes(st.integers(2, 4), st.integers(2, 4), st.integers(1, 3)), [weighted]),
    seed=st.integers(0, 1000),
    count=st.integers(1, 6),
)
def test_odd_broadcasting(network, seed, count):
    check(network, seed, count)
