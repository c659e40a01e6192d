"""What a run tells while it works, and to whom."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfstiff.records import Measurement
from tfstiff.records.atomic import append
from tfstiff.records.words import default_pair_set, readings_of_length, shown_length, turn_in_words


class Progress:
    """Listens to a run and says nothing. Subclass it to show something."""

    def say(self, text: str) -> None:
        """A line of talk."""

    def begin(self, epochs: int, steps_per_epoch: int) -> None:
        """Training begins."""

    def stepped(self, epoch: int, step: int, logs: dict[str, float]) -> None:
        """`step` batches of epoch number `epoch`, counted from 0, are done."""

    def epoch_ended(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Epoch number `epoch`, counted from 0, has ended."""

    def measured(self, measurement: Measurement, seconds: float) -> None:
        """A measurement was made."""

    def end(self) -> None:
        """Training has ended, in whatever way."""


class LoggedProgress(Progress):
    """Passes everything on to another `Progress`, and keeps what a reader would want later in a file.

    Args:
        path: The file; lines are appended.
        progress: Who else is told.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._is_lacking = False
        self.begin, self.stepped, self.end = progress.begin, progress.stepped, progress.end  # type: ignore[method-assign]

    def say(self, text: str) -> None:
        """Keeps it and passes it on."""
        self._write(text)
        self._progress.say(text)

    def epoch_ended(self, epoch: int, logs: dict[str, float], seconds: float) -> None:
        """Keeps it and passes it on."""
        self._write(f"epoch {epoch + 1} in {seconds:.1f} s: {in_words(logs)}")
        self._progress.epoch_ended(epoch, logs, seconds)

    def measured(self, measurement: Measurement, seconds: float) -> None:
        """Keeps it and passes it on."""
        self._write(describe(measurement, seconds))
        self._progress.measured(measurement, seconds)

    def _write(self, text: str) -> None:
        try:
            append(self._path, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}\n")
        except OSError as error:  # a full disk should not end a training for want of a line
            if not self._is_lacking:
                self._progress.say(f"Warning: lines are lacking in {self._path}: {error}")
            self._is_lacking = True


def in_words(values: dict[str, float]) -> str:
    """`loss 0.5123, accuracy 0.8125`."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


def describe(measurement: Measurement, seconds: float | None = None) -> str:
    """One measurement, of the pairs of `default_pair_set`, in a line; with the time that it took, where given."""
    found = measurement[default_pair_set(measurement.pair_sets)]
    epoch = f" (epoch {measurement.epoch:.3g})" if math.isfinite(measurement.epoch) else ""  # of a saved model, none
    parts = [f"step {measurement.step}{epoch}:"]
    if found.sign is not None and found.cosine is not None:
        parts.append(f"sign {found.sign.within:+.3f} within {found.sign.between:+.3f} between,")
        parts.append(f"cosine {found.cosine.within:+.3f} within {found.cosine.between:+.3f} between,")
    else:
        parts.append(f"sign {found.mean_sign:+.3f}, cosine {found.mean_cosine:+.3f},")
    length = found.critical_length
    bent = len(readings_of_length(length)) > 1
    value = f"ξ {length.value:.3g}" if math.isfinite(shown_length(length)) else "no ξ:"
    status = "" if length.status == "ok" else f" {length.status.replace('_', ' ')}"
    parts.append(value + status + ", bent" * bent)
    return " ".join(parts) + ("" if seconds is None else f" [{seconds:.1f} s]")


def describe_event(event: Mapping[str, Any]) -> str:
    """What happened beside the schedule of measurements, in a line; empty where there is nothing to tell at once."""
    try:
        text = _event_in_words(event)
        return f"step {event['step']}: {text}" if text else ""
    except (KeyError, TypeError, ValueError):  # a file may come from anybody
        return f"an event of a kind that is not known: {event.get('event')}"


def _event_in_words(event: Mapping[str, Any]) -> str:
    kind = event.get("event")
    if kind == "training_loss_reached":
        return f"training loss {event['threshold']:g} reached, with {event['training_loss']:.4g}"
    if kind == "stiffness_dropped":
        return (
            f"{event['monitor']} has fallen from {event['peak_value']:.3f} at step {event['peak_step']} "
            f"to {event['value']:.3f}, so training was stopped"
        )
    if kind == "turn_confirmed":
        return turn_in_words(event["rule"], event["monitor"], event["turn_epoch"], event["confirmed_epoch"])
    return ""
