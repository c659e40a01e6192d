"""Gradients with respect to some of the weights, against one tape an example in float64, of which these are kept."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Weighted, labelled, sequential

from tfstiff import (
    Probe,
    StiffnessCallback,
    directional_stiffness,
    finite_step_stiffness,
    gradient_gram,
    measure,
    per_example_gradients,
)
from tfstiff.errors import InvalidInput
from tfstiff.gradients import METHODS
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.measuring.alignment import weight_alignment

layers = keras.layers
N = 7


def dense():
    return sequential(
        (4,),
        layers.Dense(6, "tanh", name="first"),
        layers.Dense(5, "tanh", name="second"),
        layers.Dense(3, name="third"),
    )


def convolution():
    return sequential(
        (6, 5, 2),
        layers.Conv2D(3, 3, activation="relu", name="first"),
        layers.BatchNormalization(name="second"),
        layers.Flatten(),
        layers.Dense(3, name="third"),
        layers.Activation("tanh"),
    )


def words():
    return sequential(
        (5,),
        layers.Embedding(9, 4, name="first"),
        layers.GRU(3, name="second"),
        layers.Dense(3, name="third"),
    )


def adapted():
    """Kernels that are frozen, factors that adapt them, and a last layer without any."""
    model = words()
    model.get_layer("first").enable_lora(2)
    model.add(layers.Dense(4, "tanh", name="fourth"))
    model.get_layer("fourth").enable_lora(3, lora_alpha=5)
    model.add(layers.Dense(3, name="fifth"))
    return model


def two_outputs():
    """With a model among its layers, and one output that a function makes of a layer's."""
    inputs = keras.Input((4,))
    hidden = layers.Dense(5, "tanh", name="first")(inputs)
    body = keras.Sequential([layers.Dense(4, "tanh", name="inner"), layers.Dense(2, name="last")], name="body")
    return keras.Model(inputs, [keras.ops.tanh(layers.Dense(3, name="second")(hidden)), body(hidden)])


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.body = keras.Sequential([layers.Dense(5, "tanh", name="first")], name="body")
        self.out = layers.Dense(3, name="second")
        self.frozen = layers.Dense(3, name="third", trainable=False)

    def call(self, x):
        return self.frozen(self.out(self.body(x)))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 4), "float32"))
    return model


def own_weights():
    class Own(keras.Model):
        def build(self, shape):
            self.kernel = self.add_weight(name="kernel", shape=(shape[-1], 3))
            self.offset = self.add_weight(name="offset", shape=(3,))

        def call(self, x):
            return tf.matmul(x, tf.convert_to_tensor(self.kernel)) + self.offset

    model = Own()
    model.build((None, 4))
    return model


def no_activation(weight):
    return len(weight.shape) > 1


# By model: choices, and the places of the trainable weights that they are of.
CASES = [
    (dense, "head", [4, 5]),
    (dense, "second/", [2, 3]),
    (dense, "^.*kernel$", [0, 2, 4]),
    (dense, "first/bias|third/kernel", [1, 4]),
    (dense, no_activation, [0, 2, 4]),
    (dense, "all", [0, 1, 2, 3, 4, 5]),
    (convolution, "head", [4, 5]),
    (convolution, "first|gamma", [0, 1, 2]),
    (words, "head", [4, 5]),
    (words, "first", [0]),
    (words, "recurrent_kernel|first", [0, 2]),
    (adapted, "lora", [0, 1, 8, 9]),
    (adapted, "head", [10, 11]),
    (adapted, "fourth", [7, 8, 9]),
    (subclassed, "head", [2, 3]),
    (subclassed, "body", [0, 1]),
    (own_weights, "head", [0, 1]),
]


def data_of(build):
    random = np.random.default_rng(1)
    if build in (words, adapted):
        return random.integers(0, 9, (N, 5)), random.integers(0, 3, N)
    return labelled((6, 5, 2) if build is convolution else (4,), N)


