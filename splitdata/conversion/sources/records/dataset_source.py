"""A dataset as a source: its records with their keys, in the order of their positions.

So a dataset of an older format, which is read and not written any more, becomes one that can be added to.

    positions in order, less those that were deleted ──> records, each proven      keyed: (key, record)
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from splitdata._place import dataset_place
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.seek import count_at
from splitdata.dataset.describe import describe
from splitdata.dataset.manifests.origin import without_origin
from splitdata.dataset.reader import SplitDataLoader
from splitdata.errors import FormatError, SourceError
from splitdata.samples.standing_alone import standing_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition
    from splitdata.samples.sample_schema import SampleSchema

__all__ = ["DatasetSource", "KeyedDatasetSource", "open_dataset"]

_CHUNK_RECORDS: Final = 1 << 10
# What one costs beside its bytes, as if it were bytes.
_RECORD_BYTES: Final = 32
_DELETED: Final = "deleted record"


class DatasetSource:
    """The records of a dataset without keys; those of 1 MiB and more as files, those that were deleted left out."""

    kind = "splitdata"

    def __init__(self, path: str, num_bytes: int, positions: NDArray[np.int64] | None = None) -> None:
        """Take the directory, how many bytes its records have, and which are taken, ascending; None for all."""
        self.path = path
        self.num_bytes = num_bytes
        self.skipped: Counter[str] = Counter()
        self.bytes_read = 0
        self._loader = SplitDataLoader(path)
        self._holds_samples = self._loader.record_codec == "sample"
        self._deleted = self._loader.deleted if self._loader.num_deleted else None
        # All positions, of a part some of them.
        self._taken: range | NDArray[np.int64] = range(len(self._loader)) if positions is None else positions
        self._position: SourcePosition = {}

    @property
    def name(self) -> str:
        """The name of the directory."""
        return Path(self.path).name

    @property
    def inputs(self) -> list[str]:
        """The path of the directory."""
        return [self.path]

    @property
    def metadata(self) -> dict[str, Any]:
        """What the dataset says of itself, its codec too: true of the copy as well, but for where it came from."""
        return without_origin(self._loader.metadata)

    @property
    def schema(self) -> SampleSchema | None:
        """The schema that the dataset declares of its samples."""
        return self._loader.schema

    def identity(self) -> str:
        """Return kind, name and fingerprint, and what tells which records are taken of all."""
        text = f"{self.kind} {self.name} {self._loader.fingerprint}"
        if self._deleted is not None:
            text += f" without {xxhash.xxh3_64_hexdigest(self._deleted.astype('<i8').tobytes())}"
        if not isinstance(self._taken, range):
            text += f" of {xxhash.xxh3_64_hexdigest(self._taken.astype('<i8').tobytes())}"
        return text

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records.

        Raises:
            SourceError: If one is damaged.
        """
        return self.records_from({})

    def position(self) -> SourcePosition:
        """Return where the newest iteration stands: records given, and how many of those to take are done with."""
        return self._position

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Yield the records behind a position."""
        for _, record in self._numbered(position):
            yield record

    @property
    def has_parts(self) -> bool:
        """Other processes can read it, too."""
        return True

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield some of its records each."""
        mean = self.num_bytes // max(1, len(self._taken)) + _RECORD_BYTES
        step = max(1, max_bytes // mean)
        for start in range(0, len(self._taken), step):
            part = copy(self)
            part._taken, part.skipped = self._taken[start : start + step], Counter()
            yield part

    def _numbered(self, position: SourcePosition) -> Generator[tuple[int, Record], None, None]:
        num_given = count_at(position, "record")
        done = count_at(position, "place") or num_given
        self.bytes_read = 0
        self.skipped.clear()
        if done > num_given:
            self.skipped[_DELETED] = done - num_given
        self._position = position
        for start in range(done, len(self._taken), _CHUNK_RECORDS):
            chunk = np.asarray(self._taken[start : start + _CHUNK_RECORDS], np.int64)
            is_deleted = np.isin(chunk, self._deleted) if self._deleted is not None else np.zeros(len(chunk), np.bool_)
            first = int(chunk[0])
            sizes = self._loader.sizes[first : int(chunk[-1]) + 1][chunk - first].tolist()
            for place, (number, size, gone) in enumerate(zip(chunk.tolist(), sizes, is_deleted.tolist(), strict=True)):
                if gone:
                    self.skipped[_DELETED] += 1
                    continue
                num_given += 1
                self._position = {"record": num_given, "place": start + place + 1}
                yield number, self._record(number, size)
                self.bytes_read += size

    def _record(self, position: int, size: int) -> Record:
        if self._holds_samples:
            return self._sample(position)
        if size >= READ_WHOLE_BYTES:
            return self._file(partial(self._loader.read_range, position), size, position)
        try:
            return self._loader[position]
        except FormatError as error:
            raise SourceError(str(error), path=self.path) from None

    def _sample(self, position: int) -> bytes:
        """Return a sample with its schema: the number that it has here means nothing elsewhere."""
        try:
            return standing_alone(self._loader.view(position), self._loader.schemas.of(position))
        except FormatError as error:
            raise SourceError(f"record {position}: {error}", path=self.path) from None

    def _file(self, read_between: Callable[[int, int], bytes], size: int, position: int) -> SizedFile:
        place = 0

        def read(most: int) -> bytes:
            nonlocal place
            data = read_between(place, min(place + most, size))
            place += len(data)
            return data

        return SizedFile(read, size, path=self.path, position=position)


class KeyedDatasetSource(DatasetSource):
    """The same of a dataset with keys."""

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str | None, Record], None, None]:
        """Yield the key of each record behind a position, None where it has none, and the record."""
        for number, record in self._numbered(position or {}):
            yield self._loader.key(number), record


def open_dataset(path: str, positions: NDArray[np.int64] | None = None) -> DatasetSource:
    """Return a dataset as a source, with keys if it has any: all records, or those at some positions, ascending."""
    folder = dataset_place(path, "the source")
    description = describe(folder)
    kind = KeyedDatasetSource if description.num_keys else DatasetSource
    share = 1.0 if positions is None else len(positions) / max(1, description.num_records)
    return kind(folder, int(description.raw_bytes * share), positions)
