"""What is used of Keras' and TensorFlow's private parts is there, and does what we use it for."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

import tfstiff
from tfstiff import _keras

X = np.arange(6.0, dtype="float32").reshape(3, 2)


def test_layers_within_layers_each_once():
    inner = keras.Sequential([keras.Input((4, 2)), keras.layers.Dense(2)])
    around = keras.layers.TimeDistributed(keras.layers.Dense(2))
    model = keras.Sequential([keras.Input((4, 2)), inner, around, keras.layers.Activation("relu"), inner])
    found = _keras.all_layers(model)
    assert {model, inner, inner.layers[0], around, around.layer} <= set(found)
    assert len(found) == len(set(found))


def test_memory_of_each_device():
    found = _keras.memory_of_devices("CPU")
    assert len(found) == len(tf.config.list_logical_devices("CPU"))
    assert min(found) > 0
    assert _keras.memory_of_devices("None such") == []


@pytest.mark.parametrize("weights", [None, [1.0, 0.25], {"a": 2.0}])
def test_loss_weights(weights):
    image = keras.Input((2,))
    model = keras.Model(image, {"a": keras.layers.Dense(1)(image), "b": keras.layers.Dense(1)(image)})
    assert _keras.loss_weights(model) is None
    loss = ["mse", "mse"] if isinstance(weights, list) else {"a": "mse", "b": "mse"}
    model.compile(loss=loss, loss_weights=weights)
    assert _keras.loss_weights(model) == weights


def test_the_loss_of_a_function_is_that_of_compile():
    def absolute(y, prediction):
        return tf.reduce_sum(tf.abs(y - prediction), -1)

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(loss=absolute)
    y = np.array([1.0, 2.0, 3.0], "float32")  # (n,) beside (n, 1), of which Keras makes one
    found = _keras.loss_of_function(absolute)
    assert found.call(y, model(X)).shape == (3,)
    np.testing.assert_allclose(found(y, model(X)), model.compute_loss(X, y, model(X)), rtol=1e-6)


def test_a_mask_is_found():
    embedded = keras.layers.Embedding(5, 2, mask_zero=True)(np.array([[1, 0], [2, 3]]))
    np.testing.assert_array_equal(_keras.mask_of(embedded), [[True, False], [True, True]])
    assert _keras.mask_of(tf.zeros(2)) is None


def test_the_variable_of_a_weight_also_where_a_tensor_stands_for_it():
    weight = keras.Variable(np.ones(2, "float32"))
    variable = _keras.variable_of(weight)
    assert isinstance(variable, tf.Variable)
    with keras.StatelessScope([(weight, tf.zeros(2))]):
        assert _keras.variable_of(weight) is variable
    variable.assign([3.0, 4.0])
    np.testing.assert_array_equal(weight, [3.0, 4.0])


def test_the_first_replica_of_a_mirrored_weight():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        weight = keras.layers.Dense(2)
        weight.build((None, 2))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(weight.kernel * 2.0)
    found = _keras.variable_of(weight.kernel)
    assert isinstance(found, tf.Variable)
    assert type(found) is type(_keras.variable_of(keras.Variable(X)))
    np.testing.assert_array_equal(tape.gradient(total, found), np.full((2, 2), 2.0))


def test_a_path_is_set():
    weight = keras.Variable(X, name="kernel")
    _keras.set_path(weight, "dense/kernel")
    assert weight.path == "dense/kernel"


def test_the_state_that_keras_draws_from():
    keras.utils.clear_session()
    assert _keras.global_random_state() is None
    made = _keras.made_global_random_state()
    assert _keras.global_random_state() is made
    kept = made.numpy()
    first = keras.random.normal((3,))
    made.assign(kept)
    np.testing.assert_array_equal(keras.random.normal((3,)), first)


_PRIVATE = re.compile(
    r"keras\.src|tensorflow\.python|__internal__"
    r"|(?<!self)(?<!cls)\._(?!replace\b|asdict\b|_)[a-z]"  # of a named tuple, both are public
    r"|[gs]etattr\([^)]*\"_[a-z]"
)


def test_no_other_file_touches_a_private_part():
    package = Path(tfstiff.__file__).parent
    own = {"copied._recorder = Recorder(self.log_dir, self.tensorboard, self.on_error, is_copy=True)"}
    for path in set(package.rglob("*.py")) - {Path(_keras.__file__)}:
        code = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
        touching = {line for line in code if _PRIVATE.search(line) and not line.startswith(("from tfstiff", "import "))}
        assert touching <= own, path


def test_what_is_traced_often_on_purpose_is_not_warned_of(caplog):
    def call(made):
        for size in range(1, 12):
            made(tf.zeros(size))

    def double(x):
        return 2 * x

    logger = tf.get_logger()
    logger.addHandler(caplog.handler)
    try:
        call(_keras.quietly_traced(double))
        assert "retracing" not in caplog.text
        call(tf.function(double, autograph=False))
        assert "retracing" in caplog.text
    finally:
        logger.removeHandler(caplog.handler)
    assert _keras.quietly_traced(double, reduce_retracing=True)(tf.ones(2)).numpy().tolist() == [2, 2]


def is_rewritten():
    """Whether TensorFlow rewrites the graph of a function that this thread calls."""
    config = tf.compat.v1.ConfigProto.FromString(context.context().function_call_options.config_proto_serialized)
    rewrites = config.graph_options.rewrite_options
    return rewrites.remapping != rewrites.OFF


def test_graphs_are_not_rewritten_within_and_are_afterwards():
    assert is_rewritten()
    with _keras.graphs_as_traced():
        assert not is_rewritten()
        with suppress(KeyError), _keras.graphs_as_traced():
            assert not is_rewritten()
            raise KeyError
        assert not is_rewritten()
        with ThreadPoolExecutor(1) as other:
            assert other.submit(is_rewritten).result()
    assert is_rewritten()


def test_a_function_that_runs_within_is_the_one_that_was_traced():
    """Of a product with 1 a rewritten graph computes nothing."""

    def multiply(x):
        tf.sqrt(x)  # which nothing needs
        return tf.identity((x * 1.0) * 1.0)

    def operations(call):
        context.context().enable_run_metadata()
        call(tf.function(multiply))
        graphs = context.context().export_run_metadata().partition_graphs
        context.context().disable_run_metadata()
        return [node.op for graph in graphs for node in graph.node]

    assert "Mul" not in operations(lambda function: function(tf.ones(3)))
    with _keras.graphs_as_traced():
        found = operations(lambda function: function(tf.ones(3)))
    assert found.count("Mul") == 2
    assert "Sqrt" not in found
