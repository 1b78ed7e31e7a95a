"""Generators that run in the workers of the tests. Imported there by name."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from splitdata.process.wire import pipes
from splitdata.process.wire.signals import STOP_SIGNAL

FloatArray = npt.NDArray[np.float32]


def count(n: int, *, start: int = 0) -> Iterator[int]:
    yield from range(start, start + n)


def arrays(n: int, size: int) -> Iterator[FloatArray]:
    for number in range(n):
        yield np.full(size, number, np.float32)


def mixed(n: int, size: int) -> Iterator[dict[str, Any]]:
    """Yield one array of `size` numbers, a small one, bytes and a number, all derived from the position."""
    for number in range(n):
        yield {
            "number": number,
            "large": np.full(size, number, np.int32),
            "small": np.full(7, number, np.int64),
            "bytes": str(number).encode() * 10,
        }


def is_mixed(batch: dict[str, Any], number: int) -> bool:
    """Tell whether a batch is what `mixed` yielded at this position."""
    return bool(
        batch["number"] == number
        and (batch["large"] == number).all()
        and (batch["small"] == number).all()
        and batch["bytes"] == str(number).encode() * 10
    )


def given(batches: list[Any]) -> Iterator[Any]:
    yield from batches


def forever(size: int = 1000) -> Iterator[FloatArray]:
    number = 0
    while True:
        yield np.full(size, number, np.float32)
        number += 1


def slowly(n: int, seconds: float) -> Iterator[int]:
    for number in range(n):
        time.sleep(seconds)
        yield number


def then_raise(n: int, error: BaseException) -> Iterator[int]:
    yield from range(n)
    raise error


def then_exit(n: int, how: str) -> Iterator[int]:
    """Yield n numbers, then end the process in one of many ways."""
    yield from range(n)
    # Its dump belongs to crashes that nobody ordered.
    faulthandler.disable()
    if how == "sys.exit":
        sys.exit()
    elif how == "sys.exit 3":
        sys.exit(3)
    elif how == "sys.exit text":
        sys.exit("no more")
    elif how == "os._exit":
        os._exit(0)
    elif how == "SIGSEGV":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "null pointer":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    else:
        os.kill(os.getpid(), getattr(signal, how))
        time.sleep(60)


class Guillotine:
    """Stands in for the module os inside of wires: kills the worker once `limit` bytes went into its pipe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        room = self.limit - self.written
        if len(data) >= room:
            os.write(descriptor, memoryview(data)[:room]) if room else None
            os.kill(os.getpid(), signal.SIGKILL)
        count = os.write(descriptor, data)
        self.written += count
        return count


def killed_at_byte(limit: int, n: int, size: int) -> Iterator[dict[str, Any]]:
    """Yield like `mixed`, with a pipe that kills the worker once `limit` bytes went into it."""
    vars(pipes)["os"] = Guillotine(limit)
    yield from mixed(n, size)


def stuck(how: str, n: int = 0) -> Iterator[int]:
    """Yield n numbers, then never come back."""
    yield from range(n)
    if how == "sleep":
        time.sleep(600)
    elif how == "busy":
        while True:
            pass
    elif how == "blocked pipe":
        os.read(os.pipe()[0], 1)
    elif how == "holding the GIL":
        ctypes.PyDLL(None).sleep(600)
    elif how == "ignoring the stop":
        signal.signal(STOP_SIGNAL, signal.SIG_IGN)
        ctypes.PyDLL(None).sleep(600)
    yield -1


def with_grandchild(n: int, how: str = "sleep") -> Iterator[int]:
    """Yield the pid of a forked child that holds all descriptors, then numbers, then get stuck."""
    pid = os.fork()
    if pid == 0:
        try:
            time.sleep(600)
        finally:
            os._exit(0)
    yield pid
    yield from stuck(how, n)
