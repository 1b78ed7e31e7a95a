"""The members of a tar archive, read in one pass, plain or compressed.

tarfile ends without a word at a header that is cut off or damaged; here both are errors, and so is an archive without
the blocks of zeros that end it. Headers that claim more than 1 MiB for names are refused before they are read.

    header | content | header | content | zeros        byte of a header: a place to go on from
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Final

from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.conversion.sources.files.input_file import InputFile

__all__ = ["TarMembers"]

_BLOCK: Final = tarfile.BLOCKSIZE
_MAX_HEADER_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 256 << 10


class TarMembers:
    """One pass over an archive.

    Attributes:
        byte: Of the archive, uncompressed, behind the member that was given last.
    """

    def __init__(self, input_file: InputFile, start: int = 0) -> None:
        """Begin at the byte of a header."""
        self._shown = input_file.shown
        self._path = input_file.path
        self._file = _ForwardFile(input_file.blocks(start), start, input_file.shown)
        self.byte = start
        self._left = 0

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        """Yield the members; the content of each can be read until the next is asked for.

        Raises:
            SourceError: If the archive is damaged or truncated.
        """
        # Opened on nothing: it serves to parse headers, and would itself end at damage as at the end.
        parser = tarfile.TarFile(fileobj=io.BytesIO(bytes(2 * _BLOCK)), encoding="utf-8", errors="surrogateescape")
        parser.fileobj = self._file  # type: ignore[assignment]  # all that a parser of headers needs
        while True:
            self._file.skip_to(self.byte)
            block = self._file.peek(_BLOCK)
            if len(block) < _BLOCK:
                raise self._damage("it ends without the zeros that end an archive: it was truncated")
            if not block.strip(b"\0"):
                self._check_end()
                return
            try:
                member = tarfile.TarInfo.fromtarfile(parser)
            except SourceError:
                raise
            except (tarfile.TarError, ValueError, OverflowError, RecursionError, LookupError) as error:
                raise self._damage(f"its header cannot be read: {error}") from None
            if member.isreg() and (member.issparse() or member.size < 0):
                raise self._damage(f"{member.name} is a sparse file, which is not read")
            self.byte = parser.offset
            if self.byte <= member.offset_data - _BLOCK:
                raise self._damage("its header gives a length that cannot be")
            self._left = member.size if member.isreg() else 0
            yield member

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes of the content of the newest member, none at the end of the archive."""
        data = self._file.take(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def _check_end(self) -> None:
        # To the end, where a compressed file has its checksum.
        while data := self._file.take(_PIECE_BYTES):
            if data.strip(b"\0"):
                raise self._damage(
                    "something follows the zeros that end it: perhaps archives were joined by `cat`; "
                    "name each of them as a source instead"
                )

    def _damage(self, what: str) -> SourceError:
        return SourceError(f"{self._shown} is damaged, or no tar archive: at byte {self.byte}, {what}", path=self._path)


class _ForwardFile:
    """Blocks as a file that is read from front to end, as far as tarfile needs one."""

    def __init__(self, blocks: Iterator[bytes], start: int, shown: str) -> None:
        self._blocks = blocks
        self._shown = shown
        self._buffer = memoryview(b"")
        self._place = start

    def tell(self) -> int:
        return self._place

    def read(self, size: int) -> bytes:
        """Return so many bytes of a header, fewer at the end."""
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise SourceError(f"{self._shown} has a header of {size} bytes, at byte {self._place}: it is damaged")
        data = self.peek(size)
        self._advance(len(data))
        return data

    def peek(self, size: int) -> bytes:
        while len(self._buffer) < size and (block := next(self._blocks, b"")):
            self._buffer = memoryview(b"".join((self._buffer, block)))
        return bytes(self._buffer[:size])

    def take(self, size: int) -> bytes:
        """Return up to `size` bytes, as many as are at hand; none at the end."""
        if not self._buffer:
            self._buffer = memoryview(next(self._blocks, b""))
        data = bytes(self._buffer[:size])
        self._advance(len(data))
        return data

    def skip_to(self, place: int) -> None:
        while self._place < place and self.take(place - self._place):
            pass

    def close(self) -> None:
        close = getattr(self._blocks, "close", None)
        if close:
            close()

    def _advance(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._place += size
