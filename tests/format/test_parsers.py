"""Every parser of the format, fed what no writer makes: a value, or an error of the tree; nothing else, and no hang.

valid bytes ── flipped, cut, longer, numbers at their ends ── checksums made right again, or not ── parser
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import zstandard

from splitdata import FormatError, RecordTooLargeError
from splitdata.dataset.segments.dictionary import control_frame, head_frames, read_from_bin, read_from_index
from splitdata.dataset.segments.schema_file import parse_schemas
from splitdata.format import spec
from splitdata.format.bins import BinHeader, candidate_frames
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.compression import Decompressor, decompress_stream
from splitdata.format.deleted import pack_deleted, unpack_deleted
from splitdata.format.frames import FrameHeader
from splitdata.format.index import IndexHeader, IndexTables, tables_size
from splitdata.format.keys import (
    KeyRun,
    KeysHeader,
    pack_blocks,
    pack_directory,
    parse_directory,
    parse_footer,
    unpack_block,
    unpack_blocks,
)
from splitdata.format.manifest import Manifest, SegmentInfo, decode_metadata
from splitdata.format.record_group import RecordGroup, pack_group
from splitdata.format.schemas import SchemasHeader, pack_schemas
from splitdata.samples.schema import parse_schema
from splitdata.samples.schema_table import SchemaTable

ID = "0123456789abcdef" * 2
DRAWS = 3000
INFO = SegmentInfo(id=ID, num_records=3, num_bins=2, is_sealed=True, digest=1, raw_bytes=9, stored_bytes=9)
NUMBERS = (0, 1, 2, 7, 8, 63, 2**16, 2**24, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


@dataclass(frozen=True)
class Parser:
    """One parser: what it takes, and how a checksum over what was changed is made right.

    Attributes:
        valid: Bytes that it takes.
        parse: The parser.
        seal: Makes the checksums right.
    """

    valid: bytes
    parse: Callable[[bytes], object]
    seal: Callable[[bytes], bytes] = lambda data: data


def header_sealed(data: bytes) -> bytes:
    """Make the hash at the end right."""
    return data[:-8] + hash64(data[:-8]).to_bytes(8, "little")


def manifest_sealed(data: bytes) -> bytes:
    line = data.partition(b"\n")[0]
    return line + b'\n{"xxh3":"' + f"{hash64(line):016x}".encode() + b'"}\n'


def tables_sealed(data: bytes) -> bytes:
    borders = (0, 8, 24, len(data) - 24)
    parts = [data[start:stop] for start, stop in pairwise(borders)]
    return data[:-24] + b"".join(hash64(part).to_bytes(8, "little") for part in parts)


def deleted_sealed(data: bytes) -> bytes:
    size = spec.DELETED_HEADER_BYTES
    return header_sealed(data[:size]) + data[size:]


def reader_of(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[max(0, offset) : max(0, offset) + length] if length > 0 else b""


TABLES = IndexTables(block_sums=(5,), bin_lengths=(64, 128), dictionary=b"dictionary bytes")
INDEX_HEADER = IndexHeader(segment_id=ID, num_bins=2, num_records=3, is_sealed=True, dictionary_bytes=16).pack()
INDEX = INDEX_HEADER + bytes(48) + TABLES.pack()
RUN_BYTES, FENCES = pack_blocks(np.arange(1500, dtype=np.uint64), np.arange(1500, dtype=np.uint32))
DIRECTORY = pack_directory([KeyRun(64, 100, 7), KeyRun(4096, 1500, 9)])
BIN = BinHeader(segment_id=ID, bin_index=0, num_bins=2).pack()
HEAD = BIN + control_frame(spec.KIND_DICTIONARY, b"d" * 40, bin_salt(ID, 0), 64)
HEAD += bytes(-len(HEAD) % 8) + control_frame(spec.KIND_METADATA, b'{"a":1}', bin_salt(ID, 0), len(HEAD))
LARGE = FrameHeader(
    sequence=1, stored_length=1 << 24, raw_length=1 << 24, payload_hash=3, kind=spec.KIND_LARGE, key_length=4
).pack(5, 64)
TEXT = b"some text that compresses " * 40
DICTIONARY = zstandard.train_dictionary(
    400, [b"%d and some words that are alike %d" % (n, n * 7) for n in range(2000)]
).as_bytes()
MANIFEST = Manifest(generation=3, dataset_id=ID, segments=(INFO,), metadata={"a": [1, 2.5, None, {"b": "c"}]}).encode()
DELETED = pack_deleted(ID, np.array([1, 5, 6, 900], np.uint32))[0]
TABLE = SchemaTable()
TABLE.encode({"image": np.zeros((2, 3), np.float32), "words": ["a", None, 2.5], "struct": np.zeros(1, "i4,U3")})
SCHEMAS = SchemasHeader(ID, is_declared=False).pack() + pack_schemas([bytes(one) for one in TABLE.schemas])
GROUP = pack_group([b"one", b"", b"three records"], [b"key", b"", b"k"], 8)


def use_group(data: bytes) -> object:
    group = RecordGroup(data, range(1, 9))
    found = group.items(), group.views(), group.rows(), [group.key(slot) for slot in range(group.count)]
    group.check_strictly()
    return found


def use_dictionary(data: bytes) -> object:
    return Decompressor(data).decompress(zstandard.compress(TEXT), len(TEXT), 1 << 20)


def use_blocks(data: bytes) -> object:
    # As long as the file says; what is shorter is met before.
    return unpack_blocks(data.ljust(len(RUN_BYTES), b"\0"), 1500), unpack_block(data.ljust(1200, b"\0"), 100)


PARSERS = {
    "manifest": Parser(MANIFEST, Manifest.decode, manifest_sealed),
    "metadata": Parser(json.dumps({"a": [1, {"b": None}]}).encode(), decode_metadata),
    "bin header": Parser(BIN, BinHeader.unpack, header_sealed),
    "index header": Parser(INDEX_HEADER, IndexHeader.unpack, header_sealed),
    "index tables": Parser(
        TABLES.pack(),
        lambda data: IndexTables.unpack(data, num_frames=3, num_bins=2, dictionary_bytes=16),
        tables_sealed,
    ),
    "dictionary in the index": Parser(
        INDEX,
        lambda data: read_from_index(reader_of(data), INFO),
        lambda data: header_sealed(data[:128]) + data[128:],
    ),
    "head of bin 0": Parser(HEAD, lambda data: list(head_frames(reader_of(data)))),
    "dictionary in bin 0": Parser(HEAD, lambda data: read_from_bin(reader_of(data))),
    "search for frames": Parser(HEAD, lambda data: candidate_frames(np.frombuffer(data, np.uint8), 0, bin_salt(ID, 0))),
    "keys header": Parser(KeysHeader(ID).pack(), KeysHeader.unpack, header_sealed),
    "keys footer": Parser(DIRECTORY[-24:], parse_footer),
    "keys directory": Parser(DIRECTORY, lambda data: parse_directory(data, 1 << 20), header_sealed),
    "keys blocks": Parser(RUN_BYTES, use_blocks),
    "frame header": Parser(LARGE, FrameHeader.unpack),
    "zstd frame": Parser(zstandard.compress(TEXT), lambda data: Decompressor().decompress(data, len(TEXT), 1 << 20)),
    "zstd frame in blocks": Parser(
        zstandard.compress(TEXT),
        lambda data: list(decompress_stream(iter([data[:50], data[50:]]), len(TEXT), 1 << 20)),
    ),
    "zstd dictionary": Parser(DICTIONARY, use_dictionary),
    "deleted records": Parser(DELETED, lambda data: unpack_deleted(data, ID, hash64(data)), deleted_sealed),
    "schemas of a segment": Parser(
        SCHEMAS, lambda data: parse_schemas(data, ID), lambda data: header_sealed(data[:64]) + data[64:]
    ),
    "schema": Parser(TABLE.schemas[0], lambda data: parse_schema(data, 1000)),
    "group": Parser(GROUP, use_group),
}


def changed(data: bytes, source: random.Random) -> bytes:
    """Return bytes that differ from valid ones in some way."""
    result = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 5))):
        place = source.randrange(len(result) + 1)
        way = source.randrange(6)
        if way == 0 and result:
            result[min(place, len(result) - 1)] ^= 1 << source.randrange(8)
        elif way == 1:
            del result[place : place + source.choice((1, 8, len(result)))]
        elif way == 2:
            result[place:place] = source.randbytes(source.choice((1, 8, 500)))
        elif way == 3:
            size = source.choice((1, 4, 8))
            number = source.choice(NUMBERS) % 256**size
            result[place // 4 * 4 : place // 4 * 4 + size] = number.to_bytes(size, "little")
        elif way == 4:
            result[place:place] = result[source.randrange(len(result) + 1) :][:200]
        else:
            result[place:place] = source.choice(
                (b"[", b'{"a":', b'"', b"9" * 4400, b"-", b"1e999", b"NaN", b"\xff", b"\x00", b"[" * 3000, b"null")
            )
    return bytes(result)


@pytest.mark.parametrize("name", PARSERS)
def test_parser_takes_what_is_valid(name: str) -> None:
    parser = PARSERS[name]
    parser.parse(parser.valid)
    assert parser.seal(parser.valid) == parser.valid


@pytest.mark.parametrize("name", PARSERS)
def test_parser_refuses_with_an_error_of_the_tree_or_reads(name: str) -> None:
    parser, source = PARSERS[name], random.Random(name)
    for number in range(DRAWS):
        data = changed(parser.valid, source)
        if number % 2 and len(data) > 32:
            data = parser.seal(data)
        with suppress(FormatError, RecordTooLargeError):
            parser.parse(data)


@pytest.mark.parametrize("name", PARSERS)
def test_parser_refuses_noise_and_nothing(name: str) -> None:
    parser, source = PARSERS[name], random.Random(name)
    for length in (*range(70), 200, 4096):
        for data in (bytes(length), source.randbytes(length), parser.valid[:length]):
            with suppress(FormatError, RecordTooLargeError):
                parser.parse(data)


def test_tables_of_any_claim_have_a_size() -> None:
    for num_records in NUMBERS:
        assert tables_size(num_records, 2**32 - 1, 2**32 - 1) > 0


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
def test_directory_of_more_keys_than_a_segment_may_have_records_is_refused(more: int, is_refused: bool) -> None:
    # A file that is one hole has room for them, and the fences of all would be hashed.
    half = spec.MAX_SEGMENT_RECORDS // 2
    first = KeyRun(spec.KEYS_HEADER_BYTES, half, 0)
    runs = [first, KeyRun(-(-first.end // 8) * 8, half + more, 0)]
    if is_refused:
        with pytest.raises(FormatError, match="more than a segment has records"):
            parse_directory(pack_directory(runs), runs[-1].end)
    else:
        assert parse_directory(pack_directory(runs), runs[-1].end) == runs
