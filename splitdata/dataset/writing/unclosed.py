"""Tells objects that are still open of the end of the program, while they can still say something about it.

A writer that was never closed holds records that are not committed; its user should learn of that.

    object made ── end_with_program ──> known as long as it lives
    atexit      ── object._end_with_program()          before modules are taken apart, as finalizers may run after
"""

from __future__ import annotations

import atexit
import weakref
from typing import Protocol

__all__ = ["end_with_program"]


class _Forgotten(Protocol):
    def _end_with_program(self) -> None: ...


_open: weakref.WeakSet[_Forgotten] = weakref.WeakSet()
_is_registered = False


def end_with_program(forgotten: _Forgotten) -> None:
    """Have `forgotten._end_with_program()` called at exit, if it is alive then; in forked children too."""
    global _is_registered
    if not _is_registered:
        _is_registered = True
        atexit.register(_end_all)
    _open.add(forgotten)


def _end_all() -> None:
    for forgotten in list(_open):
        forgotten._end_with_program()
