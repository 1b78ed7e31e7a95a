"""Stores for the bytes of made samples: added in blocks, read one by one, dropped all together.

Samples of one row of groups live and end together, so nothing has to be freed one by one.

    MemoryStore    slabs of up to 64 MiB     address -> a view in place
    FileStore      a file without a name     address -> read; what the disk has no room for goes into memory

    address    0 ... 2^62: an offset         from 2^62 on: in the memory beside the file
"""

from __future__ import annotations

import errno
import logging
import os
import weakref
from bisect import bisect_right
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, cast

import numpy as np

from splitdata._ownership import OwnerProcess
from splitdata._shown import one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.rotation.rotation_options import Rotation

__all__ = ["FileStore", "MemoryStore", "SampleStore", "StoreMaker"]

_log = logging.getLogger("splitdata")

_ALIGNMENT: Final = 64
_SLAB_BYTES: Final = (1 << 20, 64 << 20)
_IN_MEMORY: Final = 1 << 62
_OUT_OF_SPACE: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)
# Where the file has a name for a moment, this is how it begins.
_PREFIX: Final = ".splitdata-rotation-"


class SampleStore(Protocol):
    """Keeps bytes. Belongs to one thread."""

    @property
    def memory_bytes(self) -> int:
        """The bytes that it keeps in memory, without gaps."""

    @property
    def disk_bytes(self) -> int:
        """The bytes that it keeps on disk, without gaps."""

    def add(self, data: NDArray[np.uint8]) -> int:
        """Keep a copy of some bytes; return their address, a multiple of 64."""

    def view(self, address: int, length: int) -> memoryview | None:
        """Return bytes where they are; None where they have to be read."""

    def read_into(self, address: int, room: memoryview) -> None:
        """Read bytes, as many as there is room."""

    def close(self) -> None:
        """Drop everything; what views show from then on is not defined."""


