"""FORMAT.md, its pages in docs/format, the code and the golden datasets say the same.

FORMAT.md ── constants, tables, errors ──> splitdata/format
example.md ── vectors ──> splitdata/format
    `─ hex dump ──> tests/golden/v1/tiny <── SplitWriter
                    tests/golden/v1/rich ──> SplitDataLoader
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import numpy as np
import pytest
import xxhash

import splitdata
from splitdata import CorruptRecordError, SplitDataLoader
from splitdata.dataset.verify.verify import verify
from splitdata.format import spec
from splitdata.format.bins import BinHeader, candidate_frames
from splitdata.format.checksum import bin_salt, frame_check, frame_checks, hash64, sync_word
from splitdata.format.deleted import pack_deleted
from splitdata.format.digest import digest_of_hashes, fingerprint
from splitdata.format.frame_layout import aligned_start
from splitdata.format.frames import FrameHeader, footprint
from splitdata.format.index import ENTRY_DTYPE, IndexHeader, IndexTables, make_entries
from splitdata.format.manifest import Manifest
from splitdata.format.version import FEATURES
from tests.format_tables import (
    DOCUMENT,
    EXAMPLE_DOCUMENT,
    PAGES,
    ROOT,
    WRITING_DOCUMENT,
    code_words,
    constants_of,
    fields_of,
    records_of,
    section,
    table,
)
from tests.golden import make_golden

TINY: Final = make_golden.GOLDEN / "tiny"
RICH: Final = make_golden.GOLDEN / "rich"
SEGMENT: Final = "0123456789abcdef" * 2


# -- constants, tables, vectors ------------------------------------------------------------------


def test_every_constant_of_the_code_is_stated_once_in_the_documents() -> None:
    of_pages = [
        constants_of(rows)
        for rows in (
            table("4", "name"),
            table("1", "name", document=WRITING_DOCUMENT),
            table("3", "name", document=EXAMPLE_DOCUMENT),
        )
    ]
    of_code = {name: value for name, value in vars(spec).items() if name.isupper() and name != "FORMAT_VERSION"}
    assert {name: value for stated in of_pages for name, value in stated.items()} == of_code
    assert sum(map(len, of_pages)) == len(of_code)


def test_constants_that_a_reader_is_told_of_are_those_of_the_document_itself() -> None:
    stated = constants_of(table("4", "name"))
    named = {
        word
        for word in code_words(DOCUMENT)
        if re.fullmatch(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+|MAJOR|MINOR|TOMBSTONE|ALIGNMENTS", word)
    }
    assert named == set(stated)


def test_document_is_short_enough_to_be_read_at_once() -> None:
    assert len(DOCUMENT.splitlines()) <= 450


def test_stated_version_is_the_one_of_the_code() -> None:
    assert f"Version **{spec.MAJOR}.{spec.MINOR}**" in DOCUMENT
    assert splitdata.FORMAT_VERSION == (spec.MAJOR, spec.MINOR)


NUMBERS: Final = r"sections? ([0-9.]+(?:(?:, | and | to )[0-9.]+)*)"


def numbers_in(found: list[str]) -> set[str]:
    """Return the numbers of sections that are cited as "7 and 8", "5, 7" or "5 to 13"."""
    return {number.rstrip(".") for numbers in found for number in re.split(", | and | to ", numbers)}


def test_sections_that_the_code_cites_exist() -> None:
    cited = set()
    for path in [*(ROOT / "splitdata").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for page, numbers in re.findall(rf"(FORMAT|docs/format/\w+)\.md,? {NUMBERS}", path.read_text("utf-8")):
            cited |= {(page, number) for number in numbers_in([numbers])}
    assert {("FORMAT", "8"), ("FORMAT", "13"), ("docs/format/repair", "1"), ("docs/format/older", "1")} <= cited
    for page, number in cited:
        section(number, DOCUMENT if page == "FORMAT" else PAGES[page.rpartition("/")[2]])


@pytest.mark.parametrize("page", ["FORMAT", *PAGES])
def test_sections_that_the_documents_cite_exist(page: str) -> None:
    document = DOCUMENT if page == "FORMAT" else PAGES[page]
    text = re.sub(rf"RFC \d+, {NUMBERS}", "", re.sub(r"\s+", " ", document))
    of_format = re.findall(rf"FORMAT\.md\)?,? {NUMBERS}", text)
    own = re.findall(NUMBERS, re.sub(rf"FORMAT\.md\)?,? {NUMBERS}", "", text))
    for number in numbers_in(of_format):
        section(number)
    for number in numbers_in(own):
        section(number, document)


LINK: Final = re.compile(r"\]\(([^()\s]+)\)")
MARKDOWN: Final = [
    *(ROOT / name for name in ("README.md", "FORMAT.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def anchors_of(path: Path) -> set[str]:
    """Return what GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    lost, seen = [], 0
    for page in MARKDOWN:
        for link in LINK.findall(re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)):
            name, _, anchor = link.partition("#")
            if "://" in link or name.startswith("mailto:"):
                continue
            seen += 1
            target = (page.parent / name).resolve() if name else page
            if not target.exists() or (anchor and anchor not in anchors_of(target)):
                lost.append(f"{page.relative_to(ROOT)}: {link}")
    assert seen > 50
    assert lost == []


