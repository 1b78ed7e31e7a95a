"""Drops the page cache of a dataset, so that a measurement shows the speed of a cold start.

Only its own files are dropped: the rest of the machine's cache stays.

    dataset ──> its index, keys and bins ──> storage/page_cache.py
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from splitdata._place import is_url
from splitdata.dataset.legacy.legacy_directory import LegacyDirectory
from splitdata.dataset.legacy.legacy_files import bins_in
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.reading.snapshot import open_pinned
from splitdata.format import legacy
from splitdata.storage import files
from splitdata.storage.page_cache import drop_file
from splitdata.storage.paths import DatasetPaths

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["drop_dataset"]

# A few pages stay for reasons of the kernel's own, and one file of very many may be in use.
_MOST_LEFT: Final = 0.1


def drop_dataset(path: str) -> bool:
    """Drop a dataset's files from the page cache; return whether they are gone.

    They stay on systems without posix_fadvise, on file systems in memory, and as far as somebody has them mapped:
    also this process, so let go of its readers first. A dataset in a store has none here. Nobody is harmed but by the
    time to read them again.

    Raises:
        DatasetNotFoundError, ManifestError, UnsupportedVersionError: As for opening.
    """
    if is_url(path):
        return False
    num_looks = num_left = 0
    for name in _files_of(path):
        looks, left = drop_file(name)
        num_looks += looks
        num_left += left
    return num_left <= _MOST_LEFT * num_looks


def _files_of(path: str) -> Iterator[str]:
    listing, pin = open_pinned(DatasetDirectory(path), None, None)
    if isinstance(listing, LegacyDirectory):
        yield os.path.join(path, legacy.INDEX_NAME)
        for number in bins_in(path):
            yield os.path.join(path, legacy.bin_name(number))
        return
    for info in listing.segments:
        segment = DatasetPaths(path).segment(info.id)
        for name in files.list_names(segment.folder):
            if segment.is_own_name(name):
                yield os.path.join(segment.folder, name)
    # Held until here, so that nothing of it is removed meanwhile.
    del pin
