"""Oddities of what is compressed, and of dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack
from typing import Final

import zstandard
from xxhash import xxh3_64_intdigest as hash64
from xxhash import xxh64_intdigest

from tests.conformance.case import CORRUPT, Case, in_segment
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor, align_up
from tests.conformance.golden_datasets import DICTIONARY_RECORDS

__all__ = ["zstd_cases", "zstd_frame"]

_REPEATED: Final = b"a" * 300
_RECORDS: Final = DICTIONARY_RECORDS
_NEED_IT: Final = tuple(range(_RECORDS))


def zstd_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_zstd()
    yield from _of_dictionaries()


def _stored(payload: bytes) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.replace_last(payload))


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
        yield Case(f"zstd-{name}", 10, f"a compressed record: {what}", edit, base="zstd", records={3: CORRUPT})
    taken = {
        "by-hand": ("one block that repeats a byte", whole),
        "checksum-right": ("a checksum, which is right", zstd_frame(b"a", 300, checksum=right)),
        "window-128": ("a window of 128 MiB", zstd_frame(b"a", 300, window=27)),
        "dictionary-id-0": ("the id 0 of a dictionary, in one byte", zstd_frame(b"a", 300, id_bytes=b"\0")),
    }
    for name, (what, stored) in taken.items():
        edit = _stored(stored)
        yield Case(f"zstd-{name}", 10, f"a compressed record: {what}", edit, base="zstd")
    edit = in_segment(lambda segment: segment.replace_last(b"\x28\xb5\x2f\xfd" + bytes(12), raw=(1 << 24) - 1))
    yield Case("zstd-claims", 10, "a record of 16 bytes that claims 16 MiB", edit, base="zstd", records={3: CORRUPT})
    yield Case(
        "zstd-not-compressed",
        10,
        "a record with the codec of zstd, whose bytes are no zstd frame",
        in_segment(lambda segment: segment.replace_last(b"a" * 299)),
        base="zstd",
        records={3: CORRUPT},
    )


def _of_dictionaries() -> Iterator[Case]:
    yield Case(
        "dictionary-index-damaged",
        10,
        "the dictionary of the index is damaged, that of bin 0 is not",
        in_segment(lambda segment: segment.flip("index", len(segment.index) - 200)),
        base="dictionary",
        intact=False,
    )
    yield Case(
        "dictionary-bin-damaged",
        10,
        "the dictionary of bin 0 is damaged, that of the index is not",
        in_segment(lambda segment: segment.flip("000000.bin", 64 + 32 + 300)),
        base="dictionary",
        intact=False,
    )
    yield Case(
        "dictionary-both-damaged",
        10,
        "both copies of the dictionary are damaged",
        in_segment(_damage_both),
        base="dictionary",
        records=dict.fromkeys(_NEED_IT, CORRUPT),
    )
    yield Case(
        "dictionary-index-cut",
        10,
        "the index ends behind its entries, the dictionary of bin 0 is intact",
        in_segment(lambda segment: segment.index.__delitem__(slice(128 + 16 * _RECORDS, None))),
        base="dictionary",
        intact=False,
    )
    yield Case(
        "dictionary-no-header",
        10,
        "the header of the index is not intact, the dictionary of bin 0 is",
        in_segment(lambda segment: segment.set_header("index", 96, b"\1", intact=False)),
        base="dictionary",
        intact=False,
    )
    for name, length in (("longest", 1 << 24), ("too-long", (1 << 24) + 1), ("huge", (1 << 32) - 1)):
        yield Case(
            f"dictionary-{name}",
            10,
            f"the index says that the dictionary has {length:,} bytes, which it does not hold",
            in_segment(lambda segment, length=length: segment.set_header("index", 96, pack("<I", length))),  # type: ignore[misc]  # a default, to bind it
            base="dictionary",
            intact=False,
        )
    yield Case(
        "dictionary-hollow",
        10,
        "the dictionary has the magic of zstd and nothing in it",
        in_segment(_hollow),
        base="dictionary",
        records=dict.fromkeys(_NEED_IT, CORRUPT),
    )
    yield Case(
        "dictionary-own-id",
        10,
        "a record names the id of the dictionary",
        in_segment(lambda segment: _recompress(segment, with_id=True)),
        base="dictionary",
    )
    yield Case(
        "dictionary-other-id",
        10,
        "a record names the id of another dictionary",
        in_segment(lambda segment: _recompress(segment, with_id=True, change=True)),
        base="dictionary",
        records={_RECORDS - 1: CORRUPT},
    )
    yield Case(
        "dictionary-raw",
        10,
        "the dictionary of one record is its content alone",
        in_segment(_raw_dictionary),
        base="zstd",
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
