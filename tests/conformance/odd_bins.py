"""Oddities of bins and their headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack
from typing import Any, Final

from tests.conformance.case import CUT, FORMAT, MISSING, NEWER, Case, in_segment
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor
from tests.conformance.odd_files import make_other

__all__ = ["bin_cases"]

_BIN_1: Final = (1, 3, 5)


def _each(positions: range | tuple[int, ...], error: Any) -> dict[int, Any]:
    return dict.fromkeys(positions, error)


def _header(name: str, offset: int, data: bytes, *, intact: bool = True) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.set_header(name, offset, data, intact=intact))


def _cut(name: str, length: Callable[[SegmentEditor], int]) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.file(name).__delitem__(slice(length(segment), None)))


def bin_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_bin_headers()
    yield from _of_bin_lengths()


def _of_bin_headers() -> Iterator[Case]:
    refused = {
        "other-segment": ("of another segment", 16, b"\xaa" * 16, FORMAT),
        "other-number": ("bin 0 of its segment", 32, pack("<I", 0), FORMAT),
        "version-2": ("of version 2.0", 8, pack("<HH", 2, 0), NEWER),
        "version-0-1": ("of version 0.1", 8, pack("<HH", 0, 1), NEWER),
        "version-2-other-segment": (
            "of version 2.0, and of another segment",
            8,
            pack("<HHI", 2, 0, 64) + b"\xaa" * 16,
            NEWER,
        ),
        "feature": ("of a feature that nobody knows", 40, pack("<I", 1 << 31), NEWER),
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
            intact=False,
        )
    taken = {
        "minor": ("a later minor", 8, pack("<HH", 1, 9), True),
        "bins": ("another number of bins", 36, pack("<I", 9), False),
        "may-ignore": ("a feature that may be ignored", 44, pack("<I", 1 << 5), True),
        "alignment": ("an alignment that is not allowed", 48, b"\0", False),
        "other-alignment": ("another alignment than the index", 48, b"\5", False),
        "hash": ("another kind of hash", 49, b"\1", False),
        "group": ("groups of four", 50, b"\2", False),
        "reserved": ("bits in reserved bytes", 51, b"\xff" * 5, True),
    }
    for name, (what, offset, data, intact) in taken.items():
        edit = _header("000001.bin", offset, data)
        yield Case(f"bin-says-{name}", 8, f"the header of bin 1 has {what}", edit, intact=intact)
    for name, offset, data in (("alignment", 48, b"\x0d"), ("group", 50, b"\2")):
        yield Case(
            f"bin-other-segment-{name}",
            8,
            f"bin 1 is of another segment, and {name} in its header is out of range",
            in_segment(lambda segment, at=offset, new=data: make_other(segment, "000001.bin", at, new)),  # type: ignore[misc]  # a default, to bind it
            intact=False,
        )
    edit = _header("000001.bin", 3, b"I")
    yield Case("bin-magic", 8, "the magic of bin 1 is that of an index", edit, intact=False)


def _of_bin_lengths() -> Iterator[Case]:
    yield Case(
        "bin-missing",
        14,
        "bin 1 is missing",
        in_segment(lambda segment: segment.remove("000001.bin")),
        records=_each(_BIN_1, MISSING),
    )
    yield Case("bin-empty", 14, "bin 1 has no byte", _cut("000001.bin", lambda _: 0), records=_each(_BIN_1, CUT))
    yield Case(
        "bin-header-cut",
        14,
        "bin 1 ends within its header",
        _cut("000001.bin", lambda _: 63),
        records=_each(_BIN_1, CUT),
    )
    yield Case(
        "bin-header-only",
        14,
        "bin 1 ends behind its header",
        _cut("000001.bin", lambda _: 64),
        records=_each(_BIN_1, CUT),
    )
    yield Case(
        "frame-header-cut",
        9,
        "bin 1 ends within the header of its last frame",
        _cut("000001.bin", lambda segment: segment.entry(5)[0] + 31),
        records={5: CUT},
    )
    yield Case(
        "payload-cut",
        9,
        "bin 1 ends one byte before the end of its last payload",
        _cut("000001.bin", lambda segment: segment.entry(5)[0] + 32 + 16),
        records={5: CUT},
    )
    yield Case(
        "padding-cut",
        9,
        "bin 1 ends with its last payload",
        _cut("000001.bin", lambda segment: segment.entry(5)[0] + 32 + 17),
        intact=False,
    )
    yield Case(
        "bin-longer",
        14,
        "bin 1 goes on behind its last frame",
        in_segment(lambda segment: segment.file("000001.bin").extend(b"\xff" * 100)),
        intact=False,
    )
    # Whether such a file is a finding, the format leaves open.
    edit = in_segment(_empty_bins)
    yield Case("bin-of-no-frame", 4, "bins without frames are empty files", edit, base="many-bins", intact=None)
    yield Case(
        "gap-not-zero",
        14,
        "bytes between two frames are not zero",
        in_segment(lambda segment: segment.flip("000000.bin", segment.entry(0)[0] + 32 + 5)),
        intact=False,
    )
    yield Case(
        "gap-longer",
        8,
        "the last frame of bin 1 begins 8 bytes further, behind zeros",
        in_segment(_move_last),
        intact=False,
    )
    yield Case("frames-descending", 8, "the frames of bin 0 stand in another order", in_segment(_reorder), intact=False)
    yield Case("metadata-frame", 8, "the copy of the metadata is damaged", in_segment(_damage_metadata), intact=False)
    edit = in_segment(lambda segment: segment.set_control_frame(b"{" * _control_bytes(segment), kind=2))
    yield Case("metadata-frame-no-json", 8, "the copy of the metadata is no JSON", edit, intact=False)
    yield Case(
        "head-gap-not-zero",
        8,
        "bytes between the header of a bin and its first frame are not zero",
        in_segment(lambda segment: segment.flip("000000.bin", 64)),
        base="aligned",
        intact=False,
    )
    yield Case(
        "bin-ends-later",
        8,
        "bin 1 ends 8 bytes later, with zeros, and the table of the index says so",
        in_segment(_lengthen),
        intact=False,
    )
    edit = in_segment(_other_dictionary)
    yield Case("dictionaries-differ", 8, "the two dictionaries differ", edit, base="dictionary", intact=False)


def _move_last(segment: SegmentEditor) -> None:
    frame, payload = segment.frame(5), segment.payload(5)
    file = segment.file("000001.bin")
    begin = segment.entry(5)[0]
    file[begin:begin] = bytes(8)
    file[begin + 8 : begin + 40] = bytes(32)
    assert file[begin + 40 :].startswith(payload)
    segment.set_frame_at(5, begin + 8, frame)


def _reorder(segment: SegmentEditor) -> None:
    numbers = (4, 0, 2, 6)
    frames = {number: (segment.frame(number), segment.payload(number)) for number in numbers}
    file = segment.file("000000.bin")
    del file[segment.entry(0)[0] :]
    for number, (header, payload) in frames.items():
        offset = len(file)
        file += bytes(32) + payload + bytes(-len(payload) % 8)
        segment.set_frame_at(number, offset, header)


def _lengthen(segment: SegmentEditor) -> None:
    segment.file("000001.bin").extend(bytes(8))
    segment.rehash()


def _control_bytes(segment: SegmentEditor) -> int:
    return int.from_bytes(segment.file("000000.bin")[64 + 24 : 64 + 28], "little")


def _other_dictionary(segment: SegmentEditor) -> None:
    # Of the copy in bin 0, which no reader needs while that of the index is intact.
    content = bytes(segment.file("000000.bin")[96 : 96 + _control_bytes(segment)])
    segment.set_control_frame(content[:-1] + bytes([content[-1] ^ 1]), kind=1)


def _damage_metadata(segment: SegmentEditor) -> None:
    place = segment.file("000000.bin").index(b'"nested"')
    segment.flip("000000.bin", place + 2)


def _empty_bins(segment: SegmentEditor) -> None:
    for number in range(3, 9):
        segment.add(f"{number:06}.bin")
