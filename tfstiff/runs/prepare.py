"""A run's parts, made ready to train. Imports TensorFlow where it is called, not before."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfstiff.callbacks.schedules import at_steps
from tfstiff.datasets.groupings import chosen_grouping
from tfstiff.errors import InvalidInput
from tfstiff.gradients.options import NONE
from tfstiff.records import METRICS, scalar_names
from tfstiff.runs.data import draw_probe, load_examples
from tfstiff.runs.losses import chosen_loss, make_loss
from tfstiff.runs.optimizers import make_optimizer
from tfstiff.runs.spec import RunSpec

if TYPE_CHECKING:
    import keras

    from tfstiff.callbacks.stiffness import StiffnessCallback
    from tfstiff.callbacks.stop_at_loss import StopAtTrainingLoss
    from tfstiff.datasets import Dataset
    from tfstiff.datasets.text import TextEncoding
    from tfstiff.measuring.probe import Probe


@dataclass(frozen=True)
class PreparedRun:
    """The parts of a run, ready to train."""

    spec: RunSpec
    folder: Path
    dataset: Dataset
    probe: Probe
    model: keras.Model
    stiffness: StiffnessCallback
    stop: StopAtTrainingLoss | None
    watchers: list[keras.callbacks.Callback]  # of the stiffness: for its drop, for turning points
    steps_per_epoch: int
    measured_steps: list[int]

    def resolved(self) -> dict[str, Any]:
        """What the specification leaves open, as the data decided it. Training may stop before the last steps."""
        stopping = {} if self.stop is None else {"num_stop_examples": self.stop.num_examples}
        grouping = chosen_grouping(self.spec.groups, self.dataset.class_names)
        decay = {} if self.spec.lr_schedule == "constant" else {"decay_steps": self.spec.epochs * self.steps_per_epoch}
        num_token_ids, encoding = self.dataset.num_token_ids, self.dataset.encoding
        texts: dict[str, Any] = {} if num_token_ids is None else {"num_token_ids": num_token_ids}
        texts |= {} if encoding is None else {"vocabulary_sha256": encoding.sha256()}
        return {
            **stopping,
            **decay,
            "class_groups": grouping and {name: list(classes) for name, classes in grouping.items()},
            "loss": chosen_loss(self.spec.training_loss, self.dataset.num_classes, self.spec.dataset),
            "steps_per_epoch": self.steps_per_epoch,
            "steps_per_execution": self.model.steps_per_execution,
            "measured_steps": self.measured_steps,
            "num_train_examples": len(self.dataset.train),
            "input_shape": list(self.dataset.train.x.shape[1:]),
            "num_classes": self.dataset.num_classes,
            "num_outputs": self.dataset.num_outputs,
            **texts,
            "num_parameters": int(self.model.count_params()),
        }

    def inputs(self) -> dict[str, Any]:
        """Provenance of what the run works on."""
        import tensorflow as tf

        return {
            "devices": [device.name for device in tf.config.list_physical_devices()],
            "dataset": self.dataset.provenance,
            "probe": {
                "train_examples": len(self.probe.train),
                "validation_examples": len(self.probe.validation),
                "sha256": self.probe.sha256(),
            },
        }


def prepare_run(
    spec: RunSpec, folder: Path, tensorboard: bool = False, encoding: TextEncoding | None = None
) -> PreparedRun:
    """Loads the data, draws the probe and builds the model, and sees that the one can be measured on the other.

    Args:
        spec: What to prepare.
        folder: Of the run.
        tensorboard: Whether to write TensorBoard events into it too.
        encoding: How texts become token ids, of a run that was begun; None fits it to the training texts.

    Raises:
        InvalidInput: A name or value in `spec` cannot be used.
        UnsupportedModel: The model cannot be measured.
        DatasetUnavailable: The data set is not here and cannot be fetched.
        DatasetCorrupt: The data set is damaged.
    """
    require_tensorflow_backend()
    dataset = load_examples(spec, encoding=encoding)
    loss = chosen_loss(spec.training_loss, dataset.num_classes, spec.dataset)
    import keras

    from tfstiff import models
    from tfstiff.callbacks.stiffness import StiffnessCallback
    from tfstiff.callbacks.stop_at_loss import StopAtTrainingLoss
    from tfstiff.callbacks.stopping import StopWhenStiffnessDrops
    from tfstiff.callbacks.turning_points import TurnEvents
    from tfstiff.measuring.measure import MeasurementTask
    from tfstiff.runs.strategies import strategy_scope

    train, probe = dataset.train, draw_probe(spec, dataset)
    steps_per_epoch = -(-len(train) // spec.batch_size)
    _check_limits(steps_per_epoch)
    keras.utils.set_random_seed(spec.seed)
    if spec.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    with strategy_scope(spec.strategy):
        model = models.build(spec.arch, train.x.shape[1:], dataset.num_outputs, spec.hidden, dataset.num_token_ids)
        model.compile(
            make_optimizer(spec.optimizer, spec.learning_rate, spec.lr_schedule, spec.epochs * steps_per_epoch),
            make_loss(loss),
            metrics=None if dataset.num_classes is None else ["accuracy"],
            steps_per_execution=_steps_per_execution(spec),
        )
    objective = None if spec.objective is None else models.imported(spec.objective, "objective")
    MeasurementTask(model, probe, spec.measure_options(), objective=objective).reservations()
    steps = spec.measured_steps(steps_per_epoch)
    stiffness = StiffnessCallback(
        probe,
        at_steps(steps),
        objective=objective,
        log_dir=folder,
        tensorboard=tensorboard,
        publish=_published(spec, dataset),
        **vars(spec.measure_options()),
    )
    stop = None
    if spec.stop_at_loss:
        stop = StopAtTrainingLoss(
            train.x,
            train.y,
            spec.stop_at_loss,
            stiffness=stiffness,
            interval=spec.stop_interval,
            size=spec.stop_examples,
            seed=spec.seed,
        )
    watchers: list[keras.callbacks.Callback] = [TurnEvents(stiffness, spec.stiffness_monitor)]
    if spec.stop_when_stiffness_drops:
        drop = StopWhenStiffnessDrops(
            stiffness,
            spec.stiffness_monitor,
            patience=spec.stop_when_stiffness_drops,
            min_drop=spec.min_stiffness_drop,
        )
        watchers = [drop, *watchers]
    return PreparedRun(spec, folder, dataset, probe, model, stiffness, stop, watchers, steps_per_epoch, steps)


def _check_limits(steps_per_epoch: int) -> None:
    """Checks the limits that Keras puts on every training, where its environment variables say so.

    Raises:
        InvalidInput: Epochs would end early.
    """
    import keras

    most = keras.config.max_steps_per_epoch()
    if most and most < steps_per_epoch:
        raise InvalidInput(
            "Keras is told to end every epoch early.",
            expected=f"{steps_per_epoch} steps an epoch",
            received=f"KERAS_MAX_STEPS_PER_EPOCH={most}",
            remedy="Unset that variable, or keras.config.set_max_steps_per_epoch(None).",
        )
    if keras.config.max_epochs():
        warnings.warn(
            "KERAS_MAX_EPOCHS is set, and passed over: a run trains as many epochs as it is told to.", stacklevel=3
        )


def _steps_per_execution(spec: RunSpec) -> int:
    from tfstiff.runs.batches import steps_per_execution

    if spec.strategy != "none":
        return 1  # of Keras 3, executions of several steps fail on several devices
    return steps_per_execution(spec.stop_interval if spec.stop_at_loss else None)


def _published(spec: RunSpec, dataset: Dataset) -> list[str]:
    """The scalars of the specification's pair sets, without those of metrics that it leaves out."""
    left_out = tuple(f"stiffness_{metric}_" for metric in METRICS if metric not in spec.metrics)
    has_groups = chosen_grouping(spec.groups, dataset.class_names) is not None
    known = scalar_names(
        dataset.num_classes is not None,
        spec.pair_sets,
        has_groups=has_groups,
        has_preconditioner=spec.preconditioner != NONE,
        directions=spec.directions,
    )
    return [name for name in known if not name.startswith(left_out)]


def require_tensorflow_backend() -> None:
    """Sees that Keras runs on TensorFlow.

    Raises:
        InvalidInput: It is set to another backend.
    """
    try:
        import keras

        backend = keras.backend.backend()
    except ModuleNotFoundError as error:  # Keras imports the backend that it is set to
        backend = error.name or "unknown"
    if backend != "tensorflow":
        raise InvalidInput(
            "Keras is set to another backend.",
            expected="tensorflow",
            received=backend,
            remedy="Set the environment variable KERAS_BACKEND=tensorflow, or change ~/.keras/keras.json.",
        )
