"""What a forked child sees: run a function there, and bring its answer back."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

__all__ = ["answer_of_child"]


def answer_of_child(ask: Callable[[], str]) -> str:
    """Fork, run `ask` in the child and return its text; an exception there is an AssertionError here.

    The child ends by `os._exit`: no finalizer, no hook at exit and none of pytest runs in it.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = "+" + ask()
        except BaseException:
            answer = "-" + traceback.format_exc()
        with os.fdopen(writing, "wb") as end:
            end.write(answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as end:
        answer = end.read().decode()
    os.waitpid(pid, 0)
    assert answer.startswith("+"), f"the child failed: {answer[1:] or 'it ended without an answer'}"
    return answer[1:]
