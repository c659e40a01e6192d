"""How often checkpoints are made. Imports no TensorFlow."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from tfstiff.errors import InvalidInput

_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_SHARE = 0.01  # of the time that checkpoints may take where nothing was asked for


@dataclass(frozen=True)
class CheckpointInterval:
    """How much is lost at most where a run is killed. It changes nothing of what a run comes to.

    Without arguments: a minute, and more where checkpoints would take more than a hundredth of the time.

    Attributes:
        steps: Between two checkpoints; None where time decides.
        seconds: Between two checkpoints; None where steps decide. Infinity: none is made but where a signal asks the
            process to end.

    Raises:
        InvalidInput: Both are given, or one is not above 0.
    """

    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.steps, self.seconds) if value is not None]
        if len(given) > 1 or not all(value > 0 for value in given):
            raise InvalidInput(
                "The interval between checkpoints is a number of steps or of seconds.",
                expected="one of the two, above 0",
                received=(self.steps, self.seconds),
            )

    @classmethod
    def parse(cls, text: str) -> CheckpointInterval:
        """Reads `500` (steps), `30s`, `5min`, `1h` or `never`.

        Raises:
            InvalidInput: It is none of these.
        """
        if text == "never":
            return cls(seconds=math.inf)
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)\s*", text)
        if found is not None:
            return cls(seconds=float(found[1]) * _SECONDS[found[2]])
        if not (text.isascii() and text.strip().isdigit()):
            raise InvalidInput(
                "The interval between checkpoints cannot be read.",
                expected="a number of steps such as 500, a time such as 30s, 5min or 1h, or never",
                received=text,
            )
        return cls(steps=int(text))

    def is_due(self, steps: int, seconds: float, cost: float) -> bool:
        """Whether a checkpoint is due.

        Args:
            steps: Since the last one, or since training began.
            seconds: As `steps`.
            cost: Seconds that the last one took; 0 before the first.
        """
        if self.steps is not None:
            return steps >= self.steps
        return seconds >= (self.seconds if self.seconds is not None else max(60.0, cost / _SHARE))
