"""repair: makes again what can be known again, and changes nothing else.

Every step leaves a dataset that is no worse than before, and a second call does what is left.

    manifests ─┐                             nothing is changed before it is clear what the dataset is
    headers  ──┴─> segments, in order ──> each: search its bins, mend index and headers
                                      ──> unlisted ones: adopt, keep or remove
                                      ──> a new manifest, where the list has changed ──> remove the damaged one
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from splitdata._local_path import local_path
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.repair.repair_session import RepairSession
from splitdata.dataset.segments.finding import Finding

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

__all__ = ["RepairReport", "repair"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """The report of `repair`: what it has done, or would do, and what it cannot mend.

    Attributes:
        path: The dataset.
        generation: Of the newest manifest afterwards.
        num_records: Records that it lists.
        is_dry_run: Whether nothing was changed.
        actions: What was done, or would be, one line each.
        findings: Records that cannot be read afterwards, by file and first position; the first 10,000.
        notes: What was left as it is, and why.
        num_adopted: Records that no manifest listed (any more, or yet) and one lists now.
        num_adoptable: Records that were never committed and that `adopt` would add.
        num_found_alone: Records that were found by searching the bins, of which neither an index nor the digest of
            their segment says that they are what was committed. Their checksums hold; those stop no attacker.
        num_more_findings: Findings beyond those that are listed, which are only counted.
        num_more_lost_records: Records that cannot be read because of those.
    """

    path: str
    generation: int
    num_records: int
    is_dry_run: bool
    actions: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = field(default=())
    num_adopted: int = 0
    num_adoptable: int = 0
    num_found_alone: int = 0
    num_more_findings: int = 0
    num_more_lost_records: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether every record can be read afterwards."""
        return not self.findings

    @property
    def num_lost_records(self) -> int:
        """Records that cannot be read afterwards."""
        return sum(finding.num_records for finding in self.findings) + self.num_more_lost_records


def repair(
    path: str | os.PathLike[str],
    *,
    adopt: bool = False,
    discard: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> RepairReport:
    """Make damaged or missing indexes, headers and manifests again from what is intact.

    Reads every byte of the bins. Positions never move: a record that cannot be found keeps its
    position as a lost one, one whose frame is damaged stays where it is. Damage to the bytes of
    records cannot be mended and is reported. What a record holds is never taken for a record: an index that proves
    itself wins over a search, what is found is held against the digest of the segment where all of it could be read,
    and what contradicts that is reported and left as it is. Segments in which a writer is at work are not touched.
    An index is replaced as a whole, so readers may have the dataset open; a kill at any point
    leaves what a second call finishes.

    Args:
        path: The dataset.
        adopt: Also take in what no manifest lists: segments whose manifest was deleted, in their old
            places, then the whole records that killed writers have left, at the end.
        discard: Also remove the segments in which killed writers have left whole records that were never
            committed. Without it only those go that hold none.
        dry_run: Only report what would be done.
        progress: Called with bytes of bins read and in all, every 16 MiB or so.

    Raises:
        DatasetNotFoundError: If there is no dataset.
        ManifestError: If there is no manifest and `adopt` was not asked for; if segments contradict
            each other; if another program commits meanwhile, and repair must run again.
        UnsupportedVersionError: If an intact part needs a newer splitdata.
        BlockingIOError: If there is no manifest, and another program holds the locks of all that could be adopted.
        ValueError: If both `adopt` and `discard` are asked for, or `path` is not a local path.
        OSError: If the disk fails, or the dataset needs repair and lies where nothing may be written.
    """
    if adopt and discard:
        raise ValueError("adopt takes in what was never committed, discard removes it: ask for one of them")
    directory = DatasetDirectory(local_path(path))
    try:
        with (
            directory.held() as held,
            RepairSession(held, adopt=adopt, discard=discard, dry_run=dry_run, progress=progress) as session,
        ):
            manifest = session.repair()
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise type(error)(
            error.errno,
            f"the dataset needs repair and cannot be changed ({error.strerror}: {error.filename}): mount it writable, "
            f"or repair a copy; `splitdata repair --dry-run {directory.folder}` tells what would be done",
            directory.folder,
        ) from error
    return RepairReport(
        path=directory.folder,
        generation=manifest.generation,
        num_records=manifest.num_records,
        is_dry_run=dry_run,
        actions=tuple(session.actions),
        findings=tuple(sorted(session.findings, key=lambda one: (one.position or 0, one.path))),
        notes=tuple(session.notes),
        num_adopted=session.num_adopted,
        num_adoptable=session.num_adoptable,
        num_found_alone=session.num_found_alone,
        num_more_findings=session.findings.num_more,
        num_more_lost_records=session.findings.num_more_records,
    )
