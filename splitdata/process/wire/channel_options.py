"""What can be chosen about a channel, checked once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, Literal, get_args

__all__ = ["STALL_WARNING", "ArenaKind", "ChannelOptions", "StartMethod"]

StartMethod = Literal["spawn", "fork"]
ArenaKind = Literal["memfd", "file", "mapping"]

# Seconds, unless something else is asked for.
STALL_WARNING: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class ChannelOptions:
    """Options: how a worker is started and how far it may run ahead.

    Attributes:
        max_batches: Batches that may have left the generator and not reached the consumer.
        max_bytes: Bytes of shared memory, touched only as far as they are needed. None: what memory_budget.py finds.
        start_method: "spawn" (default) or "fork".
        timeout: Seconds to wait for the next batch before WorkerTimeoutError. None: for ever.
        stall_warning: Seconds without a batch after which, and so on, a warning tells where the worker
            stands. None: never.
        copy: Copy every batch into private memory on receipt.
        worker_threads: Threads of OpenMP, BLAS and torch in each worker. None: what these libraries take, all cores.
        arena_kind, use_signals, use_sentinel, use_pipes: None for what the system does best; set by
            tests to force what other systems fall back to.
    """

    max_batches: int = 16
    max_bytes: int | None = None
    start_method: StartMethod | None = None
    timeout: float | None = None
    stall_warning: float | None = STALL_WARNING
    copy: bool = False
    worker_threads: int | None = 1
    arena_kind: ArenaKind | None = None
    use_signals: bool | None = None
    use_sentinel: bool = True
    use_pipes: bool = os.name == "posix"

    def __post_init__(self) -> None:
        for name in ("max_batches", "max_bytes", "worker_threads"):
            value = getattr(self, name)
            if value is None and name != "max_batches":
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an int, not {value!r}")
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        for name in ("timeout", "stall_warning"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number of seconds or None, not {value!r}")
            # Also refuses NaN.
            if not value > 0:
                raise ValueError(f"{name} must be above 0 seconds, not {value}")
        if not isinstance(self.copy, bool):
            raise TypeError(f"copy must be True or False, not {self.copy!r}")
        if self.start_method is not None and self.start_method not in get_args(StartMethod):
            raise ValueError(
                f"start_method must be one of {', '.join(get_args(StartMethod))}, not {self.start_method!r}"
            )
        if self.start_method == "fork" and not hasattr(os, "fork"):
            raise ValueError("start_method='fork' does not exist on this system: use 'spawn'")
