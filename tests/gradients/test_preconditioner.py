"""Products with the optimizer's diagonal between gradients: those of tapes, and what Keras' own updates do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Weighted, dense_net, labelled, sequential

from tfstiff import _keras, gradient_gram
from tfstiff.errors import InvalidInput
from tfstiff.gradients import scaled_products
from tfstiff.gradients.gradient_factors import GradientFactors
from tfstiff.gradients.preconditioner import Preconditioner, diagonal_of, has_diagonal

layers, optimizers = keras.layers, keras.optimizers


def conv_net():
    return sequential(
        (6, 6, 2),
        layers.Conv2D(5, 3, activation="tanh"),
        layers.BatchNormalization(),
        layers.Flatten(),
        layers.Dense(3),
    )


def text_net():
    inputs = keras.Input((5,), dtype="int32")
    x = layers.LSTM(4, return_sequences=True)(layers.Embedding(7, 6)(inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.LayerNormalization()(x)[:, -1]))


def wide_net():
    """Kernels that are held as factors, with their biases beside them, and small weights that lie together."""
    return sequential((30,), layers.Dense(40, activation="tanh"), layers.Dense(20, activation="tanh"), layers.Dense(3))


def own_net():
    return sequential((4,), Weighted(lambda x, w: x * tf.sin(w), (4,)), layers.Dense(3))


def tokens(count=6):
    rng = np.random.default_rng(0)
    return rng.integers(0, 7, (count, 5)).astype("int32"), rng.integers(0, 3, count)


MODELS = {
    "dense": (dense_net, lambda: labelled((4,))),
    "wide": (wide_net, lambda: labelled((30,))),
    "conv": (conv_net, lambda: labelled((6, 6, 2))),
    "text": (text_net, tokens),
    "own": (own_net, lambda: labelled((4,))),
}


def drawn(weight):
    """A diagonal over six orders of magnitude, the same for the same shape."""
    rng = np.random.default_rng(sum(weight.shape))
    return np.exp(rng.uniform(-7, 7, weight.shape))


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts])


@pytest.fixture(params=MODELS, scope="module")
def case(request):
    build, data = MODELS[request.param]
    keras.utils.set_random_seed(0)
    model = build()
    x, y = data()
    return model, x, y, reference_gradients(float64_twin(build, model), x, y, SOFTMAX)


def test_products_are_those_of_tapes(case):
    model, x, y, gradients = case
    diagonal = flat(drawn(weight) for weight in model.trainable_weights)
    expected = gradients * diagonal @ gradients.T
    given = {"loss": SOFTMAX, "preconditioner": drawn}
    assert relative_error(gradient_gram(model, x, y, **given), expected) < 1e-5
    assert relative_error(gradient_gram(model, x[:2], y[:2], x[2:], y[2:], **given), expected[:2, 2:]) < 1e-5
    layered = gradient_gram(model, x, y, per_layer=True, **given)
    assert relative_error(sum(layered.values()), expected) < 1e-5
    sizes = [int(np.prod(weight.shape)) for weight in model.trainable_weights]
    ends = np.cumsum([0, *sizes])
    for layer, found in layered.items():
        own = [place for place, weight in enumerate(model.trainable_weights) if weight.path.rpartition("/")[0] == layer]
        columns = np.concatenate([np.arange(ends[place], ends[place + 1]) for place in own])
        part = gradients[:, columns] * diagonal[columns] @ gradients[:, columns].T
        assert np.abs(found - part).max() <= 1e-5 * np.abs(expected).max()


def test_formed_gradients_in_turn(monkeypatch):
    rng = np.random.default_rng(0)
    first, second, diagonal = rng.normal(size=(5, 17)), rng.normal(size=(4, 17)), rng.uniform(0.1, 9, 17)
    diagonals = scaled_products.Diagonals((tf.constant(diagonal),), ())
    for num_bytes in (1, 8 * 5 * 4):  # one entry at a time, and four
        monkeypatch.setattr(scaled_products, "_BYTES_IN_TURN", num_bytes)
        sides = [((tf.constant(side),), ()) for side in (first, second)]
        np.testing.assert_allclose(
            scaled_products.scaled_products(*sides, diagonals=diagonals), first * diagonal @ second.T
        )
        factors = GradientFactors(sides[0][0], (), *[tf.zeros(5, tf.float64)] * 4)
        np.testing.assert_allclose(scaled_products.scaled_squared_norms(factors, diagonals), first**2 @ diagonal)


@pytest.mark.parametrize("method", ["vectorized", "loop"])
def test_every_method_gives_the_same(method):
    keras.utils.set_random_seed(0)
    model, (x, y) = dense_net(), labelled((4,))
    given = {"loss": SOFTMAX, "preconditioner": drawn}
    expected = gradient_gram(model, x, y, **given)
    assert relative_error(gradient_gram(model, x, y, method=method, **given), expected) < 1e-5


def test_of_some_weights_alone():
    keras.utils.set_random_seed(0)
    model, (x, y) = dense_net(), labelled((4,))
    layered = gradient_gram(model, x, y, loss=SOFTMAX, preconditioner=drawn, per_layer=True)
    (last,) = {weight.path.rpartition("/")[0] for weight in model.layers[-1].weights}
    found = gradient_gram(model, x, y, loss=SOFTMAX, preconditioner=drawn, weights="head")
    assert relative_error(found, layered[last]) < 1e-5


def test_identity_and_scale():
    keras.utils.set_random_seed(0)
    model, (x, y) = dense_net(), labelled((4,))
    plain = gradient_gram(model, x, y, loss=SOFTMAX)
    for factor in (1.0, 1e-30, 1e30):  # whose squares are no number in single precision
        found = gradient_gram(model, x, y, loss=SOFTMAX, preconditioner=lambda w, f=factor: np.full(w.shape, f))
        assert relative_error(found / np.float32(factor), plain) < 1e-5


OPTIMIZERS = {
    "adam": lambda: optimizers.Adam(1e-3),
    "large epsilon": lambda: optimizers.Adam(1e-3, beta_1=0.5, epsilon=0.1),
    "amsgrad": lambda: optimizers.Adam(1e-3, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(1e-3, weight_decay=0.1),
    "nadam": lambda: optimizers.Nadam(1e-3),
    "adamax": lambda: optimizers.Adamax(1e-3),
    "rmsprop": lambda: optimizers.RMSprop(1e-3),
    "rmsprop with momentum": lambda: optimizers.RMSprop(1e-3, momentum=0.9),
    "centred": lambda: optimizers.RMSprop(1e-3, centered=True, epsilon=1e-3),
    "adagrad": lambda: optimizers.Adagrad(1e-3),
    "adadelta": lambda: optimizers.Adadelta(1e-3),
    "sgd": lambda: optimizers.SGD(1e-3),
    "momentum": lambda: optimizers.SGD(1e-3, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
}
STEPS = 4


def trained(name, **layer):
    """A model in double precision, so that small steps show, with the state of a few steps."""
    keras.utils.set_random_seed(0)
    model = sequential((4,), layers.Dense(6, activation="tanh", **layer), layers.Dense(3, **layer))
    model.compile(OPTIMIZERS[name](), SOFTMAX, run_eagerly=True)
    x, y = labelled((4,), count=24)
    for step in range(STEPS):
        some = slice(6 * step, 6 * step + 6)
        model.train_on_batch(x[some], y[some])
    return model, x, y


def held_update(model, gradients):
    """What Keras' own update adds to each weight for `gradients`, with what it remembers of squares held.

    What is remembered is set back, so that it is, after the update, what it is now.
    """
    optimizer = model.optimizer
    copies = [keras.Variable(weight.numpy(), dtype=weight.dtype, trainable=True) for weight in model.trainable_weights]
    twin = type(optimizer).from_config(optimizer.get_config())
    twin.build(copies)
    config, slots = optimizer.get_config(), {}
    for copied, variable in zip(twin.variables, optimizer.variables, strict=True):
        copied.assign(variable)
        slots.setdefault(variable.path.rpartition("_")[2], []).append((copied, variable.numpy()))
    twin.iterations.assign(STEPS - 1)
    fading = config.get("beta_2", config.get("rho"))
    backwards = {
        "velocity": lambda now, g: (now - (1 - fading) * g**2) / fading,
        "gradient": lambda now, g: (now - (1 - fading) * g) / fading,  # average_gradient
        "grad": lambda now, g: (now - (1 - fading) * g**2) / fading,  # accumulated_grad
        "accumulator": lambda now, g: now - g**2,
        "norm": lambda now, g: now / fading,
    }
    for kind, back in backwards.items():
        for (copied, now), gradient in zip(slots.get(kind, []), gradients, strict=kind in slots):
            copied.assign(back(now, gradient))
    twin.apply([tf.constant(gradient) for gradient in gradients], copies)
    for kind in backwards:
        for copied, now in slots.get(kind, []):
            np.testing.assert_allclose(
                copied.numpy(), now, rtol=1e-6
            )  # it was held, with Nadam's β₂ in single precision
    return [copy.numpy() - weight.numpy() for copy, weight in zip(copies, model.trainable_weights, strict=True)]


def by_weight(model, gradient):
    shapes = [tuple(weight.shape) for weight in model.trainable_weights]
    ends = np.cumsum([0, *map(np.prod, shapes)]).astype(int)
    return [gradient[start:stop].reshape(shape) for start, stop, shape in zip(ends, ends[1:], shapes, strict=False)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_diagonal_is_that_of_keras_own_update(name):
    """The step of an example's gradient, less the step that is taken anyway, of momentum and of decay."""
    model, x, y = trained(name, dtype="float64")
    variables = [*model.variables, *model.optimizer.variables]
    values = [variable.numpy().copy() for variable in variables]
    diagonal = flat(diagonal_of(model, "optimizer").parts) * diagonal_of(model, "optimizer").unit
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)  # left as it is
    gradient = 1e-3 * reference_gradients(model, x[:1], y[:1], SOFTMAX)[0]
    anyway = flat(held_update(model, by_weight(model, 0 * gradient)))
    factor = (flat(held_update(model, by_weight(model, gradient))) - anyway) / (diagonal * gradient)
    np.testing.assert_allclose(factor, factor.mean(), rtol=1e-6)
    config = model.optimizer.get_config()
    if name == "nadam":
        assert factor.mean() < 0
        return
    share = (1 - config["beta_1"]) / (1 - config["beta_1"] ** STEPS) if "beta_1" in config else 1.0
    share *= 1.9 if name == "nesterov" else 1.0
    # Keras takes β₂ in single precision: 1 - β₂ᵗ, of all entries alike, is then off by 1.3e-5.
    np.testing.assert_allclose(factor.mean(), -1e-3 * share, rtol=2e-5)


