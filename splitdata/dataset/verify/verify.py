"""verify: checks every byte of a dataset that can be wrong, and lists what is wrong.

It changes nothing, and goes on behind each damage, so one call finds all of them.

    manifest ─> segments ─> index     header, tables, sums over the entries               index_check.py
                            bins      header; frames end to end, in parallel              bin_check.py
                            keys      every part against its checksum, and against        key_check.py
                                      the keys in the frames
                            deleted   the list of deleted records                         deleted_check.py
                            digest    of all raw records, against the manifest; not where some were erased
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from splitdata._place import dataset_place
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.dataset.keys.key_sum import KeySum
from splitdata.dataset.legacy.legacy_directory import LegacyDirectory
from splitdata.dataset.legacy.legacy_scan import scan
from splitdata.dataset.manifests.declared_codec import stated_codec
from splitdata.dataset.manifests.remote_directory import directory_at
from splitdata.dataset.reading.snapshot import open_pinned, pool_for
from splitdata.dataset.segments.finding import Finding, FindingList
from splitdata.dataset.segments.key_check import check_keys
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.verify.bin_check import BinCheck
from splitdata.dataset.verify.deleted_check import check_deleted
from splitdata.dataset.verify.index_check import check_index
from splitdata.dataset.verify.schema_check import check_schemas
from splitdata.errors import DatasetNotFoundError, FormatError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.digest import add_digests, shift_digest
from splitdata.format.index import entries_per_sum, entry_offset
from splitdata.samples.sample_check import SampleCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.reading.snapshot import Listing
    from splitdata.format.manifest import SegmentInfo

__all__ = ["VerifyReport", "verify", "verify_directory"]

_MOST_WORKERS: Final = 4
# Of one bin, read at once: enough that what numpy costs for a call does not count.
_PART_BYTES: Final = 4 << 20
# Records of all bins whose index entries are in memory together.
_STRIPE_RECORDS: Final = 1 << 20
_REPORT_SECONDS: Final = 0.5
# Up to here each bin that is missing is reported by itself.
_FEW_BINS: Final = 1 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The report of `verify`: what it looked at, and what it found.

    Attributes:
        path: The dataset.
        generation: The manifest that was verified; 0 for a cache, which has many.
        num_records: Records that it lists.
        num_bytes: Bytes of bins that were read.
        findings: What is wrong, by file and position; the first 10,000 that were met.
        num_more_findings: Findings beyond these, which are only counted.
        num_more_damaged_records: Records that cannot be read because of those.
    """

    path: str
    generation: int
    num_records: int
    num_bytes: int
    findings: tuple[Finding, ...]
    num_more_findings: int = 0
    num_more_damaged_records: int = 0

    @property
    def num_findings(self) -> int:
        """The number of findings."""
        return len(self.findings) + self.num_more_findings

    @property
    def is_intact(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def num_damaged_records(self) -> int:
        """Records that cannot be read, or cannot be found."""
        return sum(finding.num_records for finding in self.findings) + self.num_more_damaged_records


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
        progress: Called in this thread with bytes of bins done and in all, every half a second and at the end.

    Raises:
        DatasetNotFoundError, ManifestError, UnsupportedVersionError: As for opening.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, got {num_workers}")
    folder = dataset_place(path)
    directory = directory_at(folder)
    if generation is None and not directory.is_held and (cache := CacheFolder(folder)).is_cache():
        return _verify_cache(cache, num_workers, progress)
    return verify_directory(directory, generation=generation, num_workers=num_workers, progress=progress)


def verify_directory(
    directory: DatasetDirectory,
    *,
    generation: int | None = None,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:
    """Verify a dataset that is reached already; takes and raises what `verify` does."""
    folder = directory.folder
    # Held to the end, so that nothing of it is removed meanwhile.
    manifest, pin = open_pinned(directory, generation, None)
    if isinstance(manifest, LegacyDirectory):
        found = scan(manifest, progress=progress)
        findings = FindingList()
        findings.extend(found.findings)
        return _report(folder, manifest, found.num_bytes, findings)
    holds_samples = stated_codec(manifest.metadata) == "sample"
    work = _Verification(directory, manifest.segments, progress, holds_samples=holds_samples)
    work.run(num_workers or min(_MOST_WORKERS, os.cpu_count() or 1))
    del pin
    return _report(folder, manifest, work.bytes_done, work.findings)


def _verify_cache(
    cache: CacheFolder, num_workers: int | None, progress: Callable[[int, int], None] | None
) -> VerifyReport:
    """Verify one dataset after the other, and report of all of them as of one."""
    reports: list[VerifyReport] = []
    findings = FindingList()
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
            findings.add(Finding(path=path, problem=str(error), position=None, num_records=0))
            continue
        done += reports[-1].num_bytes
    for report in reports:
        findings.extend(report.findings)
    if progress is not None:
        progress(total, total)
    return VerifyReport(
        path=cache.paths.folder,
        generation=0,
        num_records=sum(report.num_records for report in reports),
        num_bytes=done,
        findings=tuple(findings),
        num_more_findings=findings.num_more + sum(report.num_more_findings for report in reports),
        num_more_damaged_records=findings.num_more_records + sum(report.num_more_damaged_records for report in reports),
    )


def _report(folder: str, listing: Listing, num_bytes: int, findings: FindingList) -> VerifyReport:
    return VerifyReport(
        path=folder,
        generation=listing.generation,
        num_records=listing.num_records,
        num_bytes=num_bytes,
        findings=tuple(sorted(findings, key=lambda one: (one.path, one.position or 0, one.problem))),
        num_more_findings=findings.num_more,
        num_more_damaged_records=findings.num_more_records,
    )


class _Verification:
    """The work of one call: its segments, findings and progress."""

    def __init__(
        self,
        directory: DatasetDirectory,
        segments: tuple[SegmentInfo, ...],
        progress: Callable[[int, int], None] | None,
        *,
        holds_samples: bool,
    ) -> None:
        self._holds_samples = holds_samples
        self.findings = FindingList()
        self.bytes_done = 0
        self._progress = progress
        self._segments = []
        first_position = 0
        pool = pool_for(directory, "pread")
        for info in segments:
            self._segments.append(SegmentFiles(directory.paths.segment(info.id), info, first_position, pool))
            first_position += info.num_records
        self._total = sum(sum(_sizes_of_bins(files).values()) for files in self._segments)

    def run(self, num_workers: int) -> None:
        """Look at one segment after the other, at its bins in parallel."""
        # Imported here, as `import splitdata` is to load no more than it must.
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(num_workers) as pool:
            for files in self._segments:
                if not self._is_understood(files):
                    continue
                index = check_index(files)
                findings = index.findings
                deleted, of_list = check_deleted(files)
                findings.extend(of_list)
                samples = SampleCheck(files.info.schemas) if self._holds_samples else None
                checks = [BinCheck(files, number, index, deleted, samples) for number in _bins_to_check(files)]
                before = self.bytes_done
                list(pool.map(BinCheck.begin, checks))
                num_bins, num_entries = files.info.num_bins, 0
                for first, entries, lengths in _stripes(files):
                    # A task gets the entries of its own bin: the index is read once, not once for each bin.
                    places = [(check.bin_index - first) % num_bins for check in checks]
                    shares = [entries[place::num_bins] for place in places]
                    of_records = [None if lengths is None else lengths[place::num_bins] for place in places]
                    ordinals = [(first + place) // num_bins for place in places]
                    parts = zip(checks, ordinals, shares, of_records, strict=True)
                    self._wait_for([pool.submit(BinCheck.check_part, *part) for part in parts], before, checks)
                    num_entries += len(entries)
                self._report_holes(files, _num_entries(files) - num_entries)
                list(pool.map(BinCheck.finish, checks))
                self.findings.extend(findings)
                for check in checks:
                    self.findings.extend(check.findings)
                self._report_missing(files, {check.bin_index for check in checks})
                self.findings.extend(check_schemas(files))
                is_whole = not self.findings.num_records
                if is_whole and not any(check.num_erased for check in checks):
                    self._check_digest(files, checks)
                are_keys_known = is_whole and all(check.are_keys_known for check in checks)
                keys = KeySum.of([check.keys for check in checks]) if are_keys_known else None
                self.findings.extend(check_keys(files, keys))
        self._report()

    def _is_understood(self, files: SegmentFiles) -> bool:
        """Say whether a segment can be looked at; one of a later version is named, and nothing of it is damage."""
        try:
            files.info.check_features()
        except UnsupportedVersionError as error:
            problem = f"{error}; it was not looked at"
            self.findings.add(Finding(path=files.paths.folder, problem=problem, position=None, num_records=0))
            return False
        return True

    def _wait_for(self, parts: list[Future[None]], before: int, checks: list[BinCheck]) -> None:
        """Wait until some bins are done so far, and report meanwhile: one record may take minutes."""
        from concurrent.futures import wait

        pending = set(parts)
        while pending:
            _, pending = wait(pending, timeout=_REPORT_SECONDS)
            self.bytes_done = before + sum(check.bytes_done for check in checks)
            self._report()
        for part in parts:
            part.result()

    def _report_holes(self, files: SegmentFiles, num_entries: int) -> None:
        """Report entries that were not looked at, as they are in holes of the index."""
        if num_entries:
            problem = f"the index has holes in the place of {num_entries} entries"
            position, num_records = files.first_position, min(num_entries * files.info.group, files.info.num_records)
            finding = Finding(path=files.paths.index, problem=problem, position=position, num_records=num_records)
            self.findings.add(finding)

    def _report_missing(self, files: SegmentFiles, looked_at: set[int]) -> None:
        """Report the bins that are not there where there are so many that none was looked for by itself."""
        info = files.info
        missing = info.num_bin_files - len(looked_at)
        if not missing:
            return
        # Records without an entry are reported already.
        num_entries = _num_entries(files)
        num_lost = num_entries - sum(len(range(number, num_entries, info.num_bins)) for number in looked_at)
        num_lost = min(num_lost * info.group, info.num_records)
        problem = f"{missing} of {info.num_bin_files} bins do not exist"
        finding = Finding(path=files.paths.folder, problem=problem, position=files.first_position, num_records=num_lost)
        self.findings.add(finding)

    def _check_digest(self, files: SegmentFiles, checks: list[BinCheck]) -> None:
        """Hold the raw records, all of which could be read, against what the manifest says of them."""
        info = files.info
        shares = (shift_digest(check.digest, info.num_records - 1 - check.last_sequence) for check in checks)
        digest = add_digests(shares)
        if digest != info.digest:
            problem = f"the records have digest {digest:016x}, the manifest says {info.digest:016x}"
            self.findings.add(Finding(path=files.paths.folder, problem=problem, position=None, num_records=0))

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(min(self.bytes_done, self._total), self._total)


def _stripes(files: SegmentFiles) -> Iterator[tuple[int, NDArray[np.void], NDArray[np.int64] | None]]:
    """Yield the index entries of a segment in stripes of as many frames from every bin, if there are few bins.

    With the number of the first one, and, where frames are groups, the lengths of their records.
    """
    info = files.info
    mean = max(info.stored_bytes, info.raw_bytes) // max(1, info.num_frames) + spec.FRAME_HEADER_BYTES
    most = max(1, _STRIPE_RECORDS // info.group)
    rows = max(1, min(_PART_BYTES // mean, most // info.num_bins))
    step = min(rows * info.num_bins, most)
    for start, stop in _filled(files, _num_entries(files)):
        for first in range(start, stop, step):
            end = min(first + step, stop)
            yield first, files.entries(first, end), files.record_lengths(first, end) if info.is_grouped else None


def _filled(files: SegmentFiles, num_entries: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of entries that are not in large holes of the index, which may be of terabytes."""
    start = stop = 0
    group, length = files.info.group, files.info.entry_bytes
    while stop < num_entries:
        data_start, data_stop = files.index().data_from(entry_offset(stop, group))
        first = max(stop, (data_start - spec.INDEX_HEADER_BYTES) // length)
        if first - stop >= entries_per_sum(group):
            if stop > start:
                yield start, stop
            start = first
        past = -(-(data_stop - spec.INDEX_HEADER_BYTES) // length)
        stop = min(num_entries, max(first + 1, past))
    if stop > start:
        yield start, stop


def _num_entries(files: SegmentFiles) -> int:
    """Return how many entries the index has; one that cannot be opened has been reported as a whole."""
    try:
        return files.num_entries_in(files.index())
    except (FormatError, OSError):
        return 0


def _bins_to_check(files: SegmentFiles) -> Iterable[int]:
    """Return the numbers of all bins; where that are thousands and most are not there, of those that are.

    A manifest may claim millions.
    """
    num_bins = files.info.num_bin_files
    if num_bins <= _FEW_BINS:
        return range(num_bins)
    there = _sizes_of_bins(files)
    return range(num_bins) if num_bins <= 2 * len(there) else sorted(there)


def _sizes_of_bins(files: SegmentFiles) -> dict[int, int]:
    """Return the sizes of the bins that exist, by number."""
    sizes = files.paths.sizes_of_bins()
    return {number: size for number, size in sizes.items() if number < files.info.num_bin_files}
