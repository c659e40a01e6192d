import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, StiffnessCallback
from tfstiff.callbacks import schedules
from tfstiff.errors import InvalidInput
from tfstiff.records import RunWriter
from tfstiff.runs.batches import STEPS_PER_EXECUTION, Batches, steps_per_execution
from tfstiff.runs.progress import Progress
from tfstiff.runs.reporter import Reporter
from tfstiff.runs.segments import EpochCallbacks, Segment, fit_in_segments, segments

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(22, 4)).astype(np.float32), np.arange(22) % 3  # 6 batches of 4, the last of 2
STEPS = 6


def small(steps_per_execution=1):
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5), keras.layers.Dropout(0.3), keras.layers.Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], steps_per_execution=steps_per_execution)
    return model


def order_of(batches, epoch, first=0, last=None):
    """The positions of the examples, in order, and the sizes of the batches."""
    batches.place(epoch, first, batches.num_steps if last is None else last)
    read = [x.numpy()[:, 0].astype(int).tolist() for x, _ in batches.dataset]
    return [position for batch in read for position in batch], [len(batch) for batch in read]


def numbered(batch_size=4, seed=0, count=22):
    numbers = np.arange(count)
    return Batches(numbers[:, None].astype(np.float32), numbers * 2, batch_size, seed)


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(4, [4] * 5 + [2]), (22, [22]), (30, [22]), (1, [1] * 22), (11, [11] * 2)]
)
def test_every_example_comes_once_an_epoch(batch_size, sizes):
    batches = numbered(batch_size)
    for epoch in range(3):
        order, found = order_of(batches, epoch)
        assert sorted(order) == list(range(22))
        assert found == sizes
    assert batches.num_steps == len(sizes)


def test_labels_go_with_their_inputs():
    batches = numbered()
    batches.place(1, 0, 6)
    for x, y in batches.dataset:
        np.testing.assert_array_equal(y, 2 * x[:, 0])


def test_the_order_is_that_of_the_seed_and_the_epoch():
    orders = {
        (seed, epoch): order_of(numbered(seed=seed), epoch)[0] for seed in (0, 1, 2**32 - 1) for epoch in (0, 1, 7)
    }
    assert len({tuple(order) for order in orders.values()}) == 9
    np.random.seed(3)
    keras.utils.set_random_seed(99)
    again = numbered(seed=1)
    assert order_of(again, 7)[0] == orders[1, 7]  # whatever came before
    assert order_of(again, 1)[0] == orders[1, 1]


@pytest.mark.parametrize("batch_size", [4, 11, 22])
def test_a_part_of_an_epoch_has_its_batches(batch_size):
    batches = numbered(batch_size)
    order, sizes = order_of(batches, 2)
    for first in range(batches.num_steps):
        for last in range(first + 1, batches.num_steps + 1):
            found, found_sizes = order_of(batches, 2, first, last)
            assert found == order[first * batch_size : last * batch_size]
            assert found_sizes == sizes[first:last]


