"""A write session, from the opening of a writer to its end: chunks go into a segment, commits list that.

The segment is its own, and made when the number of bins is known; or it is the open one that a dead writer has left.

    append(records) ──> segment  [committed | pending]
    commit          ──> manifest, positions
                          `─ a rival's segment lies behind ours? pending records are copied into a new
                             segment, ours is sealed without them, and the new one is committed
"""

from __future__ import annotations

import logging
import os
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

import xxhash

from splitdata._shown import one_line
from splitdata.dataset.manifests.declared_codec import RECORD_CODEC, check_codec, default_alignment, stated_codec
from splitdata.dataset.manifests.stated_schema import chosen_schema, encoder_for
from splitdata.dataset.segments.dictionary import train
from splitdata.dataset.segments.frame_copy import copy_records
from splitdata.dataset.segments.group_buffer import MOST_CHOSEN_BYTES, group_for
from splitdata.dataset.segments.segment_writer import SegmentWriter
from splitdata.dataset.segments.unfinished import ResumedSegment, find_open_segment, remove_uncommitted
from splitdata.dataset.writing.claimed_folder import MAX_TRIES, ClaimedFolder
from splitdata.dataset.writing.commit import Committer, MovedError
from splitdata.dataset.writing.destination import bins_for
from splitdata.dataset.writing.fold import fold_small_segments
from splitdata.errors import DatasetNotFoundError, SplitDataError
from splitdata.format import spec
from splitdata.format.compression import Compressor
from splitdata.format.manifest import encode_metadata

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.segments.large_record import LargeSource
    from splitdata.dataset.writing.session_options import SessionOptions

__all__ = ["WriteSession"]

_logger = logging.getLogger(__name__)

# Records that are framed together: what is copied on its way to a file is to lie in the processor's cache.
_APPENDED_BYTES: Final = 8 << 20
# Ids that are derived one after the other until one is free.
_MOST_DERIVED: Final = 100
# Segments of one session that end because a commit came in the middle of a group.
_MOST_SEALED: Final = 256


