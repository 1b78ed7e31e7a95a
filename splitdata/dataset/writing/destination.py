"""Checks the destination of a write and chooses the number of bins; it changes nothing.

A writer asks before its first record, so that a wrong mode costs no work and no data.

    nothing, an empty directory     any mode
    a dataset                       append, resume, overwrite; not create
    anything else                   never
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from splitdata.dataset.legacy.legacy_directory import is_legacy_directory
from splitdata.errors import DatasetExistsError, DatasetNotFoundError
from splitdata.format import spec

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory

__all__ = ["ONE_BIN_BYTES", "BinChoice", "bins_for", "check_destination"]

# Up to this size one bin is enough; beyond, 64 give an even sample each and room for parallel readers.
ONE_BIN_BYTES: Final = 64 << 20
_MANY_BINS: Final = 64


def bins_for(first_bytes: int | None) -> int:
    """Return how many bins a segment gets by what is known when it is begun: bytes, or None if nobody can tell."""
    return 1 if first_bytes is not None and first_bytes <= ONE_BIN_BYTES else _MANY_BINS


class BinChoice:
    """Foretells how many bins a session will have that writes records of given sizes."""

    def __init__(self, bins: int | None) -> None:
        """Take what the writer was told."""
        self._chosen = bins
        self._pending_bytes = 0

    @property
    def num_bins(self) -> int:
        """Bins of the session, if it ends here."""
        return self._chosen or bins_for(self._pending_bytes)

    def take(self, size: int) -> None:
        """Count a record: the writer chooses when 64 MiB have come together, or at the first large one."""
        if self._chosen is not None:
            return
        if size >= spec.LARGE_RECORD_BYTES:
            self._chosen = bins_for(self._pending_bytes or size)
            return
        self._pending_bytes += size + spec.FRAME_HEADER_BYTES
        if self._pending_bytes > ONE_BIN_BYTES:
            self._chosen = bins_for(self._pending_bytes)


def check_destination(directory: DatasetDirectory, mode: str) -> None:
    """Raise if a mode does not allow what is in a directory that exists.

    Raises:
        DatasetExistsError: If there is a dataset that the mode does not add to or replace, or anything else.
        ManifestError: If the dataset to extend is damaged.
        UnsupportedVersionError: If it is of a version that is only read.
    """
    folder = directory.folder
    if is_legacy_directory(folder) and not directory.generations():
        raise DatasetExistsError(
            f"{folder} is a directory of the package splitdataloader, which is read but never written; "
            f"`splitdata write {folder} DEST` converts it into a dataset that can be added to",
            path=folder,
        )
    if mode == "create" and directory.names():
        raise DatasetExistsError(f"{folder} is not empty{_hint(directory)}", path=folder)
    foreign = directory.foreign_names()
    if foreign:
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise DatasetExistsError(
            f"{folder} holds {'1 thing that is' if len(foreign) == 1 else f'{len(foreign)} things that are'} "
            f"not splitdata's ({shown}); "
            "nothing is written to or removed from such a directory: choose another one",
            path=folder,
        )
    if mode in ("append", "resume"):
        # Raises if it is damaged, or its manifests are gone.
        with suppress(DatasetNotFoundError):
            directory.newest().check_writable()


def _hint(directory: DatasetDirectory) -> str:
    """Say what can be done with a directory that "create" refuses."""
    if directory.foreign_names():
        return " and is no splitdata dataset: choose another directory"
    if not directory.generations():
        return ": a writer began here and has not committed; remove it, or write with mode='overwrite'"
    return ": it is a splitdata dataset; mode='append' adds to it, mode='overwrite' replaces it"
