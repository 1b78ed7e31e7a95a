"""Finds the part of an object that cannot be pickled, and names it as a person would write it.

    {"model": Net(lock=<lock>)}  -->  "args[0]['model'].lock", <lock>

It walks downwards from the object that failed: into dicts, lists, tuples, sets, attributes, bound
methods, partials, and a function's closure, defaults and the globals that it names; at each step it goes
to the first part that fails alone. It is only called after a failure, so it may take its time.
"""

from __future__ import annotations

import builtins
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["attributes_of", "find_unpicklable"]

_MAX_DEPTH = 20


def attributes_of(value: object) -> Iterator[tuple[str, Any]]:
    """Yield name and value of every attribute that an object has of its own, slots included."""
    for name, part in getattr(value, "__dict__", {}).items():
        yield f".{name}", part
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name) and name not in {"__dict__", "__weakref__"}:
                yield f".{name}", getattr(value, name)


def _function_parts(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f" (its closure variable {name!r})", cell.cell_contents
        except ValueError:
            continue
    for place, default in enumerate(function.__defaults__ or ()):
        yield f" (its default number {place})", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f" (its default of {name!r})", default
    codes = [function.__code__]
    names: list[str] = []
    while codes:
        code = codes.pop()
        names += code.co_names
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    for name in dict.fromkeys(names):
        if name in function.__globals__ and not hasattr(builtins, name):
            yield f" (the global variable {name!r} that it uses)", function.__globals__[name]


def _parts(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield " (a key)", key
            yield f"[{key!r}]", part
    elif isinstance(value, list | tuple):
        names = getattr(value, "_fields", None)
        for place, part in enumerate(value):
            yield (f".{names[place]}" if names else f"[{place}]"), part
    elif isinstance(value, set | frozenset):
        for part in value:
            yield " (a member)", part
    if isinstance(value, types.FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
        yield ".__func__", value.__func__
    elif isinstance(value, functools.partial):
        yield ".func", value.func
        yield ".args", value.args
        yield ".keywords", value.keywords
    elif not isinstance(value, type | types.ModuleType):
        yield from attributes_of(value)


def find_unpicklable(value: object, path: str, dumps: Callable[[Any], object]) -> tuple[str, Any]:
    """Return path and value of the innermost part of `value` that `dumps` refuses."""
    seen = {id(value)}
    for _ in range(_MAX_DEPTH):
        for suffix, part in _parts(value):
            if id(part) in seen:
                continue
            try:
                dumps(part)
            except Exception:
                seen.add(id(part))
                path, value = path + suffix, part
                break
        else:
            break
    return path, value
