"""A snapshot: the segments of one or several datasets at one generation each, end to end.

    dataset a, generation 7             segments a0 a1     positions 0 ..
    dataset b, generation 2             segment  b0
    a directory of splitdataloader      one segment        .. num_records - 1

A position leads to (segment, sequence) by one bisection. Segments are opened where they are used.
"""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from splitdata._shown import one_line
from splitdata.dataset.legacy.legacy_directory import LEGACY_DATASET_ID, LegacyDirectory, is_legacy_directory
from splitdata.dataset.legacy.legacy_segment import LegacySegment
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.remote_directory import RemoteDirectory
from splitdata.dataset.manifests.retention import KEPT_MANIFESTS, Pin
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.deletions import SegmentWithDeletions
from splitdata.dataset.segments.group_reader import open_reader
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.errors import DatasetNotFoundError, FormatError, ManifestError, SplitDataError
from splitdata.format.digest import add_digests, shift_digest
from splitdata.format.schemas import joined_lists
from splitdata.storage.file_source import choose_io

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.segments.segment import Segment
    from splitdata.format.manifest import Manifest, SegmentInfo
    from splitdata.storage.file_source import IoMode

__all__ = ["DatasetState", "Listing", "Snapshot", "open_legacy", "open_pinned", "open_state", "pool_for"]

Listing: TypeAlias = "Manifest | LegacyDirectory"
"""What says which records one dataset has."""

_logger = logging.getLogger(__name__)

# A manifest may be removed between being read and being pinned; each try sees a newer one.
_MAX_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class DatasetState:
    """The generation of each dataset that a reader has open; small enough to be pickled to a worker.

    Attributes:
        path, generation, dataset_id, num_records, digest: Of the dataset as it was opened.
        num_schemas: In the list of its last records, which may have become longer since.
    """

    path: str
    generation: int
    dataset_id: str
    num_records: int
    digest: int
    num_schemas: int = 0

    @classmethod
    def of(cls, path: str, listing: Listing) -> DatasetState:
        """Return the state of an open dataset."""
        if isinstance(listing, LegacyDirectory):
            return cls(path, listing.generation, listing.dataset_id, listing.num_records, listing.mark())
        num_schemas = len(joined_lists(listing.schema_lists)[-1])
        return cls(path, listing.generation, listing.dataset_id, listing.num_records, listing.digest, num_schemas)


def open_pinned(
    found: DatasetDirectory, generation: int | None, known: DatasetState | None
) -> tuple[Listing, Pin | None]:
    """Return the manifest of a dataset, and what keeps its files from being removed for as long as it is held.

    Takes and raises what `open_state` does. A legacy directory stands for its manifest itself, and needs no keeping.
    Waits for nobody: where another program holds the lock, there is a warning, and nothing that keeps the files.
    """
    path = found.folder
    if isinstance(found, RemoteDirectory):
        manifest, _ = open_state(found, generation, known)
        found.identify(manifest)
        # What a store has stays until somebody deletes it; then its reader is told what is missing.
        return manifest, None
    if not found.is_held and (legacy := open_legacy(path, generation, known)):
        return legacy, None
    for _ in range(_MAX_TRIES):
        # Opened once for all that is asked of it, and anew where it may be another one by now.
        with found.held() as directory:
            manifest, read_generation = open_state(directory, generation, known)
            pin = Pin.take(directory, read_generation)
            newest = max(directory.generations(), default=0)
            if pin is None:
                # Writers lock what they remove, and never remove the newest: its lock need not be waited for.
                if newest == read_generation:
                    _warn_of_lock(directory, read_generation)
                    return manifest, None
                continue
            # A number is freed only when the newest is so far ahead. Later a writer far behind may take it
            # again for a moment: what was read is then no longer what was pinned, or was never committed.
            if newest and newest - read_generation < KEPT_MANIFESTS:
                return manifest, pin
            with suppress(FileNotFoundError):
                if generation is not None and directory.read(read_generation) == manifest:
                    return manifest, pin
    if generation is not None and read_generation in found.generations():
        _warn_of_lock(found, read_generation)
        return manifest, None
    raise ManifestError(f"{path}: the manifests change faster than they can be read", path=path)


