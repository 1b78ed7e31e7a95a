"""A chunk of records becomes frames: one numpy pass for all headers, one write a bin.

    records r0 r1 r2 ... of sequence s, s+1, s+2, ...
         `─ column j of the chunk ─> bin (s + j) % N        records[j::N]
    footprints, summed down each column ─> offsets ─> headers, index entries
    with keys: the body of a frame is payload and key, joined before it is hashed

What is per record in Python is `len` and the hash, both under `map`.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import add
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.frames import pack_headers
from splitdata.format.index import make_entries, pack_locs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.format.codec import Compressor

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
        ends: New end of each bin, uint64[num_bins].
        entries: Index entries of the records, in order.
        raw_hashes: xxh3-64 of each raw record, for the digest.
        key_lengths: Of the key of each record, 0 where it has none; None where no record has one.
        stored_bytes, raw_bytes, max_raw_bytes: Sums and maximum over the records.
    """

    writes: list[tuple[int, int, list[bytes | memoryview]]]
    ends: NDArray[np.uint64]
    entries: NDArray[np.void]
    raw_hashes: NDArray[np.uint64]
    key_lengths: NDArray[np.uint64] | None
    stored_bytes: int
    raw_bytes: int
    max_raw_bytes: int


def frame_chunk(
    records: list[bytes],
    *,
    first_sequence: int,
    salts: NDArray[np.uint64],
    ends: NDArray[np.uint64],
    alignment: int,
    compressor: Compressor | None,
    keys: list[bytes] | None = None,
) -> FramedChunk:
    """Lay out a chunk of ordinary records (below 16 MiB each) behind the present ends of the bins.

    Args:
        records: The raw records, at least one.
        first_sequence: Sequence number of the first.
        salts: Of each bin, uint64[num_bins].
        ends: Where the next frame of each bin begins.
        alignment: Of payloads, in bytes.
        compressor: Compresses each record where that makes it smaller.
        keys: Of each record, empty where it has none; None where no record has one.
    """
    num_records, num_bins = len(records), len(ends)
    raw_lengths = np.fromiter(map(len, records), _U64, num_records)
    raw_hashes = np.fromiter(map(hash64, records), _U64, num_records)
    stored, stored_lengths, stored_hashes = records, raw_lengths, raw_hashes
    codecs: NDArray[np.uint64] | int = spec.CODEC_NONE
    if compressor is not None:
        encoded = list(map(compressor.encode, records))
        stored = [pair[0] for pair in encoded]
        stored_lengths = np.fromiter(map(len, stored), _U64, num_records)
        stored_hashes = np.fromiter(map(hash64, stored), _U64, num_records) if keys is None else raw_hashes
        codecs = np.fromiter((pair[1] for pair in encoded), _U64, num_records)
    bodies, body_lengths, key_lengths = stored, stored_lengths, None
    if keys is not None:
        key_lengths = np.fromiter(map(len, keys), _U64, num_records)
        bodies, body_lengths = list(map(add, stored, keys)), stored_lengths + key_lengths
        stored_hashes = np.fromiter(map(hash64, bodies), _U64, num_records)

    columns = min(num_bins, num_records)
    bins = (first_sequence + np.arange(columns)) % num_bins
    steps = _U64(alignment)
    footprints = (body_lengths + _U64(spec.FRAME_HEADER_BYTES) + steps - _U64(1)) // steps * steps
    offsets, column_sums = _offsets(footprints, columns, ends[bins])
    row_bins = np.tile(bins, -(-num_records // columns))[:num_records]
    headers = pack_headers(
        salts=salts[row_bins],
        offsets=offsets,
        payload_hashes=stored_hashes,
        sequences=np.arange(first_sequence, first_sequence + num_records, dtype=_U64),
        stored_lengths=stored_lengths,
        raw_lengths=raw_lengths,
        codecs=codecs,
        key_lengths=0 if key_lengths is None else key_lengths,
    )
    paddings = footprints - body_lengths - _U64(spec.FRAME_HEADER_BYTES)
    writes = [
        (int(bins[column]), int(offsets[column]), pieces)
        for column, pieces in enumerate(_pieces(bodies, headers, paddings, columns))
    ]
    new_ends = ends.copy()
    new_ends[bins] += column_sums
    return FramedChunk(
        writes=writes,
        ends=new_ends,
        entries=make_entries(pack_locs(row_bins, offsets), stored_lengths, raw_lengths),
        raw_hashes=raw_hashes,
        key_lengths=key_lengths,
        stored_bytes=int(stored_lengths.sum()),
        raw_bytes=int(raw_lengths.sum()),
        max_raw_bytes=int(raw_lengths.max()),
    )


def _offsets(
    footprints: NDArray[np.uint64], columns: int, column_ends: NDArray[np.uint64]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return where each frame begins, and how much each column adds to its bin."""
    num_records = len(footprints)
    rows = -(-num_records // columns)
    table = np.zeros(rows * columns, _U64)
    table[:num_records] = footprints
    sums = np.cumsum(table.reshape(rows, columns), axis=0)
    offsets = (sums - table.reshape(rows, columns) + column_ends).reshape(-1)[:num_records]
    return offsets, sums[-1]


def _pieces(
    stored: list[bytes], headers: NDArray[np.uint64], paddings: NDArray[np.uint64], columns: int
) -> list[list[bytes | memoryview]]:
    """Return, for each column, its frames as few large pieces."""
    # Joining copies every byte once more, handing over many pieces costs time for each of them.
    is_joined = sum(map(len, stored)) < _GATHERED_MEAN_BYTES * len(stored)
    if is_joined and len(set(map(len, stored))) == 1:
        return [
            [_equal_frames(stored[column::columns], headers[column::columns], int(paddings[0]))]
            for column in range(columns)
        ]
    pieces: list[list[bytes | memoryview]] = []
    for column in range(columns):
        payloads = stored[column::columns]
        parts: list[bytes] = [b""] * (3 * len(payloads))
        parts[0::3] = _rows_as_bytes(headers[column::columns])
        parts[1::3] = payloads
        parts[2::3] = map(_ZEROS.__getitem__, paddings[column::columns].tolist())
        pieces.append([b"".join(parts)] if is_joined else list(filter(None, parts)))
    return pieces


def _rows_as_bytes(headers: NDArray[np.uint64]) -> list[bytes]:
    rows: list[bytes] = np.ascontiguousarray(headers).view(f"V{spec.FRAME_HEADER_BYTES}").reshape(-1).tolist()
    return rows


def _equal_frames(payloads: list[bytes], headers: NDArray[np.uint64], padding: int) -> memoryview:
    """Return frames of one length: headers and payloads as two columns of one array."""
    length = len(payloads[0])
    frames = np.zeros((len(payloads), spec.FRAME_HEADER_BYTES + length + padding), np.uint8)
    frames[:, : spec.FRAME_HEADER_BYTES] = np.ascontiguousarray(headers).view(np.uint8)
    body = np.frombuffer(b"".join(payloads), np.uint8).reshape(len(payloads), length)
    frames[:, spec.FRAME_HEADER_BYTES : spec.FRAME_HEADER_BYTES + length] = body
    return frames.reshape(-1).data