class WriteSession:
    """The segments of one session and their way into the manifest.

    Attributes:
        schema: What the dataset declares of its samples, None if nothing.
        encoder: Makes records of samples, which name a schema of the segment.
        num_records: Records appended in this session.
        num_committed: Those of them that are in the manifest.
    """

    def __init__(self, directory: DatasetDirectory, options: SessionOptions) -> None:
        """Open or make the directory; raises as `SplitWriter` says."""
        self._options = options
        self._compressor = options.compressor
        # The records of this session in segments before the present one, and that: changed in one step.
        self._present: tuple[int, SegmentWriter | None] = (0, None)
        self._num_segments = 0
        self._group = self._asked_group
        # Of the segment before, for those that follow it in this session.
        self._num_bins: int | None = None
        self._dictionary = b""
        self._claimed = ClaimedFolder(directory, options.mode, durable=options.is_durable)
        try:
            self._begin_session()
        except BaseException:
            self.close()
            raise

    def _begin_session(self) -> None:
        options, found = self._options, self._claimed.found
        self._metadata = options.metadata
        self._found_codec: str | None = None
        self.schema = options.schema
        if found:
            check_codec(found, self.codec)
            self._found_codec = stated_codec(found.metadata)
            self.schema = chosen_schema(found, options.schema)
        resumed = self._find_open() if options.mode == "resume" else None
        begins = options.mode == "create" or (options.mode == "resume" and not self._generations())
        if found and self._metadata:
            # Found out now rather than at the commit, when all is written: together they may be too large.
            encode_metadata(found.metadata | self._metadata)
        self._committer = Committer(
            self._directory,
            dataset_id=self._new_id("dataset"),
            replaces=options.mode == "overwrite",
            creates=begins,
            durable=options.is_durable,
            has_stamp=options.identity is None,
            resumes=resumed.manifest if resumed else None,
            keep_seconds=options.keep_seconds,
            schema=self.schema,
        )
        self.encoder = encoder_for(found, self.schema, resumed.info.schemas if resumed else None)
        if resumed:
            self._begin(self._new_segment(resumed.info.num_bins, resumed))

    @property
    def _takes_over_ids(self) -> bool:
        """Whether a derived id is taken again that only a dead writer has used."""
        return self._options.mode == "resume"

    @property
    def _directory(self) -> DatasetDirectory:
        return self._claimed.directory

    @property
    def _segment(self) -> SegmentWriter | None:
        return self._present[1]

    @property
    def _num_before(self) -> int:
        return self._present[0]

    def _begin(self, segment: SegmentWriter) -> SegmentWriter:
        self._present = (self._num_before, segment)
        return segment

    @property
    def num_records(self) -> int:
        """Records appended in this session."""
        before, segment = self._present
        return before + (segment.num_records if segment else 0)

    @property
    def num_committed(self) -> int:
        """Records of this session that are in the manifest."""
        return self._num_before + (self._segment.committed.num_records if self._segment else 0)

    @property
    def num_bins(self) -> int | None:
        """Bins of the segment, None while that is open."""
        return self._segment.num_bins if self._segment else self._num_bins or self._options.bins

    @property
    def codec(self) -> str | None:
        """Name of the codec of the records, None where they have none."""
        return stated_codec(self._metadata) or self._found_codec

    @property
    def _asked_group(self) -> int | None:
        """How many records a frame is to have; None where that is open."""
        options = self._options
        # In a group they would not lie where they were asked to.
        return 1 if options.group is None and (options.alignment or 0) > spec.FRAME_UNIT else options.group

    @property
    def _alignment(self) -> int:
        return self._options.alignment or default_alignment(self.codec)

    def take_codec(self, codec: str, *, has_records: bool) -> None:
        """Give the records a codec that the session was not given, before the first of them.

        Raises:
            ValueError: If there are records of no codec already, in the session or the dataset.
        """
        if has_records or self._segment:
            raise ValueError(f"records were written that are of no codec; open the writer with codec={codec!r}")
        if self._options.mode in ("append", "resume") and (found := self._directory.newest_or_none()):
            check_codec(found, codec)
        metadata = self._metadata | {RECORD_CODEC: codec}
        encode_metadata(metadata)
        self._metadata = metadata

    @property
    def metadata(self) -> dict[str, Any]:
        """The dataset's metadata as of this session's last commit, or before it as they were found."""
        manifest = self._committer.manifest
        if manifest is None and self._options.mode in ("append", "resume"):
            manifest = self._claimed.readable().newest_or_none()
        return dict(manifest.metadata) if manifest else {}

    def append(self, records: list[bytes], keys: list[bytes] | None = None) -> None:
        """Append ordinary records, with the key of each, empty for none, if any has one."""
        if records:
            if self._group is None:
                self._group = group_for(records, is_compressed=self._compressor is not None)
            most_bytes = MOST_CHOSEN_BYTES if self._asked_group is None else spec.LARGE_RECORD_BYTES
            if not self._segment_for(records).takes(records, keys, most_bytes):
                self._end_groups()
            segment = self._segment_for(records)
            step = max(1, len(records) * _APPENDED_BYTES // (1 + sum(map(len, records))))
            for start in range(0, len(records), step):
                some = None if keys is None else keys[start : start + step]
                segment.append(records[start : start + step], self._compressor, some)

    def append_large(self, source: LargeSource, key: bytes) -> None:
        """Append one record of 16 MiB or more."""
        self._end_groups()
        self._open_segment(source.length).append_large(source, self._compressor, key)

    def _end_groups(self) -> None:
        """Go on without groups, as a record has come that is too long for one; what is not committed goes along."""
        was_grouped, self._group = (self._group or 1) > 1, 1
        if was_grouped and self._segment:
            self._move()

    def commit(self, *, seal: bool, metadata: dict[str, Any] | None = None) -> range:
        """Put all that was appended into the manifest; returns its positions.

        Args:
            seal: Nothing follows in this session.
            metadata: Replace those of the dataset, key by key, with this commit.
        """
        if self._segment is None and metadata and not seal and self._options.mode == "resume" and self._options.bins:
            # Listed while it is empty, the segment is what the next session, or a second one now, finds and locks.
            self._begin(self._new_segment(self._options.bins))
        while True:
            segment = self._segment
            if segment is None:
                return self._commit_nothing(metadata, seal=seal)
            if segment.num_records == segment.committed.num_records and not metadata and not seal:
                start = segment.committed.num_records
                return range(start, start)
            if seal or segment.must_be_sealed:
                segment.seal()
            count = segment.pending.num_records
            self._claimed.check_in_place()
            try:
                first = self._committer.commit(segment, metadata, adds=self._metadata)
            except MovedError:
                self._move()
                continue
            start = first + segment.committed.num_records
            segment.mark_committed()
            if segment.is_sealed and not seal:
                self._present = (self._num_before + segment.num_records, None)
                segment.close()
                # Who commits little at a time would come to the most segments that a dataset may have.
                self._group = self._asked_group if self._num_segments < _MOST_SEALED else 1
            return range(start, start + count)

    def _commit_nothing(self, metadata: dict[str, Any] | None, *, seal: bool) -> range:
        """Commit without a record: what it makes, if anything, is the dataset, or its metadata."""
        if not metadata and not self._has_news(seal=seal):
            return range(0)
        tries = MAX_TRIES if self._claimed.found is None else 1
        while True:
            tries -= 1
            try:
                self._claimed.check_in_place()
                first = self._committer.commit(None, metadata, adds=self._metadata)
            except FileNotFoundError:
                if not tries:
                    raise
                self._make_folders()
            else:
                return range(first, first)

    def fold(self) -> None:
        """Fold small segments, of this session and others; what fails here has changed nothing."""
        # Its lock is let go: nothing more is written to it.
        self._close_segment()
        try:
            fold_small_segments(
                self._directory,
                lambda: self._new_id(f"segment {self._next_segment()}"),
                durable=self._options.is_durable,
                keep_seconds=self._options.keep_seconds,
            )
        except (OSError, SplitDataError) as error:
            _logger.warning("%s: small segments are not folded: %s", one_line(self._directory.folder), one_line(error))

    def undo(self) -> None:
        """Drop what was not committed; where nothing was, also what this session has made."""
        if self._segment:
            self._undo_segment(self._segment)
        if self._committer.manifest is None and not self._generations():
            self._claimed.remove_made()

    def _undo_segment(self, segment: SegmentWriter) -> None:
        """Remove a segment that no manifest lists, or cut what none lists of it; in doubt leave it as it is."""
        manifest = self._committer.manifest
        if manifest is None or manifest.find(segment.id) is None:
            segment.close()
            if self._directory.remove_segment(segment.id):
                self._present = (self._num_before, None)
            return
        try:
            listed = self._directory.listing(segment.id)
        except (OSError, SplitDataError):
            return
        # If it lists more, the last commit was made and could not be seen; if none, others have replaced the dataset.
        if listed and not listed.is_sealed and listed.num_records == segment.committed.num_records:
            segment.drop_pending()

    def close(self) -> None:
        """Release all files."""
        self._close_segment()
        self._claimed.close()

    def _close_segment(self) -> None:
        if self._segment:
            self._segment.close()

    def _has_news(self, *, seal: bool) -> bool:
        """Say whether a commit without records changes the dataset: it is new, or its metadata are."""
        if self._num_segments or self._committer.manifest is not None:
            return False
        if self._options.mode not in ("append", "resume") or not self._generations():
            return True
        return seal and self.metadata | self._metadata != self.metadata

    def _segment_for(self, records: list[bytes]) -> SegmentWriter:
        """Return the segment, made if these are its first records."""
        if self._segment is not None:
            return self._segment
        # Headers count, as they do for the writer: its first full chunk must reach what 64 bins need.
        return self._open_segment(sum(map(len, records)) + len(records) * spec.FRAME_HEADER_BYTES, records)

    def _open_segment(self, first_bytes: int | None, records: list[bytes] | None = None) -> SegmentWriter:
        """Return the segment, made if this is its first record; by then so much data is known of."""
        if self._segment is None:
            if not self._num_before and self._options.has_dictionary and self._compressor and records:
                self._dictionary = train(records, self._compressor.level)
            self._num_bins = self._num_bins or self._options.bins or bins_for(first_bytes)
            return self._begin(
                self._new_segment(self._num_bins, first_number=self._num_before, dictionary=self._dictionary)
            )
        return self._segment

    def _find_open(self) -> ResumedSegment | None:
        """Return the segment that a dead writer has left open; clear away what one has left that committed nothing."""
        if not self._generations() and remove_uncommitted(self._directory):
            return None
        return find_open_segment(
            self._directory, bins=self._options.bins, alignment=self._alignment, group=self._options.group
        )

    def _generations(self) -> list[int]:
        """Return the numbers of all manifests; none where the folder has just been taken away."""
        try:
            return self._directory.generations()
        except DatasetNotFoundError:
            return []

    def _make_folders(self) -> None:
        self._claimed.make_again()
        self._committer.directory = self._directory

    def _new_segment(
        self,
        num_bins: int,
        resumed: ResumedSegment | None = None,
        *,
        first_number: int = 0,
        dictionary: bytes = b"",
    ) -> SegmentWriter:
        # What it would leave, were it killed now, nobody could tell from what belongs to the dataset that is here now.
        self._committer.check_not_replaced()
        number = self._next_segment()
        tries = MAX_TRIES
        while True:
            tries -= 1
            try:
                return self._try_new_segment(
                    number, num_bins, resumed, first_number=first_number, dictionary=dictionary
                )
            except (BlockingIOError, FileExistsError, FileNotFoundError):
                # Another writer that derives its ids from the same options was faster; or one that clears away took
                # the folder for what a dead writer has left; or the folders went with a writer that gave up.
                if resumed or not tries:
                    raise
                self._make_folders()

    def _try_new_segment(
        self,
        number: int,
        num_bins: int,
        resumed: ResumedSegment | None,
        *,
        first_number: int,
        dictionary: bytes,
    ) -> SegmentWriter:
        segment = SegmentWriter(
            self._directory,
            resumed.info.id if resumed else self._new_id(f"segment {number}"),
            num_bins=num_bins,
            alignment=self._alignment,
            metadata=encode_metadata(self._metadata) if self._metadata else b"",
            resumed=resumed,
            first_number=first_number,
            dictionary=dictionary,
            group=self._group or 1,
            schemas=self.encoder.schemas if self.codec == "sample" else (),
            is_declared=self.schema is not None,
        )
        self._group = segment.group
        if self._compressor and segment.dictionary:
            self._compressor = Compressor(
                self._compressor.level, segment.dictionary, num_threads=self._compressor.num_threads
            )
        return segment

    def _next_segment(self) -> int:
        """Return the number of the next segment of this session, from 0."""
        self._num_segments += 1
        return self._num_segments - 1

    def _move(self) -> None:
        """Begin a new segment with what is pending in the present one, and seal that one."""
        old = self._segment
        if old is None:  # pragma: no cover - a commit without a segment moves nothing
            return
        num_before = self._num_before + old.committed.num_records
        old.finish_groups()
        new = self._new_segment(old.num_bins, first_number=num_before, dictionary=old.dictionary)
        try:
            with closing(old.stored(self._num_before)) as stored:
                copy_records(stored, range(old.committed.num_records, old.num_records), new)
            if old.committed.num_records:
                old.drop_pending()
                old.unseal()
                old.seal()
                self._committer.commit(old, adds=self._metadata)
                old.mark_committed()
            self._present = (num_before, new)
        finally:
            if self._segment is new:
                old.close()
                if not old.committed.num_records:
                    with suppress(OSError, SplitDataError):
                        self._directory.remove_segment(old.id)
            else:
                new.close()
                with suppress(OSError, SplitDataError):
                    self._directory.remove_segment(new.id)

    def _new_id(self, what: str) -> str:
        """Return 32 hex digits: random, or derived from the session's identity and its place in the dataset."""
        if self._options.identity is None:
            return os.urandom(16).hex()
        # The newest generation keeps equal sessions apart, of which one adds to the other or replaces it.
        generation = max(self._generations(), default=0)
        derived = f"{generation} {what} {self._options.identity}"
        # A writer that was killed before its first commit has left its folder.
        taken = set(self._directory.segment_ids())
        tries = 0
        while (identifier := xxhash.xxh3_128_hexdigest(derived.encode())) in taken:
            if self._takes_over_ids and self._was_never_listed(identifier):
                break
            tries += 1
            # Somebody who foretold them has taken these: then they cannot be what they were to be.
            if tries > _MOST_DERIVED:
                return os.urandom(16).hex()
            derived += " again"
        return identifier

    def _was_never_listed(self, segment_id: str) -> bool:
        """Remove a segment that no manifest lists and no writer is at work in; True if it is gone."""
        newest = self._directory.newest_or_none()
        return (newest is None or newest.find(segment_id) is None) and self._directory.remove_segment(segment_id)
