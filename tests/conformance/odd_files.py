"""Oddities of the index, of bins and their headers, and of what stands in the place of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack
from typing import Any, Final

from tests.conformance.case import Case
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = ["file_cases"]

_CORRUPT: Final = "CorruptRecordError"
_CUT: Final = "TruncatedFileError"
_FOREIGN: Final = "FormatError"
_NEWER: Final = "UnsupportedVersionError"
_ALL: Final = range(7)
_BIN_1: Final = (1, 3, 5)


def _each(positions: range | tuple[int, ...], error: Any) -> dict[int, Any]:
    return dict.fromkeys(positions, error)


def _edit(change: Callable[[SegmentEditor], object]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        change(dataset.segment())

    return edit


def _header(name: str, offset: int, data: bytes, *, intact: bool = True) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.set_header(name, offset, data, intact=intact))


def _instead(name: str, **edit: Any) -> Callable[[DatasetEditor], object]:
    """Put something else in the place of a file of the segment, or of the folder above it."""

    def change(dataset: DatasetEditor) -> None:
        path = dataset.segment().path(name).rstrip("/")
        dataset.others.append({"file": path, **edit})

    return change


def _cut(name: str, length: Callable[[SegmentEditor], int]) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.file(name).__delitem__(slice(length(segment), None)))


def _placed(loc: Callable[[SegmentEditor], int]) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.set_entry(2, loc=loc(segment)))


def _relength(fields: dict[str, int]) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.set_entry(2, stored=fields.get("stored"), raw=fields.get("raw")))


def file_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_index_headers()
    yield from _of_index_lengths()
    yield from _of_entries()
    yield from _of_bin_headers()
    yield from _of_bin_lengths()
    yield from _of_other_things()


def _of_index_headers() -> Iterator[Case]:
    refused = {
        "other-segment": ("the index is that of another segment", 16, b"\xaa" * 16, _FOREIGN),
        "version-2": ("the index is of version 2.0", 8, pack("<HH", 2, 0), _NEWER),
        "version-0-2": ("the index is of version 0.2", 8, pack("<HH", 0, 2), _NEWER),
        "feature": ("the index has a feature that nobody knows", 32, pack("<I", 1 << 7), _NEWER),
        "encryption": ("the index has the reserved feature encryption", 32, pack("<I", 1 << 2), _NEWER),
    }
    for name, (what, offset, data, error) in refused.items():
        yield Case(f"index-{name}", 7, what, _header("index", offset, data), records=_each(_ALL, error))
        yield Case(
            f"index-{name}-not-intact",
            7,
            what + ", and its header is not intact",
            _header("index", offset, data, intact=False),
        )
    taken = {
        "minor": ("a later minor", 8, pack("<HH", 1, 9)),
        "may-ignore": ("a feature that may be ignored", 36, pack("<I", 1 << 5)),
        "header-bytes": ("another length of the header", 12, pack("<I", 256)),
        "fewer-records": ("fewer records", 40, pack("<Q", 3)),
        "first-position": ("another first position", 48, pack("<Q", 11)),
        "bins": ("another number of bins", 56, pack("<I", 3)),
        "alignment": ("an alignment that is not allowed", 60, b"\0"),
        "not-sealed": ("that it is not sealed", 61, b"\0"),
        "awaits": ("that it awaits its first commit", 62, b"\1"),
        "digest": ("another digest", 64, bytes(8)),
        "longest": ("another longest record", 88, pack("<Q", 1)),
        "reserved": ("bits in reserved bytes", 102, b"\xff\xff"),
    }
    for name, (what, offset, data) in taken.items():
        yield Case(f"index-says-{name}", 7, f"the index says {what}", _header("index", offset, data))
    yield Case("index-magic", 7, "the magic of the index is that of a bin", _header("index", 3, b"B"))
    yield Case(
        "index-magic-damaged", 7, "the magic of the index is damaged", _header("index", 0, b"\x09", intact=False)
    )


def _of_index_lengths() -> Iterator[Case]:
    yield Case(
        "index-missing",
        7,
        "there is no index",
        _edit(lambda segment: segment._files.pop(segment.path("index"))),
        records=_each(_ALL, _CUT),
    )
    yield Case("index-empty", 7, "the index has no byte", _cut("index", lambda _: 0), records=_each(_ALL, _CUT))
    yield Case(
        "index-header-cut",
        7,
        "the index ends within its header",
        _cut("index", lambda _: 127),
        records=_each(_ALL, _CUT),
    )
    yield Case(
        "index-entry-cut",
        7,
        "the index ends within entry 4",
        _cut("index", lambda _: 128 + 16 * 5 - 1),
        records=_each((4, 5, 6), _CUT),
    )
    yield Case(
        "index-without-tables", 7, "a sealed index ends behind its entries", _cut("index", lambda _: 128 + 16 * 7)
    )
    yield Case(
        "index-wrong-sums",
        7,
        "the block sums are not those of the entries",
        _edit(lambda segment: segment.flip("index", 128 + 16 * 7)),
    )
    yield Case(
        "index-open-short",
        9,
        "an open segment counts more records than its index has entries",
        _cut("index", lambda _: 128 + 16 * 5),
        base="open",
        records=_each((5, 6), _CUT),
    )
    yield Case(
        "index-grouped-cut",
        7,
        "the index ends within the lengths of entry 1",
        _cut("index", lambda _: 128 + 32 * 2 - 4),
        base="grouped",
        records=_each(tuple(range(8, 11)), _CUT),
    )


def _of_entries() -> Iterator[Case]:
    places: dict[str, tuple[str, Callable[[SegmentEditor], int], Any]] = {
        "tombstone": ("a tombstone", lambda _: (1 << 64) - 1, _CORRUPT),
        "other-bin": ("in the other bin", lambda segment: segment.entry(2)[0] // 8 | 1 << 40, [_CORRUPT, _CUT]),
        "no-bin": (
            "in a bin that the segment does not have",
            lambda segment: segment.entry(2)[0] // 8 | 2 << 40,
            _CORRUPT,
        ),
        "far-bin": ("in bin 16777215", lambda segment: segment.entry(2)[0] // 8 | 0xFFFFFF << 40, _CORRUPT),
        "other-frame": ("at the next frame of its bin", lambda segment: segment.entry(4)[0] // 8, _CORRUPT),
        "within": ("within its frame", lambda segment: segment.entry(2)[0] // 8 + 2, _CORRUPT),
        "header": ("at the header of the bin", lambda _: 0, _CORRUPT),
        "end": ("where its bin ends", lambda segment: len(segment.bin_of(2)) // 8, _CUT),
        "straddles": ("so near the end that no header fits", lambda segment: len(segment.bin_of(2)) // 8 - 2, _CUT),
        "beyond": ("far beyond the end of its bin", lambda _: (1 << 40) - 1, _CUT),
    }
    for name, (what, loc, error) in places.items():
        edit = _placed(loc)
        yield Case(
            f"entry-{name}",
            9,
            f"entry 2 leads to a frame {what}" if name != "tombstone" else "entry 2 is a tombstone",
            edit,
            records={2: error},
        )
    for name, fields in (
        ("stored", {"stored": 8}),
        ("raw", {"raw": 8}),
        ("both", {"stored": 8, "raw": 8}),
        ("longest", {"stored": 2**32 - 1, "raw": 2**32 - 1}),
    ):
        edit = _relength(fields)
        yield Case(f"entry-{name}", 9, f"entry 2 says {fields}, its frame has 9 bytes", edit, records={2: _CORRUPT})
    yield Case(
        "entry-group-tombstone",
        11,
        "the entry of a group is a tombstone",
        _edit(lambda segment: segment.set_entry(1, loc=(1 << 64) - 1)),
        base="grouped",
        records=_each(range(4, 8), _CORRUPT),
    )
    yield Case(
        "entry-group-lengths",
        9,
        "an entry has other lengths than the items of its group",
        _edit(_other_lengths),
        base="grouped",
    )


def _other_lengths(segment: SegmentEditor) -> None:
    segment.index[128 + 16] ^= 1
    segment.rehash()


def _of_bin_headers() -> Iterator[Case]:
    refused = {
        "other-segment": ("of another segment", 16, b"\xaa" * 16, _FOREIGN),
        "other-number": ("bin 0 of its segment", 32, pack("<I", 0), _FOREIGN),
        "version-2": ("of version 2.0", 8, pack("<HH", 2, 0), _NEWER),
        "version-2-other-segment": (
            "of version 2.0, and of another segment",
            8,
            pack("<HHI", 2, 0, 64) + b"\xaa" * 16,
            _NEWER,
        ),
        "feature": ("of a feature that nobody knows", 40, pack("<I", 1 << 31), _NEWER),
    }
    for name, (what, offset, data, error) in refused.items():
        yield Case(
            f"bin-{name}", 8, f"bin 1 is {what}", _header("000001.bin", offset, data), records=_each(_BIN_1, error)
        )
        yield Case(
            f"bin-{name}-not-intact",
            8,
            f"bin 1 is {what}, and its header is not intact",
            _header("000001.bin", offset, data, intact=False),
        )
    taken = {
        "minor": ("a later minor", 8, pack("<HH", 1, 9)),
        "bins": ("another number of bins", 36, pack("<I", 9)),
        "may-ignore": ("a feature that may be ignored", 44, pack("<I", 1 << 5)),
        "alignment": ("an alignment that is not allowed", 48, b"\0"),
        "reserved": ("bits in reserved bytes", 51, b"\xff" * 5),
    }
    for name, (what, offset, data) in taken.items():
        yield Case(f"bin-says-{name}", 8, f"the header of bin 1 has {what}", _header("000001.bin", offset, data))
    yield Case("bin-magic", 8, "the magic of bin 1 is that of an index", _header("000001.bin", 3, b"I"))


def _of_bin_lengths() -> Iterator[Case]:
    yield Case(
        "bin-missing",
        14,
        "bin 1 is missing",
        _edit(lambda segment: segment._files.pop(segment.path("000001.bin"))),
        records=_each(_BIN_1, "MissingBinError"),
    )
    yield Case("bin-empty", 14, "bin 1 has no byte", _cut("000001.bin", lambda _: 0), records=_each(_BIN_1, _CUT))
    yield Case(
        "bin-header-cut",
        14,
        "bin 1 ends within its header",
        _cut("000001.bin", lambda _: 63),
        records=_each(_BIN_1, _CUT),
    )
    yield Case(
        "bin-header-only",
        14,
        "bin 1 ends behind its header",
        _cut("000001.bin", lambda _: 64),
        records=_each(_BIN_1, _CUT),
    )
    yield Case(
        "frame-header-cut",
        9,
        "bin 1 ends within the header of its last frame",
        _cut("000001.bin", lambda segment: segment.entry(5)[0] + 31),
        records={5: _CUT},
    )
    yield Case(
        "payload-cut",
        9,
        "bin 1 ends one byte before the end of its last payload",
        _cut("000001.bin", lambda segment: segment.entry(5)[0] + 32 + 16),
        records={5: _CUT},
    )
    yield Case(
        "padding-cut",
        9,
        "bin 1 ends with its last payload",
        _cut("000001.bin", lambda segment: segment.entry(5)[0] + 32 + 17),
    )
    yield Case(
        "bin-longer",
        14,
        "bin 1 goes on behind its last frame",
        _edit(lambda segment: segment.file("000001.bin").extend(b"\xff" * 100)),
    )
    yield Case("bin-of-no-frame", 4, "bins without frames are empty files", _edit(_empty_bins), base="many-bins")
    yield Case(
        "gap-not-zero",
        14,
        "bytes between two frames are not zero",
        _edit(lambda segment: segment.flip("000000.bin", segment.entry(0)[0] + 32 + 5)),
    )


def _empty_bins(segment: SegmentEditor) -> None:
    for number in range(3, 9):
        segment._files[segment.path(f"{number:06}.bin")] = bytearray()


def _of_other_things() -> Iterator[Case]:
    things: tuple[tuple[str, dict[str, Any]], ...] = (
        ("link", {"link": "elsewhere"}),
        ("folder", {"folder": True}),
        ("fifo", {"fifo": True}),
    )
    for kind, edit in things:
        yield Case(
            f"index-is-{kind}", 4, f"the index is a {kind}", _instead("index", **edit), records=_each(_ALL, _FOREIGN)
        )
        yield Case(
            f"bin-is-{kind}", 4, f"bin 1 is a {kind}", _instead("000001.bin", **edit), records=_each(_BIN_1, _FOREIGN)
        )
    for name, file in (("segment", ""), ("segments", "..")):
        path = (lambda segment: segment.path("").rstrip("/")) if file == "" else (lambda _: "segments")
        yield Case(
            f"{name}-is-link",
            4,
            f"the folder of the {name} is a link to one",
            _moved(path),
            records=_each(_ALL, _FOREIGN),
        )
    yield Case("other-files", 4, "files that the format does not know", _edit(_other_files))
    yield Case(
        "segment-not-listed",
        4,
        "a segment that the manifest does not list",
        lambda dataset: dataset.files.update({f"segments/{'e' * 32}/index": bytearray(b"x")}),
    )


def _moved(path_of: Callable[[SegmentEditor], str]) -> Callable[[DatasetEditor], object]:
    """Put a link in the place of a folder, to where it has gone."""

    def edit(dataset: DatasetEditor) -> None:
        path = path_of(dataset.segment())
        dataset.others += [
            {"file": path, "rename": "elsewhere"},
            {"file": path, "link": "../elsewhere" if "/" in path else "elsewhere"},
        ]

    return edit


def _other_files(segment: SegmentEditor) -> None:
    for name in ("000002.bin", "keys", "0.bin", "deleted.0123456789abcdef", "schemas"):
        segment._files[segment.path(name)] = bytearray(b"no part of it")
