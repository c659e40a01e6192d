import copy

import keras
import numpy as np
import pytest

import tfstiff
from tfstiff import Probe, StiffnessCallback, StopAtTrainingLoss, load_run
from tfstiff.errors import InvalidInput, UnsupportedModel

RNG = np.random.default_rng(0)
Y = np.arange(22) % 3  # 6 batches of 4, the last of 2
X = (RNG.normal(size=(22, 4)) + 2 * np.eye(4)[Y]).astype(np.float32)
STEPS = 6


def small(steps_per_execution=1, **options):
    keras.utils.set_random_seed(5)
    layers = [
        keras.layers.Dense(5, activation="relu", activity_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(0.05)
    model.compile(optimizer, loss, metrics=["accuracy"], steps_per_execution=steps_per_execution, **options)
    return model


def fit(model, *callbacks, epochs=4):
    history = model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks)).history
    return {name: values for name, values in history.items() if not name.startswith("stiffness")}


def plain_loss(model, x=X, y=Y):
    """Mean cross-entropy in inference mode, by NumPy."""
    logits = model(x, training=False).numpy().astype(np.float64)
    return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]))


def stiffness_for(**options):
    probe = Probe.from_arrays(train=(X, Y), validation=(X, Y), size=6)
    return StiffnessCallback(probe, schedule=[0.0], **options)


def test_it_is_a_public_name():
    assert tfstiff.StopAtTrainingLoss is StopAtTrainingLoss


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_the_loss_is_that_of_the_examples_in_inference_mode(steps_per_execution):
    model = small(steps_per_execution)
    stop = StopAtTrainingLoss(X, Y, -1.0, interval=1)
    seen = [plain_loss(model)]
    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(plain_loss(model)))
    fit(model, stop, look, epochs=2)
    assert [loss for _, loss in stop.evaluations] == pytest.approx(seen, rel=1e-5)
    ends = [4, 6] if steps_per_execution == 4 else range(1, 7)
    assert [step for step, _ in stop.evaluations] == [0, *ends, *(STEPS + end for end in ends)]
    assert stop.num_examples == 22
    assert stop.reached == []


@pytest.mark.parametrize(("interval", "steps"), [(4, [0, 4, 6, 10, 12]), (3, [0, 3, 6, 9, 12]), (100, [0, 6, 12])])
def test_it_is_evaluated_at_an_interval_and_at_the_ends_of_epochs(interval, steps):
    stop = StopAtTrainingLoss(X, Y, -1.0, interval=interval)
    fit(small(), stop, epochs=2)
    assert [step for step, _ in stop.evaluations] == steps


