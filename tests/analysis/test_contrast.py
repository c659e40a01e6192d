from dataclasses import replace

import numpy as np
import pytest
from oracles.direct import sums_of

from tfstiff.analysis.contrast import paired_contrast
from tfstiff.errors import InvalidInput
from tfstiff.records import HalfSummary, Measurement
from tfstiff.stiffness import pair_set_stiffness

NAN = float("nan")


def probe(rng, n=30, m=24):
    """Effects of the examples of both halves, and their classes."""
    return rng.normal(size=(n + m, 2)), np.concatenate([np.arange(n) % 3, np.arange(m) % 3]), n


def measured(rng, effects, classes, n, shift=0.0, noise=0.05):
    """A measurement whose values are means of classes, effects of examples and noise."""
    same = classes[:, None] == classes
    error = noise * rng.normal(size=same.shape)
    value = 0.2 + (0.5 + shift) * same + effects[:, :1] * 0.2 + effects[:, 0] * 0.2 + error + error.T
    parts = {"train": slice(n), "val": slice(n, None)}
    found = {}
    for name, (a, b) in {"train_train": "tt", "train_val": "tv", "val_val": "vv"}.items():
        one, two = (parts["train" if half == "t" else "val"] for half in (a, b))
        sums = sums_of(value[one, two], classes[one], None if a == b else classes[two])
        found[name] = pair_set_stiffness(sums, has_classes=True)
    halves = [HalfSummary(size, 1.0, NAN, 0, 0) for size in (n, len(classes) - n)]
    return Measurement(*halves, pair_sets=found, class_names=("a", "b", "c"))


@pytest.mark.parametrize("pair_set", ["train_train", "train_val", "val_val"])
def test_what_examples_have_in_common_cancels(pair_set):
    rng = np.random.default_rng(0)
    examples = probe(rng)
    first, second = measured(rng, *examples), measured(rng, *examples, shift=0.1)
    change = paired_contrast(first, second, pair_set=pair_set)
    one, two = (m[pair_set].cosine for m in (first, second))
    assert change.value == two.within - one.within
    assert change.se < 0.3 * np.hypot(one.within_se, two.within_se)
    assert change.z == change.value / change.se > 5
    assert change.low < 0.1 < change.high


def test_a_measurement_does_not_differ_from_itself():
    rng = np.random.default_rng(1)
    one = measured(rng, *probe(rng))
    for quantity in ("within", "between", "contrast"):
        same = paired_contrast(one, one, quantity)
        assert (same.value, same.se) == (0, 0)
        assert np.isnan(same.z)


@pytest.mark.parametrize("quantity", ["within", "between", "contrast"])
def test_halves_are_independent_and_pair_sets_share_theirs(quantity):
    rng = np.random.default_rng(2)
    one = measured(rng, *probe(rng), noise=0.0)
    errors = {name: getattr(one[name].cosine, f"{quantity}_se") for name in one.pair_sets}
    apart = paired_contrast(one, one, quantity, pair_set="train_train", second_pair_set="val_val")
    if quantity == "between":  # of effects alone, which are seen without noise
        assert apart.se == pytest.approx(np.hypot(errors["train_train"], errors["val_val"]), rel=0.1)
    shared = paired_contrast(one, one, quantity, pair_set="train_train", second_pair_set="train_val")
    assert shared.value == getattr(one["train_val"].cosine, quantity) - getattr(one["train_train"].cosine, quantity)
    assert np.isfinite(shared.se)


def test_intervals_hold_the_truth():
    rng = np.random.default_rng(3)
    held = []
    for _ in range(400):
        examples = probe(rng)
        effects = examples[0].copy()
        effects[:, 0] += 0.5 * rng.normal(size=len(effects))  # half of the effects is new
        first, second = measured(rng, *examples), measured(rng, effects, *examples[1:], shift=0.1)
        change = paired_contrast(first, second)
        held.append(change.low < 0.1 < change.high)
    assert 0.92 < np.mean(held) < 0.98


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"quantity": "median"}, "quantity"),
        ({"metric": "dot"}, "metric"),
        ({"pair_set": "test"}, "pair set"),
        ({"second_pair_set": "test"}, "pair set"),
        ({"layer": "dense"}, "layer"),
    ],
)
def test_unknown_names_are_refused(options, told):
    rng = np.random.default_rng(4)
    one = measured(rng, *probe(rng, 9, 9))
    with pytest.raises(InvalidInput, match=told):
        paired_contrast(one, one, **options)


def test_probes_must_be_the_same_and_have_classes():
    rng = np.random.default_rng(5)
    one, two = measured(rng, *probe(rng, 9, 9)), measured(rng, *probe(rng, 9, 12))
    with pytest.raises(InvalidInput, match="same probe"):
        paired_contrast(one, two)
    without = replace(one, pair_sets={name: replace(one[name], cosine=None) for name in one.pair_sets})
    with pytest.raises(InvalidInput, match="no classes"):
        paired_contrast(without, without)