def shaken(model):
    """All weights away from where they begin: factors that are zero would hide what is wrong."""
    random = np.random.default_rng(5)
    for weight in model.trainable_weights:
        weight.assign_add(random.normal(scale=0.3, size=weight.shape))
    return model


def kept_columns(model, places):
    """Which entries of all gradients side by side are of the weights at `places`."""
    sizes = [int(np.prod(weight.shape)) for weight in model.trainable_weights]
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return np.isin(owner, places)


def softmax(y, prediction):
    return SOFTMAX.call(y, prediction)


def expected_of(build, model, x, y, places, loss=softmax):
    if build is own_weights:  # whose weights are variables of the model, in the precision of its policy
        twin = model
        gradients = np.concatenate([_one(twin, x[i : i + 1], y[i : i + 1]) for i in range(N)])
    else:
        gradients = reference_gradients(float64_twin(build, model), x, y, loss)
    return gradients[:, kept_columns(model, places)]


def _one(model, x, y):
    with tf.GradientTape() as tape:
        loss = SOFTMAX.call(y, model(x))[0]
    gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    return np.concatenate([gradient.numpy().ravel() for gradient in gradients])[None].astype(float)


@pytest.mark.parametrize(("build", "choice", "places"), CASES)
def test_gradients_of_the_weights_chosen(build, choice, places):
    keras.utils.set_random_seed(0)
    model, (x, y) = shaken(build()), data_of(build)
    expected = expected_of(build, model, x, y, places)
    options = {"loss": SOFTMAX, "weights": choice}
    assert relative_error(per_example_gradients(model, x, y, **options), expected) < 1e-5
    assert relative_error(gradient_gram(model, x, y, **options), expected @ expected.T) < 1e-5
    block = gradient_gram(model, x[:3], y[:3], x[3:], y[3:], **options)
    assert relative_error(block, expected[:3] @ expected[3:].T) < 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("build", "choice", "places"), [CASES[3], CASES[7]])
def test_every_method(build, choice, places, method):
    keras.utils.set_random_seed(0)
    model, (x, y) = shaken(build()), data_of(build)
    expected = expected_of(build, model, x, y, places)
    found = per_example_gradients(model, x, y, loss=SOFTMAX, weights=choice, method=method)
    assert relative_error(found, expected) < 1e-5


def test_the_head_of_several_outputs_is_of_each():
    keras.utils.set_random_seed(0)
    model, x = shaken(two_outputs()), labelled((4,), N)[0]
    y = [np.arange(N) % 3, np.arange(N) % 2]

    def both(y, prediction):
        return SOFTMAX.call(y[0], prediction[0]) + SOFTMAX.call(y[1], prediction[1])

    paths = [weight.path for weight in model.trainable_weights]
    places = [place for place, path in enumerate(paths) if "second" in path or "last" in path]
    assert len(places) == 4
    expected = expected_of(two_outputs, model, x, y, places, both)
    found = per_example_gradients(model, x, y, loss=[SOFTMAX, SOFTMAX], weights="head")
    assert relative_error(found, expected) < 1e-5


def test_only_what_is_asked_for_is_traced_and_differentiated():
    model, (x, y) = dense(), data_of(dense)
    plans = {
        choice: plan_for(model, x, y, GradientOptions(weights=choice), loss=SOFTMAX)
        for choice in ("all", "head", "second", "third/bias")
    }
    kinds = {
        choice: [operation.type for operation in plan.parts[0].graph.get_operations()] for choice, plan in plans.items()
    }
    assert {choice: found.count("TanhGrad") for choice, found in kinds.items()} == {
        "all": 2,
        "head": 0,
        "second": 1,
        "third/bias": 0,
    }
    for choice, sizes in (("head", (15, 3)), ("second", (30, 5)), ("third/bias", (3,))):
        assert plans[choice].layout.sizes == sizes
        assert plans[choice].bytes_per_example()[0] < plans["all"].bytes_per_example()[0]


