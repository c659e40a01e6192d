"""Models that are right: no check of an audit fails."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfstiff
from tfstiff.measuring.audit import differentiation

layers, ops = keras.layers, keras.ops
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
N = 8


def normal(*shape):
    return np.random.default_rng(0).normal(size=(N, *shape)).astype("float32")


def sentences(length=6):
    x = np.random.default_rng(0).integers(1, 20, (N, length))
    x[: N // 2, 3:] = 0
    return x


def classes():
    return np.arange(N) % 3


def compiled(model, loss=SOFTMAX, **options):
    model.compile(keras.optimizers.Adam(), loss, **options)
    return model


def sequential(shape, *stack, dtype=None, **options):
    return compiled(keras.Sequential([keras.Input(shape, dtype=dtype), *stack, layers.Dense(3)]), **options)


def dense():
    stack = (layers.Dense(5, activation="relu"), layers.Dropout(0.5), layers.LayerNormalization())
    return sequential((4,), *stack), normal(4), classes()


def images():
    """Convolutions of three kinds, one with strides, and batch normalisation with statistics of its own."""
    model = sequential(
        (6, 6, 2),
        layers.Conv2D(3, 2, strides=2, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(2),
        layers.SeparableConv2D(3, 2),
        layers.GlobalAveragePooling2D(),
    )
    model.layers[1].moving_mean.assign([0.1, -0.2, 0.3])
    return model, normal(6, 6, 2), classes()


def masked():
    stack = (layers.Embedding(20, 4, mask_zero=True), layers.LSTM(3))
    return sequential((None,), *stack, dtype="int32"), sentences(), classes()


def attention():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(20, 4, mask_zero=True)(inputs)
    x = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 2)(x, x)]))
    return compiled(keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))), sentences(), classes()


def several_outputs():
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((2,), name="b")}
    x = layers.Concatenate()([layers.Dense(3, activation="tanh")(inputs["a"]), inputs["b"]])
    outputs = {"kind": layers.Dense(3, name="kind")(x), "size": layers.Dense(1, name="size")(x)}
    model = keras.Model(inputs, outputs)
    compiled(model, {"kind": SOFTMAX, "size": "mse"}, loss_weights={"kind": 1.0, "size": 0.3})
    return model, {"a": normal(4), "b": normal(2)}, {"kind": classes(), "size": normal(1)}


class Tied(keras.Model):
    """The table of the words is that of the scores too."""

    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(20, 4)
        self.mix = layers.Dense(4, activation="tanh")

    def call(self, x):
        hidden = self.mix(ops.mean(self.table(x), 1))
        return ops.matmul(hidden, ops.transpose(self.table.embeddings))


def tied():
    return compiled(Tied()), sentences(), np.arange(N) % 20


def regression():
    stack = (layers.Dense(4, activation="gelu"), layers.BatchNormalization())
    return sequential((4,), *stack, loss=keras.losses.Huber(reduction="sum")), normal(4), normal(3)


def probabilities():
    model = sequential((4,), layers.Dense(5, activation="tanh"), loss="mse")
    model = compiled(keras.Sequential([*model.layers, layers.Softmax()]), "categorical_crossentropy")
    return model, normal(4), np.eye(3, dtype="float32")[classes()]


def in_policy(name):
    def build():
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(name)
        try:
            return dense()
        finally:
            keras.config.set_dtype_policy(policy)

    build.__name__ = name
    return build


class Scaled(layers.Layer):
    """Knows single precision alone, and keeps a part of its weights from training."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")
        self.shift = self.add_weight(name="shift", shape=(shape[-1],), trainable=False)

    def call(self, x):
        return tf.cast(x, tf.float32) * tf.constant(np.float32(2)) * self.scale.value + self.shift.value


def own_layer():
    return sequential((4,), layers.Dense(5), Scaled()), normal(4), classes()


def penalised():
    """An objective that says all that fit minimises."""
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh", activity_regularizer=keras.regularizers.L2(0.1))(inputs)
    model = compiled(keras.Model(inputs, layers.Dense(3)(hidden)))

    def objective(model, x, y):
        prediction = model(x, training=False)
        values = SOFTMAX.call(tf.cast(y, prediction.dtype), prediction)
        return values + 0.1 * tf.cast(tf.reduce_sum(model.layers[1](x) ** 2, 1), values.dtype)

    x = normal(4)
    losses = []
    for some in (x, np.concatenate([x, x])):
        model(some)
        losses.append(float(sum(model.losses)))
    if losses[1] > 1.5 * losses[0]:
        pytest.skip("This Keras adds up activity regularisers over a batch: that is no mean of examples' losses")
    return model, x, classes(), {"objective": objective}


MODELS = (
    dense,
    images,
    masked,
    attention,
    several_outputs,
    tied,
    regression,
    probabilities,
    in_policy("mixed_float16"),
    own_layer,
    penalised,
)


def variables_of(model):
    return [*model.variables, *model.optimizer.variables, *model.metrics_variables]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_no_check_fails_and_nothing_is_changed(build, monkeypatch):
    if build is not dense:  # the slower methods take long to trace; that they agree has tests of its own
        monkeypatch.setattr(differentiation, "METHODS", ("auto",))
    keras.utils.set_random_seed(0)
    model, x, y, *options = build()
    if not model.built:
        model(x)
    variables, kind = variables_of(model), type(model)
    before = [np.array(variable) for variable in variables]
    found = tfstiff.audit(model, x, y, num_examples=6, another_process=False, **(options[0] if options else {}))
    assert found.passed, str(found)
    assert len(found.paths) > 0
    assert type(model) is kind
    assert "apply" not in vars(model.optimizer)
    for value, variable in zip(before, variables, strict=True):
        np.testing.assert_array_equal(value, variable)
