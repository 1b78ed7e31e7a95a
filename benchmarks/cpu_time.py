"""The processor time of this process and of all that it started: what a busy machine changes least.

/proc/*/stat  ──> children of children ──> user and system time of those that run, and of those that have ended
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["family_seconds"]


def family_seconds() -> float | None:
    """Return the seconds so far, in steps of the system's clock, 10 ms; None where there is no /proc."""
    family = {os.getpid()}
    ticks = 0
    try:
        # A child has a higher number than its parent but for once in a long while.
        for pid in sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()):  # noqa: PTH208
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) in family or pid in family:
                family.add(pid)
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
