"""Exceptions that resist being sent to another process, each in its own way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any


class NeedsArguments(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class ReduceRaises(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        raise RuntimeError("not me")


class ReduceLies(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return str, ("not an exception",)


class StrRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ReprRaises(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no text")


class ChangesOnTheWay(Exception):
    def __init__(self, text: str = "default") -> None:
        super().__init__()
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        return ChangesOnTheWay, ()


class NoOrdinaryException(BaseException):
    pass


class RefusesAttributes(Exception):
    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} is not to be set")


class ExitsWhenRebuilt(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return exit_process, (os.getpid(),)


class LiesAboutItsClass(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return StopIteration


class HugeText(Exception):
    pass


class EndsAnIteration(StopIteration):
    pass


def exit_process(origin: int) -> Exception:
    raise SystemExit(f"made in {origin}")


def needs_arguments() -> BaseException:
    return NeedsArguments(4, "bad")


def holds_a_lock() -> BaseException:
    return HoldsALock()


def reduce_raises() -> BaseException:
    return ReduceRaises("x")


def reduce_lies() -> BaseException:
    return ReduceLies("x")


def str_raises() -> BaseException:
    return StrRaises("x")


def repr_raises() -> BaseException:
    return ReprRaises("x")


def changes_on_the_way() -> BaseException:
    return ChangesOnTheWay("important")


def no_ordinary_exception() -> BaseException:
    return NoOrdinaryException("x")


def refuses_attributes() -> BaseException:
    return RefusesAttributes("x")


def exits_when_rebuilt() -> BaseException:
    return ExitsWhenRebuilt("x")


def lies_about_its_class() -> BaseException:
    return LiesAboutItsClass("x")


def huge_text() -> BaseException:
    return HugeText("x" * 3_000_000)


def local_class() -> BaseException:
    class LocalClass(Exception):
        pass

    return LocalClass("x")


def ends_an_iteration() -> BaseException:
    return EndsAnIteration("x")


ALL: list[Callable[[], BaseException]] = [
    needs_arguments,
    holds_a_lock,
    reduce_raises,
    reduce_lies,
    str_raises,
    repr_raises,
    changes_on_the_way,
    no_ordinary_exception,
    refuses_attributes,
    exits_when_rebuilt,
    lies_about_its_class,
    huge_text,
    local_class,
    ends_an_iteration,
]
SURVIVING = [str_raises, repr_raises, no_ordinary_exception, refuses_attributes, lies_about_its_class, huge_text]


class RaisesOnArrival:
    """Yielded as a batch; raises where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return divmod, (1, 0)


class _Raising:
    """An iterator, not a generator: what its __next__ raises is not turned into something else."""

    def __init__(self, n: int, kind: Callable[[], BaseException]) -> None:
        self.numbers = iter(range(n))
        self.kind = kind

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        for number in self.numbers:
            return number
        raise self.kind()


def raises(n: int, kind: Callable[[], BaseException]) -> Iterator[int]:
    if kind is ends_an_iteration:
        # From __next__ it would be an end; from a generator Python itself makes it a RuntimeError.
        return _generate(n, kind)
    return _Raising(n, kind)


def _generate(n: int, kind: Callable[[], BaseException]) -> Iterator[int]:
    yield from range(n)
    raise kind()


def yields_a_bomb() -> Iterator[Any]:
    yield "before"
    yield RaisesOnArrival()
    yield "after"
