"""Measurements as TensorBoard events, written without TensorFlow.

Scalars have the tags `stiffness_{pair set}/{sign|cosine}_{within|between}` (`…_mean` for regression targets) and
`stiffness_{pair set}/critical_length`, those of single layers `stiffness_{pair set}_by_layer/…/{layer}`, the probe's
losses and accuracies `probe/…`; class matrices are images, `class_matrix_{pair set}/{sign|cosine}`. Numbers that are
NaN or infinite are left out. Steps are batches trained on.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tfstiff.errors import InvalidInput
from tfstiff.export.extras import require
from tfstiff.export.schema import class_labels
from tfstiff.records import METRICS, Measurement, PairSetStiffness, RunFolder, scalar_names
from tfstiff.records.atomic import write_atomically
from tfstiff.records.directions import direction_scalar_names
from tfstiff.records.measurement import HALVES
from tfstiff.records.run_folder import record_path

EVENT_FILE = "events.out.tfevents.tfstiff"  # TensorBoard reads files whose names hold "tfevents"


class EventWriter:
    """Appends measurements to the event file of a folder, one by one. Holds no file open between them.

    Args:
        folder: TensorBoard's folder of the run; created where it does not exist.
        images: Whether to draw the class matrices.

    Raises:
        InvalidInput: TensorBoard is not installed.
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: str | Path, *, images: bool = True) -> None:
        self.check()
        self.path = Path(folder) / EVENT_FILE
        self._images = images
        self.path.parent.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def check() -> None:
        """Sees that TensorBoard is installed.

        Raises:
            InvalidInput: It is not.
        """
        require("tensorboard", "tensorboard", "to write TensorBoard events")

    def add(self, measurement: Measurement, wall_time: float) -> None:
        """Appends one measurement.

        Args:
            measurement: Its step is TensorBoard's.
            wall_time: When it was made, in seconds since 1970.
        """
        is_new = not self.path.exists() or not self.path.stat().st_size
        content = (_first_event(wall_time) if is_new else b"") + _event(measurement, wall_time, self._images)
        with self.path.open("ab") as file:
            file.write(content)


def write_tensorboard(run: RunFolder, folder: str | Path | None = None, *, images: bool = True) -> Path:
    """Writes a run's measurements as TensorBoard events, in place of those written before.

    Args:
        run: Where its records kept their times, these are the events'; else the time between the beginning and the end
            of the run is spread over its steps.
        folder: TensorBoard's folder of the run; None for the run's own. Created where it does not exist.
        images: Whether to draw the class matrices.

    Returns:
        The event file.

    Raises:
        InvalidInput: TensorBoard is not installed, or the run has no measurement.
        OSError: The folder cannot be written.
    """
    EventWriter.check()
    measurements = run.measurements
    if not measurements:
        raise InvalidInput(
            f"The run {run.folder} holds no measurement.", remedy="Wait for the first one, or check why there is none."
        )
    path = (run.folder if folder is None else Path(folder)) / EVENT_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    times = wall_times(run)
    content = io.BytesIO()
    content.write(_first_event(times[0]))
    for measurement, wall_time in zip(measurements, times, strict=True):
        content.write(_event(measurement, wall_time, images))
    write_atomically(path, lambda file: file.write(content.getbuffer()))
    return path


def wall_times(run: RunFolder) -> list[float]:
    """When each measurement of a run was made, in seconds since 1970, never falling.

    The times of the records' files where these lie inside the run; copying a run can lose them. Then the run's duration
    is spread evenly over its steps.
    """
    steps = [measurement.step for measurement in run.measurements]
    written = [record_path(run.folder, step).stat().st_mtime for step in steps]
    began, ended = (_seconds(run.state.get(name)) for name in ("started", "ended"))
    lies_inside = (began is None or began - 1 <= min(written)) and (ended is None or max(written) <= ended + 1)
    if lies_inside or began is None or ended is None:
        return np.maximum.accumulate(written).tolist()
    return (began + (ended - began) * np.maximum(steps, 0) / max(*steps, 1)).tolist()


