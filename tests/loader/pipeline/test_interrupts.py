"""Ctrl-C: wherever it strikes, a loop that catches it goes on with the very next batch; a program leaves nothing."""

from __future__ import annotations

import dis
import linecache
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata.errors import ClosedError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.process.mpqitr import MpQItr
from tests.command import ROOT
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers, Rows, Sample, Stream
from tests.process.generators import count
from tests.process.terminal import interrupt_at_random

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# What sys.settrace takes.
Trace: TypeAlias = Callable[[FrameType, str, Any], Any]

LIBRARY = str(ROOT / "splitdata")

KINDS: dict[str, dict[str, Any]] = {
    "in process": {},
    "rotation": {"rotation": Rotation(times=2, size=7)},
    "threads": {"num_workers": 2, "kind": "thread"},
    "threads, next epoch ahead": {"num_workers": 2, "kind": "thread", "prefetch_epochs": True},
    "processes": {"num_workers": 2, "start_method": "fork"},
}


class Line:
    """Interrupts the library at its n-th line from now on, as Ctrl-C would there.

    Not where signals are held back; and in the last line of all, which has the batch in its hands
    and no way back, nothing can be done. `modules` are struck in, all of the library if none is named.
    """

    def __init__(self, number: int, *modules: str) -> None:
        self._left = number
        self._modules = tuple(f"{LIBRARY}/{module}" for module in modules) or LIBRARY
        self._pid = os.getpid()
        self.has_struck = False

    def __enter__(self) -> Line:
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Trace | None:
        name = frame.f_code.co_filename
        # A forked worker inherits the trace function.
        if not name.startswith(self._modules) or os.getpid() != self._pid:
            return None
        if event == "line" and can_be_struck(linecache.getline(name, frame.f_lineno).strip()):
            if not self._left and not is_held_back(frame) and not leaves_a_handler(frame):
                self.has_struck = True
                raise KeyboardInterrupt
            self._left = max(0, self._left - 1)
        return self._trace


def can_be_struck(line: str) -> bool:
    """Tell whether a signal can strike in a line, and something can be done about it.

    At the end of a `with` Python visits its line again, when the body is over and what was locked is not yet
    released: no signal is looked at there, but a trace function is called, and what it raises leaves the lock held.
    Neither is one looked at on the way from a `try` into its `finally`.
    """
    return line != "return batch" and not line.startswith(("with ", "self._is_running = "))


def leaves_a_handler(frame: FrameType) -> bool:
    """Tell whether the next instruction ends an `except`.

    No signal is looked at there, and Python 3.11 never forgets the exception if a trace function raises another.
    """
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "POP_EXCEPT"


def is_held_back(frame: FrameType | None) -> bool:
    """Tell whether Ctrl-C would have no effect now: Python itself loses those that strike in a finalizer."""
    while frame is not None:
        if frame.f_code.co_filename == weakref.__file__ or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    handler = signal.getsignal(signal.SIGINT)
    return handler is not signal.default_int_handler or signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize(
    ("kind", "stride"),
    [
        # Where each interrupt costs new workers, only some of the lines.
        *zip(KINDS, (1, 5, 3, 3, 29), strict=True),
        *(pytest.param(kind, 1, id=f"{kind}-all", marks=pytest.mark.soak) for kind in KINDS),
    ],
)
def test_loop_goes_on_exactly_after_an_interrupt_in_any_line(kind: str, stride: int) -> None:
    with DistributedLoader(
        Numbers(14), **grouped(batch_size=2, shuffle="global", transform=Rows(), **KINDS[kind])
    ) as loader:
        stream = Stream(loader)
        batches = iter(loader)
        num_struck = number = 0
        # A batch takes more lines or fewer: the numbers have come to an end when a whole epoch saw no interrupt.
        misses = 0
        while misses < len(loader):
            try:
                with Line(number) as line:
                    batch = next(batches, None)
            except KeyboardInterrupt:
                number += stride
                num_struck += 1
                continue
            misses = 0 if line.has_struck else misses + 1
            if batch is None:
                assert stream.step == 0
                batches = iter(loader)
            else:
                stream.check(batch)
        stream.take(batches)

    assert num_struck > 10


# What takes part in receiving, and not in the end of the worker, which closes descriptors one by one.
RECEIVING = tuple(f"process/consumer/{name}.py" for name in ("channel", "receiver", "frame_reader", "lifetime"))


