"""A sample of the pairs of a probe, measured: `pairs=`."""

import dataclasses
import math

import keras
import numpy as np
import pytest
from oracles.direct import sums_of

from tfstiff import Probe, measure
from tfstiff.errors import InvalidInput
from tfstiff.measuring.measure import MeasurementTask
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.summation.parts import divided
from tfstiff.measuring.summation.probe_sums import added_totals
from tfstiff.records import read_record, write_record
from tfstiff.stiffness import pair_set_stiffness
from tfstiff.stiffness.pair_sample import dealt, num_pairs

SIZES = (23, 18)
SETS = {"train_train": (0, 0), "train_val": (0, 1), "val_val": (1, 1)}
PAIRS = num_pairs(SIZES, list(SETS.values()), 4)


def arrays(count, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 5)).astype(np.float32), rng.permutation(np.arange(count) % 3)


def probe_of(**options):
    return Probe.from_arrays(arrays(SIZES[0], 1), arrays(SIZES[1], 2), size=None, **options)


def model_of(outputs=3, loss=None):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(outputs)])
    model.compile("sgd", loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def expected(whole, probe, name):
    """From the products of all gradients, of which all but those of the sample are left out."""
    ends = np.split(np.arange(sum(SIZES)), SIZES[:1])
    one, two = SETS[name]
    halves = (probe.train, probe.validation)
    classes = [halves[side].classes if probe.num_classes else np.zeros(SIZES[side], int) for side in (one, two)]
    norms = np.sqrt(np.diag(whole.gram).astype(float))
    sums = sums_of(
        whole.gram[np.ix_(ends[one], ends[two])],
        classes[0],
        None if one == two else classes[1],
        norms=(norms[ends[one]], norms[ends[two]]),
        num_classes=probe.num_classes or 1,
        subsets=tuple(dealt(part, 4) for part in classes),
    )
    return pair_set_stiffness(sums, has_classes=probe.num_classes is not None), sums


def assert_as_expected(found, whole, probe):
    for name in SETS:
        other, sums = expected(whole, probe, name)
        for metric in ("sign", "cosine"):
            for suffix in ("", "_se"):
                numbers = [getattr(one, f"mean_{metric}{suffix}") for one in (found[name], other)]
                np.testing.assert_allclose(*numbers, atol=1e-5)
            if probe.num_classes:
                by_class = [getattr(one, metric) for one in (found[name], other)]
                for field in dataclasses.fields(by_class[0]):
                    if field.name not in ("blocks", "num_empty_cells") and not field.name.endswith("_df"):
                        values = [getattr(one, field.name) for one in by_class]
                        np.testing.assert_allclose(*values, atol=1e-5, err_msg=field.name)
        statistics = found[name].statistics
        assert {key for key, value in statistics.items() if not math.isnan(value)} <= {"negative_share"}
        assert found[name].class_mean_gram is None
        if probe.num_classes:
            np.testing.assert_array_equal(found[name].pair_counts, sums.pair_counts())
        if name != "train_val":
            np.testing.assert_allclose(statistics["negative_share"], other.statistics["negative_share"])


@pytest.mark.parametrize("memory_limit", [None, 120_000])
def test_the_pairs_of_the_sample_and_no_others(memory_limit):
    model, probe = model_of(), probe_of()
    whole = measure(model, probe, keep_gram=True)
    found = measure(model, probe, pairs=PAIRS, memory_limit=memory_limit)
    assert found.sampled_pairs == PAIRS
    assert whole.sampled_pairs is None
    assert_as_expected(found, whole, probe)
    np.testing.assert_allclose(found.train.scores.gradient_norm, whole.train.scores.gradient_norm, rtol=1e-5)
    (told,) = (text for text in found.reservations if "random sample" in text)
    assert told.startswith(f"{PAIRS} of {num_pairs(SIZES, list(SETS.values()))} pairs")
    counts = found.train.scores.stiffness["train"].counts
    assert counts.sum() == found["train_train"].pair_counts.sum() == 2 * num_pairs(SIZES, [(0, 0)], 4)


def test_numbers_have_a_sample_too():
    model, probe = model_of(1, "mse"), probe_of(classes=None)
    whole = measure(model, probe, keep_gram=True)
    found = measure(model, probe, pairs=PAIRS)
    assert_as_expected(found, whole, probe)


def test_distances_are_those_of_the_sample():
    model, probe = model_of(), probe_of()
    found = measure(model, probe, pairs=PAIRS, distance_pairs="all")
    for name, sides in SETS.items():
        assert found[name].distance_profile.count.sum() == num_pairs(SIZES, [sides], 4)
    within = measure(model, probe, pairs=PAIRS)["train_train"]
    assert within.critical_length.num_pairs == within.pair_counts.trace() // 2


def test_parts_add_up_to_the_sample():
    model, probe = model_of(), probe_of()
    task = MeasurementTask(model, probe, MeasureOptions(pairs=PAIRS, memory_limit=120_000))
    parts = divided(task.blocks, task.pair_sets, 3)
    assert len(parts) > 1
    in_parts = task.measurement(task.sums(added_totals([task.totals(part, task.edges()) for part in parts])))
    at_once = measure(model, probe, pairs=PAIRS, memory_limit=120_000)
    for name in SETS:
        np.testing.assert_allclose(in_parts[name].cosine.matrix_se, at_once[name].cosine.matrix_se, atol=1e-6)
        np.testing.assert_array_equal(in_parts[name].pair_counts, at_once[name].pair_counts)


def test_a_record_says_how_many_pairs_there_were(tmp_path):
    fewer = num_pairs(SIZES, [(0, 0)], 5)
    found = measure(model_of(), probe_of(), pairs=fewer + 1, pair_sets=("train_train",))
    assert found.sampled_pairs == fewer
    write_record(tmp_path / "one.npz", found)
    assert read_record(tmp_path / "one.npz").sampled_pairs == found.sampled_pairs


def test_what_does_not_go_together():
    with pytest.raises(InvalidInput, match="keep_gram"):
        MeasureOptions(pairs=100, keep_gram=True)
    for wrong in (0, -1, 1.5, "many"):
        with pytest.raises(InvalidInput):
            MeasureOptions(pairs=wrong)
    with pytest.raises(InvalidInput, match="at least"):
        measure(model_of(), probe_of(), pairs=3)
