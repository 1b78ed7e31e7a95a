"""Oddities of large records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import CORRUPT, CUT, TOO_LARGE, Case, hash_of, in_segment
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor, align_up
from tests.conformance.golden_datasets import LARGE_BYTES
from tests.conformance.odd_zstd import zstd_frame

__all__ = ["large_cases", "replace_large"]

_LARGE: Final = 1 << 24
_MIB: Final = 1 << 20
# What becomes of the key of the large record, and of a search for it.
_NO_KEY: Final[dict[str, Any]] = {"keys": {1: CORRUPT}, "find": {"large": CORRUPT}}
_CUT_KEY: Final[dict[str, Any]] = {"keys": {1: CUT}, "find": {"large": CUT}}


def large_cases() -> Iterator[Case]:
    """Yield all of them."""
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
        # The key of a record does not depend on the bytes of it, nor on their hashes.
        hides_key = name not in {"table", "payload"}
        yield Case(
            f"large-{name}",
            8,
            f"a large record: {what}",
            _large(change),
            base="large-zstd",
            records={1: CORRUPT},
            **(_NO_KEY if hides_key else {}),
        )
    yield Case(
        "large-key",
        9,
        "a large record: a bit of its key has flipped",
        in_segment(lambda segment: segment.flip("000000.bin", _end_of_large(segment) + 2)),
        base="large-zstd",
        **_NO_KEY,
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
        intact=False,
    )
    yield Case(
        "large-table-cut",
        9,
        "a large record: the bin ends within its block hashes",
        _large(lambda segment, _, table: segment.file("000000.bin").__delitem__(slice(table + 7, None))),
        base="large-zstd",
        records={1: CUT},
        **_CUT_KEY,
    )
    yield Case(
        "large-header-cut",
        9,
        "a large record: the bin ends within words 4 to 7",
        _large(lambda segment, begin, _: segment.file("000000.bin").__delitem__(slice(begin + 63, None))),
        base="large-zstd",
        records={1: [CUT, CORRUPT]},
        keys={1: [CUT, CORRUPT]},
        find={"large": [CUT, CORRUPT]},
    )
    edit = in_segment(_plain_large)
    ranges = [(0, 9), (_MIB - 1, _MIB + 1), (LARGE_BYTES - 6, LARGE_BYTES), (3 * _MIB, 4 * _MIB)]
    yield Case(
        "large-plain",
        9,
        "a large record that is not compressed",
        edit,
        base="large-zstd",
        ranges=[[1, start, stop, hash_of(bytes(stop - start))] for start, stop in ranges],
    )
    yield Case(
        "large-plain-block",
        9,
        "a large record that is not compressed: a bit of block 3 has flipped",
        in_segment(lambda segment: _plain_large(segment, 3 * _MIB + 77)),
        base="large-zstd",
        records={1: CORRUPT},
        ranges=[
            *([1, start, stop, hash_of(bytes(stop - start))] for start, stop in ranges[:3]),
            *([1, start, start + 1, CORRUPT] for start in (3 * _MIB, 4 * _MIB - 1)),
            [1, 4 * _MIB, 4 * _MIB + 1, hash_of(bytes(1))],
        ],
    )
    yield Case(
        "large-escape-cut",
        9,
        "a large record of 4 GiB, whose bin ends",
        in_segment(_escaped),
        base="large-zstd",
        records={1: CUT},
        **_CUT_KEY,
    )
    yield Case(
        "large-escape-few",
        8,
        "a large record whose lengths are escaped, and less than the escape",
        _large(lambda segment, *_: _escape_without_need(segment)),
        base="large-zstd",
        records={1: CORRUPT},
        **_NO_KEY,
    )
    yield Case(
        "large-too-large",
        10,
        "a large record that is compressed, of 1 GiB and a byte",
        in_segment(_too_large),
        base="large-zstd",
        records={1: TOO_LARGE},
    )


def _large(change: Callable[[SegmentEditor, int, int], object]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        segment = dataset.segment()
        begin, stored, _ = segment.entry(1)
        change(segment, begin, begin + 64 + align_up(stored, 8))

    return edit


def _reword(segment: SegmentEditor, number: int, more: int) -> None:
    header = segment.frame(1)
    words = list(header.words)
    words[number] += more
    segment.set_frame(1, header._replace(words=(words[0], words[1], words[2], words[3])))


def _relength(segment: SegmentEditor, raw: int) -> None:
    header = segment.frame(1)
    segment.set_frame(1, header._replace(raw=raw, words=(header.words[0], raw, 0, 0)))


def replace_large(segment: SegmentEditor, payload: bytes, *, raw: int, codec: int, hashed: bytes | None = None) -> None:
    """Put another payload in the place of that of the large record; its block hashes may be those of other bytes."""
    begin, *_ = segment.entry(1)
    end = _end_of_large(segment)
    header = segment.frame_of_large(raw, len(payload), codec)
    behind = segment.file("000000.bin")[end : end + header.key_length + 8]
    proven = payload if hashed is None else hashed
    table = b"".join(
        hash64(proven[start : start + _MIB]).to_bytes(8, "little") for start in range(0, len(proven), _MIB)
    )
    file = segment.file("000000.bin")
    del file[begin:]
    file += bytes(64) + payload + bytes(-len(payload) % 8) + table + behind
    file += bytes(-(len(file) + 32) % 64)
    segment.set_frame_at(1, begin, header._replace(payload_hash=hash64(table)))


def _plain_large(segment: SegmentEditor, flipped: int | None = None) -> None:
    payload = bytearray(LARGE_BYTES)
    if flipped is not None:
        payload[flipped] ^= 1
    replace_large(segment, bytes(payload), raw=LARGE_BYTES, codec=0, hashed=bytes(LARGE_BYTES))


def _escaped(segment: SegmentEditor) -> None:
    header = segment.frame(1)
    length = 1 << 32
    segment.set_frame(1, header._replace(codec=0, stored=length, raw=length, words=(length, length, 0, 0)))


def _escape_without_need(segment: SegmentEditor) -> None:
    header = segment.frame(1)
    segment.set_frame(1, header._replace(raw=2**32 - 1))


def _too_large(segment: SegmentEditor) -> None:
    # The frame ends early: nobody is to look at it.
    length = (1 << 30) + 1
    replace_large(segment, zstd_frame(b"\0", 1 << 17, declared=length), raw=length, codec=1)


def _end_of_large(segment: SegmentEditor) -> int:
    begin, stored, _ = segment.entry(1)
    return begin + 64 + align_up(stored, 8) + 8 * -(-stored // _MIB)
