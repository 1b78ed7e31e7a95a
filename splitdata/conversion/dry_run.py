"""A conversion that writes nothing: it reads the source to its end and counts what a conversion would write.

It also asks whether DEST may be written to, so that a long conversion does not fail at once when it is run for real.

    source ──every byte, every check──> records, bytes, left out        DEST: may it be written to?
                                    `─> how the first records begin
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from splitdata._payload import check_has_rest, is_file, payload, read_piece
from splitdata._place import is_url
from splitdata.conversion.conversion_log import metadata_of
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.writing.destination import BinChoice, check_destination
from splitdata.errors import DatasetExistsError
from splitdata.samples.preview import preview
from splitdata.samples.record_codecs import record_codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from splitdata._types import ReadableFile
    from splitdata.conversion.sources.source import Record

__all__ = ["DryRun", "FirstRecord"]

_PIECE_BYTES: Final = 1 << 20
_NUM_FIRST: Final = 3
_FIRST_BYTES: Final = 256
_SHOWN_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class FirstRecord:
    """One of the first records of a source, for a person to look at.

    Attributes:
        key: It would have, None where records of this source have none.
        num_bytes: Of all of it.
        begin: Its first 256 bytes.
        shown: What it holds, in words, where records are of a codec; else None.
    """

    key: str | None
    num_bytes: int
    begin: bytes
    shown: str | None = None


class DryRun:
    """Stands in for a writer: takes records, keeps nothing.

    Attributes:
        num_records: Records taken.
        first: The first three of them.
    """

    def __init__(
        self,
        dest: str | os.PathLike[str],
        *,
        mode: str,
        bins: int | None,
        codec: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Look at what is at `dest`; raises as the writer does if the mode does not allow it.

        Args:
            dest: The dataset.
            mode: As a writer takes it, and so are the bins.
            bins: Of the dataset.
            codec: Of the records.
            storage_options: Of the store that the dataset lies in.
        """
        self._codec = None if codec is None else record_codec(codec)
        self.num_records = 0
        self.first: list[FirstRecord] = []
        self._bins = BinChoice(bins)
        self._first_position = 0
        if is_url(os.fspath(dest)):
            there = metadata_of(dest, storage_options)
            if there is not None and mode == "create":
                raise DatasetExistsError(
                    f"{os.fspath(dest)} is a splitdata dataset; mode='append' adds to it, mode='overwrite' replaces it",
                    path=dest,
                )
            self._first_position = there[1] if there is not None and mode == "append" else 0
        elif Path(dest).is_dir():
            directory = DatasetDirectory(dest)
            check_destination(directory, mode)
            manifest = directory.newest_or_none() if mode == "append" else None
            self._first_position = manifest.num_records if manifest else 0
        elif Path(dest).exists():
            raise DatasetExistsError(f"{os.fspath(dest)} is a file; a dataset is a directory", path=dest)

    @property
    def num_bins(self) -> int:
        """Bins that the records taken so far would lie in."""
        return self._bins.num_bins

    @property
    def positions(self) -> range:
        """Positions that they would have."""
        return range(self._first_position, self._first_position + self.num_records)

    def take(self, records: Iterable[Record], next_key: Callable[[], str | None] = lambda: None) -> None:
        """Read records to their ends; `next_key` gives the key of each."""
        for record in records:
            size, begin = _drained(cast("ReadableFile", record)) if is_file(record) else _looked_at(payload(record))
            key = next_key()
            if self.num_records < _NUM_FIRST:
                self.first.append(FirstRecord(key, size, begin, self._shown(record)))
            self._bins.take(size)
            self.num_records += 1

    def _shown(self, record: Record) -> str | None:
        if self._codec is None or is_file(record):
            return None
        return preview(self._codec.decode(payload(record)), _SHOWN_CHARS)


def _looked_at(data: bytes | memoryview) -> tuple[int, bytes]:
    """Return the length of a record, and its first bytes."""
    return len(data), bytes(data[:_FIRST_BYTES])


def _drained(file: ReadableFile) -> tuple[int, bytes]:
    begin, size = b"", 0
    while piece := read_piece(file, _PIECE_BYTES):
        begin = begin if len(begin) == _FIRST_BYTES else (begin + piece)[:_FIRST_BYTES]
        size += len(piece)
    if not size:
        check_has_rest(file)
    return size, begin
