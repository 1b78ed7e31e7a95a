"""verify: every byte of a dataset that can be wrong is looked at, and what is wrong is listed.

manifest ─> segments ─> index     header, tables, sums over the entries      verify_index.py
bins      header; frames end to end, in parallel     verify_bin.py
keys      every part against its checksum, and against the keys in the frames     verify_keys.py
digest    of all raw records, against the manifest
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from splitdata._local_path import local_path
from splitdata.dataset.cache_folder import CacheFolder
from splitdata.dataset.file_pool import FilePool
from splitdata.dataset.finding import Finding
from splitdata.dataset.seed_directory import SeedDirectory
from splitdata.dataset.seed_survey import survey
from splitdata.dataset.segment_files import SegmentFiles
from splitdata.dataset.snapshot import open_pinned
from splitdata.dataset.verify_bin import BinCheck
from splitdata.dataset.verify_index import check_index
from splitdata.dataset.verify_keys import KeySum, check_keys
from splitdata.errors import DatasetNotFoundError, FormatError
from splitdata.format import spec
from splitdata.format.digest import add_digests, shift_digest
from splitdata.storage.paths import DatasetPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from splitdata.dataset.snapshot import Listing
    from splitdata.format.manifest import SegmentInfo

__all__ = ["VerifyReport", "verify"]

_MOST_WORKERS: Final = 4
# Of all bins together; each reads its part at once.
_STRIPE_BYTES: Final = 32 << 20
_STRIPE_RECORDS: Final = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` looked at, and what it found.

    Attributes:
        path: The dataset.
        generation: The manifest that was verified; 0 for a cache, which has many.
        num_records: Records that it lists.
        num_bytes: Bytes of bins that were read.
        findings: What is wrong, by file and position.
    """

    path: str
    generation: int
    num_records: int
    num_bytes: int
    findings: tuple[Finding, ...]

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def num_damaged_records(self) -> int:
        """Records that cannot be read, or cannot be found."""
        return sum(finding.num_records for finding in self.findings)


