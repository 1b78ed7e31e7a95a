"""The leak check: a name in /dev/shm counts for the test that left it, and not where it is a stranger's."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.holdings import Holdings, left_behind

pytestmark = pytest.mark.skipif(
    not Path("/dev/shm").is_dir() or not Path("/proc/self/maps").exists(), reason="no /dev/shm or no /proc"
)

# Makes a semaphore, keeps its name, and lives until its input ends.
HOLDER = """
import _multiprocessing, sys
held = _multiprocessing.SemLock(1, 1, 1, "/" + sys.argv[1], False)
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a semaphore that no other program has, removed afterwards."""
    own = f"mp-{uuid.uuid4().hex[:12]}"
    yield own
    Path(f"/dev/shm/sem.{own}").unlink(missing_ok=True)


@contextmanager
def holder(name: str, *, stranger: bool) -> Iterator[None]:
    """Run a process with a semaphore: a child of this one, or one whose parent has ended."""
    command = [sys.executable, "-I", "-S", "-c", HOLDER, name]
    if stranger:
        # A command in the background has no input unless it is given one.
        command = ["sh", "-c", 'exec 3<&0; "$@" <&3 &', "sh", *command]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "started\n"
        if stranger:
            started.wait()
        yield
        assert started.stdin is not None
        started.stdin.close()
        # Ends when the process has: nobody waits for a stranger.
        started.stdout.read()


def left_by(name: str, before: Holdings) -> list[str]:
    """Return the paths that are left behind and hold `name`: other tests' processes run beside this one."""
    return [one.split(",")[0] for one in left_behind(before, 0.1) if name in one]


def test_semaphore_of_a_stranger_is_no_leak(name: str) -> None:
    before = Holdings.now()
    with holder(name, stranger=True):
        assert Path(f"/dev/shm/sem.{name}").exists()
        assert left_by(name, before) == []


def test_semaphore_of_a_child_is_a_leak_while_it_lives_and_when_it_has_ended(name: str) -> None:
    before = Holdings.now()
    with holder(name, stranger=False):
        assert left_by(name, before) == [f"/dev/shm/sem.{name}"]

    assert left_by(name, before) == [f"/dev/shm/sem.{name}"]


def test_name_that_nobody_uses_is_a_leak_until_it_is_removed(name: str) -> None:
    before = Holdings.now()
    path = Path(f"/dev/shm/sem.{name}")
    path.write_bytes(b"")

    assert left_by(name, before) == [str(path)]
    path.unlink()
    assert left_by(name, before) == []
