"""Functions that serve requests in the workers of the tests. Imported there by name."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import time
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from splitdata.process.pool.process_pool import ProcessPool
from splitdata.process.pool.thread_pool import ThreadPool
from splitdata.process.wire import pipes
from splitdata.process.wire.channel_options import ChannelOptions, StartMethod
from splitdata.process.worker.requests import Requests
from tests.process import hostile
from tests.process.generators import Guillotine

Way = StartMethod | Literal["thread"]


def make_pool(serve: Any, *args: Any, way: Way = "fork", n: int = 2, **options: Any) -> Any:
    """Return a started pool of n workers: processes by a start method, or threads."""
    extra = {name: options.pop(name) for name in ("environments", "describe") if name in options}
    if way == "thread":
        pool: Any = ThreadPool(serve, args, ChannelOptions(**options), num_workers=n, **extra)
    else:
        pool = ProcessPool(serve, args, ChannelOptions(start_method=way, **options), num_workers=n, **extra)
    pool.start()
    return pool


def await_start(pool: Any, *workers: int) -> None:
    """Wait until workers serve requests: on a busy machine their start takes what it takes."""
    for worker_id in workers:
        pool.submit(worker_id, ("ok", "begun"))
        assert pool.receive(worker_id) == "begun"


def echo(worker_id: int, requests: Requests[Any]) -> Iterator[tuple[int, Any]]:
    for request in requests:
        yield worker_id, request


def arrays(worker_id: int, requests: Requests[int], size: int) -> Iterator[dict[str, Any]]:
    """Reply with an array of `size` numbers, the worker and the request, all derived from them."""
    for request in requests:
        yield {"worker": worker_id, "request": request, "large": np.full(size, request, np.int32)}


def is_reply(reply: dict[str, Any], worker_id: int, request: int) -> bool:
    """Tell whether a reply is what `arrays` gives for this request."""
    return bool(reply["worker"] == worker_id and reply["request"] == request and (reply["large"] == request).all())


def sending_times(worker_id: int, requests: Requests[int]) -> Iterator[tuple[float, Any]]:
    """Reply with what sending the last reply has cost, and with as many bytes as the request says."""
    for request in requests:
        yield requests.send_seconds, np.zeros(request, np.uint8)


def arrays_of_all_sizes(worker_id: int, requests: Requests[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """The same, for requests of (number, size)."""
    for number, size in requests:
        yield {"worker": worker_id, "request": number, "large": np.full(size, number, np.int32)}


def noting(worker_id: int, requests: Requests[int], path: str) -> Iterator[int]:
    """Reply with the request, and add a byte to a file for each reply made."""
    for request in requests:
        with open(f"{path}{worker_id}", "ab") as file:  # noqa: PTH123 - quick
            file.write(b".")
        yield request


def blobs(worker_id: int, requests: Requests[int], path: str) -> Iterator[Any]:
    """The same, with a reply of as many bytes as the request says."""
    for request in requests:
        with open(f"{path}{worker_id}", "ab") as file:  # noqa: PTH123 - quick
            file.write(b".")
        yield [{"x": np.zeros(request, np.uint8)}]


def killed_at_byte(worker_id: int, requests: Requests[int], limit: int, size: int) -> Iterator[dict[str, Any]]:
    """Serve like `arrays`; worker 1 with a pipe that kills it once `limit` bytes went into it."""
    if worker_id == 1:
        vars(pipes)["os"] = Guillotine(limit)
    yield from arrays(worker_id, requests, size)


def orders(worker_id: int, requests: Requests[Any]) -> Iterator[Any]:
    """Do what each request says: (what, argument)."""
    for what, argument in requests:
        yield _obey(what, argument, requests)


def _obey(what: str, argument: Any, requests: Requests[Any]) -> Any:
    if what == "raise":
        raise argument
    if what == "hostile":
        raise hostile.ALL[argument]()
    if what == "kill":
        # Its dump belongs to crashes that nobody ordered.
        faulthandler.disable()
        os.kill(os.getpid(), getattr(signal, argument))
        time.sleep(60)
    elif what == "exit":
        os._exit(argument)
    elif what == "sys.exit":
        raise SystemExit(argument)
    elif what == "sleep":
        time.sleep(argument)
    elif what == "sleep holding the GIL":
        ctypes.PyDLL(None).sleep(argument)
    elif what == "environment":
        return os.environ.get(argument)
    elif what == "upcoming":
        time.sleep(0.2)
        return requests.upcoming(argument)
    elif what == "pid":
        return os.getpid()
    elif what == "bomb":
        return hostile.RaisesOnArrival()
    elif what == "unpicklable":
        return {"x": [os.scandir("/")]}
    return argument


def ends_early(worker_id: int, requests: Requests[int], n: int) -> Iterator[int]:
    """Serve n requests, then end as if there were no more."""
    for _ in range(n):
        yield next(requests)


def replies_twice(worker_id: int, requests: Requests[int]) -> Iterator[int]:
    for request in requests:
        yield request
        yield request


def raises_before_the_first(worker_id: int, requests: Requests[int]) -> Iterator[int]:
    raise FileNotFoundError(2, "no data", f"worker {worker_id}")
    yield 0


def two_at_a_time(worker_id: int, requests: Requests[int]) -> Iterator[int]:
    """Take two requests before replying to either."""
    for first in requests:
        second = next(requests)
        yield first
        yield second


def marks_its_end(worker_id: int, requests: Requests[Any], path: str) -> Iterator[Any]:
    """Serve `orders`, and leave a file when ending."""
    try:
        yield from orders(worker_id, requests)
    finally:
        with open(f"{path}{worker_id}", "w") as file:  # noqa: PTH123 - quick
            file.write("ended")


def in_place_replies(worker_id: int, requests: Requests[list[int]]) -> Iterator[dict[str, Any]]:
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


def is_in_place(reply: dict[str, Any], worker_id: int, number: int, sizes: list[int]) -> bool:
    """Tell whether a reply is what `in_place_replies` gives."""
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
