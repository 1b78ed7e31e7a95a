"""A chunk of records becomes frames: one numpy pass for all headers, one write a bin.

    records, or payloads of groups, r0 r1 r2 ... of sequence s, s+1, s+2, ...
         `─ column j of the chunk ─> bin (s + j) % N        records[j::N]
    footprints, summed down each column ─> offsets ─> headers, index entries
    with keys: what stands behind a payload is the key and its hash, and then the zeros

What is per record in Python is `len` and the hash, both under `map`; the compiled path does all of it for small
records that are not compressed: splitdata/_compiled.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata._compiled import speedups
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.digest import EMPTY_DIGEST, digest_factor, digest_of_hashes, join_digests
from splitdata.format.frame_layout import aligned_starts
from splitdata.format.frames import key_extents, pack_headers
from splitdata.format.index import ENTRY_DTYPE, entries_with_lengths, entry_bytes, make_entries, pack_locs
from splitdata.format.keys import key_hash
from splitdata.format.record_group import pack_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.format.compression import Compressor

__all__ = ["FramedChunk", "frame_chunk"]

_U64: Final = np.uint64
# From this mean length on, records go to the kernel as they are, many in one call.
_GATHERED_MEAN_BYTES: Final = 4096
_ZEROS: Final = tuple(bytes(length) for length in range(max(spec.ALIGNMENTS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FramedChunk:
    """The frames, entries and numbers that a chunk of records adds to a segment.

    Attributes:
        writes: For each touched bin: its number, the offset, the pieces to write there.
        ends: New end of each bin, that of its last frame without padding, int64[num_bins].
        entries: Of the index, in order, as they stand in the file: with the lengths of records in groups.
        digest: Of the records.
        key_hashes: Of the keys of the records that have one, in order; None where no record has one.
        stored_bytes, raw_bytes, max_raw_bytes: Sums and maximum over the records.
    """

    writes: list[tuple[int, int, list[bytes | memoryview]]]
    ends: NDArray[np.int64]
    entries: bytes
    digest: int
    key_hashes: NDArray[np.uint64] | None
    stored_bytes: int
    raw_bytes: int
    max_raw_bytes: int


def frame_chunk(
    records: list[bytes],
    *,
    first_sequence: int,
    salts: NDArray[np.uint64],
    ends: NDArray[np.int64],
    alignment: int,
    compressor: Compressor | None,
    keys: list[bytes] | None = None,
    group: int = 1,
    item_alignment: int = 1,
) -> FramedChunk:
    """Lay out a chunk of ordinary records (below 16 MiB each) behind the present ends of the bins.

    Args:
        records: The raw records, at least one.
        first_sequence: Number of the first frame.
        salts: Of each bin, uint64[num_bins].
        ends: Where the last frame of each bin ends, int64[num_bins].
        alignment: Of payloads, in bytes.
        compressor: Compresses each payload where that makes it smaller.
        keys: Of each record, empty where it has none; None where no record has one.
        group: How many records lie together in a frame; the last one may hold fewer.
        item_alignment: At multiples of which they begin in it.
    """
    place = _Place(first_sequence, salts, ends, alignment)
    if compressor is None and (keys is None or group == 1):
        framed = _compiled_chunk(records, keys, place, group, item_alignment)
        if framed is not None:
            return framed
    if group == 1:
        return _python_chunk(records, keys, place, compressor, spec.KIND_RECORD)
    starts = range(0, len(records), group)
    payloads = [
        pack_group(records[start : start + group], _some(keys, start, group), item_alignment) for start in starts
    ]
    chunk = _python_chunk(payloads, None, place, compressor, spec.KIND_GROUP)
    lengths = np.zeros(len(starts) * group, np.int64)
    lengths[: len(records)] = np.fromiter(map(len, records), np.int64, len(records))
    key_hashes = None if keys is None else np.fromiter(map(key_hash, filter(None, keys)), _U64)
    return replace(
        chunk,
        entries=entries_with_lengths(np.frombuffer(chunk.entries, ENTRY_DTYPE), lengths.reshape(len(starts), group)),
        digest=digest_of_hashes(np.fromiter(map(hash64, records), _U64, len(records))),
        key_hashes=key_hashes,
        raw_bytes=int(lengths.sum()),
        max_raw_bytes=int(lengths.max()),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a chunk goes, as `frame_chunk` takes it."""

    first_sequence: int
    salts: NDArray[np.uint64]
    ends: NDArray[np.int64]
    alignment: int


