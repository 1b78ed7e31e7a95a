"""A dataset as a source: its records with their keys, in the order of their positions.

So a dataset of an older format, which is read and not written any more, becomes one that can be added to.

    positions in order ──> records, each proven      keyed: (key, record)
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitdata._local_path import local_path
from splitdata.conversion.sources.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.dataset.describe import describe
from splitdata.dataset.manifests.origin import without_origin
from splitdata.dataset.reader import SplitDataLoader
from splitdata.errors import FormatError, SourceError
from splitdata.samples.standing_alone import standing_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition
    from splitdata.samples.sample_schema import SampleSchema

__all__ = ["DatasetSource", "KeyedDatasetSource", "open_dataset"]

_CHUNK_RECORDS: Final = 1 << 10
# What one costs beside its bytes, as if it were bytes.
_RECORD_BYTES: Final = 32


class DatasetSource:
    """The records of a dataset without keys; those of 1 MiB and more as files."""

    kind = "splitdata"

    def __init__(self, path: str, num_bytes: int) -> None:
        """Take the directory, and how many bytes its records have."""
        self.path = path
        self.num_bytes = num_bytes
        self.skipped: Counter[str] = Counter()
        self.bytes_read = 0
        self._loader = SplitDataLoader(path)
        self._holds_samples = self._loader.record_codec == "sample"
        # Positions of a part.
        self._range: range | None = None

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
        """Return kind, name and fingerprint."""
        return f"{self.kind} {self.name} {self._loader.fingerprint}"

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records.

        Raises:
            SourceError: If one is damaged.
        """
        for _, record in self._numbered():
            yield record

    @property
    def has_parts(self) -> bool:
        """Other processes can read it, too."""
        return True

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield some of its records each."""
        mean = self.num_bytes // max(1, len(self._loader)) + _RECORD_BYTES
        step = max(1, max_bytes // mean)
        for start in range(0, len(self._loader), step):
            part = copy(self)
            part._range, part.skipped = range(start, min(start + step, len(self._loader))), Counter()
            yield part

    def _numbered(self) -> Iterator[tuple[int, Record]]:
        self.bytes_read = 0
        sizes, taken = self._loader.sizes, self._range or range(len(self._loader))
        for start in range(taken.start, taken.stop, _CHUNK_RECORDS):
            positions = range(start, min(start + _CHUNK_RECORDS, taken.stop))
            for position, size in zip(positions, sizes[positions.start : positions.stop].tolist(), strict=True):
                if self._holds_samples:
                    yield position, self._sample(position)
                elif size >= READ_WHOLE_BYTES:
                    read = partial(self._loader.read_range, position)
                    yield position, self._file(read, size, position)
                else:
                    try:
                        yield position, self._loader[position]
                    except FormatError as error:
                        raise SourceError(str(error), path=self.path) from None
                self.bytes_read += size

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
        first = position["record"] if position else 0
        for number, record in self._numbered():
            if number >= first:
                yield self._loader.key(number), record


def open_dataset(path: str) -> DatasetSource:
    """Return a dataset as a source, with keys if it has any."""
    folder = local_path(path, "the source")
    description = describe(folder)
    kind = KeyedDatasetSource if description.num_keys else DatasetSource
    return kind(folder, description.raw_bytes)