@pytest.mark.parametrize("name", ["adam", "centred", "adagrad", "momentum"])
def test_signs_are_those_of_real_one_example_steps(name):
    model, x, y = trained(name, dtype="float64")
    x, y = x[:12], y[:12]
    gram = gradient_gram(model, x, y, preconditioner="optimizer", precision="float64")
    norms = np.sqrt(np.diag(gram))
    gradients = reference_gradients(model, x, y, SOFTMAX)
    diagonal = flat(diagonal_of(model, "optimizer").parts) * diagonal_of(model, "optimizer").unit
    assert relative_error(gram, gradients * diagonal @ gradients.T) < 1e-9
    model.optimizer.learning_rate.assign(1e-6)
    weights = model.get_weights()

    def losses_after(gradient):
        update = held_update(model, by_weight(model, gradient))
        model.set_weights([weight + change for weight, change in zip(weights, update, strict=True)])
        found = SOFTMAX.call(y, model(x)).numpy()
        model.set_weights(weights)
        return found

    anyway = losses_after(0 * gradients[0])
    changes = np.array([losses_after(gradient) - anyway for gradient in 1e-3 * gradients])
    decided = np.abs(gram / np.outer(norms, norms)) > 0.01
    assert decided.mean() > 0.8
    assert (np.sign(changes) == -np.sign(gram))[decided].mean() >= 0.99
    plain = np.sign(gradients @ gradients.T) == np.sign(gram)
    assert name == "momentum" or plain[decided].mean() < 0.99  # which those of plain products are not


