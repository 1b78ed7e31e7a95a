"""Signals: those that are the program's, and the two that a consumer and its workers use.

    SIGINT SIGTERM SIGHUP SIGUSR1 SIGUSR2    a scheduler sends them to every process of a job: the program's own
                                             handler shall take a checkpoint, so workers go on
    STOP     consumer -> worker                      unwind the generator: its `finally` blocks run
    STACK    consumer -> worker                      show where all threads stand

The two are real-time signals, which nobody sends to a whole job. Systems without them have a thread in the
worker that listens (worker_setup.py).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

__all__ = ["OF_THE_PROGRAM", "STACK_SIGNAL", "STOP_SIGNAL", "leave_to_program"]

OF_THE_PROGRAM: Final = frozenset(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
STOP_SIGNAL: Final = signal.SIGRTMIN + 11 if sys.platform == "linux" else 0
STACK_SIGNAL: Final = signal.SIGRTMIN + 12 if sys.platform == "linux" else 0


def _go_on(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


def leave_to_program(on_interrupt: Callable[[int, FrameType | None], Any] = _go_on) -> None:
    """Let the program's signals do nothing in this process, and let those through that were held back until now.

    No SIG_IGN, which programs that this process starts would inherit: what is left of a worker's group is ended
    by SIGTERM.
    """
    for number in OF_THE_PROGRAM:
        signal.signal(number, on_interrupt if number == signal.SIGINT else _go_on)
        if hasattr(signal, "siginterrupt"):
            # Library code in C is not disturbed by what does nothing.
            signal.siginterrupt(number, False)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_THE_PROGRAM)
