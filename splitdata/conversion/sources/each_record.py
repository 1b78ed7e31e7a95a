"""The records of any source one by one: with their keys, where it has keys, and whole in memory."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final, cast

from splitdata._payload import is_file, payload, read_piece
from splitdata.conversion.sources.seek import records_from
from splitdata.conversion.sources.source import KeyedSource
from splitdata.errors import RecordTooLargeError

if TYPE_CHECKING:
    from collections.abc import Generator

    from splitdata._types import ReadableFile
    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition

__all__ = ["keyed_records_of", "whole_record"]

_MAX_RECORD_BYTES: Final = 1 << 30
_PIECE_BYTES: Final = 1 << 20


def keyed_records_of(
    source: RecordSource, position: SourcePosition | None
) -> Generator[tuple[str | None, Record], None, None]:
    """Yield the key of each record behind a position, None where a source has none, and the record."""
    if isinstance(source, KeyedSource):
        yield from source.keyed_records(position)
        return
    with closing(records_from(source, position)) as records:
        for record in records:
            yield None, record


def whole_record(record: Record) -> bytes:
    """Return a record in memory.

    Raises:
        RecordTooLargeError: If it has more than 1 GiB.
    """
    if not is_file(record):
        return record if type(record) is bytes else bytes(payload(record))
    pieces, size = [], 0
    while piece := read_piece(cast("ReadableFile", record), _PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > _MAX_RECORD_BYTES:
            raise RecordTooLargeError("a record of more than 1 GiB is not given to functions, which get it whole")
    return b"".join(pieces)
