"""Ctrl-C at a terminal: one KeyboardInterrupt in the program, none in its workers, nothing left, terminal intact."""

from __future__ import annotations

import os
import random
import signal
import termios
import time
from collections.abc import Callable

import pytest

from tests.command import ROOT
from tests.process.family import members, new_mark, seconds_until_gone
from tests.process.terminal import CTRL_C, read_until, run_at_terminal

PROGRAM = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
from splitdata.process.mpqitr import MpQItr
from tests.process.generators import count, forever, slowly, stuck
method, what = sys.argv[1:]
options = MpQItr.options(start_method=method, max_bytes=1 << 20)
# Python itself loses a Ctrl-C that arrives in a finalizer, be it of its import system or of an iterator that is
# dropped: so each is closed.
list(options(count, 1))
print("begin", flush=True)
for _ in range(1000):
    with iter({{
        "flowing": lambda: options(forever, 30_000),
        "waiting": lambda: options(slowly, 10, 0.05),
        "stuck": lambda: options(stuck, "holding the GIL", 1),
    }}[what]()) as batches:
        for number, _ in enumerate(batches):
            if number == 20:
                break
"""


@pytest.mark.parametrize("trials", [pytest.param(9, id="few"), pytest.param(100, id="many", marks=pytest.mark.soak)])
def test_ctrl_c_at_a_random_moment_is_one_interrupt_and_leaves_nothing(
    trials: int, report: Callable[[str], None]
) -> None:
    chance = random.Random("ctrl-c")
    slowest = 0.0
    for trial in range(trials):
        method = ["spawn", "fork"][trial % 2]
        what = chance.choice(["flowing", "waiting", "stuck"])
        mark = new_mark()
        program, master = run_at_terminal(["-c", PROGRAM, method, what], mark)
        try:
            assert b"begin" in read_until(master, b"begin", 20)
            settings = termios.tcgetattr(master)
            time.sleep(chance.uniform(0.0, 0.7))
            os.write(master, CTRL_C)
            pressed = time.monotonic()
            text = read_until(master, b"never written", 10)
            program.wait(10)
            slowest = max(slowest, time.monotonic() - pressed)
            context = (method, what, text.decode(errors="replace"))
            assert program.returncode in (-signal.SIGINT, 130), context
            assert text.count(b"KeyboardInterrupt") == 1, context
            assert text.count(b"Traceback") == 1, context
            assert b"Exception ignored" not in text, context
            assert seconds_until_gone(mark, 2.0) < 2.0, (context, members(mark))
            assert termios.tcgetattr(master) == settings, context
        finally:
            os.close(master)
            if program.poll() is None:
                program.kill()
                program.wait()
    report(f"{trials} interrupts, the program ended after at most {slowest:.2f} s")
