"""The leak check: what a test opened is gone two seconds after it.

    before: descriptors, /dev/shm, temporary files, threads  -->  test  -->  the same again

Processes are checked by tests/conftest.py for every test. A folder whose tests start processes names the
fixture in its conftest.py.
"""

from __future__ import annotations

import gc
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.watchdog import running_ids

__all__ = ["Holdings", "collect_and_freeze", "leaves_nothing_behind"]

GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Holdings:
    """What this process and this library hold of the system."""

    descriptors: frozenset[tuple[str, str]]
    shared_memory: frozenset[str]
    temporary_files: frozenset[str]
    threads: frozenset[str]

    @classmethod
    def now(cls) -> Holdings:
        return cls(
            frozenset(_descriptors()),
            # Names as multiprocessing and torch give them; others share the folder with us.
            frozenset(_names(Path("/dev/shm"), ("psm_", "wnsm_", "sem.", "torch_"))),
            frozenset(_names(Path(tempfile.gettempdir()), ("splitdata-arena-",))),
            frozenset(f"{thread.name} {thread.ident}" for thread in threading.enumerate()),
        )

    def beyond(self, other: Holdings) -> list[str]:
        """Return what is here and was not there."""
        return [
            *(f"descriptor {number} -> {target}" for number, target in self.descriptors - other.descriptors),
            *(f"/dev/shm/{name}" for name in self.shared_memory - other.shared_memory),
            *(f"temporary file {name}" for name in self.temporary_files - other.temporary_files),
            *(f"thread {name}" for name in self.threads - other.threads),
        ]


def _descriptors() -> Iterator[tuple[str, str]]:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return
    for entry in os.listdir(folder):  # noqa: PTH208 - iterdir would show its own descriptor too
        try:
            yield entry, os.readlink(folder / entry)  # noqa: PTH115 - these links lead to no path
        except OSError:
            continue


def _names(folder: Path, prefixes: tuple[str, ...]) -> list[str]:
    return [entry.name for entry in folder.iterdir() if entry.name.startswith(prefixes)] if folder.exists() else []


def collect_and_freeze() -> None:
    """Collect what is dropped, then leave what remains out of later collections: they take a hundredth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a descriptor, shared memory, a temporary file or a thread."""
    collect_and_freeze()
    before = Holdings.now()
    yield
    deadline = time.monotonic() + GRACE_SECONDS
    left = _left(before)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = _left(before)
    deadline += GRACE_SECONDS
    while left and (left := _left_of_ours(before)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if left:
        pytest.fail("left behind: " + "; ".join(left))


def _left_of_ours(before: Holdings) -> list[str]:
    """Return what is left and no stranger's: neither held by one, nor come or gone while it was asked."""
    left = _left(before)
    strange = _held_by_strangers()
    still = set(_left(before))
    return [one for one in left if one in still and one not in strange]


def _held_by_strangers() -> set[str]:
    """Return the names in /dev/shm that processes use which are not ours: the folder is the whole machine's."""
    ours = {os.getpid(), *running_ids()}
    held: set[str] = set()
    if not Path("/proc/self/maps").exists():
        return held
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) not in ours:
            # A process may end between the listing and the reading.
            with suppress(OSError):
                held |= {line.split()[-1] for line in (folder / "maps").read_text().splitlines() if "/dev/shm/" in line}
    return held


def _left(before: Holdings) -> list[str]:
    gc.collect()
    return Holdings.now().beyond(before)
