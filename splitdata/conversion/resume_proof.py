"""Proves that a conversion to resume stands where its log says: it reads the last commit again from the source.

The log lies beside the data, where anyone may have changed it or have mixed up files: a position within a record would
give half a record, one behind the end of the source a conversion that is finished and has lost the rest.

    log         last commit: records 900 to 999        position behind record 999
    source      ── from where that commit began ──> 900 ... 999 ──> stands at that position?  ──> goes on from here
    dataset                                 990 ... 999 are the same records with the same keys?
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, cast

import numpy as np
import xxhash

from splitdata._payload import is_file, payload, read_piece
from splitdata.conversion.record_feed import RecordFeed
from splitdata.conversion.sources.seek import num_records_at, position_of
from splitdata.dataset.reader import SplitDataLoader
from splitdata.errors import RecordTooLargeError, SourceError, StateMismatchError
from splitdata.samples.standing_alone import standing_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata._types import ReadableFile
    from splitdata.conversion.conversion_log import ConversionLog
    from splitdata.conversion.sources.source import Record, RecordSource

__all__ = ["proven_feed"]

# Of the last commit so many records are compared with those in the dataset, its last ones; all are read again.
_NUM_COMPARED: Final = 1024
_PIECE_BYTES: Final = 1 << 20
# Compressed records are no larger, and reading a range of one decompresses all that is before it.
_WHOLE_BYTES: Final = 1 << 30
_SIZES_AT_ONCE: Final = 1 << 16


class _Mark(NamedTuple):
    """The identity of one record, by which it is recognised."""

    num_bytes: int
    digest: bytes
    key: str | None


def proven_feed(source: RecordSource, dest: str, log: ConversionLog, *, limit: int | None) -> RecordFeed:
    """Return the feed of what is left of a source.

    Args:
        source: As the log describes it.
        dest: The dataset, in which nothing has been committed since the log was.
        log: Of a conversion that is not finished.
        limit: Records to take in all calls together.

    Raises:
        StateMismatchError: If source, log and dataset do not fit together.
        FormatError: If a record of the dataset is damaged.
    """
    for position, number in ((log.commit_position, log.commit_records), (log.position, log.num_records)):
        if num_records_at(position) != number:
            _refuse(dest, f"the position that it gives for record {number} is that of another record")
    left = None if limit is None else limit - log.commit_records
    feed = RecordFeed(source, log.commit_position, limit=left)
    try:
        if log.num_records:
            marks = _read_again(feed, source, dest, log)
            _check_committed(dest, log, marks)
    except BaseException:
        feed.close()
        raise
    return feed


def _read_again(feed: RecordFeed, source: RecordSource, dest: str, log: ConversionLog) -> list[_Mark]:
    """Read the last commit from the source; returns its last records."""
    marks: deque[_Mark] = deque(maxlen=_NUM_COMPARED)
    num_wanted, num_read = log.num_records - log.commit_records, 0
    try:
        for record in islice(feed.records, num_wanted):
            marks.append(_mark_of(record, feed.next_key()))
            num_read += 1
    except (SourceError, RecordTooLargeError) as error:
        _refuse(dest, f"its last commit cannot be read again: {error}")
    if num_read < num_wanted:
        _refuse(dest, f"its last commit took {num_wanted} records, and the source ends after {num_read} of these")
    if position_of(source, log.num_records) != log.position:
        _refuse(dest, f"record {log.num_records - 1} of the source ends elsewhere than at its position")
    return list(marks)


def _check_committed(dest: str, log: ConversionLog, marks: list[_Mark]) -> None:
    """Raise unless these records were committed last; others may have been appended by other programs since."""
    with SplitDataLoader(dest) as committed:
        if len(committed) < log.num_records:
            _refuse(dest, f"it counts {log.num_records} records, and there are {len(committed)}")
        last = log.num_records - 1
        # A sample has another length there than in the source: it names its schema.
        has_samples = committed.record_codec == "sample"
        found = (
            iter(range(len(committed) - 1, last - 1, -1))
            if has_samples
            else _places(committed, last, marks[-1].num_bytes)
        )
        if not any(_are_at(committed, position, marks) for position in found):
            _refuse(
                dest, f"the records before record {log.num_records} of the source are not those that were committed"
            )


def _places(committed: SplitDataLoader, first: int, num_bytes: int) -> Iterator[int]:
    """Yield the positions from `first` on of records of a length, from the end."""
    for stop in range(len(committed), first, -_SIZES_AT_ONCE):
        start = max(first, stop - _SIZES_AT_ONCE)
        yield from (start + np.flatnonzero(committed.sizes[start:stop] == num_bytes)[::-1]).tolist()


def _are_at(committed: SplitDataLoader, last: int, marks: list[_Mark]) -> bool:
    """Say whether records lie one behind the other up to a position."""
    positions = range(last, last - len(marks), -1)
    pairs = zip(positions, reversed(marks), strict=True)
    return positions[-1] >= 0 and all(_is_at(committed, position, mark) for position, mark in pairs)


def _is_at(committed: SplitDataLoader, position: int, mark: _Mark) -> bool:
    if mark.key is not None and committed.key(position) != mark.key:
        return False
    if committed.record_codec == "sample":
        alone = standing_alone(committed.view(position), committed.schemas.of(position))
        return _mark_of(alone, mark.key) == mark
    if committed.sizes[position] != mark.num_bytes:
        return False
    digest = xxhash.xxh3_128()
    if mark.num_bytes <= _WHOLE_BYTES:
        digest.update(committed.view(position))
    else:
        for start in range(0, mark.num_bytes, _PIECE_BYTES):
            digest.update(committed.read_range(position, start, start + _PIECE_BYTES))
    return digest.digest() == mark.digest


def _mark_of(record: Record, key: str | None) -> _Mark:
    digest, num_bytes = xxhash.xxh3_128(), 0
    if is_file(record):
        while piece := read_piece(cast("ReadableFile", record), _PIECE_BYTES):
            digest.update(piece)
            num_bytes += len(piece)
    else:
        data = payload(record)
        digest.update(data)
        num_bytes = len(data)
    return _Mark(num_bytes, digest.digest(), key)


def _refuse(dest: str, reason: str) -> NoReturn:
    raise StateMismatchError(
        f"the conversion in {dest} cannot go on behind its last commit: {reason}; nothing was added, convert anew with "
        "mode='overwrite'"
    ) from None
