"""Finds what a killed writer has left: the open segment to resume, and folders that no manifest lists.

Nothing is changed before all that is drawn here is proven.

    manifest ── last segment, not sealed ──> lock of its index ──> still the last one? ──> ResumedSegment
    entry of the last committed record of each bin ──> header of its frame ──> where the bin goes on
        index  [header | entries ... n | never committed]        the rest is cut off when the segment is resumed
        bin    [header | frames  ...   | never committed]
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.errors import CorruptRecordError, FormatError, MissingBinError, TruncatedFileError
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.frame_layout import next_start
from splitdata.format.frames import footprint
from splitdata.format.index import IndexHeader, entry_offset
from splitdata.storage import files
from splitdata.storage.paths import SegmentPaths
from splitdata.storage.replace import open_sole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.manifest import Manifest, SegmentInfo
    from splitdata.storage.file_source import Source
    from splitdata.storage.folder import Folder
    from splitdata.storage.locked_file import LockedFile

__all__ = ["ResumedSegment", "cut_off", "find_open_segment", "remove_uncommitted"]

_ENTRIES_PER_READ: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumedSegment:
    """An open segment whose lock is ours, as it was last committed.

    Attributes:
        manifest: The newest one; the segment is its last.
        info: The segment's entry in it.
        first_position: Of the segment in the dataset.
        folder: Of the segment; the owner of this object closes it.
        index: Its index, with the lock, to be closed likewise.
        alignment: Of its payloads.
        ends: Where the last committed frame of each bin ends, int64[bins with records].
        max_raw_bytes: Its longest record.
    """

    manifest: Manifest
    info: SegmentInfo
    first_position: int
    folder: Folder
    index: LockedFile
    alignment: int
    ends: NDArray[np.int64]
    max_raw_bytes: int


def find_open_segment(
    directory: DatasetDirectory, *, bins: int | None, alignment: int, group: int | None
) -> ResumedSegment | None:
    """Return the last segment of a dataset if it can be resumed, else None.

    Args:
        directory: Of the dataset, which need not exist.
        bins: The number it must have; None takes any.
        alignment: The one it must have.
        group: How many records its frames must have; None takes any.

    Raises:
        BlockingIOError: If another writer is at work in it.
        FormatError: If it is damaged; nothing was changed.
    """
    while True:
        manifest = directory.newest_or_none()
        if manifest is None or not manifest.segments:
            return None
        info = manifest.segments[-1]
        if info.is_sealed or not info.is_understood or bins not in (None, info.num_bins):
            return None
        if group not in (None, info.group):
            return None
        folder, index = _opened(directory, info)
        resumed: ResumedSegment | None = None
        try:
            # The last holder of the lock may have committed, sealed or removed it meanwhile.
            if directory.newest() == manifest:
                resumed = _resumed(directory, folder, index, manifest, alignment)
                return resumed
        finally:
            if resumed is None:
                index.close()
                folder.close()


def remove_uncommitted(directory: DatasetDirectory) -> bool:
    """Remove what a writer has left that was killed before its first commit; for a directory without manifest.

    Returns:
        False if it was not dead, and has made its first commit meanwhile.

    Raises:
        BlockingIOError: If it is not dead, and has committed nothing yet.
    """
    for segment_id in directory.segment_ids():
        header = directory.index_header(segment_id)
        # A header that is not intact, with entries behind it, may be all that is left of something else.
        if header is None and _has_entries(directory, segment_id):
            continue
        if header is not None and header.num_records and not header.awaits_first_commit:
            continue
        if directory.is_waiting_part(segment_id):
            continue
        if not directory.remove_segment(segment_id):
            if directory.generations():
                return False
            raise _busy(
                directory,
                "another program has begun to write here, and has not committed yet (it holds the lock of "
                f"{directory.paths.segment(segment_id).index}: `lsof` names it)",
            )
    return True


def cut_off(resumed: ResumedSegment, index: int) -> list[int]:
    """Cut off and remove all that was not committed, and put lost padding back; returns the bins that have changed.

    Bins that have other names, as in a copy made of hard links, are copied first: the others keep what they have.

    Args:
        resumed: Where the last commit stood.
        index: Descriptor of the index, which has no other name.
    """
    files.truncate(index, entry_offset(resumed.info.num_frames, resumed.info.group))
    changed = []
    for name in resumed.folder.names():
        bin_index = SegmentPaths.bin_of_name(name)
        if bin_index is None:
            continue
        if bin_index >= len(resumed.ends):
            resumed.folder.remove(name)
            continue
        descriptor = open_sole(resumed.folder, name, spec.INDEX_SCRATCH_NAME)
        try:
            end = int(resumed.ends[bin_index])
            length = next_start(end, resumed.alignment)
            # What was never committed may begin within the padding, if it is a large frame.
            if files.size_of(descriptor) != length or any(files.read_at(descriptor, length - end, end)):
                files.truncate(descriptor, end)
                files.truncate(descriptor, length)
                changed.append(bin_index)
        finally:
            files.close(descriptor)
    return changed


def _busy(directory: DatasetDirectory, reason: str) -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, reason, directory.folder)


def _missing(path: str) -> TruncatedFileError:
    return TruncatedFileError(f"{path} is missing; nothing was changed, verify the dataset", path=path)


def _opened(directory: DatasetDirectory, info: SegmentInfo) -> tuple[Folder, LockedFile]:
    """Return the open folder of a segment, and its index with the lock."""
    path = directory.paths.segment(info.id).index
    try:
        folder = directory.open_segment(info.id)
    except FileNotFoundError:
        raise _missing(path) from None
    index: LockedFile | None = None
    try:
        index = folder.open_locked(spec.INDEX_NAME)
    except FileNotFoundError:
        raise _missing(path) from None
    finally:
        if index is None:
            folder.close()
    if index is None:
        raise _busy(
            directory,
            "another program is writing to this dataset; resume once that has ended (it holds the lock of "
            f"{path}: `lsof` names it)",
        )
    return folder, index


def _has_entries(directory: DatasetDirectory, segment_id: str) -> bool:
    try:
        with directory.open_segment(segment_id) as folder:
            descriptor = folder.open_file(spec.INDEX_NAME)
    except FileNotFoundError:
        return False
    try:
        return files.size_of(descriptor) > spec.INDEX_HEADER_BYTES
    finally:
        files.close(descriptor)


def _resumed(
    directory: DatasetDirectory, folder: Folder, lock: LockedFile, manifest: Manifest, alignment: int
) -> ResumedSegment | None:
    info, index = manifest.segments[-1], lock.descriptor
    size = files.size_of(index)
    needed = entry_offset(info.num_frames, info.group)
    if size < needed:
        path = folder.path_of(spec.INDEX_NAME)
        raise TruncatedFileError(
            f"{path} has {size} bytes, and {needed} were committed; nothing was changed, verify the dataset", path=path
        )
    header = _index_header(index, info)
    last = _entries(index, info, max(0, info.num_frames - info.num_bins), info.num_frames)
    # A repair may have given a record up: where its bin ends is then not known from the index.
    if (last[:, 0] == spec.TOMBSTONE).any():
        return None
    first_position = manifest.num_records - info.num_records
    segment = SegmentFiles(directory.paths.segment(info.id), info, first_position, OpenFiles("pread", folder))
    reader = RecordReader(segment, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
    try:
        found, ends = _ends(reader, folder, info)
        max_raw_bytes = _max_raw_bytes(reader, index, info, header)
    finally:
        segment.close()
    # Of a segment without any record the alignment is free, and its header says it where that is intact.
    if alignment != (found or (header.alignment if header else alignment)):
        return None
    return ResumedSegment(
        manifest=manifest,
        info=info,
        first_position=first_position,
        folder=folder,
        index=lock,
        alignment=alignment,
        ends=ends,
        max_raw_bytes=max_raw_bytes,
    )


def _index_header(index: int, info: SegmentInfo) -> IndexHeader | None:
    """Return the header, None if a kill has torn it: nothing in it is needed, and the next commit writes it anew."""
    try:
        header = IndexHeader.unpack(files.read_at(index, spec.INDEX_HEADER_BYTES, 0))
    except FormatError as error:
        if type(error) is not FormatError:
            raise
        return None
    other = header.other_owner(info.id)
    if other or header.num_bins != info.num_bins:
        raise FormatError(f"the index of segment {info.id} is that of {other or f'{header.num_bins} bins'}")
    return header


def _entries(index: int, info: SegmentInfo, start: int, stop: int) -> NDArray[np.uint64]:
    """Return entries as u64: place, lengths; of groups the lengths of records behind them."""
    data = files.read_at(index, (stop - start) * info.entry_bytes, entry_offset(start, info.group))
    return np.frombuffer(data, "<u8").reshape(-1, info.entry_bytes // 8)


def _ends(reader: RecordReader, folder: Folder, info: SegmentInfo) -> tuple[int, NDArray[np.int64]]:
    """Return the alignment, 0 without any bin, and where the last record of each bin that holds some ends."""
    ends = np.zeros(info.num_bin_files, np.int64)
    alignments = set()
    # Before any is opened: a manifest may claim millions.
    there = set(map(SegmentPaths.bin_of_name, folder.names())) - {None}
    if len(there) < len(ends):
        missing = next((number for number in range(len(ends)) if number not in there), 0)
        path = folder.path_of(SegmentPaths.bin_name(missing))
        raise MissingBinError(f"{path} is missing, which holds committed records; nothing was changed", path=path)
    for frame in range(info.num_frames - len(ends), info.num_frames):
        place = reader.locate(frame)
        path = folder.path_of(SegmentPaths.bin_name(place.bin_index))
        if not reader.has_header_check(place):
            raise CorruptRecordError(
                f"{path}, byte {place.offset}: the header check of record {info.records_of(frame).start} of its "
                "segment is wrong; nothing was changed, verify the dataset",
                path=path,
                offset=place.offset,
            )
        header = _bin_header(place.source, path)
        alignments.add(header.alignment)
        ends[place.bin_index] = place.offset + footprint(place.header)
    if len(alignments) > 1:
        raise FormatError(f"the bins in {folder.path} have different alignments", path=folder.path)
    return (alignments.pop() if alignments else 0), ends


def _bin_header(source: Source, path: str) -> BinHeader:
    try:
        return BinHeader.unpack(source.read(0, spec.BIN_HEADER_BYTES))
    except FormatError as error:
        raise type(error)(f"{path}: {error}; nothing was changed, verify the dataset", path=path) from None


def _max_raw_bytes(reader: RecordReader, index: int, info: SegmentInfo, header: IndexHeader | None) -> int:
    """Return the longest committed raw length: from the header, or from all entries where that counts others."""
    if header is not None and header.num_records == info.num_records:
        return header.max_raw_bytes
    longest = 0
    step = max(1, _ENTRIES_PER_READ // info.group)
    for start in range(0, info.num_frames, step):
        entries = _entries(index, info, start, min(start + step, info.num_frames))
        if info.is_grouped:
            longest = max(longest, int(entries[:, 2:].view(np.uint32).max(initial=0)))
            continue
        lengths = np.where(entries[:, 0] == spec.TOMBSTONE, 0, entries[:, 1] >> np.uint64(32))
        is_long = lengths == spec.LENGTH_ESCAPE
        longest = max(longest, int(lengths[~is_long].max(initial=0)))
        longest = max([longest, *(reader.length(start + number) for number in np.flatnonzero(is_long).tolist())])
    return longest