def test_functions_that_choose_the_same_share_a_plan():
    model, (x, y) = dense(), data_of(dense)
    first, second, third, fourth = (
        plan_for(model, x, y, GradientOptions(weights=choice), loss=SOFTMAX)
        for choice in (lambda w: "third" in w.path, lambda w: len(w.path) > 0 and "third" in w.path, "head", "second")
    )
    assert first is second is third
    assert fourth is not first
    model.get_layer("third").trainable = False
    assert plan_for(model, x, y, GradientOptions(weights="head"), loss=SOFTMAX).weights == fourth.weights


def test_by_layer_the_chosen_add_up():
    keras.utils.set_random_seed(0)
    model, (x, y) = dense(), data_of(dense)
    options = {"loss": SOFTMAX, "weights": "second|third/bias"}
    found = gradient_gram(model, x, y, per_layer=True, **options)
    assert [path.rpartition("/")[2] for path in found] == ["second", "third"]
    whole = gradient_gram(model, x, y, **options)
    np.testing.assert_allclose(sum(found.values()), whole, rtol=1e-5, atol=1e-6 * np.abs(whole).max())
    expected = expected_of(dense, model, x, y, [5])
    assert relative_error(next(one for path, one in found.items() if "third" in path), expected @ expected.T) < 1e-5


# What does not choose anything


@pytest.mark.parametrize("choice", ["lora", "fourth", lambda weight: False])
def test_a_choice_of_nothing_names_the_weights_that_there_are(choice):
    model, (x, y) = dense(), data_of(dense)
    for call in (gradient_gram, per_example_gradients):
        with pytest.raises(InvalidInput, match=r"No weight of the model is chosen") as caught:
            call(model, x, y, loss=SOFTMAX, weights=choice)
        assert all(weight.path in str(caught.value) for weight in model.trainable_weights)
    assert ("enable_lora" in str(caught.value)) == (choice == "lora")


def test_many_weights_are_named_in_part():
    model = sequential((4,), *[layers.Dense(3) for _ in range(10)])
    with pytest.raises(InvalidInput, match="and 8 more"):
        gradient_gram(model, *data_of(dense), loss=SOFTMAX, weights="nothing")


@pytest.mark.parametrize("choice", ["first", lambda weight: "first" in weight.path, "first/kernel"])
def test_frozen_weights_are_named(choice):
    model, (x, y) = dense(), data_of(dense)
    model.get_layer("first").trainable = False
    with pytest.raises(InvalidInput, match=r"chosen are frozen(.|\n)*first/kernel(.|\n)*Expected(.|\n)*second/kernel"):
        gradient_gram(model, x, y, loss=SOFTMAX, weights=choice)


def test_frozen_adapters_are_named():
    model, (x, y) = adapted(), data_of(adapted)
    for name in ("first", "fourth"):
        model.get_layer(name).trainable = False
    with pytest.raises(InvalidInput, match=r"chosen are frozen(.|\n)*lora"):
        gradient_gram(model, x, y, loss=SOFTMAX, weights="lora")


@pytest.mark.parametrize(("choice", "says"), [("(", "not valid"), ("", "cannot be chosen"), (3, "cannot be chosen")])
def test_what_is_no_choice_is_said_before_anything_else(choice, says):
    for call in (
        lambda: GradientOptions(weights=choice),
        lambda: StiffnessCallback(None, weights=choice),
        lambda: gradient_gram(None, None, None, None, None, weights=choice),
    ):
        with pytest.raises(InvalidInput, match=says):
            call()


# Measurements, steps and directions


