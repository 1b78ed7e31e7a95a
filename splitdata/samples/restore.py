"""The classes that a reader knows: namedtuples and dataclasses by the name that a sample has for them.

No class is ever looked up or imported by its name.

    NAMEDTUPLE "Point" (x, y)     Point is given ──> Point(x, y)     else ──> (x, y)
    DATACLASS  "Box" (x, y)       Box is given   ──> Box, fields set  else ──> {"x": x, "y": y}
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from splitdata.samples import sample_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from splitdata.samples.schema import Node

__all__ = ["KnownTypes", "fields_of", "kind_of"]

# In a class's flags: it was made by a class statement, not in C.
_HEAP_TYPE: Final = 1 << 9


class KnownTypes:
    """The classes that were given, by name."""

    def __init__(self, types: Iterable[type]) -> None:
        """Take classes.

        Raises:
            TypeError: If one is neither a namedtuple nor a dataclass.
            ValueError: If two have one name.
        """
        self.types = tuple(types)
        self._named: dict[tuple[int, str], type] = {}
        for cls in self.types:
            kind = kind_of(cls)
            if kind is None:
                raise TypeError(f"types are classes of namedtuples and dataclasses, got {cls!r}")
            if self._named.setdefault((kind, cls.__name__), cls) is not cls:
                raise ValueError(f"two of the types are called {cls.__name__}, and samples know them by name")

    def maker(self, node: Node) -> Callable[[list[Any]], Any]:
        """Return what makes the value of a container from those of its parts, in the sample's order.

        Raises:
            TypeError: If the class that is known by this name has other fields.
        """
        cls = self._named.get((node.kind, node.name))
        if cls is None:
            if node.kind in (sample_spec.KIND_DICT, sample_spec.KIND_DATACLASS):
                return lambda values: dict(zip(node.keys, values, strict=True))
            return list if node.kind == sample_spec.KIND_LIST else tuple
        fields = fields_of(cls)
        if set(fields) != set(node.keys):
            raise TypeError(
                f"a sample has {node.name} with the fields {', '.join(map(str, node.keys))}, and the class that was "
                f"given has {', '.join(fields)}: give none, and it comes as a "
                + ("tuple" if node.kind == sample_spec.KIND_NAMEDTUPLE else "dict")
            )
        if node.kind == sample_spec.KIND_NAMEDTUPLE:
            order = [node.keys.index(field) for field in fields]
            return lambda values: tuple.__new__(cls, [values[place] for place in order])
        return lambda values: _filled(cls, node.keys, values)


def kind_of(cls: Any) -> int | None:  # whatever the caller gave as a class
    """Return the kind of a namedtuple or dataclass, None for any other class.

    A dataclass that is also a dict, say, does not count: its fields are not all that it holds.
    """
    if not isinstance(cls, type):
        return None
    if issubclass(cls, tuple):
        return sample_spec.KIND_NAMEDTUPLE if isinstance(getattr(cls, "_fields", None), tuple) else None
    is_plain = all(base is object or base.__flags__ & _HEAP_TYPE for base in cls.__mro__)
    return sample_spec.KIND_DATACLASS if is_plain and dataclasses.is_dataclass(cls) else None


def fields_of(cls: Any) -> list[str]:  # a class of either kind
    """Return the names of the fields of a namedtuple or dataclass."""
    return list(cls._fields) if issubclass(cls, tuple) else [field.name for field in dataclasses.fields(cls)]


def _filled(cls: type, names: tuple[str | int, ...], values: list[Any]) -> object:
    """Return an instance with its fields set, as unpickling would: its `__init__` has run when it was made."""
    instance: object = object.__new__(cls)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(instance, str(name), value)
    return instance
