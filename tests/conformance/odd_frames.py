"""Oddities of frames and their headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import CORRUPT, Case, in_segment
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = ["frame_cases"]

_LARGE: Final = 1 << 24


def _field(frame: int, **fields: Any) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.set_frame(frame, segment.frame(frame)._replace(**fields)))


def _flipped(at: int) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.flip("000000.bin", segment.entry(2)[0] + at))


def frame_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_headers()
    yield from _of_payloads()


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
        yield Case(f"frame-{name}", 8, f"frame 2 {what}", _field(2, **fields), records={2: CORRUPT})
    yield Case(
        "frame-kind-large",
        8,
        "frame 4 is of the kind of large records",
        _field(4, kind=4, words=(256, 256, 0, 0)),
        records={4: CORRUPT},
    )
    yield Case(
        "frame-key-length",
        9,
        "frame 2 says that a key follows, which does not",
        _field(2, key_length=3),
        records={},
        keys={2: CORRUPT},
    )
    yield Case(
        "frame-sync",
        8,
        "the sync word of frame 2 is another",
        in_segment(lambda segment: segment.flip("000000.bin", segment.entry(2)[0])),
        keys={2: CORRUPT},
    )
    yield Case(
        "frame-check",
        8,
        "the header check of frame 2 is wrong",
        in_segment(lambda segment: segment.flip("000000.bin", segment.entry(2)[0] + 4)),
        keys={2: CORRUPT},
    )

    yield Case(
        "frame-of-another-segment",
        9,
        "frame 2 is that of another segment, with the same number and lengths",
        in_segment(_set_foreign_frame),
        records={2: CORRUPT},
        keys={2: CORRUPT},
    )
    yield Case(
        "frame-word-0",
        9,
        "sync word and header check of frame 2 are wrong",
        in_segment(lambda segment: _overwrite(segment, bytes(8))),
        records={2: CORRUPT},
        keys={2: CORRUPT},
    )


def _set_foreign_frame(segment: SegmentEditor) -> None:
    begin, stored, _ = segment.entry(2)
    payload = b"x" * stored
    header = segment.frame(2)._replace(payload_hash=hash64(payload))
    _overwrite(segment, header.pack("0" * 32, 0, begin) + payload)


def _overwrite(segment: SegmentEditor, data: bytes) -> None:
    """Write over the first bytes of frame 2; nothing else changes."""
    begin, *_ = segment.entry(2)
    segment.file("000000.bin")[begin : begin + len(data)] = data


def _of_payloads() -> Iterator[Case]:
    for name, at in (("payload", 32), ("payload-hash", 8)):
        edit = _flipped(at)
        yield Case(
            f"frame-{name}",
            9,
            f"a bit of the {name.replace('-', ' ')} of frame 2 has flipped",
            edit,
            records={2: CORRUPT},
        )
    yield Case(
        "frame-empty-hash", 9, "a record of no bytes has a wrong hash", _field(1, payload_hash=0), records={1: CORRUPT}
    )
