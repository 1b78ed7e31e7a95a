"""How long the records are that a writer was given: each list of them is measured several times on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from splitdata._compiled import speedups

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["given_sizes"]


def given_sizes(records: Sequence[object]) -> tuple[int, int] | None:
    """Return how many bytes records have together, and the longest of them; None if one is no `bytes`."""
    compiled = speedups()
    if compiled is not None:
        return compiled.sizes(records if type(records) is list else list(records))
    if set(map(type, records)) - {bytes}:
        return None
    sizes = list(map(len, cast("Sequence[bytes]", records)))
    return sum(sizes), max(sizes, default=0)
