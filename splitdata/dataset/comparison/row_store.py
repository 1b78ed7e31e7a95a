"""Rows of numbers in bounded memory: dealt out by a hash, in a temporary file as soon as they are many.

    add(rows) ──upper bits of the first column──> part 0 .. P-1 ──> blocks in a file without a name
    part(p)   <── all rows of one part, in the order in which they came

A hash spreads evenly, so that each part fits into memory.
"""

from __future__ import annotations

from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from splitdata._ownership import Closeable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RowStore"]

# Rows of one part that are in memory together, with what it takes to sort them: 5 times as much.
PART_BYTES: Final = 32 << 20


class RowStore(Closeable):
    """Rows of uint64 columns, dealt out by the first; for one thread.

    Attributes:
        num_columns: Of each row.
        num_rows: Rows that have come so far.
    """

    def __init__(self, num_rows: int, num_columns: int) -> None:
        """Take about how many rows will come, by which the number of parts is chosen."""
        self.num_columns = num_columns
        self.num_rows = 0
        num_bytes = num_rows * num_columns * 8
        self._bits = max(0, -(-num_bytes // PART_BYTES) - 1).bit_length()
        self._file: IO[bytes] | None = None
        self._end = 0
        # Of each part the rows that are in memory, or where blocks of them lie in the file.
        self._parts: list[list[NDArray[np.uint64] | tuple[int, int]]] = [[] for _ in range(1 << self._bits)]

    @property
    def num_parts(self) -> int:
        """Parts, by the upper bits of the first column."""
        return len(self._parts)

    def add(self, rows: NDArray[np.uint64]) -> None:
        """Take rows, uint64[any number, columns].

        Raises:
            OSError: If there is no room for them where temporary files lie (TMPDIR).
        """
        self.num_rows += len(rows)
        if not self._bits:
            self._parts[0].append(rows)
            return
        numbers = rows[:, 0] >> np.uint64(64 - self._bits)
        order = np.argsort(numbers, kind="stable")
        numbers, rows = numbers[order], np.ascontiguousarray(rows[order])
        borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
        for start, stop in pairwise(borders):
            if start < stop:
                self._write(int(numbers[start]), rows[start:stop])

    def part(self, number: int) -> NDArray[np.uint64]:
        """Return all rows of one part in the order in which they came."""
        pieces = [one if isinstance(one, np.ndarray) else self._read(*one) for one in self._parts[number]]
        return np.concatenate([np.empty((0, self.num_columns), np.uint64), *pieces])

    def close(self) -> None:
        """Remove the file; safe to call again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, part: int, rows: NDArray[np.uint64]) -> None:
        file = self._opened()
        file.seek(self._end)
        file.write(rows.data.cast("B"))
        self._parts[part].append((self._end, len(rows)))
        self._end += rows.nbytes

    def _read(self, offset: int, count: int) -> NDArray[np.uint64]:
        file = self._opened()
        file.seek(offset)
        data = file.read(count * self.num_columns * 8)
        return np.frombuffer(data, np.uint64).reshape(count, self.num_columns)

    def _opened(self) -> IO[Any]:
        if self._file is None:
            # Loads a dozen modules, and only here.
            import tempfile

            self._file = tempfile.TemporaryFile(prefix="splitdata-diff-")  # noqa: SIM115  # `close` does
        return self._file