def test_errors_that_the_documents_name_exist_and_are_listed() -> None:
    listed = {name for row in table("14", "error") for name in code_words(row[0])}
    assert len(listed) == 9
    assert all(issubclass(getattr(splitdata, name), splitdata.SplitDataError) for name in listed)
    assert set(re.findall(r"`(\w+Error)`", DOCUMENT)) == listed
    assert set(re.findall(r"`(\w+Error)`", "".join(PAGES.values()))) <= listed


def test_table_of_features_is_the_one_of_the_code() -> None:
    rows = [(code_words(name)[0], bit) for name, bit, _ in table("15", "name")]
    assert {name: 1 << int(bit) for name, bit in rows if bit != "none"} == FEATURES
    assert [name for name, bit in rows if bit == "none"] == [spec.DELETED_FEATURE, "pages"]


def headers_of(kind: str) -> list[list[str]]:
    """Return the rows that describe the header of a file: those that all have, and its own."""
    alike = table("7", "offset")
    if kind == "bin":
        return alike[:4] + table("8", "offset")
    return alike if kind == "index" else alike[:5] + table({"keys": "12", "deleted": "13"}[kind], "offset")


def test_table_of_the_bin_header_describes_what_the_code_packs() -> None:
    data = BinHeader(
        segment_id=SEGMENT,
        bin_index=5,
        num_bins=0x01020304,
        alignment=256,
        features=("groups", "encryption"),
        hash_kind=9,
        group=64,
    ).pack()
    assert len(data) == spec.BIN_HEADER_BYTES
    assert fields_of(headers_of("bin"), data) == {
        "magic": spec.BIN_MAGIC,
        "major": spec.MAJOR,
        "minor": spec.MINOR,
        "header_bytes": spec.BIN_HEADER_BYTES,
        "segment_id": bytes.fromhex(SEGMENT),
        "bin_index": 5,
        "num_bins": 0x01020304,
        "must_understand": 0b101,
        "may_ignore": 0,
        "alignment_log2": 8,
        "hash_kind": 9,
        "group_log2": 6,
        "reserved": bytes(5),
        "header_hash": hash64(data[:56]),
    }


