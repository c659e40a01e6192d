"""Being asked to end by a signal: by an exception at once, or at a moment of one's own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

# SIGHUP comes where a terminal is closed; some systems do not know it.
_ENDING = tuple(found for name in ("SIGTERM", "SIGHUP") if (found := getattr(signal, name, None)) is not None)


def end_on_signals() -> None:
    """Makes SIGTERM and SIGHUP end this process by an exception, as Ctrl-C does, so that all is put in order.

    Signals can be handled in a process' main thread only, and one that is ignored stays so: elsewhere nothing changes.
    """
    _handle(_ENDING, _end)


class Interruption:
    """While it is entered, a first Ctrl-C, SIGTERM or SIGHUP is noted, to be answered with `end`; a second one ends.

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
        self._before = _handle((signal.SIGINT, *_ENDING), self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def end(self) -> NoReturn:
        """Ends as the signal would have.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was another; with the status that shells give to it.
        """
        _end(self.requested or signal.SIGINT)

    def _note(self, number: int, _: FrameType | None) -> None:
        is_first, self.requested = self.requested is None, signal.Signals(number)
        if not is_first:
            self.end()
        self._say("Ending after this step, with a checkpoint. A second Ctrl-C ends at once, without.")


def _handle(signals: tuple[signal.Signals, ...], handler: Callable[..., object]) -> dict[signal.Signals, Any]:
    """Sets the handler of signals that are not ignored; returns those before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handled = [number for number in signals if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    return {number: signal.signal(number, handler) for number in handled}


def _end(number: int, _: FrameType | None = None) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
