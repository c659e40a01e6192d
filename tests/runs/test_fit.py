import keras
import numpy as np
import pytest
import tensorflow as tf

from tfstiff import Probe, StiffnessCallback
from tfstiff.callbacks import schedules
from tfstiff.records import RunWriter
from tfstiff.runs.fit import STEPS_PER_EXECUTION, Batches, ExactSteps, Reporter, steps_per_execution
from tfstiff.runs.progress import Progress

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


def order_of(batches, epoch):
    """The positions of the examples, in order, and the sizes of the batches."""
    batches.on_epoch_begin(epoch)
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
    assert batches.num_steps == len(sizes) == batches.dataset.cardinality().numpy()


def test_labels_go_with_their_inputs():
    batches = numbered()
    batches.on_epoch_begin(1)
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


def test_fit_sees_the_order_of_each_epoch():
    seen = []

    class Noting(keras.Sequential):
        def train_step(self, data):
            seen.extend(data[0].numpy()[:, 0].astype(int).tolist())
            return {"loss": tf.constant(0.0)}

    model = Noting([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    batches = numbered(seed=3)
    model.fit(batches.dataset, epochs=2, verbose=0, shuffle=False, callbacks=[batches])
    assert seen == order_of(numbered(seed=3), 0)[0] + order_of(numbered(seed=3), 1)[0]


def fit_with(exact_for, steps_per_execution, epochs=2, initial_epoch=0):
    """Trains with `exact_for(done_hooks)` among the callbacks, if there is one."""
    model = small(steps_per_execution)
    batches = Batches(X, Y, 4, seed=1)
    callbacks = [batches, *(exact_for(model) if exact_for else [])]
    history = model.fit(
        batches.dataset, epochs=epochs, initial_epoch=initial_epoch, verbose=0, shuffle=False, callbacks=callbacks
    )
    return model, history.history


@pytest.fixture(scope="module")
def plain():
    return fit_with(None, 1)


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


@pytest.mark.parametrize(("steps_per_execution", "steps"), CASES)
def test_the_steps_given_are_stopped_at_and_nothing_else_changes(plain, steps_per_execution, steps):
    stops = []

    def callbacks(model):
        kept = []

        def reached(done):
            stops.append((kept[0]._begun + done, "reached"))

        kept.append(ExactSteps(steps, reached))
        hooks = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: stops.append((int(model.optimizer.iterations.numpy()), "hook"))
        )
        return [*kept, hooks]

    model, history = fit_with(callbacks, steps_per_execution)
    for found, expected in zip(model.get_weights(), plain[0].get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert history == plain[1]
    together = min(steps_per_execution, STEPS)
    ends = [epoch * STEPS + min(n + together, STEPS) for epoch in range(2) for n in range(0, STEPS, together)]
    inside = {step for step in steps if 0 < step <= 2 * STEPS} - set(ends)
    assert stops == sorted([(step, "hook") for step in ends] + [(step, "reached") for step in inside])


def test_reached_sees_the_weights_of_that_step():
    each = {}

    def every_step(model):
        keep = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: each.setdefault(len(each) + 1, model.get_weights())
        )
        return [keep]

    fit_with(every_step, 1)
    found = {}

    def at_some(model):
        exact = ExactSteps([2, 9], lambda done: found.setdefault(len(found), model.get_weights()))
        return [exact]

    fit_with(at_some, 5)
    assert len(found) == 2
    for place, step in enumerate([2, 9]):
        for one, two in zip(found[place], each[step], strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_keras_gets_its_function_back(steps_per_execution):
    model = small(steps_per_execution)
    model.make_train_function()
    own = model.train_function
    batches = Batches(X, Y, 4, seed=1)
    model.fit(batches.dataset, epochs=1, verbose=0, callbacks=[batches, ExactSteps([1], lambda done: None)])
    assert model.train_function is own
    assert model.steps_per_execution == steps_per_execution


def test_steps_are_counted_from_the_beginning_of_training_whatever_the_first_epoch():
    done = []
    fit_with(lambda model: [ExactSteps([2, 8, 13], done.append)], 6, epochs=3, initial_epoch=1)
    assert done == [2, 1]


@pytest.mark.parametrize("steps_per_execution", [1, 4, 32])
def test_measurements_are_at_exactly_the_steps_given(steps_per_execution):
    probe = Probe.from_arrays(train=(X, Y), validation=(X, Y), size=6)
    steps = [0, 1, 3, 4, 6, 9, 12]
    stiffness = StiffnessCallback(probe, schedules.at_steps(steps))
    exact = ExactSteps(steps, lambda done: stiffness.on_train_batch_end(done - 1))
    fit_with(lambda model: [exact, stiffness], steps_per_execution)
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
