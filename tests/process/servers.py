"""Functions that serve requests in the workers of the tests. Imported there by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

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
