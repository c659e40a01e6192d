"""A measurement in parts, against the same measurement in one process."""

import importlib.util
import json
import os
import signal

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import assert_same

from tfstiff import Probe, measure
from tfstiff.errors import InvalidInput, PartFailed, UnsupportedModel
from tfstiff.measuring.distributed import measure_in_parts
from tfstiff.measuring.distributed.job import load_job, remove_job
from tfstiff.measuring.distributed.part_file import read_part, write_part
from tfstiff.measuring.distributed.processes import LocalProcesses
from tfstiff.measuring.distributed.structure import description_of, rebuilt
from tfstiff.measuring.distributed.worker import compute_part
from tfstiff.measuring.summation.probe_sums import ProbeTotals
from tfstiff.records.record import read_record, write_record

SOFTMAX = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class InThisProcess:
    """Sums parts here, and stops after some of them where it is told to."""

    def __init__(self, jobs=3, most=None):
        self.jobs, self.most, self.done = jobs, most, []

    def run(self, folder, indices):
        for index in indices:
            if len(self.done) == self.most:
                raise KeyboardInterrupt
            self.done.append(compute_part(str(folder), index))
            yield index


def classifier(shape=(6,), outputs=3, loss=SOFTMAX):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(shape), keras.layers.Dense(8, "tanh"), keras.layers.Dense(outputs)])
    model.compile(loss=loss)
    return model


def probe_of(sizes=(24, 18), shape=(6,), seed=0, targets=None):
    rng = np.random.default_rng(seed)
    halves = []
    for size in sizes:
        x = rng.normal(size=(size, *shape)).astype("float32")
        halves.append((x, rng.integers(0, 3, size) if targets is None else targets(rng, size)))
    return Probe.from_arrays(*halves, size=None)


@pytest.fixture
def small_blocks(monkeypatch):
    """Few examples a block, so that a small probe has many."""
    monkeypatch.setattr("tfstiff.gradients.memory._FEWEST_ROWS", 4)
    monkeypatch.setattr("tfstiff.gradients.memory._BLOCK_BYTES", 1)


def check_same(found, expected, folder):
    """Through records, which hold everything that a measurement does."""
    paths = [folder / name for name in ("found.npz", "expected.npz")]
    for path, measurement in zip(paths, (found, expected), strict=True):
        write_record(path, measurement)
    with np.load(paths[0]) as one, np.load(paths[1]) as other:
        assert set(one.files) == set(other.files)
        for name in one.files:
            first, second = one[name], other[name]
            if first.dtype.kind in "fc":
                np.testing.assert_allclose(first, second, rtol=2e-4, atol=2e-5, err_msg=name)
            elif name != "scalars":
                np.testing.assert_array_equal(first, second, err_msg=name)
    assert read_record(paths[0]).scalars() == pytest.approx(
        read_record(paths[1]).scalars(), rel=1e-4, abs=1e-5, nan_ok=True
    )


