"""Being asked to end by a signal, and ending at a moment of one's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While it is entered, a first Ctrl-C or SIGTERM is noted, to be answered with `end`; a second one ends at once.

    Signals can be handled in a process' main thread only, and one that is ignored stays so: elsewhere nothing changes.

    Args:
        say: Is told when the first comes.

    Attributes:
        requested: The signal that came, or None.
    """

    def __init__(self, say: Callable[[str], object]) -> None:
        self.requested: signal.Signals | None = None
        self._say = say
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def end(self) -> NoReturn:
        """Ends as the signal would have.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was SIGTERM; with the status that shells give to it.
        """
        if self.requested == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        raise KeyboardInterrupt

    def _note(self, number: int, _: FrameType | None) -> None:
        is_first, self.requested = self.requested is None, signal.Signals(number)
        if not is_first:
            self.end()
        self._say("Ending after this step, with a checkpoint. A second Ctrl-C ends at once, without.")