def _warn_of_lock(directory: DatasetDirectory, generation: int) -> None:
    """Tell that a reader goes on without a lock, which it is refused: anyone who may read a file can lock it."""
    file = directory.paths.manifest(generation)
    _logger.warning(
        "%s: another program holds its lock (`lsof` names it), so this reader has none: once that lets go, its files "
        "may be removed %d commits later, or when the dataset is replaced",
        one_line(file),
        KEPT_MANIFESTS,
    )


def open_legacy(path: str, generation: int | None, known: DatasetState | None) -> LegacyDirectory | None:
    """Return the directory if splitdataloader wrote it, None if there is a dataset, or nothing."""
    if known is not None and known.dataset_id == LEGACY_DATASET_ID:
        opened = LegacyDirectory(path, known.num_records)
        if opened.mark() != known.digest:
            raise ManifestError(f"{path} has other records than when this reader was opened", path=path)
        return opened
    if not is_legacy_directory(path) or DatasetDirectory(path).generations():
        return None
    if generation:
        raise ManifestError(f"{path} is a directory of splitdataloader, which has no generations", path=path)
    return LegacyDirectory(path)


def open_state(directory: DatasetDirectory, generation: int | None, known: DatasetState | None) -> tuple[Manifest, int]:
    """Return the manifest of a dataset at a generation, or the newest, and the generation of the file it is from.

    Args:
        directory: Of the dataset.
        generation: Which manifest; None is the newest.
        known: What a pickled reader had open: where its manifest is gone by now, the same records
            are found at the head of the newest one, since positions never move.

    Raises:
        ManifestError: If that generation is gone, or the dataset was replaced.
    """
    path = directory.folder
    if generation is None:
        manifest = directory.newest()
        return manifest, manifest.generation
    try:
        manifest = directory.read(generation)
        # A writer far behind its rivals may take a number that is free again, until it looks back.
        is_other = known is not None and (manifest.num_records, manifest.digest) != (known.num_records, known.digest)
    except FileNotFoundError:
        is_other = True
    if is_other:
        manifest = directory.newest()
        if known is not None and manifest.dataset_id != known.dataset_id:
            raise ManifestError(f"{path} was replaced by another dataset since this reader was opened")
        if known is None or generation > manifest.generation:
            kept = ", ".join(map(str, directory.generations()))
            raise ManifestError(f"{path} has no generation {generation} (any more); it has {kept}")
        return _head(manifest, known), manifest.generation
    return manifest, generation


class _SameDataset:
    """Asks whether what a reader has open still lies at its path; once for each file that is the newest manifest."""

    def __init__(self, directory: DatasetDirectory, listing: Manifest) -> None:
        self._directory = directory
        self._listing = listing
        self._seen: tuple[int, ...] | None = None

    def __call__(self) -> None:
        """Raise as `_check_same_dataset` does."""
        mark = self._mark()
        if mark is None or mark != self._seen:
            _check_same_dataset(self._directory, self._listing)
            self._seen = mark

    def _mark(self) -> tuple[int, ...] | None:
        """Return what tells the newest manifest from every other file, None where there is none."""
        directory = self._directory
        try:
            newest = directory.generations()[-1]
            status = os.lstat(directory.paths.manifest(newest))
        except (SplitDataError, OSError, IndexError):
            return None
        return newest, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_same_dataset(directory: DatasetDirectory, listing: Manifest) -> None:
    """Raise if what a reader has open lies no longer at its path; what is damaged there is not for this to say.

    Raises:
        DatasetNotFoundError: If the folder, or all that was in it, is gone.
        ManifestError: If another dataset, or other records, are there now.
    """
    path = directory.folder
    try:
        newest = directory.newest()
    except DatasetNotFoundError:
        raise DatasetNotFoundError(
            f"{path} was moved or deleted while it was being read; open it again where it is now", path=path
        ) from None
    except (FormatError, OSError):
        return
    is_same = newest.dataset_id == listing.dataset_id
    try:
        _head(newest, DatasetState.of(path, listing))
    except ManifestError:
        is_same = False
    if not is_same:
        raise ManifestError(f"{path} was replaced by another dataset while it was being read; open it again", path=path)