def test_what_scales_losses_is_taken_off():
    model, x, y = trained("adam")
    expected = gradient_gram(model, x, y, preconditioner="optimizer")
    inner = model.optimizer
    model.compile(optimizers.LossScaleOptimizer(inner), SOFTMAX)
    np.testing.assert_array_equal(gradient_gram(model, x, y, preconditioner="optimizer"), expected)


class Own(optimizers.Adam):
    def update_step(self, gradient, variable, learning_rate):
        variable.assign_sub(learning_rate * tf.sign(gradient))


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        (optimizers.Lion, "Lion has no diagonal(.|\n)*sign of a mean(.|\n)*Adam(.|\n)*Give a function"),
        (optimizers.Ftrl, "Ftrl has no diagonal(.|\n)*solved for"),
        (optimizers.Adafactor, "Adafactor has no diagonal"),
        (optimizers.Lamb, "Lamb has no diagonal"),
        (Own, "Own has no diagonal(.|\n)*none that is known"),
    ],
)
def test_optimizers_without_a_diagonal(optimizer, text):
    model, (x, y) = dense_net(), labelled((4,))
    model.compile(optimizer(), SOFTMAX, run_eagerly=True)
    model.train_on_batch(x, y)
    with pytest.raises(InvalidInput, match=text):
        gradient_gram(model, x, y, preconditioner="optimizer")


