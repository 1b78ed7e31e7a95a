"""Finding every process that a program of a test started, also those that no longer have a parent.

start(token) -> environment with a mark -> inherited by all descendants -> /proc/<pid>/environ
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

MARK = "SPLITDATA_TEST_FAMILY"


def new_mark() -> str:
    """Return a mark that no other process carries."""
    return secrets.token_hex(8)


def environment(mark: str) -> dict[str, str]:
    """Return our environment with a mark."""
    return {**os.environ, MARK: mark}


def members(mark: str) -> dict[int, str]:
    """Return pid and command of every live process with a mark."""
    wanted = f"{MARK}={mark}".encode()
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if wanted not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if state != "Z":
            found[int(folder.name)] = command
    return found


def seconds_until_gone(mark: str, limit: float) -> float:
    """Wait until no process carries a mark and return how long that took; infinity past the limit."""
    begun = time.monotonic()
    while members(mark):
        if time.monotonic() - begun > limit:
            return float("inf")
        time.sleep(0.01)
    return time.monotonic() - begun