def _head(manifest: Manifest, known: DatasetState) -> Manifest:
    """Return a manifest cut down to the records that a reader knew."""
    segments: list[SegmentInfo] = []
    missing = known.num_records
    for segment in manifest.segments:
        if missing:
            count = min(missing, segment.num_records)
            if count < segment.num_records:
                # Its digest follows from the known sum, less the share of the segments before it.
                before = replace(manifest, segments=tuple(segments)).digest
                digest = add_digests((known.digest, -shift_digest(before, count)))
                segment = replace(segment, num_records=count, is_sealed=False, digest=digest)
            missing -= count
            if not missing:
                # Those that came later would change the fingerprint.
                segment = replace(segment, schemas=segment.schemas[: known.num_schemas])
            segments.append(segment)
    if missing:
        raise ManifestError(f"{known.path} has {missing} records less than when this reader was opened")
    head = replace(manifest, generation=known.generation, segments=tuple(segments))
    if head.digest != known.digest:
        raise ManifestError(f"{known.path} has other records than when this reader was opened")
    return head


class Snapshot:
    """Positions and segments of one reader; safe to share between threads.

    Attributes:
        manifests: Of each dataset.
        num_records: Of all of them.
        cold_reads: Decides when to look whether records are in memory.
        schemas: Of the samples of each segment that holds records.
        is_remote: Whether any of them lies in a store.
        bytes_kept: What is kept in memory of each store, the least of all; 0 if there is none.
    """

    def __init__(
        self,
        directories: list[DatasetDirectory],
        states: list[tuple[Listing, Pin | None]],
        *,
        io: str,
        verify: bool,
        max_record_bytes: int,
    ) -> None:
        self.manifests = [listing for listing, _ in states]
        self._pins = [pin for _, pin in states]
        self.cold_reads = ColdReads()
        # No method of this object: it would hold itself, and its files stay open until the next garbage collection.
        open_one = partial(_open_segment, cold_reads=self.cold_reads, verify=verify, max_record_bytes=max_record_bytes)
        self.is_remote = False
        self.bytes_kept = 0
        self._pools: dict[tuple[IoMode, DatasetDirectory | None], OpenFiles] = {}
        self._makers: list[Callable[[], Segment]] = []
        self.starts: list[int] = []
        self.schemas: list[tuple[bytes, ...]] = []
        self.num_records = 0
        for directory, listing in zip(directories, self.manifests, strict=True):
            pool = self._pool(_mode_of(directory, io), directory)
            if isinstance(listing, LegacyDirectory):
                self._add(listing.num_records, partial(_open_legacy_segment, listing, pool), ())
                continue
            check = _SameDataset(directory, listing)
            first_position = 0
            for info in listing.segments:
                maker = partial(open_one, directory, info, first_position, pool, check)
                self._add(info.num_records, maker, info.schemas)
                first_position += info.num_records
        self._segments: list[Segment | None] = [None] * len(self._makers)
        self._getters: list[Callable[[int], bytes] | None] = [None] * len(self._makers)
        self._deleted: NDArray[np.int64] | None = None

    def _pool(self, mode: IoMode, directory: DatasetDirectory) -> OpenFiles:
        if isinstance(directory, RemoteDirectory):
            most = directory.files.reader.most_in_memory
            self.bytes_kept = min(self.bytes_kept, most) if self.is_remote else most
            self.is_remote = True
        return self._pools.setdefault((mode, directory if directory.is_held else None), pool_for(directory, mode))

    def _add(self, num_records: int, maker: Callable[[], Segment], schemas: tuple[bytes, ...]) -> None:
        if num_records:
            self.schemas.append(schemas)
            self._makers.append(maker)
            self.starts.append(self.num_records)
            self.num_records += num_records

    @property
    def num_segments(self) -> int:
        """Segments that hold records."""
        return len(self._makers)

    def only_segment(self) -> Segment | None:
        """Return the reader of the segment, None where there are several, or none."""
        return self.segment(0) if self.num_segments == 1 else None

    def segment(self, number: int) -> Segment:
        """Return the reader of a segment, made when first asked for."""
        reader = self._segments[number]
        if reader is None:
            reader = self._makers[number]()
            self._segments[number] = reader
        return reader

    def get(self, position: int) -> bytes:
        """Return the record of a position, which must be in range."""
        number = bisect_right(self.starts, position) - 1
        get = self._getters[number]
        if get is None:
            get = self._getters[number] = self.segment(number).getter()
        return get(position - self.starts[number])

    def find(self, position: int) -> tuple[Segment, int]:
        """Return segment and sequence number of a position, which must be in range."""
        number = bisect_right(self.starts, position) - 1
        return self.segment(number), position - self.starts[number]

    def find_key(self, key: bytes) -> int | None:
        """Return the position of the newest record that has a key, None if none has."""
        for number in reversed(range(self.num_segments)):
            sequence = self.segment(number).find_key(key)
            if sequence is not None:
                return self.starts[number] + sequence
        return None

    @property
    def num_deleted(self) -> int:
        """Records that were deleted; as many as the manifests say, so that no file is read."""
        return sum(one.num_deleted for one in self.manifests if not isinstance(one, LegacyDirectory))

    def deleted_positions(self) -> NDArray[np.int64]:
        """Return the positions of the records that were deleted, ascending, int64; reads the lists, once.

        Raises:
            FormatError: If one cannot be read.
        """
        deleted = self._deleted
        if deleted is None:
            parts = [
                self.starts[number] + segment.deleted.sequences.astype(np.int64)
                for number in range(self.num_segments if self.num_deleted else 0)
                if isinstance(segment := self.segment(number), SegmentWithDeletions)
            ]
            deleted = self._deleted = np.concatenate([np.empty(0, np.int64), *parts])
        return deleted

    def live(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some positions whose records were not deleted; the same array where that are all."""
        deleted = self.deleted_positions()
        if not len(deleted):
            return positions
        places = np.minimum(np.searchsorted(deleted, positions), len(deleted) - 1)
        is_live = deleted[places] != positions
        return positions if is_live.all() else positions[is_live]

    def by_segment(self, positions: NDArray[np.int64]) -> Iterator[tuple[Segment, NDArray[np.int64], Any]]:
        """Yield, for each segment touched, its reader, the sequence numbers, and where they stand in `positions`."""
        if self.num_segments == 1:
            yield self.segment(0), positions, slice(None)
            return
        numbers = np.searchsorted(np.array(self.starts), positions, "right") - 1
        for number in np.unique(numbers).tolist():
            where = np.flatnonzero(numbers == number)
            yield self.segment(number), positions[where] - self.starts[number], where

    def get_many(self, positions: NDArray[np.int64]) -> list[bytes]:
        """Return records in the order of `positions`, whatever their segments."""
        return self._join(positions, lambda segment, sequences: segment.get_many(sequences))

    def get_keys(self, positions: NDArray[np.int64]) -> list[bytes]:
        """Return keys in the order of `positions`, whatever their segments."""
        return self._join(positions, lambda segment, sequences: segment.get_keys(sequences))

    def raw_hashes(self, positions: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return xxh3-64 of the raw records in the order of `positions`, as `Segment.raw_hashes` does."""
        hashes = np.empty(len(positions), np.uint64)
        for segment, sequences, where in self.by_segment(positions):
            hashes[where] = segment.raw_hashes(sequences)
        return hashes

    def lengths_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of records in the order of `positions`, int64."""
        lengths = np.empty(len(positions), np.int64)
        for segment, sequences, where in self.by_segment(positions):
            lengths[where] = segment.lengths_of(sequences)
        return lengths

    def get_views(self, positions: NDArray[np.int64]) -> list[memoryview]:
        """Return records as read-only views in the order of `positions`, whatever their segments."""
        return self._join(positions, lambda segment, sequences: segment.get_views(sequences))

    def _join(self, positions: NDArray[np.int64], read: Callable[[Segment, NDArray[np.int64]], list[Any]]) -> list[Any]:
        records: list[Any] = [b""] * len(positions)
        for segment, sequences, where in self.by_segment(positions):
            found = read(segment, sequences)
            if isinstance(where, slice):
                return found
            for place, record in zip(where.tolist(), found, strict=True):
                records[place] = record
        return records

    def gather(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return records of one size as rows of a new array; ValueError if they differ in size."""
        if self.num_segments == 1 and len(positions):
            rows = self.segment(0).get_rows(positions)
            if rows is not None:
                return rows
        records = self.get_many(positions)
        sizes = set(map(len, records))
        if len(sizes) > 1:
            raise ValueError(f"gather takes records of one size; these have {min(sizes)} to {max(sizes)} bytes")
        rows = np.empty((len(records), sizes.pop() if sizes else 0), np.uint8)
        rows.reshape(-1)[:] = np.frombuffer(b"".join(records), np.uint8)
        return rows

    def prefetch(self, positions: NDArray[np.int64]) -> None:
        """Ask the kernel for records; returns without waiting for them."""
        for segment, sequences, _ in self.by_segment(positions):
            segment.prefetch(sequences)

    def read_ahead(self, positions: NDArray[np.int64]) -> None:
        """Look whether records are in memory, and ask the kernel for them if not; returns at once."""
        if self.is_remote or self.cold_reads.is_cold_ahead(positions, self._any_is_cold):
            self.prefetch(positions)

    def _any_is_cold(self, positions: NDArray[np.int64]) -> bool:
        return any(segment.any_is_cold(sequences) for segment, sequences, _ in self.by_segment(positions))

    def drop(self) -> None:
        """Let go of all files, and of the snapshot itself: it may be removed from now on."""
        self._pins = []
        self._segments = [None] * len(self._makers)
        self._getters = [None] * len(self._makers)
        for pool in self._pools.values():
            pool.drop_all()


def pool_for(directory: DatasetDirectory, mode: IoMode) -> OpenFiles:
    """Return what opens the files of a dataset."""
    if isinstance(directory, RemoteDirectory):
        return OpenFiles(mode, open_remote=directory.files.open)
    return OpenFiles(mode, open_folder=directory.open_segment) if directory.is_held else OpenFiles(mode)


def _mode_of(directory: DatasetDirectory, io: str) -> IoMode:
    if isinstance(directory, RemoteDirectory):
        return "pread"
    return choose_io(directory.folder) if io == "auto" else "mmap" if io == "mmap" else "pread"


def _open_segment(
    directory: DatasetDirectory,
    info: SegmentInfo,
    first_position: int,
    pool: OpenFiles,
    check_dataset: Callable[[], None],
    *,
    cold_reads: ColdReads,
    verify: bool,
    max_record_bytes: int,
) -> Segment:
    files = SegmentFiles(directory.paths.segment(info.id), info, first_position, pool, check_dataset)
    reader = open_reader(files, cold_reads, verify=verify, max_record_bytes=max_record_bytes)
    return SegmentWithDeletions(reader) if info.num_deleted else reader


def _open_legacy_segment(directory: LegacyDirectory, pool: OpenFiles) -> LegacySegment:
    return LegacySegment(directory.files(pool=pool))