def scalars(measurement: Measurement) -> Iterator[tuple[str, float, str]]:
    """Tag, value and description of each scalar of a measurement."""
    for half, of in (("train", measurement.train), ("validation", measurement.validation)):
        yield f"probe/{half}_loss", of.loss, f"Mean loss of the probe's {half} half."
        yield f"probe/{half}_accuracy", of.accuracy, f"Share of the probe's {half} half that is classified rightly."
    yield "probe/learning_rate", measurement.learning_rate, "Learning rate."
    found = measurement.scalars()
    for pair_set in measurement.pair_sets:
        names = scalar_names(
            bool(measurement.class_names),
            (pair_set,),
            has_groups=bool(measurement.groups),
            has_preconditioner=bool(measurement.plain),
        )
        for name in names:
            short = name.removeprefix("stiffness_").removesuffix(f"_{pair_set}")
            text = f"`{name}` in Keras' logs."
            yield f"stiffness_{pair_set}/{short}", found[name], text
    for name in direction_scalar_names(measurement.directions, HALVES):
        if name in found:
            yield f"directions/{name.removeprefix('stiffness_')}", found[name], f"`{name}` in Keras' logs."
    for layer, pair_sets in measurement.layers.items():
        for pair_set, stiffness in pair_sets.items():
            for short, value in _layer_scalars(stiffness):
                yield f"stiffness_{pair_set}_by_layer/{short}/{layer}", value, f"Of the gradients of {layer} alone."


def _layer_scalars(stiffness: PairSetStiffness) -> Iterator[tuple[str, float]]:
    for metric in METRICS:
        by_class = getattr(stiffness, metric)
        if by_class is None:
            yield f"{metric}_mean", getattr(stiffness, f"mean_{metric}")
        else:
            yield from ((f"{metric}_{kind}", getattr(by_class, kind)) for kind in ("within", "between"))
    yield "critical_length", stiffness.critical_length.value


def _event(measurement: Measurement, wall_time: float, images: bool) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    event = Event(wall_time=wall_time, step=max(measurement.step, 0))
    for tag, value, description in scalars(measurement):
        if math.isfinite(value):
            event.summary.MergeFrom(scalar_pb(tag, value, description))
    for pair_set, stiffness in measurement.pair_sets.items() if images else ():
        for metric in METRICS:
            by_class = getattr(stiffness, metric)
            if by_class is not None:
                _add_image(event.summary, f"class_matrix_{pair_set}/{metric}", by_class.matrix, measurement, pair_set)
    return _record(event)


def _add_image(summary: Any, tag: str, matrix: np.ndarray, measurement: Measurement, pair_set: str) -> None:
    from tensorboard.compat.proto.types_pb2 import DT_STRING
    from tensorboard.plugins.image.metadata import create_summary_metadata

    from tfstiff.export.matrix_image import matrix_png

    epoch = f", epoch {measurement.epoch:.3g}" if math.isfinite(measurement.epoch) else ""
    names = class_labels(measurement.class_names, len(matrix))
    png = matrix_png(matrix, names, f"{tag.split('/')[1]}, step {measurement.step}{epoch}", pair_set)
    value = summary.value.add(tag=tag)
    value.metadata.CopyFrom(
        create_summary_metadata(display_name=None, description="Class stiffness: −1 blue, 0 white, 1 red.")
    )
    value.tensor.dtype = DT_STRING
    value.tensor.tensor_shape.dim.add(size=3)
    width, height = struct.unpack(">II", png[16:24])  # of the image's header
    value.tensor.string_val.extend([str(width).encode(), str(height).encode(), png])


def _first_event(wall_time: float) -> bytes:
    from tensorboard.compat.proto.event_pb2 import Event

    return _record(Event(wall_time=wall_time, file_version="brain.Event:2"))


def _record(event: Any) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    RecordWriter(content).write(event.SerializeToString())
    return content.getvalue()


def _seconds(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()
