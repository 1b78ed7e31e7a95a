"""A worker process as its consumer sees it: wait for its end, signal it, learn how it ended.

Its sentinel is a pidfd, readable when the process has ended, even where its own children still hold its pipes.
Where there is no pidfd, the sentinel is None and the end of the data pipe tells. A child is reaped only after its
process group was told to end: until then its number cannot be given to another group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time

__all__ = ["ChildProcess", "describe_exit", "open_sentinel"]


def open_sentinel(pid: int) -> int | None:
    """Return a descriptor that becomes readable when this child ends, or None if the system has no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _readable(descriptor: int, timeout: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(max(0.0, timeout) * 1000))


class ChildProcess:
    """A direct child: of os.fork, or of subprocess (then with its Popen object)."""

    def __init__(self, pid: int, popen: subprocess.Popen[bytes] | None, *, use_sentinel: bool = True) -> None:
        self.pid = pid
        self._popen = popen
        self._status: int | None = None
        self.sentinel: int | None = None
        if sys.platform == "win32":
            self.sentinel = int(popen._handle) if popen is not None else None  # type: ignore[attr-defined]
        elif use_sentinel:
            self.sentinel = open_sentinel(pid)

    def wait(self, timeout: float) -> bool:
        """Wait until the process has ended."""
        if sys.platform == "win32":
            if self._popen is None:
                return True
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
            return self._popen.returncode is not None
        if self.sentinel is not None:
            return _readable(self.sentinel, timeout)
        # No descriptor tells: ask in growing steps, only ever while a worker is ending.
        deadline = time.monotonic() + timeout
        pause = 0.0005
        while not self._has_ended():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, 0.02)
        return True

    def _has_ended(self) -> bool:
        try:
            if hasattr(os, "waitid"):
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            if self._status is None:
                # No way to look without reaping (macOS before Python 3.13).
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                self._status = status if pid else None
            return self._status is not None
        except ChildProcessError:
            return True

    def signal(self, number: int) -> None:
        """Send a signal; the pid is ours until it is reaped."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process at once."""
        if sys.platform == "win32":
            if self._popen is not None:
                self._popen.kill()
        else:
            self.signal(signal.SIGKILL)

    def reap(self) -> int | None:
        """Collect the exit code."""
        if sys.platform == "win32":
            return None if self._popen is None else self._popen.returncode
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # SIGTERM: multiprocessing's resource tracker ignores it and cleans up what is left in /dev/shm.
            os.killpg(self.pid, signal.SIGTERM)
        if self._status is None:
            # Another part of the program may have waited for all children; then nobody knows any more.
            with contextlib.suppress(ChildProcessError):
                self._status = os.waitpid(self.pid, 0)[1]
        code = None if self._status is None else os.waitstatus_to_exitcode(self._status)
        if self._popen is not None:
            self._popen.returncode = 0 if code is None else code
        self._close_sentinel()
        return code

    def abandon(self) -> None:
        """Let go."""
        if sys.platform != "win32":
            self._close_sentinel()
        if self._popen is not None:
            # Not ours to wait for.
            self._popen.returncode = 0

    def _close_sentinel(self) -> None:
        sentinel, self.sentinel = self.sentinel, None
        if sentinel is not None:
            os.close(sentinel)


def describe_exit(code: int | None) -> str:
    """Say in words how a process ended."""
    if code is None:
        return "ended, nobody knows how: its exit status was collected elsewhere"
    if code >= 0:
        return f"exited with code {code} before it had finished"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    hint = {"SIGKILL": "; often the out-of-memory killer: see dmesg", "SIGSEGV": "; a crash in native code"}
    return f"was killed by signal {-code} ({name}{hint.get(name, '')})"
