"""What a measurement tells of directions, against one tape an example, plain dot products and steps that are taken."""

import dataclasses

import keras
import numpy as np
import pytest
from oracles import float64_twin, reference_gradients

from tfstiff import Probe, StiffnessCallback, directional_stiffness, measure
from tfstiff.errors import InvalidInput
from tfstiff.measuring.distributed import measure_in_parts
from tfstiff.records import read_record, scalar_names, write_record
from tfstiff.records.directions import DIRECTIONS
from tfstiff.runs.spec import RunSpec

RNG = np.random.default_rng(0)
SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X = RNG.normal(size=(33, 4)).astype(np.float32)
Y = np.arange(33) % 3
Y[:2] = 0  # classes of different sizes
HALVES = {"train": slice(0, 19), "validation": slice(19, 33)}


def build():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)])


def network(optimizer=None):
    keras.utils.set_random_seed(0)
    model = build()
    model.compile(optimizer or keras.optimizers.Adam(0.01), SOFTMAX)
    return model


def probe(y=Y, x=X):
    return Probe.from_arrays(*((x[half], y[half]) for half in HALVES.values()), size=None)


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts]).astype(float)


def check(effects, place, products, cosines, classes):
    """By a plain loop over the classes."""
    for c in range(3):
        of_class = classes == c
        values = {"change": products, "cosine": cosines, "helped": products < 0}
        assert effects.num_examples[place, c] == of_class.sum()
        for name, one in values.items():
            some = [float(value) for value in one[of_class]]
            mean = sum(some) / len(some)
            error = (sum((value - mean) ** 2 for value in some) / (len(some) * (len(some) - 1))) ** 0.5
            scale = np.abs(one).max()
            assert getattr(effects, name)[place, c] == pytest.approx(mean, abs=2e-5 * scale), (name, c)
            assert getattr(effects, f"{name}_se")[place, c] == pytest.approx(error, abs=2e-5 * scale), (name, c)


@pytest.fixture(scope="module")
def case():
    model = network()
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    since = {"update": [w + 0.01 * RNG.normal(size=w.shape) for w in model.get_weights()]}
    since["since_initialisation"] = [RNG.normal(size=w.shape) for w in model.get_weights()]
    found = measure(model, probe(), directions=DIRECTIONS, since=since)
    return model, since, found, reference_gradients(float64_twin(build, model), X, Y, SOFTMAX)


def test_equals_dot_products_with_the_gradient_of_each_example(case):
    model, since, found, gradients = case
    steps = {"weights": flat(model.get_weights())}
    steps |= {name: steps["weights"] - flat(before) for name, before in since.items()}
    twin = network()  # the same training, and one step more
    twin.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    np.testing.assert_array_equal(flat(twin.get_weights()), steps["weights"])
    twin.train_on_batch(X[HALVES["train"]], Y[HALVES["train"]])
    steps["next_update"] = flat(twin.get_weights()) - steps["weights"]
    norms = np.linalg.norm(gradients, axis=1)
    for name, step in steps.items():
        effects = found.directions[name]
        assert effects.status == "ok"
        np.testing.assert_allclose(effects.lengths, [np.linalg.norm(step)], rtol=2e-4)
        products = gradients @ step
        for half, places in HALVES.items():
            of_half = getattr(effects, half)
            cosines = (products / (norms * np.linalg.norm(step)))[places]
            if name == "next_update":  # of which the step of the optimizer, in float32, is rounding
                np.testing.assert_allclose(
                    of_half.cosine[0], [cosines[Y[places] == c].mean() for c in range(3)], atol=1e-4
                )
            else:
                check(of_half, 0, products[places], cosines, Y[places])
            assert of_half.mean_cosine == pytest.approx(of_half.cosine.mean())
            assert of_half.mean_helped_se == pytest.approx(np.sqrt((of_half.helped_se**2).sum()) / 3)


def test_a_step_on_a_class_is_one_on_its_other_examples(case):
    _, _, found, gradients = case
    train = np.arange(19)
    for half, places in HALVES.items():
        rows = np.arange(33)[places]
        effects = getattr(found.directions["class_means"], half)
        for c in range(3):
            others = [[j for j in train if Y[j] == c and j != i] for i in rows]
            steps = [-gradients[some].mean(0) for some in others]
            products = np.array([gradients[i] @ step for i, step in zip(rows, steps, strict=True)])
            lengths = [np.linalg.norm(gradients[i]) * np.linalg.norm(s) for i, s in zip(rows, steps, strict=True)]
            check(effects, c, products, products / lengths, Y[places])
        assert effects.mean_helped == pytest.approx(np.diagonal(effects.helped).mean())
    expected = [np.linalg.norm(gradients[:19][Y[:19] == c].mean(0)) for c in range(3)]
    np.testing.assert_allclose(found.directions["class_means"].lengths, expected, rtol=1e-4)


