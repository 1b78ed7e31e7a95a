"""Which records of a segment were deleted: read from its list, looked up by sequence number, made longer.

    manifest "deleted", "deleted_hash" ──> segments/ID/deleted.<hash> ──> ascending sequence numbers

Where the list cannot be read, nothing of its segment is: a record that was deleted must not come back by damage.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.deleted import counts_deleted, deleted_bytes, pack_deleted, unpack_deleted
from splitdata.storage import files
from splitdata.storage.paths import SegmentPaths
from splitdata.storage.publish import publish_unnamed
from splitdata.storage.replace import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.file_source import Source
    from splitdata.storage.folder import Folder

__all__ = ["DeletedRecords", "latest_list", "read_deleted", "read_list_in", "write_list"]

_MAX_TRIES: Final = 1000
_PAUSE_SECONDS: Final = 0.01


class DeletedRecords:
    """The deleted records of one segment; safe to share between threads. 4 bytes each.

    Attributes:
        sequences: Their sequence numbers, ascending, uint32.
        is_whole: Whether the file from which they were read has all of it twice, as it must.
    """

    def __init__(self, sequences: NDArray[np.uint32], *, is_whole: bool = True) -> None:
        self.sequences = sequences
        self.is_whole = is_whole
        self._words: memoryview[int] = memoryview(np.ascontiguousarray(sequences).data)

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self.sequences)

    def __contains__(self, sequence: object) -> bool:
        """Say whether a record was deleted."""
        if not isinstance(sequence, int):
            return False
        place = bisect_left(self._words, sequence)
        return place < len(self._words) and self._words[place] == sequence

    def among(self, sequences: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of each of some records whether it was deleted."""
        if not len(self.sequences):
            return np.zeros(len(sequences), np.bool_)
        places = np.searchsorted(self.sequences, sequences)
        found: NDArray[np.bool_] = self.sequences[np.minimum(places, len(self.sequences) - 1)] == sequences
        return found

    def between(self, start: int, stop: int) -> NDArray[np.uint32]:
        """Return those of a range of records."""
        first, last = np.searchsorted(self.sequences, (start, stop)).tolist()
        return self.sequences[first:last]


def read_deleted(paths: SegmentPaths, info: SegmentInfo, open_file: Callable[[str], Source]) -> DeletedRecords:
    """Read the list of a segment.

    Raises:
        FormatError: If it is missing or damaged, so that no record of the segment may be read.
    """
    if not info.num_deleted:
        return DeletedRecords(np.empty(0, np.uint32))
    path = paths.deleted(info.deleted_hash)
    try:
        source = open_file(path)
        # What a manifest claims costs nothing: so much is read as is there, and nothing of a file that is one hole.
        half = deleted_bytes(info.num_deleted) // 2
        heads = (bytes(source.read(start, spec.DELETED_HEADER_BYTES)) for start in (0, half))
        if not any(counts_deleted(head, info.num_deleted) for head in heads):
            raise FormatError(f"neither half begins as a list of {info.num_deleted} deleted records does")
        data = source.read(0, min(source.size, deleted_bytes(info.num_deleted)))
        sequences = _checked(unpack_deleted(data, info.id, info.deleted_hash), info)
    except (FileNotFoundError, NotADirectoryError):
        raise _unknown(paths, info, path, "does not exist") from None
    except FormatError as error:
        raise _unknown(paths, info, path, str(error), type(error)) from None
    # A reader that was cut down to fewer records knows nothing of those behind.
    is_whole = source.size == len(data) and _is_twice(data, len(sequences))
    return DeletedRecords(sequences[sequences < info.num_records], is_whole=is_whole)


def _is_twice(data: bytes, count: int) -> bool:
    middle = len(data) // 2
    return len(data) == deleted_bytes(count) and data[:middle] == data[middle:]


def _checked(sequences: NDArray[np.uint32], info: SegmentInfo) -> NDArray[np.uint32]:
    if len(sequences) != info.num_deleted:
        raise FormatError(f"the list has {len(sequences)} records, the manifest says {info.num_deleted}")
    return sequences


def _unknown(
    paths: SegmentPaths, info: SegmentInfo, path: str, problem: str, kind: type[FormatError] = FormatError
) -> FormatError:
    return kind(
        f"{path}: {problem}; which {info.num_deleted} of {info.num_records} records of this segment were deleted is "
        f"not known, so none of it is read; restore the file, or see `splitdata repair {paths.dataset_folder}`",
        path=path,
    )


def read_list_in(folder: Folder, segment_id: str, list_hash: int) -> DeletedRecords | None:
    """Return the list with a hash that lies in the folder of a segment, None if there is none that is whole."""
    try:
        descriptor = folder.open_file(SegmentPaths.deleted_name(list_hash))
    except (OSError, FormatError):
        return None
    try:
        data = files.read_at(descriptor, files.size_of(descriptor), 0)
        sequences = unpack_deleted(data, segment_id, list_hash)
        return DeletedRecords(sequences, is_whole=_is_twice(data, len(sequences)))
    except FormatError:
        return None
    finally:
        files.close(descriptor)


def latest_list(folder: Folder, segment_id: str) -> tuple[DeletedRecords, int] | None:
    """Return the longest whole list that lies in the folder of a segment, and its hash: lists only grow."""
    found: list[tuple[int, int, DeletedRecords]] = []
    for name in folder.names():
        list_hash = SegmentPaths.deleted_of_name(name)
        if list_hash is not None and (deleted := read_list_in(folder, segment_id, list_hash)) is not None:
            found.append((len(deleted), list_hash, deleted))
    if not found:
        return None
    _, list_hash, deleted = max(found, key=lambda one: one[:2])
    return deleted, list_hash


def write_list(folder: Folder, segment_id: str, sequences: NDArray[np.uint32]) -> int:
    """Write a list into the folder of a segment, onto the medium, and return its hash; nothing names it yet."""
    half, list_hash = pack_deleted(segment_id, sequences)
    name = SegmentPaths.deleted_name(list_hash)
    with suppress(OSError, FormatError):
        descriptor = folder.open_file(name)
        try:
            if files.read_at(descriptor, 2 * len(half) + 1, 0) == half + half:
                return list_hash
        finally:
            files.close(descriptor)
    if not publish_unnamed(folder, name, half + half, durable=True):
        # Somebody else has made it meanwhile, it is damaged, or the file system has no files without a name.
        _replace(folder, name, half)
    folder.sync()
    return list_hash


def _replace(folder: Folder, name: str, half: bytes) -> None:
    for tries_left in reversed(range(_MAX_TRIES)):
        try:
            replace_file(folder, spec.DELETED_SCRATCH_NAME, name, [half, half])
        except BlockingIOError:
            # Another program is writing a list.
            if not tries_left:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return
