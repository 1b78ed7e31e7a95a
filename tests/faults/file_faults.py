"""The door between library and disk, in the hands of a test.

    library ──> files.write_at(...) ──> handler("write_at", real write_at, arguments)

A handler does the operation, a part of it, or something else instead: it counts, fails, tears a
write, or kills the process. `open_existing` and `read_at` go through it too, under READING.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from splitdata.storage import files

CHANGING = (
    "create",
    "create_unnamed",
    "link",
    "link_unnamed",
    "make_directory",
    "remove",
    "remove_directory",
    "rename_exclusive",
    "rename_over",
    "sync_data",
    "sync_directory",
    "truncate",
    "write_at",
    "write_gathered",
)
READING = ("list_entries", "list_names", "open_directory", "open_existing", "read_at", "size_of")

Handler = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], object]


@contextmanager
def intercepted(handler: Handler, names: tuple[str, ...] = CHANGING) -> Iterator[None]:
    """Pass each call of these operations to `handler` as (name, real function, arguments, keywords)."""

    def through(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments, **keywords: handler(name, real, arguments, keywords)

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(files, name, through(name, getattr(files, name)))
        yield


def cost_of(name: str, arguments: tuple[Any, ...]) -> int:
    """Return what an operation costs: its bytes for a write, one for everything else."""
    if name == "write_at":
        return memoryview(arguments[1]).nbytes
    if name == "write_gathered":
        return sum(memoryview(piece).nbytes for piece in arguments[1])
    return 1


class Budget:
    """A handler that kills this process when its budget is spent: in the middle of a write, or before an operation.

    Attributes:
        spent: What the operations so far have cost.
    """

    def __init__(self, budget: int | None) -> None:
        """Take the budget; None only counts."""
        self.spent = 0
        self._budget = budget
        self._lock = threading.Lock()

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        """Do the operation if it is within the budget; else as much of it as is, and die."""
        # A kill of the process loses nothing that was written: waiting for the medium changes nothing here.
        is_sync = name.startswith("sync_")
        cost = cost_of(name, arguments)
        with self._lock:
            if self._budget is not None and self.spent + cost > self._budget:
                if name in ("write_at", "write_gathered"):
                    data = arguments[1] if name == "write_at" else b"".join(arguments[1])
                    files_write = os.pwrite(arguments[0], memoryview(data)[: self._budget - self.spent], arguments[2])
                    assert files_write == self._budget - self.spent
                os.kill(os.getpid(), signal.SIGKILL)
            self.spent += cost
        return None if is_sync else real(*arguments, **keywords)


@contextmanager
def fast_folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder in memory where the system has one: for thousands of small datasets."""
    memory = Path("/dev/shm")
    root = memory if memory.is_dir() and os.access(memory, os.W_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=root, prefix="splitdata-faults-") as folder:
        yield Path(folder)
