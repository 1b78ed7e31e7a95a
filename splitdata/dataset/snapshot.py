"""A snapshot: the segments of one or several datasets at one generation each, end to end.

    dataset a, generation 7     segments a0 a1        positions 0 ..
    dataset b, generation 2     segment  b0           .. num_records - 1

A position leads to (segment, sequence) by one bisection. Segments are opened where they are used.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.dataset.directory import DatasetDirectory
from splitdata.dataset.retention import Pin
from splitdata.dataset.segment_files import FilePool, SegmentFiles
from splitdata.dataset.segment_reader import SegmentReader
from splitdata.errors import ManifestError
from splitdata.format.digest import add_digests, shift_digest
from splitdata.storage.source import choose_io

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splitdata.format.manifest import Manifest, SegmentInfo
    from splitdata.storage.source import IoMode

__all__ = ["DatasetState", "Snapshot", "open_pinned", "open_state"]

# A manifest may be removed between being read and being pinned; each try sees a newer one.
_MAX_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class DatasetState:
    """Which state of which dataset a reader has open; small enough to be pickled to a worker."""

    path: str
    generation: int
    dataset_id: str
    num_records: int
    digest: int


def open_pinned(path: str, generation: int | None, known: DatasetState | None) -> tuple[Manifest, Pin]:
    """Return the manifest of a dataset, and what keeps its files from being removed for as long as it is held.

    Takes and raises what `open_state` does.
    """
    directory = DatasetDirectory(path)
    for _ in range(_MAX_TRIES):
        manifest, read_generation = open_state(path, generation, known)
        pin = Pin.take(directory, read_generation)
        if pin is not None:
            return manifest, pin
    raise ManifestError(f"{path}: the manifests change faster than they can be read", path=path)


def open_state(path: str, generation: int | None, known: DatasetState | None) -> tuple[Manifest, int]:
    """Return the manifest of a dataset at a generation, or the newest, and the generation of the file it is from.

    Args:
        path: Of the dataset.
        generation: Which manifest; None is the newest.
        known: What a pickled reader had open: where its manifest is gone by now, the same records
            are found at the head of the newest one, since positions never move.

    Raises:
        ManifestError: If that generation is gone, or the dataset was replaced.
    """
    directory = DatasetDirectory(path)
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


def _head(manifest: Manifest, known: DatasetState) -> Manifest:
    """Return a manifest cut down to the records that a reader knew."""
    segments: list[SegmentInfo] = []
    missing = known.num_records
    for segment in manifest.segments:
        if missing:
            count = min(missing, segment.num_records)
            if count < segment.num_records:
                # What was known of it tells its digest: the sum less the share of the segments before.
                before = replace(manifest, segments=tuple(segments)).digest
                digest = add_digests((known.digest, -shift_digest(before, count)))
                segment = replace(segment, num_records=count, is_sealed=False, digest=digest)
            segments.append(segment)
            missing -= count
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
    """

    def __init__(
        self,
        paths: list[str],
        states: list[tuple[Manifest, Pin]],
        *,
        io: str,
        verify: bool,
        max_record_bytes: int,
    ) -> None:
        self.manifests = [manifest for manifest, _ in states]
        self._pins = [pin for _, pin in states]
        self._verify = verify
        self._max_record_bytes = max_record_bytes
        self._places: list[tuple[DatasetDirectory, SegmentInfo, int, FilePool]] = []
        self.starts: list[int] = []
        start = 0
        pools: dict[IoMode, FilePool] = {}
        for path, manifest in zip(paths, self.manifests, strict=True):
            directory = DatasetDirectory(path)
            mode: IoMode = choose_io(path) if io == "auto" else "mmap" if io == "mmap" else "pread"
            pool = pools.setdefault(mode, FilePool(mode))
            in_dataset = 0
            for info in manifest.segments:
                if info.num_records:
                    self._places.append((directory, info, in_dataset, pool))
                    self.starts.append(start)
                start += info.num_records
                in_dataset += info.num_records
        self.num_records = start
        self._segments: list[SegmentReader | None] = [None] * len(self._places)

    @property
    def num_segments(self) -> int:
        """Segments that hold records."""
        return len(self._places)

    def info(self, number: int) -> SegmentInfo:
        """Return the manifest entry of a segment, without opening it."""
        return self._places[number][1]

    def segment(self, number: int) -> SegmentReader:
        """Return the reader of a segment, made when first asked for."""
        reader = self._segments[number]
        if reader is None:
            directory, info, first_position, pool = self._places[number]
            files = SegmentFiles(directory.paths.segment(info.id), info, first_position, pool)
            reader = SegmentReader(files, verify=self._verify, max_record_bytes=self._max_record_bytes)
            self._segments[number] = reader
        return reader

    def find(self, position: int) -> tuple[SegmentReader, int]:
        """Return segment and sequence number of a position, which must be in range."""
        number = bisect_right(self.starts, position) - 1
        return self.segment(number), position - self.starts[number]

    def find_key(self, key: bytes) -> int | None:
        """Return the position of the newest record that has a key, None if none has."""
        for number in reversed(range(self.num_segments)):
            if self.info(number).num_keys:
                sequence = self.segment(number).find_key(key)
                if sequence is not None:
                    return self.starts[number] + sequence
        return None

    def by_segment(self, positions: NDArray[np.int64]) -> Iterator[tuple[SegmentReader, NDArray[np.int64], Any]]:
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
        records: list[bytes] = [b""] * len(positions)
        for segment, sequences, where in self.by_segment(positions):
            found = segment.get_many(sequences)
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

    def drop(self) -> None:
        """Let go of all files, and of the snapshot itself: it may be removed from now on."""
        self._pins = []
        self._segments = [None] * len(self._places)
        for pool in {id(place[3]): place[3] for place in self._places}.values():
            pool.drop_all()