@pytest.mark.parametrize(("is_sealed", "awaits"), [(False, True), (True, False)])
def test_table_of_the_index_header_describes_what_the_code_packs(is_sealed: bool, awaits: bool) -> None:
    data = IndexHeader(
        segment_id=SEGMENT,
        num_bins=7,
        alignment=4096,
        is_sealed=is_sealed,
        awaits_first_commit=awaits,
        num_records=1 << 33,
        first_position=1 << 34,
        digest=1 << 60,
        stored_bytes=1 << 41,
        raw_bytes=1 << 42,
        max_raw_bytes=1 << 35,
        dictionary_bytes=9,
        features=("hash",),
        hash_kind=9,
        group=64,
        key_id=b"k" * 16,
    ).pack()
    assert len(data) == spec.INDEX_HEADER_BYTES
    assert fields_of(headers_of("index"), data) == {
        "magic": spec.INDEX_MAGIC,
        "major": spec.MAJOR,
        "minor": spec.MINOR,
        "header_bytes": spec.INDEX_HEADER_BYTES,
        "segment_id": bytes.fromhex(SEGMENT),
        "must_understand": 0b10,
        "may_ignore": 0,
        "num_records": 1 << 33,
        "first_position": 1 << 34,
        "num_bins": 7,
        "alignment_log2": 12,
        "is_sealed": int(is_sealed),
        "awaits_first_commit": int(awaits),
        "reserved_a": bytes(1),
        "digest": 1 << 60,
        "stored_bytes": 1 << 41,
        "raw_bytes": 1 << 42,
        "max_raw_bytes": 1 << 35,
        "dictionary_bytes": 9,
        "hash_kind": 9,
        "group_log2": 6,
        "reserved_b": bytes(2),
        "key_id": b"k" * 16,
        "header_hash": hash64(data[:120]),
    }


def test_tables_of_the_keys_describe_the_golden_file() -> None:
    info = Manifest.decode((RICH / "manifest.0000000004.json").read_bytes()).segments[2]
    data = (RICH / "segments" / info.id / "keys").read_bytes()
    assert (len(data), info.num_keys) == (info.keys_bytes, 2)
    assert fields_of(headers_of("keys"), data[: spec.KEYS_HEADER_BYTES]) == {
        "magic": spec.KEYS_MAGIC,
        "major": spec.MAJOR,
        "minor": spec.MINOR,
        "header_bytes": spec.KEYS_HEADER_BYTES,
        "segment_id": bytes.fromhex(info.id),
        "must_understand": 0,
        "may_ignore": 0,
        "reserved": bytes(16),
        "header_hash": hash64(data[:56]),
    }
    pairs = sorted((hash64(key.encode()), seq) for seq, key in enumerate(make_golden.RICH_KEYS) if key is not None)
    block = (
        np.array([pair[0] for pair in pairs], "<u8").tobytes() + np.array([pair[1] for pair in pairs], "<u4").tobytes()
    )
    fences = pairs[0][0].to_bytes(8, "little") + hash64(block).to_bytes(8, "little")
    assert data[64 : 64 + 24 + 16] == block + fences
    entry = data[104:128]
    run, footer = table("12", "offset", 1)
    assert fields_of([run], entry) == {"offset": 64, "num_keys": 2, "fences_hash": hash64(fences)}
    assert fields_of([footer], data[128:]) == {
        "total_keys": 2,
        "num_runs": 1,
        "directory_hash": hash64(data[104:144]),
    }


def test_table_of_the_list_of_deleted_records_describes_what_the_code_packs() -> None:
    half, list_hash = pack_deleted(SEGMENT, np.array([3, 9, 0x01020304], np.uint32))
    assert fields_of(headers_of("deleted"), half[: spec.DELETED_HEADER_BYTES]) == {
        "magic": spec.DELETED_MAGIC,
        "major": spec.MAJOR,
        "minor": spec.MINOR,
        "header_bytes": spec.DELETED_HEADER_BYTES,
        "segment_id": bytes.fromhex(SEGMENT),
        "must_understand": 0,
        "may_ignore": 0,
        "count": 3,
        "reserved": bytes(8),
        "header_hash": hash64(half[:56]),
    }
    assert half[64:] == bytes.fromhex("03000000 09000000 04030201")
    assert list_hash == hash64(half)


