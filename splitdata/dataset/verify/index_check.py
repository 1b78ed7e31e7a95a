"""Verifying an index: header against manifest, tables against their checksums, entries against the sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.dataset.segments.finding import Finding, FindingList
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.index import IndexHeader, IndexTables, entries_per_sum, entry_offset, tables_size

if TYPE_CHECKING:
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.storage.file_source import Source

__all__ = ["check_index"]


def check_index(files: SegmentFiles) -> IndexCheck:
    """Look at an index as a whole."""
    check = IndexCheck(files)
    check.run()
    return check


class IndexCheck:
    """What was found in an index.

    Attributes:
        findings: What is wrong.
        bin_lengths: Of the bins at sealing, if their table is intact.
        alignment: Of payloads, as the header says it; None where that is not intact.
    """

    def __init__(self, files: SegmentFiles) -> None:
        self.findings = FindingList()
        self.bin_lengths: dict[int, int] = {}
        self.alignment: int | None = None
        self._files = files
        self._info = files.info

    def run(self) -> None:
        """Look at header, entries and tables."""
        try:
            index = self._files.index()
        except (FormatError, OSError) as error:
            self._add(str(error), self._info.num_records)
            return
        header = self._header(index)
        missing = self._info.num_frames - self._files.num_entries_in(index)
        missing = min(self._info.num_records, missing * self._info.group)
        if missing:
            self._add(f"the entries of {missing} records are cut off", missing)
        elif self._info.is_sealed:
            self._tables(index, header.dictionary_bytes if header else 0)

    def _header(self, index: Source) -> IndexHeader | None:
        try:
            header = IndexHeader.unpack(index.read(0, spec.INDEX_HEADER_BYTES))
        except FormatError as error:
            self._add(str(error), 0)
            return None
        self.alignment = header.alignment
        wrong = [
            f"{name} {getattr(header, name)!r} where the manifest says {expected!r}"
            for name, expected in self._expected(header).items()
            if getattr(header, name) != expected
        ]
        if wrong:
            self._add(f"the header of the index says {', '.join(wrong)}", 0)
        return header

    def _expected(self, header: IndexHeader) -> dict[str, object]:
        """Return what the header must say, as the manifest has it."""
        info = self._info
        expected: dict[str, object] = {
            "segment_id": info.id,
            "num_bins": info.num_bins,
            "group": info.group,
            "features": info.features,
            "hash_kind": spec.HASH_XXH3,
            "key_id": spec.NO_KEY_ID,
            "first_position": self._files.first_position,
        }
        # A writer that was killed between two steps of a commit leaves a header that is ahead, or says "sealed".
        if info.is_sealed:
            expected["is_sealed"] = True
        if info.is_sealed or header.num_records <= info.num_records:
            names = "num_records", "digest", "raw_bytes", "stored_bytes"
            expected |= {name: getattr(info, name) for name in names}
        return expected

    def _tables(self, index: Source, dictionary_bytes: int) -> None:
        info = self._info
        if dictionary_bytes > spec.MAX_DICTIONARY_BYTES:
            self._add(f"the header of the index says that the dictionary has {dictionary_bytes} bytes, too many", 0)
            return
        try:
            self._files.refuse_missing()
        except FormatError:
            # Which is reported as such; the table has 8 bytes for each that is claimed.
            return
        end = entry_offset(info.num_frames, info.group)
        size = tables_size(info.num_frames, info.num_bins, dictionary_bytes, info.group)
        if index.size != end + size:
            self._add(f"the index has {index.size} bytes instead of {end + size}", 0)
        try:
            tables = IndexTables.unpack(
                index.read(end, size),
                num_frames=info.num_frames,
                num_bins=info.num_bins,
                dictionary_bytes=dictionary_bytes,
                group=info.group,
            )
        except FormatError as error:
            self._add(str(error), 0)
            return
        self.bin_lengths = dict(enumerate(tables.bin_lengths))
        num_together = entries_per_sum(info.group)
        block = num_together * info.entry_bytes
        there = 0, 0
        for number, expected in enumerate(tables.block_sums):
            start = spec.INDEX_HEADER_BYTES + number * block
            # Where a file lies in memory, the end of its data is found by looking at all of them.
            if start >= there[1]:
                there = index.data_from(start)
            if there[0] >= start + block:
                # A hole, perhaps of terabytes, is reported as one.
                continue
            if hash64(index.read(start, min(block, end - start))) != expected:
                # Which entry it is shows where its record is looked up.
                record = info.records_of(number * num_together).start
                self._add(f"entries from record {record} on do not match their checksum", 0)

    def _add(self, problem: str, num_records: int) -> None:
        position = self._files.first_position if num_records else None
        self.findings.add(
            Finding(path=self._files.paths.index, problem=problem, position=position, num_records=num_records)
        )
