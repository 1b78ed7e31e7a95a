"""The folder of a segment that is being made: made for it alone, looked at before a commit, its names on the medium."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from splitdata.errors import ManifestError
from splitdata.format import spec

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.segments.index_writer import IndexWriter
    from splitdata.storage.folder import Folder

__all__ = ["check_in_place", "made_folder", "sync_names"]


def made_folder(directory: DatasetDirectory, segment_id: str) -> Folder:
    """Make the folder of a segment, or open it where it is there; the caller closes it."""
    with directory.open_segments() as segments:
        segments.make(segment_id)
        return segments.sub(segment_id)


def check_in_place(directory: DatasetDirectory, segment_id: str, index: IndexWriter) -> None:
    """Raise if another segment, or none, lies where a manifest in this directory would list this one.

    Raises:
        ManifestError, FormatError: If so.
    """
    with suppress(FileNotFoundError, NotADirectoryError), directory.open_segment(segment_id) as folder:
        if index.is_in(folder):
            return
    path = directory.paths.segment(segment_id).folder
    raise ManifestError(
        f"{path} was moved, removed or replaced while it was written: what was not committed yet is not committed "
        "now; write it again",
        path=path,
    )


def sync_names(directory: DatasetDirectory, folder: Folder) -> None:
    """Wait until all names that lead to the files of a segment would survive a loss of power."""
    folder.sync()
    with directory.opened() as root:
        with root.sub(spec.SEGMENTS_FOLDER) as segments:
            segments.sync()
        root.sync()
