"""Oddities of the index, and of what stands in the place of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack
from typing import Any, Final

from tests.conformance.case import CORRUPT, CUT, FORMAT, NEWER, Case, in_segment, instead
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = ["file_cases", "make_other"]

_ALL: Final = range(7)
_BIN_1: Final = (1, 3, 5)


def _each(positions: range | tuple[int, ...], error: Any) -> dict[int, Any]:
    return dict.fromkeys(positions, error)


def _header(name: str, offset: int, data: bytes, *, intact: bool = True) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.set_header(name, offset, data, intact=intact))


def _cut(name: str, length: Callable[[SegmentEditor], int]) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.file(name).__delitem__(slice(length(segment), None)))


def _placed(loc: Callable[[SegmentEditor], int]) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.set_entry(2, loc=loc(segment)))


def _relength(fields: dict[str, int]) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.set_entry(2, stored=fields.get("stored"), raw=fields.get("raw")))


def file_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_index_headers()
    yield from _of_index_lengths()
    yield from _of_entries()
    yield from _of_other_things()


def _of_index_headers() -> Iterator[Case]:
    refused = {
        "other-segment": ("the index is that of another segment", 16, b"\xaa" * 16, FORMAT),
        "version-2": ("the index is of version 2.0", 8, pack("<HH", 2, 0), NEWER),
        "version-0-2": ("the index is of version 0.2", 8, pack("<HH", 0, 2), NEWER),
        "version-0-1": ("the index is of version 0.1", 8, pack("<HH", 0, 1), NEWER),
        "feature": ("the index has a feature that nobody knows", 32, pack("<I", 1 << 7), NEWER),
        "encryption": ("the index has the reserved feature encryption", 32, pack("<I", 1 << 2), NEWER),
    }
    for name, (what, offset, data, error) in refused.items():
        yield Case(f"index-{name}", 7, what, _header("index", offset, data), records=_each(_ALL, error))
        yield Case(
            f"index-{name}-not-intact",
            7,
            what + ", and its header is not intact",
            _header("index", offset, data, intact=False),
            intact=False,
        )
    # Each with what a verifier says of it.
    taken: dict[str, tuple[str, int, bytes, bool | None]] = {
        "minor": ("a later minor", 8, pack("<HH", 1, 9), True),
        "may-ignore": ("a feature that may be ignored", 36, pack("<I", 1 << 5), True),
        "header-bytes": ("another length of the header", 12, pack("<I", 256), True),
        "fewer-records": ("fewer records", 40, pack("<Q", 3), False),
        "first-position": ("another first position", 48, pack("<Q", 11), False),
        "bins": ("another number of bins", 56, pack("<I", 3), False),
        "alignment": ("an alignment that is not allowed", 60, b"\0", False),
        "other-alignment": ("another alignment than the bins", 60, b"\5", False),
        "not-sealed": ("that it is not sealed", 61, b"\0", False),
        "awaits": ("that it awaits its first commit", 62, b"\1", True),
        "digest": ("another digest", 64, bytes(8), False),
        "longest": ("another longest record", 88, pack("<Q", 1), None),
        "hash": ("another kind of hash", 100, b"\1", False),
        "group": ("groups of four", 101, b"\2", False),
        "key-id": ("the id of a key", 104, b"k" * 16, False),
        "reserved": ("bits in reserved bytes", 102, b"\xff\xff", True),
    }
    for name, (what, offset, data, intact) in taken.items():
        edit = _header("index", offset, data)
        yield Case(f"index-says-{name}", 7, f"the index says {what}", edit, intact=intact)
    # What has a field out of its range is not intact, whatever its hash.
    wide = {"num-bins": (56, bytes(4)), "alignment": (60, b"\2"), "group": (101, b"\x11")}
    for name, (offset, data) in wide.items():
        yield Case(
            f"index-other-segment-{name}",
            7,
            f"the index is that of another segment, and {name} in its header is out of range",
            in_segment(lambda segment, at=offset, new=data: make_other(segment, "index", at, new)),  # type: ignore[misc]  # a default, to bind it
            intact=False,
        )
    edit = _header("index", 3, b"B")
    yield Case("index-magic", 7, "the magic of the index is that of a bin", edit, intact=False)
    edit = _header("index", 0, b"\x09", intact=False)
    yield Case("index-magic-damaged", 7, "the magic of the index is damaged", edit, intact=False)


def _of_index_lengths() -> Iterator[Case]:
    yield Case(
        "index-missing",
        7,
        "there is no index",
        in_segment(lambda segment: segment.remove("index")),
        records=_each(_ALL, CUT),
    )
    yield Case("index-empty", 7, "the index has no byte", _cut("index", lambda _: 0), records=_each(_ALL, CUT))
    yield Case(
        "index-header-cut",
        7,
        "the index ends within its header",
        _cut("index", lambda _: 127),
        records=_each(_ALL, CUT),
    )
    yield Case(
        "index-entry-cut",
        7,
        "the index ends within entry 4",
        _cut("index", lambda _: 128 + 16 * 5 - 1),
        records=_each((4, 5, 6), CUT),
    )
    yield Case(
        "index-without-tables",
        7,
        "a sealed index ends behind its entries",
        _cut("index", lambda _: 128 + 16 * 7),
        intact=False,
    )
    yield Case(
        "index-longer",
        7,
        "bytes behind the tables of a sealed index",
        in_segment(lambda segment: segment.index.extend(b"\xff" * 20)),
        intact=False,
    )
    yield Case(
        "index-wrong-sums",
        7,
        "the block sums are not those of the entries",
        in_segment(lambda segment: segment.flip("index", 128 + 16 * 7)),
        intact=False,
    )
    yield Case(
        "index-open-short",
        9,
        "an open segment counts more records than its index has entries",
        _cut("index", lambda _: 128 + 16 * 5),
        base="open",
        records=_each((5, 6), CUT),
    )
    yield Case(
        "index-grouped-cut",
        7,
        "the index ends within the lengths of entry 1",
        _cut("index", lambda _: 128 + 32 * 2 - 4),
        base="grouped",
        # What leads to frame 1 is there; the lengths are not needed to read a record.
        records=_each(range(8, 11), CUT),
    )


def _of_entries() -> Iterator[Case]:
    places: dict[str, tuple[str, Callable[[SegmentEditor], int], Any]] = {
        "tombstone": ("a tombstone", lambda _: (1 << 64) - 1, CORRUPT),
        "other-bin": ("in the other bin", lambda segment: segment.entry(2)[0] // 8 | 1 << 40, CORRUPT),
        "no-bin": (
            "in a bin that the segment does not have",
            lambda segment: segment.entry(2)[0] // 8 | 2 << 40,
            CORRUPT,
        ),
        "far-bin": ("in bin 16777215", lambda segment: segment.entry(2)[0] // 8 | 0xFFFFFF << 40, CORRUPT),
        "other-frame": ("at the next frame of its bin", lambda segment: segment.entry(4)[0] // 8, CORRUPT),
        "within": ("within its frame", lambda segment: segment.entry(2)[0] // 8 + 2, CORRUPT),
        "header": ("at the header of the bin", lambda _: 0, CORRUPT),
        "end": ("where its bin ends", lambda segment: len(segment.bin_of(2)) // 8, CUT),
        "straddles": ("so near the end that no header fits", lambda segment: len(segment.bin_of(2)) // 8 - 2, CUT),
        "beyond": ("far beyond the end of its bin", lambda _: (1 << 40) - 1, CUT),
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
        yield Case(f"entry-{name}", 9, f"entry 2 says {fields}, its frame has 9 bytes", edit, records={2: CORRUPT})
    yield Case(
        "entry-group-tombstone",
        11,
        "the entry of a group is a tombstone",
        in_segment(lambda segment: segment.set_entry(1, loc=(1 << 64) - 1)),
        base="grouped",
        records=_each(range(4, 8), CORRUPT),
    )
    yield Case(
        "entry-group-lengths",
        9,
        "an entry has other lengths than the items of its group",
        in_segment(_other_lengths),
        base="grouped",
        intact=False,
    )


def make_other(segment: SegmentEditor, name: str, offset: int, data: bytes) -> None:
    """Let a header be that of another segment, and change it besides."""
    segment.set_header(name, 16, b"\xaa" * 16)
    segment.set_header(name, offset, data)


def _other_lengths(segment: SegmentEditor) -> None:
    segment.index[128 + 16] ^= 1
    segment.rehash()


def _of_other_things() -> Iterator[Case]:
    things: tuple[tuple[str, dict[str, Any]], ...] = (
        ("link", {"link": "elsewhere"}),
        ("folder", {"folder": True}),
        ("fifo", {"fifo": True}),
    )
    for kind, edit in things:
        yield Case(
            f"index-is-{kind}", 4, f"the index is a {kind}", instead("index", **edit), records=_each(_ALL, FORMAT)
        )
        yield Case(
            f"bin-is-{kind}", 4, f"bin 1 is a {kind}", instead("000001.bin", **edit), records=_each(_BIN_1, FORMAT)
        )
    for name, file in (("segment", ""), ("segments", "..")):
        path = (lambda segment: segment.path("").rstrip("/")) if file == "" else (lambda _: "segments")
        yield Case(
            f"{name}-is-link",
            4,
            f"the folder of the {name} is a link to one",
            _moved(path),
            records=_each(_ALL, FORMAT),
        )
    yield Case("other-files", 4, "files that the format does not know", in_segment(_other_files))
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
        segment.add(name, b"no part of it")
