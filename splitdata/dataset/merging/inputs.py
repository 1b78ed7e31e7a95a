"""A dataset that is put into another: opened at its newest state, which stays for as long as it is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.reading.snapshot import open_pinned
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.errors import FormatError
from splitdata.format.manifest import Manifest
from splitdata.format.version import check_written_here

if TYPE_CHECKING:
    from splitdata.dataset.manifests.retention import Pin

__all__ = ["MergeInput"]


@dataclass(frozen=True, slots=True)
class MergeInput:
    """One dataset to merge.

    Attributes:
        directory: Of the dataset.
        manifest: Its newest one.
        pin: Keeps its files from being removed; None where no lock is to be had.
    """

    directory: DatasetDirectory
    manifest: Manifest
    pin: Pin | None

    @classmethod
    def opened(cls, path: str) -> MergeInput:
        """Open a dataset.

        Raises:
            DatasetNotFoundError, ManifestError: As for opening.
            FormatError: If it is a directory of splitdataloader.
            UnsupportedVersionError: If it is of a version, or has a feature, that is not written here.
        """
        directory = DatasetDirectory(path)
        manifest, pin = open_pinned(directory, None, None)
        if not isinstance(manifest, Manifest):
            raise FormatError(
                f"{path} is a directory of splitdataloader, whose files no dataset can have; "
                "`splitdata write` converts it",
                path=path,
            )
        check_written_here(manifest.version, path)
        for info in manifest.segments:
            info.check_features()
        return cls(directory, manifest, pin)

    def check_sealed(self) -> None:
        """Raise FormatError if a segment is still open: what it has now would be added again when it has grown."""
        for info in self.manifest.segments:
            if info.num_records and not info.is_sealed:
                raise FormatError(
                    f"{self.directory.folder}: its segment {info.id} is open: a writer is at work there, or was "
                    "killed; nothing was appended: wait for its end, or `splitdata compact "
                    f"{self.directory.folder}` seals what was committed",
                    path=self.directory.folder,
                )

    def files(self) -> list[SegmentFiles]:
        """Return the files of all segments, to be read."""
        found, start, pool = [], 0, OpenFiles("pread")
        for info in self.manifest.segments:
            found.append(SegmentFiles(self.directory.paths.segment(info.id), info, start, pool))
            start += info.num_records
        return found
