"""Protects a worker against being left behind, stopped half-way or stuck without a trace.

    lifeline   a pipe whose write end only the consumer holds. When that process ends, however it ends,
               the kernel itself signals this worker (SIGKILL) and its process group (SIGTERM): no
               Python runs for it, so it also works while C code holds the GIL.
    death      PR_SET_PDEATHSIG as well, where the consumer is the direct parent and started us from
    signal     its main thread (the signal follows the thread, not the process).
    STOP       asks politely: the generator is closed, its `finally` blocks run.
    STACK      faulthandler writes the stacks of all threads to the stack pipe.
    group      the worker leads a process group of its own: Ctrl-C at the terminal reaches the consumer
               only, and what the generator started can be found and ended with it.
    the others SIGTERM and what else is meant for the whole program does nothing here    signals.py

Where the system has no such signals (and in tests that force it), one thread watches the lifeline: a
byte on it asks for the stacks or for the stop, its end ends the process.
"""

from __future__ import annotations

import _thread
import faulthandler
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from splitdata.process.wire.signals import STACK_SIGNAL, STOP_SIGNAL, leave_to_program

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["ASK_STACK", "ASK_STOP", "StopWorker", "WorkerSetup", "lead_process_group"]

# What the consumer writes into the lifeline where a thread watches it.
ASK_STACK = b"s"
ASK_STOP = b"e"

_PR_SET_PDEATHSIG = 1


class StopWorker(BaseException):
    """Unwinds the generator when the consumer asks; no Exception, so that no handler of the user swallows it."""


def lead_process_group() -> None:
    """Make this process the leader of a group of its own, where the system has groups."""
    if hasattr(os, "setpgid") and os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def _arm_kernel(lifeline: int) -> None:
    """Have the kernel signal this process and its group when the lifeline ends."""
    import fcntl

    # A second description of the same pipe: each can have one owner and one signal.
    second = os.open(f"/proc/self/fd/{lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    for descriptor, owner, number in ((second, -os.getpgrp(), signal.SIGTERM), (lifeline, os.getpid(), signal.SIGKILL)):
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, owner)
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, number)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | fcntl.FASYNC)


def _is_ended(lifeline: int) -> bool:
    import select

    poller = select.poll()
    poller.register(lifeline, select.POLLIN)
    return bool(poller.poll(0))


def _ask_for_death_signal(parent: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # The parent ended before the request was made.
        os._exit(1)


def _hold() -> None:
    # Python forgets in a new process what arrived before it was set up; the kernel does not.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _release_to_default() -> None:
    """Processes forked by the generator get the default back: the group's SIGTERM ends them."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release()


class WorkerSetup:
    """Arms everything above for the life of the process.

    Args:
        lifeline: Read end of the lifeline.
        stack: Write end of the stack pipe.
        parent: Process id to bind to with the death signal, None for none.
        use_signals: False forces the watching thread.
    """

    def __init__(self, lifeline: int, stack: int, *, parent: int | None, use_signals: bool | None = None) -> None:
        self._lifeline = lifeline
        self._stack = stack
        self._closing = False
        self._is_asked = False
        if use_signals is None:
            use_signals = sys.platform == "linux"
        if use_signals:
            faulthandler.register(STACK_SIGNAL, file=stack, all_threads=True)
            signal.signal(STOP_SIGNAL, self._on_stop)
        if use_signals and os.access("/proc/self/fd", os.F_OK):
            _arm_kernel(lifeline)
            if _is_ended(lifeline):
                # It ended before it was armed.
                os._exit(1)
        else:
            threading.Thread(target=self._watch, name="splitdata-lifeline", daemon=True).start()
        if parent is not None and sys.platform == "linux":
            _ask_for_death_signal(parent)
        leave_to_program(self._on_interrupt)
        if hasattr(signal, "SIGTTOU"):
            # Outside the terminal's foreground group, printing could stop this process (`stty tostop`).
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release_to_default)

    def close(self) -> None:
        """Note that the worker is ending: from now on nothing asks it to."""
        self._closing = True

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        if not self._closing:
            self._closing = True
            raise StopWorker

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        # Raised by the watching thread: an interrupt from elsewhere is the program's.
        if self._is_asked:
            self._on_stop(number, frame)

    def _watch(self) -> None:
        while True:
            try:
                order = os.read(self._lifeline, 1)
            except OSError:
                order = b""
            if not order:
                if hasattr(os, "killpg"):
                    os.killpg(0, signal.SIGTERM)
                os._exit(1)
            if order == ASK_STOP:
                self._interrupt()
            else:
                faulthandler.dump_traceback(self._stack, all_threads=True)

    def _interrupt(self) -> None:
        self._is_asked = True
        main = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main is not None:
            # Also wakes it from a system call.
            signal.pthread_kill(main, signal.SIGINT)
        else:
            _thread.interrupt_main()