def test_a_measurement_holds_what_was_chosen():
    keras.utils.set_random_seed(0)
    model, (x, y) = dense(), labelled((4,), 24)
    probe = Probe.from_arrays(train=(x[:12], y[:12]), validation=(x[12:], y[12:]), size=None)
    x, y = (np.concatenate([getattr(half, name) for half in (probe.train, probe.validation)]) for name in "xy")
    for choice, places, text in (
        ("head", [4, 5], "head"),
        ("third", [4, 5], "third"),
        (lambda weight: "second" not in weight.path, [0, 1, 4, 5], "0-1, 4-5 of 6"),
        (lambda weight: "second/k" in weight.path, [2], "2 of 6"),
    ):
        found = measure(model, probe, loss=SOFTMAX, weights=choice, keep_gram=True, per_layer=True)
        gradients = reference_gradients(float64_twin(dense, model), x, y, softmax)[:, kept_columns(model, places)]
        assert relative_error(found.gram, gradients @ gradients.T) < 1e-5
        assert found.weights == text
        assert f"weights: {text}" in str(found)
        assert len(found.layers) == len({place // 2 for place in places})
    whole = measure(model, probe, loss=SOFTMAX)
    assert whole.weights == "all"
    assert "weights" not in str(whole)


def test_steps_move_the_weights_chosen_alone():
    keras.utils.set_random_seed(0)
    model, (x, y) = dense(), labelled((4,), 8)
    probe = Probe.from_arrays(train=(x, y), validation=(x, y), size=None)
    x, y, before = probe.train.x, probe.train.y, [weight.numpy() for weight in model.weights]
    found = finite_step_stiffness(model, probe, 1e-3, loss=SOFTMAX, weights="second", precision="float64")
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    gradients = reference_gradients(float64_twin(dense, model), x, y, softmax)[:, kept_columns(model, [2, 3])]
    expected = -1e-3 * gradients @ gradients.T
    assert relative_error(found.predicted[0], expected) < 1e-5
    assert relative_error(found.changes[0], expected) < 2e-2  # to first order


def test_of_a_direction_the_part_in_the_weights_chosen_counts():
    keras.utils.set_random_seed(0)
    model, (x, y) = dense(), data_of(dense)
    model.compile(keras.optimizers.SGD(0.1), SOFTMAX)
    random = np.random.default_rng(0)
    direction = [random.normal(size=weight.shape) for weight in model.trainable_weights]
    gradients = expected_of(dense, model, x, y, [0, 5])
    part = np.concatenate([direction[place].ravel() for place in (0, 5)])
    found = directional_stiffness(model, x, y, direction, weights="first/kernel|third/bias")
    assert relative_error(found.products[:, 0], gradients @ part) < 1e-5
    cosines = gradients @ part / np.linalg.norm(gradients, axis=1) / np.linalg.norm(part)
    assert relative_error(found.cosines[:, 0], cosines) < 1e-5
    update = directional_stiffness(model, x, y, "next_update", batch=(x, y), weights="first/kernel|third/bias")
    assert relative_error(update.products[:, 0], -0.1 * gradients @ gradients.mean(0)) < 1e-4
    means = directional_stiffness(model, x, y, "class_means", weights="first/kernel|third/bias")
    by_class = np.stack([gradients[y == place].mean(0) for place in np.unique(y)], 1)
    assert relative_error(means.products, gradients @ by_class) < 1e-5
    direction[0], direction[5] = 0 * direction[0], 0 * direction[5]
    with pytest.raises(InvalidInput, match="zero in the weights measured"):
        directional_stiffness(model, x, y, direction, weights="first/kernel|third/bias")


def test_alignment_is_with_the_last_kernel_chosen():
    keras.utils.set_random_seed(0)
    model, (x, y) = dense(), data_of(dense)
    found = weight_alignment(model, x, y, loss=SOFTMAX, weights="first|second")
    assert found.weight == model.get_layer("second").kernel.path
    gradients = expected_of(dense, model, x, y, [2])
    kernel = model.get_layer("second").kernel.numpy().ravel()
    cosines = -gradients @ kernel / np.linalg.norm(gradients, axis=1) / np.linalg.norm(kernel)
    assert relative_error(found.values, cosines) < 1e-5


def test_a_weight_of_any_layer_of_ones_own():
    """A layer that is no model is a head as a whole."""
    model = sequential((4,), layers.Dense(3, name="first"), Weighted(tf.multiply, (3,), name="scale"))
    x, y = data_of(dense)
    expected = per_example_gradients(model, x, y, loss=SOFTMAX)[:, -3:]
    np.testing.assert_allclose(per_example_gradients(model, x, y, loss=SOFTMAX, weights="head"), expected, rtol=1e-6)
