"""Ownership: which process an object belongs to, and what becomes of it in a forked child.

    parent   writer ── OwnerProcess ── is_current: True
      │ fork
      └─ child   the copy of the writer: is_current is False, so it raises, and cleans nothing up

Files, locks and processes have one owner, which gives them back by `close`. A copy of their object in a
forked child must not write, remove, wait or signal: that is its parent's. Locks of threads that stayed behind
in the parent are made again there, in one hook for all objects.
"""

from __future__ import annotations

import os
import weakref
from types import TracebackType
from typing import Protocol, Self

from splitdata.errors import ClosedError

__all__ = ["Closeable", "Inherited", "OwnerProcess", "renew_after_fork"]


class Closeable:
    """Base of what is closed at the end of a `with`, whatever ends it."""

    def close(self) -> None:
        """Give everything back; safe to call again."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Inherited(Protocol):
    """An object that a forked child inherits, and that must be put right there."""

    def _after_fork_in_child(self) -> None:
        """Make locks anew and let go of what is the parent's; runs in the child alone, before anything else."""


# How often this process and those before it were forked: a pid may be used again, this is not.
_num_forks = 0
# No WeakValueDictionary: what it does when a member is collected is Python code, in which a Ctrl-C would be lost.
_held: dict[int, weakref.ref[Inherited]] = {}
_sweep_at = 64
_hook_is_set = False


def _after_fork_in_child() -> None:
    global _num_forks
    _num_forks += 1
    # All are kept until the last of them knows: what is collected sooner would clean up what is the parent's.
    inherited = [held for reference in list(_held.values()) if (held := reference()) is not None]
    for held in inherited:
        held._after_fork_in_child()


def _set_hook() -> None:
    """Once per process, when the first object needs it: importing the library sets none."""
    global _hook_is_set
    if not _hook_is_set:
        _hook_is_set = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork_in_child)


def renew_after_fork(held: Inherited) -> None:
    """Have `held._after_fork_in_child()` called in every forked child, for as long as the object lives."""
    global _sweep_at
    _set_hook()
    _held[id(held)] = weakref.ref(held)
    if len(_held) > _sweep_at:
        for key, reference in list(_held.items()):
            if reference() is None and _held.get(key) is reference:
                del _held[key]
        _sweep_at = max(64, 2 * len(_held))


class OwnerProcess:
    """The process that made an object. Asking costs an integer comparison; safe in finalizers and at exit."""

    __slots__ = ("_num_forks", "pid")

    def __init__(self) -> None:
        """Make this process the owner."""
        _set_hook()
        self._num_forks = _num_forks
        self.pid = os.getpid()

    @property
    def is_current(self) -> bool:
        """Whether this process is the owner; False in each child that was forked from it."""
        return self._num_forks == _num_forks

    def check(self, what: str, *names: object) -> None:
        """Raise in a forked child.

        Args:
            what: The object, as the message names it: "SplitWriter(%r)".
            names: What its `%` stand for; put together only where it raises.

        Raises:
            ClosedError: If another process owns the object; nothing was done.
        """
        if self._num_forks != _num_forks:
            raise ClosedError(
                f"{what % names} belongs to process {self.pid}, from which this one ({os.getpid()}) was forked: "
                "nothing was done; make one of its own in each process"
            )