def test_no_optimizer_or_none_that_has_stepped_or_knows_the_weights():
    model, (x, y) = dense_net(), labelled((4,))
    with pytest.raises(InvalidInput, match="no optimizer"):
        gradient_gram(model, x, y, loss=SOFTMAX, preconditioner="optimizer")
    model.compile("adam", SOFTMAX)
    assert not has_diagonal(model, "optimizer")
    assert has_diagonal(model, "none")
    assert has_diagonal(model, drawn)
    with pytest.raises(InvalidInput, match=r"has not taken a step(.|\n)*Adam with iterations = 0"):
        gradient_gram(model, x, y, preconditioner="optimizer")
    model.layers[0].trainable = False
    model.compile("adam", SOFTMAX)
    model.train_on_batch(x, y)
    assert has_diagonal(model, "optimizer")
    gradient_gram(model, x, y, preconditioner="optimizer")
    model.layers[0].trainable = True
    with pytest.raises(InvalidInput, match="keeps nothing for the weight"):
        gradient_gram(model, x, y, preconditioner="optimizer")
    with pytest.raises(InvalidInput, match="no trainable weights yet"):
        gradient_gram(keras.Sequential([layers.Dense(3)]), x, y, loss=SOFTMAX, preconditioner=drawn)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("adam", "Unknown preconditioner(.|\n)*none | optimizer"),
        ("optimiser", "Did you mean optimizer"),
        (3, "Unknown preconditioner"),
        (lambda weight: np.ones(3), "does not have the weight's shape"),
        (lambda weight: 1.0, "does not have the weight's shape"),
        (lambda weight: "ones", "is not an array"),
        (lambda weight: np.zeros(weight.shape), "not a number above 0"),
        (lambda weight: -np.ones(weight.shape), "not a number above 0"),
        (lambda weight: np.full(weight.shape, np.nan), "not a number above 0"),
    ],
)
def test_bad_input(given, text):
    model, (x, y) = dense_net(), labelled((4,))
    with pytest.raises(InvalidInput, match=text):
        gradient_gram(model, x, y, loss=SOFTMAX, preconditioner=given)


def test_a_callable_may_give_tensors_and_variables():
    model, (x, y) = dense_net(), labelled((4,))
    expected = gradient_gram(model, x, y, loss=SOFTMAX)
    for given in (lambda weight: tf.ones(weight.shape), lambda weight: keras.Variable(np.ones(weight.shape))):
        found = gradient_gram(model, x, y, loss=SOFTMAX, preconditioner=given)
        assert relative_error(found, expected) < 1e-6


def test_what_an_optimizer_keeps_for_a_weight():
    model, x, _ = trained("adam")
    kernel = model.trainable_weights[0]
    found = _keras.optimizer_slot(model.optimizer, "velocities", kernel)
    assert tuple(found.shape) == tuple(kernel.shape)
    assert found.path.endswith("velocity")
    assert _keras.optimizer_slot(model.optimizer, "accumulators", kernel) is None
    assert _keras.optimizer_slot(model.optimizer, "velocities", keras.Variable(x)) is None
    assert Preconditioner(model, "optimizer").is_ready
