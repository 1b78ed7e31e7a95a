"""The leak check: what a test of this folder opened is gone two seconds after it.

    before: descriptors, /dev/shm, temporary files, threads  -->  test  -->  the same again

Processes are checked by tests/conftest.py for every test.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from splitdata.process.forkserver import ForkServer
from splitdata.process.options import ChannelOptions
from splitdata.process.start import prepare_server

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


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a descriptor, shared memory, a temporary file or a thread."""
    gc.collect()
    before = Holdings.now()
    yield
    deadline = time.monotonic() + GRACE_SECONDS
    left = _left(before)
    while left and time.monotonic() < deadline:
        time.sleep(0.02)
        left = _left(before)
    if left:
        pytest.fail("left behind: " + "; ".join(left))


def _left(before: Holdings) -> list[str]:
    gc.collect()
    return Holdings.now().beyond(before)


@pytest.fixture
def report() -> Callable[[str], None]:
    """Return a function that shows a figure, with -s."""

    def write(text: str) -> None:
        sys.stdout.write(f"\n{text}")

    return write


@pytest.fixture(scope="session")
def fork_server() -> ForkServer:
    """One fork server for all tests that need one: starting it is what takes long."""
    server = prepare_server(ChannelOptions(start_method="forkserver"))
    assert isinstance(server, ForkServer)
    return server
