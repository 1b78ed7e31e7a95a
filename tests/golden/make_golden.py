"""Makes the golden datasets of FORMAT.md, and the hex dumps that docs/format shows of them.

    v1/tiny     3 records in 2 bins, one of them empty: docs/format/example.md section 1, byte for byte
    v1/rich     every kind of frame, a lost record, 4 segments, one of them left open by its writer
    v1/declared samples of a declared schema
    v1/samples  records of the codec "sample": docs/format/samples.md section 9, and one of every kind
    v1/deleted  records that were deleted: erased, erased from groups, and only marked

Run it after a change of the format, in the root of the repository; what it makes is committed:

    python tests/golden/make_golden.py

It writes the folders anew and puts the dumps between the marks in docs/format/example.md
and docs/format/samples.md. How zstd
compresses may differ between its versions, so `rich` need not come out as it was: commit it only
where the format asks for it. `v0.1` holds datasets of the version before, which is read and no longer written.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from splitdata import SplitWriter, compact, delete, encode_sample
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.digest import digest_of_hashes
from splitdata.format.frames import FrameHeader, padding_of
from splitdata.format.index import IndexHeader, IndexTables, make_entries, tables_size
from splitdata.format.manifest import SegmentInfo
from splitdata.samples.schema_table import SchemaTable

GOLDEN: Final = Path(__file__).resolve().parent / f"v{spec.MAJOR}"
EXAMPLE_DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "format" / "example.md"
SAMPLES_DOCUMENT: Final = EXAMPLE_DOCUMENT.parent / "samples.md"
DUMP_BEGIN: Final = "<!-- dump: begin -->\n"
DUMP_END: Final = "<!-- dump: end -->\n"
SAMPLE_DUMP_BEGIN: Final = "<!-- sample dump: begin -->\n"
SAMPLE_DUMP_END: Final = "<!-- sample dump: end -->\n"

TINY_RECORDS: Final = (b"hello", b"", b"splitdata")

RICH_METADATA: Final = {"name": "rich", "licence": "MIT", "größe": 11}
# Segment 0, written by one run: alignment 64, zstd, metadata. Record 5 is lost afterwards.
RICH_MAIN: Final = (
    b"",
    b"to and fro, " * 40,
    b"abc",
    bytes(range(256)),
    bytes(spec.LARGE_RECORD_BYTES),
    b"a record that is damaged, then given up",
    b"the last of the first segment",
)
RICH_LOST: Final = 5
# Segment 1, appended: alignment 8, uncompressed.
RICH_APPENDED: Final = (b"appended", b"twice")
# Segment 2: records with keys, and one without.
RICH_KEYED: Final = (b"a record with a key", b"one without", b"compressed, with a key; " * 9)
RICH_KEYS: Final = ("schlüssel/7", None, "a/b.txt")
# Segment 3: its writer was killed after the commit of one record, while it wrote the next.
RICH_COMMITTED: Final = b"committed"
RICH_UNCOMMITTED: Final = b"written and never committed"
_OPEN_SEGMENT: Final = "0" * 31 + "3"
RICH_RECORDS: Final = (*RICH_MAIN, *RICH_APPENDED, *RICH_KEYED, RICH_COMMITTED)

DELETED_RECORDS: Final = tuple(b"record %d" % number for number in range(12))
DELETED_KEYS: Final = ("a", None, "c", "d")
DELETED_POSITIONS: Final = (1, 2, 5, 9, 11)

# What each part of a file is, for the dump: bytes and words, in order.
_BIN_NOTES: Final = (
    (8, "magic"),
    (8, "version 1.0, header of 64 bytes"),
    (16, "segment"),
    (8, "bin {bin} of 2"),
    (8, "feature flags: none"),
    (8, "alignment 2**3; hashes are xxh3, no groups"),
    (8, "xxh3-64 of bytes 0 to 56"),
)
_FRAME_NOTES: Final = (
    (8, "sync word, header check"),
    (8, "payload hash"),
    (8, "sequence {sequence}; record, uncompressed, no key"),
    (8, "stored length {length}, raw length {length}"),
)
_INDEX_NOTES: Final = (
    (8, "magic"),
    (8, "version 1.0, header of 128 bytes"),
    (16, "segment"),
    (8, "feature flags: none"),
    (8, "3 records"),
    (8, "first position 0"),
    (8, "2 bins, alignment 2**3, sealed, not awaiting"),
    (8, "digest"),
    (8, "stored bytes: 14"),
    (8, "raw bytes: 14"),
    (8, "longest raw record: 9"),
    (8, "no dictionary; hashes are xxh3, no groups"),
    (16, "not encrypted"),
    (8, "xxh3-64 of bytes 0 to 120"),
    (16, "entry 0: bin 0, 8 * 8; 5 and 5 bytes"),
    (16, "entry 1: bin 1, 8 * 8; empty"),
    (16, "entry 2: bin 0, 8 * 13; 9 and 9 bytes"),
    (8, "block sums: xxh3-64 of the 48 bytes of entries"),
    (8, "bin table: bin 0 has 152 bytes"),
    (8, "           bin 1 has 96 bytes"),
    (8, "footer: xxh3-64 of the block sums"),
    (8, "        xxh3-64 of the bin table"),
    (8, "        xxh3-64 of the dictionary: no bytes"),
)


class Point(NamedTuple):
    """A namedtuple, for the samples."""

    x: float
    y: object


@dataclass
class Box:
    """A dataclass, for the samples."""

    corner: Point
    label: str


DECLARED_TYPES: Final = {
    "image": "uint8[4,24]?",
    "row": "float64[?]",
    "tensor": "tensor int32[?,2]",
    "note": "str?",
}
WORKED_SAMPLE: Final = {"image": np.arange(64, dtype=np.uint8).reshape(4, 4, 4), "label": 7, "name": "cat"}
_SCHEMA_NOTES: Final = (
    (5, "DICT of 3"),
    (10, 'key: text "image"'),
    (2, "SHAPED_ARRAY of 3 dimensions"),
    (24, "4, 4, 4"),
    (4, '"|u1"'),
    (10, 'key: text "label"'),
    (1, "INT"),
    (9, 'key: text "name"'),
    (1, "TEXT"),
)
_SAMPLE_NOTES: Final = (
    (64, "body: the array, which has 64 bytes"),
    (8, "      scalars: 7"),
    (3, '      "cat"'),
    (4, "extents: 3 of the name"),
    (4, "number of the schema"),
)
_ALONE_NOTES: Final = (
    (8, "magic, version 1, schema of 42 bytes"),
    (5, "DICT of 3"),
    (10, 'key: text "image"'),
    (6, 'ARRAY of 3 dimensions, "|u1"'),
    (10, 'key: text "label"'),
    (1, "INT"),
    (9, 'key: text "name"'),
    (1, "TEXT"),
    (6, "zeros to a multiple of 8"),
    (24, "extents: 4, 4, 4 of the image"),
    (8, "         3 of the name"),
    (8, "scalars: 7"),
    (32, "zeros to a multiple of 64, as the array has 64 bytes"),
    (64, "payloads: the array"),
    (3, '          "cat"'),
)


def golden_samples() -> list[object]:
    """Return the samples of the golden dataset; needs torch."""
    import torch

    zone = timezone(timedelta(hours=5, minutes=30))
    wall = datetime(2026, 10, 25, 2, 30, 0, 123456)
    return [
        WORKED_SAMPLE,
        [None, True, False, 0, -(2**63), 2**63, -(2**100), 1.5, float("nan"), "größe\ud800", b"\0\xff"],
        [date(2026, 11, 21), timedelta(days=-1, microseconds=7), wall, wall.replace(fold=1)],
        [wall.replace(tzinfo=zone), wall.replace(tzinfo=timezone(-timedelta(hours=1), "west"))],
        wall.replace(fold=1, tzinfo=ZoneInfo("Europe/Zurich")),
        {"ints": [1, 2, 3], "floats": [0.5, -0.0], "empty": [], "mixed": [1, 2.0], 7: (), -1: {}},
        Box(Point(1.0, (1, "two")), "a"),
        [np.array(3, ">i2"), np.zeros((0, 3), "<f4"), np.arange(6, dtype="<c16").reshape(2, 3).T],
        [np.float32(2.5), np.datetime64("2026-11-21"), np.str_("é"), np.array([b"a", b"bcd"]), np.array(["x", "漢字"])],
        np.array([(1, ([2.0, 3.0], b"q"))], [("a", "u1"), ("b", [("c", "<f4", (2,)), ("d", "S1")])]),
        [torch.arange(20, dtype=torch.int32), torch.tensor(1.5, dtype=torch.bfloat16), torch.tensor([True])],
    ]


def write_samples(folder: Path, samples: list[object]) -> None:
    """Write the dataset of samples; the first once more at the end, as one that stands alone."""
    with SplitWriter(folder, bins=2, codec="sample", reproducible=True) as writer:
        for sample in samples:
            writer.write_sample(sample)
        writer.write(encode_sample(samples[0]))


def write_declared(folder: Path) -> None:
    """Write the dataset that declares a schema, of which parts may be missing; needs torch."""
    with SplitWriter(folder, bins=2, schema=DECLARED_TYPES, reproducible=True) as writer:
        writer.write_samples(declared_samples())


def declared_samples() -> list[object]:
    """Return the samples of the dataset that declares a schema; needs torch."""
    import torch

    tensor = torch.arange(6, dtype=torch.int32).reshape(3, 2)
    whole = {
        "image": np.arange(96, dtype=np.uint8).reshape(4, 24),
        "row": np.arange(3.0),
        "tensor": tensor,
        "note": "a",
    }
    return [whole, whole | {"note": None, "row": np.zeros(0), "tensor": tensor[:0]}, whole | {"image": None}]


def dump_of_sample() -> str:
    """Return the annotated dumps of the worked sample: its schema, the record, and it standing alone."""
    table = SchemaTable()
    record = table.encode(WORKED_SAMPLE)
    parts = (
        ("Its schema, number 0 of the segment:", table.schemas[0], _SCHEMA_NOTES),
        ("The record:", record, _SAMPLE_NOTES),
        ("The same sample, standing alone:", encode_sample(WORKED_SAMPLE), _ALONE_NOTES),
    )
    return "\n".join(f"{title}\n\n```text\n{_hex_lines(data, list(notes))}```\n" for title, data, notes in parts)


def write_tiny(folder: Path) -> None:
    """Write the dataset of docs/format/example.md section 1."""
    with SplitWriter(folder, bins=2, reproducible=True) as writer:
        writer.write_many(TINY_RECORDS)


def write_rich(folder: Path) -> None:
    """Write the dataset that has one of everything."""
    with SplitWriter(
        folder, bins=3, compression="zstd", metadata=RICH_METADATA, reproducible="golden", alignment=64
    ) as writer:
        writer.write_many(RICH_MAIN)
    _lose_record(folder)
    with SplitWriter(folder, bins=2, mode="append", reproducible="golden") as writer:
        writer.write_many(RICH_APPENDED)
    with SplitWriter(folder, bins=2, mode="append", compression="zstd", reproducible="golden keys") as writer:
        writer.write_many(RICH_KEYED, keys=RICH_KEYS)
    _leave_segment_open(folder)


def write_deleted(folder: Path) -> None:
    """Write the dataset of which records were deleted: two segments erased, one of them in groups, one only marked."""
    with SplitWriter(folder, bins=2, group=1, reproducible="deleted") as writer:
        writer.write_many(DELETED_RECORDS[:4], keys=DELETED_KEYS)
    delete(folder, positions=[1], keys=["c"])
    compact(folder, erase=True)
    with SplitWriter(folder, bins=2, group=4, mode="append", reproducible="deleted") as writer:
        writer.write_many(DELETED_RECORDS[4:10])
    delete(folder, positions=[5, 9])
    compact(folder, erase=True)
    with SplitWriter(folder, bins=1, group=1, mode="append", reproducible="deleted") as writer:
        writer.write_many(DELETED_RECORDS[10:])
    delete(folder, positions=[11])


def dump_of_tiny(folder: Path) -> str:
    """Return the annotated dump of the tiny dataset, as docs/format/example.md shows it."""
    parts = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        parts.append(f"`{path.relative_to(folder).as_posix()}`, {len(data)} bytes:\n\n")
        if path.suffix == ".json":
            parts.append(f"```json\n{data.decode()}```\n\n")
        else:
            parts.append(f"```text\n{_hex_lines(data, _notes_of(path))}```\n\n")
    return "".join(parts)


def _lose_record(folder: Path) -> None:
    """Damage one record of the first segment and mark it as lost, with every checksum right again."""
    segment = DatasetDirectory(folder).newest().segments[0]
    paths = DatasetDirectory(folder).paths.segment(segment.id)
    index = bytearray(Path(paths.index).read_bytes())
    start = spec.INDEX_HEADER_BYTES + RICH_LOST * spec.INDEX_ENTRY_BYTES
    loc = int.from_bytes(index[start : start + 8], "little")
    bin_path = Path(paths.bin(loc >> spec.BIN_SHIFT))
    damaged = bytearray(bin_path.read_bytes())
    damaged[(loc & spec.PLACE_MASK) * spec.FRAME_UNIT + spec.FRAME_HEADER_BYTES + 3] ^= 0x10
    bin_path.write_bytes(damaged)

    index[start : start + spec.INDEX_ENTRY_BYTES] = spec.TOMBSTONE.to_bytes(8, "little") + bytes(8)
    end = spec.INDEX_HEADER_BYTES + segment.num_records * spec.INDEX_ENTRY_BYTES
    old = IndexTables.unpack(bytes(index[end:]), num_frames=segment.num_frames, num_bins=segment.num_bins)
    entries = bytes(index[spec.INDEX_HEADER_BYTES : end])
    index[end:] = IndexTables(block_sums=(hash64(entries),), bin_lengths=old.bin_lengths).pack()
    if len(index) != end + tables_size(segment.num_records, segment.num_bins):
        raise RuntimeError("the index has changed its length")
    Path(paths.index).write_bytes(index)


def _leave_segment_open(folder: Path) -> None:
    frames = [
        (FrameHeader(sequence=0, **_plain(RICH_COMMITTED)), RICH_COMMITTED),
        (FrameHeader(sequence=1, **_plain(RICH_UNCOMMITTED)), RICH_UNCOMMITTED),
    ]
    # The index header runs ahead of the manifest: the kill came before the second commit's last step.
    info = _open_segment(folder, _OPEN_SEGMENT, frames)
    size = len(RICH_COMMITTED)
    _commit(folder, replace(info, num_records=1, digest=_digest([RICH_COMMITTED]), raw_bytes=size, stored_bytes=size))


def _plain(record: bytes) -> dict[str, Any]:  # fields of a frame header
    return {"stored_length": len(record), "raw_length": len(record), "payload_hash": hash64(record)}


def _digest(records: list[bytes]) -> int:
    return digest_of_hashes(np.array([hash64(record) for record in records], np.uint64))


def _open_segment(folder: Path, segment_id: str, frames: list[tuple[FrameHeader, bytes]]) -> SegmentInfo:
    """Lay out a segment of one bin, not sealed, from headers and what follows them; nothing commits it."""
    data = bytearray(BinHeader(segment_id=segment_id, bin_index=0, num_bins=1).pack())
    places = []
    for header, body in frames:
        places.append(len(data) // spec.FRAME_UNIT)
        data += header.pack(bin_salt(segment_id, 0), len(data)) + body
        data += bytes(padding_of(len(data)))
    lengths = [header.raw_length for header, _ in frames]
    info = SegmentInfo(
        id=segment_id,
        num_records=len(frames),
        num_bins=1,
        is_sealed=False,
        digest=_digest([body[: header.raw_length] for header, body in frames]),
        raw_bytes=sum(lengths),
        stored_bytes=sum(lengths),
    )
    index_header = IndexHeader(
        segment_id=segment_id,
        num_bins=1,
        num_records=len(frames),
        first_position=DatasetDirectory(folder).newest().num_records,
        digest=info.digest,
        stored_bytes=info.stored_bytes,
        raw_bytes=info.raw_bytes,
        max_raw_bytes=max(lengths),
    )
    words = np.array(lengths, np.uint64)
    entries = make_entries(np.array(places, np.uint64), words, words).tobytes()
    paths = DatasetDirectory(folder).paths.segment(segment_id)
    Path(paths.folder).mkdir()
    Path(paths.bin(0)).write_bytes(data)
    Path(paths.index).write_bytes(index_header.pack() + entries)
    return info


def _commit(folder: Path, info: SegmentInfo) -> None:
    directory = DatasetDirectory(folder)
    manifest = directory.newest().with_segment(info)
    manifest = replace(manifest, generation=manifest.generation + 1)
    Path(directory.paths.manifest(manifest.generation)).write_bytes(manifest.encode())


def _notes_of(path: Path) -> list[tuple[int, str]]:
    if path.name == spec.INDEX_NAME:
        return list(_INDEX_NOTES)
    bin_index = int(path.stem)
    notes = [(size, note.format(bin=bin_index)) for size, note in _BIN_NOTES]
    for sequence in range(bin_index, len(TINY_RECORDS), 2):
        record = TINY_RECORDS[sequence]
        notes += [(size, note.format(sequence=sequence, length=len(record))) for size, note in _FRAME_NOTES]
        if record:
            notes.append((-(-len(record) // 8) * 8, f'payload "{record.decode()}", zeros to a multiple of 8'))
    return notes


def _hex_lines(data: bytes, notes: list[tuple[int, str]]) -> str:
    """Return lines of an offset, up to 16 bytes and what they are."""
    if sum(size for size, _ in notes) != len(data):
        raise RuntimeError(f"the notes describe {sum(size for size, _ in notes)} of {len(data)} bytes")
    lines, offset = [], 0
    for size, note in notes:
        for start in range(offset, offset + size, 16):
            piece = data[start : min(start + 16, offset + size)]
            lines.append(f"{start:08x}  {piece.hex(' '):47}  {note if start == offset else ''}".rstrip() + "\n")
        offset += size
    return "".join(lines)


def main() -> None:
    """Write the folders and the dump."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    write_tiny(GOLDEN / "tiny")
    write_rich(GOLDEN / "rich")
    write_samples(GOLDEN / "samples", golden_samples())
    write_deleted(GOLDEN / "deleted")
    write_declared(GOLDEN / "declared")
    text = _with_dump(EXAMPLE_DOCUMENT.read_text("utf-8"), DUMP_BEGIN, dump_of_tiny(GOLDEN / "tiny"), DUMP_END)
    EXAMPLE_DOCUMENT.write_text(text, "utf-8", newline="\n")
    text = SAMPLES_DOCUMENT.read_text("utf-8")
    text = _with_dump(text, SAMPLE_DUMP_BEGIN, dump_of_sample() + "\n", SAMPLE_DUMP_END)
    SAMPLES_DOCUMENT.write_text(text, "utf-8", newline="\n")


def _with_dump(text: str, begin: str, dump: str, end: str) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + "\n" + dump + end + after


if __name__ == "__main__":
    main()
