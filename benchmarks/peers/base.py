"""What every peer offers: the same few operations, each as the whole loop.

    Peer.write(folder, records)      files of its own format
    Peer.open(folder) ─> Reader      read_each, read_batches, gather_batches, scan, shuffled_epoch

The loop is the peer's, not the harness's, so that each is used in its fastest ordinary way and pays
for no call that its users would not make. What a peer cannot do raises `Unsupported` and says why.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Peer", "Reader", "Unsupported", "count_up_to"]


class Unsupported(Exception):  # it is an answer, not an error
    """A peer has no such operation; the text says what it lacks."""


class Reader(ABC):
    """A dataset of a peer, open for reading."""

    @abstractmethod
    def get(self, position: int) -> bytes:
        """Return one record; used to prove that the adapter reads what was written."""

    def read_each(self, positions: Sequence[int]) -> None:
        """Read records one by one, each as an object of its own."""
        raise Unsupported("no access by position")

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        """Read batches, each as a list of records."""
        raise Unsupported("no access by position")

    def gather_batches(self, batches: Sequence[NDArray[np.int64]]) -> None:
        """Read batches of records of one size, each as one array."""
        raise Unsupported("no batches as one array")

    def scan(self, limit: int) -> int:
        """Read up to `limit` records in the order of the files; returns how many there were."""
        raise Unsupported("no scan")

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        """Read up to `limit` records of a shuffled epoch, each record at most once; returns how many there were."""
        raise Unsupported("no shuffled order of its own")

    def close(self) -> None:  # noqa: B027  # most have nothing to let go of
        """Let go of files."""


class Peer(ABC):
    """A way to store records.

    Attributes:
        name: In tables and on the command line.
        package: What is installed for it; its version is stamped. Empty for what needs nothing.
        checks: What it verifies while reading, in a few words.
        note: What a reader of the table must know of its figures.
        files_of: The peer whose files it reads; empty if it writes its own.
    """

    name: ClassVar[str]
    package: ClassVar[str] = ""
    checks: ClassVar[str] = "nothing"
    note: ClassVar[str] = ""
    files_of: ClassVar[str] = ""

    @abstractmethod
    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        """Write a dataset into a folder that does not exist yet.

        Args:
            folder: Where to.
            records: In order.
            durable: Return only when all of it has reached the medium; Unsupported where that cannot be had.
        """

    @abstractmethod
    def open(self, folder: Path) -> Reader:
        """Open what was written."""


def count_up_to(items: Iterable[object], limit: int) -> int:
    """Take up to `limit` items and return how many there were."""
    count = 0
    for count, _ in enumerate(islice(items, limit), 1):  # noqa: B007  # the last one counts
        pass
    return count
