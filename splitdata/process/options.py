"""What can be chosen about a channel, checked once, and the memory that a machine can spare for one.

    budget = min(1 GiB, 10 % of free / processes of this job on this machine)
    free   = the least of: memory available to the machine, room below the limits of our cgroup (v2 or v1)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from splitdata.process.arena import ArenaKind
from splitdata.process.launch import StartMethod

__all__ = ["ChannelOptions", "memory_budget"]

_GIB = 1 << 30
# Below this nothing but the pipe would be used.
_LEAST_BUDGET = 1 << 20


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        # No such file, or the word "max".
        return None


def _available_to_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 10 * _GIB


def _room_in_cgroups(root: Path, membership: Path) -> list[int]:
    """Return what is left below each memory limit that applies to this process."""
    rooms: list[int] = []
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return rooms
    for line in lines:
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controllers == "":
            base, limit_name, usage_name = root, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            base, limit_name, usage_name = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        # The limit of every group above counts too; in a container the path may not be visible, its root is.
        folder = base / path.lstrip("/")
        while True:
            limit, usage = _number_in(folder / limit_name), _number_in(folder / usage_name)
            if limit is not None and usage is not None:
                rooms.append(max(0, limit - usage))
            if folder == base or base not in folder.parents:
                break
            folder = folder.parent
    return rooms


def memory_budget(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes of shared memory that one channel may use by default; read anew at every call."""
    free = min([_available_to_machine(), *_room_in_cgroups(root, membership)])
    try:
        local_processes = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    except ValueError:
        local_processes = 1
    return max(_LEAST_BUDGET, min(_GIB, free // 10 // local_processes))


@dataclass(frozen=True, kw_only=True)
class ChannelOptions:
    """How a worker is started and how far it may run ahead.

    Attributes:
        max_batches: Batches that may have left the generator and not reached the consumer.
        max_bytes: Bytes of shared memory, touched only as far as they are needed. None: `memory_budget()`.
        start_method: "spawn" (default), "forkserver" or "fork".
        timeout: Seconds to wait for the next batch before WorkerTimeoutError. None: for ever.
        stall_warning: Seconds without a batch after which, and so on, a warning tells where the worker
            stands. None: never.
        copy: Copy every batch into private memory on receipt.
        arena_kind, use_signals, use_sentinel, use_pipes: None for what the system does best; set by
            tests to force what other systems fall back to.
    """

    max_batches: int = 16
    max_bytes: int | None = None
    start_method: StartMethod | None = None
    timeout: float | None = None
    stall_warning: float | None = 60.0
    copy: bool = False
    arena_kind: ArenaKind | None = None
    use_signals: bool | None = None
    use_sentinel: bool = True
    use_pipes: bool = os.name == "posix"

    def __post_init__(self) -> None:
        for name in ("max_batches", "max_bytes"):
            value = getattr(self, name)
            if value is None and name == "max_bytes":
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
            raise ValueError(f"start_method must be one of {', '.join(get_args(StartMethod))}, not {self.start_method!r}")
        if self.start_method in ("fork", "forkserver") and not hasattr(os, "fork"):
            raise ValueError(f"start_method={self.start_method!r} does not exist on this system: use 'spawn'")
        if not self.use_pipes and self.start_method == "forkserver":
            raise ValueError("the fork server needs pipes")
