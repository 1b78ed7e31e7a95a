"""One block of shared memory per worker: made by the consumer, written by the worker, mapped by both.

    consumer                     the block, anonymous                        worker
    Arena.create(size) --------> [ slot | slot |   free    | slot | free ] <-------- Arena.attach(handle)
    maps it once                 no name anywhere; nothing to leak            maps it once

    kind        where                               handle that the worker gets
    "memfd"     Linux: memory file, sealed so       descriptor
                that neither side can resize it
    "file"      other POSIX: unlinked temporary     descriptor
                file
    "mapping"   Windows: section of the page file,  random name; gone with its last handle
                released by the system

The block is as large as the budget from the start, but costs memory only where it was touched, and the
allocator (slots.py) always takes the lowest free place, so a stream of equal batches lives in the few
slots that it needs. Memory is reserved before it is touched (`reserve`): a full disk or a full machine
is an error that can be handled, not a SIGBUS.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitdata.process.wire.channel_options import ArenaKind

__all__ = ["Arena", "default_kind"]


def default_kind() -> ArenaKind:
    """Return the best kind of shared memory that this system has."""
    if sys.platform == "win32":
        return "mapping"
    return "memfd" if hasattr(os, "memfd_create") else "file"


def _sealed_memory_file(size: int) -> int:
    import fcntl

    descriptor = os.memfd_create("splitdata", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _unlinked_file(size: int) -> int:
    # Not at import: a worker attaches what its consumer has made.
    import tempfile

    # TemporaryFile opens exclusively with mode 0600 and leaves no name behind.
    with tempfile.TemporaryFile(prefix="splitdata-arena-") as file:
        file.truncate(size)
        return os.dup(file.fileno())


class Arena:
    """A block of shared memory, mapped for reading and writing.

    The map is dropped, never closed: arrays handed to the user may look into it for as long as they
    live, and the memory goes with the last of them.

    Attributes:
        kind: How the block is made.
        size: Bytes.
        map: The mapping.
    """

    def __init__(self, kind: ArenaKind, size: int, mapping: mmap.mmap, descriptor: int | None, name: str) -> None:
        self.kind = kind
        self.size = size
        self.map = mapping
        self._descriptor = descriptor
        self._name = name
        self._reserved = 0

    @classmethod
    def create(cls, size: int, kind: ArenaKind | None = None) -> Arena:
        """Make a block of `size` bytes, rounded up to whole pages.

        Raises:
            OSError: The system gives no more descriptors, memory or disk.
        """
        kind = kind or default_kind()
        size = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        if kind == "mapping":
            import secrets

            name = f"splitdata-{secrets.token_hex(16)}"
            return cls(kind, size, _map_named(size, name), None, name)
        descriptor = _sealed_memory_file(size) if kind == "memfd" else _unlinked_file(size)
        try:
            return cls(kind, size, _map_descriptor(descriptor, size), descriptor, "")
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def attach(cls, kind: ArenaKind, size: int, handle: int | str) -> Arena:
        """Map a block that another process made; `handle` is its descriptor or its name."""
        if isinstance(handle, str):
            return cls(kind, size, _map_named(size, handle), None, handle)
        if os.fstat(handle).st_size != size:
            raise ValueError(f"shared memory has {os.fstat(handle).st_size} bytes, not {size}")
        return cls(kind, size, _map_descriptor(handle, size), handle, "")

    @property
    def handle(self) -> int | str:
        """The handle that `attach` needs in the worker: a descriptor to pass on, or a name."""
        return self._name if self._descriptor is None else self._descriptor

    def release_descriptor(self) -> None:
        """Close the descriptor once the worker has it: the map stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def reserve(self, end: int) -> None:
        """Make sure that the bytes below `end` exist, so that touching them cannot fail.

        Raises:
            OSError: There is no room for them (ENOSPC, ENOMEM).
        """
        if end <= self._reserved or self._descriptor is None:
            return
        # In steps of 1 MiB: one system call for many small slots.
        end = min(self.size, -(-end // (1 << 20)) << 20)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._descriptor, self._reserved, end - self._reserved)
        else:
            zeros = bytes(1 << 20)
            for offset in range(self._reserved, end, len(zeros)):
                os.pwrite(self._descriptor, zeros[: end - offset], offset)
        self._reserved = end


def _map_descriptor(descriptor: int, size: int) -> mmap.mmap:
    if sys.version_info >= (3, 13):
        # A map that keeps no descriptor of its own: batches may be held for long.
        return mmap.mmap(descriptor, size, trackfd=False)
    return mmap.mmap(descriptor, size)


def _map_named(size: int, name: str) -> mmap.mmap:
    if sys.platform != "win32":
        raise OSError("named sections of the page file exist on Windows only")
    return mmap.mmap(-1, size, tagname=name)
