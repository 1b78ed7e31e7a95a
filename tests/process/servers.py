"""Functions that serve requests in the workers of the tests. Imported there by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from splitdata.process.requests import Requests
from tests.process import hostile


def echo(worker_id: int, requests: Requests[Any]) -> Iterator[tuple[int, Any]]:
    for request in requests:
        yield worker_id, request


def arrays(worker_id: int, requests: Requests[int], size: int) -> Iterator[dict[str, Any]]:
    """Reply with an array of `size` numbers, a small one and the request, all derived from it."""
    for request in requests:
        yield {"worker": worker_id, "request": request, "large": np.full(size, request, np.int32)}


def is_reply(reply: dict[str, Any], worker_id: int, request: int) -> bool:
    """Tell whether a reply is what `arrays` gives for this request."""
    return bool(reply["worker"] == worker_id and reply["request"] == request and (reply["large"] == request).all())


def orders(worker_id: int, requests: Requests[Any]) -> Iterator[Any]:
    """Do what each request says: (what, argument)."""
    for what, argument in requests:
        if what == "raise":
            raise argument
        if what == "hostile":
            raise hostile.ALL[argument]()
        if what == "kill":
            os.kill(os.getpid(), getattr(signal, argument))
            time.sleep(60)
        if what == "exit":
            os._exit(argument)
        if what == "sleep":
            time.sleep(argument)
        if what == "environment":
            argument = os.environ.get(argument)
        if what == "upcoming":
            time.sleep(0.2)
            argument = requests.upcoming(argument)
        if what == "pid":
            argument = os.getpid()
        yield argument


def drafts(worker_id: int, requests: Requests[list[int]]) -> Iterator[dict[str, Any]]:
    """Reply with one array of each size asked for, made in memory for the reply where there is some.

    A negative size is asked for and then not used. `copied` are the bytes that were copied to send what came before.
    """
    copied = [0]
    really = np.copyto

    def counting(target: NDArray[Any], source: NDArray[Any]) -> None:
        copied[0] += source.nbytes
        really(target, source)

    np.copyto = counting  # type: ignore[assignment]  # counts for this process
    for number, sizes in enumerate(requests):
        reply: dict[str, Any] = {"worker": worker_id, "number": number, "copied": copied[0]}
        for place, size in enumerate(sizes):
            memory = requests.allocate(abs(size))
            if size >= 0:
                array = np.empty(size, np.uint8) if memory is None else np.frombuffer(memory, np.uint8)
                array[:] = (number + place) % 251
                reply[str(place)] = array
        # In another order than they were made, at times.
        yield dict(reversed(reply.items())) if number % 5 == 4 else reply
        del reply, memory, array


def is_draft(reply: dict[str, Any], worker_id: int, number: int, sizes: list[int]) -> bool:
    """Tell whether a reply is what `drafts` gives."""
    return bool(
        reply["worker"] == worker_id
        and reply["number"] == number
        and [reply[str(place)].size for place, size in enumerate(sizes) if size >= 0]
        == [size for size in sizes if size >= 0]
        and all((reply[str(place)] == (number + place) % 251).all() for place, size in enumerate(sizes) if size >= 0)
    )


def asks_for_memory(_: int, requests: Requests[list[int]]) -> Iterator[memoryview | None]:
    """Reply with the memory that there is for an array of so many bytes."""
    for (size,) in requests:
        yield requests.allocate(size)
