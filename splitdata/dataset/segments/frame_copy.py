"""Copying records from one segment into another as they are stored: proven, but neither compressed nor joined again.

A frame of another place needs another header check, so it cannot be copied blindly.

    segment A   [ . . r3 r4 r5 ]  ──locate, check──>  segment B  [ r3 r4 r5 ]       fold, and a commit behind a rival's
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.codec import Compressor

if TYPE_CHECKING:
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.dataset.segments.segment_writer import SegmentWriter

__all__ = ["copy_records"]


def copy_records(source: SegmentFiles, sequences: range, target: SegmentWriter) -> None:
    """Append records of a segment to another, each verified.

    Args:
        source: The segment that has them.
        sequences: Their sequence numbers in it.
        target: Has the same dictionary, or none: then records that need one are compressed again.

    Raises:
        FormatError: If one is damaged.
    """
    reader = RecordReader(source, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
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
        if place.header.codec == spec.CODEC_ZSTD_DICTIONARY and not target.dictionary:
            key = reader.key(sequence)
            target.append([reader.read(sequence)], Compressor(), [key] if key else None)
        else:
            target.append_stored(place, reader.check(sequence))
