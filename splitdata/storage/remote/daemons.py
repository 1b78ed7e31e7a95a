"""Threads that wait for a store, many at a time; they never keep a process from ending.

    submit(task) ──queue──> 16 threads, started as they are needed, shared by all readers of the process

Each waits for one answer at a time.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

from splitdata._ownership import OwnerProcess

__all__ = ["NUM_THREADS", "submit"]

NUM_THREADS: Final = 16


class _Threads:
    """The threads of one process."""

    def __init__(self) -> None:
        self.owner = OwnerProcess()
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._num_idle = 0
        self._num_started = 0

    def submit(self, task: Callable[[], None]) -> None:
        with self._lock:
            if self._num_idle:
                self._num_idle -= 1
            elif self._num_started < NUM_THREADS:
                self._num_started += 1
                threading.Thread(target=self._work, name=f"splitdata-store-{self._num_started}", daemon=True).start()
        self._tasks.put(task)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            task()
            # An idle thread holds nothing of the last reader.
            del task
            with self._lock:
                if self._tasks.empty():
                    self._num_idle += 1


_threads: _Threads | None = None
_lock: Final = threading.Lock()


def submit(task: Callable[[], None]) -> None:
    """Have a thread call a function, which raises nothing."""
    global _threads
    with _lock:
        if _threads is None or not _threads.owner.is_current:
            _threads = _Threads()
        threads = _threads
    threads.submit(task)
