"""A source in random order: every record equally likely at every place, the same for a seed and the same records.

The order depends on the seed and the number of records alone: not on memory, disk or sizes.

    source ──> record i gets the key random(seed, i) ──> sorted by key (external_sort.py) ──> records

    with names: | u32 length of the name | name | record |      so that each stays with its record
"""

from __future__ import annotations

import os
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from splitdata._payload import check_has_rest, is_file, payload, read_piece
from splitdata.conversion.external_sort import FilePlace, RandomBuckets, shuffle_file
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.source import KeyedSource
from splitdata.order.permutation import derive_key, random_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from splitdata._types import ReadableFile
    from splitdata.conversion.parallel.unnamed_file import UnnamedFile
    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition

__all__ = ["SHUFFLE_MEMORY_BYTES", "KeyedShuffledSource", "ShuffledSource", "shuffled"]

SHUFFLE_MEMORY_BYTES: Final = 256 << 20
"""About what a shuffle holds at most, whatever the size of the source."""

_BATCH_RECORDS: Final = 1 << 12
_BATCH_BYTES: Final = 4 << 20
_PIECE_BYTES: Final = 1 << 20
_NAME_LENGTH_BYTES: Final = 4


class ShuffledSource:
    """All records of another source, in random order.

    Reads the source once, to its end, before it gives the first record. What does not fit into memory
    waits in a file without a name, which needs as much room as the records, uncompressed, and 12 bytes
    more for each.
    """

    def __init__(
        self,
        source: RecordSource,
        seed: int,
        *,
        folder: str,
        limit: int | None = None,
        memory_bytes: int = SHUFFLE_MEMORY_BYTES,
        tick: Callable[[], None] | None = None,
    ) -> None:
        """Take a source.

        Args:
            source: Whose records these are.
            seed: Of the order.
            folder: For the temporary file.
            limit: Take only so many records from the front of the source.
            memory_bytes: About what is used at most.
            tick: Called now and then while the source is read.

        Raises:
            TypeError, ValueError: If the seed is not an int of 0 or more.
        """
        self.kind = source.kind
        self.name = source.name
        self._key = derive_key(seed, "write")
        self._seed = seed
        self._source = source
        self._folder = folder
        self._limit = limit
        self._memory_bytes = memory_bytes
        self._tick = tick
        self._share_given = 0.0

    @property
    def inputs(self) -> Sequence[str]:
        """The paths of the source."""
        return self._source.inputs

    @property
    def num_bytes(self) -> int | None:
        """Bytes of the source, twice: they are read, and then given."""
        size = self._source.num_bytes
        return None if size is None else 2 * size

    @property
    def bytes_read(self) -> int:
        """How many of them were read and given by the newest iteration."""
        return int(self._source.bytes_read * (1 + self._share_given))

    @property
    def skipped(self) -> Mapping[str, int]:
        """The things that the source left out."""
        return self._source.skipped

    def identity(self) -> str:
        """Return the seed and the identity of the source."""
        return f"shuffle {self._seed} {self._source.identity()}"

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records; raises as the source does.

        Raises:
            OSError: If the temporary file cannot be written: the disk is full.
        """
        yield from self._shuffled(self._taken)

    def _shuffled(
        self, take: Callable[[UnnamedFile], Generator[bytes | FilePlace, None, None]]
    ) -> Generator[Record, None, None]:
        """Yield what is taken of the source, in random order."""
        self._share_given = 0.0
        with (
            closing(RandomBuckets(self._folder, memory_bytes=self._memory_bytes)) as buckets,
            closing(shuffle_file(self._folder)) as large,
        ):
            num_records = 0
            with closing(take(large)) as records:
                for batch in _batches(islice(records, self._limit)):
                    buckets.add(random_keys(num_records, len(batch), self._key), batch)
                    num_records += len(batch)
                    if self._tick:
                        self._tick()
            num_given = 0
            for records_in_order in buckets.drain():
                for record in records_in_order:
                    yield self._given(large, record, num_given)
                    num_given += 1
                self._share_given = num_given / num_records

    def _taken(self, large: UnnamedFile) -> Generator[bytes | FilePlace, None, None]:
        with closing(iter(self._source)) as records:
            for record in records:
                yield _held(record, large)

    def _given(self, large: UnnamedFile, record: bytes | FilePlace, position: int) -> Record:
        return self._opened(large, record, position) if isinstance(record, FilePlace) else record

    def _opened(self, large: UnnamedFile, place: FilePlace, position: int) -> SizedFile:
        offset = place.offset

        def read(size: int) -> bytes:
            nonlocal offset
            data = large.read(offset, min(size, place.offset + place.length - offset))
            offset += len(data)
            return data

        return SizedFile(read, place.length, path=self.name, position=position)


class KeyedShuffledSource(ShuffledSource):
    """All records of another source and their keys, in random order."""

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records."""
        for _, record in self.keyed_records():
            yield record

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str | None, Record], None, None]:
        """Yield key and record; only from the beginning.

        Raises:
            ValueError: If a position is given.
        """
        if position:
            raise ValueError("a shuffle is done from its beginning only")
        yield from self._shuffled(self._taken_pairs)  # type: ignore[misc]  # `_given` makes pairs

    def _taken_pairs(self, large: UnnamedFile) -> Generator[bytes | FilePlace, None, None]:
        with closing(cast("KeyedSource", self._source).keyed_records()) as pairs:
            for key, record in pairs:
                name, held = os.fsencode(key or ""), _held(record, large)
                if isinstance(held, FilePlace):
                    yield FilePlace(held.offset, held.length, name)
                else:
                    yield b"".join((len(name).to_bytes(_NAME_LENGTH_BYTES, "little"), name, held))

    def _given(self, large: UnnamedFile, record: bytes | FilePlace, position: int) -> Any:  # a pair
        if isinstance(record, FilePlace):
            return os.fsdecode(record.key) or None, self._opened(large, record, position)
        stop = _NAME_LENGTH_BYTES + int.from_bytes(record[:_NAME_LENGTH_BYTES], "little")
        return os.fsdecode(record[_NAME_LENGTH_BYTES:stop]) or None, record[stop:]


