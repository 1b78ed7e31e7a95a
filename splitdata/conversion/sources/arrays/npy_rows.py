"""Arrays of numpy: each row of an npy file is a sample, and each row of all arrays of an npz together.

Nothing is unpickled, and nothing is mapped: a file that is cut while it is read is an error. A few rows are in memory.

    a.npy  shape (n, 3)                    ──>  n samples: arrays of shape (3,)
    a.npz  x (n, 3), y (n,), compressed    ──>  n samples: {"x": array of shape (3,), "y": scalar}
"""

from __future__ import annotations

import zipfile
import zlib
from contextlib import ExitStack, contextmanager
from math import prod
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sources.arrays.array_rows import (
    check_rows,
    chosen_arrays,
    row_bytes,
    rows_at_once,
    rows_of_slabs,
)
from splitdata.conversion.sources.files.block_reader import BlockReader
from splitdata.conversion.sources.numbered import NumberedFileSource
from splitdata.errors import FormatError, SourceError
from splitdata.samples.npy_header import MAX_NPY_HEADER_BYTES, npy_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["NpySource", "NpzSource"]

_BLOCK_BYTES: Final = 64 << 10
_MAX_ARRAYS: Final = 1 << 10
# What is in the order of Fortran can be compressed only as a whole.
_MAX_FORTRAN_BYTES: Final = 256 << 20
_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError)


class _Rows:
    """The rows of one npy file, from its beginning to its end, out of blocks of bytes."""

    def __init__(self, blocks: Iterator[bytes], name: str, size: int | None) -> None:
        """Read the header.

        Args:
            blocks: The content of the file.
            name: Of the file, for messages.
            size: Of the content in bytes, None where that is not known before its end.

        Raises:
            SourceError: If it is none, or one whose rows are no samples.
        """
        self.name = name
        start = b""
        while len(start) < MAX_NPY_HEADER_BYTES and (block := next(blocks, b"")):
            start += block
        try:
            self.shape, self.is_fortran, self.dtype, self.begin = npy_header(memoryview(start))
        except FormatError as error:
            raise SourceError(f"{name}: {error}") from None
        check_rows(name, self.dtype, self.shape)
        self.num_bytes = self.dtype.itemsize * prod(self.shape)
        if size is not None and size != self.begin + self.num_bytes:
            raise self._wrong_size(size)
        self._reader = BlockReader(_chain(start[self.begin :], blocks), 0)

    def skip(self, num_bytes: int) -> None:
        """Read and drop what comes before a row."""
        while self._reader.num_bytes < num_bytes:
            if not self._reader.read(min(_BLOCK_BYTES, num_bytes - self._reader.num_bytes)):
                raise self._wrong_size(self.begin + self._reader.num_bytes)

    def go_on(self, blocks: Iterator[bytes], num_bytes: int) -> None:
        """Go on with blocks that begin behind so many bytes of the array."""
        self._reader = BlockReader(blocks, num_bytes)

    def read(self, num_rows: int) -> NDArray[Any]:
        """Return the next rows, as many as there are."""
        size = row_bytes(self.dtype, self.shape)
        data = self._reader.read_full(num_rows * size)
        if len(data) < num_rows * size:
            raise self._wrong_size(self.begin + self._reader.num_bytes)
        return np.ndarray((num_rows, *self.shape[1:]), self.dtype, data)

    def read_whole(self) -> NDArray[Any]:
        """Return the whole array, of which no row is together."""
        if self.num_bytes > _MAX_FORTRAN_BYTES:
            raise SourceError(
                f"{self.name} is compressed, in the order of Fortran, and has {self.num_bytes} bytes: write it again "
                "with numpy.ascontiguousarray, as rows could be read only with all of it in memory"
            )
        data = self._reader.read_full(self.num_bytes)
        if len(data) < self.num_bytes:
            raise self._wrong_size(self.begin + len(data))
        return np.ndarray(self.shape, self.dtype, data, order="F")

    def check_end(self) -> None:
        """Raise if something follows behind the array."""
        if self._reader.read(1):
            raise SourceError(f"{self.name} goes on behind its array: it holds more than one, or was damaged")

    def _wrong_size(self, size: int) -> SourceError:
        return SourceError(
            f"{self.name} has {size} bytes, and its array of shape {self.shape} and data type {self.dtype} needs "
            f"{self.begin + self.num_bytes}: it was truncated, or holds more than one array"
        )


