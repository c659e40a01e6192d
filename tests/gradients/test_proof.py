"""The proof at run time: each way in which gradients can come out wrong is caught, and nothing else is refused."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracles import float64_twin, reference_gradients, relative_error
from small_models import SOFTMAX, Centred, Gated, Weighted, dense_net, labelled, sequential

from tfstiff.errors import InvalidInput, UnsupportedModel
from tfstiff.gradients import (
    METHODS,
    evidence,
    gradient_gram,
    operations,
    per_example_gradients,
    products,
    proof,
    proved_parts,
    structured,
)
from tfstiff.gradients.evidence import Examiner
from tfstiff.gradients.factors import Outer
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for

layers = keras.layers


def oracle(build, model, x, y):
    gradients = reference_gradients(float64_twin(build, model), x, y, SOFTMAX)
    return gradients @ gradients.T


def wrong_factor(use):
    right = RIGHT(use)
    return Outer(1.01 * right.rows, right.columns)


def wrong_sign(use):
    right = RIGHT(use)
    return Outer(-right.rows, right.columns)


def wrong_example(use):
    """Rows reversed along the batch: the sum over examples is still right."""
    right = RIGHT(use)
    return Outer(tf.reverse(right.rows, [0]), tf.reverse(right.columns, [0]))


def wrong_entries(use):
    """The entries of each gradient in another order."""
    return tf.reverse(RIGHT(use).formed(), [1])


def too_many_rows(use):
    right = RIGHT(use).formed()
    return tf.concat([right, right], 0)


def not_finite(use):
    right = RIGHT(use)
    return Outer(right.rows * np.nan, right.columns)


RIGHT = operations._RULES["MatMul"]
WRONG = {
    wrong_factor: "do not sum",
    wrong_sign: "do not sum",
    wrong_example: "not each example's own",
    wrong_entries: "do not sum",
    too_many_rows: "rows are not laid out",
    not_finite: "do not sum",
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_rule_takes_the_generic_path(rule, register):
    register("MatMul", overwrite=True)(rule)
    model = dense_net()
    x, y = labelled((4,), 12)
    with pytest.warns(UserWarning, match=f"kernel: .*({WRONG[rule]})"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, oracle(dense_net, model, x, y)) < 1e-5


@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_rule_is_refused_where_no_other_path_is_wanted(rule, register):
    register("MatMul", overwrite=True)(rule)
    model = dense_net()
    x, y = labelled((4,), 12)
    for _ in range(2):  # the second call must not use what the first refused
        with pytest.raises(UnsupportedModel, match="kernel"):
            gradient_gram(model, x, y, loss=SOFTMAX, method="structured")


def test_rows_that_do_not_fit_send_their_own_weight_alone_to_the_generic_path(register):
    def only_first_wrong(use):
        return too_many_rows(use) if use.weight.shape == (4, 5) else RIGHT(use)

    register("MatMul", overwrite=True)(only_first_wrong)
    model = dense_net()
    x, y = labelled((4,), 12)
    with pytest.warns(UserWarning, match=r"vectorized \(sequential\S*/dense\S*/kernel: rows are not laid out"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert plan_for(model, x, y, loss=SOFTMAX)._generic.keys() == {0}
    assert relative_error(gram, oracle(dense_net, model, x, y)) < 1e-5


def test_one_example_is_no_proof(register):
    """A rule that gives rows to the wrong example is right on one."""
    register("MatMul", overwrite=True)(wrong_example)
    model = dense_net()
    x, y = labelled((4,), 12)
    expected = oracle(dense_net, model, x, y)
    assert relative_error(gradient_gram(model, x[:1], y[:1], loss=SOFTMAX), expected[:1, :1]) < 1e-5
    with pytest.warns(UserWarning, match="not each example's own"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, expected) < 1e-5


def test_rows_given_to_the_wrong_example_that_sum_right(register):
    """Under a loss whose gradient is as large for every example, not even the scales differ."""

    def build():
        return sequential((4,), layers.Dense(5, activation="tanh"), layers.Dense(1))

    def absolute(y, prediction):
        return tf.reduce_sum(tf.abs(tf.cast(y, prediction.dtype) - prediction), -1)

    register("MatMul", overwrite=True)(wrong_example)
    model = build()
    x, y = labelled((4,), 12)
    y = 10.0 * np.sign(y - 0.5)[:, None]
    with pytest.warns(UserWarning, match="kernel: per-example gradients are not each example's own"):
        gram = gradient_gram(model, x, y, loss=absolute)
    gradients = reference_gradients(float64_twin(build, model), x, y, absolute)
    assert relative_error(gram, gradients @ gradients.T) < 1e-5


@pytest.mark.parametrize("missed", range(4))
def test_a_missed_use(missed, monkeypatch):
    found = structured.find_uses

    def find_uses(*arguments):
        sites = found(*arguments)
        assert len(sites) == 4
        return sites[:missed] + sites[missed + 1 :]

    monkeypatch.setattr(structured, "find_uses", find_uses)
    model = dense_net()
    x, y = labelled((4,), 12)
    with pytest.warns(UserWarning, match="do not sum"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, oracle(dense_net, model, x, y)) < 1e-5


def test_a_missed_use_of_several(monkeypatch):
    def build():
        shared = layers.Dense(4, activation="tanh")
        return sequential((4,), shared, shared, layers.Dense(3))

    found = structured.find_uses
    monkeypatch.setattr(structured, "find_uses", lambda *arguments: found(*arguments)[1:])
    model = build()
    x, y = labelled((4,), 12)
    with pytest.warns(UserWarning, match="do not sum"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, oracle(build, model, x, y)) < 1e-5


def gated_net():
    return sequential((4,), Gated(), layers.Dense(3))


def test_a_zero_gradient_proves_nothing_until_the_gate_opens():
    model = gated_net()
    x, y = labelled((4,), 12)
    plan = plan_for(model, x, y, loss=SOFTMAX)
    inner = [weight.name for weight in model.trainable_weights].index("inner")
    assert gradient_gram(model, x, y, loss=SOFTMAX).any()
    assert plan._unproved == {inner}
    model.layers[0].gate.assign(0.5)
    gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert plan._unproved == set()
    assert relative_error(gram, oracle(gated_net, model, x, y)) < 1e-5


@pytest.mark.filterwarnings("error")
def test_a_wrong_rule_behind_a_gate_is_caught_when_it_opens(register):
    def only_inner_wrong(use):
        return wrong_example(use) if use.weight.shape == (4, 4) else RIGHT(use)

    register("MatMul", overwrite=True)(only_inner_wrong)
    model = gated_net()
    x, y = labelled((4,), 12)
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), oracle(gated_net, model, x, y)) < 1e-5
    model.layers[0].gate.assign(0.5)
    with pytest.warns(UserWarning, match="inner: per-example gradients are not"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, oracle(gated_net, model, x, y)) < 1e-5


def test_a_wrong_rule_that_only_the_other_examples_show(register):
    """The plan is laid out anew by the proof on x2, after x has passed its own."""

    def build():
        return sequential((4,), layers.Dense(4, use_bias=False), layers.Dense(3))

    def only_first_wrong(use):
        return wrong_example(use) if use.weight.shape == (4, 4) else RIGHT(use)

    register("MatMul", overwrite=True)(only_first_wrong)
    model = build()
    x, y = labelled((4,), 12)
    x[:5] = 0
    with pytest.warns(UserWarning, match="not each example's own"):
        gram = gradient_gram(model, x[:5], y[:5], x[5:], y[5:], loss=SOFTMAX)
    assert relative_error(gram, oracle(build, model, x, y)[:5, 5:]) < 1e-5


def centred_loss(y, prediction):
    values = SOFTMAX.call(y, prediction)
    return values - 0.5 * tf.reduce_mean(values) ** 2


INTERACTING = {
    "layer": (lambda: sequential((4,), layers.Dense(5), Centred(), layers.Dense(3)), SOFTMAX),
    "loss": (dense_net, centred_loss),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", INTERACTING)
def test_examples_that_interact(where, method):
    build, loss = INTERACTING[where]
    model = build()
    x, y = labelled((4,), 12)
    gradient_gram(model, x[:1], y[:1], loss=loss, method=method)  # one alone has nothing to interact with
    for _ in range(2):
        with pytest.raises(UnsupportedModel, match="changing the other examples of a batch changes the loss"):
            gradient_gram(model, x, y, loss=loss, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_a_diverged_model(method):
    model = dense_net()
    x, y = labelled((4,), 12)
    model.layers[0].kernel.assign(np.full((4, 5), np.nan))
    assert np.isnan(gradient_gram(model, x, y, loss=SOFTMAX, method=method)).all()


def test_what_a_diverged_model_did_not_prove_is_proved_later(register):
    register("MatMul", overwrite=True)(wrong_factor)
    model = dense_net()
    x, y = labelled((4,), 12)
    weights = model.get_weights()
    model.set_weights([np.full_like(weight, np.nan) for weight in weights])
    assert np.isnan(gradient_gram(model, x, y, loss=SOFTMAX)).all()
    model.set_weights(weights)
    with pytest.warns(UserWarning, match="do not sum"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, oracle(dense_net, model, x, y)) < 1e-5


def wide_net():
    """So wide that factors are cheaper than gradients that are formed."""
    return sequential((30,), layers.Dense(30, activation="tanh"), layers.Dense(30), layers.Dense(3))


def wrong_products(first, second, known=()):
    return 1.01 * products.products(first, second, known)


@pytest.mark.filterwarnings("error")
def test_products_that_are_not_those_of_the_gradients(monkeypatch):
    """Formed they are right; only the sums that measurements are made of are not."""
    model = wide_net()
    x, y = labelled((30,), 12)
    monkeypatch.setattr(evidence, "products", wrong_products)
    with pytest.raises(UnsupportedModel, match=r"kernel.*products differ from those of the gradients"):
        gradient_gram(model, x, y, loss=SOFTMAX, method="structured")


@pytest.mark.filterwarnings("error")
def test_squared_lengths_that_are_not_those_of_the_gradients(monkeypatch):
    right = structured.squared_norms
    monkeypatch.setattr(structured, "squared_norms", lambda *factors: 1.01 * right(*factors))
    model = wide_net()
    x, y = labelled((30,), 12)
    with pytest.raises(UnsupportedModel, match="squared lengths differ"):
        gradient_gram(model, x, y, loss=SOFTMAX, method="structured")


@pytest.mark.parametrize("form", ["formed", "outers"])
def test_a_weight_that_is_in_the_products_twice(form):
    model = wide_net()
    x, y = labelled((30,), 12)
    plan = plan_for(model, x, y, loss=SOFTMAX)
    part = plan.parts[0]
    layout = part.layout
    weights = layout.outers[0]
    size = sum(layout.sizes[weight] for weight in weights)

    def more(trace):
        factors = trace.factors
        again = factors.outers[0] if form == "outers" else tf.zeros([tf.shape(factors.losses)[0], size])
        return trace._replace(factors=factors._replace(**{form: (*getattr(factors, form), again)}))

    doubled = layout._replace(**{form: (*getattr(layout, form), weights)})
    with part.traced.factors.losses.graph.as_default():
        traced = more(part.traced)
    candidate = SimpleNamespace(
        layout=doubled,
        traced=traced,
        trace=lambda *arguments: more(part.trace(*arguments)),
        **{name: getattr(part, name) for name in ("signature", "apart", "differentiated")},
    )
    checked = proof.Proof(candidate, [weight.shape for weight in model.trainable_weights])
    verdict = checked.compare(range(len(layout.sizes)), *proof.drawn(x, y, 0), seed=0)
    assert {verdict.wrong[weight] for weight in weights} == {"it is in the products twice"}


class TwoOutputs(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(x), self.dense(x)


def frozen_net():
    model = dense_net()
    model.trainable = False
    return model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("build", "loss", "message"),
    [
        (dense_net, None, "no loss"),
        (dense_net, "no_such_loss", "not known"),
        (dense_net, lambda y, prediction: tf.reduce_mean(prediction) ** 2, "one value for the whole batch"),
        (frozen_net, SOFTMAX, "no trainable weights"),
        (TwoOutputs, [None, None], "No output of the model has a loss"),
        (TwoOutputs, [SOFTMAX], "do not match"),
        (TwoOutputs, [SOFTMAX, SOFTMAX, SOFTMAX], "do not match"),
        (TwoOutputs, {"one": SOFTMAX}, "do not match"),
        (lambda: layers.Dense(3), SOFTMAX, "Only Keras 3 models"),
        (lambda: lambda x: x, SOFTMAX, "Only Keras 3 models"),
    ],
)
def test_what_cannot_be_measured(build, loss, message, method):
    with pytest.raises(UnsupportedModel, match=message):
        gradient_gram(build(), *labelled((4,)), loss=loss, method=method)


def test_unusable_arguments():
    model = dense_net()
    x, y = labelled((4,))
    with pytest.raises(InvalidInput, match="Unknown method"):
        gradient_gram(model, x, y, loss=SOFTMAX, method="fast")
    with pytest.raises(InvalidInput, match="Unknown precision"):
        gradient_gram(model, x, y, loss=SOFTMAX, precision="float16")
    with pytest.raises(InvalidInput, match="same number of examples"):
        gradient_gram(model, x, y[:-1], loss=SOFTMAX)
    with pytest.raises(InvalidInput, match="same number of examples"):
        per_example_gradients(model, x[:0], y[:0], loss=SOFTMAX)
    with pytest.raises(InvalidInput, match="both x2 and y2"):
        gradient_gram(model, x, y, x, loss=SOFTMAX)
    with pytest.raises(InvalidInput, match="both x2 and y2"):
        gradient_gram(model, x, y, y2=y, loss=SOFTMAX)
    with pytest.raises(InvalidInput, match="like x and y"):
        gradient_gram(model, x, y, x.astype(float), y, loss=SOFTMAX)


def test_a_vectorised_product_that_corrupts_memory_is_not_run(monkeypatch):
    """tensorflow issue 117700: `vectorized` refuses it, `auto` takes the loop for what has no rule."""

    def build():
        return sequential((3, 4), Weighted(tf.matmul, (4, 5)), layers.Flatten(), layers.Dense(3))

    model = build()
    x, y = labelled((3, 4))
    with pytest.raises(UnsupportedModel, match="117700"):
        gradient_gram(model, x, y, loss=SOFTMAX, method="vectorized")
    rules = {name: rule for name, rule in operations._RULES.items() if not name.startswith("BatchMatMul")}
    monkeypatch.setattr(operations, "_RULES", rules)
    with pytest.warns(UserWarning, match="slower path loop .*weight: no rule for the operation BatchMatMul"):
        gram = gradient_gram(model, x, y, loss=SOFTMAX)
    assert relative_error(gram, oracle(build, model, x, y)) < 1e-5


class Attention(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.attention = layers.MultiHeadAttention(2, 3)

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return x + self.attention(x, x)


@pytest.mark.filterwarnings("error")
def test_a_gradient_that_is_zero_but_for_rounding_is_not_wrong(monkeypatch):
    """The bias of an attention's key shifts all scores of a query alike, which the softmax does not see."""

    def build():
        return sequential((4, 6), Attention(), layers.Flatten(), layers.Dense(3))

    model = build()
    for weight in model.trainable_weights:
        weight.assign_add(np.random.default_rng(0).normal(scale=0.3, size=weight.shape))
    x, y = labelled((4, 6), 12)
    layered = gradient_gram(model, x, y, loss=SOFTMAX, method="structured", per_layer=True)
    key = next(gram for name, gram in layered.items() if name.endswith("key"))
    assert key.any()
    plan = plan_for(model, x, y, loss=SOFTMAX, options=GradientOptions(method="structured"))
    assert [model.trainable_weights[index].path.split("/")[-2:] for index in plan._unproved] == [["key", "bias"]]
    assert relative_error(gradient_gram(model, x, y, loss=SOFTMAX), oracle(build, model, x, y)) < 1e-5

    wanted = []
    combined = Examiner.combined
    monkeypatch.setattr(Examiner, "combined", lambda self, *given: wanted.append(given[-1]) or combined(self, *given))
    gradient_gram(model, x, y, loss=SOFTMAX, method="structured")
    assert wanted == [plan._unproved]  # that it is still zero; nothing else is looked at again