class MemoryStore:
    """Keeps bytes in memory.

    Args:
        spare: Slabs without use. It takes from them first, and gives all of its own back: memory that was in use
            before is several times faster to fill than what the system has to find.
    """

    def __init__(self, spare: list[memoryview]) -> None:
        self.memory_bytes = 0
        self.disk_bytes = 0
        self._spare = spare
        # Addresses count through all slabs.
        self._starts: list[int] = []
        self._slabs: list[memoryview] = []
        self._end = self._stop = 0

    def add(self, data: NDArray[np.uint8]) -> int:
        """Keep a copy of some bytes in one slab; return their address."""
        if self._end + len(data) > self._stop:
            self._add_slab(len(data))
        address = self._end
        start = address - self._starts[-1]
        self._slabs[-1][start : start + len(data)] = data.data
        self._end += -(-len(data) // _ALIGNMENT) * _ALIGNMENT
        self.memory_bytes += len(data)
        return address

    def _add_slab(self, least: int) -> None:
        fitting = [number for number, slab in enumerate(self._spare) if len(slab) >= least]
        if fitting:
            slab = self._spare.pop(fitting[-1])
        else:
            # Doubled each time: a small group needs little, a large one has few slabs.
            size = max(least, min(max(self.memory_bytes, _SLAB_BYTES[0]), _SLAB_BYTES[1]))
            memory = np.empty(size + 2 * _ALIGNMENT, np.uint8)
            skipped = -memory.ctypes.data % _ALIGNMENT
            slab = memory[skipped : skipped + -(-size // _ALIGNMENT) * _ALIGNMENT].data
        self._starts.append(self._stop)
        self._slabs.append(slab)
        self._end, self._stop = self._stop, self._stop + len(slab)

    def view(self, address: int, length: int) -> memoryview:
        """Return bytes where they are."""
        slab = bisect_right(self._starts, address) - 1
        start = address - self._starts[slab]
        return self._slabs[slab][start : start + length]

    def read_into(self, address: int, room: memoryview) -> None:
        """Copy bytes."""
        room[:] = self.view(address, len(room))

    def close(self) -> None:
        """Drop everything."""
        self._spare += self._slabs
        self._starts.clear()
        self._slabs = []
        self.memory_bytes = self._end = self._stop = 0


class FileStore:
    """Keeps bytes in a file that has no name, and in memory those that the disk has no room for.

    Args:
        folder: Where. None: the system's folder for temporary files.
        maker: Is told when the disk is full.
    """

    def __init__(self, folder: str | None, maker: StoreMaker) -> None:
        self.disk_bytes = 0
        self._maker = maker
        self._folder = folder
        self._owner = OwnerProcess()
        self._file = _open_nameless(folder)
        # A loader that is dropped without being closed lets go of its files, too.
        self._close_file = weakref.finalize(self, self._file.close)
        self._end = 0
        self._memory = MemoryStore(maker.spare)
        self._is_full = False

    @property
    def memory_bytes(self) -> int:
        """Of what the disk had no room for."""
        return self._memory.memory_bytes

    def add(self, data: NDArray[np.uint8]) -> int:
        """Keep a copy of some bytes; return their address.

        Raises:
            OSError: The disk failed otherwise than by being full.
            ClosedError: If this process was forked from the one that keeps samples here.
        """
        self._check_owner()
        if not self._is_full:
            try:
                return self._write(data)
            except OSError as error:
                if error.errno not in _OUT_OF_SPACE:
                    raise
                self._is_full = True
                self._maker.warn_of_full_disk(self._folder, error)
        return _IN_MEMORY + self._memory.add(data)

    def _write(self, data: NDArray[np.uint8]) -> int:
        address = self._end
        self._file.seek(address)
        rest = data.data
        while rest:
            rest = rest[self._file.write(rest) :]
        self._end += -(-len(data) // _ALIGNMENT) * _ALIGNMENT
        self.disk_bytes += len(data)
        return address

    def view(self, address: int, length: int) -> memoryview | None:
        """Return bytes that are in memory."""
        return self._memory.view(address - _IN_MEMORY, length) if address >= _IN_MEMORY else None

    def read_into(self, address: int, room: memoryview) -> None:
        """Read bytes.

        Raises:
            OSError: The disk failed, or lost them.
            ClosedError: If this process was forked from the one that keeps samples here.
        """
        self._check_owner()
        if address >= _IN_MEMORY:
            self._memory.read_into(address - _IN_MEMORY, room)
            return
        self._file.seek(address)
        rest = room
        while rest:
            count = self._file.readinto(rest)
            if not count:
                raise OSError(
                    errno.EIO, f"the rotation's file has lost {len(rest)} bytes at {address}; make a new loader"
                )
            rest = rest[count:]

    def _check_owner(self) -> None:
        # The place in the file is one for both: a read here would let the parent read elsewhere.
        self._owner.check("a rotation on disk")

    def close(self) -> None:
        """Give the disk's space back."""
        self._close_file()
        self._memory.close()
        self.disk_bytes = 0


class StoreMaker:
    """Opens stores of the medium that was chosen.

    Attributes:
        spare: Memory that waits for the next one.

    Raises:
        OSError: No file can be made there.
    """

    def __init__(self, rotation: Rotation) -> None:
        self._is_on_disk = rotation.medium == "disk"
        self._folder = None if rotation.path is None else os.fspath(rotation.path)
        self._has_warned = False
        self.spare: list[memoryview] = []
        if self._is_on_disk:
            # An error belongs here, not in the middle of the first epoch.
            self._check_folder()

    def _check_folder(self) -> None:
        """Make the folder, as a cache does, and see that a file can be made in it."""
        try:
            if self._folder is not None:
                Path(self._folder).mkdir(parents=True, exist_ok=True)
            _open_nameless(self._folder).close()
        except OSError as error:
            where = self._folder or "the folder for temporary files"
            raise OSError(
                error.errno,
                f"rotation cannot keep samples in {where}: {error.strerror}; choose another path, or medium='memory'",
            ) from error

    def open(self) -> SampleStore:
        """Return an empty store."""
        return FileStore(self._folder, self) if self._is_on_disk else MemoryStore(self.spare)

    def warn_of_full_disk(self, folder: str | None, error: OSError) -> None:
        """Warn once that samples are kept in memory because the disk is full."""
        if self._has_warned:
            return
        self._has_warned = True
        _log.warning(
            "rotation: no room for samples in %s (%s). What does not fit there is kept in memory from here on, and "
            "nothing is lost; choose a smaller size, or a path with more room",
            one_line(folder or "the folder for temporary files"),
            error.strerror,
        )


class _RawFile(Protocol):
    """The methods of an unbuffered file that are used."""

    def seek(self, offset: int, /) -> int: ...

    def write(self, data: memoryview, /) -> int: ...

    def readinto(self, room: memoryview, /) -> int | None: ...

    def close(self) -> None: ...


def _open_nameless(folder: str | None) -> _RawFile:
    # Loads a dozen modules, and only here.
    import tempfile

    # Never has a name where the system can do that; else for a moment. On Windows the last close deletes it.
    opened: IO[bytes] = tempfile.TemporaryFile(dir=folder, prefix=_PREFIX, buffering=0)  # noqa: SIM115
    return cast("_RawFile", opened)
