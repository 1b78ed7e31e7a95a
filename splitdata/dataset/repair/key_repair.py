"""Making the keys of a segment again, from its frames and from what is left of the old table.

    frames ── key of each, with its hash ───────────────────────┐
    where that is damaged ── proven blocks of the old table ────┴─> as the table says? ── no ──> KeyBuilder,
                                                                in scratch files ──> renamed over it

So a key is not forgotten because its bin is missing or its record is damaged: a search for it tells of
the damage. Sealed segments have them in `keys`, open ones in `keys.open`, where a resumed session goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.keys.key_builder import KeyBuilder
from splitdata.dataset.keys.key_sum import KeySum
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.group_reader import GroupReader
from splitdata.dataset.segments.key_check import check_keys
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.keys import key_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from splitdata.dataset.keys.sorted_keys import Pairs
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.folder import Folder

__all__ = ["KeysOnDisk"]

_CHUNK_RECORDS: Final = 1 << 14


class KeysOnDisk:
    """The knowledge about the keys of one segment, in which nobody else writes.

    Attributes:
        num_keys: Keys that are known.
        are_damaged: Of each record, whether its frame does not tell its key.
        num_unknown: Keys that the manifest counts and neither a frame nor the old table tells any more.
    """

    def __init__(self, folder: Folder, segment: SegmentFiles, found: SegmentFiles) -> None:
        """Look at all frames and at the table; changes nothing.

        Args:
            folder: Of the segment.
            segment: As the manifest is going to list it, with the keys that it had.
            found: The same segment with entries that lead to its frames, as a search has found them.
        """
        self._folder = folder
        self._segment = segment
        # A key of a group is in its payload; any other is read without the record.
        self._records: GroupReader | RecordReader
        if found.info.is_grouped:
            self._records = GroupReader(found, ColdReads(), verify=True, max_record_bytes=spec.LARGE_RECORD_BYTES)
        else:
            self._records = RecordReader(found, verify=True, max_record_bytes=0)
        self._is_unread = np.zeros(segment.info.num_records, np.bool_)
        self.are_damaged = self._is_unread.copy()
        sums = KeySum()
        for pairs in self._all():
            sums.add(*pairs)
        self._sums = sums
        self.num_keys = sums.num_keys
        self.num_unknown = max(0, segment.info.num_keys - sums.num_keys)

    def are_intact(self) -> bool:
        """Say whether the table lists exactly what is known, as `verify` looks at it, and is where it must be."""
        if check_keys(self._segment, self._sums):
            return False
        # Readers take the keys of an open segment from `keys` too; a session that goes on with it does not.
        is_open = self._segment.info.num_keys and not self._segment.info.is_sealed
        return not is_open or self._segment.keys().path == self._segment.paths.open_keys

    def rebuild(self) -> SegmentInfo:
        """Write the file of keys anew; readers may have the old one open.

        Returns:
            The manifest's entry with the keys that are known.

        Raises:
            OSError: If the disk fails; the old file is as it was.
        """
        info, folder = self._segment.info, self._folder
        for name in (spec.KEYS_SCRATCH_NAME, spec.OPEN_KEYS_SCRATCH_NAME):
            folder.remove(name)
        builder = KeyBuilder(folder, spec.OPEN_KEYS_SCRATCH_NAME, spec.KEYS_SCRATCH_NAME, info.id, None)
        try:
            for pairs in self._all():
                builder.add(*pairs)
            if info.is_sealed:
                builder.seal()
            builder.sync(durable=True)
        except BaseException:
            folder.remove(spec.KEYS_SCRATCH_NAME)
            folder.remove(spec.OPEN_KEYS_SCRATCH_NAME)
            raise
        finally:
            builder.close()
        if builder.num_keys:
            made, place = spec.KEYS_SCRATCH_NAME, spec.KEYS_NAME
            if not info.is_sealed:
                made, place = spec.OPEN_KEYS_SCRATCH_NAME, spec.OPEN_KEYS_NAME
            folder.rename_over(made, place)
        folder.remove(spec.OPEN_KEYS_SCRATCH_NAME)
        folder.remove(spec.OPEN_KEYS_NAME if info.is_sealed else spec.KEYS_NAME)
        folder.sync()
        return replace(info, num_keys=builder.num_keys, keys_bytes=builder.keys_bytes)

    def _all(self) -> Iterator[Pairs]:
        yield from self._of_frames(range(self._segment.info.num_records))
        if self._is_unread.any():
            yield from self._of_table()

    def _of_frames(self, sequences: Sequence[int]) -> Iterator[Pairs]:
        """Yield hashes and sequence numbers of keys, some thousand records at a time; notes what cannot be read."""
        for start in range(0, len(sequences), _CHUNK_RECORDS):
            found = []
            for sequence in sequences[start : start + _CHUNK_RECORDS]:
                try:
                    key = self._records.key(sequence)
                except (FormatError, OSError):
                    self._is_unread[sequence] = self.are_damaged[sequence] = True
                    continue
                if key:
                    found.append((key_hash(key), sequence))
            if found:
                yield np.array([pair[0] for pair in found], np.uint64), np.array([pair[1] for pair in found], np.uint32)

    def _of_table(self) -> Iterator[Pairs]:
        """Yield what the proven blocks of the old table say of records that cannot be read."""
        if not self._segment.info.num_keys:
            return
        try:
            readers = self._segment.keys().readers()
        except (FormatError, OSError):
            return
        for reader in readers:
            for block in range(reader.run.num_blocks):
                try:
                    hashes, sequences = reader.blocks(block, block + 1)
                except (FormatError, OSError):
                    continue
                listed = sequences < len(self._is_unread)
                hashes, sequences = hashes[listed], sequences[listed]
                wanted = self._is_unread[sequences]
                if wanted.any():
                    self._is_unread[sequences[wanted]] = False
                    yield hashes[wanted], sequences[wanted]
