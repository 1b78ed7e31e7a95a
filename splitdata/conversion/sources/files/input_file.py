"""Reads one file, or standard input, as blocks of bytes; the ending of its name says how it is compressed.

A file counts as it was when it was opened: what is added meanwhile is left out, what is missing is an error.

    name.gz   ──> gunzip ───┐
    name.zst  ──> unzstd ───┤
    name.bz2  ──> bunzip2 ──┼──> blocks
    name.xz   ──> unxz ─────┤
    name, -   ──────────────┘
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import xxhash

from splitdata._local_path import local_path
from splitdata.conversion.sources.files.decompress import bunzip2, gunzip, unxz, unzstd
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from splitdata.conversion.sources.source import RecordSource

__all__ = ["STANDARD_INPUT", "FileSource", "FileWindow", "InputFile", "is_compressed", "plain_suffix"]

STANDARD_INPUT: Final = "-"

_BLOCK_BYTES: Final = 256 << 10
# Of the beginning and of the end of a file: what tells it cheaply from another.
_SAMPLE_BYTES: Final = 64 << 10
_DECOMPRESSORS: Final = {".bz2": bunzip2, ".gz": gunzip, ".xz": unxz, ".zst": unzstd}
_OTHER_COMPRESSIONS: Final = (".lzma", ".zip", ".z", ".lz4", ".7z")


def plain_suffix(path: str) -> str:
    """Return the ending of a name in small letters, without that of a compression."""
    # Of every file of a folder this is asked, so paths are text here.
    stem, suffix = os.path.splitext(os.path.basename(path.rstrip(os.sep)))  # noqa: PTH119, PTH122
    if suffix.lower() in _DECOMPRESSORS:
        suffix = os.path.splitext(stem)[1]  # noqa: PTH122
    return "" if suffix == "." else suffix.lower()


def is_compressed(path: str) -> bool:
    """Say whether the name of a file says that it is compressed in a way that is read here."""
    return Path(path).suffix.lower() in _DECOMPRESSORS


class InputFile:
    """A file to read once or several times, or standard input, to read once.

    Attributes:
        path: Of the file; "-" for standard input.
        bytes_read: Bytes of the file, as it is stored, that the newest reading took so far.
    """

    def __init__(self, path: str, *, is_archive: bool = False) -> None:
        """Take a path without opening it; of an archive the source takes apart what the name says.

        Raises:
            FileNotFoundError, IsADirectoryError: If there is no file.
            SourceError: If its name says a compression that is not read here.
        """
        self.path = path if path == STANDARD_INPUT else local_path(path, "the source")
        self._named = path
        self.bytes_read = 0
        self._was_read = False
        self._is_regular = False
        if self.is_standard_input:
            return
        mode = Path(self.path).stat().st_mode
        self._is_regular = stat.S_ISREG(mode)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "this is a folder, not a file of records", self.path)
        suffix = Path(path).suffix.lower()
        if suffix in _OTHER_COMPRESSIONS and not is_archive:
            raise SourceError(
                f"{path} is compressed in a way that is not read here ({', '.join(_DECOMPRESSORS)} are); "
                "decompress it and pass it on standard input, as `-`",
                path=path,
            )

    @property
    def is_standard_input(self) -> bool:
        """Whether this is standard input."""
        return self.path == STANDARD_INPUT

    @property
    def shown(self) -> str:
        """The name for messages."""
        return "standard input" if self.is_standard_input else self._named

    @property
    def is_compressed(self) -> bool:
        """Whether its name says that it is."""
        return is_compressed(self.path)

    @property
    def num_bytes(self) -> int | None:
        """Its size as it is stored; None for pipes and devices."""
        if self.is_standard_input:
            return None
        status = Path(self.path).stat()
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return its size, a hash of its beginning and end, and with times when it was changed.

        Raises:
            ValueError: If it is standard input, a pipe or a device, which cannot be read again.
            OSError: If it cannot be read.
        """
        status = None if self.is_standard_input else Path(self.path).stat()
        if status is None or not stat.S_ISREG(status.st_mode):
            raise ValueError(
                f"a conversion of {self.shown} cannot be resumed, as it cannot be read again; write it to a file first"
            )
        ends = xxhash.xxh3_64()
        with self.open() as file:
            ends.update(self._read(file, _SAMPLE_BYTES))
            file.seek(max(0, status.st_size - _SAMPLE_BYTES))
            ends.update(self._read(file, _SAMPLE_BYTES))
        times = {"changed_ns": status.st_mtime_ns} if with_times else {}
        return {"bytes": status.st_size, "hash of both ends": ends.hexdigest()} | times

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """Yield its content, decompressed, in pieces of any size but none.

        Args:
            start: Byte of the content to begin with. A file that is not compressed is read from there;
                a compressed one is decompressed from its beginning, and what comes before is dropped.

        Raises:
            SourceError: If it is compressed and damaged or truncated, becomes shorter while it is read, has no such
                byte, or standard input was read before.
            OSError: If it cannot be read.
        """
        self.bytes_read = 0
        decompress = _DECOMPRESSORS.get(Path(self.path).suffix.lower())
        if decompress is None:
            return self._standard_input() if self.is_standard_input else self.stored(start)
        return _without_first(decompress(self.stored(0), self._named), start)

    def windows(self, max_bytes: int, mark: bytes) -> Iterator[FileWindow]:
        """Yield windows of about so many bytes that cover the file, which is not compressed; each ends behind a mark.

        Args:
            max_bytes: A window is larger by what follows up to the next mark.
            mark: One byte.
        """
        with self.open() as file:
            size, start = _size_of(file) or 0, 0
            while start < size:
                stop = start + max_bytes
                if stop < size:
                    file.seek(stop - 1)
                    while stop - 1 < size and (block := self._read(file, _BLOCK_BYTES)):
                        found = block.find(mark)
                        if found >= 0:
                            stop += found
                            break
                        stop += len(block)
                yield FileWindow(self, start, min(stop, size))
                start = stop

    def stored(self, start: int = 0) -> Iterator[bytes]:
        """Yield its content from a byte on as it is stored; raises as `blocks` does."""
        with self.open() as file:
            size = _size_of(file)
            if size is not None and start > size:
                raise SourceError(f"{self.shown} has {size} bytes, and none at {start}", path=self.path)
            self.bytes_read = file.seek(start) if start else 0
            yield from self._counted(file, size)

    def open(self) -> IO[bytes]:
        """Open the file; a pipe is waited for only where it was there from the start."""
        # Unbuffered: it is read in large pieces.
        file = open(self.path, "rb", buffering=0, opener=_open_at_once if self._is_regular else None)  # noqa: SIM115
        if self._is_regular and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise SourceError(
                f"{self.shown} was replaced by something that is no file while it was read: leave it alone and run "
                "this again",
                path=self.path,
            )
        return file

    def _standard_input(self) -> Iterator[bytes]:
        if self._was_read:
            raise SourceError("standard input can be read only once", path=self.path)
        self._was_read = True
        # Python runs without one where the descriptor was closed.
        if sys.stdin is None:
            raise SourceError("there is no standard input to read", path=self.path)
        file = sys.stdin.buffer
        yield from self._counted(file, _size_of(file))

    def _counted(self, file: IO[bytes], size: int | None) -> Iterator[bytes]:
        """Yield what is left of a file, up to the size that it has now; None where that is not known."""
        left = None if size is None else max(0, size - file.tell())
        while left != 0:
            data = self._read(file, _BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left))
            if not data:
                break
            self.bytes_read += len(data)
            left = None if left is None else left - len(data)
            yield data
        if left:
            raise SourceError(
                f"{self.shown} ends {left} bytes too early: it had {size} bytes when it was opened, and was truncated "
                "since; convert it again when nothing writes to it any more",
                path=self.path,
            )

    def _read(self, file: IO[bytes], size: int) -> bytes:
        try:
            data: bytes | None = file.read(size)
        except OSError as error:
            error.filename = self.shown
            raise
        # The descriptor is in non-blocking mode and has nothing yet, which must not pass for the end.
        if data is None:
            raise SourceError(f"{self.shown} is in non-blocking mode; pass it through `cat`", path=self.path)
        return data