CASES = {
    "defaults": {},
    "some pair sets": {"pair_sets": ["train_val"]},
    "each layer": {"per_layer": True},
    "other distances": {"space": "all", "distance": "l2", "distance_pairs": "all", "distance_bins": "quantile"},
    "another line": {"critical_length_method": "first_crossing", "critical_length_metric": "sign"},
    "groups": {"groups": {"first": ["0", "1"], "second": ["2"]}},
    "one example at a time": {"method": "loop"},
    "little memory": {"memory_limit": 360_000},
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_equals_one_process(options, tmp_path):
    model, probe, processes = classifier(), probe_of(), InThisProcess()
    told = []
    found = measure_in_parts(
        model, probe, tmp_path / "job", processes=processes, progress=lambda *now: told.append(now), **options
    )
    assert len(processes.done) >= 10
    total = len(processes.done)
    assert told == [(done, total) for done in range(total + 1)]
    check_same(found, measure(model, probe, **options), tmp_path)


@pytest.mark.usefixtures("small_blocks")
def test_regression_and_a_loss_that_is_given(tmp_path):
    model, probe = classifier(outputs=2, loss="mse"), probe_of(targets=lambda rng, size: rng.normal(size=(size, 2)))
    for number, loss in enumerate((None, "mae")):
        found = measure_in_parts(model, probe, tmp_path / str(number), processes=InThisProcess(), loss=loss)
        check_same(found, measure(model, probe, loss=loss), tmp_path)


@pytest.mark.usefixtures("small_blocks")
def test_several_inputs_and_weighted_outputs(tmp_path):
    inputs = {name: keras.Input((width,), name=name) for name, width in (("a", 3), ("b", 2))}
    hidden = keras.layers.Dense(4, "tanh")(keras.layers.Concatenate()([inputs["a"], inputs["b"]]))
    model = keras.Model(inputs, [keras.layers.Dense(3)(hidden), keras.layers.Dense(1)(hidden)])
    model.compile(loss=[SOFTMAX, "mse"], loss_weights=[1.0, 0.3])
    rng = np.random.default_rng(0)

    def half(size):
        x = {"a": rng.normal(size=(size, 3)).astype("f"), "b": rng.normal(size=(size, 2)).astype("f")}
        return x, [rng.integers(0, 3, size), rng.normal(size=(size, 1)).astype("f")]

    halves = half(20), half(12)
    classes = tuple(labels[0] for _, labels in halves)
    probe = Probe.from_arrays(*halves, size=None, classes=classes)
    found = measure_in_parts(model, probe, tmp_path / "job", processes=InThisProcess())
    check_same(found, measure(model, probe), tmp_path)


@pytest.mark.usefixtures("small_blocks")
def test_goes_on_where_it_was_stopped(tmp_path):
    model, probe, first = classifier(), probe_of(), InThisProcess(most=4)
    with pytest.raises(KeyboardInterrupt):
        measure_in_parts(model, probe, tmp_path / "job", processes=first)
    second, told = InThisProcess(jobs=1), []
    found = measure_in_parts(
        model, probe, tmp_path / "job", processes=second, progress=lambda done, total: told.append(done)
    )
    assert len(first.done) == 4
    assert told[0] == 4
    assert not set(first.done) & set(second.done)
    check_same(found, measure(model, probe), tmp_path)
    third = InThisProcess()
    measure_in_parts(model, probe, tmp_path / "job", processes=third)
    assert third.done == []
    path = sorted((tmp_path / "job" / "parts").iterdir())[2]
    path.write_bytes(path.read_bytes()[:-50])
    fourth = InThisProcess()
    with pytest.warns(UserWarning, match="Moved aside, to be summed again"):
        found = measure_in_parts(model, probe, tmp_path / "job", processes=fourth)
    assert len(fourth.done) == 1
    check_same(found, measure(model, probe), tmp_path)


@pytest.mark.parametrize("change", ["weights", "probe", "options", "loss"])
def test_a_folder_of_another_measurement_is_refused(change, tmp_path):
    model, probe = classifier(), probe_of()
    measure_in_parts(model, probe, tmp_path / "job", processes=InThisProcess())
    options = {"per_layer": True} if change == "options" else {"loss": "kl_divergence"} if change == "loss" else {}
    if change == "weights":
        model.layers[0].kernel.assign_add(0.1 * np.ones((6, 8)))
    other = probe_of(seed=1) if change == "probe" else probe
    with pytest.raises(InvalidInput, match="holds something else"):
        measure_in_parts(model, other, tmp_path / "job", processes=InThisProcess(), **options)


def test_only_what_was_written_is_removed(tmp_path):
    for name in ("one", "two"):
        measure_in_parts(classifier(), probe_of(), tmp_path / name, processes=InThisProcess())
    kept = tmp_path / "two" / "arrays" / "song.flac"
    kept.write_text("mine")
    for name in ("one", "two", "absent"):
        remove_job(tmp_path / name)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert not (tmp_path / "one").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InvalidInput, match="holds something else"):
        measure_in_parts(classifier(), probe_of(), tmp_path, processes=InThisProcess())
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    "options",
    [{"keep_gram": True}, {"pair_sets": ["test_test"]}, {"nonsense": 1}],
)
def test_options_that_cannot_be_had(options, tmp_path):
    with pytest.raises(InvalidInput):
        measure_in_parts(classifier(), probe_of(), tmp_path / "job", processes=InThisProcess(), **options)
    assert not (tmp_path / "job").exists()


def test_no_processes(tmp_path):
    with pytest.raises(InvalidInput, match="at least one process"):
        measure_in_parts(classifier(), probe_of(), tmp_path / "job", processes=0)


def test_a_loss_that_does_not_survive_being_saved(tmp_path):
    model, probe = classifier(outputs=2, loss="mse"), probe_of(targets=lambda rng, size: rng.normal(size=(size, 2)))
    with pytest.raises(UnsupportedModel, match="other losses"):  # Keras does not keep the delta
        measure_in_parts(model, probe, tmp_path / "job", processes=InThisProcess(), loss=keras.losses.Huber(0.5))


