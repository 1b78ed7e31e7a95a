"""Verifying what stands before the records of bin 0: the dictionary, and the copy of the metadata.

No reading of a record needs them, but where it was compressed with the dictionary.

    header | 0 0 | dictionary | 0 | metadata | 0 | first record
                   `─ equal to the one in a sealed index
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from splitdata.dataset.segments.dictionary import head_frames, read_from_index
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.manifest import decode_metadata

if TYPE_CHECKING:
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.storage.file_source import Source

__all__ = ["NO_ZEROS", "check_head"]

NO_ZEROS: Final = "bytes {} to {} belong to no record and are not the zeros they should be"


def check_head(files: SegmentFiles, source: Source) -> tuple[int, list[str]]:
    """Return where the last control frame ends that is proven, or the header, and what is wrong.

    A frame that is not proven is not reported: it is found by the gap that it leaves.

    Args:
        files: Of the segment.
        source: Bin 0.
    """
    problems: list[str] = []
    salt = files.salt(0)
    end, dictionary = spec.BIN_HEADER_BYTES, b""
    for frame in head_frames(source.read):
        word = frame.header.first_word(salt, frame.offset)
        if not frame.is_intact or int.from_bytes(source.read(frame.offset, 8), "little") != word:
            return end, problems
        if any(source.read(end, frame.offset - end)):
            problems.append(NO_ZEROS.format(end, frame.offset))
        if frame.header.kind == spec.KIND_DICTIONARY:
            dictionary = frame.payload
        else:
            problems += _problems_of_metadata(frame.payload)
        end = frame.end
    return end, problems + _problems_of_dictionary(files, dictionary)


def _problems_of_metadata(data: bytes) -> list[str]:
    try:
        decode_metadata(data)
    except FormatError as error:
        return [f"the copy of the metadata is none: {error}"]
    return []


def _problems_of_dictionary(files: SegmentFiles, of_bin: bytes) -> list[str]:
    if not files.info.is_sealed:
        return []
    try:
        of_index = read_from_index(files.index().read, files.info)
    except (FormatError, OSError):
        # Which is reported with the index.
        return []
    if of_index == of_bin:
        return []
    return [f"it has a dictionary of {len(of_bin)} bytes, the index another one of {len(of_index)}"]