def test_table_of_the_frame_header_describes_what_the_code_packs() -> None:
    header = FrameHeader(
        sequence=0x01020304, stored_length=70, raw_length=90, payload_hash=1 << 63, codec=spec.CODEC_ZSTD, key_length=11
    )
    salt = bin_salt(SEGMENT, 3)
    data = header.pack(salt, 64)
    assert len(data) == spec.FRAME_HEADER_BYTES
    words = np.frombuffer(data, "<u8").tolist()
    rows = table("8", "offset", 1)
    assert [int(row[0]) for row in rows] == [0, 8, 16, 24, 32]
    assert fields_of(rows[:4], data) == {
        "sync": sync_word(salt),
        "check": frame_check(salt, 64, tuple(words[1:])),
        "payload_hash": 1 << 63,
        "sequence": 0x01020304,
        "kind": spec.KIND_RECORD,
        "codec": spec.CODEC_ZSTD,
        "key_length": 11,
        "stored_low": 70,
        "raw_low": 90,
    }


def test_table_of_the_large_frame_header_describes_what_the_code_packs() -> None:
    header = FrameHeader(
        sequence=1, stored_length=1 << 33, raw_length=1 << 33, payload_hash=2, kind=spec.KIND_LARGE, key_length=3
    )
    data = header.pack(5, 64)
    assert len(data) == spec.LARGE_FRAME_HEADER_BYTES
    fields = fields_of(table("8", "offset", 1), data)
    assert (fields["stored_low"], fields["raw_low"]) == (spec.LENGTH_ESCAPE, spec.LENGTH_ESCAPE)
    assert (fields["stored_length"], fields["raw_length"]) == (1 << 33, 1 << 33)
    assert footprint(header) == 64 + (1 << 33) + 8 * (1 << 13) + 3 + 8


def test_table_of_index_entries_describes_what_the_code_packs() -> None:
    loc = 3 << spec.BIN_SHIFT | 8
    lengths = (np.array([length], np.uint64) for length in (10, 1 << 40))
    data = make_entries(np.array([loc], np.uint64), *lengths).tobytes()
    assert len(data) == ENTRY_DTYPE.itemsize == spec.INDEX_ENTRY_BYTES
    assert fields_of(table("7", "offset", 1), data) == {"loc": loc, "stored": 10, "raw": spec.LENGTH_ESCAPE}


def test_places_of_first_frames_that_are_told_follow_from_the_rule() -> None:
    told = "with alignment 8, 16 or 32, at byte 64, with 64 or 128 at 96, with 4096 at 4064"
    assert told in re.sub(r"\s+", " ", WRITING_DOCUMENT)
    starts = [aligned_start(spec.BIN_HEADER_BYTES, spec.FRAME_HEADER_BYTES, alignment) for alignment in spec.ALIGNMENTS]
    assert starts[:5] == [64, 64, 64, 96, 96]
    assert starts[-1] == 4064


def test_vectors_of_the_hash_hold() -> None:
    inputs = {'`""`': b"", '`"a"`': b"a", '`"123456789"`': b"123456789", '`"splitdata"`': b"splitdata"}
    rows = table("2", "input", document=EXAMPLE_DOCUMENT)
    assert len(rows) == 7
    for name, length, seed, stated in rows:
        data = bytes(range(256)) if name.startswith("bytes 0") else inputs.get(name, bytes(int(length)))
        assert len(data) == int(length)
        assert f"`{xxhash.xxh3_64_intdigest(data, int(seed)):016x}`" == stated
    assert f"The hash of no bytes is `{hash64(b''):016x}`" in re.sub(r"\s+", " ", DOCUMENT)


