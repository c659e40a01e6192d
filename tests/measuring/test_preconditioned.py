"""Measurements with a diagonal between gradients, beside those without."""

import dataclasses

import keras
import numpy as np
import pytest
from oracles.direct import sums_of
from tfstiff_cli.disagreement_table import print_disagreements

import tfstiff
from tfstiff import Probe, RunSpec, StiffnessCallback, measure
from tfstiff.errors import InvalidInput
from tfstiff.measuring.distributed import measure_in_parts
from tfstiff.measuring.measure import MeasurementTask
from tfstiff.measuring.options import MeasureOptions
from tfstiff.records import read_record, write_record
from tfstiff.stiffness import pair_set_stiffness

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(26, 20)).astype("float32")
Y = RNG.integers(0, 3, 26)
HALVES = {"train": slice(0, 15), "val": slice(15, 26)}


def network(outputs=3):
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential([keras.Input((20,)), layers.Dense(24, activation="tanh"), layers.Dense(outputs)])


def probe(y=Y):
    return Probe.from_arrays((X[:15], y[:15]), (X[15:], y[15:]), size=None)


def drawn(weight):
    return np.exp(np.random.default_rng(sum(weight.shape)).uniform(-4, 4, weight.shape))


def products(model, y=Y, loss=SOFTMAX):
    """(n, n) products with the diagonal between gradients, and without, in float64."""
    gradients = tfstiff.per_example_gradients(model, X, y, loss=loss, precision="float64")
    diagonal = np.concatenate([drawn(weight).ravel() for weight in model.trainable_weights])
    return gradients * diagonal @ gradients.T, gradients @ gradients.T


def expected(whole, pair_set, classes=Y):
    rows, columns = (HALVES[half] for half in pair_set.split("_"))
    norms = np.sqrt(np.diag(whole))
    others = {} if rows == columns else {"classes_columns": classes[columns]}
    return sums_of(whole[rows, columns], classes[rows], norms=(norms[rows], norms[columns]), num_classes=3, **others)