def test_a_step_that_helps_one_class_and_harms_the_others():
    model = network()
    before = model.get_weights()
    before[-1] = before[-1] - np.array([1, 0, 0], np.float32)  # from where the step leads towards the first class
    found = measure(model, probe(), directions=("update",), since={"update": before}).directions["update"]
    for half in (found.train, found.validation):
        np.testing.assert_array_equal(half.helped, [[1, 0, 0]])
        assert half.change[0, 0] < 0 < half.change[0, 1:].min()
        assert half.cosine[0, 0] < 0 < half.cosine[0, 1:].min()


def test_with_a_preconditioner_chosen_weights_and_in_parts_directions_are_the_same(case, tmp_path):
    model, since, found, gradients = case
    scaled = measure(model, probe(), directions=DIRECTIONS, since=since, preconditioner="optimizer")
    parts = measure_in_parts(model, probe(), tmp_path, processes=InThisProcess(), directions=("weights", "class_means"))
    for other, names in ((scaled, DIRECTIONS), (parts, ("weights", "class_means"))):
        for name in names:
            for half in HALVES:
                one, same = (getattr(m.directions[name], half) for m in (found, other))
                np.testing.assert_allclose(same.change, one.change, rtol=1e-4, atol=1e-6)
                np.testing.assert_allclose(same.cosine_se, one.cosine_se, rtol=1e-4, atol=1e-6)
    head = measure(model, probe(), directions=("weights",), weights="head").directions["weights"]
    kernel = flat(model.get_weights()[2:])
    assert head.lengths[0] == pytest.approx(np.linalg.norm(kernel))
    products = gradients[:, -len(kernel) :] @ kernel
    expected = [products[HALVES["train"]][Y[:19] == c].mean() for c in range(3)]
    np.testing.assert_allclose(head.train.change[0], expected, rtol=1e-4, atol=1e-6)


class InThisProcess:
    jobs = 1

    def run(self, folder, indices):
        from tfstiff.measuring.distributed.worker import compute_part

        for index in indices:
            compute_part(str(folder), index)
            yield index


class Unseeded(keras.layers.Layer):
    def call(self, x, training=False):
        return x + 0.1 * keras.random.normal((5,)) if training else x


def trained(*callbacks, rate=0.01):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(5, "tanh"), Unseeded(), keras.layers.Dropout(0.5), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(rate), SOFTMAX)
    weights = [model.get_weights()]
    kept = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: weights.append(model.get_weights()))
    logs = model.fit(X, Y, batch_size=8, epochs=3, verbose=0, callbacks=[kept, *callbacks]).history
    return model, weights, logs


def test_a_callback_measures_all_of_them_and_changes_nothing():
    stiffness = StiffnessCallback(probe(), directions=DIRECTIONS, pair_sets=("train_train", "train_val"))
    (model, weights, logs), (alone, _, _) = trained(stiffness), trained()
    variables = ([*one.variables, *one.optimizer.variables] for one in (model, alone))
    for one, other in zip(*variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    first, *others = stiffness.history
    statuses = {name: of.status for name, of in first.directions.items()}
    assert statuses == dict.fromkeys(DIRECTIONS, "ok") | {"update": "not_known", "since_initialisation": "zero"}
    assert np.isnan(first.scalars()["stiffness_helped_by_update_train"])
    trainable = [place for place, weight in enumerate(model.weights) if weight.trainable]
    epochs = [flat(one[place] for place in trainable) for one in weights]
    for place, m in enumerate(others, start=1):
        for name, before in (("update", epochs[place - 1]), ("since_initialisation", epochs[0])):
            expected = np.linalg.norm(epochs[place] - before)
            assert m.directions[name].lengths[0] == pytest.approx(expected, rel=1e-6)
    last = stiffness.history[-1]
    assert set(stiffness.scalars) == set(last.scalars())
    for name in DIRECTIONS:
        assert logs[f"stiffness_helped_by_{name}_validation"][-1] == last.directions[name].validation.mean_helped
    assert isinstance(logs["stiffness_helped_by_update_validation"][-1], float)


def test_weights_that_do_not_move_have_no_direction():
    stiffness = StiffnessCallback(probe(), directions=("update", "since_initialisation", "next_update"))
    keras.utils.set_random_seed(0)
    model = network(keras.optimizers.SGD(0.0))
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[stiffness])
    assert {of.status for of in stiffness.history[-1].directions.values()} == {"zero"}


