"""Ctrl-C at a terminal: one KeyboardInterrupt in the program, none in its workers, nothing left, terminal intact."""

from __future__ import annotations

import random

import pytest

from tests.command import ROOT
from tests.process.terminal import interrupt_at_random

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
def test_ctrl_c_at_a_random_moment_is_one_interrupt_and_leaves_nothing(trials: int) -> None:
    chance = random.Random("ctrl-c")
    for trial in range(trials):
        what = chance.choice(["flowing", "waiting", "stuck"])
        interrupt_at_random(["-c", PROGRAM, ["spawn", "fork"][trial % 2], what], chance)
