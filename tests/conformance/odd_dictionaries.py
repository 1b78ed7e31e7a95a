"""Oddities of the two copies of a dictionary: where a reader takes it from, and what it says if it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack
from typing import Any, Final

import zstandard
from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import CORRUPT, MISSING, Case, in_segment
from tests.conformance.dataset_editor import DatasetEditor, Frame, SegmentEditor, align_up
from tests.conformance.golden_datasets import DICTIONARY_RECORDS

__all__ = ["dictionary_cases"]

_ALL: Final = range(DICTIONARY_RECORDS)
_BIN_0: Final = _ALL[::2]
_BIN_1: Final = _ALL[1::2]
_REPEATED: Final = b"a" * 300
_CONTENT: Final = b"a" * 64


def dictionary_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_places()
    yield from _of_bin_0()
    yield from _of_fallback()
    yield from _of_one_place()


def _each(positions: range, error: str) -> dict[int, Any]:
    return dict.fromkeys(positions, error)


def _damage_bin(segment: SegmentEditor) -> None:
    segment.flip("000000.bin", 64 + 32 + 300)


def _damage_index(segment: SegmentEditor) -> None:
    segment.flip("index", len(segment.index) - 200)


def _of_places() -> Iterator[Case]:
    def longer(segment: SegmentEditor) -> None:
        segment.index.extend(bytes(40))
        _damage_bin(segment)

    yield Case(
        "dictionary-index-longer",
        10,
        "bytes behind the tables of the index, and the dictionary of bin 0 is damaged",
        in_segment(longer),
        base="dictionary",
        intact=False,
    )

    def fewer(segment: SegmentEditor) -> None:
        segment.set_header("index", 40, pack("<Q", DICTIONARY_RECORDS - 50))
        _damage_bin(segment)

    yield Case(
        "dictionary-index-says-fewer",
        10,
        "the header of the index counts 50 records less, and the dictionary of bin 0 is damaged",
        in_segment(fewer),
        base="dictionary",
        intact=False,
    )

    def hollow(segment: SegmentEditor) -> None:
        length = int.from_bytes(segment.index[96:100], "little")
        start = len(segment.index) - 24 - align_up(length, 8)
        segment.index[start : start + length] = b"\x37\xa4\x30\xec" + bytes(length - 4)
        segment.rehash()

    yield Case(
        "dictionary-hollow-in-index",
        10,
        "the dictionary of the index has the magic of zstd, nothing in it and its hash; that of bin 0 is right",
        in_segment(hollow),
        base="dictionary",
        records=_each(_ALL, CORRUPT),
    )


def _of_bin_0() -> Iterator[Case]:
    """The dictionary of the index is damaged, and something is wrong with bin 0."""

    def also(change: Callable[[SegmentEditor], object]) -> Callable[[DatasetEditor], object]:
        def both(segment: SegmentEditor) -> None:
            _damage_index(segment)
            change(segment)

        return in_segment(both)

    yield Case(
        "dictionary-bin-missing",
        10,
        "the dictionary of the index is damaged, and bin 0 is missing",
        also(lambda segment: segment.remove("000000.bin")),
        base="dictionary",
        records=_each(_BIN_0, MISSING) | _each(_BIN_1, CORRUPT),
    )
    yield Case(
        "dictionary-bin-empty",
        10,
        "the dictionary of the index is damaged, and bin 0 has no byte",
        also(lambda segment: segment.file("000000.bin").clear()),
        base="dictionary",
        records=_each(_BIN_0, "TruncatedFileError") | _each(_BIN_1, CORRUPT),
    )
    headers: dict[str, tuple[str, int, bytes, str]] = {
        "other-segment": ("of another segment", 16, b"\xaa" * 16, "FormatError"),
        "version-2": ("of version 2.0", 8, pack("<HH", 2, 0), "UnsupportedVersionError"),
    }
    for name, (what, offset, data, error) in headers.items():
        yield Case(
            f"dictionary-bin-{name}",
            10,
            f"the dictionary of the index is damaged, and bin 0 is {what}",
            also(lambda segment, at=offset, new=data: segment.set_header("000000.bin", at, new)),  # type: ignore[misc]  # a default, to bind it
            base="dictionary",
            records=_each(_BIN_0, error) | _each(_BIN_1, CORRUPT),
        )

    def link(dataset: DatasetEditor) -> None:
        segment = dataset.segment()
        _damage_index(segment)
        dataset.others.append({"file": segment.path("000000.bin"), "link": "elsewhere"})

    yield Case(
        "dictionary-bin-is-link",
        10,
        "the dictionary of the index is damaged, and bin 0 is a link",
        link,
        base="dictionary",
        records=_each(_BIN_0, "FormatError") | _each(_BIN_1, CORRUPT),
    )
    forms: dict[str, tuple[str, dict[str, Any]]] = {
        "sequence": ("another sequence number", {"sequence": 0}),
        "kind": ("the kind of metadata", {"kind": 2}),
        "codec": ("a codec", {"codec": 1}),
        "key": ("a key", {"key_length": 1}),
        "raw": ("another raw length", {"raw": 1 << 23}),
    }
    for name, (what, fields) in forms.items():
        yield Case(
            f"dictionary-frame-{name}",
            8,
            f"the dictionary of the index is damaged, and the frame of that of bin 0 has {what}",
            also(lambda segment, more=fields: _reframe(segment, more)),  # type: ignore[misc]  # a default, to bind it
            base="dictionary",
            records=_each(_ALL, CORRUPT),
        )


def _reframe(segment: SegmentEditor, fields: dict[str, Any]) -> None:
    file = segment.file("000000.bin")
    length = int.from_bytes(file[64 + 24 : 64 + 28], "little")
    header = Frame(0xFFFFFFFF, 1, stored=length, raw=length, payload_hash=hash64(bytes(file[96 : 96 + length])))
    file[64:96] = header._replace(**fields).pack(segment.id, 0, 64)


def _place_dictionary(segment: SegmentEditor, *, alignment: int, skipped: int = 0) -> None:
    """Compress the last record of `zstd` with a dictionary at the head of bin 0, which the index does not have."""
    frames = [(segment.frame(number), segment.payload(number)) for number in range(segment.frames)]
    shared = zstandard.ZstdCompressionDict(_CONTENT, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stored = zstandard.ZstdCompressor(dict_data=shared).compress(_REPEATED)
    frames[-1] = (frames[-1][0]._replace(codec=2, stored=len(stored), payload_hash=hash64(stored)), stored)
    file = segment.file("000000.bin")
    del file[64:]
    offset = _next(64, alignment) + skipped
    control = Frame(0xFFFFFFFF, 1, stored=64, raw=64, payload_hash=hash64(_CONTENT))
    file += bytes(offset - 64) + control.pack(segment.id, 0, offset) + _CONTENT
    for number, (header, payload) in enumerate(frames):
        offset = _next(len(file), alignment)
        file += bytes(offset - len(file) + 32) + payload
        segment.set_frame_at(number, offset, header)
    file += bytes(_next(len(file), alignment) - len(file))
    segment.rehash()


def _next(end: int, alignment: int) -> int:
    return end + -(end + 32) % alignment


def _of_fallback() -> Iterator[Case]:
    def aligned(segment: SegmentEditor) -> None:
        for name, place in (("000000.bin", 48), ("index", 60)):
            segment.set_header(name, place, b"\6")
        _place_dictionary(segment, alignment=64)

    last = {3: CORRUPT}
    yield Case(
        "dictionary-aligned",
        10,
        "payloads are aligned to 64, and only bin 0 has the dictionary",
        in_segment(aligned),
        base="zstd",
        intact=False,
    )
    yield Case(
        "dictionary-not-in-place",
        10,
        "only bin 0 has the dictionary, 8 bytes behind its place",
        in_segment(lambda segment: _place_dictionary(segment, alignment=8, skipped=8)),
        base="zstd",
        records=last,
    )
    yield Case(
        "dictionary-at-other-alignment",
        10,
        "payloads are aligned to 8; what would be the frame of a dictionary stands where one begins with 64",
        in_segment(lambda segment: _place_dictionary(segment, alignment=8, skipped=32)),
        base="zstd",
        records=last,
    )

    def unsealed(dataset: DatasetEditor) -> None:
        segment = dataset.segment()
        start = len(segment.index) - 200
        segment.flip("000000.bin", 64 + 32 + 300)
        dataset.change_manifest(lambda manifest: manifest["segments"][0].update(sealed=False))
        assert start > 0

    yield Case(
        "dictionary-of-open-segment",
        10,
        "the manifest says that the segment is open: the dictionary is that of bin 0, which is damaged",
        unsealed,
        base="dictionary",
        records=_each(_ALL, CORRUPT),
    )


def _of_one_place() -> Iterator[Case]:
    yield Case(
        "dictionary-in-bin-alone",
        16,
        "bin 0 has a dictionary, a sealed index says that there is none",
        in_segment(lambda segment: _place_dictionary(segment, alignment=8)),
        base="zstd",
        intact=False,
    )

    def in_index(segment: SegmentEditor) -> None:
        segment.set_header("index", 96, pack("<I", len(_CONTENT)))
        segment.index[-24:-24] = _CONTENT
        segment.rehash()

    yield Case(
        "dictionary-in-index-alone",
        16,
        "a sealed index has a dictionary, bin 0 has none",
        in_segment(in_index),
        base="zstd",
        intact=False,
    )