class Shift(keras.layers.Layer):
    """Adds a weight, where its gate is open."""

    def build(self, _):
        self.gate = self.add_weight(name="gate", shape=(), initializer="zeros", trainable=False)
        self.shift = self.add_weight(name="shift", shape=(), initializer="ones")

    def call(self, x):
        return x + self.gate * self.shift


@pytest.mark.parametrize("count", [2, 12, 300])
def test_gradients_that_are_alike_are_not_still_zero(count):
    model = sequential((4,), layers.Dense(3), Shift())
    x, y = labelled((4,), count)

    def summed(model, x, y):
        return tf.reduce_sum(model(x, training=False), 1)

    gradient_gram(model, x, y, objective=summed)
    plan = plan_for(model, x, y, objective=summed)
    (place,) = (place for place, weight in enumerate(plan.weights) if weight.path.endswith("shift"))
    assert place in plan._zero
    for seed in range(5):
        assert plan._proof.is_zero({place}, x, y, seed)
    model.layers[-1].gate.assign(1)
    for seed in range(5):
        assert not plan._proof.is_zero({place}, x, y, seed)


def test_batch_normalisation_in_training_mode():
    class Training(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.norm, self.out = layers.Dense(5), layers.BatchNormalization(), layers.Dense(3)

        def call(self, x, training=None):
            return self.out(self.norm(self.dense(x), training=True))

    model = Training()
    x, y = labelled((4,), 12)
    with pytest.raises(UnsupportedModel, match="The examples of a batch interact"):
        gradient_gram(model, x, y, loss=SOFTMAX)


def test_of_many_weights_a_few_are_named():
    reasons = {f"w{number}": "there is no rule" for number in range(6)} | {"bias": "rows are missing"}
    told = "w0, w1, w2, w3 and 2 more: there is no rule; bias: rows are missing"
    assert proved_parts._in_words(reasons) == told
