"""Owns what one running worker costs its consumer, and gives it back together and exactly once.

    WorkerHandle        process, pipes, lifeline, stack pipe, shared memory
        close           1  close the pipes: the worker sees a Hangup and closes its generator
                        2  after 0.1 s   STOP: unwinds whatever the generator is doing    signals.py
                        3  after 1.0 s   SIGKILL
                        4  end its process group, reap, close the lifeline and the rest
        in a forked child of the consumer: close the descriptors, touch nothing else

`close` is called by the iterator and at exit of the interpreter; an exception in it (a second Ctrl-C)
turns it into step 3 at once. All live handles are known here, so that at exit all workers are told to end
before the first is waited for.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from splitdata._ownership import renew_after_fork
from splitdata.process.wire.signals import STACK_SIGNAL, STOP_SIGNAL
from splitdata.process.worker.worker_setup import ASK_STACK, ASK_STOP

if TYPE_CHECKING:
    from splitdata.process.consumer.child_process import ChildProcess
    from splitdata.process.wire.pipes import ConsumerPipe
    from splitdata.process.wire.slots import Loans

__all__ = ["HandleGroup", "WorkerHandle"]

_HANGUP_GRACE = 0.1
_STOP_GRACE = 1.0
_KILL_GRACE = 5.0

_live: dict[int, WorkerHandle] = {}
_hooks_set = False


def _close_all() -> None:
    HandleGroup(list(_live.values())).close()


def _before_fork() -> None:
    for handle in list(_live.values()):
        if handle.loans is not None:
            handle.loans.pin()


def _set_hooks() -> None:
    """Once per process, when the first worker starts: importing the library sets none."""
    global _hooks_set
    if not _hooks_set:
        _hooks_set = True
        atexit.register(_close_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=_before_fork)


def _handles_signal(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal; True where that cannot be known."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:"):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    except (OSError, ValueError, IndexError):
        pass
    return True


class WorkerHandle:
    """What a consumer has of one worker, and gives back by `close`.

    Attributes:
        child: The process.
        pipe: Frames and notes.
        loans: Slots on loan, None without shared memory and after `close`.
        is_ready: Set once the worker has said hello: before that it must not be asked for its stack.
        exit_code: How the process ended, after `close`; None where unknown.
    """

    def __init__(
        self,
        child: ChildProcess,
        pipe: ConsumerPipe,
        loans: Loans | None,
        *,
        lifeline: int,
        stack: int,
        use_signals: bool,
    ) -> None:
        self.child = child
        self.pipe = pipe
        self.loans = loans
        self.is_ready = False
        self.is_closed = False
        self.exit_code: int | None = None
        self._lifeline = lifeline
        self._stack = stack
        self._use_signals = use_signals
        self._closing_since: float | None = None
        self._is_asked = False
        self._lock = threading.Lock()
        _set_hooks()
        _live[id(self)] = self
        renew_after_fork(self)

    def begin_close(self) -> None:
        """Step 1, without waiting."""
        if self._closing_since is None and not self.is_closed:
            self._closing_since = time.monotonic()
            self.pipe.close()

    def close(self) -> None:
        """End the worker and give everything back; at most about a second, and only if it is stuck."""
        with self._lock:
            if self.is_closed:
                return
            try:
                self._stop()
                self.child.wait((self._closing_since or 0.0) + _STOP_GRACE - time.monotonic())
            finally:
                self._finish()

    def stop(self) -> None:
        """Steps 1 and 2: at most a tenth of a second."""
        with self._lock:
            if not self.is_closed:
                self._stop()

    def _stop(self) -> None:
        self.begin_close()
        since = self._closing_since or 0.0
        if not self.child.wait(since + _HANGUP_GRACE - time.monotonic()) and not self._is_asked:
            self._is_asked = True
            self._ask(STOP_SIGNAL, ASK_STOP)

    def _ask(self, number: int, order: bytes) -> None:
        """Ask the worker for something: by a signal, or where there is none by a byte to the thread that listens."""
        if self._use_signals:
            self.child.signal(number)
        else:
            # It may have ended meanwhile.
            with contextlib.suppress(OSError):
                os.write(self._lifeline, order)

    def kill(self) -> None:
        """End the process at once and leave the rest to `close`; nothing where that is under way."""
        if self._lock.acquire(blocking=False):
            try:
                if not self.is_closed:
                    self.child.kill()
            finally:
                self._lock.release()

    def drop(self) -> None:
        """Close: nobody holds it any more."""
        self.close()

    def _finish(self) -> None:
        # An interrupt may have come between the beginning of the close and this.
        self.pipe.close()
        self.is_closed = True
        _live.pop(id(self), None)
        # Arrays that were handed out keep the memory; a holder of the handle does not.
        self.loans = None
        if not self.child.wait(0):
            self.child.kill()
        # On Linux the end of the lifeline kills too, in case the pid was not ours to signal.
        self._close_lifeline()
        if self.child.wait(_KILL_GRACE):
            self.exit_code = self.child.reap()
        self._close_stack()

    def _close_lifeline(self) -> None:
        lifeline, self._lifeline = self._lifeline, -1
        if lifeline >= 0:
            os.close(lifeline)

    def _close_stack(self) -> None:
        stack, self._stack = self._stack, -1
        if stack >= 0:
            os.close(stack)

    def _after_fork_in_child(self) -> None:
        """Let go of everything: the worker is the parent's, also where a thread of it was just closing this."""
        self._lock = threading.Lock()
        self.is_closed = True
        _live.pop(id(self), None)
        self.pipe.close()
        self._close_lifeline()
        self._close_stack()
        self.child.abandon()

    def stack(self, patience: float = 1.0) -> str | None:
        """Ask the worker where all of its threads stand; None where it does not answer."""
        if not self.is_ready or self.is_closed:
            return None
        if self._use_signals and not _handles_signal(self.child.pid, STACK_SIGNAL):
            return None
        self._ask(STACK_SIGNAL, ASK_STACK)
        return _read_while_it_comes(self._stack, patience)


class HandleGroup:
    """Workers that are closed in the time that one takes: each step for all before the next for the first."""

    def __init__(self, handles: Sequence[WorkerHandle]) -> None:
        self._handles = handles

    @property
    def is_closed(self) -> bool:
        """Whether they were given back, or belong to the process that forked this one."""
        return self._handles[0].is_closed

    def begin_close(self) -> None:
        """Tell all workers to end, without waiting."""
        for handle in self._handles:
            handle.begin_close()

    def close(self) -> None:
        """End all workers and give everything back."""
        try:
            self.begin_close()
            for handle in self._handles:
                handle.stop()
        finally:
            for handle in self._handles:
                handle.close()

    def kill(self) -> None:
        """End all processes at once."""
        for handle in self._handles:
            handle.kill()

    def drop(self) -> None:
        """Close: nobody holds them any more, or one has failed."""
        self.close()


def _read_while_it_comes(descriptor: int, patience: float) -> str | None:
    if sys.platform == "win32":
        # No poll for pipes: the answer has `patience` to arrive, then what is there is taken.
        import _winapi
        import msvcrt

        time.sleep(patience)
        available = _winapi.PeekNamedPipe(msvcrt.get_osfhandle(descriptor), 0)[1]
        return os.read(descriptor, available).decode(errors="replace") if available else None
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    text = b""
    # The dump comes in many small writes and has no end mark: it has ended when nothing follows.
    while poller.poll((patience if not text else 0.1) * 1000):
        received = os.read(descriptor, 65536)
        if not received:
            break
        text += received
    return text.decode(errors="replace") or None