@pytest.mark.parametrize("steps_per_execution", [1, 4])
@pytest.mark.parametrize("eagerly", [False, True])
def test_evaluating_and_measuring_change_nothing_of_the_training(steps_per_execution, eagerly):
    if eagerly and steps_per_execution > 1:
        pytest.skip("Keras refuses it")
    plain = small(steps_per_execution, run_eagerly=eagerly)
    expected = fit(plain, epochs=2)
    following = keras.random.uniform((3,)).numpy().tolist()
    watched = small(steps_per_execution, run_eagerly=eagerly)
    stiffness = stiffness_for()
    stop = StopAtTrainingLoss(X, Y, [1.1, -1.0], interval=1, stiffness=stiffness)
    assert fit(watched, stiffness, stop, epochs=2) == expected
    assert len(stiffness.history) == 2  # at initialisation and at the one threshold
    for one, two in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(plain.optimizer.variables, watched.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    for one, two in zip(plain.non_trainable_variables, watched.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())  # batch statistics and the state of dropout
    assert keras.random.uniform((3,)).numpy().tolist() == following


@pytest.mark.parametrize("steps_per_execution", [1, 4])
def test_it_measures_at_each_threshold_and_stops_at_the_last(tmp_path, steps_per_execution):
    model = small(steps_per_execution)
    stiffness = stiffness_for(log_dir=tmp_path / "run")
    stop = StopAtTrainingLoss(X, Y, (0.4, 1.0, 0.7), interval=2, stiffness=stiffness)
    fit(model, stiffness, stop, epochs=600)
    losses = dict(stop.evaluations)
    steps = [next(step for step, loss in stop.evaluations if loss <= level) for level in (1.0, 0.7, 0.4)]
    assert [(one.threshold, one.step) for one in stop.reached] == list(zip((1.0, 0.7, 0.4), steps, strict=True))
    assert [one.loss for one in stop.reached] == [losses[step] for step in steps]
    assert model.optimizer.iterations == steps[-1] == stop.evaluations[-1][0] < 600 * STEPS
    assert plain_loss(model) == pytest.approx(losses[steps[-1]], rel=1e-5)
    measured = [m.step for m in stiffness.history]
    assert measured == sorted({0, *steps})
    assert [m.updates for m in stiffness.history] == measured
    expected = [
        {"event": "training_loss_reached", "step": one.step, "epoch": pytest.approx(one.step / STEPS)}
        | {"threshold": one.threshold, "training_loss": one.loss}
        for one in stop.reached
    ]
    assert stiffness.events == expected == load_run(tmp_path / "run").events
    assert [m.step for m in load_run(tmp_path / "run").measurements] == measured


def test_a_measurement_of_the_schedule_serves_the_threshold_too():
    stiffness = StiffnessCallback(stiffness_for().probe, schedule=1)
    stop = StopAtTrainingLoss(X, Y, 1.0, interval=1, stiffness=stiffness)
    fit(small(), stiffness, stop)
    assert [m.step for m in stiffness.history] == list(range(stop.reached[0].step + 1))


def test_thresholds_reached_together_share_a_measurement():
    stiffness = stiffness_for()
    stop = StopAtTrainingLoss(X, Y, (99.0, 98.0, 97.0), stiffness=stiffness)
    model = small()
    fit(model, stiffness, stop)
    assert [(one.threshold, one.step) for one in stop.reached] == [(99.0, 0), (98.0, 0), (97.0, 0)]
    assert [m.step for m in stiffness.history] == [0]
    assert len(stiffness.events) == 3
    assert model.optimizer.iterations == 1  # Keras looks whether to stop after an execution


def test_it_stops_without_measuring_too():
    stop = StopAtTrainingLoss(X, Y, 0.8, interval=1)
    model = small()
    fit(model, stop, epochs=60)
    assert model.optimizer.iterations == stop.reached[0].step > 0


def test_each_fit_begins_anew():
    stop = StopAtTrainingLoss(X, Y, 0.8, interval=1)
    model = small()
    fit(model, stop, epochs=60)
    first = model.optimizer.iterations.numpy()
    fit(model, stop, epochs=60)
    assert [(one.threshold, one.step) for one in stop.reached] == [(0.8, 0)]
    assert model.optimizer.iterations == first + 1


def test_an_epoch_of_unknown_length():
    def batches():
        for start in range(0, 22, 4):
            yield X[start : start + 4], Y[start : start + 4]

    import tensorflow as tf

    kinds = (tf.TensorSpec((None, 4)), tf.TensorSpec((None,), tf.int64))
    data = tf.data.Dataset.from_generator(batches, output_signature=kinds)
    stop = StopAtTrainingLoss(X, Y, -1.0, interval=4)
    small(steps_per_execution=4).fit(data, epochs=2, verbose=0, callbacks=[stop])
    assert [step for step, _ in stop.evaluations] == [0, 4, 6, 10, 12]


def test_the_sample_is_that_of_the_seed():
    def chosen(**options):
        stop = StopAtTrainingLoss(np.arange(1000), np.arange(1000), 1.0, **options)
        x = np.concatenate([chunk[0] for chunk in stop._chunks])
        np.testing.assert_array_equal(x, np.concatenate([chunk[1] for chunk in stop._chunks]))
        assert stop.num_examples == len(x) == len(np.unique(x))
        return x.tolist()

    assert len(chosen(size=600)) == 600
    assert chosen(size=300, seed=1) == chosen(size=300, seed=1) != chosen(size=300, seed=2)
    assert chosen(size=5000) == list(range(1000))


def test_several_inputs_and_a_loss_of_positions():
    keras.utils.set_random_seed(0)
    first, second = keras.Input((3, 2), name="a"), keras.Input((3, 2), name="b")
    model = keras.Model({"a": first, "b": second}, keras.layers.Dense(1)(keras.layers.add([first, second])))
    model.compile("sgd", "mse")
    x = {"a": RNG.normal(size=(9, 3, 2)), "b": RNG.normal(size=(9, 3, 2))}
    y = RNG.normal(size=(9, 3, 1))
    expected = np.mean((model.predict(x, verbose=0) - y) ** 2)
    stop = StopAtTrainingLoss(x, y, 1e-9)
    model.fit(x, y, epochs=1, verbose=0, callbacks=[stop])
    assert stop.evaluations[0] == (0, pytest.approx(expected, rel=1e-5))


def test_a_copy_keeps_its_companion():
    stiffness = stiffness_for()
    stop = StopAtTrainingLoss(X, Y, 1.0, interval=1, stiffness=stiffness)
    copies = copy.deepcopy([stiffness, stop])
    fit(small(), *copies, epochs=60)
    assert len(copies[0].history) == 2
    assert stiffness.history == stop.reached == []


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ((X, Y, ()), {}, "no training loss"),
        ((X, Y, "0.1"), {}, "finite number"),
        ((X, Y, np.nan), {}, "finite number"),
        ((X, Y, [1.0, None]), {}, "finite number"),
        ((X, Y, [0.1, 0.1]), {}, "twice"),
        ((X, Y, 0.1), {"interval": 0}, "interval"),
        ((X, Y, 0.1), {"interval": 1.5}, "interval"),
        ((X, Y, 0.1), {"size": 0}, "size"),
        ((X, Y, 0.1), {"seed": -1}, "seed"),
        ((X, Y, 0.1), {"seed": None}, "seed"),
        ((X, Y, 0.1), {"size": True}, "size"),
        ((X, Y[:-1], 0.1), {}, "one row"),
        ((X[:0], Y[:0], 0.1), {}, "one row"),
        ((X, 1, 0.1), {}, "one row"),
    ],
)
def test_arguments_that_cannot_be(arguments, options, told):
    with pytest.raises(InvalidInput, match=told):
        StopAtTrainingLoss(*arguments, **options)


def test_the_wrong_order_is_told_before_training():
    for callbacks in (lambda stiffness, stop: [stop, stiffness], lambda stiffness, stop: [stop]):
        stiffness, model = stiffness_for(), small()
        stop = StopAtTrainingLoss(X, Y, 0.1, stiffness=stiffness)
        with pytest.raises(InvalidInput, match="before its StiffnessCallback"):
            fit(model, *callbacks(stiffness, stop))
        assert model.optimizer.iterations == 0


def test_measuring_before_training_is_refused():
    with pytest.raises(InvalidInput, match="before it saw training begin"):
        stiffness_for().measure_now()


def test_a_model_without_a_loss_of_single_examples():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", lambda y, prediction: keras.ops.mean(prediction) ** 2)
    with pytest.raises(UnsupportedModel, match="whole batch"):
        fit(model, StopAtTrainingLoss(X, Y, 0.1))