def test_vectors_of_salt_and_header_check_hold() -> None:
    salts_of_bins = table("2", "segment", document=EXAMPLE_DOCUMENT)
    assert len(salts_of_bins) == 4
    for segment, bin_index, salt, sync in salts_of_bins:
        computed = bin_salt(segment.strip("`"), int(bin_index))
        assert (f"`{computed:016x}`", f"`{sync_word(computed):08x}`") == (salt, sync)
    rows = table("2", "salt", document=EXAMPLE_DOCUMENT)
    assert len(rows) == 6
    for salt, offset, listed, check in rows:
        words = tuple(int(word, 16) for word in code_words(listed))
        assert len(words) in (3, 7)
        assert f"`{frame_check(int(salt.strip('`'), 16), int(offset), words):08x}`" == check
        arrays = tuple(np.array([word], np.uint64) for word in words)
        salts, offsets = np.array([int(salt.strip("`"), 16)], np.uint64), np.array([int(offset)], np.uint64)
        assert f"`{int(frame_checks(salts, offsets, arrays)[0]):08x}`" == check


def test_formula_and_vectors_of_the_digest_hold() -> None:
    rows = table("2", "records", document=EXAMPLE_DOCUMENT)
    assert len(rows) == 6
    for listed, stated, text in rows:
        digest = 0
        for record in records_of(listed):
            digest = (digest * 0x0F1E2D3C4B5A6979 + hash64(record) + 1) % (2**61 - 1)
        hashes = np.array([hash64(record) for record in records_of(listed)], np.uint64)
        assert digest_of_hashes(hashes) == digest
        assert (f"`{digest:016x}`", f"`{fingerprint(digest, len(hashes))}`") == (stated, text)


def test_vectors_of_the_sha_256_digest_hold(tmp_path: Path) -> None:
    with splitdata.SplitWriter(tmp_path / "empty"):
        pass
    text = re.sub(r"\s+", " ", section("3", EXAMPLE_DOCUMENT))
    assert (
        f"of section 1 is `{splitdata.digest(TINY)}`, that of no records `{splitdata.digest(tmp_path / 'empty')}`"
        in text
    )


def test_manifest_has_exactly_the_stated_fields() -> None:
    body = json.loads((RICH / "manifest.0000000004.json").read_bytes().splitlines()[0])
    fields, of_segment = (
        {name: row[2] for row in table("5", "key", number) for name in code_words(row[0])} for number in (0, 1)
    )
    assert list(body) == [name for name, what in fields.items() if "optional" not in what]
    assert {"writer", "time", "schemas", "schema", "replaced"} == {
        name for name, what in fields.items() if "optional" in what
    }
    always = [name for name, what in of_segment.items() if "optional" not in what]
    assert list(of_segment) == [
        *always,
        *("group", "keys", "keys_bytes", "schemas", "deleted", "deleted_hash", "must_understand"),
    ]
    keyed = [*always, "keys", "keys_bytes"]
    assert [list(segment) for segment in body["segments"]] == [always, always, keyed, always]


# -- golden datasets -----------------------------------------------------------------------------


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_hex_dump_of_the_document_equals_the_golden_files() -> None:
    shown: dict[str, bytes] = {}
    for name, size, kind, text in re.findall(
        r"^`([^`\n]+)`, (\d+) bytes:\n\n```(text|json)\n(.*?)```", section("1", EXAMPLE_DOCUMENT), re.M | re.S
    ):
        data = bytearray(text.encode() if kind == "json" else b"")
        for line in text.splitlines() if kind == "text" else ():
            offset, piece = re.fullmatch(r"([0-9a-f]{8})  ((?:[0-9a-f]{2} ?)+)(?: .*)?", line).groups()  # type: ignore[union-attr]
            assert int(offset, 16) == len(data), line
            data += bytes.fromhex(piece)
        assert len(data) == int(size)
        shown[name] = bytes(data)
    assert len(shown) == 4
    assert shown == files_of(TINY)


