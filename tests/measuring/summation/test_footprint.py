"""What a measurement takes beside gradients: counted, and not kept where there is no room."""

import dataclasses
import gc
import tracemalloc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, measure
from tfstiff.gradients import gradient_plan
from tfstiff.gradients.memory import MemoryPlan
from tfstiff.measuring.measure import MeasurementTask
from tfstiff.measuring.options import MeasureOptions
from tfstiff.measuring.summation import footprint as counting
from tfstiff.measuring.summation.footprint import KEEP_ALL, Footprint, Kept, footprint
from tfstiff.measuring.summation.pair_totals import PairTotals
from tfstiff.measuring.summation.prepared import PreparedProbe
from tfstiff.measuring.summation.representations import widths
from tfstiff.stiffness.pairs import KEPT_PAIRS, DistanceOptions

BY_EXAMPLE = {
    *("rows", "columns", "row_squares", "column_squares"),
    *("bin_sums", "line_sums", "bin_counts", "bin_distances", "moments"),
}


def probe_of(sizes=(90, 60), num_classes=3, width=5):
    rng = np.random.default_rng(0)
    halves = [
        (rng.normal(size=(size, width)).astype(np.float32), rng.permutation(np.arange(size) % num_classes))
        for size in sizes
    ]
    return Probe.from_arrays(*halves, size=None)


