"""Properties that the Gram matrix and the gradients have whatever the model, and how a plan is kept."""

import gc
import weakref

import keras
import numpy as np
import pytest
from oracles import relative_error
from scaled_products import gradient_products
from small_models import SOFTMAX, dense_net, labelled, sequential

from tfstiff.gradients import METHODS, gradient_gram, per_example_gradients, plan
from tfstiff.gradients.gram import gram_of
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for

layers = keras.layers


def image_net():
    """Weights in both forms: formed (convolution, biases) and not (the Dense kernels)."""
    return sequential(
        (6, 5, 2),
        layers.Conv2D(3, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(4, activation="relu"),
        layers.Dense(3),
    )


@pytest.fixture
def model():
    return image_net()


@pytest.fixture
def data():
    return labelled((6, 5, 2), 40)


def gram(model, x, y, *others, **options):
    return gradient_gram(model, x, y, *others, loss=SOFTMAX, **options)


def close(found, expected, tolerance=1e-6):
    return relative_error(found, expected.astype(float)) < tolerance


@pytest.mark.parametrize("method", METHODS)
def test_products_of_the_gradients(model, data, method):
    gradients = per_example_gradients(model, *data, loss=SOFTMAX, method=method).astype(float)
    assert gradients.shape == (40, model.count_params())
    assert close(gram(model, *data, method=method), gradients @ gradients.T)


@pytest.mark.parametrize("method", METHODS)
def test_rectangular_is_a_block_of_the_square(model, data, method):
    x, y = data
    square = gram(model, x, y, method=method)
    block = gram(model, x[:15], y[:15], x[15:], y[15:], method=method)
    assert block.shape == (15, 25)
    assert close(block, square[:15, 15:])
    assert close(gram(model, x[15:], y[15:], x[:15], y[:15], method=method), square[15:, :15])


@pytest.mark.parametrize("method", METHODS)
def test_symmetric_to_the_last_bit(model, data, method, monkeypatch):
    monkeypatch.setattr(plan, "_CHUNK_SIZES", dict.fromkeys(METHODS, 13))
    square = gram(model, *data, method=method)
    np.testing.assert_array_equal(square, square.T)
    assert np.linalg.eigvalsh(square.astype(float)).min() > -1e-5 * np.abs(square).max()


def test_a_product_whose_rounding_is_not_symmetric(model, data):
    """Not every machine's matrix product rounds (i, j) as (j, i)."""
    plan = plan_for(model, *data, loss=SOFTMAX)
    factors = plan.factors(*data)
    skew = np.triu(np.full((40, 40), 0.5, "float32"), 1)
    found = gram_of(lambda *arguments: plan.products(*arguments) + skew, [factors])
    np.testing.assert_array_equal(found, found.T)
    assert np.abs(found - gram_of(plan.products, [factors])).max() < 0.26


def test_the_order_of_examples_does_not_matter(model, data):
    x, y = data
    order = np.random.default_rng(3).permutation(40)
    assert close(gram(model, x[order], y[order]), gram(model, x, y)[np.ix_(order, order)])
    found = per_example_gradients(model, x[order], y[order], loss=SOFTMAX)
    assert close(found, per_example_gradients(model, x, y, loss=SOFTMAX)[order])


@pytest.mark.parametrize("size", [1, 3, 7, 39, 40, 41])
def test_the_size_of_chunks_does_not_matter(model, data, size, monkeypatch):
    x, y = data
    whole = gram(model, x, y)
    gradients = per_example_gradients(model, x, y, loss=SOFTMAX)
    block = gram(model, x[:11], y[:11], x[11:], y[11:])
    monkeypatch.setattr(plan, "_CHUNK_SIZES", dict.fromkeys(METHODS, size))
    assert close(gram(model, x, y), whole)
    assert close(per_example_gradients(model, x, y, loss=SOFTMAX), gradients)
    assert close(gram(model, x[:11], y[:11], x[11:], y[11:]), block)


def test_losses_and_predictions_of_the_same_pass(model, data):
    x, y = data
    found = gradient_products(model, x, y, loss=SOFTMAX)
    assert close(found.predictions, model(x).numpy())
    assert close(found.losses, SOFTMAX.call(y, model(x)).numpy())
    assert (found.scales > 0).all()
    assert close(found.gram / np.outer(found.scales, found.scales), gram(model, x, y))


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_in_the_order_of_the_weights(model, data, method):
    """Freezing all weights but one leaves that one's columns."""
    x, y = data
    gradients = per_example_gradients(model, x, y, loss=SOFTMAX, method=method)
    ends = np.cumsum([0] + [np.prod(weight.shape) for weight in model.trainable_weights])
    assert len(ends) == 7
    for index, weight in enumerate(model.trainable_weights):
        others = [other for other in model.trainable_weights if other is not weight]
        for other in others:
            other.trainable = False
        alone = per_example_gradients(model, x, y, loss=SOFTMAX, method=method)
        for other in others:
            other.trainable = True
        assert close(alone, gradients[:, ends[index] : ends[index + 1]])


@pytest.mark.parametrize("forms", [0, 10**9])
def test_formed_or_not_is_the_same(data, forms, monkeypatch):
    """Whichever form is the cheaper one."""
    from tfstiff.gradients import factors

    model = image_net()
    expected = gram(model, *data, method="loop")
    monkeypatch.setattr(factors, "ELEMENTWISE_COST", forms)
    monkeypatch.setattr(factors.Outer, "is_cheaper_unformed", lambda self, count: forms == 0)
    assert close(gram(model, *data), expected)
    layout = plan_for(model, *data, loss=SOFTMAX).parts[0].layout
    assert len(layout.outers) == (2 if forms == 0 else 0)


def traces(plan):
    part = plan.parts[0]
    functions = plan.products, getattr(part, "trace", part.compute)
    return [function.experimental_get_tracing_count() for function in functions]


@pytest.mark.parametrize("method", ["auto", "structured", "vectorized", "jacobian"])
def test_a_second_measurement_traces_nothing(method):
    model = dense_net()
    x, y = labelled((4,), 501)
    gram(model, x[:250], y[:250], method=method)
    gram(model, x[:7], y[:7], method=method)  # now the sizes are known to vary
    plan = plan_for(model, x, y, GradientOptions(method=method), loss=SOFTMAX)
    counted = traces(plan)
    assert counted[1] == 1
    assert counted[0] <= 3
    expected = gram(dense_net(), x, y)
    for count in (1, 7, 250, 251, 501):
        found = gram(model, x[:count], y[:count], method=method)
        assert found.shape == (count, count)
    assert traces(plan) == counted
    assert plan_for(model, x, y, GradientOptions(method=method), loss=SOFTMAX) is plan
    assert expected.shape == found.shape


def test_what_is_computed_apart_is_multiplied_together(monkeypatch):
    """Where memory is short, few gradients are computed at a time; but pairs of tiles would form them many times."""
    x, y = labelled((7, 5), 40)
    model = keras.Sequential(
        [keras.Input((7, 5)), keras.layers.Dense(6), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    expected = gram(model, x, y)
    plan = plan_for(model, x, y, loss=SOFTMAX)
    held, working = plan.bytes_per_example()
    sizes, computed, multiplied = [], plan.factors, []
    plan.__dict__["_free"] = 40 * held + 7 * (2 * held + working)
    monkeypatch.setattr(plan, "factors", lambda *chunk: sizes.append(len(chunk[0])) or computed(*chunk))
    products = plan.products
    monkeypatch.setattr(plan, "products", lambda *sides: multiplied.append(len(sides)) or products(*sides))
    found = gram(model, x, y)
    assert len(sizes) == 6
    assert max(sizes) <= 7
    assert len(multiplied) == 1
    assert close(found, expected)


def test_later_weights_are_used(model, data):
    before = gram(model, *data)
    model.layers[-1].kernel.assign(2 * model.layers[-1].kernel)
    after = gram(model, *data)
    assert not close(after, before)
    assert close(after, gram(model, *data, method="loop"))


def test_the_plan_is_made_anew_where_something_changed(model, data):
    x, y = data
    first = plan_for(model, x, y, loss=SOFTMAX)
    assert plan_for(model, x, y, loss=SOFTMAX) is first
    assert plan_for(model, x, y, loss="mse") is not first
    assert plan_for(model, x, y, loss="".join(["m", "se"])) is plan_for(model, x, y, loss="".join(["m", "se"]))
    assert plan_for(model, x, y.astype("int32"), loss=SOFTMAX) is not first
    assert plan_for(model, x, y, GradientOptions(method="loop"), loss=SOFTMAX) is not first
    model.layers[0].trainable = False
    frozen = plan_for(model, x, y, loss=SOFTMAX)
    assert frozen is not first
    assert len(frozen.weights) == len(first.weights) - 2
    model.layers[0].trainable = True
    assert plan_for(model, x, y, loss=SOFTMAX) is first


def test_a_model_compiled_anew_is_measured_with_the_new_loss(model, data):
    x, y = data
    model.compile(loss=SOFTMAX)
    by_softmax = gradient_gram(model, x, y)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=None))
    assert close(gradient_gram(model, x, y), by_softmax)
    model.compile(loss=lambda y, prediction: 2 * SOFTMAX.call(y, prediction))
    assert close(gradient_gram(model, x, y), 4 * by_softmax)


def test_freezing_leaves_the_rest(model, data):
    x, y = data
    gradients = per_example_gradients(model, x, y, loss=SOFTMAX)
    model.layers[0].trainable = False
    frozen = per_example_gradients(model, x, y, loss=SOFTMAX)
    assert close(frozen, gradients[:, -frozen.shape[1] :])
    assert gradients.shape[1] - frozen.shape[1] == 3 * 3 * 2 * 3 + 3


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("compiled", [False, True])
def test_the_plan_does_not_keep_the_model_alive(data, method, compiled):
    model = image_net()
    if compiled:
        model.compile("adam", loss=SOFTMAX)
    gradient_gram(model, *data, loss=None if compiled else SOFTMAX, method=method)
    alive = weakref.ref(model)
    assert model in plan._plans
    del model
    gc.collect()
    assert alive() is None


def test_equal_losses_share_a_plan(model, data):
    sparse = keras.losses.SparseCategoricalCrossentropy
    first = plan.plan_for(model, *data, loss=sparse(from_logits=True))
    assert plan.plan_for(model, *data, loss=sparse(from_logits=True)) is first
    assert plan.plan_for(model, *data, loss=sparse(from_logits=False)) is not first

    class Own(sparse):
        pass

    own = [plan.plan_for(model, *data, loss=Own(from_logits=True)) for _ in range(2)]
    assert own[0] is not own[1]  # its settings may not tell everything
    functions = [lambda y, p: sparse(from_logits=True).call(y, p) for _ in range(2)]
    assert plan.plan_for(model, *data, loss=functions[0]) is not plan.plan_for(model, *data, loss=functions[1])


def test_measuring_changes_no_weight_and_draws_no_random_number(model, data):
    weights = model.get_weights()
    state, keras_seed = np.random.get_state()[1].copy(), keras.random.uniform((3,), seed=1)
    gram(model, *data)
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.testing.assert_array_equal(keras.random.uniform((3,), seed=1), keras_seed)
