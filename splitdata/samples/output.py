"""Collects the parts of a sample while it is encoded, and words the errors for values that do not fit.

One walk over the sample fills all four lists; they are joined at the end.

    Output    schema     pieces of bytes, joined at the end
              extents    lengths and dimensions of the payloads
              scalars    all other numbers
              payloads   texts, bytes, memory of arrays
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from splitdata._types import BytesLike

    # A tuple of lists: it is taken apart where a loop begins, which costs less than looking up attributes in it.
    Output: TypeAlias = tuple[list[bytes], list[int], list[int | float], list[BytesLike]]

__all__ = ["Output", "UnfitError", "remember", "shown_key", "type_name"]

_MAX_CACHED: Final = 4096
# Of a long path so many steps are shown, of its begin and of its end.
_SHOWN_STEPS: Final = (8, 2)
_SHOWN_KEY: Final = 60


class UnfitError(Exception):
    """A part that cannot be encoded; its path grows on the way out.

    Attributes:
        path: From the part to the sample.
    """

    def __init__(self, reason: str, error: type[Exception] = TypeError) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error
        self.path: list[str] = []

    def as_error(self) -> Exception:
        """Return the error for the caller, with the path from the sample to the part."""
        steps, (first, last) = self.path[::-1], _SHOWN_STEPS
        shown = "".join(steps) if len(steps) <= first + last else "".join([*steps[:first], "...", *steps[-last:]])
        return self.error(f"sample{shown}: {self.reason}")


def remember(cache: dict[Any, Any], key: object, value: object) -> None:
    """Keep a value in a cache, which is emptied first if it is full."""
    if len(cache) >= _MAX_CACHED:
        cache.clear()
    cache[key] = value


def type_name(value: object) -> str:
    """Return the name of a value's class, with its module where that tells something."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def shown_key(key: object) -> str:
    """Return a key as a path shows it, on one line and not too long."""
    shown = '"' + repr(key)[1:-1].replace('"', '\\"') + '"' if isinstance(key, str) else repr(key)
    return shown if len(shown) <= _SHOWN_KEY else shown[: _SHOWN_KEY - 3] + "..."
