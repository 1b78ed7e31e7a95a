"""ArrayRecord files: each record, as it is. The library checks the hash of every chunk.

A few records are read at a time, as many as have 8 MiB on average.

    name.arrayrecord    chunks of Riegeli │ footer │ postscript     ──read(start, stop)──> records
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from splitdata._extras import load_extra
from splitdata.conversion.sources.numbered import NumberedFileSource

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ArrayRecordSource"]

_BATCH_BYTES: Final = 8 << 20
_MAX_BATCH: Final = 1 << 12
_MODULE: Final = "array_record.python.array_record_module"


class ArrayRecordSource(NumberedFileSource):
    """The records of a file."""

    kind = "arrayrecord"

    def __init__(self, path: str) -> None:
        """Take a path.

        Raises:
            FileNotFoundError: If there is no such file.
            ModuleNotFoundError: If array_record is not installed.
        """
        super().__init__(path)
        load_extra(_MODULE, "arrayrecord", f"reading {path}")

    @property
    def metadata(self) -> dict[str, Any]:
        """Nothing: the records are bytes."""
        return {}

    def _known_count(self) -> int:
        with self._opened() as reader:
            return int(reader.num_records())

    def _samples(self, first: int) -> Iterator[bytes]:
        with self._opened() as reader:
            count, size = reader.num_records(), self.num_bytes or 0
            step = max(1, min(_MAX_BATCH, _BATCH_BYTES * max(1, count) // max(1, size)))
            for start in range(first, count, step):
                stop = min(count, start + step)
                yield from reader.read(start, stop)
                self._bytes_read = size * stop // count

    def _record(self, sample: bytes) -> bytes:
        return sample

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        module = load_extra(_MODULE, "arrayrecord", f"reading {self.shown}")
        # Records are asked for in runs, so nothing is read ahead.
        try:
            reader = module.ArrayRecordReader(self.path, "readahead_buffer_size:0")
            try:
                if not reader.ok():
                    raise ValueError("it has no footer of ArrayRecord")
                yield reader
            finally:
                reader.close()
        # Which of them, the binding decides by the status of the C++ library.
        except (ValueError, RuntimeError, IndexError, SystemError) as error:
            raise self._refusal(f"cannot be read as ArrayRecord: {error}") from error
