"""How long a consumer waits for its worker, and what it says meanwhile.

begin --- stall_warning --- 2 x --- 3 x ----------- timeout
             log: where        again                WorkerTimeoutError: where
             the worker stands                      the worker stands
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from splitdata.errors import WorkerTimeoutError

if TYPE_CHECKING:
    from splitdata.process.handle import WorkerHandle
    from splitdata.process.options import ChannelOptions

__all__ = ["Stall"]

_log = logging.getLogger("splitdata")


class Stall:
    """One worker's clock: started by `begin`, asked by `patience`, acted upon by `check`.

    Attributes:
        name: The worker in words: its number if it has one, its pid.
    """

    def __init__(self, handle: WorkerHandle, options: ChannelOptions, worker_id: int | None) -> None:
        self._handle = handle
        self._timeout = options.timeout
        self._interval = options.stall_warning
        self._worker_id = worker_id
        self._begun = 0.0
        self._warned = 0.0
        pid = handle.child.pid
        self.name = f"(pid {pid})" if worker_id is None else f"{worker_id} (pid {pid})"

    def begin(self) -> None:
        """Start to wait."""
        self._begun = self._warned = time.monotonic()

    def patience(self) -> float | None:
        """Return the seconds until `check` has something to do; None: never."""
        dues = []
        if self._timeout is not None:
            dues.append(self._begun + self._timeout)
        if self._interval is not None:
            dues.append(self._warned + self._interval)
        return min(dues) - time.monotonic() if dues else None

    def check(self, num_received: int) -> None:
        """Warn if it is time to.

        Raises:
            WorkerTimeoutError: The timeout is over.
        """
        now = time.monotonic()
        if self._timeout is not None and now >= self._begun + self._timeout:
            stack = self._handle.stack()
            raise WorkerTimeoutError(
                f"worker {self.name} produced no batch for {self._timeout:g} s, after {num_received} batches. "
                f"{self._where(stack)}",
                worker_id=self._worker_id,
                pid=self._handle.child.pid,
                stack=stack,
            )
        if self._interval is not None and now >= self._warned + self._interval:
            self._warned = now
            where = self._where(self._handle.stack())
            _log.warning("worker %s has produced no batch for %.0f s. %s", self.name, now - self._begun, where)

    def _where(self, stack: str | None) -> str:
        if stack is not None:
            return f"It stands at:\n{stack}"
        if not self._handle.is_ready:
            return "It is still starting."
        return "It gives no stack: it is stopped, or waits in the kernel."
