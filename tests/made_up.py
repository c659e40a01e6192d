"""Sweeps whose trials take no time, for the tests of what runs and reads them; measurements that take none."""

from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

import numpy as np
from synthetic_runs import measurement

from tfstiff.records import RunWriter
from tfstiff.sweeps import grid, plan_sweep
from tfstiff.sweeps.state import TrialState


def sweep_of(folder, rates=(1e-4, 8e-4), seeds=(0, 1)):
    return plan_sweep(folder, grid({"learning_rate": list(rates), "seed": list(seeds)}))[0]


def finish(sweep, trial, status="completed"):
    """What the process of a trial leaves behind that came to its end."""
    writer = RunWriter(sweep.run_folder(trial))
    writer.write_config(trial.spec.as_config() | {"steps_per_epoch": 313})
    writer.write_status(status)
    state = TrialState(state=status, attempts=1, epoch=3.0, epochs=3, loss=0.5, seconds=1.0)
    sweep.record(trial, state)
    return state


class InProcess:
    """An executor that calls a function of the trial."""

    def __init__(self, behave=None):
        self.behave = behave or (lambda sweep, trial: finish(sweep, trial))
        self.ran, self.closed = [], False

    def run(self, sweep, trials, waiting):
        try:
            for trial in trials:
                waiting()
                self.ran.append(trial.name)
                state = self.behave(sweep, trial)
                sweep.record(trial, state)
                yield trial, state
        finally:
            self.closed = True


@contextmanager
def measurements():
    """Within it a run's measurements, of three classes, are at the price of none, and hang on the weights alone."""

    def measured(model, probe, **_):
        return replace(measurement(0, 0.0, float(np.abs(model.get_weights()[0]).mean() % 1), num_classes=3), step=0)

    with (
        mock.patch("tfstiff.callbacks.stiffness.measure", measured),
        mock.patch("tfstiff.callbacks.stiffness.MeasurementTask"),
        mock.patch("tfstiff.measuring.measure.MeasurementTask"),
    ):
        yield


def failed(sweep, trial):
    return TrialState(state="failed", attempts=1, error="It broke.", exit_code=1)


def example_scores(number, num_classes, classes=None, halves=("train", "validation"), rng=None):
    """Scores of the examples of one half of a probe, made up with NumPy."""
    from tfstiff.records.scores import ExampleScores, ExampleStiffness

    rng = np.random.default_rng(0) if rng is None else rng

    def stiffness():
        values = rng.normal(size=(4, number, num_classes)).astype(np.float32)
        return ExampleStiffness(rng.integers(2, 9, (number, num_classes)).astype(np.int32), *values)

    return ExampleScores(
        *rng.random((3, number)),
        margin=rng.random(number).astype(np.float32),
        predicted=None if classes is None else rng.integers(-1, num_classes, number).astype(np.int32),
        classes=None if classes is None else np.asarray(classes, np.int32),
        stiffness={half: stiffness() for half in halves},
    )


def step_effects(num_steps, num_classes, rng):
    """What steps do to the classes of one half, made up with NumPy."""
    from tfstiff.records.directions import StepEffects

    shape = (num_steps, num_classes)
    values = {name: rng.normal(size=shape) for name in ("change", "cosine")} | {"helped": rng.random(shape)}
    errors = {f"{name}_se": rng.random(shape) / 10 for name in values}
    means = {f"mean_{name}{end}": float(rng.random()) for name in ("cosine", "helped") for end in ("", "_se")}
    return StepEffects(rng.integers(2, 50, shape), **values, **errors, **means)


def directions(num_classes, rng=None):
    """The update and the class means with effects, and the next update without."""
    from tfstiff.records.directions import DirectionEffects

    rng = np.random.default_rng(0) if rng is None else rng
    found = {}
    for name, num_steps in (("update", 1), ("class_means", num_classes)):
        parts = [step_effects(num_steps, num_classes, rng) for _ in range(2)]
        found[name] = DirectionEffects("ok", rng.random(num_steps), *parts)
    return found | {"next_update": DirectionEffects("zero")}