@pytest.mark.parametrize("memory_limit", [None, 200_000])
def test_pair_sets_with_and_without(memory_limit):
    model = network()
    options = {"preconditioner": drawn, "memory_limit": memory_limit, "keep_gram": True, "per_layer": True}
    found = measure(model, probe(), loss=SOFTMAX, **options)
    task = MeasurementTask(model, probe(), MeasureOptions(**options), loss=SOFTMAX)
    assert (len(task.blocks.blocks) > 2) == (memory_limit is not None)
    scaled, plain = products(model)
    np.testing.assert_allclose(found.gram, scaled, atol=1e-5 * np.abs(scaled).max())
    assert found.preconditioner == "drawn"
    assert set(found.plain) == set(found.pair_sets) == {"train_train", "train_val", "val_val"}
    assert len(found.layers) == 2
    for pair_set in found.pair_sets:
        for measured, whole in ((found[pair_set], scaled), (found.plain[pair_set], plain)):
            right = pair_set_stiffness(expected(whole, pair_set), has_classes=True)
            for metric in ("sign", "cosine"):
                for name in ("matrix", "matrix_se", "within", "within_se", "between", "between_se"):
                    one, other = (getattr(getattr(each, metric), name) for each in (measured, right))
                    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5, err_msg=f"{pair_set} {metric} {name}")
            for name, value in right.statistics.items():
                np.testing.assert_allclose(measured.statistics[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    norms = np.sqrt(np.diag(plain))
    np.testing.assert_allclose(found.train.scores.gradient_norm, norms[:15], rtol=1e-4)  # of gradients as they are


@pytest.mark.parametrize("memory_limit", [None, 120_000])
def test_how_often_signs_disagree(memory_limit):
    model = network()
    found = measure(model, probe(), loss=SOFTMAX, preconditioner=drawn, memory_limit=memory_limit)
    differ = np.not_equal(*map(np.sign, products(model)))
    assert 0.02 < differ.mean() < 0.98
    for pair_set, measured in found.pair_sets.items():
        rows, columns = (HALVES[half] for half in pair_set.split("_"))
        counted = np.ones_like(differ[rows, columns])
        if rows == columns:
            np.fill_diagonal(counted, False)
        by_class = [
            [
                differ[rows, columns][counted & np.outer(Y[rows] == first, Y[columns] == second)].mean()
                for second in range(3)
            ]
            for first in range(3)
        ]
        np.testing.assert_allclose(measured.sign_disagreement.matrix, by_class)
        np.testing.assert_allclose(measured.sign_disagreement.within, np.diag(by_class).mean())
        np.testing.assert_allclose(measured.mean_sign_disagreement, differ[rows, columns][counted].mean())
        assert 0 < measured.sign_disagreement.between_se < 0.3
        assert found.scalars()[f"stiffness_sign_disagreement_within_{pair_set}"] == measured.sign_disagreement.within
        assert found.standard_errors()[f"stiffness_sign_disagreement_between_{pair_set}"] > 0
        assert found.plain[pair_set].sign_disagreement is None


def test_identity_turns_no_sign():
    found = measure(network(), probe(), loss=SOFTMAX, preconditioner=lambda weight: np.ones(weight.shape))
    for pair_set, measured in found.pair_sets.items():
        assert measured.mean_sign_disagreement == 0
        np.testing.assert_allclose(measured.cosine.matrix, found.plain[pair_set].cosine.matrix, atol=1e-5)


def test_the_table_of_shares(capsys):
    found = measure(network(), probe(), loss=SOFTMAX, preconditioner=drawn)
    print_disagreements([dataclasses.replace(found, plain={})])
    assert capsys.readouterr().out == ""
    print_disagreements([dataclasses.replace(found, step=7)], "val_val")
    lines = capsys.readouterr().out.splitlines()
    row = next(line.split() for line in lines if line.split()[1:2] == ["7"])
    for cell, kind in zip(row[2:], ("within", "between"), strict=True):
        assert float(cell.split("±")[0]) == pytest.approx(getattr(found["val_val"].sign_disagreement, kind), abs=6e-4)
    assert "Preconditioner: drawn" in lines[-1]
    assert max(map(len, lines)) <= 80


def test_examples_without_a_finite_gradient_are_left_out():
    model = network()
    spoilt = X.copy()
    spoilt[3] = np.nan
    given = Probe.from_arrays((spoilt[:15], Y[:15]), (X[15:], Y[15:]), size=None)
    found = measure(model, given, loss=SOFTMAX, preconditioner=drawn)
    kept = np.delete(np.arange(26), 3)
    differ = np.not_equal(*map(np.sign, products(model)))[np.ix_(kept[:14], kept[14:])]
    np.testing.assert_allclose(found["train_val"].mean_sign_disagreement, differ.mean())


def test_targets_that_are_numbers_and_records(tmp_path):
    y = X[:, :1] * 2
    model = network(1)
    found = measure(model, probe(y), loss="mse", preconditioner=drawn)
    differ = np.not_equal(*map(np.sign, products(model, y, "mse")))
    np.testing.assert_allclose(found["train_val"].mean_sign_disagreement, differ[:15, 15:].mean())
    assert found["train_val"].sign_disagreement is None
    write_record(tmp_path / "one.npz", found)
    again = read_record(tmp_path / "one.npz")
    assert again.preconditioner == "drawn"
    assert again["train_val"].mean_sign_disagreement == found["train_val"].mean_sign_disagreement
    assert again.plain["val_val"].mean_cosine == found.plain["val_val"].mean_cosine
    assert again.scalars() == pytest.approx(found.scalars(), nan_ok=True)


def trained(*callbacks):
    model = network()
    model.compile("adam", SOFTMAX)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=list(callbacks))
    return model


def test_a_callback_begins_with_the_optimizers_first_step_and_changes_nothing():
    stiffness = StiffnessCallback(probe(), preconditioner="optimizer", publish="all")
    model, alone = trained(stiffness), trained()
    assert [one.step for one in stiffness.history] == [4, 8]  # none at initialisation
    for one, other in zip(
        [*model.weights, *model.optimizer.variables], [*alone.weights, *alone.optimizer.variables], strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    again = measure(model, probe(), preconditioner="optimizer")
    last = stiffness.history[-1]
    assert last.preconditioner == "optimizer"
    assert again.scalars() == pytest.approx(last.scalars(), nan_ok=True)
    assert set(stiffness.scalars) == set(last.scalars())


def test_a_run_measures_from_the_first_step_on():
    for schedule in ("log", "epoch", 7, (0, 0.5, 1)):
        plain, scaled = (RunSpec(schedule=schedule, preconditioner=one) for one in ("none", "optimizer"))
        assert plain.measured_steps(20) == [0, *scaled.measured_steps(20)]
    with pytest.raises(InvalidInput, match="preconditioner of a run must be plain"):
        RunSpec(preconditioner=drawn)


def test_what_is_refused_before_anything_slow(tmp_path):
    model = network()
    model.compile("adam", SOFTMAX)
    with pytest.raises(InvalidInput, match="has not taken a step"):
        measure(model, probe(), preconditioner="optimizer")
    with pytest.raises(InvalidInput, match="Measure in one process"):
        measure_in_parts(model, probe(), tmp_path / "parts", processes=1, preconditioner="optimizer")
    assert not (tmp_path / "parts").exists()
    model.compile(keras.optimizers.Lion(), SOFTMAX)
    with pytest.raises(InvalidInput, match="Lion has no diagonal"):
        model.fit(X, Y, verbose=0, callbacks=[StiffnessCallback(probe(), preconditioner="optimizer")])
