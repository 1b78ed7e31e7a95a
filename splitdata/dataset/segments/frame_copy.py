"""Copying records from one segment into another, proven: as they are stored, or compressed anew where they cannot be.

A frame of another place needs another header check, so it cannot be copied blindly. Records are compressed anew where
they stand in other groups then, or the other segment has another dictionary.

    segment A   [ . . r3 r4 r5 ]  ──locate, check──>  segment B  [ r3 r4 r5 ]       fold, and a commit behind a rival's
                [ r0 (deleted) r2 ] ────────────────>            [ r0 tombstone r2 ]    fold, and compacting
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.group_reader import open_reader, read_group
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.segments.totals import Totals
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.compression import Compressor

if TYPE_CHECKING:
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.dataset.segments.segment_writer import SegmentWriter

__all__ = ["copy_group", "copy_live", "copy_records"]

_COPIED_TOGETHER: Final = 4096


def copy_records(source: SegmentFiles, sequences: range, target: SegmentWriter) -> None:
    """Append records of a segment to another, each verified.

    Args:
        source: The segment that has them.
        sequences: Their sequence numbers in it.
        target: Where they go; records that need another dictionary than it has are compressed again.

    Raises:
        FormatError: If one is damaged.
    """
    if source.info.is_grouped or target.group > 1:
        _copy_in_groups(source, sequences, target)
        return
    reader = RecordReader(source, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
    compressor: Compressor | None = None
    is_other: bool | None = None
    num_bytes = 0
    for sequence in sequences:
        place = reader.locate(sequence)
        num_bytes += place.header.raw_length
        if place.header.key_length:
            # Nothing else proves it, and the copy is sealed with the hash that it has.
            reader.key(sequence)
        # Frames of a forged bin may lie inside of each other, and make gigabytes of a megabyte.
        if num_bytes > source.info.raw_bytes:
            raise FormatError(f"the records of segment {source.info.id} are longer than the manifest says")
        if place.header.codec == spec.CODEC_ZSTD_DICTIONARY and is_other is None:
            is_other = target.dictionary != source.dictionary()
        if place.header.codec == spec.CODEC_ZSTD_DICTIONARY and is_other:
            compressor = compressor or Compressor(dictionary=target.dictionary)
            key = reader.key(sequence)
            target.append([reader.read(sequence)], compressor, [key] if key else None)
        else:
            target.append_stored(place, reader.check(sequence))


def _copy_in_groups(source: SegmentFiles, sequences: range, target: SegmentWriter) -> None:
    """Append records that stand in other groups then, or in none: so they are compressed again, if they were."""
    frames = RecordReader(source, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
    reader = open_reader(source, ColdReads(), verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
    group, num_bytes = source.info.group, 0
    for start in range(sequences.start, sequences.stop, _COPIED_TOGETHER):
        some = range(start, min(start + _COPIED_TOGETHER, sequences.stop))
        is_compressed = frames.locate(some.start // group).header.codec != spec.CODEC_NONE
        records = [reader.get(sequence) for sequence in some]
        num_bytes += sum(map(len, records))
        if num_bytes > source.info.raw_bytes:
            raise FormatError(f"the records of segment {source.info.id} are longer than the manifest says")
        keys = [reader.key(sequence) for sequence in some] if reader.num_keys else None
        target.append(records, Compressor(dictionary=target.dictionary) if is_compressed else None, keys)


def copy_group(reader: RecordReader, count: int, frame: int, target: SegmentWriter) -> None:
    """Append the records of one group, which is to hold so many, compressed if they were.

    Raises:
        FormatError: If it is damaged.
    """
    is_compressed = reader.locate(frame).header.codec != spec.CODEC_NONE
    contents = read_group(reader, count, frame)
    keys = contents.keys if any(contents.keys) else None
    target.append(contents.records, Compressor(dictionary=target.dictionary) if is_compressed else None, keys)


def copy_live(source: SegmentFiles, target: SegmentWriter) -> int:
    """Append all records of a segment to another, tombstones for those that were deleted; returns how many these are.

    What was deleted counts on in the numbers of the target: these are of what was once committed. A target with groups
    is told by the caller, once all is in it.

    Raises:
        FormatError: If a record that was not deleted is damaged, or it is not known which were.
    """
    info, deleted = source.info, source.deleted()
    before, start = target.totals, 0
    for sequence in deleted.sequences.tolist():
        copy_records(source, range(start, sequence), target)
        target.append_erased()
        start = sequence + 1
    copy_records(source, range(start, info.num_records), target)
    if len(deleted) and target.group == 1:
        appended = target.totals
        stored = max(info.stored_bytes, appended.stored_bytes - before.stored_bytes)
        whole = Totals(info.num_records, info.digest, stored, info.raw_bytes, appended.max_raw_bytes)
        target.restate(before.joined(whole))
    return len(deleted)
