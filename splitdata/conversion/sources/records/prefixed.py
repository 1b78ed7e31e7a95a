"""Length-prefixed records: for a program that writes records to a pipe which are not lines.

Such records may hold any bytes, line endings too.

    | u32 length, little-endian | payload | u32 | payload | ...      until the input ends, between two
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from splitdata.conversion.sources.files.block_reader import BlockReader
from splitdata.conversion.sources.files.input_file import FileSource
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.seek import count_at
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["PrefixedSource"]

_PREFIX_BYTES: Final = 4


class PrefixedSource(FileSource):
    """The length-prefixed records of a file, plain or compressed, or of standard input.

    Nothing is allocated for a length before the bytes are there; records above 1 MiB are streamed.
    """

    kind = "prefixed"

    def __init__(self, path: str) -> None:
        """Take a path, "-" for standard input; raises as `InputFile` does."""
        super().__init__(path)
        self.skipped: Mapping[str, int] = {}
        self._reader = BlockReader(iter(()), 0)
        self._num_given = 0

    def __iter__(self) -> Generator[bytes | SizedFile, None, None]:
        """Yield the records.

        Raises:
            SourceError: If the input ends within a record, naming it.
        """
        return self.records_from({})

    def position(self) -> SourcePosition:
        """Return where the next record begins, and its number."""
        return {"byte": self._reader.num_bytes, "record": self._num_given}

    def records_from(self, position: SourcePosition) -> Generator[bytes | SizedFile, None, None]:
        """Yield the records behind a position."""
        first, start = count_at(position, "record"), count_at(position, "byte")
        self._reader = reader = BlockReader(self._input.blocks(start), start)
        for number in count(first):
            self._num_given = number
            prefix = reader.read_full(_PREFIX_BYTES)
            if not prefix:
                return
            if len(prefix) < _PREFIX_BYTES:
                raise self._cut_off(number, f"within its length, after {len(prefix)} of 4 bytes")
            size = int.from_bytes(prefix, "little")
            if size > READ_WHOLE_BYTES:
                record = SizedFile(reader.read, size, path=self._input.shown, position=number)
                self._num_given = number + 1
                yield record
                record.drain()
                continue
            payload = reader.read_full(size)
            if len(payload) < size:
                raise self._cut_off(number, f"after {len(payload)} of the {size} bytes that it announces")
            self._num_given = number + 1
            yield payload

    def _cut_off(self, position: int, where: str) -> SourceError:
        return SourceError(
            f"{self._input.shown} ends in record {position}, {where}: it was truncated, or is not length-prefixed",
            path=self._input.path,
            position=position,
        )