def _some(keys: list[bytes] | None, start: int, group: int) -> list[bytes] | None:
    """Return the keys of one group, None if none of its records has one."""
    found = keys[start : start + group] if keys is not None else []
    return found if any(found) else None


def _python_chunk(
    records: list[bytes], keys: list[bytes] | None, at: _Place, compressor: Compressor | None, kind: int
) -> FramedChunk:
    """Lay out payloads with numpy; the digest is that of the payloads."""
    first_sequence, salts, ends, alignment = at.first_sequence, at.salts, at.ends, at.alignment
    num_records, num_bins = len(records), len(ends)
    raw_lengths = np.fromiter(map(len, records), _U64, num_records)
    raw_hashes = np.fromiter(map(hash64, records), _U64, num_records)
    stored, stored_lengths, stored_hashes = records, raw_lengths, raw_hashes
    codecs: NDArray[np.uint64] | int = spec.CODEC_NONE
    if compressor is not None:
        encoded = compressor.encode_all(records)
        stored = [pair[0] for pair in encoded]
        stored_lengths = np.fromiter(map(len, stored), _U64, num_records)
        stored_hashes = np.fromiter(map(hash64, stored), _U64, num_records)
        codecs = np.fromiter((pair[1] for pair in encoded), _U64, num_records)
    key_lengths = (
        np.zeros(num_records, np.int64) if keys is None else np.fromiter(map(len, keys), np.int64, num_records)
    )
    frame_lengths = spec.FRAME_HEADER_BYTES + stored_lengths.astype(np.int64) + key_extents(key_lengths)
    columns = min(num_bins, num_records)
    bins = (first_sequence + np.arange(columns)) % num_bins
    paddings = -frame_lengths % alignment
    starts = aligned_starts(ends[bins], spec.FRAME_HEADER_BYTES, alignment)
    offsets = _offsets(frame_lengths + paddings, columns, starts)
    row_bins = np.tile(bins, -(-num_records // columns))[:num_records]
    headers = pack_headers(
        salts=salts[row_bins],
        offsets=offsets.astype(_U64),
        payload_hashes=stored_hashes,
        sequences=np.arange(first_sequence, first_sequence + num_records, dtype=_U64),
        stored_lengths=stored_lengths,
        raw_lengths=raw_lengths,
        codecs=codecs,
        kind=kind,
        key_lengths=key_lengths.astype(_U64),
    )
    tails = list(map(_ZEROS.__getitem__, paddings.tolist()))
    key_hashes: NDArray[np.uint64] | None = None
    if keys is not None:
        key_hashes = np.fromiter(map(key_hash, filter(None, keys)), _U64, int(np.count_nonzero(key_lengths)))
        tails = _with_keys(keys, key_hashes, tails)
    writes = [
        (int(bins[column]), int(offsets[column]), pieces)
        for column, pieces in enumerate(_pieces(stored, headers, tails, columns))
    ]
    new_ends = ends.copy()
    new_ends[row_bins[-columns:]] = (offsets + frame_lengths)[-columns:]
    return FramedChunk(
        writes=writes,
        ends=new_ends,
        entries=make_entries(pack_locs(row_bins, offsets), stored_lengths, raw_lengths).tobytes(),
        digest=digest_of_hashes(raw_hashes),
        key_hashes=key_hashes,
        stored_bytes=int(stored_lengths.sum()),
        raw_bytes=int(raw_lengths.sum()),
        max_raw_bytes=int(raw_lengths.max()),
    )


def _compiled_chunk(
    records: list[bytes], keys: list[bytes] | None, at: _Place, group: int, item_alignment: int
) -> FramedChunk | None:
    """Return what `frame_chunk` does, None where that is left to Python."""
    compiled = speedups()
    if compiled is None:
        return None
    num_frames = -(-len(records) // group)
    bins = (at.first_sequence + np.arange(min(len(at.ends), num_frames))) % len(at.ends)
    starts = aligned_starts(at.ends[bins], spec.FRAME_HEADER_BYTES, at.alignment)
    columns = np.stack([bins.astype(_U64), at.salts[bins], starts.astype(_U64)], axis=1)
    kind = spec.KIND_RECORD if group == 1 else spec.KIND_GROUP
    item_log2 = item_alignment.bit_length() - 1
    layout = kind, at.first_sequence, at.alignment, group, item_log2, digest_factor(1), _GATHERED_MEAN_BYTES
    entries = np.empty(num_frames * entry_bytes(group) // 4, np.uint32)
    key_hashes = np.empty(0 if keys is None else sum(map(bool, keys)), _U64)
    framed = compiled.frame(records, keys, layout, columns, entries, key_hashes)
    if framed is None:
        return None
    parts, digest, stored_bytes, raw_bytes, max_raw_bytes = framed
    ends = at.ends.copy()
    ends[bins] = columns[:, 2].astype(np.int64)
    writes: list[tuple[int, int, list[bytes | memoryview]]] = [
        (number, start, [part]) for number, start, part in zip(bins.tolist(), starts.tolist(), parts, strict=True)
    ]
    return FramedChunk(
        writes=writes,
        ends=ends,
        entries=entries.tobytes(),
        # Loosely reduced.
        digest=join_digests(EMPTY_DIGEST, digest, 0),
        key_hashes=None if keys is None else key_hashes,
        stored_bytes=stored_bytes,
        raw_bytes=raw_bytes,
        max_raw_bytes=max_raw_bytes,
    )


def _with_keys(keys: list[bytes], key_hashes: NDArray[np.uint64], zeros: list[bytes]) -> list[bytes]:
    """Return what stands behind each payload: key and hash of the key, where it has one, then the zeros."""
    hashes = iter(key_hashes.astype("<u8").view("V8").tolist())
    return [key + next(hashes) + zero if key else zero for key, zero in zip(keys, zeros, strict=True)]


def _offsets(footprints: NDArray[np.int64], columns: int, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each frame begins, the first of each column at its start."""
    num_records = len(footprints)
    rows = -(-num_records // columns)
    table = np.zeros(rows * columns, np.int64)
    table[:num_records] = footprints
    sums = np.cumsum(table.reshape(rows, columns), axis=0)
    offsets: NDArray[np.int64] = (sums - table.reshape(rows, columns) + starts).reshape(-1)[:num_records]
    return offsets


def _pieces(
    stored: list[bytes], headers: NDArray[np.uint64], tails: list[bytes], columns: int
) -> list[list[bytes | memoryview]]:
    """Return, for each column, its frames as few large pieces."""
    # Joining copies every byte once more, handing over many pieces costs time for each of them.
    is_joined = sum(map(len, stored)) < _GATHERED_MEAN_BYTES * len(stored)
    if is_joined and len(set(map(len, stored))) == 1 and len(set(map(len, tails))) == 1:
        return [
            [_equal_frames(stored[column::columns], headers[column::columns], tails[column::columns])]
            for column in range(columns)
        ]
    pieces: list[list[bytes | memoryview]] = []
    for column in range(columns):
        payloads = stored[column::columns]
        parts: list[bytes] = [b""] * (3 * len(payloads))
        parts[0::3] = _rows_as_bytes(headers[column::columns])
        parts[1::3] = payloads
        parts[2::3] = tails[column::columns]
        pieces.append([b"".join(parts)] if is_joined else list(filter(None, parts)))
    return pieces


def _rows_as_bytes(headers: NDArray[np.uint64]) -> list[bytes]:
    rows: list[bytes] = np.ascontiguousarray(headers).view(f"V{spec.FRAME_HEADER_BYTES}").reshape(-1).tolist()
    return rows


def _equal_frames(payloads: list[bytes], headers: NDArray[np.uint64], tails: list[bytes]) -> memoryview:
    """Return frames of one length: headers, payloads and what stands behind them as three columns of one array."""
    begin, end = spec.FRAME_HEADER_BYTES, spec.FRAME_HEADER_BYTES + len(payloads[0])
    frames = np.zeros((len(payloads), end + len(tails[0])), np.uint8)
    frames[:, :begin] = np.ascontiguousarray(headers).view(np.uint8)
    frames[:, begin:end] = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), end - begin)
    if tails[0]:
        frames[:, end:] = np.frombuffer(b"".join(tails), np.uint8).reshape(len(tails), len(tails[0]))
    return frames.reshape(-1).data