def test_tiny_dataset_written_again_is_equal_byte_by_byte(tmp_path: Path) -> None:
    make_golden.write_tiny(tmp_path / "tiny")
    assert files_of(tmp_path / "tiny") == files_of(TINY)
    assert make_golden.dump_of_tiny(tmp_path / "tiny") in EXAMPLE_DOCUMENT


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_tiny_dataset_reads_as_the_document_says(io: str) -> None:
    loader = SplitDataLoader(TINY, io="mmap" if io == "mmap" else "pread")
    assert [loader[position] for position in range(len(loader))] == [b"hello", b"", b"splitdata"]
    assert loader.fingerprint == "3-1ade29491afbd915"
    assert verify(TINY).is_intact


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_rich_dataset_reads_as_it_was_made(io: str) -> None:
    loader = SplitDataLoader(RICH, io="mmap" if io == "mmap" else "pread")
    assert len(loader) == len(make_golden.RICH_RECORDS) == 13
    for position, record in enumerate(make_golden.RICH_RECORDS):
        if position == make_golden.RICH_LOST:
            with pytest.raises(CorruptRecordError, match="lost"):
                loader[position]
        else:
            assert loader[position] == record
    assert loader.metadata == make_golden.RICH_METADATA
    first = len(make_golden.RICH_MAIN) + len(make_golden.RICH_APPENDED)
    for position, key in enumerate(make_golden.RICH_KEYS, first):
        assert loader.key(position) == key
        assert key is None or loader.find(key) == position
    assert not loader.has_key("a/b")
    hashes = np.array([hash64(record) for record in make_golden.RICH_RECORDS], np.uint64)
    assert loader.fingerprint == fingerprint(digest_of_hashes(hashes), len(hashes))


def test_table_of_rich_records_says_what_is_in_the_golden_files() -> None:
    rows = table("1", "position", document=EXAMPLE_DOCUMENT)
    with SplitDataLoader(RICH) as loader:
        assert [int(row[0]) for row in rows] == list(range(len(loader)))
        for position, (_, length, digest, begin, what) in enumerate(rows):
            if what.startswith("lost"):
                assert (position, length, digest, begin) == (make_golden.RICH_LOST, "", "", "")
                continue
            record = loader[position]
            assert (int(length), digest) == (len(record), f"`{hash64(record):016x}`")
            assert bytes.fromhex(begin.strip("`")) == record[:8]
            header = header_of(RICH, position)
            kind = "large record" if header.kind == spec.KIND_LARGE else "record"
            codec = "zstd" if header.codec == spec.CODEC_ZSTD else "uncompressed"
            assert what.startswith(f"{kind}, {codec}")
            assert ("with the key" in what) == bool(header.key_length)
            assert loader.key(position) == (code_words(what)[0] if header.key_length else None)
        assert f"fingerprint is `{loader.fingerprint}`" in section("1", EXAMPLE_DOCUMENT)
        assert json.loads(re.findall(r"metadata are `(.*)`", section("1", EXAMPLE_DOCUMENT))[0]) == loader.metadata


def header_of(folder: Path, position: int) -> FrameHeader:
    """Return the frame header to which the index leads for a position."""
    for segment in Manifest.decode(max(folder.glob("manifest.*.json")).read_bytes()).segments:
        if position < segment.num_records:
            files = folder / "segments" / segment.id
            entry = (files / "index").read_bytes()[spec.INDEX_HEADER_BYTES + spec.INDEX_ENTRY_BYTES * position :]
            loc = int.from_bytes(entry[:8], "little")
            data = (files / f"{loc >> spec.BIN_SHIFT:06d}.bin").read_bytes()
            return FrameHeader.unpack(data[(loc & spec.PLACE_MASK) * spec.FRAME_UNIT :])
        position -= segment.num_records
    raise AssertionError(f"no segment has the position {position}")


