"""Finding what does not pickle, and naming it as a person would."""

from __future__ import annotations

import functools
import pickle
import threading
from collections import namedtuple
from typing import Any

import cloudpickle
import pytest

from splitdata.process.wire.unpicklable import find_unpicklable

LOCK = threading.Lock()
Pair = namedtuple("Pair", "left right")


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: object) -> None:
        self.inner = inner


class Holder:
    def __init__(self, inner: object) -> None:
        self.inner = inner

    def method(self) -> None:
        pass


def recursive() -> list[Any]:
    value: list[Any] = [1]
    value += [value, {"deep": LOCK}]
    return value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (LOCK, "x"),
        ({"a": [1, (2, LOCK)]}, "x['a'][1][1]"),
        (Pair(1, LOCK), "x.right"),
        (Holder({"k": Holder(LOCK)}), "x.inner['k'].inner"),
        (Slotted(LOCK), "x.inner"),
        (Holder(LOCK).method, "x.__self__.inner"),
        (functools.partial(print, 1, end=LOCK), "x.keywords['end']"),
        (recursive(), "x[2]['deep']"),
    ],
)
def test_innermost_part_that_does_not_pickle_is_found(value: object, path: str) -> None:
    found, part = find_unpicklable(value, "x", lambda part: pickle.dumps(part, 5))

    assert found == path
    assert part is LOCK


def test_default_and_global_of_a_function_are_found() -> None:
    scope: dict[str, Any] = {"LOCK": LOCK, "__name__": "__main__"}
    exec("def uses():\n    return [LOCK for _ in range(3)]", scope)

    assert find_unpicklable(scope["uses"], "f", cloudpickle.dumps)[0] == "f (the global variable 'LOCK' that it uses)"
    assert find_unpicklable(lambda lock=LOCK: lock, "f", cloudpickle.dumps)[0] == "f (its default number 0)"