def test_fit_sees_the_order_of_each_epoch():
    seen = []

    class Noting(keras.Sequential):
        def train_step(self, data):
            seen.extend(data[0].numpy()[:, 0].astype(int).tolist())
            return {"loss": tf.constant(0.0)}

    model = Noting([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True, steps_per_execution=4)
    told = EpochCallbacks([], model, epochs=2, steps=6)
    told.begin()
    fit_in_segments(model, numbered(seed=3), told, [1, 9])
    assert seen == order_of(numbered(seed=3), 0)[0] + order_of(numbered(seed=3), 1)[0]


def each_step(epochs, steps, stops, together, trained=0):
    """The steps after which callbacks are called."""
    found = []
    for epoch, first, last in segments(epochs, steps, stops, together, trained=trained):
        found += [epoch * steps + min(step + together, last) for step in range(first, last, together)]
    return found


@pytest.mark.parametrize("together", [1, 2, 5, 32])
@pytest.mark.parametrize("steps", [1, 6, 40])
@pytest.mark.parametrize("stops", [[], [0, 3, 7], [1, 2, 41, 79, 80, 99], range(81)])
def test_parts_follow_each_other_and_end_where_they_must(together, steps, stops):
    parts = list(segments(2, steps, stops, together))
    assert parts[0][:2] == (0, 0)
    assert all(after.first == before.last % steps for before, after in itertools.pairwise(parts))
    assert parts[-1] == (1, parts[-1].first, steps)
    called = each_step(2, steps, stops, together)
    grid = [epoch * steps + min(n + together, steps) for epoch in range(2) for n in range(0, steps, together)]
    assert called == sorted({*grid, *(step for step in stops if 0 < step <= 2 * steps)})  # the grid, whatever the stops
    for trained in called[:-1]:  # gone on from any place where callbacks are called
        assert each_step(2, steps, stops, together, trained) == [step for step in called if step > trained]


def test_an_epoch_is_one_part_where_callbacks_are_called_after_every_step():
    assert list(segments(2, 6, [1, 2, 7], 1)) == [Segment(0, 0, 6), Segment(1, 0, 6)]


def fit_with(callbacks, steps_per_execution, stops=(), epochs=2):
    """Trains with `callbacks(model)`, in parts up to `stops`."""
    model = small(steps_per_execution)
    told = EpochCallbacks(callbacks(model), model, epochs=epochs, steps=STEPS)
    told.begin()
    fit_in_segments(model, Batches(X, Y, 4, seed=1), told, stops)
    return model, model.history.history


@pytest.fixture(scope="module")
def plain():
    """One call of `fit`, of which nothing is stopped."""
    model, batches, logs = small(), Batches(X, Y, 4, seed=1), {}
    for epoch in range(2):
        batches.place(epoch, 0, STEPS)
        found = model.fit(batches.dataset, steps_per_epoch=STEPS, verbose=0, shuffle=False).history
        logs = {name: logs.get(name, []) + values for name, values in found.items()}
    return model, logs


CASES = [
    (1, [0, 3, 7]),
    (2, [1, 2, 6, 11]),
    (4, [1, 4, 5, 6, 7, 9, 12]),  # an epoch is an execution of 4 steps and one of 2
    (4, []),
    (4, [99]),
    (6, [3, 6, 12]),
    (32, [5, 6, 8]),
    (32, range(13)),
]


@pytest.mark.parametrize(("steps_per_execution", "stops"), CASES)
def test_the_steps_given_are_stopped_at_and_nothing_else_changes(plain, steps_per_execution, stops):
    called, epochs = [], []

    def callbacks(model):
        return [
            keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: called.append((int(model.optimizer.iterations), batch)),
                on_epoch_begin=lambda epoch, logs: epochs.append(("begins", epoch)),
                on_epoch_end=lambda epoch, logs: epochs.append(("ends", epoch)),
                on_train_begin=lambda logs: epochs.append("begins"),
                on_train_end=lambda logs: epochs.append("ends"),
            )
        ]

    model, history = fit_with(callbacks, steps_per_execution, stops)
    for found, expected in zip(model.get_weights(), plain[0].get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert history == plain[1]
    assert called == [(step, (step - 1) % STEPS) for step in each_step(2, STEPS, stops, steps_per_execution)]
    assert {step for step in stops if 0 < step <= 12} <= {step for step, _ in called}
    assert epochs == ["begins", *((what, epoch) for epoch in (0, 1) for what in ("begins", "ends")), "ends"]


def test_a_stop_sees_the_weights_of_that_step():
    each, found = {}, {}

    def every_step(model):
        def note(batch, logs):
            each[int(model.optimizer.iterations)] = model.get_weights()

        return [keras.callbacks.LambdaCallback(on_train_batch_end=note)]

    fit_with(every_step, 1)

    def at_some(model):
        def note(batch, logs):
            found[int(model.optimizer.iterations)] = model.get_weights()

        return [keras.callbacks.LambdaCallback(on_train_batch_end=note)]

    fit_with(at_some, 5, [2, 9])
    assert {2, 9} <= found.keys()
    for step, weights in found.items():
        for one, two in zip(weights, each[step], strict=True):
            np.testing.assert_array_equal(one, two)


def test_training_that_is_stopped_inside_an_epoch_ends_it_and_itself():
    called = []

    def callbacks(model):
        class Stops(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                called.append(batch)
                self.model.stop_training = batch == 2

            def on_epoch_end(self, epoch, logs=None):
                called.append(f"epoch {epoch} ends")

            def on_train_end(self, logs=None):
                called.append("training ends")

        return [Stops()]

    fit_with(callbacks, 6, [3, 4])
    assert called == [2, "epoch 0 ends", "training ends"]


@pytest.mark.parametrize("limit", ["1", "2"])
def test_limits_that_keras_takes_from_the_environment_are_told(monkeypatch, limit):
    monkeypatch.setattr(keras.config, "max_steps_per_epoch", lambda: int(limit))
    monkeypatch.setattr("keras.src.trainers.epoch_iterator.config.max_steps_per_epoch", lambda: int(limit))
    with pytest.warns(UserWarning, match="Limiting"), pytest.raises(InvalidInput, match="before its last step"):
        fit_with(lambda model: [], 1)


@pytest.mark.parametrize("steps_per_execution", [1, 4, 32])
def test_measurements_are_at_exactly_the_steps_given(steps_per_execution):
    probe = Probe.from_arrays(train=(X, Y), validation=(X, Y), size=6)
    steps = [0, 1, 3, 4, 6, 9, 12]
    stiffness = StiffnessCallback(probe, schedules.at_steps(steps))
    fit_with(lambda model: [stiffness], steps_per_execution, steps)
    assert [(m.step, m.updates) for m in stiffness.history] == [(step, step) for step in steps]


def test_executions_end_wherever_something_is_looked_at():
    assert steps_per_execution() == STEPS_PER_EXECUTION
    for interval in range(1, 200):
        found = steps_per_execution(interval)
        assert interval % found == 0
        assert 1 <= found <= STEPS_PER_EXECUTION
    assert [steps_per_execution(interval) for interval in (1, 16, 32, 37, 50, 64, 100)] == [1, 16, 32, 1, 25, 32, 25]


class Told(Progress):
    def __init__(self):
        self.calls = []

    def stepped(self, epoch, step, logs):
        self.calls.append(("stepped", epoch, step, set(logs)))

    def epoch_ended(self, epoch, logs, seconds):
        self.calls.append(("epoch", epoch, set(logs)))
        assert seconds > 0

    def measured(self, measurement, seconds):
        self.calls.append(("measured", measurement.step))


def test_the_reporter_tells_everything_in_order(tmp_path):
    probe = Probe.from_arrays(train=(X, Y), validation=(X, Y), size=6)
    stiffness = StiffnessCallback(probe, schedules.at_steps([0, 4, 12]))
    told = Told()
    reporter = Reporter(stiffness, told, RunWriter(tmp_path))
    fit_with(lambda model: [stiffness, reporter], 4)
    own = {"loss", "accuracy"}
    assert told.calls == [
        ("measured", 0),
        ("measured", 4),
        ("stepped", 0, 4, own),
        ("stepped", 0, 6, own),
        ("epoch", 0, own),
        ("stepped", 1, 4, own),
        ("measured", 12),
        ("stepped", 1, 6, own),
        ("epoch", 1, own),
    ]
    assert (reporter.steps, reporter.diverged) == (12, False)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_training_stops_where_the_loss_is_no_longer_finite(tmp_path, value):
    probe = Probe.from_arrays(train=(X, Y), validation=(X, Y), size=6)
    stiffness = StiffnessCallback(probe, [0])
    reporter = Reporter(stiffness, Progress(), RunWriter(tmp_path))

    class Breaking(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.sum(y_pred, -1) * 0 + scale

    scale = keras.Variable(1.0, trainable=False)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", Breaking())
    breaks = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: scale.assign(value if batch == 2 else 1.0)
    )
    model.fit(X, Y, batch_size=4, epochs=3, verbose=0, callbacks=[breaks, stiffness, reporter])
    assert (reporter.steps, reporter.diverged) == (3, True)