def test_interrupt_in_any_line_of_the_last_next_of_mpqitr_is_never_a_crash_later() -> None:
    has_struck = True
    number = 0
    outcomes = set()
    while has_struck:
        running = iter(MpQItr.options(start_method="fork")(count, 1))
        assert next(running) == 0
        with suppress(KeyboardInterrupt, StopIteration), Line(number, *RECEIVING) as line:
            next(running)
        has_struck = line.has_struck
        number += 1
        try:
            outcomes.add(next(running, "end"))
        except ClosedError as error:
            assert "ended by KeyboardInterrupt" in str(error)  # noqa: PT017 - or the end, see above
            outcomes.add("says so")
        running.close()

    assert number > 20
    assert outcomes == {"end", "says so"}


@contextmanager
def interruptions(chance: random.Random, longest: float) -> Iterator[threading.Event]:
    """Press Ctrl-C once after each time that the event is cleared, at a random moment of the next seconds."""
    quiet = threading.Event()
    quiet.set()
    is_over = threading.Event()

    def press() -> None:
        while not is_over.is_set():
            if not quiet.is_set():
                time.sleep(chance.uniform(0, longest))
                quiet.set()
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.0005)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield quiet
    finally:
        is_over.set()
        thread.join()


def slowly(record: int) -> Sample:
    time.sleep(0.002)
    return {"record": record, "row": np.full(3, record, np.int32)}


@pytest.mark.parametrize("trials", [pytest.param(40, id="few"), pytest.param(1000, id="many", marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", ["in process", "threads", "processes"])
def test_loop_goes_on_exactly_after_signals_at_random_moments(kind: str, trials: int) -> None:
    is_armed = False

    def ring(number: int, frame: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ring)
    num_interrupts = 0
    try:
        with (
            DistributedLoader(
                Numbers(30), **grouped(batch_size=2, shuffle="global", transform=slowly, **KINDS[kind])
            ) as loader,
            interruptions(random.Random(kind), 0.008) as quiet,
        ):
            stream = Stream(loader)
            batches: Iterator[Sample] | None = None
            while num_interrupts < trials:
                batches = batches or loader.resume()
                batch = None
                quiet.clear()
                try:
                    is_armed = True
                    batch = next(batches, None)
                    is_armed = False
                except KeyboardInterrupt:
                    num_interrupts += 1
                    # Python itself may lose what `next` returns: then the loader has noted that it gave it away.
                    if batch is None and loader.position != (stream.epoch, stream.samples):
                        stream.skip_one()
                    if num_interrupts % 3 == 0:
                        batches = None
                    continue
                finally:
                    is_armed = False
                if batch is None:
                    assert stream.step == 0
                    batches = None
                else:
                    stream.check(batch)
            quiet.wait()
    finally:
        signal.signal(signal.SIGINT, before)


PROGRAM = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
from splitdata.errors import ClosedError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.process.mpqitr import MpQItr
from tests.loader.grouped import grouped
from tests.loader.workloads import Hangs, Numbers, Rows
import pathlib
kind, what = sys.argv[1:]
ways = {{"thread": dict(kind="thread"), "none": dict(num_workers=0)}}
options = dict(batch_size=2, shuffle="global") | dict(num_workers=2) | ways.get(kind, dict(start_method=kind))
# Python itself loses a Ctrl-C that arrives in one of the finalizers of its import system.
next(iter(DistributedLoader(Numbers(4), **grouped(transform=Rows(), **options))))
transform = {{
    "flowing": Rows(30_000),
    "stuck": Hangs(record=10, how="holding the GIL" if kind not in ways else "sleep", switch=pathlib.Path("/")),
}}[what]
print("begin", flush=True)
loader = DistributedLoader(Numbers(40), **grouped(transform=transform, **options))
while True:
    for number, _ in enumerate(loader):
        if number == 15:
            break
"""


@pytest.mark.parametrize("trials", [pytest.param(5, id="few"), pytest.param(100, id="many", marks=pytest.mark.soak)])
def test_ctrl_c_in_a_program_is_one_interrupt_and_leaves_nothing(trials: int) -> None:
    chance = random.Random("ctrl-c in a loader")
    for trial in range(trials):
        what = chance.choice(["flowing", "stuck"])
        interrupt_at_random(["-c", PROGRAM, ["spawn", "fork", "thread", "none"][trial % 4], what], chance)
