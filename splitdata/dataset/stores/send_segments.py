"""Sends the files of segments to a store, several at a time; what is there whole already is not sent again.

A segment that no manifest lists yet is nobody's: it may be sent again after a kill. A file counts as there by its name
and length, as names are never used for anything else. Indexes come last: what is there without a manifest is not taken
for a dataset that has lost it before all of its records are there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from splitdata.dataset.reading.snapshot import pool_for
from splitdata.format import spec
from splitdata.storage.file_source import PreadSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.remote.remote_files import RemoteFiles

__all__ = ["SegmentFile", "files_of", "send_files"]

_PIECE_BYTES: Final = 4 << 20
_SCRATCH: Final = (
    spec.INDEX_SCRATCH_NAME,
    spec.KEYS_SCRATCH_NAME,
    spec.OPEN_KEYS_SCRATCH_NAME,
    spec.DELETED_SCRATCH_NAME,
    spec.SCHEMAS_SCRATCH_NAME,
)


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One file of a segment.

    Attributes:
        name: Its path in the dataset, with slashes.
        path: Where it lies.
        size: In bytes.
    """

    name: str
    path: str
    size: int

    @property
    def is_index(self) -> bool:
        """Whether it is the index of its segment."""
        return self.name.rpartition("/")[2] == spec.INDEX_NAME


def files_of(directory: DatasetDirectory, infos: Iterable[SegmentInfo]) -> list[SegmentFile]:
    """Return the files of segments, without what an unfinished step has left.

    Raises:
        StoreError, OSError, FormatError: If they cannot be listed.
    """
    found = []
    for info in infos:
        paths = directory.paths.segment(info.id)
        deleted = paths.deleted_name(info.deleted_hash) if info.num_deleted else ""
        for name, size in sorted(directory.sizes_in(info.id).items()):
            is_old_list = paths.deleted_of_name(name) is not None and name != deleted
            if name not in _SCRATCH and not is_old_list:
                path = f"{spec.SEGMENTS_FOLDER}/{info.id}/{name}"
                found.append(SegmentFile(path, os.path.join(paths.folder, name), size))
    return found


def send_files(
    directory: DatasetDirectory,
    files: list[SegmentFile],
    target: RemoteFiles,
    *,
    num_workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Send files of a dataset; returns the bytes that were sent.

    Args:
        directory: That they are of.
        files: What `files_of` has found.
        target: Of the dataset that they are sent to.
        num_workers: So many at a time.
        progress: Called with bytes done and in all, those that were there already too.

    Raises:
        StoreError: If a store fails; what was sent stays, and is not sent again.
    """
    # Imported here, as `import splitdata` is to load no more than it must.
    from concurrent.futures import ThreadPoolExecutor, as_completed

    there = target.keys()
    missing = [one for one in files if there.get(one.name) != one.size]
    total, num_sent = sum(one.size for one in files), 0
    done = total - sum(one.size for one in missing)
    if progress is not None:
        progress(done, total)
    with ThreadPoolExecutor(num_workers) as pool:
        for are_indexes in (False, True):
            chosen = [one for one in missing if one.is_index == are_indexes]
            tasks = {pool.submit(_send, directory, one, target): one for one in chosen}
            try:
                for task in as_completed(tasks):
                    task.result()
                    num_sent += tasks[task].size
                    if progress is not None:
                        progress(done + num_sent, total)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return num_sent


def _send(directory: DatasetDirectory, file: SegmentFile, target: RemoteFiles) -> None:
    target.send(file.name, file.size, lambda: _pieces(directory, file))


def _pieces(directory: DatasetDirectory, file: SegmentFile) -> Iterator[bytes]:
    source = pool_for(directory, "pread").open(file.path)
    try:
        for offset in range(0, file.size, _PIECE_BYTES):
            length = min(_PIECE_BYTES, file.size - offset)
            if offset + length < file.size:
                source.prefetch(offset + length, min(_PIECE_BYTES, file.size - offset - length))
            yield source.read(offset, length)
    finally:
        if isinstance(source, PreadSource):
            source.close()