def shuffled(
    source: RecordSource,
    seed: int,
    *,
    folder: str,
    limit: int | None = None,
    tick: Callable[[], None] | None = None,
) -> ShuffledSource:
    """Return a source in random order, with its keys if it has any; see `ShuffledSource`."""
    kind = KeyedShuffledSource if isinstance(source, KeyedSource) else ShuffledSource
    return kind(source, seed, folder=folder, limit=limit, tick=tick)


def _batches(records: Iterator[bytes | FilePlace]) -> Iterator[list[bytes | FilePlace]]:
    """Yield records in lists of bounded size."""
    batch: list[bytes | FilePlace] = []
    num_bytes = 0
    for record in records:
        batch.append(record)
        num_bytes += 0 if isinstance(record, FilePlace) else len(record)
        if len(batch) == _BATCH_RECORDS or num_bytes > _BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _held(record: Record, large: UnnamedFile) -> bytes | FilePlace:
    """Return a record as bytes, or write it away if it is large; a file is read to its end."""
    if type(record) is bytes and len(record) < READ_WHOLE_BYTES:
        return record
    if not is_file(record):
        data = payload(record)
        return bytes(data) if len(data) < READ_WHOLE_BYTES else FilePlace(large.append(data), len(data))
    file = cast("ReadableFile", record)
    pieces, size = [], 0
    while size < READ_WHOLE_BYTES and (piece := read_piece(file, _PIECE_BYTES)):
        pieces.append(piece)
        size += len(piece)
    if not size:
        check_has_rest(file)
    head = b"".join(pieces)
    if size < READ_WHOLE_BYTES:
        return head
    offset = large.append(head)
    while piece := read_piece(file, _PIECE_BYTES):
        large.append(piece)
        size += len(piece)
    return FilePlace(offset, size)