class FileWindow(InputFile):
    """Some bytes of a file that is not compressed.

    Attributes:
        start: The first of them in the file.
    """

    def __init__(self, file: InputFile, start: int, stop: int) -> None:
        """Take the file, and where the window begins and ends."""
        super().__init__(file._named)
        self.start = start
        self._stop = stop

    @property
    def shown(self) -> str:
        """The name for messages, which tells where line 1 is."""
        return f"{self._named} behind byte {self.start}" if self.start else self._named

    def stored(self, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes of the window, from one on."""
        with self.open() as file:
            file.seek(self.start + start)
            yield from self._counted(file, self._stop)


class FileSource:
    """What a source has that reads its records from one file, plain or compressed, or from standard input."""

    kind: str

    def __init__(self, path: str) -> None:
        """Take a path, "-" for standard input; raises as `InputFile` does."""
        self._input = InputFile(path)

    @property
    def name(self) -> str:
        """The name of the file."""
        return self._input.path if self._input.is_standard_input else Path(self._input.path).name

    @property
    def inputs(self) -> list[str]:
        """The path of the file."""
        return [] if self._input.is_standard_input else [self._input.path]

    @property
    def num_bytes(self) -> int | None:
        """Size of the file as it is stored."""
        return self._input.num_bytes

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""
        return self._input.bytes_read

    def identity(self) -> str:
        """Return kind and name: the records themselves are in the dataset."""
        return f"{self.kind} {self.name}"

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one; raises as `InputFile.state` does."""
        return self._input.state(with_times=with_times)

    @property
    def has_parts(self) -> bool:
        """Whether other processes can read it, too: standard input can be read here alone, a pipe only once."""
        return self._input.num_bytes is not None

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the source itself: most files have to be read from their beginning."""
        yield cast("RecordSource", self)


def _size_of(file: IO[bytes]) -> int | None:
    """Return the size of an open file; None for pipes, devices, and what the system makes up when it is read."""
    try:
        status = os.fstat(file.fileno())
    except OSError:
        # Not a file of the system's: standard input that was replaced.
        return None
    return status.st_size or None if stat.S_ISREG(status.st_mode) else None


def _without_first(blocks: Iterator[bytes], num_bytes: int) -> Iterator[bytes]:
    for block in blocks:
        if num_bytes < len(block):
            yield block[num_bytes:]
            break
        num_bytes -= len(block)
    yield from blocks


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