def test_a_model_that_cannot_be_built_again(tmp_path):
    def made_up(x):
        return x * 2

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3), keras.layers.Lambda(made_up)])
    model.compile(loss=SOFTMAX)
    processes = InThisProcess()
    with pytest.raises(UnsupportedModel, match="cannot be built again"):
        measure_in_parts(model, probe_of(), tmp_path / "job", processes=processes)
    assert processes.done == []


class KillsOne(LocalProcesses):
    """Kills a process after the first part, and notes how many there were."""

    def run(self, folder, indices):
        killed = False
        for index in super().run(folder, indices):
            if not killed:
                os.kill(self._workers[0]._process.pid, signal.SIGKILL)
                killed = True
            yield index


@pytest.mark.usefixtures("small_blocks")
def test_processes_of_this_machine_one_of_which_is_killed(tmp_path):
    model, probe = classifier(), probe_of()
    found = measure_in_parts(model, probe, tmp_path / "job", processes=KillsOne(1))
    check_same(found, measure(model, probe), tmp_path)


def test_a_process_that_fails_says_why(tmp_path):
    model, probe = classifier(), probe_of()
    with pytest.raises(KeyboardInterrupt):
        measure_in_parts(model, probe, tmp_path / "job", processes=InThisProcess(most=0))
    (tmp_path / "job" / "model.keras").write_bytes(b"damaged")
    job = load_job(tmp_path / "job")
    with pytest.raises(PartFailed, match=r"model\.keras|zip"):
        list(LocalProcesses(1).run(job.folder, job.missing()))


LEAVES = st.integers(0, 99).map(lambda value: np.array([value]))
NESTED = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(NESTED)
def test_structures_survive_json(nested):
    description = json.loads(json.dumps(description_of(nested)))
    found = rebuilt(description, keras.tree.flatten(nested))
    keras.tree.assert_same_structure(found, nested)
    assert [leaf.tolist() for leaf in keras.tree.flatten(found)] == [
        leaf.tolist() for leaf in keras.tree.flatten(nested)
    ]


def test_totals_survive_their_file(tmp_path):
    arrays = {("rows",): np.arange(3.0), ('a "layer"/x', "edges"): np.array([np.nan, 1])}
    totals = ProbeTotals(
        {("", "train_val"): arrays, ("model/dense", "val_val"): {("smallest",): np.array(np.inf)}},
        {("", 0): np.array([-1.0, np.nan]), ("", 1): np.array([np.inf])},
        {3: (np.ones(2), np.zeros((2, 4))), 0: (np.zeros(1),)},
    )
    write_part(tmp_path / "part.npz", totals)
    found = read_part(tmp_path / "part.npz")
    assert_same(found.sums, totals.sums)
    assert_same(found.norms, totals.norms)
    assert {block: len(outputs) for block, outputs in found.outputs.items()} == {3: 2, 0: 1}
    np.testing.assert_array_equal(found.outputs[3][1], np.zeros((2, 4)))


@pytest.mark.usefixtures("small_blocks")
def test_tasks_of_a_ray_cluster(tmp_path):
    if importlib.util.find_spec("ray") is None:  # it is to be imported by what is tested, which prepares that
        pytest.skip("Ray is not installed: pip install 'tfstiff[ray]'")
    from tfstiff.measuring.distributed.on_ray import RayTasks

    model, probe = classifier(), probe_of()
    found = measure_in_parts(model, probe, tmp_path / "job", processes=RayTasks(jobs=1))
    check_same(found, measure(model, probe), tmp_path)


def test_weights_that_are_chosen(small_blocks, tmp_path):
    model, probe = classifier(), probe_of()
    found = measure_in_parts(model, probe, tmp_path / "job", processes=InThisProcess(), weights="head")
    check_same(found, measure(model, probe, weights="head"), tmp_path)
    assert found.weights == "head"
    with pytest.raises(InvalidInput, match="A function that chooses weights"):
        measure_in_parts(model, probe, tmp_path / "other", processes=InThisProcess(), weights=lambda weight: True)


@pytest.mark.parametrize(
    "change", [lambda layer: layer.enable_lora(2), lambda layer: setattr(layer.kernel, "trainable", False)]
)
def test_a_model_whose_weights_are_not_saved_as_they_are(change, tmp_path):
    """Its losses are the same once it is loaded, and its gradients are not."""
    model = classifier()
    change(model.layers[0])
    with pytest.raises(UnsupportedModel, match=r"once the model has been saved and loaded(.|\n)*one process"):
        measure_in_parts(model, probe_of(), tmp_path / "job", processes=InThisProcess())