def verify(
    path: str | os.PathLike[str],
    *,
    generation: int | None = None,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Read a whole dataset and report everything that is not as it was written.

    A directory of splitdataloader 0.0.1 has no checksums: of it, every length in index and bins is looked at. The
    folder of a cache of samples holds a dataset for each of its writers: all of them are verified.

    Args:
        path: The dataset. Nothing in it is changed, and nothing is locked.
        generation: Which manifest; None is the newest.
        num_workers: Threads that read bins at the same time, None for up to 4. They overlap waiting
            for the disk, hashing of large records and decompression.
        progress: Called in this thread with bytes of bins done and in all, every 32 MiB or so.

    Raises:
        DatasetNotFoundError, ManifestError, UnsupportedVersionError: As for opening.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, got {num_workers}")
    folder = local_path(path)
    if generation is None and (cache := CacheFolder(folder)).is_cache():
        return _verify_cache(cache, num_workers, progress)
    # Held to the end, so that nothing of it is removed meanwhile.
    manifest, pin = open_pinned(folder, generation, None)
    if isinstance(manifest, SeedDirectory):
        found = survey(manifest, progress=progress)
        return _report(folder, manifest, found.num_bytes, found.findings)
    work = _Verification(DatasetPaths(folder), manifest.segments, progress)
    work.run(num_workers or min(_MOST_WORKERS, os.cpu_count() or 1))
    del pin
    return _report(folder, manifest, work.bytes_done, work.findings)


def _verify_cache(
    cache: CacheFolder, num_workers: int | None, progress: Callable[[int, int], None] | None
) -> VerifyReport:
    """Verify one dataset after the other, and report of all of them as of one."""
    reports: list[VerifyReport] = []
    findings: list[Finding] = []
    total, done = cache.num_bytes(), 0
    for path in cache.datasets():
        before = done
        # Files other than bins are in the total, and done at the end.
        shown = None if progress is None else lambda part, _, before=before: progress(min(before + part, total), total)
        try:
            reports.append(verify(path, num_workers=num_workers, progress=shown))
        except DatasetNotFoundError:
            # It was removed meanwhile, with its generation.
            continue
        except FormatError as error:
            findings.append(Finding(path=path, problem=str(error), position=None, num_records=0))
            continue
        done += reports[-1].num_bytes
    if progress is not None:
        progress(total, total)
    return VerifyReport(
        path=cache.paths.folder,
        generation=0,
        num_records=sum(report.num_records for report in reports),
        num_bytes=done,
        findings=(*findings, *(finding for report in reports for finding in report.findings)),
    )


def _report(folder: str, listing: Listing, num_bytes: int, findings: Iterable[Finding]) -> VerifyReport:
    return VerifyReport(
        path=folder,
        generation=listing.generation,
        num_records=listing.num_records,
        num_bytes=num_bytes,
        findings=tuple(sorted(findings, key=lambda one: (one.path, one.position or 0, one.problem))),
    )


class _Verification:
    """The work of one call: its segments, findings and progress."""

    def __init__(
        self, paths: DatasetPaths, segments: tuple[SegmentInfo, ...], progress: Callable[[int, int], None] | None
    ) -> None:
        self.findings: list[Finding] = []
        self.bytes_done = 0
        self._progress = progress
        self._segments = []
        first_position = 0
        pool = FilePool("pread")
        for info in segments:
            self._segments.append(SegmentFiles(paths.segment(info.id), info, first_position, pool))
            first_position += info.num_records
        self._total = sum(_bytes_of_bins(files) for files in self._segments)

    def run(self, num_workers: int) -> None:
        """Look at one segment after the other, at its bins in parallel."""
        # Imported here, as `import splitdata` is to load no more than it must.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(num_workers) as pool:
            for files in self._segments:
                findings, bin_lengths = check_index(files)
                checks = [BinCheck(files, number, bin_lengths.get(number)) for number in range(_bins_to_check(files))]
                before = self.bytes_done
                list(pool.map(BinCheck.begin, checks))
                for first, entries in _stripes(files):
                    # A task gets the entries of its own bin: the index is read once, not once for each bin.
                    shares = [entries[(check.bin_index - first) % len(checks) :: len(checks)] for check in checks]
                    list(pool.map(BinCheck.check_run, checks, shares))
                    self.bytes_done = before + sum(check.bytes_done for check in checks)
                    self._report()
                list(pool.map(BinCheck.finish, checks))
                self.findings += findings + [finding for check in checks for finding in check.findings]
                if any(finding.num_records for finding in self.findings):
                    self.findings += check_keys(files, None)
                    continue
                self._check_digest(files, checks)
                self.findings += check_keys(files, KeySum.of([check.keys for check in checks]))
        self._report()

    def _check_digest(self, files: SegmentFiles, checks: list[BinCheck]) -> None:
        """Hold the raw records, all of which could be read, against what the manifest says of them."""
        info = files.info
        shares = (shift_digest(check.digest, info.num_records - 1 - check.last_sequence) for check in checks)
        digest = add_digests(shares)
        if digest != info.digest:
            problem = f"the records have digest {digest:016x}, the manifest says {info.digest:016x}"
            self.findings.append(Finding(path=files.paths.folder, problem=problem, position=None, num_records=0))

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(min(self.bytes_done, self._total), self._total)


def _stripes(files: SegmentFiles) -> Iterator[tuple[int, NDArray[np.void]]]:
    """Yield the index entries of a segment in stripes of as many records from every bin."""
    info = files.info
    mean = info.stored_bytes // max(1, info.num_records) + spec.FRAME_HEADER_BYTES
    rows = max(1, min(_STRIPE_BYTES // mean, _STRIPE_RECORDS) // info.num_bins)
    try:
        num_entries = files.num_entries_in(files.index())
    except (FormatError, OSError):
        # The index has been reported as a whole.
        return
    for start in range(0, num_entries, rows * info.num_bins):
        yield start, files.entries(start, min(start + rows * info.num_bins, num_entries))


def _bins_to_check(files: SegmentFiles) -> int:
    """Return of how many bins the first records or the files are there; a forged manifest claims millions."""
    try:
        num_entries = files.num_entries_in(files.index())
    except (FormatError, OSError):
        num_entries = 0
    return min(files.info.num_bin_files, max(num_entries, len(_sizes_of_bins(files))))


def _bytes_of_bins(files: SegmentFiles) -> int:
    """Return the bytes that will be read of a segment's bins, as far as they exist."""
    return sum(_sizes_of_bins(files))


def _sizes_of_bins(files: SegmentFiles) -> list[int]:
    """Return the sizes of the bins that exist, in no order."""
    sizes: list[int] = []
    with suppress(OSError), os.scandir(files.paths.folder) as names:
        for entry in names:
            number = files.paths.bin_of_name(entry.name)
            if number is not None and number < files.info.num_bin_files:
                sizes.append(entry.stat(follow_symlinks=False).st_size)
    return sizes
