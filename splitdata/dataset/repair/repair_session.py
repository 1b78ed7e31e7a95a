"""One call of repair, step by step: it keeps what each step has learnt; the work is done in the other modules here.

Every step leaves a dataset that is no worse than before, so a call that is killed loses nothing.

    look ── order ── listed segments ── their tails ── unlisted segments ── manifest ── clean up
    manifest_repair  segment_repair     adoption       adoption             publish
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.manifests.stamp import restamped
from splitdata.dataset.repair.adoption import (
    AdoptableTail,
    contradicts_header,
    copy_of,
    extended,
    is_copy,
    is_unfinished_fold,
    tail_of,
    write_copy,
)
from splitdata.dataset.repair.deletion_repair import DeletedOnDisk, with_latest_list
from splitdata.dataset.repair.found_records import PROVEN
from splitdata.dataset.repair.key_repair import KeysOnDisk
from splitdata.dataset.repair.manifest_repair import look_at_manifests, old_dataset_id, publish_manifest
from splitdata.dataset.repair.schema_repair import SchemasOnDisk
from splitdata.dataset.repair.segment_on_disk import SegmentOnDisk
from splitdata.dataset.repair.segment_order import committed_segments
from splitdata.dataset.repair.segment_repair import SegmentRepair
from splitdata.dataset.segments.finding import Finding, FindingList
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.errors import DatasetNotFoundError, FormatError, ManifestError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.digest import EMPTY_DIGEST
from splitdata.format.manifest import Manifest, decode_metadata
from splitdata.format.schemas import fit_together
from splitdata.storage.replace import remove_scratch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.repair.frame_search import FrameSearch
    from splitdata.dataset.segments.deleted_records import DeletedRecords
    from splitdata.dataset.segments.segment_writer import SegmentWriter
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.folder import Folder

__all__ = ["RepairSession"]

_KEYS_NAMES: Final = (spec.KEYS_NAME, spec.OPEN_KEYS_NAME, spec.KEYS_SCRATCH_NAME, spec.OPEN_KEYS_SCRATCH_NAME)
_SCHEMAS_NAMES: Final = (spec.SCHEMAS_NAME, spec.SCHEMAS_SCRATCH_NAME)
# What must be a file, or nothing, where a segment is mended and committed.
_WRITTEN_NAMES: Final = (spec.INDEX_SCRATCH_NAME, *_KEYS_NAMES, *_SCHEMAS_NAMES)
# What an entry that is no file is told of.
_MOVE_AWAY: Final = "is no regular file, and has the name of one that repair writes: move it away and repair again"


class RepairSession:
    """The state of one call of `repair`.

    Attributes:
        actions, findings, notes, num_adopted, num_adoptable, num_found_alone: As the report has them.
    """

    def __init__(
        self,
        directory: DatasetDirectory,
        *,
        adopt: bool,
        discard: bool,
        dry_run: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.actions: list[str] = []
        self.findings = FindingList()
        self.notes: list[str] = []
        self.num_adopted = 0
        self.num_adoptable = 0
        self.num_found_alone = 0
        self._locked: list[str] = []
        self._directory = directory
        self._adopt = adopt
        self._discard = discard
        self._dry_run = dry_run
        self._progress = progress
        self._bytes_done = 0
        self._bytes_total = 0
        self._disk: dict[str, SegmentOnDisk] = {}
        self._metadata: dict[str, Any] = {}
        self._schema: bytes | None = None
        self._tails: list[AdoptableTail] = []
        self._copies: list[SegmentWriter] = []
        self._removable: list[SegmentOnDisk] = []

    def __enter__(self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give back every lock."""
        for copy in self._copies:
            copy.close()
        for segment in self._disk.values():
            segment.release()

    def repair(self) -> Manifest:
        """Do everything; returns the newest manifest as it is afterwards, or would be."""
        # Scratch files are listed before the locks are tried: of those that are there now, none is in use then.
        scratch = [name for name in self._directory.names() if self._directory.paths.is_scratch(name)]
        self._manifests = look_at_manifests(self._directory)
        intact, damaged = self._manifests.intact, self._manifests.damaged
        for path in map(self._directory.paths.manifest, self._manifests.odd):
            self.notes.append(f"{path} is no regular file, and has the name of an older manifest: move it away")
        if intact is None and not damaged and not self._adopt:
            return self._directory.newest()  # which raises, and says what to do
        if self._discard and (damaged or intact is None):
            raise ManifestError(
                f"{self._directory.folder}: the newest manifest is not intact, so it is not known what was never "
                "committed; nothing was changed, repair it without discarding first",
                path=self._directory.folder,
            )
        self._disk = self._look_at_folders()
        self._bytes_total = sum(segment.num_bytes for segment in self._disk.values())
        self._metadata = dict(intact.metadata) if intact else {}
        self._schema = intact.schema if intact else None
        before = list(intact.segments) if intact else []
        for segment_id, count in self._manifests.stand_ins:
            folder = self._directory.paths.segment(segment_id).folder
            self.actions.append(f"{folder}: is gone; {count} segments of an older manifest hold its records")
        committed = committed_segments(self._directory, self._manifests, self._disk, adopt=self._adopt)
        if not damaged:
            self.num_adopted = sum(info.num_records for info in committed) - sum(info.num_records for info in before)
        segments = self._mend_listed(committed, {info.id for info in before})
        segments += self._copy_tails(segments)
        segments += self._look_at_unlisted(segments)
        if intact is None and not damaged and not segments:
            if self._locked:
                raise BlockingIOError(
                    errno.EAGAIN,
                    f"no manifest and no whole record was found, and another program holds the lock of "
                    f"{', '.join(self._locked[:3])} (`lsof` names it), so that was not looked at; nothing was changed",
                    self._directory.folder,
                )
            raise DatasetNotFoundError(
                f"{self._directory.folder} is not a splitdata dataset: it has no manifest and no whole record",
                path=self._directory.folder,
            )
        manifest = intact
        if manifest is None or damaged or segments != before:
            manifest = self._publish(segments)
        self._clean_up(scratch)
        return manifest

    def _look_at_folders(self) -> dict[str, SegmentOnDisk]:
        """Return all segments that are there; a file with the name of a segment is left alone, and reported."""
        found: dict[str, SegmentOnDisk] = {}
        listed = {info.id for info in self._manifests.listed}
        for segment_id in self._directory.segment_ids():
            segment = SegmentOnDisk(self._directory, segment_id)
            if segment_id not in listed and self._is_part(segment):
                continue
            if self._directory.has_segment(segment_id):
                found[segment_id] = segment
            else:
                self.notes.append(f"{segment.paths.folder} is no folder, so no segment: move it away")
        return found

    def _is_part(self, segment: SegmentOnDisk) -> bool:
        """Say whether a segment that is not listed is a part: those wait for a commit that names them."""
        if self._directory.is_waiting_part(segment.id):
            self.notes.append(
                f"{segment.paths.folder} is a part that waits for its commit, and was left alone: commit_parts lists it"
            )
            return True
        return self._directory.is_unfinished_part(segment.id)

    # -- listed segments -----------------------------------------------------------------------

    def _mend_listed(self, segments: list[SegmentInfo], before: set[str]) -> list[SegmentInfo]:
        """Mend each segment of the list; returns the list, the last one with what was adopted behind it."""
        result: list[SegmentInfo] = []
        position = 0
        for number, info in enumerate(segments):
            is_last = number == len(segments) - 1
            mended = self._mend(info, position, is_last=is_last, is_new=info.id not in before)
            result.append(mended)
            position += mended.num_records
        return result

    def _mend(self, info: SegmentInfo, position: int, *, is_last: bool, is_new: bool) -> SegmentInfo:
        segment = self._disk.get(info.id) or SegmentOnDisk(self._directory, info.id)
        self._disk[info.id] = segment
        search = self._search_listed(segment, info, position, is_new=is_new)
        if search is None:
            return info
        listed_before = info
        if is_new or self._manifests.damaged or self._manifests.intact is None:
            # The manifest that is lost may have said of more records that they were deleted.
            info = with_latest_list(info, search.folder)
        mender = SegmentRepair(segment.paths, info, position, search, search.alignment(), is_committed=True)
        if not mender.decide():
            self._take_report(mender)
            search.close()
            segment.release()
            return info
        mender.take_deleted(self._mend_deleted(segment, info, position, search))
        tail = tail_of(info, search)
        odd = _odd_entry(search.folder, _WRITTEN_NAMES)
        if search.num_behind_unproven:
            self.notes.append(
                f"{segment.paths.folder}: {search.num_behind_unproven} whole records stand behind one that was "
                "committed and is not proven, so it is not known whether they are its content; they were not taken"
            )
        # Otherwise they are copied, if they are asked for: their own segment cannot be written.
        is_adopted = self._adopt and is_last and tail.totals.num_records > 0 and odd is None
        if is_adopted:
            self.num_adopted += tail.totals.num_records
            self.actions.append(
                f"{segment.paths.folder}: {tail.totals.num_records} records that it holds are committed"
            )
            info = extended(info, tail.totals)
        elif tail.totals.num_records:
            self._tails.append(tail)
        mender.plan(info)
        self._mend_files(segment, mender, search, info, is_new=is_new or is_adopted)
        listed = listed_before if info.num_records == listed_before.num_records else info
        info = self._mend_keys(segment, info, position, search)
        info = self._mend_schemas(segment, info, search)
        if is_new:
            self._add_metadata(search)
        if not tail.totals.num_records or is_adopted:
            search.close()
        # Until the new manifest stands nobody may go on with a segment that it will list otherwise.
        if not is_new and not is_adopted and info == listed:
            segment.release()
        return info

    def _search_listed(
        self, segment: SegmentOnDisk, info: SegmentInfo, position: int, *, is_new: bool
    ) -> FrameSearch | None:
        """Take the lock of a listed segment and search its bins; None, and said why, where it stays as it is."""
        try:
            info.check_features()
        except UnsupportedVersionError as error:
            self.notes.append(f"{segment.paths.folder}: {error}; it was left as it is")
            return None
        if not self._directory.has_segment(segment.id):
            problem = "the folder of the segment does not exist: nothing can be made again without its bins"
            self._lose(segment.paths.folder, problem, position, info.num_records)
            return None
        try:
            is_free = segment.take_lock()
        except FormatError as error:
            self._lose(segment.paths.index, f"{error}; move it away", position, info.num_records)
            return None
        if not is_free:
            self._note_lock(segment)
            return None
        if not self._is_still_listed_as(None if is_new else info, segment.id):
            return None
        try:
            return segment.search(info, position, self._advance)
        except FormatError as error:
            self._lose(segment.paths.folder, str(error), position, info.num_records)
            return None

    def _is_still_listed_as(self, info: SegmentInfo | None, segment_id: str) -> bool:
        """Say, with the lock held, whether what was read of a segment before still holds.

        The last holder of the lock may have committed after the manifests were read: its index is of what a newer
        one says.
        """
        seen = self._manifests
        newest = max((*seen.damaged, seen.intact.generation if seen.intact else 0))
        if all(generation <= newest for generation in self._directory.generations()):
            return True
        if self._directory.listing(segment_id) == info:
            return True
        folder = self._directory.paths.segment(segment_id).folder
        self.notes.append(f"{folder}: a writer has just committed in it, so it was left as it is")
        return False

    def _note_lock(self, segment: SegmentOnDisk) -> None:
        self._locked.append(segment.paths.index)
        self.notes.append(
            f"{segment.paths.folder}: a writer is at work in it, or another program holds the lock of its index "
            "(`lsof` names it), so it was left as it is"
        )

    def _lose(self, path: str, problem: str, position: int, num_records: int) -> None:
        self.findings.add(Finding(path=path, problem=problem, position=position, num_records=num_records))

    def _take_report(self, mender: SegmentRepair) -> None:
        self.actions += mender.actions
        self.findings.extend(mender.findings)
        self.notes += mender.notes
        self.num_found_alone += mender.num_found_alone

    def _mend_files(
        self, segment: SegmentOnDisk, mender: SegmentRepair, search: FrameSearch, info: SegmentInfo, *, is_new: bool
    ) -> None:
        odd = _odd_entry(search.folder, (spec.INDEX_SCRATCH_NAME,))
        if odd is not None:
            # Nothing is replaced, or copied first, without that name.
            num_actions = len(mender.actions)
            mender.actions.clear()
            if num_actions:
                problem = f"{_MOVE_AWAY}; {num_actions} things in its segment are not mended before"
                self._lose(odd, problem, search.files.first_position, info.num_records)
            else:
                self.notes.append(f"{odd} {_MOVE_AWAY}")
        self._take_report(mender)
        if search.num_passed_over:
            self.notes.append(
                f"{segment.paths.folder}: {search.num_passed_over} places look like frames that overlap, and "
                "were passed over: only forged files have so many"
            )
        if not self._dry_run and odd is None:
            if mender.actions or is_new:
                mender.apply(is_new=is_new)
            remove_scratch(search.folder, spec.INDEX_SCRATCH_NAME)

    def _mend_deleted(
        self, segment: SegmentOnDisk, info: SegmentInfo, position: int, search: FrameSearch
    ) -> DeletedRecords:
        """Make the list of deleted records again where it is damaged and known; returns what is known."""
        deleted = DeletedOnDisk(info, search)
        path = segment.paths.deleted(info.deleted_hash)
        if not deleted.is_known:
            problem = (
                f"which {info.num_deleted} records of the segment were deleted is not known any more, so none of it is "
                "read: restore this file"
            )
            self._lose(path, problem, position, info.num_records)
        elif not deleted.is_whole:
            if odd := _odd_entry(search.folder, (spec.DELETED_SCRATCH_NAME, os.path.basename(path))):
                self._lose(odd, _MOVE_AWAY, position, info.num_records)
            else:
                self.actions.append(f"{path}: list of {info.num_deleted} deleted records made again")
                if not self._dry_run:
                    deleted.rebuild()
        return deleted.records

    def _mend_keys(self, segment: SegmentOnDisk, info: SegmentInfo, position: int, search: FrameSearch) -> SegmentInfo:
        """Make the keys of a segment again where its table is not what frames and table together tell."""
        if not info.num_keys and not search.has_keys:
            return info
        files = SegmentFiles(segment.paths, info, position, OpenFiles("pread", search.folder))
        keys = KeysOnDisk(search.folder, files, search.files)
        are_proven = np.repeat(search.state[: info.num_frames] == PROVEN, info.group)[: info.num_records]
        num_damaged = np.count_nonzero(keys.are_damaged & are_proven)
        if num_damaged:
            self.notes.append(
                f"{segment.paths.folder}: {num_damaged} records can be read and their keys cannot: reading or finding "
                "one of these keys tells of the damage, until the bins are restored"
            )
        if keys.are_intact():
            return info
        odd = _odd_entry(search.folder, _KEYS_NAMES)
        if odd is not None:
            problem = f"{_MOVE_AWAY}; the keys of its segment are not made again before"
            self.findings.add(Finding(path=odd, problem=problem, position=None, num_records=0))
            return info
        path = segment.paths.keys if info.is_sealed else segment.paths.open_keys
        self.actions.append(f"{path}: made again, with the {keys.num_keys} keys that are known")
        if keys.num_unknown:
            self.notes.append(
                f"{path}: {keys.num_unknown} keys of records that cannot be read are not known any more: no search "
                "finds them before the records are restored and repair has run again"
            )
        return info if self._dry_run else keys.rebuild()

    def _mend_schemas(self, segment: SegmentOnDisk, info: SegmentInfo, search: FrameSearch) -> SegmentInfo:
        """Make the schemas of a segment again: its file from the manifest, or what the manifest lists from the file."""
        intact = self._manifests.intact
        listed = intact.find(info.id) if intact else None
        if listed is not None and fit_together(listed.schemas, info.schemas):
            info = replace(info, schemas=max(listed.schemas, info.schemas, key=len))
        odd = _odd_entry(search.folder, _SCHEMAS_NAMES)
        if odd is not None:
            if info.schemas:
                problem = f"{_MOVE_AWAY}; the schemas of its segment are not written again before"
                self.findings.add(Finding(path=odd, problem=problem, position=None, num_records=0))
            return info
        is_grown = listed is None or listed.num_records != info.num_records
        schemas = SchemasOnDisk(search.folder, info, is_grown=is_grown)
        if self._schema is None and intact is None:
            self._schema = schemas.declared
        if not schemas.is_intact:
            self.actions.append(f"{segment.paths.schemas}: made again from the manifest")
            if not self._dry_run:
                schemas.rebuild(self._schema)
        return schemas.info

    # -- what no manifest lists ----------------------------------------------------------------

    def _copy_tails(self, segments: list[SegmentInfo]) -> list[SegmentInfo]:
        """Copy what killed writers left in segments that are no longer last."""
        copies: list[SegmentInfo] = []
        position = sum(info.num_records for info in segments)
        listed = {info.id for info in segments}
        for tail in self._tails:
            identifier = copy_of(tail.info)
            unfinished = self._disk.pop(identifier, None) if identifier not in listed else None
            count = tail.totals.num_records
            if identifier in listed:
                continue
            if not self._adopt:
                self._count_adoptable(self._disk[tail.info.id], count)
                continue
            self.num_adopted += count
            folder = tail.search.files.paths.folder
            self.actions.append(f"{folder}: {count} records behind those that are listed are copied to the end")
            empty = replace(tail.info, num_records=0, digest=0, raw_bytes=0, stored_bytes=0)
            info = extended(empty, tail.totals)
            if not self._dry_run:
                if unfinished is not None and not self._directory.remove_segment(identifier, if_damaged=True):
                    raise ManifestError(f"{unfinished.paths.folder}: another program is repairing this dataset")
                alignment = tail.search.alignment()
                copy = write_copy(self._directory, tail, alignment, position)
                self._copies.append(copy)
                info = copy.info()
            copies.append(replace(info, id=identifier))
            position += count
        return copies

    def _look_at_unlisted(self, segments: list[SegmentInfo]) -> list[SegmentInfo]:
        """Adopt, count or give up each segment that is not listed; returns the adopted ones."""
        adopted: list[SegmentInfo] = []
        position = sum(info.num_records for info in segments)
        listed = {info.id for info in segments}
        known = listed | self._manifests.superseded | self._give_up_replaced(listed)
        unlisted = [segment for one, segment in self._disk.items() if one not in known]
        unlisted.sort(key=lambda one: (one.header.first_position if one.header else 1 << 64, one.id))
        # Each but the last is sealed: a session that was killed in the last one may be gone on with.
        waiting: AdoptableTail | None = None
        for segment in unlisted:
            tail = self._look_at(segment, position, segments)
            if tail is None:
                continue
            if waiting is not None:
                adopted.append(self._adopt_segment(waiting, is_last=False))
            waiting = tail
            position += tail.totals.num_records
        if waiting is not None:
            adopted.append(self._adopt_segment(waiting, is_last=True))
        return adopted

    def _give_up_replaced(self, listed: set[str]) -> set[str]:
        """Return the segments of a dataset that was replaced; what nobody uses of them is to be removed."""
        intact = self._manifests.intact
        found = (set(intact.replaced) if intact else set()) - listed
        for segment_id in sorted(found & self._disk.keys() - self._manifests.superseded):
            segment = self._disk[segment_id]
            if self._is_free(segment) and segment.may_be_removed():
                self._removable.append(segment)
        return found

    def _look_at(self, segment: SegmentOnDisk, position: int, listed: list[SegmentInfo]) -> AdoptableTail | None:
        """Return all records of a segment that will be adopted, None for all others."""
        try:
            is_free = segment.take_lock()
        except FormatError as error:
            self.notes.append(f"{error}; move it away: until then its segment is left as it is")
            return None
        if not is_free:
            self._note_lock(segment)
            return None
        if not self._is_still_listed_as(None, segment.id):
            return None
        if self._discard and segment.may_be_removed():
            self._removable.append(segment)
            return None
        claimed = segment.unlisted_info()
        try:
            search = segment.search(claimed, position, self._advance)
        except FormatError as error:
            self.notes.append(f"{error}; it was left as it is")
            return None
        tail: AdoptableTail | None = None
        try:
            count = claimed.num_frames + search.num_proven_from(claimed.num_frames)
            if not count or not (search.state == PROVEN).any():
                if segment.may_be_removed() and not search.state.any() and not search.problems:
                    self._removable.append(segment)
                return None
            if contradicts_header(segment.header, search):
                self.notes.append(
                    f"{segment.paths.folder}: the records that a search finds in it are not those of which its index "
                    "has the digest; it was left as it is"
                )
                return None
            found = AdoptableTail(replace(claimed, num_records=0, digest=EMPTY_DIGEST), search, search.totals(0, count))
            num_records = found.totals.num_records
            is_second = not claimed.num_records and any(is_copy(found.totals, other) for other in self._tails)
            if is_second or is_unfinished_fold(self._directory, search, count, listed):
                self._removable.append(segment)
            elif self._adopt and (odd := _odd_entry(search.folder, _WRITTEN_NAMES)):
                self.notes.append(
                    f"{odd} {_MOVE_AWAY}; the {num_records} records of its segment are not adopted before"
                )
            elif self._adopt:
                tail = found
            else:
                self._count_adoptable(segment, num_records)
        finally:
            if tail is None:
                search.close()
        return tail

    def _adopt_segment(self, tail: AdoptableTail, *, is_last: bool) -> SegmentInfo:
        """Mend an unlisted segment, and return the manifest entry with all of its records."""
        segment, search = self._disk[tail.info.id], tail.search
        count, position = tail.totals.num_records, search.files.first_position
        # An open segment has full groups alone.
        is_open = is_last and not count % tail.info.group
        info = replace(extended(tail.info, tail.totals), is_sealed=not is_open)
        self.num_adopted += count
        self.actions.append(f"{segment.paths.folder}: its {count} records are added at the end and committed")
        try:
            mender = SegmentRepair(segment.paths, info, position, search, search.alignment(), is_committed=False)
            mender.decide()
            mender.plan(info)
            self._mend_files(segment, mender, search, info, is_new=True)
            info = self._mend_keys(segment, info, position, search)
            info = self._mend_schemas(segment, info, search)
            self._add_metadata(search)
        finally:
            search.close()
        return info

    def _count_adoptable(self, segment: SegmentOnDisk, count: int) -> None:
        self.num_adoptable += count
        self.notes.append(
            f"{segment.paths.folder}: {count} whole records were never committed; "
            f"`splitdata repair --adopt {self._directory.folder}` adds them at the end, --discard removes them"
        )

    def _add_metadata(self, search: FrameSearch) -> None:
        if search.head.metadata is not None:
            try:
                self._metadata |= decode_metadata(search.head.metadata)
            except ManifestError as error:
                self.notes.append(f"{search.files.paths.bin(0)}: its copy of the metadata is of no use: {error}")

    # -- the manifest --------------------------------------------------------------------------

    def _publish(self, segments: list[SegmentInfo]) -> Manifest:
        intact, damaged = self._manifests.intact, self._manifests.damaged
        base = intact or Manifest(
            generation=self._manifests.next_generation,
            dataset_id=old_dataset_id(self._directory, damaged) or os.urandom(16).hex(),
        )
        manifest = restamped(
            replace(
                base,
                generation=self._manifests.next_generation,
                segments=tuple(segments),
                metadata=self._metadata,
                schema=self._schema,
            )
        )
        if len(segments) > spec.MAX_SEGMENTS:
            raise ManifestError(
                f"{self._directory.folder} would have {len(segments)} segments, more than a manifest may"
            )
        path = self._directory.paths.manifest(manifest.generation)
        why = f"{len(damaged)} damaged, " if damaged else ""
        self.actions.append(f"{path}: new manifest ({why}{manifest.num_records} records in {len(segments)} segments)")
        if not self._dry_run:
            publish_manifest(self._directory, manifest, far=self._manifests.far)
        return manifest

    # -- leftovers -----------------------------------------------------------------------------

    def _clean_up(self, scratch: list[str]) -> None:
        """Remove what is of no use to anybody, now that the new manifest stands."""
        paths = self._directory.paths
        leftovers = [paths.manifest_name(generation) for generation in self._manifests.damaged]
        if scratch and all(map(self._is_free, self._disk.values())):
            leftovers += scratch
        with self._directory.opened() as root:
            for name in leftovers:
                if root.has_folder(name):
                    self.notes.append(f"{root.path_of(name)} is a folder: move it away")
                    continue
                self.actions.append(f"{root.path_of(name)}: removed")
                if not self._dry_run:
                    root.remove(name)
        for segment in self._removable:
            self.actions.append(f"{segment.paths.folder}: removed, {segment.num_bytes} bytes that were never committed")
            if not self._dry_run:
                segment.release()
                self._directory.remove_segment(segment.id)

    # -- parts ---------------------------------------------------------------------------------

    @staticmethod
    def _is_free(segment: SegmentOnDisk) -> bool:
        """Say whether no writer is at work in a segment; of one whose index is no file that is not known."""
        try:
            return segment.take_lock()
        except FormatError:
            return False

    def _advance(self, num_bytes: int) -> None:
        self._bytes_done += num_bytes
        if self._progress is not None:
            self._progress(min(self._bytes_done, self._bytes_total), self._bytes_total)


def _odd_entry(folder: Folder, names: tuple[str, ...]) -> str | None:
    """Return the path of the first of some names that something other than a file has, None where none has."""
    return next((folder.path_of(name) for name in names if folder.has_odd(name)), None)
