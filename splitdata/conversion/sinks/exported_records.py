"""The records of a dataset on their way to a sink, in the order of their positions; deleted ones are left out.

They may be sent to another process, which opens the same snapshot of the dataset.

    dataset ──positions, some hundred at a time──> ExportedRecord(position, key, value)       column=NAME: one field
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from splitdata.conversion.sinks.sink import ExportedRecord, refuse
from splitdata.dataset.sample_dataset import SampleDataset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from splitdata.dataset.reader import SplitDataLoader

__all__ = ["ExportedRecords"]

_CHUNK_RECORDS: Final = 256
_CHUNK_BYTES: Final = 16 << 20
# Their records are bytes as they are.
_OF_BYTES: Final = (None, "bytes")
# How many positions are looked at together where they are cut into parts.
_LOOKED_AT: Final = 1 << 16


class ExportedRecords:
    """The records to export.

    Attributes:
        codec: Of what is given.
        num_records: In the dataset, deleted ones too.
    """

    def __init__(
        self, loader: SplitDataLoader, *, column: str | None = None, has_keys: bool = True, is_raw: bool = False
    ) -> None:
        """Take a reader, which stays the caller's.

        Args:
            loader: Of the dataset.
            column: Of samples: take this field of each.
            has_keys: Whether records are named by their keys.
            is_raw: Take the bytes of records as they are, whatever their codec.
        """
        self._loader = loader
        is_raw = is_raw or loader.record_codec in _OF_BYTES
        self._samples = None if is_raw else SampleDataset(loader.paths[0], generation=loader.generations[0])
        self._column = column
        self._has_keys = has_keys
        self.codec = loader.record_codec if column is None else None
        self.num_records = len(loader)

    def identity(self) -> dict[str, Any]:
        """Return what tells these records from others, as JSON has it."""
        return {
            "fingerprint": self._loader.fingerprint,
            "deleted": xxhash.xxh3_64_hexdigest(self._loader.deleted.tobytes()),
            "column": self._column,
            "keys": self._has_keys,
        }

    def given(self, positions: Sequence[int]) -> Iterator[ExportedRecord]:
        """Yield the records of these positions; those that are marked as deleted are left out."""
        for chunk in self._chunks(positions):
            values: list[Any] = (self._samples or self._loader)[chunk]
            for position, key, value in zip(chunk, self._loader.keys_of(chunk), values, strict=True):
                yield self._record(position, key, value)

    def num_deleted(self, positions: range) -> int:
        """Return how many records of consecutive positions are marked as deleted."""
        first, last = np.searchsorted(self._loader.deleted, (positions.start, positions.stop)).tolist()
        return int(last - first)

    def first_position(self) -> int | None:
        """Return the first position whose record is not deleted, None if there is none."""
        position = 0
        for deleted in self._loader.deleted.tolist():
            if deleted != position:
                break
            position += 1
        return position if position < self.num_records else None

    def cut(self, max_records: int, max_bytes: int, record_bytes: int, limit: int | None) -> Iterator[range]:
        """Yield all positions in parts, which depend on the records alone; none of deleted records only.

        Args:
            max_records: Of a part.
            max_bytes: Of its records together, unless it is one.
            record_bytes: What each takes more.
            limit: End behind so many records that are not deleted.
        """
        left = limit
        for part in self._parts(max_records, max_bytes, record_bytes):
            count = len(part) - self.num_deleted(part)
            if left is not None and count >= left:
                yield self._first_of(part, left)
                return
            if count:
                yield part
            left = None if left is None else left - count

    def _parts(self, max_records: int, max_bytes: int, record_bytes: int) -> Iterator[range]:
        start, num_bytes = 0, 0
        for begin in range(0, self.num_records, _LOOKED_AT):
            sizes = self._loader.sizes[begin : begin + _LOOKED_AT]
            for position, size in enumerate(sizes.tolist(), begin):
                num_bytes += size + record_bytes
                if position - start == max_records or (num_bytes > max_bytes and position > start):
                    yield range(start, position)
                    start, num_bytes = position, size + record_bytes
        if start < self.num_records:
            yield range(start, self.num_records)

    def _first_of(self, part: range, count: int) -> range:
        """Return the shortest begin of a part that has so many records which are not deleted."""
        for stop in range(part.start + count, part.stop):
            if stop - part.start - self.num_deleted(range(part.start, stop)) == count:
                return range(part.start, stop)
        return part

    def _chunks(self, positions: Sequence[int]) -> Iterator[list[int]]:
        deleted = self._loader.deleted
        if isinstance(positions, range) and positions.step == 1:
            deleted = deleted[np.searchsorted(deleted, positions.start) : np.searchsorted(deleted, positions.stop)]
        left_out = set(deleted.tolist())
        chunk: list[int] = []
        num_bytes = 0
        for position in positions:
            if position in left_out:
                continue
            chunk.append(position)
            num_bytes += int(self._loader.sizes[position])
            if len(chunk) >= _CHUNK_RECORDS or num_bytes >= _CHUNK_BYTES:
                yield chunk
                chunk, num_bytes = [], 0
        if chunk:
            yield chunk

    def _record(self, position: int, key: str | None, value: Any) -> ExportedRecord:
        key = key if self._has_keys else None
        record = ExportedRecord(position, key, value)
        if self._column is None:
            return record
        if not isinstance(value, dict) or self._column not in value:
            refuse(record, None, value, "one field of it", f"it has no field {self._column!r}")
        return ExportedRecord(position, key, value[self._column])
