"""Timeouts: how long a consumer waits for a worker, and what it logs meanwhile.

A worker that takes long is not an error by itself, so its user is told first where it stands.

    begin --- stall_warning --- 2 x --- 3 x ----------- timeout
                 log: where        again                WorkerTimeoutError: where
                 the worker stands                      the worker stands
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from splitdata.errors import WorkerTimeoutError

if TYPE_CHECKING:
    from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["WaitTimeout", "Waited"]

_log = logging.getLogger("splitdata")


# Seconds: systems count milliseconds in 32 bits. After so long the clock is looked at, and the wait goes on.
_LONGEST_WAIT = 1_000_000.0
_FOR_EVER = 1e9


class Waited(Protocol):
    """The worker that is waited for.

    Attributes:
        name: The worker in words: its number if it has one, its pid.
        worker_id: Its number, where it has one.
        pid: Its process.
    """

    name: str
    worker_id: int | None
    pid: int | None

    @property
    def is_ready(self) -> bool:
        """Whether it has started."""

    def progress(self) -> str:
        """Say how far it has come: "after 3 batches"."""

    def stack(self) -> str | None:
        """Return where it stands, None where that cannot be known."""


class WaitTimeout:
    """The clock of one wait: started by `begin`, asked by `patience`, acted upon by `check`."""

    def __init__(self, options: ChannelOptions) -> None:
        self._timeout = _finite(options.timeout)
        self._interval = _finite(options.stall_warning)
        self._begun = 0.0
        self._warned = 0.0

    def begin(self) -> None:
        """Start to wait."""
        self._begun = self._warned = time.monotonic()

    def patience(self) -> float | None:
        """Return the seconds until `check` may have something to do; None: never."""
        dues = []
        if self._timeout is not None:
            dues.append(self._begun + self._timeout)
        if self._interval is not None:
            dues.append(self._warned + self._interval)
        return min(min(dues) - time.monotonic(), _LONGEST_WAIT) if dues else None

    def check(self, worker: Waited) -> None:
        """Warn if it is time to.

        Raises:
            WorkerTimeoutError: The timeout is over.
        """
        now = time.monotonic()
        if self._timeout is not None and now >= self._begun + self._timeout:
            stack = worker.stack()
            raise WorkerTimeoutError(
                f"worker {worker.name} produced no batch for {self._timeout:g} s, {worker.progress()}. "
                f"{_where(worker, stack)}",
                worker_id=worker.worker_id,
                pid=worker.pid,
                stack=stack,
            )
        if self._interval is not None and now >= self._warned + self._interval:
            self._warned = now
            where = _where(worker, worker.stack())
            _log.warning(
                "worker %s has produced no batch for %.0f s, %s. %s",
                worker.name,
                now - self._begun,
                worker.progress(),
                where,
            )


def _finite(seconds: float | None) -> float | None:
    """Return None, for ever, also for infinity and for more than anybody waits."""
    return None if seconds is None or seconds > _FOR_EVER else float(seconds)


def _where(worker: Waited, stack: str | None) -> str:
    if stack is not None:
        return f"It stands at:\n{stack}"
    if not worker.is_ready:
        return "It is still starting."
    return "It gives no stack: it is stopped, or waits in the kernel."
