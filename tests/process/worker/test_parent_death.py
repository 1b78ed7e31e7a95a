"""The consumer's process ends, in the worst ways: nothing of its family is left a second later."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.process.family import environment, members, new_mark, seconds_until_gone

METHODS = ["spawn", "fork"]

# The worker stands in Python, in C code that holds the GIL, or waits for a consumer that takes nothing.
PROGRAM = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
from splitdata.process.mpqitr import MpQItr
from tests.process.generators import forever, stuck, with_grandchild
method, what = sys.argv[1:]
options = MpQItr.options(start_method=method, max_bytes=1 << 20)
if what == "flowing":
    runs = [iter(options(forever, 30_000))]
elif what == "grandchild":
    runs = [iter(options(with_grandchild, 1, "holding the GIL"))]
else:
    runs = [iter(options(stuck, what, 1))]
next(runs[0])
print("ready", flush=True)
for _ in runs[0]:
    pass
"""


def start(method: str, what: str, mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, method, what],
        env=environment(mark),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )


def die(program: subprocess.Popen[bytes], how: str) -> None:
    if how == "killpg":
        os.killpg(program.pid, signal.SIGKILL)
    else:
        program.kill()
    program.wait()
    if program.stdout is not None:
        program.stdout.close()


@pytest.mark.parametrize("how", ["kill", "killpg"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", ["flowing", "holding the GIL", "ignoring the stop", "grandchild"])
def test_killed_parent_takes_its_workers_along(method: str, what: str, how: str) -> None:
    mark = new_mark()
    program = start(method, what, mark)
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    assert len(members(mark)) >= 2
    die(program, how)

    assert seconds_until_gone(mark, 20.0) < 20.0, members(mark)


@pytest.mark.parametrize("trials", [pytest.param(4, id="few"), pytest.param(100, id="many", marks=pytest.mark.soak)])
@pytest.mark.parametrize("how", ["kill", "killpg"])
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_parent_killed_at_a_random_moment_leaves_nothing(
    method: str, how: str, trials: int, report: Callable[[str], None]
) -> None:
    chance = random.Random(f"{method} {how}")
    slowest = 0.0
    for _ in range(trials):
        mark = new_mark()
        program = start(method, "flowing", mark)
        # From the first instructions of the parent, over the start of the worker, to running batches.
        time.sleep(chance.uniform(0.05, 0.45))
        die(program, how)
        taken = seconds_until_gone(mark, 20.0)
        assert taken < 20.0, members(mark)
        slowest = max(slowest, taken)
    report(f"{method} {how}: {trials} deaths, all gone after at most {slowest:.3f} s")


@pytest.mark.parametrize("what", ["sleep", "holding the GIL"])
def test_parent_killed_while_a_sibling_holds_its_descriptors_takes_its_worker_along(what: str, tmp_path: Path) -> None:
    # A sibling forked by C code that never ran Python's hooks keeps the lifeline open: the death signal is left.
    source = PROGRAM.replace(
        'print("ready"',
        'import ctypes; pid = ctypes.PyDLL(None).fork()\nif pid == 0: ctypes.PyDLL(None).sleep(600)\nprint("ready"',
    )
    mark = new_mark()
    program = subprocess.Popen(
        [sys.executable, "-c", source, "spawn", what], env=environment(mark), cwd=ROOT, stdout=subprocess.PIPE
    )
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    before = set(members(mark))
    program.kill()
    program.wait()
    program.stdout.close()
    deadline = time.monotonic() + 20
    while len(members(mark)) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    left = members(mark)
    for pid in left:
        os.kill(pid, signal.SIGKILL)

    assert len(before) == 3
    assert len(left) == 1


def test_fork_of_the_consumer_may_end_without_disturbing_it(tmp_path: Path) -> None:
    source = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
import os
from splitdata.errors import ClosedError
from splitdata.process.mpqitr import MpQItr
from tests.process.generators import arrays
running = iter(MpQItr(arrays, 300, 30_000))
held = next(running)
pid = os.fork()
if pid == 0:
    try:
        next(running)
    except ClosedError as error:
        print("child:", str(error).split(" process ")[0], flush=True)
    del running
    import time; time.sleep(0.5)
    print("child still sees", float(held.min()), float(held.max()), flush=True)
    sys.exit()
del held
for number, batch in enumerate(running, start=1):
    assert (batch == number).all()
os.waitpid(pid, 0)
print("parent took", number)
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, check=False)

    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "child: this iterator belongs to",
        "child still sees 0.0 0.0",
        "parent took 299",
    ]
