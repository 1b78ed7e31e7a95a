"""SampleDataset: a dataset as a sequence of decoded samples.

Arrays are views of the record where its codec allows it: docs/samples.md says for how long they stay valid.

    dataset[i]               record ──codec of the dataset──> sample, its arrays views of the record
    dataset[[4, 1, 7]]       list of samples
    dataset.gather([4, 1])   rows ──a column at a time──> one batch
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

import numpy as np

from splitdata.dataset.reader import SplitDataLoader
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.order.positions import are_several, checked_positions
from splitdata.samples.arrow_columns import table_of
from splitdata.samples.collate import collate
from splitdata.samples.preview import preview
from splitdata.samples.record_codecs import record_codec
from splitdata.samples.standing_alone import standing_alone

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from splitdata._types import BytesLike
    from splitdata.dataset.reading.segment_schemas import SegmentSchemas
    from splitdata.order.bin_layout import BinLayout
    from splitdata.samples.collate import Allocate
    from splitdata.samples.record_codecs import RecordCodec
    from splitdata.samples.sample_schema import SampleSchema
    from splitdata.storage.remote.block_cache import BlockCache
    from splitdata.storage.remote.store import Store

__all__ = ["SampleDataset"]

# From this size on a view of the file costs less than a copy.
_LARGE_BYTES: Final = 128 << 10
# So many records are looked at to tell whether a dataset's are large.
_SIZES: Final = 8


class _Readers:
    """The codec for each record of one snapshot.

    Attributes:
        schemas: Of the snapshot.
        for_all: The codec for all records, None where segments have different schemas.
    """

    def __init__(self, codec: RecordCodec, schemas: SegmentSchemas) -> None:
        self.schemas = schemas
        self.for_all = None if schemas.for_all is None else codec.with_schemas(schemas.for_all)
        self._codec = codec
        self._by_list: dict[tuple[bytes, ...], RecordCodec] = {}

    def of(self, position: int) -> RecordCodec:
        """Return the codec for one record."""
        found = self._by_list.get(own := self.schemas.of(position))
        return found or self._by_list.setdefault(own, self._codec.with_schemas(own))


class SampleDataset:
    """Reads a dataset whose metadata name the codec of its records; a sequence of samples.

    `SplitWriter.write_sample` makes such datasets. What holds for `SplitDataLoader` holds for this: the
    snapshot, threads, forks, pickling, torch's batched fetch.

    Attributes:
        records: The reader of the encoded records, for keys, sizes and raw bytes.
        codec: Name of the codec: "sample", "text", "json", "npy" or "bytes".
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        types: Iterable[type] = (),
        copy: bool = False,
        verify: bool = True,
        io: Literal["auto", "mmap", "pread"] = "auto",
        generation: int | None = None,
        max_record_bytes: int = spec.MAX_COMPRESSED_RAW_BYTES,
        storage_options: Mapping[str, Any] | None = None,
        store: Store | None = None,
        block_cache: BlockCache | None = None,
    ) -> None:
        """Open a dataset.

        Args:
            path: Of the dataset; a list of paths is read as one, end to end, if all have one codec.
            types: Namedtuples and dataclasses to be restored, known by their names; others come as tuples
                and dicts.
            copy: Make arrays that can be written to. Without it they are read-only, of which torch's own
                collate function warns, and those of records of 128 KiB and more show the file itself.
            verify, io, generation, max_record_bytes, storage_options, store, block_cache: As `SplitDataLoader` takes
                them.

        Raises:
            DatasetNotFoundError, ManifestError: As `SplitDataLoader` does.
            UnsupportedVersionError: If the codec is unknown here.
            ValueError: If the dataset names no codec, or several datasets different ones.
            TypeError: If one of `types` is neither a namedtuple nor a dataclass.
        """
        self._types = tuple(types)
        self._copy = copy
        self._attach(
            SplitDataLoader(
                path,
                verify=verify,
                io=io,
                generation=generation,
                max_record_bytes=max_record_bytes,
                storage_options=storage_options,
                store=store,
                block_cache=block_cache,
            )
        )

    def _attach(self, records: SplitDataLoader) -> None:
        codec = records.record_codec
        if codec is None:
            raise ValueError(
                f"{records.paths[0]} does not say what its records hold; read them as bytes with SplitDataLoader, "
                "or write them with SplitWriter.write_sample"
            )
        self.codec = codec
        self.records = records
        self._codec = record_codec(codec, self._types)
        self._readers: _Readers | None = None
        # Known when the first record is read.
        self._is_large: bool | None = None
        self._has_one_size = True

    # -- what is there -----------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.records)

    @property
    def fingerprint(self) -> str:
        """Text that depends on the samples and their order alone, not on how they are stored."""
        return self.records.fingerprint

    @property
    def num_deleted(self) -> int:
        """How many of the samples were deleted; `len` counts them, as they keep their positions."""
        return self.records.num_deleted

    @property
    def deleted(self) -> NDArray[np.int64]:
        """The positions of the samples that were deleted, ascending, int64."""
        return self.records.deleted

    @property
    def types(self) -> tuple[type, ...]:
        """The user's types that samples may hold."""
        return self._types

    @property
    def copies(self) -> bool:
        """Whether arrays are made that can be written to."""
        return self._copy

    @property
    def schema(self) -> SampleSchema | None:
        """The schema that the dataset declares for all samples, None if it declares none: for another writer."""
        return self.records.schema

    @property
    def generation(self) -> int:
        """The number of the manifest that is open; of the first dataset, where there are several."""
        return self.records.generation

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that the writers stored with the dataset."""
        return self.records.metadata

    def __repr__(self) -> str:
        """Show the path, the codec and the number of samples."""
        return f"SampleDataset({self.records.paths[0]!r}): {len(self)} records of the codec {self.codec}"

    # -- samples -----------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[np.integer[Any]]) -> list[Any]: ...
    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> Any: ...  # any sample
    def __getitem__(self, index: Any) -> Any:
        """Return one sample; for a slice, integers or a mask a list of samples, in the order asked.

        Raises:
            IndexError: If a position is out of range.
            TypeError: If it is not an integer.
            FormatError: If a record is damaged, or was not written by the codec; the others stay readable.
        """
        if are_several(index):
            return self.__getitems__(index)
        record = self.records.view(index) if self._are_large() else self.records[index]
        readers = self._readers_now()
        try:
            return (readers.for_all or readers.of(int(index) % len(self))).decode(record, copy=self._copy)
        except FormatError as error:
            raise self._named(error, index) from None

    def __getitems__(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> list[Any]:
        """Return several samples in the order asked: torch's batched fetch."""
        positions = checked_positions(indices, len(self))
        return self._decoded(positions, self._read(positions))

    def gather(
        self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice, *, allocate: Allocate = np.empty
    ) -> Any:  # any batch
        """Return samples of one structure as one batch: arrays [n, ...] where there are arrays and numbers.

        A batch has the structure of its samples; see `SampleDecoder.decode_batch`. Where records are of one
        size, no sample is looked at by itself. The arrays are new and can be written to.

        Args:
            indices: Positions, from the end where negative.
            allocate: Makes the arrays, from their shapes and dtypes: in memory of another kind, say.

        Raises:
            ValueError: If the samples differ in structure or shape, or are of a codec without arrays.
            FormatError: If a record is damaged, or was not written by the codec.
        """
        positions = checked_positions(indices, len(self))
        records = self._rows(positions)
        try:
            return self._batch(positions, records, allocate)
        except FormatError:
            # Names the one.
            self._decoded(positions, records)
            raise

    def encoded(self, index: int) -> bytes:
        """Return one sample as `encode_sample` makes it, with its schema: to be read, or written, anywhere else.

        The record itself, `records[index]`, names a schema of its segment by a number. Of other codecs it is returned.
        """
        record = self.records[index]
        if self.codec != "sample":
            return record
        position = int(index) % len(self)
        try:
            return standing_alone(record, self.records.schemas.of(position))
        except FormatError as error:
            raise self._named(error, index) from None

    def to_arrow(self, columns: Sequence[str] | None = None) -> Any:
        """Return all samples as a pyarrow.Table, for pandas, polars, DuckDB and whatever else reads Arrow.

        Arrays and numbers of one shape are read once and not copied again; `to_arrow().to_pandas()` and
        `polars.from_arrow(...)` go on from there. The table lies in memory as a whole.

        Args:
            columns: Fields of samples that are dicts; None: all. Samples of another kind are a column "value".

        Raises:
            KeyError: There is no such field.
            TypeError: A field holds what Arrow has no type for, or values of several types.
            FormatError: If a record is damaged, or was not written by the codec.
            ModuleNotFoundError: pyarrow is not installed.
        """
        return table_of(self, columns)

    def preview(self, index: int, max_chars: int = 500) -> str:
        """Return one sample as a line of text for a person, cut behind `max_chars`: arrays by type and shape."""
        return preview(self[index], max_chars)

    def __iter__(self) -> Iterator[Any]:
        """Walk all samples in write order."""
        return self.iterate()

    def iterate(self, *, skip_deleted: bool = False) -> Iterator[Any]:
        """Walk all samples in write order, or all but those that were deleted, whose error comes otherwise."""
        for position, record in self.records.iterate(skip_deleted=skip_deleted, with_positions=True):
            yield self._decoded([position], [record])[0]

    # -- what a loader asks for --------------------------------------------------------------

    def prefetch(self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice) -> None:
        """Ask the kernel to bring records into memory, and return without waiting."""
        self.records.prefetch(indices)

    def read_ahead(self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice) -> None:
        """Prefetch records if a few of them are not in memory, as `SplitDataLoader.read_ahead` does."""
        self.records.read_ahead(indices)

    def bin_layout(self) -> BinLayout:
        """Return which records lie in which bin: what an order needs that reads bin by bin."""
        return self.records.bin_layout()

    # -- life --------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Show what was committed since this was opened; True if there was anything."""
        self._is_large = None
        return self.records.refresh()

    def close(self) -> None:
        """Let go of all files; arrays that are held stay valid. Safe to call again."""
        self.records.close()

    def __enter__(self) -> Self:
        """Return the dataset itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as the reader does, with the types."""
        return {"records": self.records, "types": self._types, "copy": self._copy}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the snapshot again."""
        self._types = state["types"]
        self._copy = state["copy"]
        self._attach(state["records"])

    # -- parts -------------------------------------------------------------------------------

    def _are_large(self) -> bool:
        """Say whether records are better viewed than copied, by the sizes of some."""
        if self._is_large is None:
            sizes, count = self.records.sizes, len(self)
            some = [sizes[position] for position in range(0, count, max(1, count // _SIZES))]
            self._is_large = sum(some) >= _LARGE_BYTES * max(1, len(some))
        return self._is_large

    def _read(self, positions: NDArray[np.int64]) -> Sequence[bytes | memoryview]:
        if not self._are_large():
            return self.records.__getitems__(positions)
        self.records.prefetch(positions)
        return self.records.views(positions)

    def _rows(self, positions: NDArray[np.int64]) -> NDArray[np.uint8] | Sequence[bytes | memoryview]:
        """Return records as rows if they are of one size and gain from it."""
        if self._has_one_size and not self._are_large():
            try:
                return self.records.gather(positions)
            except FormatError:
                raise
            except ValueError:
                # A dataset with texts, say: it will not be tried again.
                self._has_one_size = False
        return self._read(positions)

    def _batch(self, positions: NDArray[np.int64], records: Any, allocate: Allocate) -> Any:  # rows or a sequence
        readers = self._readers_now()
        used = [readers.for_all] if readers.for_all else list(map(readers.of, positions.tolist()))
        if used and all(one is used[0] for one in used):
            return used[0].decode_batch(records, allocate)
        return collate(self._decoded(positions, records), allocate=allocate)

    def _readers_now(self) -> _Readers:
        """Return what reads the records that are open: asked for after they were read, as `refresh` may come between.

        What was read before is read alike by those of a later snapshot.
        """
        schemas = self.records.schemas
        readers = self._readers
        if readers is None or readers.schemas is not schemas:
            readers = self._readers = _Readers(self._codec, schemas)
        return readers

    def _decoded(
        self, positions: Sequence[int] | NDArray[np.int64], records: Iterable[BytesLike | NDArray[Any]]
    ) -> list[Any]:
        copy, readers = self._copy, self._readers_now()
        samples: list[Any] = []
        try:
            if readers.for_all is not None:
                decode = readers.for_all.decode
                for record in records:
                    samples.append(decode(record, copy=copy))  # noqa: PERF401  # its length tells where it stopped
                return samples
            for position, record in zip(positions, records, strict=True):
                samples.append(readers.of(int(position)).decode(record, copy=copy))
        except FormatError as error:
            raise self._named(error, positions[len(samples)]) from None
        return samples

    def _named(self, error: FormatError, index: int | np.integer[Any]) -> FormatError:
        """Return an error of decoding with the record it is about."""
        position, path = int(index) % len(self), self.records.paths[0]
        return type(error)(f"record {position} of {path} is intact, but not of the codec {self.codec}: {error}")