def test_one_range_that_follows_from_the_index_entry_proves_each_record() -> None:
    for segment in Manifest.decode((RICH / "manifest.0000000004.json").read_bytes()).segments:
        files = RICH / "segments" / segment.id
        entries = np.frombuffer((files / "index").read_bytes(), "<u8", 2 * segment.num_records, spec.INDEX_HEADER_BYTES)
        for loc, lengths in entries.reshape(-1, 2).tolist():
            if loc == spec.TOMBSTONE:
                continue
            stored, begin = lengths & 0xFFFFFFFF, (loc & spec.PLACE_MASK) * spec.FRAME_UNIT
            stop = begin + 32 + stored
            if lengths >> 32 >= spec.LARGE_RECORD_BYTES:
                stop = begin + -(-(64 + stored) // 8) * 8 + 8 * -(-stored // spec.BLOCK_BYTES)
            piece = (files / f"{loc >> spec.BIN_SHIFT:06d}.bin").read_bytes()[begin:stop]
            header = FrameHeader.unpack(piece)
            hashed = piece[header.hashed]
            assert len(hashed) == header.hashed.stop - header.hashed.start
            assert hash64(hashed) == header.payload_hash


def test_rich_dataset_has_one_of_everything_and_one_finding() -> None:
    report = verify(RICH)
    assert [finding.position for finding in report.findings] == [make_golden.RICH_LOST]
    manifest = Manifest.decode((RICH / "manifest.0000000004.json").read_bytes())
    assert [segment.is_sealed for segment in manifest.segments] == [True, True, True, False]
    kinds, codecs, keys = set(), set(), set()
    for segment in manifest.segments:
        for number in range(segment.num_bin_files):
            data = (RICH / "segments" / segment.id / f"{number:06d}.bin").read_bytes()
            for offset in candidate_frames(np.frombuffer(data, np.uint8), 0, bin_salt(segment.id, number)).tolist():
                header = FrameHeader.unpack(data[offset:])
                kinds.add(header.kind)
                codecs.add(header.codec)
                keys.add(header.key_length)
                assert (offset + header.size) % BinHeader.unpack(data).alignment == 0
    assert kinds == {spec.KIND_RECORD, spec.KIND_METADATA, spec.KIND_LARGE}
    assert codecs == {spec.CODEC_NONE, spec.CODEC_ZSTD}
    assert keys == {len((key or "").encode()) for key in make_golden.RICH_KEYS}


@pytest.mark.parametrize("folder", [TINY, RICH], ids=["tiny", "rich"])
def test_search_that_the_page_on_repair_describes_makes_each_sealed_index_again(folder: Path) -> None:
    newest = max(folder.glob("manifest.*.json"))
    first_position = 0
    for segment in Manifest.decode(newest.read_bytes()).segments:
        entries = np.zeros((segment.num_records, 2), "<u8")
        entries[:, 0] = spec.TOMBSTONE
        lengths, longest, alignment = [0] * segment.num_bins, 0, 8
        for number in range(segment.num_bin_files):
            data = (folder / "segments" / segment.id / f"{number:06d}.bin").read_bytes()
            lengths[number], alignment = len(data), BinHeader.unpack(data).alignment
            for offset in candidate_frames(np.frombuffer(data, np.uint8), 0, bin_salt(segment.id, number)).tolist():
                header = FrameHeader.unpack(data[offset:])
                lost = first_position == 0 and folder == RICH and header.sequence == make_golden.RICH_LOST
                if header.sequence < segment.num_records and not lost:
                    both = header.stored_length | header.raw_length << 32
                    entries[header.sequence] = number << spec.BIN_SHIFT | offset // 8, both
                longest = max(longest, header.raw_length if header.sequence < segment.num_records else 0)
        index = IndexHeader(
            segment_id=segment.id,
            num_bins=segment.num_bins,
            alignment=alignment,
            is_sealed=True,
            num_records=segment.num_records,
            first_position=first_position,
            digest=segment.digest,
            stored_bytes=segment.stored_bytes,
            raw_bytes=segment.raw_bytes,
            max_raw_bytes=longest,
        ).pack()
        tables = IndexTables(block_sums=(hash64(entries.tobytes()),), bin_lengths=tuple(lengths)).pack()
        if segment.is_sealed:
            golden = (folder / "segments" / segment.id / "index").read_bytes()
            assert index + entries.tobytes() + tables == golden
        first_position += segment.num_records
