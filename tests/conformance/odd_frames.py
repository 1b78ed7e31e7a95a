"""Oddities of frames: their headers, large records, what is compressed, dictionaries, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from struct import pack
from typing import Any, Final

import zstandard
from xxhash import xxh3_64_intdigest as hash64
from xxhash import xxh64_intdigest

from tests.conformance.case import Case
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor, align_up
from tests.conformance.golden_datasets import GROUPED, LARGE_BYTES

__all__ = ["frame_cases"]

_CORRUPT: Final = "CorruptRecordError"
_CUT: Final = "TruncatedFileError"
_LARGE: Final = 1 << 24
_MIB: Final = 1 << 20
_REPEATED: Final = b"a" * 300


def _edit(change: Callable[[SegmentEditor], object]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        change(dataset.segment())

    return edit


def _field(frame: int, **fields: Any) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.set_frame(frame, segment.frame(frame)._replace(**fields)))


def _flipped(at: int) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.flip("000000.bin", segment.entry(2)[0] + at))


def _stored(payload: bytes) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.replace_last(payload))


def frame_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_headers()
    yield from _of_payloads()
    yield from _of_large_records()
    yield from _of_zstd()
    yield from _of_dictionaries()
    yield from _of_groups()


def _of_headers() -> Iterator[Case]:
    corrupt: list[tuple[str, str, dict[str, Any]]] = [
        ("sequence", "has the sequence number of another", {"sequence": 4}),
        ("control-sequence", "has the sequence number of a control frame", {"sequence": 2**32 - 1}),
        ("kind-dictionary", "is of the kind of a dictionary", {"kind": 1}),
        ("kind-metadata", "is of the kind of metadata", {"kind": 2}),
        ("kind-group", "is a group in a segment without groups", {"kind": 3}),
        ("kind-reserved", "is of a kind that is reserved", {"kind": 5}),
        ("codec-reserved", "is of a codec that is reserved", {"codec": 3}),
        ("codec-encryption", "is of a codec reserved for encryption", {"codec": 128}),
        ("codec-zstd-same-length", "says zstd and one length for both", {"codec": 1}),
        ("codec-zstd-longer", "says zstd and is stored longer than raw", {"codec": 1, "raw": 8}),
        ("codec-none-shorter", "says no codec and is stored shorter than raw", {"raw": 10}),
        ("codec-none-longer", "says no codec and is stored longer than raw", {"raw": 8}),
        (
            "codec-dictionary",
            "says a dictionary where the segment has none, and is no zstd frame",
            {"codec": 2, "raw": 10},
        ),
        (
            "raw-large",
            "is of the kind of small records and has the raw length of a large one",
            {"codec": 1, "raw": _LARGE},
        ),
        ("escape", "has the escape for both lengths, and is no large record", {"stored": 2**32 - 1, "raw": 2**32 - 1}),
    ]
    for name, what, fields in corrupt:
        error: Any = [_CORRUPT, _CUT] if name == "escape" else _CORRUPT
        yield Case(f"frame-{name}", 8, f"frame 2 {what}", _field(2, **fields), records={2: error})
    yield Case(
        "frame-kind-large",
        8,
        "frame 4 is of the kind of large records",
        _field(4, kind=4, words=(256, 256, 0, 0)),
        records={4: [_CORRUPT, _CUT]},
    )
    yield Case(
        "frame-key-length",
        9,
        "frame 2 says that a key follows, which does not",
        _field(2, key_length=3),
        records={},
        keys={2: _CORRUPT},
    )
    yield Case(
        "frame-sync",
        8,
        "the sync word of frame 2 is another",
        _edit(lambda segment: segment.flip("000000.bin", segment.entry(2)[0])),
        keys={2: _CORRUPT},
    )
    yield Case(
        "frame-check",
        8,
        "the header check of frame 2 is wrong",
        _edit(lambda segment: segment.flip("000000.bin", segment.entry(2)[0] + 4)),
        keys={2: _CORRUPT},
    )


def _of_payloads() -> Iterator[Case]:
    for name, at in (("payload", 32), ("payload-hash", 8)):
        edit = _flipped(at)
        yield Case(
            f"frame-{name}",
            9,
            f"a bit of the {name.replace('-', ' ')} of frame 2 has flipped",
            edit,
            records={2: _CORRUPT},
        )
    yield Case(
        "frame-empty-hash", 9, "a record of no bytes has a wrong hash", _field(1, payload_hash=0), records={1: _CORRUPT}
    )


def _large(change: Callable[[SegmentEditor, int, int], object]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        segment = dataset.segment()
        begin, stored, _ = segment.entry(1)
        change(segment, begin, begin + 64 + align_up(stored, 8))

    return edit


def _of_large_records() -> Iterator[Case]:
    broken: dict[str, tuple[str, Callable[[SegmentEditor, int, int], object]]] = {
        "word-4": ("word 4 says another stored length than word 3", lambda segment, *_: _reword(segment, 0, 1)),
        "word-5": ("word 5 says another raw length than word 3", lambda segment, *_: _reword(segment, 1, 1)),
        "kind-record": (
            "its kind is that of small records",
            lambda segment, *_: segment.set_frame(1, segment.frame(1)._replace(kind=0)),
        ),
        "codec-dictionary": (
            "its codec needs a dictionary",
            lambda segment, *_: segment.set_frame(1, segment.frame(1)._replace(codec=2)),
        ),
        "raw-small": ("its raw length is that of a small record", lambda segment, *_: _relength(segment, _LARGE - 1)),
        "table": ("its block hash is another", lambda segment, _, table: segment.flip("000000.bin", table)),
        "payload": (
            "a bit of its payload has flipped",
            lambda segment, begin, _: segment.flip("000000.bin", begin + 64 + 20),
        ),
        "payload-hash": (
            "a bit of its payload hash has flipped",
            lambda segment, begin, _: segment.flip("000000.bin", begin + 8),
        ),
    }
    for name, (what, change) in broken.items():
        yield Case(
            f"large-{name}", 8, f"a large record: {what}", _large(change), base="large-zstd", records={1: _CORRUPT}
        )
    yield Case(
        "large-reserved",
        8,
        "a large record: words 6 and 7 are not zero, and the check is right",
        _large(lambda segment, *_: _reword(segment, 2, 5)),
        base="large-zstd",
    )
    yield Case(
        "large-padding",
        9,
        "a large record: bytes before its block hashes are not zero",
        _large(lambda segment, _, table: segment.flip("000000.bin", table - 1)),
        base="large-zstd",
    )
    yield Case(
        "large-table-cut",
        9,
        "a large record: the bin ends within its block hashes",
        _large(lambda segment, _, table: segment.file("000000.bin").__delitem__(slice(table + 7, None))),
        base="large-zstd",
        records={1: _CUT},
    )
    yield Case(
        "large-header-cut",
        9,
        "a large record: the bin ends within words 4 to 7",
        _large(lambda segment, begin, _: segment.file("000000.bin").__delitem__(slice(begin + 63, None))),
        base="large-zstd",
        records={1: [_CUT, _CORRUPT]},
    )
    yield Case("large-plain", 9, "a large record that is not compressed", _edit(_plain_large), base="large-zstd")
    yield Case(
        "large-plain-block",
        9,
        "a large record that is not compressed: a bit of block 3 has flipped",
        _edit(lambda segment: _plain_large(segment, 3 * _MIB + 77)),
        base="large-zstd",
        records={1: _CORRUPT},
    )
    yield Case(
        "large-escape-cut",
        9,
        "a large record of 4 GiB, whose bin ends",
        _edit(_escaped),
        base="large-zstd",
        records={1: _CUT},
    )
    yield Case(
        "large-escape-few",
        8,
        "a large record whose lengths are escaped, and less than the escape",
        _large(lambda segment, *_: _escape_without_need(segment)),
        base="large-zstd",
        records={1: _CORRUPT},
    )
    yield Case(
        "large-too-large",
        10,
        "a large record that is compressed, of 1 GiB and a byte",
        _edit(_too_large),
        base="large-zstd",
        records={1: "RecordTooLargeError"},
    )


def _reword(segment: SegmentEditor, number: int, more: int) -> None:
    header = segment.frame(1)
    words = list(header.words)
    words[number] += more
    segment.set_frame(1, header._replace(words=(words[0], words[1], words[2], words[3])))


def _relength(segment: SegmentEditor, raw: int) -> None:
    header = segment.frame(1)
    segment.set_frame(1, header._replace(raw=raw, words=(header.words[0], raw, 0, 0)))


def _replace_large(
    segment: SegmentEditor, payload: bytes, *, raw: int, codec: int, hashed: bytes | None = None
) -> None:
    begin, *_ = segment.entry(1)
    header = segment.frame_of_large(raw, len(payload), codec)
    proven = payload if hashed is None else hashed
    table = b"".join(
        hash64(proven[start : start + _MIB]).to_bytes(8, "little") for start in range(0, len(proven), _MIB)
    )
    file = segment.file("000000.bin")
    del file[begin:]
    file += bytes(64) + payload + bytes(-len(payload) % 8) + table
    file += bytes(-(len(file) + 32) % 64)
    segment.set_frame_at(1, begin, header._replace(payload_hash=hash64(table)))


def _plain_large(segment: SegmentEditor, flipped: int | None = None) -> None:
    payload = bytearray(LARGE_BYTES)
    if flipped is not None:
        payload[flipped] ^= 1
    _replace_large(segment, bytes(payload), raw=LARGE_BYTES, codec=0, hashed=bytes(LARGE_BYTES))


def _escaped(segment: SegmentEditor) -> None:
    header = segment.frame(1)
    length = 1 << 32
    segment.set_frame(1, header._replace(codec=0, stored=length, raw=length, words=(length, length, 0, 0)))


def _escape_without_need(segment: SegmentEditor) -> None:
    header = segment.frame(1)
    segment.set_frame(1, header._replace(raw=2**32 - 1))


def _too_large(segment: SegmentEditor) -> None:
    length = (1 << 30) + 1
    _replace_large(segment, zstd_frame(b"\0", length), raw=length, codec=1)


def zstd_frame(
    byte: bytes,
    length: int,
    *,
    window: int | None = None,
    declared: int | None = None,
    id_bytes: bytes = b"",
    checksum: int | None = None,
) -> bytes:
    """Return a zstd frame that repeats a byte, put together by hand.

    Args:
        window: Logarithm of the window; None says that it is the content size.
        declared: Content size that is declared: None is the length, -1 leaves it out.
        id_bytes: The id of a dictionary, 0, 1, 2 or 4 bytes.
        checksum: What stands behind the blocks; None leaves it out.
    """
    size = length if declared is None else declared
    flags = (
        (0 if size < 0 else 2 << 6)
        | (window is None) << 5
        | (checksum is not None) << 2
        | (0, 1, 2, 0, 3)[len(id_bytes)]
    )
    head = b"\x28\xb5\x2f\xfd" + bytes([flags])
    head += b"" if window is None else bytes([(window - 10) << 3])
    head += id_bytes + (b"" if size < 0 else pack("<I", size))
    blocks = b""
    most = min(1 << 17, 1 << window if window is not None else length)
    for start in range(0, length, most):
        piece = min(most, length - start)
        blocks += ((start + piece == length) | 1 << 1 | piece << 3).to_bytes(3, "little") + byte
    return head + blocks + (b"" if checksum is None else pack("<I", checksum))


def _of_zstd() -> Iterator[Case]:
    whole = zstd_frame(b"a", 300)
    right = xxh64_intdigest(_REPEATED) & 0xFFFFFFFF
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip"
    empty = b"\x28\xb5\x2f\xfd\x20\x00\x01\0\0"
    refused = {
        "two-frames": ("two zstd frames, which are the record together", zstd_frame(b"a", 150) * 2),
        "second-frame-empty": ("a second zstd frame of no bytes", whole + empty),
        "first-frame-empty": ("a zstd frame of no bytes before that of the record", empty + whole),
        "skippable-behind": ("a skippable frame behind", whole + skippable),
        "skippable-before": ("a skippable frame before", skippable + whole),
        "byte-behind": ("a byte behind the zstd frame", whole + b"\0"),
        "no-size": ("no content size", zstd_frame(b"a", 300, window=17, declared=-1)),
        "greater-size": ("a greater content size", zstd_frame(b"a", 300, declared=301)),
        "smaller-size": ("a smaller content size", zstd_frame(b"a", 300, window=17, declared=299)),
        "shorter-record": ("a record of another length, rightly declared", zstd_frame(b"a", 299)),
        "window": ("a window of 256 MiB", zstd_frame(b"a", 300, window=28)),
        "dictionary-id": ("the id of a dictionary", zstd_frame(b"a", 300, id_bytes=b"\x07")),
        "checksum": ("a checksum that is wrong", zstd_frame(b"a", 300, checksum=right ^ 1)),
        "cut": ("a zstd frame that ends early", whole[:-1]),
        "magic": ("another magic", b"\x27" + whole[1:]),
        "reserved-bit": ("the reserved bit of its header", whole[:4] + bytes([whole[4] | 8]) + whole[5:]),
        "reserved-block": (
            "a block of the reserved type",
            whole[:9] + (1 | 3 << 1 | 300 << 3).to_bytes(3, "little") + b"a",
        ),
    }
    for name, (what, stored) in refused.items():
        edit = _stored(stored)
        yield Case(f"zstd-{name}", 10, f"a compressed record: {what}", edit, base="zstd", records={3: _CORRUPT})
    taken = {
        "by-hand": ("one block that repeats a byte", whole),
        "checksum-right": ("a checksum, which is right", zstd_frame(b"a", 300, checksum=right)),
        "window-128": ("a window of 128 MiB", zstd_frame(b"a", 300, window=27)),
        "dictionary-id-0": ("the id 0 of a dictionary, in one byte", zstd_frame(b"a", 300, id_bytes=b"\0")),
    }
    for name, (what, stored) in taken.items():
        edit = _stored(stored)
        yield Case(f"zstd-{name}", 10, f"a compressed record: {what}", edit, base="zstd")
    edit = _edit(lambda segment: segment.replace_last(b"\x28\xb5\x2f\xfd" + bytes(12), raw=(1 << 24) - 1))
    yield Case("zstd-claims", 10, "a record of 16 bytes that claims 16 MiB", edit, base="zstd", records={3: _CORRUPT})
    yield Case(
        "zstd-not-compressed",
        10,
        "a record with the codec of zstd, whose bytes are no zstd frame",
        _edit(lambda segment: segment.replace_last(b"a" * 299)),
        base="zstd",
        records={3: _CORRUPT},
    )


_RECORDS: Final = 400
_NEED_IT: Final = tuple(range(_RECORDS))


def _of_dictionaries() -> Iterator[Case]:
    yield Case(
        "dictionary-index-damaged",
        10,
        "the dictionary of the index is damaged, that of bin 0 is not",
        _edit(lambda segment: segment.flip("index", len(segment.index) - 200)),
        base="dictionary",
    )
    yield Case(
        "dictionary-bin-damaged",
        10,
        "the dictionary of bin 0 is damaged, that of the index is not",
        _edit(lambda segment: segment.flip("000000.bin", 64 + 32 + 300)),
        base="dictionary",
    )
    yield Case(
        "dictionary-both-damaged",
        10,
        "both copies of the dictionary are damaged",
        _edit(_damage_both),
        base="dictionary",
        records=dict.fromkeys(_NEED_IT, _CORRUPT),
    )
    yield Case(
        "dictionary-index-cut",
        10,
        "the index ends behind its entries, the dictionary of bin 0 is intact",
        _edit(lambda segment: segment.index.__delitem__(slice(128 + 16 * _RECORDS, None))),
        base="dictionary",
    )
    yield Case(
        "dictionary-no-header",
        10,
        "the header of the index is not intact, the dictionary of bin 0 is",
        _edit(lambda segment: segment.set_header("index", 96, b"\1", intact=False)),
        base="dictionary",
    )
    yield Case(
        "dictionary-hollow",
        10,
        "the dictionary has the magic of zstd and nothing in it",
        _edit(_hollow),
        base="dictionary",
        records=dict.fromkeys(_NEED_IT, _CORRUPT),
    )
    yield Case(
        "dictionary-own-id",
        10,
        "a record names the id of the dictionary",
        _edit(lambda segment: _recompress(segment, with_id=True)),
        base="dictionary",
    )
    yield Case(
        "dictionary-other-id",
        10,
        "a record names the id of another dictionary",
        _edit(lambda segment: _recompress(segment, with_id=True, change=True)),
        base="dictionary",
        records={_RECORDS - 1: _CORRUPT},
    )
    yield Case(
        "dictionary-raw", 10, "the dictionary of one record is its content alone", _edit(_raw_dictionary), base="zstd"
    )


def _dictionary(segment: SegmentEditor) -> tuple[int, int]:
    """Return where the dictionary begins in the index, and its length."""
    length = int.from_bytes(segment.index[96:100], "little")
    return len(segment.index) - 24 - align_up(length, 8), length


def _damage_both(segment: SegmentEditor) -> None:
    start, _ = _dictionary(segment)
    segment.flip("index", start + 300)
    segment.flip("000000.bin", 64 + 32 + 300)


def _hollow(segment: SegmentEditor) -> None:
    start, length = _dictionary(segment)
    hollow = b"\x37\xa4\x30\xec" + bytes(length - 4)
    segment.index[start : start + length] = hollow
    segment.file("000000.bin")[96 : 96 + length] = hollow
    segment.set_control_frame(hollow, kind=1)
    segment.rehash()


def _recompress(segment: SegmentEditor, *, with_id: bool, change: bool = False) -> None:
    start, length = _dictionary(segment)
    shared = zstandard.ZstdCompressionDict(bytes(segment.index[start : start + length]))
    raw = zstandard.ZstdDecompressor(dict_data=shared).decompress(segment.payload(_RECORDS - 1))
    stored = bytearray(zstandard.ZstdCompressor(dict_data=shared, write_dict_id=with_id).compress(raw))
    if change:
        stored[5 + (not stored[4] & 32)] ^= 1
    segment.replace_last(bytes(stored), raw=len(raw))


def _raw_dictionary(segment: SegmentEditor) -> None:
    """Move everything one dictionary further, and compress the last record with it."""
    content = b"a" * 64
    frames = [(segment.frame(number), segment.payload(number)) for number in range(segment.frames)]
    segment.add_dictionary(content)
    shared = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stored = zstandard.ZstdCompressor(dict_data=shared).compress(_REPEATED)
    header, _ = frames[-1]
    frames[-1] = (header._replace(codec=2, stored=len(stored), payload_hash=hash64(stored)), stored)
    segment.append_frames(frames)


def _of_groups() -> Iterator[Case]:
    # The second group, records 4 to 7, is alone in bin 1.
    second, all_of_it = range(4, 8), dict.fromkeys(range(4, 8), _CORRUPT)
    # Who reads one record may look at its own place alone.
    others = {position: [_hash_of(position), _CORRUPT] for position in second}
    changes: dict[str, tuple[str, Callable[[bytearray], object], tuple[int, ...]]] = {
        "fewer": ("it counts three records", lambda data: data.__setitem__(0, 3), (4, 5, 6, 7)),
        "more": ("it counts five records", lambda data: data.__setitem__(0, 5), (4, 5, 6, 7)),
        "none": ("it counts no record", lambda data: data.__setitem__(0, 0), (4, 5, 6, 7)),
        "many": (
            "it counts four billion records",
            lambda data: data.__setitem__(slice(0, 4), b"\xff" * 4),
            (4, 5, 6, 7),
        ),
        "flags": ("it has a flag that is not known", lambda data: data.__setitem__(5, 2), (4, 5, 6, 7)),
        "alignment": ("its items are aligned to 128", lambda data: data.__setitem__(4, 7), (4, 5, 6, 7)),
        "first-end": (
            "its first item ends before the tables do",
            lambda data: data.__setitem__(slice(8, 12), pack("<I", 20)),
            (4,),
        ),
        "descending": (
            "its second item ends before it begins",
            lambda data: data.__setitem__(slice(12, 16), pack("<I", 10)),
            (5, 6),
        ),
        "beyond": (
            "its last item ends beyond the payload",
            lambda data: data.__setitem__(slice(20, 24), pack("<I", len(data) + 1)),
            (7,),
        ),
        "cut": ("it ends within its tables", lambda data: data.__delitem__(slice(20, None)), (4, 5, 6, 7)),
        "head-cut": ("it ends within its head", lambda data: data.__delitem__(slice(7, None)), (4, 5, 6, 7)),
        "no-byte": ("it has no byte", lambda data: data.clear(), (4, 5, 6, 7)),
    }
    for name, (what, change, places) in changes.items():
        edit = _edit(partial(_regroup_by, change))
        wrong = others | dict.fromkeys(places, _CORRUPT)
        yield Case(f"group-{name}", 11, f"a group: {what}", edit, base="grouped", records=wrong)
    yield Case(
        "group-bytes-behind",
        11,
        "a group: bytes behind its last item",
        _edit(lambda segment: _regroup(segment, lambda data: data.extend(b"xy"))),
        base="grouped",
    )
    yield Case(
        "group-gap", 11, "a group: bytes between aligned items are not zero", _edit(_fill_gap), base="grouped-aligned"
    )
    for name, kind, what in (
        ("kind-record", 0, "its kind is that of a record"),
        ("kind-large", 4, "its kind is that of a large record"),
    ):
        error: Any = _CORRUPT if kind == 0 else [_CORRUPT, _CUT]
        yield Case(
            f"group-{name}",
            8,
            f"a group: {what}",
            _field(1, kind=kind),
            base="grouped",
            records=dict.fromkeys(second, error),
        )
    yield Case(
        "group-key-length", 8, "a group: its frame says that a key follows", _field(1, key_length=3), base="grouped"
    )
    yield Case(
        "group-payload",
        11,
        "a group: a bit of its payload has flipped",
        _edit(lambda segment: segment.flip("000001.bin", segment.entry(1)[0] + 32 + 30)),
        base="grouped",
        records=all_of_it,
    )
    yield Case(
        "group-zstd-payload",
        11,
        "a compressed group: a bit of its payload has flipped",
        _edit(lambda segment: segment.flip("000001.bin", segment.entry(1)[0] + 32 + 9)),
        base="grouped-zstd",
        records=dict.fromkeys(range(8, 11), _CORRUPT),
    )
    tables = 8 + 4 * 4
    descending = _edit(lambda segment: _rekey(segment, tables + 4, 0))
    yield Case(
        "group-key-descending",
        11,
        "a group: its second key ends before it begins",
        descending,
        base="grouped-keyed",
        records=others,
        keys=_choice(5, (4, 6)),
        find=_found(5, (4, 6)),
    )
    beyond = _edit(lambda segment: _rekey(segment, tables + 8, 1 << 31))
    yield Case(
        "group-key-beyond",
        11,
        "a group: its third key ends beyond the payload",
        beyond,
        base="grouped-keyed",
        records=others,
        keys=_choice(6, (4, 5)) | {7: _CORRUPT},
        find=_found(6, (4, 5)),
    )


def _hash_of(position: int) -> str:
    """Return the hash of a record of the groups, as a verdict has it."""
    return f"{hash64(GROUPED[position]):016x}"


def _choice(wrong: int, others: tuple[int, ...]) -> dict[int, Any]:
    """Return verdicts on the keys of a group: one is wrong, the others may be read."""
    return {wrong: _CORRUPT} | {position: [f"key {position}", _CORRUPT] for position in others} | {7: [None, _CORRUPT]}


def _found(wrong: int, others: tuple[int, ...]) -> dict[str, Any]:
    return {f"key {wrong}": _CORRUPT} | {f"key {position}": [position, _CORRUPT] for position in others}


def _rekey(segment: SegmentEditor, offset: int, end: int) -> None:
    _regroup(segment, lambda data: data.__setitem__(slice(offset, offset + 4), pack("<I", end)))


def _regroup_by(change: Callable[[bytearray], object], segment: SegmentEditor) -> None:
    _regroup(segment, change)


def _regroup(segment: SegmentEditor, change: Callable[[bytearray], object]) -> None:
    payload = bytearray(segment.payload(1))
    change(payload)
    segment.replace_last(bytes(payload), frame=1, raw=len(payload))


def _fill_gap(segment: SegmentEditor) -> None:
    # The last group of three; its tables have 20 bytes, its first item begins at 64.
    payload = bytearray(segment.payload(2))
    payload[21] = 1
    segment.replace_last(bytes(payload), raw=len(payload))
