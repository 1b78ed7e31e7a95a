"""Types that several rooms share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    # In collections.abc from Python 3.12 on; type checkers know it for 3.11 too.
    from typing_extensions import Buffer

    BytesLike: TypeAlias = Buffer

__all__ = ["BytesLike", "ReadableFile"]


class ReadableFile(Protocol):
    """A binary file open for reading."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to `size` bytes, none at the end."""
