"""Estimates how much memory an object takes: it bounds the replies of threads.

Threads hand over objects as they are, so nothing has counted their bytes on the way.

    arrays, tensors, memoryviews     nbytes
    dicts, lists, tuples, sets       their parts; of a long one 100, evenly spread
    objects with attributes          the attributes
    everything else                  sys.getsizeof
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Iterable
from typing import Any

from splitdata.process.wire.unpicklable import attributes_of

__all__ = ["estimate_bytes"]

_MAX_PARTS = 100
_MAX_DEPTH = 20


def estimate_bytes(value: Any) -> int:
    """Return about how many bytes an object and its parts take. Never raises for what the object does."""
    return _estimate(value, set(), _MAX_DEPTH)


def _estimate(value: Any, seen: set[int], depth: int) -> int:
    if id(value) in seen or not depth:
        return 0
    seen.add(id(value))
    try:
        nbytes = getattr(value, "nbytes", None)
        if isinstance(nbytes, int):
            return nbytes
        own = sys.getsizeof(value)
        if isinstance(value, dict):
            return own + _estimate_parts(value.values(), seen, depth) + _estimate_parts(value.keys(), seen, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return own + _estimate_parts(value, seen, depth)
        if isinstance(value, str | bytes | bytearray | int | float | type):
            return own
        return own + _estimate_parts([part for _, part in attributes_of(value)], seen, depth)
    except Exception:
        return 0


def _estimate_parts(parts: Collection[Any], seen: set[int], depth: int) -> int:
    step = -(-len(parts) // _MAX_PARTS) or 1
    some: Iterable[Any] = parts if step == 1 else itertools.islice(parts, 0, None, step)
    return step * sum(_estimate(part, seen, depth - 1) for part in some)
