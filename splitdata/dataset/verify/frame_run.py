"""Proves frames of one bin that stand end to end, many together; what is wrong with one is for others to say.

    FrameRun ─┬─ compiled path    the first of them, up to one that is unusual or wrong    a piece of the file at a time
              └─ numpy            all of them or none: compressed ones and samples too     the whole run at once
                   headers and padding ─> payloads ─> records with their keys, or groups of them

What the compiled path has proven numpy would have proven too, and it says the same of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata._compiled import speedups
from splitdata.dataset.keys.key_sum import KeySum
from splitdata.dataset.verify.many_groups import look_into_groups
from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec
from splitdata.format.checksum import frame_checks, hash64, sync_word
from splitdata.format.digest import EMPTY_DIGEST, digest_factor, digest_of_groups, digest_of_hashes
from splitdata.format.frame_layout import LAYOUT, aligned_starts
from splitdata.format.frames import are_ordinary, key_extents, nonzero_gaps
from splitdata.format.index import unpack_loc, unpack_locs
from splitdata.format.keys import key_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.dataset.segments.deleted_records import DeletedRecords
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.storage.file_source import Source

__all__ = ["FrameProver", "FrameRun", "ProvenFrames", "are_text"]

# What is held of a bin at a time: for numpy, and for the compiled path, which likes it in the processor's cache.
_PART_BYTES: Final = 16 << 20
_PIECE_BYTES: Final = 1 << 19
# Of groups that are looked at together: what they may take decompressed, and records of one.
_RAW_BYTES: Final = 64 << 20
_MOST_TOGETHER: Final = 1 << 12
_LONG_BYTES: Final = 2048
_MAX_ALIGNMENT: Final = max(spec.ALIGNMENTS)
_LONGEST_KEY: Final = spec.MAX_KEY_BYTES + spec.KEY_HASH_BYTES
_U64: Final = np.uint64


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRun:
    """Frames of a bin of which each is to begin where the one before leads.

    Attributes:
        end: Where the frame before the first one ends.
        alignment: Of payloads, None where that is not known.
        frames: Their numbers, int64.
        entries: Theirs from the index, in one piece.
        lengths: Of groups, those of their records from the index, int64[frames, records of one], in one piece.
    """

    end: int
    alignment: int | None
    frames: NDArray[np.int64]
    entries: NDArray[np.void]
    lengths: NDArray[np.int64] | None

    def behind(self, proven: ProvenFrames) -> FrameRun:
        """Return those that follow on the first ones."""
        count = proven.count
        lengths = None if self.lengths is None else self.lengths[count:]
        return replace(self, end=proven.end, frames=self.frames[count:], entries=self.entries[count:], lengths=lengths)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenFrames:
    """The first frames of a run, all of them right.

    Attributes:
        count: How many.
        end: Where the last of them ends.
        digest: Of their records, as a share of the segment's (digest.py).
        keys: Of their records.
        num_erased: Records that were deleted, and are empty in their group.
        sequences, records: Which records they hold, where samples are looked at.
    """

    count: int
    end: int
    digest: int
    keys: KeySum
    num_erased: int = 0
    sequences: list[int]
    records: list[Any]


@dataclass(frozen=True, slots=True)
class _Payloads:
    """The frames of a run whose headers are right and whose payloads are proven.

    Attributes:
        end: Of the last frame.
        raw: The payloads, decompressed: bytes, or long ones as views.
        hashes: Of these, uint64.
        keyed: Which of them have a key.
        keys: What stands behind the payloads of those: key and hash.
    """

    end: int
    raw: list[Any]
    hashes: NDArray[np.uint64]
    keyed: NDArray[np.int64]
    keys: list[bytes]


class FrameProver:
    """Proves the frames of one bin; safe to share between threads."""

    def __init__(self, files: SegmentFiles, bin_index: int, deleted: DeletedRecords, *, keeps_records: bool) -> None:
        """Take the files of the segment.

        Args:
            files: Of the segment.
            bin_index: Of the bin.
            deleted: Which records may be empty in their group.
            keeps_records: Whether the records are asked for.
        """
        self._files = files
        self._bin_index = bin_index
        self._deleted = deleted
        self._keeps_records = keeps_records
        self._salt = files.salt(bin_index)
        info = files.info
        self._is_grouped, self._group = info.is_grouped, info.group
        self._stride = info.num_bins * info.group
        self._longest_key = _LONGEST_KEY if info.num_keys and not info.is_grouped else 0
        compiled = speedups()
        # Who asks for records gets them from Python, and it alone looks for those that were erased in groups.
        is_for_all = files.layout == LAYOUT and not keeps_records and not (info.is_grouped and len(deleted))
        self._prove = compiled.prove if compiled is not None and is_for_all else None
        self._factors = digest_factor(1), digest_factor(self._stride)

    def first(self, source: Source, run: FrameRun) -> ProvenFrames | None:
        """Prove frames of a run by the compiled path up to one that is unusual, wrong or cut off; None if all are."""
        if self._prove is None or run.alignment is None or (self._is_grouped and run.lengths is None):
            return None
        done, end, digest, keys = 0, run.end, EMPTY_DIGEST, KeySum()
        lengths = run.frames[:0] if run.lengths is None else run.lengths
        while length := self._piece_bytes(run, done, end):
            about = end, end, self._bin_index, self._salt, run.alignment, self._group, *self._factors, digest
            rest = run.frames[done:], run.entries[done:], lengths[done:]
            count, end, digest, num_keys, total = self._prove(source.read(end, length), *rest, about)
            if not count:
                break
            done += count
            keys.join(num_keys, total)
        return ProvenFrames(count=done, end=end, digest=digest, keys=keys, sequences=[], records=[]) if done else None

    def _piece_bytes(self, run: FrameRun, number: int, end: int) -> int:
        """Return how much is read from byte `end` on for a frame and some that follow; 0 where it is unusual."""
        if number == len(run.entries):
            return 0
        stored: int
        _, stored, raw = run.entries[number].item()
        if stored != raw or stored >= spec.LARGE_RECORD_BYTES:
            return 0
        around = spec.FRAME_HEADER_BYTES + self._longest_key + _MAX_ALIGNMENT
        last_stored: int
        place, last_stored, _ = run.entries[-1].item()
        return max(stored + around, min(_PIECE_BYTES, unpack_loc(place)[1] + last_stored + around - end))

    def all(self, source: Source, run: FrameRun) -> ProvenFrames | None:
        """Prove all frames of a run with numpy; None if one is of a kind that is looked at by itself, or wrong."""
        if self._files.layout != LAYOUT:
            return None
        if not self._is_grouped:
            payloads = self._payloads(source, run)
            return None if payloads is None else self._of_records(run, payloads)
        if (
            run.lengths is None
            or self._group > _MOST_TOGETHER
            or int(run.entries["raw"].sum(dtype=np.int64)) > _RAW_BYTES
        ):
            return None
        payloads = self._payloads(source, run)
        return None if payloads is None or payloads.keys else self._of_groups(run, run.lengths, payloads)

    def _payloads(self, source: Source, run: FrameRun) -> _Payloads | None:
        """Look at headers and what lies between frames, and prove the payloads; None if anything is not as usual."""
        entries = run.entries
        bins, offsets = unpack_locs(entries["loc"])
        # Words are read at multiples of 8, and the last frame may end at none.
        base = run.end // 8 * 8
        data = self._read_part(source, base, offsets, entries) if (bins == self._bin_index).all() else None
        if data is None:
            return None
        words = np.frombuffer(data + bytes(-len(data) % 8), "<u8")
        place = (offsets - base) // 8
        header = [words[place + number] for number in range(4)]
        if not self._are_right(header, offsets, run):
            return None
        key_lengths = (header[2] >> _U64(spec.KEY_SHIFT)).astype(np.int64)
        starts_of_keys = offsets + spec.FRAME_HEADER_BYTES + entries["stored"]
        stops = starts_of_keys + key_extents(key_lengths)
        ends = np.concatenate([[run.end], stops[:-1]])
        if not _follow(ends, offsets, run.alignment) or int(stops[-1]) > base + len(data):
            return None
        if nonzero_gaps(data, ends - base, offsets - ends).any():
            return None
        codecs = header[2] >> _U64(spec.CODEC_SHIFT) & _U64(0xFF)
        proven = self._raw_payloads(data, offsets - base, header[1], entries, codecs)
        if proven is None:
            return None
        keyed = np.flatnonzero(key_lengths)
        places = zip((starts_of_keys[keyed] - base).tolist(), (stops[keyed] - base).tolist(), strict=True)
        return _Payloads(int(stops[-1]), *proven, keyed, [data[start:stop] for start, stop in places])

    def _are_right(self, header: list[NDArray[np.uint64]], offsets: NDArray[np.int64], run: FrameRun) -> bool:
        """Say whether headers are those of ordinary frames, and of these."""
        kind = spec.KIND_GROUP if self._is_grouped else spec.KIND_RECORD
        salts = np.full(len(offsets), self._salt, _U64)
        checks = frame_checks(salts, offsets.astype(_U64), tuple(header[1:]))
        lengths = run.entries["stored"] | run.entries["raw"].astype(_U64) << _U64(32)
        are = (header[0] == _U64(sync_word(self._salt)) | checks << _U64(32)) & (header[3] == lengths)
        are &= are_ordinary(header[2], header[3], kind) & (header[2] & _U64(0xFFFFFFFF) == run.frames.astype(_U64))
        return bool(are.all())

    def _read_part(
        self, source: Source, base: int, offsets: NDArray[np.int64], entries: NDArray[np.void]
    ) -> bytes | None:
        """Return the bytes that hold consecutive frames, None where they are not together, or cut off."""
        stop = int(offsets[-1]) + spec.FRAME_HEADER_BYTES + int(entries["stored"][-1])
        # The last key, whose length only its frame tells; what follows is read in vain.
        longest = _LONGEST_KEY if self._files.info.num_keys else 0
        is_inside = (base <= offsets) & (offsets + spec.FRAME_HEADER_BYTES <= stop)
        if not is_inside.all() or stop > base + _PART_BYTES:
            return None
        data = source.read(base, stop - base + longest)
        return data if len(data) >= stop - base else None

    def _raw_payloads(
        self,
        data: bytes,
        offsets: NDArray[np.int64],
        expected: NDArray[np.uint64],
        entries: NDArray[np.void],
        codecs: NDArray[np.uint64],
    ) -> tuple[list[Any], NDArray[np.uint64]] | None:  # bytes, or long ones as views
        """Return the raw payloads and their hashes, None if a payload is not what its hash says.

        Args:
            data: The bytes in which they are.
            offsets: Where the frames begin in these.
            expected: What they say of their payloads.
            entries: Of the index.
            codecs: How each is stored.
        """
        starts = offsets + spec.FRAME_HEADER_BYTES
        places = zip(starts.tolist(), (starts + entries["stored"]).tolist(), strict=True)
        # Long ones are hashed where they lie; short ones are copied sooner than a view of them is made.
        is_long = not self._keeps_records and len(data) > _LONG_BYTES * len(starts)
        whole = memoryview(data) if is_long else data
        payloads: list[Any] = [whole[start:stop] for start, stop in places]
        hashes = np.fromiter(map(hash64, payloads), _U64, len(payloads))
        if (hashes != expected).any():
            return None
        for number in np.flatnonzero(codecs != spec.CODEC_NONE).tolist():
            try:
                decompressor = self._files.decompressor_of(int(codecs[number]))
                raw = decompressor.decompress(payloads[number], int(entries["raw"][number]), spec.LARGE_RECORD_BYTES)
            except (FormatError, RecordTooLargeError):
                return None
            hashes[number] = hash64(raw)
            payloads[number] = raw
        return payloads, hashes

    def _of_records(self, run: FrameRun, payloads: _Payloads) -> ProvenFrames | None:
        keys = [key[: -spec.KEY_HASH_BYTES] for key in payloads.keys]
        key_hashes = np.fromiter(map(key_hash, keys), _U64, len(keys))
        stored_hashes = np.frombuffer(b"".join(key[-spec.KEY_HASH_BYTES :] for key in payloads.keys), "<u8")
        if (key_hashes != stored_hashes).any() or not are_text(keys):
            return None
        sums = KeySum()
        sums.add(key_hashes, run.frames[payloads.keyed].astype(_U64))
        return ProvenFrames(
            count=len(run.frames),
            end=payloads.end,
            digest=digest_of_hashes(payloads.hashes, self._stride),
            keys=sums,
            sequences=run.frames.tolist() if self._keeps_records else [],
            records=payloads.raw if self._keeps_records else [],
        )

    def _of_groups(self, run: FrameRun, lengths: NDArray[np.int64], payloads: _Payloads) -> ProvenFrames | None:
        """Look into whole groups that are proven."""
        group = self._group
        found = look_into_groups(payloads.raw, group, lengths)
        if found is None or not are_text(found.keys):
            return None
        sequences = (run.frames[:, None] * group + np.arange(group)).ravel()
        num_erased = 0
        if len(self._deleted):
            empty = sequences[[not one for one in found.items]]
            num_erased = int(np.count_nonzero(self._deleted.among(empty)))
        sums = KeySum()
        hashes = np.fromiter(map(key_hash, found.keys), _U64, len(found.keys))
        sums.add(hashes, sequences[found.key_places].astype(_U64))
        return ProvenFrames(
            count=len(run.frames),
            end=payloads.end,
            digest=digest_of_groups(found.hashes, self._stride),
            keys=sums,
            num_erased=num_erased,
            sequences=sequences.tolist() if self._keeps_records else [],
            records=found.items if self._keeps_records else [],
        )


def _follow(ends: NDArray[np.int64], offsets: NDArray[np.int64], alignment: int | None) -> bool:
    """Say whether ordinary frames begin where they must behind the end of the one before."""
    if alignment is not None:
        return bool((offsets == aligned_starts(ends, spec.FRAME_HEADER_BYTES, alignment)).all())
    gaps = offsets - ends
    return bool(((gaps >= 0) & (gaps < _MAX_ALIGNMENT)).all())


def are_text(keys: list[bytes]) -> bool:
    """Say whether all keys are UTF-8: a line end between them completes none."""
    try:
        b"\n".join(keys).decode()
    except UnicodeDecodeError:
        return False
    return True
