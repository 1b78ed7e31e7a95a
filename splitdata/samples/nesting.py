"""Containers that nest: taken apart into their parts, and made again from other parts.

Containers are mappings, lists, tuples, namedtuples and dataclasses; everything else is a leaf.

    {"image": a, "box": Box(x, [y, z])}      keys_of      ["image", "box"]      None for a leaf
                                             part         value, "box"  ->  Box(x, [y, z])
                                             rebuild      like, keys, parts  ->  {"image": ..., "box": ...}
    leaves:  a, x, y, z
    map_leaves(f):  {"image": f(a), "box": Box(f(x), [f(y), f(z)])}
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

__all__ = ["PLAIN_LEAVES", "keys_of", "leaves", "map_leaves", "name_of_leaf", "name_of_part", "part", "rebuild"]


# Seen often, and decided without asking an abstract class.
PLAIN_LEAVES = frozenset({str, bytes, int, float, bool, type(None)})


def keys_of(value: Any) -> Sequence[Any] | None:
    """Return what its parts are called: keys, places, or names of fields; None for a leaf."""
    kind = type(value)
    if kind in PLAIN_LEAVES:
        return None
    if isinstance(value, dict | Mapping):
        return list(value)
    if isinstance(value, list | tuple):
        return range(len(value))
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    return None


def part(value: Any, key: Any) -> Any:
    """Return the part of a container that `keys_of` called `key`."""
    if isinstance(value, dict | Mapping | list | tuple):
        return value[key]
    return getattr(value, key)


def name_of_part(name: str, value: Any, key: Any) -> str:
    """Return how a message calls a part of the container that it calls `name`: `sample["box"].corners[2]`."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{name}.{value._fields[key]}"
    if isinstance(value, dict | Mapping | list | tuple):
        return f'{name}["{key:.60}"]' if isinstance(key, str) else f"{name}[{key!r:.60}]"
    return f"{name}.{key}"


def name_of_leaf(name: str, value: Any, leaf: Any) -> str | None:
    """Return how a message calls one leaf of the container that it calls `name`; None if it is not in there."""
    keys = keys_of(value)
    if keys is None:
        return name if value is leaf else None
    found = (name_of_leaf(name_of_part(name, value, key), part(value, key), leaf) for key in keys)
    return next((each for each in found if each is not None), None)


def rebuild(like: Any, keys: Sequence[Any], parts: Sequence[Any]) -> Any:
    """Return a container of the same type with other parts, in the order of `keys`.

    A namedtuple or dataclass gets its fields without running `__new__`, `__init__` or `__post_init__`,
    which may check what holds for one sample only. A mapping that cannot be changed becomes a dict,
    other subclasses of list and tuple become list and tuple.
    """
    kind = type(like)
    if kind is dict:
        return dict(zip(keys, parts, strict=True))
    if isinstance(like, tuple):
        return kind._make(parts) if hasattr(kind, "_make") else tuple(parts)
    if isinstance(like, list):
        return list(parts)
    if isinstance(like, MutableMapping):
        # A copy keeps what is not an item: the factory of a defaultdict, say.
        mapping = copy.copy(like)
        # One by one: the `update` of a Counter adds.
        for key, value in zip(keys, parts, strict=True):
            mapping[key] = value
        return mapping
    if isinstance(like, Mapping):
        return dict(zip(keys, parts, strict=True))
    # Not a copy: it would carry cached properties of the other parts along.
    instance: Any = object.__new__(kind)
    for key, value in zip(keys, parts, strict=True):
        object.__setattr__(instance, key, value)
    return instance


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """Return the same nesting with `function` applied to every leaf, in order. The original is not changed."""
    kind = type(value)
    if kind in PLAIN_LEAVES:
        return function(value)
    # The usual parts of batches; the rest of this function would do the same, slower.
    if kind is list:
        return [map_leaves(function, each) for each in value]
    if kind is dict:
        return {key: map_leaves(function, each) for key, each in value.items()}
    keys = keys_of(value)
    if keys is None:
        return function(value)
    return rebuild(value, keys, [map_leaves(function, part(value, key)) for key in keys])


def leaves(value: Any) -> list[Any]:
    """Return every leaf, in order."""
    found: list[Any] = []
    _add_leaves(value, found)
    return found


def _add_leaves(value: Any, found: list[Any]) -> None:
    keys = keys_of(value)
    if keys is None:
        found.append(value)
        return
    for each in value if isinstance(value, list | tuple) else [part(value, key) for key in keys]:
        if type(each) in PLAIN_LEAVES:
            found.append(each)
        else:
            _add_leaves(each, found)
