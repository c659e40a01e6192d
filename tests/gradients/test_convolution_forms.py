"""The rule for convolutions in both of its forms, in parts, on shapes of all kinds, against one tape an example."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from oracles import relative_error
from small_models import SOFTMAX, Weighted, labelled, sequential

from tfstiff.gradients import forming, per_example_gradients
from tfstiff.gradients.operations import windows

layers = keras.layers
FORWARD = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}
BACKWARD = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose, 3: layers.Conv3DTranspose}


def gradients_agree(shape, layer, count=5, bytes_together=None):
    keras.utils.set_random_seed(0)
    model = sequential(shape, layer, layers.LeakyReLU(), layers.Flatten(), layers.Dense(2))
    x, y = labelled(shape, count, 2)
    expected = per_example_gradients(model, x, y, loss=SOFTMAX, method="loop")
    with pytest.MonkeyPatch.context() as patch:
        if bytes_together:
            patch.setattr(forming, "_BYTES_TOGETHER", bytes_together)
        found = per_example_gradients(model, x, y, loss=SOFTMAX, method="structured")
    assert relative_error(found, expected) < 1e-5


@st.composite
def convolutions(draw):
    rank = draw(st.integers(1, 3))
    kernel = draw(st.tuples(*[st.integers(1, 5 if rank < 3 else 3)] * rank))
    # TensorFlow differentiates neither dilated nor grouped convolutions of three dimensions on a CPU.
    stretched = draw(st.sampled_from(["strides", "neither", "dilation_rate"][: 2 if rank == 3 else 3]))
    factors = draw(st.tuples(*[st.integers(1, 3)] * rank))
    groups = draw(st.integers(1, 1 if rank == 3 else 2))
    size_in, size_out = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    dilation = factors if stretched == "dilation_rate" else (1,) * rank
    extent = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    shape = tuple(size + draw(st.integers(0, 3)) for size in extent)
    is_transposed = draw(st.booleans()) and stretched != "dilation_rate"
    options = {} if stretched == "neither" else {stretched: factors}
    if not is_transposed:
        options["groups"] = groups
    made = (BACKWARD if is_transposed else FORWARD)[rank]
    layer = made(
        size_out * groups, kernel, padding=draw(st.sampled_from(["same", "valid"])), use_bias=draw(st.booleans()),
        **options,
    )  # fmt: skip
    return (*shape, size_in * groups), layer


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # to shrink a failure takes minutes of tracing
    suppress_health_check=list(HealthCheck),
)
@given(convolutions(), st.sampled_from([1, 3000, None]))
def test_any_convolution(case, bytes_together):
    gradients_agree(*case, bytes_together=bytes_together)


SHAPES = {
    "2-D": (6, 7), "2-D, one row": (5, 9), "1-D": (9,), "3-D": (4, 5, 4),
}  # fmt: skip
KERNELS = {"2-D": (3, 2), "2-D, one row": (1, 4), "1-D": (3,), "3-D": (2, 3, 2)}


@pytest.mark.parametrize("form", ["slices", "patches"])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("is_transposed", [False, True])
def test_both_forms(name, form, is_transposed, monkeypatch):
    """Whichever is cheaper; slices serve only strides of 1."""
    used = {"slices": 0, "patches": 0}
    for counted, method in (("slices", "_by_slices"), ("patches", "patches")):
        original = getattr(windows.Window, method)

        def counting(*arguments, counted=counted, original=original):
            used[counted] += 1
            return original(*arguments)

        monkeypatch.setattr(windows.Window, method, counting)
    monkeypatch.setattr(windows, "_FEW_CHANNELS", 100 if form == "slices" else 0)
    kernel = KERNELS[name]
    made = (BACKWARD if is_transposed else FORWARD)[len(kernel)]
    for padding in ("same", "valid"):
        gradients_agree((*SHAPES[name], 2), made(3, kernel, padding=padding, activation="tanh"))
    assert [one for one, times in used.items() if times] == [form]


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("bytes_together", [1, 2000, None])
def test_depthwise_in_parts(strides, multiplier, bytes_together):
    layer = layers.DepthwiseConv2D(3, strides=strides, depth_multiplier=multiplier, padding="same", activation="tanh")
    gradients_agree((6, 5, 4), layer, bytes_together=bytes_together)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("bytes_together", [1, 5000])
def test_examples_in_parts(count, bytes_together, monkeypatch):
    monkeypatch.setattr(forming, "_BYTES_TOGETHER", bytes_together)
    gradients_agree((6, 5, 2), layers.Conv2D(4, (3, 2), activation="tanh"), count)


@pytest.mark.parametrize("positions", [3, 40])  # fewer than there are columns, and more
@pytest.mark.parametrize("size", [64, 65])
def test_sums_of_outer_products(positions, size):
    random = np.random.default_rng(0)
    rows, columns = (random.normal(size=(2, positions, width)).astype("f") for width in (size, 16))
    found = forming.sum_of_outers(tf.constant(rows), tf.constant(columns)).numpy()
    assert found.shape == (2, forming.padded_width(size, 16, tf.float32))
    expected = np.einsum("ntp,ntq->npq", rows, columns).reshape(2, -1)
    np.testing.assert_allclose(found[:, : size * 16], expected, rtol=1e-4, atol=1e-4)
    assert not found[:, size * 16 :].any()


def test_kernels_of_a_size_that_caches_dislike():
    """Then a few zeros are added to each row of the gradients; they must end with the rule."""
    assert forming.padded_width(64, 16, tf.float32) > 1024
    size = (2, 2, 16, 16)  # 1024 entries

    def convolved(x, kernel):
        return tf.nn.conv2d(x, kernel, 1, "SAME")

    functions = {
        "alone": convolved,
        "in groups": lambda x, k: tf.nn.conv2d(tf.concat([x, x], -1), tf.concat([k, k], -1), 1, "SAME"),
        "used twice": lambda x, k: convolved(tf.tanh(convolved(x, k)), k),
        "used twice, differently": lambda x, k: tf.nn.conv2d(tf.tanh(convolved(x, k)), k, 2, "VALID"),
        "used otherwise too": lambda x, k: convolved(x, k) + tf.reduce_sum(k, [0, 1, 2]),
        "scaled": lambda x, k: convolved(x, k / tf.norm(k)),
        "as itself and scaled": lambda x, k: convolved(tf.tanh(convolved(x, k)), 0.5 * k),
        "as a matrix": lambda x, k: convolved(x, k) @ tf.reshape(k[:1, :1], (16, 16)),
        "added in parts": lambda x, k: convolved(x, k) + k[0, 0, 0],
    }
    for name, function in functions.items():
        try:
            gradients_agree((3, 4, 16), Weighted(function, size, keras.initializers.RandomNormal(stddev=0.1)))
        except Exception as error:
            raise AssertionError(name) from error
    gradients_agree((3, 4, 16), layers.Conv2D(32, 2, groups=2, activation="tanh"))
    gradients_agree((1024,), layers.Dense(1, use_bias=False))


@pytest.mark.parametrize("positions", [1, 2, 5])
def test_positions_merged_with_the_examples(positions):
    """The rows of the convolution are then (example, position)."""

    def at_each(x, kernel):
        rows = tf.nn.conv2d(tf.reshape(x, [-1, 5, 4, 2]), kernel, 1, "SAME")
        return tf.tanh(tf.reshape(rows, [-1, positions, 5, 4, 3]))

    for bytes_together in (1, 4000, None):
        gradients_agree((positions, 5, 4, 2), Weighted(at_each, (3, 2, 2, 3)), bytes_together=bytes_together)


def test_float64():
    x = np.random.default_rng(0).normal(size=(3, 5, 4, 2))
    model = sequential((5, 4, 2), layers.Conv2D(3, 2), layers.Flatten(), layers.Dense(2))
    y = np.arange(3) % 2
    found, expected = (
        per_example_gradients(model, x, y, loss=SOFTMAX, precision="float64", method=method)
        for method in ("structured", "loop")
    )
    assert relative_error(found, expected) < 1e-7
