"""Totals of parts of a probe's pairs, added up, against those of one pass over all of them."""

import numpy as np
import pytest
from oracles import assert_same
from test_probe_pass import SOFTMAX, classifier, examples, probe_of

from tfstiff.gradients.memory import MemoryPlan
from tfstiff.gradients.options import GradientOptions
from tfstiff.gradients.plan import plan_for
from tfstiff.measuring.summation.parts import divided, whole
from tfstiff.measuring.summation.prepared import prepared
from tfstiff.measuring.summation.probe_pass import ProbePass
from tfstiff.measuring.summation.probe_sums import added_totals, probe_sums
from tfstiff.records import PAIR_SETS
from tfstiff.stiffness.pairs import DistanceOptions

OPTIONS = DistanceOptions(num_bins=4)


def passes(probe, num_bands, pair_sets=PAIR_SETS, block_size=3, num_resident=None, **rest):
    """The sums of the whole, and those of its parts, each a pass of its own, in float64."""
    model = classifier()
    count = len(probe.train) + len(probe.validation)
    plan = plan_for(
        model,
        probe.train.x,
        probe.train.y,
        loss=SOFTMAX,
        options=GradientOptions(precision="float64"),
        num_examples=count,
    )
    ready = prepared(probe, block_size)
    memory = MemoryPlan(block_size, num_resident or count, 0)
    compared = {"input": {name: ready.compared(name, None, OPTIONS) for name in pair_sets}}
    expected = ProbePass(plan, ready, memory, pair_sets, compared, **rest).run()
    totals = []
    for part in divided(ready, pair_sets, num_bands):
        own = {
            name: ready.compared_in(part.tiles[name], name, None, OPTIONS, compared["input"][name].edges)
            for name in pair_sets
        }
        one = ProbePass(plan, ready, memory, pair_sets, {"input": own}, part=part, **rest)
        totals.append(one.totals())
    return expected, probe_sums(added_totals(totals), ready, np.zeros(0))


@pytest.mark.parametrize("num_bands", [1, 2, 3, 50])
@pytest.mark.parametrize("num_resident", [None, 4])
def test_parts_add_up_to_the_whole(num_bands, num_resident):
    expected, found = passes(probe_of(examples()), num_bands, num_resident=num_resident)
    assert_same(found.pair_sets, expected.pair_sets)
    for name in ("losses", "predictions", "norms"):
        for half, other in zip(getattr(found, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(half, other, rtol=1e-12)


@pytest.mark.parametrize("pair_sets", [("train_val",), ("train_train",), ("train_train", "val_val")])
def test_some_pair_sets(pair_sets):
    expected, found = passes(probe_of(examples()), 3, pair_sets=pair_sets)
    assert_same(found.pair_sets, expected.pair_sets)
    np.testing.assert_allclose(np.concatenate(found.losses), np.concatenate(expected.losses))


def test_each_layer_by_itself():
    expected, found = passes(probe_of(examples()), 2, per_layer=True)
    assert len(found.pair_sets) > 2
    assert_same(found.pair_sets, expected.pair_sets)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_examples_that_are_left_out(value):
    splits = examples()
    splits[0][0][2, 0] = splits[1][0][5, 0] = value
    expected, found = passes(probe_of(splits), 3)
    assert (expected.pair_sets[""]["train_val"].classes_rows == -1).sum() >= 1
    assert_same(found.pair_sets, expected.pair_sets)


@pytest.mark.parametrize("num_bands", [1, 2, 4])
def test_every_tile_is_in_one_part_and_every_block_told_once(num_bands):
    ready = prepared(probe_of(examples()), 3)
    parts = divided(ready, PAIR_SETS, num_bands)
    assert len(parts) == num_bands * (num_bands + 1) // 2
    for name, tiles in whole(ready, PAIR_SETS).tiles.items():
        assert sorted(tile for part in parts for tile in part.tiles[name]) == sorted(tiles)
    assert sorted(block for part in parts for block in part.blocks) == list(range(len(ready.blocks)))
