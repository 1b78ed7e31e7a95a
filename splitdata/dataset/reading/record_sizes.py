"""The sizes of all records, from the index alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import numpy as np

from splitdata.order.positions import are_several, checked_position, checked_positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from splitdata.dataset.reading.snapshot import Snapshot

__all__ = ["RecordSizes"]

# So much of the index is looked at together when sizes are walked: 1 MiB of it.
_CHUNK: int = 1 << 16


class RecordSizes:
    """Raw lengths in bytes, by position; reads no data and holds none, at any number of records.

    ``sizes[i]`` is an int, ``sizes[a:b]``, ``sizes[[1, 2]]`` and ``numpy.asarray(sizes)`` are int64
    arrays (8 bytes a record). Valid for the snapshot from which it was taken.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def __len__(self) -> int:
        """Return the number of records."""
        return self._snapshot.num_records

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any]) -> NDArray[np.int64]: ...
    def __getitem__(self, index: Any) -> Any:
        """Return the size of one record, or the sizes of several: a slice, integers or a mask, as the reader's."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._range(start, max(start, stop))
        if are_several(index):
            positions = checked_positions(index, len(self)).tolist()
            return np.array([self[position] for position in positions], np.int64)
        segment, sequence = self._snapshot.find(checked_position(index, len(self)))
        return segment.length(sequence)

    def __iter__(self) -> Iterator[int]:
        """Walk all sizes; some of the index at a time."""
        for start in range(0, len(self), _CHUNK):
            yield from self._range(start, min(start + _CHUNK, len(self))).tolist()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all sizes as one array."""
        return np.asarray(self._range(0, len(self)), dtype)

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<sizes of {len(self)} records>"

    def _range(self, start: int, stop: int) -> NDArray[np.int64]:
        parts = []
        while start < stop:
            segment, sequence = self._snapshot.find(start)
            count = min(stop - start, segment.num_records - sequence)
            parts.append(segment.raw_lengths(sequence, sequence + count))
            start += count
        return np.concatenate(parts) if parts else np.empty(0, np.int64)
