"""TFRecord files: each payload is a record, as it is; both of its checksums are checked.

The file may be plain, or compressed as a whole by gzip or zlib: its first bytes tell which, whatever its name.

    | u64 length | u32 masked crc32c of the length | payload | u32 masked crc32c of the payload | ...
    mask: the checksum turned right by 15 bits, plus 0xa282ead8
"""

from __future__ import annotations

import re
import struct
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitdata.conversion.sources.files.block_reader import BlockReader
from splitdata.conversion.sources.files.decompress import gunzip, unzlib
from splitdata.conversion.sources.files.input_file import FileSource, is_compressed
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.records.crc32c import CRC32C_OF_NOTHING, crc32c, masked_crc
from splitdata.conversion.sources.seek import count_at
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["TFRecordSource", "is_named_tfrecord"]

_HEADER: Final = struct.Struct("<QI")
_FOOTER_BYTES: Final = 4
_GZIP_START: Final = b"\x1f\x8b\x08"
_NAME: Final = re.compile(r".*\.(tfrecords?|tfrec)([-.]\d+-of-\d+)?(\.gz)?", re.DOTALL | re.IGNORECASE)
_SKIP_BYTES: Final = 1 << 20


def is_named_tfrecord(path: str) -> bool:
    """Say whether a file is named as one: name.tfrecord, or name.tfrecord-00000-of-00010."""
    return bool(_NAME.fullmatch(Path(path).name))


class TFRecordSource(FileSource):
    """The payloads of a TFRecord file, or of standard input; those above 1 MiB as files.

    Nothing is allocated for a length before its checksum was right and the bytes are there.
    """

    kind = "tfrecord"

    def __init__(self, path: str) -> None:
        """Take a path, "-" for standard input; raises as `InputFile` does."""
        super().__init__(path)
        self.skipped: Mapping[str, int] = {}
        self._reader = BlockReader(iter(()), 0)
        self._num_given = 0

    def __iter__(self) -> Generator[bytes | SizedFile, None, None]:
        """Yield the payloads.

        Raises:
            SourceError: If the file ends within a record, or a checksum is wrong, naming the record.
        """
        return self.records_from({})

    def position(self) -> SourcePosition:
        """Return where the next record begins in the content, decompressed, and its number."""
        return {"byte": self._reader.num_bytes, "record": self._num_given}

    def records_from(self, position: SourcePosition) -> Generator[bytes | SizedFile, None, None]:
        """Yield the payloads behind a position; a compressed file is decompressed from its beginning."""
        first, start = count_at(position, "record"), count_at(position, "byte")
        self._num_given = first
        self._reader = reader = BlockReader(self._content(), 0)
        self._skip(reader, start)
        for number in count(first):
            self._num_given = number
            header = reader.read_full(_HEADER.size)
            if not header:
                return
            size = self._size_in(header, number)
            if size > READ_WHOLE_BYTES:
                record = SizedFile(self._checked(reader, size, number), size, path=self._input.shown, position=number)
                self._num_given = number + 1
                yield record
                record.drain()
                continue
            payload = reader.read_full(size)
            if len(payload) < size:
                raise self._cut_off(number, f"after {len(payload)} of the {size} bytes of its payload")
            self._check_payload(reader, crc32c(payload), number)
            self._num_given = number + 1
            yield payload

    def _content(self) -> Iterator[bytes]:
        blocks = self._input.blocks()
        if is_compressed(self._input.path):
            return blocks
        start = b""
        while len(start) < _HEADER.size and (block := next(blocks, b"")):
            start += block
        blocks = chain([start], blocks) if start else blocks
        # A length may begin like compressed data does: only one that proves itself is plain.
        if len(start) < 2 or _is_header(start):
            return blocks
        if start.startswith(_GZIP_START):
            return gunzip(blocks, self._input.shown)
        if start[0] & 15 == 8 and int.from_bytes(start[:2], "big") % 31 == 0:
            return unzlib(blocks, self._input.shown)
        return blocks

    def _skip(self, reader: BlockReader, num_bytes: int) -> None:
        while reader.num_bytes < num_bytes:
            if not reader.read(min(_SKIP_BYTES, num_bytes - reader.num_bytes)):
                raise SourceError(
                    f"{self._input.shown} has {reader.num_bytes} bytes, and none at {num_bytes}", path=self._input.path
                )

    def _size_in(self, header: bytes, number: int) -> int:
        if len(header) < _HEADER.size:
            raise self._cut_off(number, f"after {len(header)} of the {_HEADER.size} bytes of its length")
        if not _is_header(header):
            reason = "the checksum of its length is wrong: the file is damaged there, or is no TFRecord file"
            raise self._refusal(number, reason)
        size: int = _HEADER.unpack(header)[0]
        return size

    def _checked(self, reader: BlockReader, size: int, number: int) -> Callable[[int], bytes]:
        """Return what reads a payload piece by piece; the last piece is given once the checksum is right."""
        crc, left = CRC32C_OF_NOTHING, size

        def read(wanted: int) -> bytes:
            nonlocal crc, left
            piece = reader.read(wanted)
            crc, left = crc32c(piece, crc), left - len(piece)
            if piece and not left:
                self._check_payload(reader, crc, number)
            return piece

        return read

    def _check_payload(self, reader: BlockReader, crc: int, number: int) -> None:
        footer = reader.read_full(_FOOTER_BYTES)
        if len(footer) < _FOOTER_BYTES:
            raise self._cut_off(number, f"after {len(footer)} of the 4 bytes of its checksum")
        if int.from_bytes(footer, "little") != masked_crc(crc):
            raise self._refusal(number, "the checksum of its payload is wrong: the file is damaged there")

    def _cut_off(self, number: int, where: str) -> SourceError:
        return self._refusal(number, f"the file ends {where}: it was truncated, or is no TFRecord file")

    def _refusal(self, number: int, what: str) -> SourceError:
        return SourceError(
            f"record {number} of {self._input.shown}: {what}; make or fetch it again",
            path=self._input.path,
            position=number,
        )


def _is_header(start: bytes) -> bool:
    if len(start) < _HEADER.size:
        return False
    checksum: Any = _HEADER.unpack_from(start)[1]
    return bool(checksum == masked_crc(crc32c(start[:8])))
