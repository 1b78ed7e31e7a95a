"""Removal: a whole dataset goes, and nothing that is not splitdata's goes with it."""

from __future__ import annotations

import os
from contextlib import suppress

from splitdata.dataset.directory import DatasetDirectory
from splitdata.storage import files

__all__ = ["remove_dataset"]


def remove_dataset(path: str | os.PathLike[str]) -> None:
    """Remove a dataset that nobody uses any more; readers that have it open keep what they have mapped.

    Only files by names that a dataset can have are removed. What else lies there stays, and so does a segment
    in which a writer is at work: then the folder stays, too, for another call.
    """
    directory = DatasetDirectory(path)
    # What a link leads to is not ours.
    if not files.is_real_directory(directory.folder):
        return
    # The manifests first: what is left half way is no dataset.
    for name in files.list_names(directory.folder):
        if directory.paths.generation_of_name(name) is not None or directory.paths.is_scratch(name):
            files.remove(os.path.join(directory.folder, name))
    if files.is_real_directory(directory.paths.segments):
        for segment_id in directory.segment_ids():
            if files.is_real_directory(directory.paths.segment(segment_id).folder):
                with suppress(OSError):
                    directory.remove_segment(segment_id)
    with suppress(OSError):
        files.remove_directory(directory.paths.segments)
        files.remove_directory(directory.folder)
