"""Parquet, Arrow IPC and Feather files: rows as samples.

A batch of rows is in memory at a time. Nothing is decoded: pictures stay the bytes that they are.

    name.parquet ──row group by row group──┐
    name.arrow, name.feather ──────────────┼──> batch ──> rows ──> samples        column=NAME: its bytes alone
    folder/state.json ──> data-*.arrow ────┘
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, Final

from splitdata.conversion.sources.files.input_file import FileSource
from splitdata.conversion.sources.sample_source import SampleSource
from splitdata.conversion.sources.seek import count_at
from splitdata.conversion.sources.tables.arrow_samples import bound_rows
from splitdata.conversion.sources.tables.arrow_values import import_pyarrow, rows_of, values_of
from splitdata.errors import SourceError
from splitdata.samples.schema_table import SchemaTable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import pyarrow

    from splitdata.conversion.sources.source import RecordSource, SourcePosition

__all__ = ["ArrowSource", "ParquetSource"]

_BATCH_BYTES: Final = 8 << 20
_MAX_BATCH_ROWS: Final = 1 << 12
_FILE_MARK: Final = b"ARROW1"
_FEATHER_1_MARK: Final = b"FEA1"


class TableSource(SampleSource, FileSource):
    """The rows of one file."""

    def __init__(self, path: str, column: str | None = None) -> None:
        """Take a path, and the column of bytes or text whose values are the records; None for samples.

        Raises:
            ModuleNotFoundError: If pyarrow is not installed.
        """
        super().__init__(path)
        self._pyarrow = import_pyarrow(f"reading {self._input.shown} as {self.kind}")
        self._column = column
        # Row groups, or batches, that are read; None for all.
        self._pieces: range | None = None
        self._num_given = 0
        self._bytes_read = 0
        self.skipped: Counter[str] = Counter()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pyarrow": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _pyarrow=import_pyarrow("reading tables"))

    def _cut(self, sizes: list[int], max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield parts that take some pieces each, given the size of every piece."""
        start, num_bytes = 0, 0
        for number, size in enumerate(sizes, 1):
            num_bytes += size
            if num_bytes >= max_bytes or number == len(sizes):
                part = copy(self)
                part._pieces, part.skipped = range(start, number), Counter()
                yield part
                start, num_bytes = number, 0

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far, about."""
        return self._bytes_read

    @property
    def metadata(self) -> dict[str, Any]:
        """The codec, if records are samples."""
        return {} if self._column is not None else {"record_codec": "sample"}

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one, and the column that is taken."""
        return super().state(with_times=with_times) | {"column": self._column}

    def position(self) -> SourcePosition:
        """Return the number of the next row."""
        return {"record": self._num_given}

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield the rows.

        Raises:
            SourceError: If the file is damaged or truncated, or a column is of a type that samples do not have.
        """
        return self.records_from({})

    def records_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        """Yield the rows behind a position; row groups before it are not read."""
        self._num_given = count_at(position, "record")
        self._bytes_read = 0
        with self._named_damage():
            for batch in self._batches(self._num_given):
                records = self._records(batch)
                for record in records:
                    self._num_given += 1
                    yield record

    @abstractmethod
    def _batches(self, first: int) -> Iterator[pyarrow.RecordBatch]:
        """Yield the rows from one on."""

    def _records(self, batch: pyarrow.RecordBatch) -> Iterator[bytes]:
        if self._column is None:
            encoder = self._encoder
            bound = bound_rows(batch, encoder, self._encoded) if isinstance(encoder, SchemaTable) else None
            yield from map(self._encoded, rows_of(batch)) if bound is None else bound
            return
        for number, value in enumerate(values_of(batch.column(self._column), self._column), self._num_given):
            content = value.get("bytes") if isinstance(value, dict) else value
            if isinstance(content, str):
                yield content.encode()
            elif isinstance(content, bytes):
                yield content
            else:
                raise SourceError(
                    f"{self._column} is {type(content).__name__} in row {number}: a column whose values are the "
                    "records holds bytes or text, and no nulls",
                    path=self._input.path,
                )

    def _check_column(self, names: list[str]) -> None:
        if self._column is not None and names.count(self._column) != 1:
            raise SourceError(f"has {names.count(self._column)} columns {self._column!r}; it has {', '.join(names)}")

    @contextmanager
    def _named_damage(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            raise SourceError(f"{self._input.shown}: {error}", path=self._input.path) from None
        # Arrow raises OSError for damage as well, without a number.
        except (self._pyarrow.ArrowException, ValueError, TypeError, OverflowError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise SourceError(
                f"{self._input.shown} cannot be read as {self.kind}: {error}", path=self._input.path
            ) from error


class ParquetSource(TableSource):
    """The rows of a Parquet file."""

    kind = "parquet"

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the file in row groups."""
        with self._named_damage(), self._input.open() as file, self._pyarrow.parquet.ParquetFile(file) as parquet:
            about = parquet.metadata
            stored = [about.row_group(group).total_byte_size for group in range(about.num_row_groups)]
        yield from self._cut(stored, max_bytes) if stored else (self,)

    def _batches(self, first: int) -> Iterator[pyarrow.RecordBatch]:
        with self._input.open() as file, self._pyarrow.parquet.ParquetFile(file) as parquet:
            self._check_column(parquet.schema_arrow.names)
            about = parquet.metadata
            num_bytes = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
            rows = max(1, min(_MAX_BATCH_ROWS, _BATCH_BYTES * max(1, about.num_rows) // max(1, num_bytes)))
            columns = None if self._column is None else [self._column]
            begin = 0
            for group in self._pieces or range(about.num_row_groups):
                end = begin + about.row_group(group).num_rows
                skip = max(0, first - begin)
                if first < end or not about.num_rows:
                    for batch in parquet.iter_batches(rows, row_groups=[group], columns=columns):
                        yield batch.slice(min(skip, batch.num_rows))
                        skip -= min(skip, batch.num_rows)
                begin = end
                done = group + 1 - (self._pieces.start if self._pieces else 0)
                self._bytes_read = (self.num_bytes or 0) * done // about.num_row_groups


class ArrowSource(TableSource):
    """The rows of an Arrow IPC file or stream, such as a Feather file of version 2."""

    kind = "arrow"

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the file in batches; a stream, which has no list of them, is one part."""
        with self._named_damage(), self._input.open() as raw:
            is_stored = raw.read(len(_FILE_MARK)) == _FILE_MARK
            raw.seek(0)
            count = self._pyarrow.ipc.open_file(raw).num_record_batches if is_stored else 0
        yield from self._cut([(self.num_bytes or 0) // count] * count, max_bytes) if count else (self,)

    def _batches(self, first: int) -> Iterator[pyarrow.RecordBatch]:
        with self._input.open() as raw:
            mark = raw.read(len(_FILE_MARK))
            if mark.startswith(_FEATHER_1_MARK):
                raise SourceError("is Feather of version 1, whose tables are not read: write it again as version 2")
            raw.seek(0)
            file = self._pyarrow.PythonFile(raw, mode="r")
            reader = self._stored(file) if mark == _FILE_MARK else self._streamed(file)
            for batch in reader:
                # Bytes of a file are not trusted: this checks every offset before it is used.
                batch.validate(full=True)
                skip = min(first, batch.num_rows)
                first -= skip
                rows = max(1, min(_MAX_BATCH_ROWS, _BATCH_BYTES * max(1, batch.num_rows) // max(1, batch.nbytes)))
                for start in range(skip, batch.num_rows, rows):
                    yield batch.slice(start, rows)
                # Batches of a part lie anywhere in the file: these are about their bytes.
                self._bytes_read = raw.tell() if self._pieces is None else self._bytes_read + batch.nbytes

    def _stored(self, file: Any) -> Iterator[pyarrow.RecordBatch]:
        reader = self._pyarrow.ipc.open_file(file)
        self._check_column(reader.schema.names)
        for number in self._pieces or range(reader.num_record_batches):
            yield reader.get_batch(number)

    def _streamed(self, file: Any) -> Iterator[pyarrow.RecordBatch]:
        reader = self._pyarrow.ipc.open_stream(file)
        self._check_column(reader.schema.names)
        yield from reader
        # A stream may end without its mark; then nothing tells it from one that was cut off between two batches.
        file.seek(max(0, (self.num_bytes or 0) - 8))
        if file.read(8) != b"\xff\xff\xff\xff\0\0\0\0":
            raise SourceError("ends without the mark at the end of a stream: it was truncated")
