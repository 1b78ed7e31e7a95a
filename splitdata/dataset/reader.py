"""SplitDataLoader: a dataset, or several end to end, as a sequence of bytes.

It reads the snapshot that was current when it was opened; every record is proven by its checksum.

    loader[i] ──> Snapshot.find ──> SegmentReader.get ──> bytes, verified
    for record in loader            write order           iteration.py
    loader.iterate_binwise()        sequential I/O        iteration.py, bin_shuffle.py
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

import numpy as np

from splitdata._place import is_url
from splitdata.dataset.manifests.declared_codec import stated_codec
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.remote_directory import directory_at
from splitdata.dataset.reading.iteration import OneByOne, bin_layout, walk_bins, walk_bins_shuffled, walk_in_order
from splitdata.dataset.reading.record_sizes import RecordSizes
from splitdata.dataset.reading.records_digest import records_digest
from splitdata.dataset.reading.segment_schemas import SegmentSchemas
from splitdata.dataset.reading.snapshot import DatasetState, Snapshot, open_pinned
from splitdata.errors import ClosedError, CorruptRecordError, FormatError, ManifestError
from splitdata.format import spec
from splitdata.format.digest import EMPTY_DIGEST, fingerprint, join_digests
from splitdata.format.keys import encode_key
from splitdata.format.manifest import Manifest
from splitdata.format.schemas import joined_lists, pack_lists
from splitdata.order.counts import checked_count
from splitdata.order.permutation import derive_key
from splitdata.order.positions import are_several, checked_position, checked_positions
from splitdata.samples.preview import hint
from splitdata.samples.sample_schema import SampleSchema
from splitdata.storage.remote.store_access import StoreAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from splitdata.dataset.manifests.retention import Pin
    from splitdata.dataset.reading.iteration import Chunk
    from splitdata.dataset.reading.snapshot import Listing
    from splitdata.dataset.segments.segment import Segment
    from splitdata.order.bin_layout import BinLayout
    from splitdata.storage.remote.block_cache import BlockCache
    from splitdata.storage.remote.store import Store

__all__ = ["SplitDataLoader"]

_DEFAULT_INTERLEAVE: Final = 4
# Where the size of a picture is, at the latest.
_HINT_BYTES: Final = 64 << 10


class SplitDataLoader:
    """Reads a dataset directory; records by position, in write order or binwise.

    What was committed when it was opened is what it shows, until `refresh()`. Opening reads the
    manifest and nothing else. Safe to share between threads and to use after a fork; pickles as
    path and generation, so a worker process opens the same snapshot by itself.

    Attributes:
        paths: The directories, absolute.
        generations: The number of the manifest that is open, of each.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        verify: bool = True,
        io: Literal["auto", "mmap", "pread"] = "auto",
        generation: int | None = None,
        max_record_bytes: int = spec.MAX_COMPRESSED_RAW_BYTES,
        expect_digest: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        store: Store | None = None,
        block_cache: BlockCache | None = None,
    ) -> None:
        """Open a dataset.

        Args:
            path: Of the dataset; a list of paths is read as one, end to end. Also the URL of one in an object store:
                "s3://bucket/train", gs://, az://, https://, which needs ``pip install 'splitdata[remote]'``.
            verify: Check each record against its checksum. False leaves out only that: place,
                sequence number and lengths are always proven.
            io: "auto" maps files on local file systems and uses pread elsewhere. "pread" turns a
                failing medium into an OSError, where a map would end the process.
            generation: Open this manifest instead of the newest; for one path only.
            max_record_bytes: Compressed records that declare more are refused, unread.
            expect_digest: What `digest` returns for these records: all of them are read and compared once, now. For
                data that somebody else may have written; the checksums find accidents only.
            storage_options: Of the store, as obstore takes them, and `timeout`, the seconds after which a store that
                fails is given up. Keys and tokens in them are never pickled, shown or logged.
            store: A store of your own, in which `path` is the key of the dataset.
            block_cache: What is kept of files in a store, and where; 256 MiB in memory if not given.

        Raises:
            DatasetNotFoundError: If there is no dataset.
            ManifestError: If its manifest is damaged, or the generation is gone.
            UnsupportedVersionError: If it was written by a newer splitdata.
            FormatError: If the records do not have the digest that is expected.
            ValueError, TypeError: If a path is invalid: a URL of another kind, or bytes.
            StoreError: If the store fails.
        """
        if io not in ("auto", "mmap", "pread"):
            raise ValueError(f"io must be 'auto', 'mmap' or 'pread', got {io!r}")
        any_path: object = path
        if isinstance(any_path, SplitDataLoader) or not isinstance(any_path, (str, bytes, os.PathLike, Iterable)):
            raise TypeError(f"path must be a path or a list of paths, got {type(any_path).__name__}")
        given = [path] if isinstance(path, (str, bytes, os.PathLike)) else list(path)
        self._access = StoreAccess.of(storage_options, store, block_cache)
        self.paths = [self._access.place(one) for one in given]
        # What is known of a store stays known when this is refreshed.
        self._remote: dict[str, DatasetDirectory] = {}
        if not self.paths:
            raise ValueError("no path was given; a list of paths holds one or more")
        if generation is not None and len(self.paths) != 1:
            raise ValueError("a generation belongs to one dataset; open each by itself")
        self._verify = verify
        self._io = io
        self._max_record_bytes = max_record_bytes
        self._open([open_pinned(self._directory(one), generation, None) for one in self.paths])
        if expect_digest is not None and (found := self.digest()) != expect_digest.lower():
            raise FormatError(
                f"{', '.join(self.paths)}: the records have the SHA-256 digest {found}, {expect_digest} is expected: "
                "they are other records, or others were deleted",
                path=self.paths[0],
            )

    def _open(self, states: list[tuple[Listing, Pin | None]]) -> None:
        self._get: Callable[[int], bytes] | None
        self._quick: Callable[[Any], bytes | None] | None
        self._snapshot = Snapshot(
            list(map(self._directory, self.paths)),
            states,
            io=self._io,
            verify=self._verify,
            max_record_bytes=self._max_record_bytes,
        )
        self._schemas = SegmentSchemas(self._snapshot.starts, self._snapshot.schemas)
        self._is_closed = False
        # In this order: another thread that is reading must not meet the old segment with the new length.
        self._get = self._quick = None
        self._num_records = self._snapshot.num_records
        # One segment is the usual case, and then its reader answers without a detour.
        only = self._snapshot.only_segment()
        self._get = self._snapshot.get if only is None else only.getter()
        self._quick = None if only is None else only.quick()

    # -- what is there -----------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the number of records."""
        return self._num_records

    @property
    def generations(self) -> list[int]:
        """The number of the manifest that is open, of each dataset."""
        return [manifest.generation for manifest in self._snapshot.manifests]

    @property
    def generation(self) -> int:
        """The number of the manifest that is open; of the first dataset, where there are several."""
        return self._snapshot.manifests[0].generation

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that the writers stored with the dataset; of several datasets the union, later ones first."""
        merged: dict[str, Any] = {}
        for manifest in self._snapshot.manifests:
            merged |= manifest.metadata
        return merged

    @property
    def record_codec(self) -> str | None:
        """The name of the records' codec, with which `SampleDataset` reads them; None if the dataset names none.

        Raises:
            ValueError: If there are several datasets, and they do not say the same.
        """
        stated = [stated_codec(manifest.metadata) for manifest in self._snapshot.manifests]
        if len(set(stated)) > 1:
            raise ValueError(f"{', '.join(self.paths)} have records of different codecs: {', '.join(map(str, stated))}")
        return stated[0]

    @property
    def fingerprint(self) -> str:
        """Text that depends on the records, their schemas and their order alone, not on how they are stored.

        Of 61 bits, and not collision-resistant: other records with the same one can be made. `digest` is.
        """
        digest = EMPTY_DIGEST
        for manifest in self._snapshot.manifests:
            digest = join_digests(digest, manifest.digest, manifest.num_records)
        return fingerprint(digest, self._num_records, pack_lists(joined_lists(self._snapshot.schemas)))

    def digest(self, *, num_workers: int | None = None, progress: Callable[[int, int], None] | None = None) -> str:
        """Return the SHA-256 digest of all records, 64 hexadecimal digits; reads every one of them.

        Args:
            num_workers: Threads, None for as many as there are cores, up to 8.
            progress: Called with records done and in all.

        Raises:
            FormatError: If a record is damaged or lost.
        """
        self._check_open()
        return records_digest(self._snapshot, num_workers=num_workers, progress=progress)

    @property
    def segments_id(self) -> str:
        """Text that names the segments that are open, with what they hold of keys, which the fingerprint leaves out."""
        manifests = [manifest for manifest in self._snapshot.manifests if isinstance(manifest, Manifest)]
        segments = [segment for manifest in manifests for segment in manifest.segments]
        return " ".join(f"{one.id} {one.num_records} {one.num_keys} {one.keys_bytes}" for one in segments)

    @property
    def num_deleted(self) -> int:
        """How many of the records were deleted; `len` counts them, as they keep their positions."""
        return self._snapshot.num_deleted

    @property
    def deleted(self) -> NDArray[np.int64]:
        """The positions of the records that were deleted, ascending, int64.

        Raises:
            FormatError: If a list of them cannot be read.
        """
        self._check_open()
        return self._snapshot.deleted_positions().copy()

    @property
    def schema(self) -> SampleSchema | None:
        """The schema that the dataset declares of its samples; None if it declares none, or several differ."""
        found = {manifest.schema if isinstance(manifest, Manifest) else None for manifest in self._snapshot.manifests}
        schema = found.pop() if len(found) == 1 else None
        return None if schema is None else SampleSchema(schema)

    @property
    def schemas(self) -> SegmentSchemas:
        """The schemas of samples, as the records that are open name them; another object after each `refresh`."""
        return self._schemas

    @property
    def sizes(self) -> RecordSizes:
        """The length of each record in bytes, without reading any; 0 of one that was deleted."""
        self._check_open()
        return RecordSizes(self._snapshot)

    def __repr__(self) -> str:
        """Show the paths and the number of records."""
        shown = repr(self.paths[0]) if len(self.paths) == 1 else repr(self.paths)
        return f"SplitDataLoader({shown}): {self._num_records} records"

    # -- records by position -----------------------------------------------------------------

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> bytes: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[np.integer[Any]]) -> list[bytes]: ...
    def __getitem__(self, index: Any) -> Any:
        """Return one record as bytes; for a slice, integers or a mask a list of records, in the order asked.

        Integers and masks are a list, tuple, range, or whatever shows itself as an array, tensors of torch too;
        so everywhere below where there are several.

        Raises:
            IndexError: If a position is out of range.
            TypeError: If it is not an integer.
            FormatError: If a record is damaged; the others stay readable.
            RecordDeletedError: If it was deleted.
        """
        if (quick := self._quick) is not None and (record := quick(index)) is not None:
            return record
        if type(index) is int and 0 <= index < self._num_records and (get := self._get) is not None:
            return get(index)
        if are_several(index):
            return self.__getitems__(index)
        self._check_open()
        return self._snapshot.get(checked_position(index, self._snapshot.num_records))

    def __getitems__(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> list[bytes]:
        """Return several records in the order asked: torch's batched fetch.

        Cold records are asked for together first and read in the order of the disk.
        """
        self._check_open()
        snapshot = self._snapshot
        # Positions of the only segment are its sequence numbers, and its reader holds them against those that it has.
        if self._quick is not None and type(indices) in (list, np.ndarray) and (only := snapshot.only_segment()):
            records = only.get_quickly(indices)  # type: ignore[arg-type]  # other numbers are looked at, and give None
            if records is not None:
                return records
        return snapshot.get_many(checked_positions(indices, snapshot.num_records))

    def view(self, index: int) -> memoryview:
        """Return one record as a read-only memoryview, verified.

        Without a copy where the file is mapped and the record not compressed. Valid for as long as
        it is held, also after `close()`.
        """
        segment, sequence = self._find(index)
        return segment.view(sequence)

    def views(self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice) -> list[memoryview]:
        """Return several records as read-only memoryviews, verified, in the order asked; each as `view` returns it.

        The copies that this saves are most of what reading long records costs; short ones are read faster as bytes.
        """
        self._check_open()
        snapshot = self._snapshot
        return snapshot.get_views(checked_positions(indices, snapshot.num_records))

    def hint(self, index: int) -> str | None:
        """Return what a record is that begins as a picture, a sound or an archive does; None for any other.

        Such as ``<png 640x480, 81,203 bytes>``: of pictures the header is looked at, nothing is decoded.
        """
        return hint(self.read_range(index, 0, _HINT_BYTES), int(self.sizes[index]))

    def read_range(self, index: int, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` of one record, cut at its end as a slice is.

        Of a record of 16 MiB and more only the blocks of 1 MiB that are touched are read and verified.
        """
        if start < 0 or stop < start:
            raise ValueError(f"a range goes from 0 or more upwards, got {start} to {stop}")
        segment, sequence = self._find(index)
        return segment.read_range(sequence, start, stop)

    def gather(self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice) -> NDArray[np.uint8]:
        """Return records of one size as rows: a new uint8[len(indices), record_size].

        Raises:
            ValueError: If the records differ in size.
        """
        self._check_open()
        snapshot = self._snapshot
        return snapshot.gather(checked_positions(indices, snapshot.num_records))

    def prefetch(self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice) -> None:
        """Ask the kernel to bring records into memory, and return without waiting."""
        self._check_open()
        snapshot = self._snapshot
        snapshot.prefetch(checked_positions(indices, snapshot.num_records))

    def read_ahead(self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice) -> None:
        """Prefetch records if a few of them are not in memory, and return without waiting.

        For one batch after the other: while they are in memory only one call in sixteen looks. The others cost less
        than a microsecond, and do not check the indices either: reading them does. Where the system cannot tell what
        is in memory nothing is asked for.
        """
        self._check_open()
        snapshot = self._snapshot
        if snapshot.cold_reads.looks_ahead() or snapshot.is_remote:
            snapshot.read_ahead(checked_positions(indices, snapshot.num_records))

    # -- keys --------------------------------------------------------------------------------

    def key(self, index: int) -> str | None:
        """Return the key of a record, None if it has none. Verified; the record is not read for it.

        Raises:
            IndexError: If the position is out of range.
            CorruptRecordError: If the key, or the header of the record, is damaged.
        """
        segment, sequence = self._find(index)
        try:
            return segment.key(sequence).decode() or None
        except UnicodeDecodeError as error:
            raise CorruptRecordError(
                f"the key of record {index} of {self.paths[0]} is not UTF-8: {error}", position=int(index)
            ) from None

    def keys_of(self, indices: Sequence[int] | NDArray[np.integer[Any]] | slice) -> list[str | None]:
        """Return the keys of many records, as `key` does for one; no record is read for it."""
        self._check_open()
        keys = self._snapshot.get_keys(checked_positions(indices, self._num_records))
        try:
            return [key.decode() or None for key in keys]
        except UnicodeDecodeError as error:
            raise CorruptRecordError(f"a key of {self.paths[0]} is not UTF-8: {error}") from None

    def find(self, key: str) -> int:
        """Return the position of the record with a key; of several sessions that wrote it, the newest.

        Costs O(log n) for each segment with keys; no more than a block of keys is read, and the
        record itself, which proves the answer.

        Raises:
            KeyError: If no record has the key.
            FormatError: If a table of keys is damaged, so that nothing can be said; all records and
                their keys stay readable by position.
            CorruptRecordError: If the record that seems to have the key is damaged.
        """
        self._check_open()
        position = self._snapshot.find_key(encode_key(key))
        if position is None:
            raise KeyError(key)
        return position

    def has_key(self, key: str) -> bool:
        """Say whether a record has a key; as `find`, without the KeyError."""
        self._check_open()
        return self._snapshot.find_key(encode_key(key)) is not None

    # -- walking -----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        """Walk all records in write order.

        One that cannot be read raises its error in its place, behind the good ones before it; `next` goes on behind it.
        """
        self._check_open()
        return _records(walk_in_order(self._snapshot, as_views=False))

    @overload
    def iterate(self, *, skip_deleted: bool = False, with_positions: Literal[False] = False) -> Iterator[bytes]: ...
    @overload
    def iterate(self, *, skip_deleted: bool = False, with_positions: Literal[True]) -> Iterator[tuple[int, bytes]]: ...
    def iterate(self, *, skip_deleted: bool = False, with_positions: bool = False) -> Iterator[Any]:
        """Walk all records in write order, as `iter` does.

        Args:
            skip_deleted: Leave out records that were deleted, whose error comes otherwise.
            with_positions: Yield (position, record).
        """
        self._check_open()
        chunks = walk_in_order(self._snapshot, as_views=False, skip_deleted=skip_deleted)
        return _with_positions(chunks) if with_positions else _records(chunks)

    @overload
    def iterate_binwise(
        self,
        shuffle: bool = False,
        seed: int | None = None,
        *,
        epoch: int = 0,
        interleave: int = _DEFAULT_INTERLEAVE,
        with_positions: Literal[False] = False,
        as_views: Literal[False] = False,
        skip_deleted: bool = False,
    ) -> Iterator[bytes]: ...
    @overload
    def iterate_binwise(
        self,
        shuffle: bool = False,
        seed: int | None = None,
        *,
        epoch: int = 0,
        interleave: int = _DEFAULT_INTERLEAVE,
        with_positions: Literal[True],
        as_views: bool = False,
        skip_deleted: bool = False,
    ) -> Iterator[tuple[int, bytes]]: ...
    @overload
    def iterate_binwise(
        self,
        shuffle: bool = False,
        seed: int | None = None,
        *,
        epoch: int = 0,
        interleave: int = _DEFAULT_INTERLEAVE,
        with_positions: Literal[False] = False,
        as_views: Literal[True],
        skip_deleted: bool = False,
    ) -> Iterator[memoryview]: ...
    def iterate_binwise(
        self,
        shuffle: bool = False,
        seed: int | None = None,
        *,
        epoch: int = 0,
        interleave: int = _DEFAULT_INTERLEAVE,
        with_positions: bool = False,
        as_views: bool = False,
        skip_deleted: bool = False,
    ) -> Iterator[Any]:
        """Walk all records bin by bin: sequential for the disk, in bounded memory.

        Args:
            shuffle: Bins in random order, `interleave` of them mixed with each other at a time.
            seed: Makes the shuffled order repeatable: it depends on (seed, epoch) and the dataset
                alone. None draws one from the system; Python's and numpy's generators are not touched.
            epoch: Another order under the same seed.
            interleave: Bins that are mixed; more is closer to a global shuffle and reads more files at once.
            with_positions: Yield (position, record).
            as_views: Yield memoryviews instead of bytes; not with `shuffle`, where copies are faster.
            skip_deleted: Leave out records that were deleted, whose error comes otherwise. The order of the others is
                the same either way.

        A record that cannot be read raises its error in its place, as when all are walked in write order.

        Raises:
            ValueError, TypeError: If an argument is invalid. At the call, not at the first record.
        """
        self._check_open()
        if as_views and shuffle:
            raise ValueError("as_views goes without shuffle")
        checked_count("interleave", interleave, 1)
        checked_count("epoch", epoch, 0)
        if shuffle:
            seed = secrets.randbits(63) if seed is None else seed
            derive_key(seed)
            chunks = walk_bins_shuffled(
                self._snapshot, seed=seed, epoch=epoch, interleave=interleave, skip_deleted=skip_deleted
            )
        else:
            chunks = walk_bins(self._snapshot, as_views=as_views, skip_deleted=skip_deleted)
        return _with_positions(chunks) if with_positions else _records(chunks)

    def bin_layout(self) -> BinLayout:
        """Return which records lie in which bin: what an order needs that reads bin by bin.

        Costs 24 bytes a bin; for a directory of splitdataloader also 4 bytes a record, made from its whole index.
        """
        self._check_open()
        return bin_layout(self._snapshot)

    # -- life --------------------------------------------------------------------------------

    def at_generation(self, generation: int) -> SplitDataLoader:
        """Return another reader of this dataset, with the same options, at one of its manifests; for one path only.

        Raises:
            ManifestError: If that generation is gone.
        """
        access = self._access
        return SplitDataLoader(
            self.paths if len(self.paths) > 1 else self.paths[0],
            verify=self._verify,
            io=self._io,
            generation=generation,
            max_record_bytes=self._max_record_bytes,
            storage_options=access.given,
            store=access.store,
            block_cache=access.cache,
        )

    def refresh(self) -> bool:
        """Show what was committed since this was opened; True if there was anything.

        Views and iterators that were taken before keep the snapshot they have.

        Raises:
            ManifestError: If the dataset was replaced by another one meanwhile.
        """
        self._check_open()
        before = self._snapshot.manifests
        after = [open_pinned(self._directory(path), None, None) for path in self.paths]
        for path, old, (new, _) in zip(self.paths, before, after, strict=True):
            if old.dataset_id != new.dataset_id:
                raise ManifestError(f"{path} was replaced by another dataset; open it again")
        # A legacy directory has no generations, but may have grown.
        if [(old.generation, old.num_records) for old in before] == [
            (new.generation, new.num_records) for new, _ in after
        ]:
            return False
        self._open(after)
        return True

    def close(self) -> None:
        """Let go of all files; views that are held stay valid. Safe to call again."""
        self._is_closed = True
        self._get = self._quick = None
        self._snapshot.drop()

    def __enter__(self) -> Self:
        """Return the loader itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle as paths and generations; the receiver opens the same snapshot itself."""
        return {
            "states": [
                DatasetState.of(path, manifest)
                for path, manifest in zip(self.paths, self._snapshot.manifests, strict=True)
            ],
            "verify": self._verify,
            "io": self._io,
            "max_record_bytes": self._max_record_bytes,
            "access": self._access,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the snapshot again."""
        states: list[DatasetState] = state["states"]
        self.paths = [one.path for one in states]
        self._verify = state["verify"]
        self._io = state["io"]
        self._max_record_bytes = state["max_record_bytes"]
        self._access = state["access"]
        self._remote = {}
        self._open([open_pinned(self._directory(one.path), one.generation, one) for one in states])

    # -- parts -------------------------------------------------------------------------------

    def _directory(self, path: str) -> DatasetDirectory:
        """Return how a dataset is reached."""
        if not is_url(path):
            return DatasetDirectory(path)
        directory = self._remote.get(path)
        if directory is None:
            directory = self._remote[path] = directory_at(path, self._access)
        return directory

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"SplitDataLoader({self.paths[0]!r}) is closed")

    def _find(self, index: object) -> tuple[Segment, int]:
        self._check_open()
        snapshot = self._snapshot
        return snapshot.find(checked_position(index, snapshot.num_records))


def _records(chunks: Iterator[Chunk]) -> Iterator[Any]:
    # No generator: that would be at its end behind the first error.
    return chain.from_iterable(records for _, records in chunks)


def _with_positions(chunks: Iterator[Chunk]) -> Iterator[tuple[int, Any]]:
    return chain.from_iterable(
        records.with_positions() if isinstance(records, OneByOne) else zip(positions.tolist(), records, strict=True)
        for positions, records in chunks
    )
