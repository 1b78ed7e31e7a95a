"""Adoption: records that were written whole, by writers that were killed before they could commit them.

    last listed segment      [committed | whole, whole, torn]      extended in its place
    other listed segments    [committed | whole ]                  copied into a segment of its own at the end
    unlisted segments        [whole, whole, torn ]                 listed as they are, at the end

Taken is the unbroken stretch of proven records behind the committed ones, never what lies behind a hole.
The copy has an id derived from where its records come from: a second call knows it again.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import xxhash

from splitdata.dataset.repair.found_records import PROVEN
from splitdata.dataset.segments.frame_copy import copy_group
from splitdata.dataset.segments.group_reader import read_group
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.segments.schema_file import read_schemas
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.segments.segment_writer import SegmentWriter
from splitdata.dataset.segments.totals import Totals
from splitdata.errors import FormatError, SplitDataError
from splitdata.format import spec
from splitdata.format.checksum import hash64

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.repair.frame_search import FrameSearch
    from splitdata.format.index import IndexHeader
    from splitdata.format.manifest import SegmentInfo

__all__ = [
    "AdoptableTail",
    "contradicts_header",
    "copy_of",
    "extended",
    "is_copy",
    "is_unfinished_fold",
    "tail_of",
    "write_copy",
]

# Fewer segments than this are never folded.
_MIN_FOLDED: Final = 32


class _Deleted:
    """In the place of the hash of a record that was deleted."""


_DELETED: Final = _Deleted()


@dataclass(frozen=True, slots=True)
class AdoptableTail:
    """Whole records of one segment that no manifest lists.

    Attributes:
        info: The segment as it is listed; no records where it is not.
        search: Of its bins.
        totals: Of the tail.
    """

    info: SegmentInfo
    search: FrameSearch
    totals: Totals


def tail_of(info: SegmentInfo, search: FrameSearch) -> AdoptableTail:
    """Return the unbroken stretch of proven records behind those that are listed."""
    search.take_tails()
    count = 0 if info.is_sealed else search.num_proven_from(info.num_frames)
    return AdoptableTail(info, search, search.totals(info.num_frames, info.num_frames + count))


def contradicts_header(header: IndexHeader | None, search: FrameSearch) -> bool:
    """Say whether all records that an index header counts were found, some by searching alone, and are other ones."""
    count = -(-header.num_records // header.group) if header else 0
    if header is None or not 0 < count <= len(search.state) or search.is_listed[:count].all():
        return False
    return bool((search.state[:count] == PROVEN).all()) and search.digest(count) != header.digest


def extended(info: SegmentInfo, totals: Totals) -> SegmentInfo:
    """Return a segment with consecutive records added to it."""
    whole = Totals(info.num_records, info.digest, info.stored_bytes, info.raw_bytes).joined(totals)
    return replace(
        info,
        num_records=whole.num_records,
        is_sealed=info.is_sealed and not totals.num_records,
        digest=whole.digest,
        stored_bytes=whole.stored_bytes,
        raw_bytes=whole.raw_bytes,
    )


def is_copy(records: Totals, tail: AdoptableTail) -> bool:
    """Say whether consecutive records are what a tail begins with: a writer was killed while it moved them."""
    count = records.num_records
    if not 0 < count <= tail.totals.num_records:
        return False
    info = tail.info
    start = info.num_frames
    return tail.search.totals(start, start + -(-count // info.group)).digest == records.digest


def is_unfinished_fold(directory: DatasetDirectory, search: FrameSearch, count: int, listed: list[SegmentInfo]) -> bool:
    """Say whether the records of the first `count` frames of a segment are those of listed ones.

    Then a fold, or compacting, was killed.

    Only where there are enough listed segments to be folded, or one with deleted records. Reads one record of each, as
    a rule.
    """
    pool = OpenFiles("pread")
    for start, first in enumerate(listed):
        if len(listed) - start < _MIN_FOLDED and not first.num_deleted:
            continue
        there = _raw_hashes(directory, listed[start:], pool)
        num_equal = 0
        for raw_hash in search.record_hashes(count):
            expected = next(there, None)
            if expected is not _DELETED and expected != raw_hash:
                break
            num_equal += expected is not _DELETED
        else:
            if num_equal:
                return True
    return False


def _raw_hashes(
    directory: DatasetDirectory, listed: list[SegmentInfo], pool: OpenFiles
) -> Iterator[int | _Deleted | None]:
    """Yield the hash of each raw record of some segments, None for one that cannot be read."""
    for info in listed:
        files = SegmentFiles(directory.paths.segment(info.id), info, 0, pool)
        reader = RecordReader(files, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
        deleted: Container[int] = ()
        with suppress(FormatError):
            deleted = files.deleted()
        for frame in range(info.num_frames):
            records = info.records_of(frame)
            if not info.is_grouped and frame in deleted:
                yield _DELETED
                continue
            try:
                if info.is_grouped:
                    found = map(hash64, read_group(reader, len(records), frame).records)
                    pairs = zip(records, found, strict=True)
                    yield from (_DELETED if number in deleted else one for number, one in pairs)
                else:
                    yield reader.check(frame)
            except SplitDataError:
                yield from [None] * len(records)


def copy_of(info: SegmentInfo) -> str:
    """Return the id of the segment into which the tail of another is copied."""
    return xxhash.xxh3_128_hexdigest(f"adopted behind record {info.num_records} of {info.id}".encode())


def write_copy(directory: DatasetDirectory, tail: AdoptableTail, alignment: int, first_position: int) -> SegmentWriter:
    """Write the records of a tail into a segment of their own, as they are stored; nothing lists it yet.

    Sealed, and returned with its lock, which the caller keeps until a manifest lists it.
    """
    search, start = tail.search, tail.info.num_frames
    dictionary = b""
    with suppress(FormatError):
        dictionary = search.files.dictionary()
    schemas: list[bytes] = []
    is_declared = False
    with suppress(FormatError):
        schemas, is_declared = read_schemas(search.folder, tail.info.id)
    writer = SegmentWriter(
        directory,
        copy_of(tail.info),
        num_bins=tail.info.num_bins,
        alignment=alignment,
        dictionary=dictionary,
        group=tail.info.group,
        schemas=schemas,
        is_declared=is_declared,
    )
    reader = RecordReader(search.files, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
    num_frames = -(-tail.totals.num_records // tail.info.group)
    try:
        for frame in range(start, start + num_frames):
            if tail.info.is_grouped:
                copy_group(reader, tail.info.group, frame, writer)
            else:
                writer.append_stored(reader.locate(frame), search.raw_hash(frame))
        writer.seal()
        writer.sync(first_position=first_position, durable=True, is_first_commit=False)
    except BaseException:
        writer.close()
        raise
    return writer