def test_training_that_is_gone_on_with_does_not_know_its_beginning():
    stiffness = StiffnessCallback(probe(), directions=("update", "since_initialisation"))
    network().fit(X, Y, epochs=4, initial_epoch=2, verbose=0, callbacks=[stiffness])
    last = stiffness.history[-1].directions
    assert (last["since_initialisation"].status, last["update"].status) == ("not_known", "ok")


def test_targets_without_classes_halves_without_examples_and_gradients_that_are_not_finite():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    found = measure(model, probe(X[:, :1] * 2), directions=("weights", "class_means"))
    assert found.directions["class_means"].status == "no_classes"
    assert found.directions["weights"].train.change.shape == (1, 1)
    model = network()
    spoilt = X.copy()
    spoilt[3] = np.nan
    given = Probe.from_arrays((spoilt[:19], Y[:19]), size=None)
    found = measure(model, given, directions=("weights", "class_means", "next_update"))
    assert found.directions["next_update"].status == "not_finite"
    for name in ("weights", "class_means"):
        effects = found.directions[name]
        assert effects.validation is None
        assert effects.train.num_examples[0].tolist() == (np.bincount(Y[:19]) - [1, 0, 0]).tolist()
    kept = np.delete(np.arange(19), 3)
    alone = directional_stiffness(model, X[kept], Y[kept], "weights").products[:, 0]
    expected = [alone[Y[kept] == c].mean() for c in range(3)]
    np.testing.assert_allclose(found.directions["weights"].train.change[0], expected, rtol=1e-5)
    few = measure(model, probe(), directions=("class_means",), pair_sets=("val_val",))
    assert few.directions["class_means"].status == "no_pairs"


def test_records_hold_them_and_older_ones_do_not(case, tmp_path):
    found = case[2]
    write_record(tmp_path / "one.npz", found)
    again, light = read_record(tmp_path / "one.npz"), read_record(tmp_path / "one.npz", with_arrays=False)
    assert again.scalars() == light.scalars() == pytest.approx(found.scalars(), nan_ok=True)
    assert again.standard_errors() == pytest.approx(found.standard_errors(), nan_ok=True)
    for name, of in found.directions.items():
        assert (again.directions[name].status, light.directions[name].status) == ("ok", "ok")
        np.testing.assert_array_equal(again.directions[name].lengths, of.lengths)
        for field in dataclasses.fields(of.train):
            np.testing.assert_array_equal(
                getattr(again.directions[name].validation, field.name), getattr(of.validation, field.name)
            )
    assert set(found.scalars()) == set(scalar_names(True, directions=DIRECTIONS))
    write_record(tmp_path / "two.npz", dataclasses.replace(found, directions={}))
    assert read_record(tmp_path / "two.npz").directions == {}
    assert (tmp_path / "one.npz").stat().st_size < (tmp_path / "two.npz").stat().st_size + 60_000


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: measure(network(), probe(), directions=("updates",)), "one or several of weights, since_init"),
        (lambda: StiffnessCallback(probe(), directions=("updates",)), "one or several of weights, since_init"),
        (lambda: RunSpec(directions="update"), "one or several of weights, since_init"),
        (lambda: measure(network(), probe(), since={"weights": []}), "leads from no weights"),
        (
            lambda: measure(network(), probe(), directions=("update",), since={"update": [X]}),
            "does not have the shapes",
        ),
        (lambda: measure(build(), probe(), loss=SOFTMAX, directions=("next_update",)), "no optimizer"),
    ],
)
def test_bad_input(call, text):
    with pytest.raises(InvalidInput, match=text):
        call()


def test_a_wrapped_optimizer_is_refused_before_any_training():
    model = network(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()))
    before = model.get_weights()
    with pytest.raises(InvalidInput, match="scales losses"):
        model.fit(X, Y, verbose=0, callbacks=[StiffnessCallback(probe(), directions=("next_update",))])
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
