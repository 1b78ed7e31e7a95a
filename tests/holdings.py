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
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.shared_names import SharedName, held_by_strangers, shared_names

__all__ = ["Holdings", "collect_and_freeze", "leaves_nothing_behind", "left_behind"]

GRACE_SECONDS = 4.0


@dataclass(frozen=True)
class Holdings:
    """What this process and this library hold of the system."""

    descriptors: frozenset[tuple[str, str]]
    names: frozenset[SharedName]
    threads: frozenset[str]

    @classmethod
    def now(cls) -> Holdings:
        return cls(
            frozenset(_descriptors()),
            frozenset(
                [
                    # As multiprocessing and torch name theirs.
                    *shared_names(Path("/dev/shm"), ("psm_", "sem.", "torch_")),
                    *shared_names(Path(tempfile.gettempdir()), ("splitdata-arena-",)),
                ]
            ),
            frozenset(f"{thread.name} {thread.ident}" for thread in threading.enumerate()),
        )

    def beyond(self, other: Holdings) -> set[str]:
        """Return what is here and was not there, without what a stranger uses."""
        names = self.names - other.names
        return {
            *(f"descriptor {number} -> {target}" for number, target in self.descriptors - other.descriptors),
            *(f"{name.path}, inode {name.inode}" for name in names - held_by_strangers(names)),
            *(f"thread {name}" for name in self.threads - other.threads),
        }


def _descriptors() -> Iterator[tuple[str, str]]:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return
    for entry in os.listdir(folder):  # noqa: PTH208 - iterdir would show its own descriptor too
        try:
            yield entry, os.readlink(folder / entry)  # noqa: PTH115 - these links lead to no path
        except OSError:
            continue


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
    left = left_behind(before, GRACE_SECONDS)
    if left:
        pytest.fail("left behind: " + "; ".join(left))


def left_behind(before: Holdings, grace: float) -> list[str]:
    """Return what is there, was not before, and stays for `grace` seconds: what comes later is not the test's."""
    deadline = time.monotonic() + grace
    left = _beyond(before)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left &= _beyond(before)
    return sorted(left)


def _beyond(before: Holdings) -> set[str]:
    gc.collect()
    return Holdings.now().beyond(before)