class NpySource(NumberedFileSource):
    """The rows of an npy file, plain or compressed."""

    kind = "npy"

    def _known_count(self) -> int | None:
        return None if self._input.is_compressed else self._opened().shape[0]

    def _opened(self) -> _Rows:
        size = None if self._input.is_compressed else self.num_bytes
        return _Rows(self._input.blocks(), self._input.shown, size)

    def _samples(self, first: int) -> Iterator[Any]:
        is_compressed, rows = self._input.is_compressed, self._opened()
        size = row_bytes(rows.dtype, rows.shape)
        step = rows_at_once(size)
        if rows.is_fortran and len(rows.shape) > 1:
            yield from self._fortran_rows(rows, first, step)
            return
        if is_compressed:
            rows.skip(first * size)
        else:
            rows.go_on(self._input.blocks(rows.begin + first * size), first * size)
        for start in range(first, rows.shape[0], step):
            slab = rows.read(min(step, rows.shape[0] - start))
            self._bytes_read = self._input.bytes_read
            yield from slab
        rows.check_end()

    def _fortran_rows(self, rows: _Rows, first: int, step: int) -> Iterator[Any]:
        """Yield rows whose values lie far apart: a piece of each column is read for a slab of rows."""
        if self._input.is_compressed:
            yield from rows.read_whole()[first:]
            rows.check_end()
            return
        num_rows, num_columns, item = rows.shape[0], prod(rows.shape[1:]), rows.dtype.itemsize
        with self._input.open() as file:
            for start in range(first, num_rows, step):
                count = min(step, num_rows - start)
                slab = np.empty((num_columns, count), rows.dtype)
                for column in range(num_columns):
                    slab[column] = _read_at(file, rows, (column * num_rows + start) * item, (count,))
                self._bytes_read = (self.num_bytes or 0) * (start + count) // num_rows
                yield from slab.T.reshape((count, *rows.shape[1:]), order="F")


class NpzSource(NumberedFileSource):
    """The rows of all arrays of an npz file, or of one of them; it is read from its beginning."""

    kind = "npz"

    def __init__(self, path: str, column: str | None = None) -> None:
        """Take a path, and the array whose rows are the samples; None for all arrays together."""
        super().__init__(path)
        self._column = column

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one, and the array that is taken."""
        return super().state(with_times=with_times) | {"column": self._column}

    def _samples(self, first: int) -> Iterator[Any]:
        with self._named_damage(), self._input.open() as file, zipfile.ZipFile(file) as archive, ExitStack() as stack:
            members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
            if len(members) < len(archive.infolist()):
                raise SourceError("holds two arrays of one name")
            opened: dict[str, _Rows] = {}
            if self._column is not None and self._column not in members:
                raise SourceError(f"has no array {self._column!r}; it has {', '.join(list(members)[:20])}")
            if self._column is None and len(members) > _MAX_ARRAYS:
                raise SourceError(f"holds {len(members)} arrays, the limit for samples of all of them is {_MAX_ARRAYS}")
            for name, member in members.items():
                if self._column in (None, name):
                    content = stack.enter_context(archive.open(member))
                    opened[name] = _Rows(_blocks_of(content), f"its array {name}", member.file_size)
            names = chosen_arrays({name: rows.shape for name, rows in opened.items()}, self._column)
            yield from rows_of_slabs(self._slabs([opened[name] for name in names], names, first), self._column)

    def _slabs(self, arrays: list[_Rows], names: list[str], first: int) -> Iterator[dict[str, Any]]:
        num_rows = arrays[0].shape[0]
        step = rows_at_once(sum(row_bytes(rows.dtype, rows.shape) for rows in arrays))
        whole = {}
        for name, rows in zip(names, arrays, strict=True):
            if rows.is_fortran and len(rows.shape) > 1:
                whole[name] = rows.read_whole()
            else:
                rows.skip(first * row_bytes(rows.dtype, rows.shape))
        for start in range(first, num_rows, step):
            yield {
                name: whole[name][start : start + step] if name in whole else rows.read(min(step, num_rows - start))
                for name, rows in zip(names, arrays, strict=True)
            }
            self._bytes_read = (self.num_bytes or 0) * min(num_rows, start + step) // num_rows
        # The checksum of a member is checked where it ends.
        for rows in arrays:
            rows.check_end()

    @contextmanager
    def _named_damage(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            raise self._refusal(str(error)) from None
        except _DAMAGE as error:
            raise self._refusal(f"is no npz file that can be read: {error}") from error


def _read_at(file: IO[bytes], rows: _Rows, offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return values at a place of the array; SourceError if the file has become shorter."""
    array = np.empty(shape, rows.dtype)
    place, view = file.seek(rows.begin + offset), array.reshape(-1).view(np.uint8)
    while len(view):
        # A raw file gives less than it is asked for now and then.
        count = file.readinto(view.data)  # type: ignore[attr-defined]  # it is a RawIOBase
        if not count:
            raise SourceError(f"{rows.name} ends at byte {place}: it was truncated while it was read")
        place, view = place + count, view[count:]
    return array


def _blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    while data := file.read(_BLOCK_BYTES):
        yield data


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest
