"""Kinds of sources that other packages bring, by an entry point each in the group `splitdata.sources`.

A package is loaded when its kind is said, and never to find out what a path is.

    [project.entry-points."splitdata.sources"]
    beton = "my_package.beton:open_beton"      open_beton("a.beton") ──> a RecordSource
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from splitdata.conversion.sources.source import RecordSource

__all__ = ["open_plugin", "plugin_kinds"]

_GROUP: Final = "splitdata.sources"
_PARTS: Final = ("kind", "name", "inputs", "num_bytes", "bytes_read", "skipped", "identity", "__iter__")


def plugin_kinds() -> dict[str, str]:
    """Return the kinds that installed packages bring, and which package each is from."""
    # At the first use: it loads what reads e-mail, and that loads sockets.
    from importlib.metadata import entry_points

    found = entry_points(group=_GROUP)
    return {entry.name: f"the package {entry.dist.name if entry.dist else entry.module} reads it" for entry in found}


def open_plugin(kind: str, path: str) -> RecordSource:
    """Return the source that a package makes of a path.

    Raises:
        TypeError: If it makes something else.
        Exception: What the package raises.
    """
    from importlib.metadata import entry_points

    [entry, *_] = entry_points(group=_GROUP, name=kind)
    source: Any = entry.load()(path)
    missing = [part for part in _PARTS if not hasattr(source, part)]
    if missing:
        raise TypeError(f"{entry.value} gave {type(source).__name__}, which is no RecordSource: it has no {missing[0]}")
    return cast("RecordSource", source)
