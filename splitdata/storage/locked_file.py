"""A file whose lock is held for as long as the object lives, even if an interrupt strikes while it is taken."""

from __future__ import annotations

from collections.abc import Callable

from splitdata._ownership import Closeable
from splitdata.storage import files

__all__ = ["LockedFile"]


class LockedFile(Closeable):
    """An open file with its lock, until it is closed or dropped; a context manager."""

    # For an object whose construction has failed.
    _descriptor = -1

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor of a file on which the lock is held."""
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The descriptor of the file; -1 once it is closed."""
        return self._descriptor

    def detach(self) -> int:
        """Return the descriptor; from now on the caller closes it."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        """Let another one have it; safe to call again."""
        descriptor = self.detach()
        if descriptor >= 0:
            files.close(descriptor)

    def __del__(self, close: Callable[[int], None] = files.close) -> None:
        """Close it; what that takes is bound here, as at exit the names of this module may be gone already."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close(descriptor)