def model_of(width=5, outputs=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((width,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(outputs)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def counted(probe, **options):
    chosen = MeasureOptions(**options)
    model = model_of()
    return footprint(probe, chosen, probe.pair_sets_of(chosen.pair_sets), widths(model, probe, chosen.space), 2)


def test_examples_and_classes_are_counted():
    found = counted(probe_of())
    assert found.num_examples == 150
    assert found.example == 5 * 4 + 8
    assert (found.width, found.num_spaces, found.num_pair_sets) == (5, 1, 3)
    assert found.largest_class == 30
    assert counted(probe_of(), distance_pairs="all").largest_class == 90
    assert counted(probe_of(), pair_sets=["val_val"]).num_pair_sets == 1
    assert counted(probe_of(), space="all").num_spaces == 3  # the inputs, and two layers with weights
    assert counted(probe_of(), keep_gram=True).keeps_cosines


@pytest.mark.parametrize("options", [{}, {"per_layer": True}, {"space": "all"}, {"pair_sets": ["train_val"]}])
def test_the_sums_are_all_that_is_added_up(options):
    """To the byte, but for a few numbers of each pair set, of its classes and bins."""
    probe = probe_of()
    found, chosen = counted(probe, **options), MeasureOptions(**options)
    ready = PreparedProbe(probe, 20)
    model = model_of()
    spaces = dict.fromkeys(widths(model, probe, chosen.space))
    arrays = {}
    for layer in range(1 + 2 * chosen.per_layer):
        for name in chosen.pair_sets:
            compared = {space: ready.compared(name, None, DistanceOptions()) for space in spaces}
            totals = PairTotals(ready, name, compared).arrays([np.ones(90), np.ones(60)])
            for key, array in totals.items():
                # What does not depend on gradients is there once for each space.
                shared = key[-1] in ("bin_counts", "bin_distances", "moments")
                arrays[(None if shared else layer, name, *key)] = array
    vectors = 4 * 150 * sum(width for name, width in widths(model, probe, chosen.space).items() if name != "input")
    batches = sum(2 * block.batches.nbytes for block in ready.blocks)
    by_example = sum(array.nbytes for key, array in arrays.items() if key[-1] in BY_EXAMPLE)
    assert by_example + batches == found.sums - vectors
    assert sum(array.nbytes for array in arrays.values()) < 1.2 * found.sums


@pytest.mark.parametrize("compared", ["within", "all"])
@pytest.mark.parametrize("block_size", [100, 300])
def test_finding_the_pairs_of_a_tile_takes_no_more_than_is_counted(compared, block_size):
    probe = probe_of((600, 600), 2, width=64)
    found = counted(probe, distance_pairs=compared)
    ready = PreparedProbe(probe, block_size, may_keep=Kept(True, 0, True))
    made = ready.compared("train_val", None, DistanceOptions(compared=compared))
    tracemalloc.start()  # of NumPy's arrays; nothing is timed
    try:
        pairs = made.tile(0)
        listed, peak = tracemalloc.get_traced_memory()
        pairs.cells, pairs.powers  # noqa: B018  # computed once
        complete, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(pairs) > block_size**2 * 0.9
    assert complete <= listed + 41 * len(pairs)
    indices = 8 * len(pairs)  # as tensors, which are not traced
    assert 0.9 < (complete + indices) / (counting._PAIR * len(pairs)) <= 1.01
    assert peak <= found(block_size) - found.sums


def test_more_is_taken_by_larger_blocks():
    found = counted(probe_of(), keep_gram=True, distance_pairs="all")
    taken = [found(size) for size in (1, 2, 10, 100, 1000)]
    assert taken == sorted(taken)
    assert taken[0] > found.sums


def test_what_there_is_room_for_is_kept_inputs_first():
    taken = Footprint(1000, 0, 4000, 5, 100, 1, 3, False)
    assert taken.kept(10**12) == KEEP_ALL
    assert taken.kept(0) == Kept(False, 0, False)
    assert taken.kept(3_999_999) == Kept(False, 2**14, False)
    some = taken.kept(5_000_000)
    assert some == Kept(True, 2**12, False)
    assert taken.kept(6_700_000) == Kept(True, 2**13, False)
    assert Footprint(100, 0, 4000, 5, 100, 1, 3, False).kept(500_000) == Kept(True, 2**8, True)
    assert 4_000_000 + some.pairs * 3 * counting._PAIR <= 5_000_000
    assert taken.kept(4_000_000 + 3 * counting._PAIR * KEPT_PAIRS).pairs is None


def fields(measurement):
    return {name: dataclasses.asdict(found) for name, found in measurement.pair_sets.items()}


def test_the_same_whether_anything_is_kept():
    probe, model = probe_of(), model_of()
    tasks = [
        MeasurementTask(model, probe, MeasureOptions(), memory=MemoryPlan(20, 150, 0, spare)) for spare in (0, 10**9)
    ]
    assert [task.blocks.may_keep for task in tasks] == [Kept(False, 0, False), KEEP_ALL]
    first, second = (fields(task.run()) for task in tasks)
    np.testing.assert_equal(first, second)
    assert not any(isinstance(key, tuple) and key[0] == "examples" for key in tasks[0].blocks.kept)
    assert any(isinstance(key, tuple) and key[0] == "examples" for key in tasks[1].blocks.kept)


def test_a_limit_too_small_for_the_sums_is_refused():
    from tfstiff.errors import InvalidInput

    probe, model = probe_of(), model_of()
    with pytest.raises(InvalidInput, match="too small") as error:
        measure(model, probe, memory_limit=counted(probe).sums)
    least = int(str(error.value.expected).split()[2].replace(",", ""))
    assert MeasurementTask(model, probe, MeasureOptions(memory_limit=least)).memory.block_size == 1
    with pytest.raises(InvalidInput, match="too small"):
        MeasurementTask(model, probe, MeasureOptions(memory_limit=least - 1))


@pytest.mark.parametrize("num_resident", [40, 80])
def test_no_more_blocks_are_held_than_planned(monkeypatch, num_resident):
    """Those that are held and one more: not those of before beside those of now."""
    gc.freeze()  # what was there before need not be looked through each time
    alive, most = [], []
    compute = gradient_plan.GradientPlan.factors

    def factors(plan, x, y):
        gc.collect()
        most.append(sum(one() is not None for one in alive))
        found = compute(plan, x, y)
        alive.append(weakref.ref(tf.nest.flatten((found.formed, found.outers))[0]))
        return found

    task = MeasurementTask(model_of(), probe_of(), MeasureOptions(), memory=MemoryPlan(20, num_resident, 0))
    monkeypatch.setattr(gradient_plan.GradientPlan, "factors", factors)
    task.run()
    assert len(most) > len(task.blocks.blocks)
    assert max(most) == num_resident // 20
