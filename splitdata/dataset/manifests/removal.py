"""Removal: a whole dataset goes, and nothing that is not splitdata's goes with it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec

if TYPE_CHECKING:
    from splitdata.storage.folder import Folder

__all__ = ["remove_dataset"]


def remove_dataset(parent: Folder, name: str) -> None:
    """Remove a dataset that nobody uses any more; readers that have it open keep what they have mapped.

    Only files by names that a dataset can have are removed. What else lies there stays, and so does a segment
    in which a writer is at work: then the folder stays, too, for another call. What a link leads to is not ours.

    Args:
        parent: The folder that it is in.
        name: Of its directory.
    """
    if not parent.has_folder(name):
        return
    with parent.sub(name) as root:
        directory = DatasetDirectory(root.path, root)
        # The manifests first: half a removal leaves no dataset.
        for entry in root.names():
            if directory.paths.generation_of_name(entry) is not None or directory.paths.is_scratch(entry):
                root.remove(entry)
        if root.has_folder(spec.SEGMENTS_FOLDER):
            for segment_id in directory.segment_ids():
                if directory.has_segment(segment_id):
                    with suppress(OSError):
                        directory.remove_segment(segment_id)
        with suppress(OSError):
            root.remove_directory(spec.SEGMENTS_FOLDER)
    with suppress(OSError):
        parent.remove_directory(name)
