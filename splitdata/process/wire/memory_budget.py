"""The memory that this machine can spare: for this process, and for one channel.

A container may be allowed less than the machine has, and several ranks may share the machine.

    budget = min(1 GiB, 10 % of free / processes of this job on this machine)
    free   = the least of: memory available to the machine, room below the limits of our cgroup (v2 or v1)
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["free_memory", "memory_budget"]

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")

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
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
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


def free_memory(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the bytes that this process may still take, as its share among those of its job on this machine.

    Read anew at every call. LOCAL_WORLD_SIZE, which launchers set, tells how many processes there are.
    """
    free = min([_available_to_machine(), *_room_in_cgroups(root, membership)])
    try:
        local_processes = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    except ValueError:
        local_processes = 1
    return free // local_processes


def memory_budget(root: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the bytes of shared memory that one channel may use by default; read anew at every call."""
    return max(_LEAST_BUDGET, min(_GIB, free_memory(root, membership) // 10))
