"""Oddities of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from struct import pack, unpack
from typing import Any

from tests.conformance.case import CORRUPT, Case, hash_of, in_segment
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor
from tests.conformance.golden_datasets import GROUPED

__all__ = ["group_cases"]


def group_cases() -> Iterator[Case]:
    """Yield all of them."""
    # The second group, records 4 to 7, is alone in bin 1.
    second, all_of_it = range(4, 8), dict.fromkeys(range(4, 8), CORRUPT)
    # Who reads one record may look at its own place alone.
    others = {position: [hash_of(GROUPED[position]), CORRUPT] for position in second}
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
        edit = in_segment(partial(_regroup, change=change))
        wrong = others | dict.fromkeys(places, CORRUPT)
        yield Case(f"group-{name}", 11, f"a group: {what}", edit, base="grouped", records=wrong)
    yield Case(
        "group-last-longer",
        11,
        "the last group: it counts four records, of which the manifest counts three",
        in_segment(_lengthen),
        base="grouped",
        intact=None,
    )
    yield Case(
        "group-alignment-128",
        11,
        "a group: its items are aligned to 128, and lie so",
        in_segment(_align_widely),
        base="grouped",
        records=all_of_it,
    )
    # The items before it can be read, or the group is refused as a whole.
    keyed: dict[str, Any] = {
        "records": others,
        "keys": _choice(4, (5, 6)),
        "find": {"key 4": CORRUPT} | {f"key {n}": [n, CORRUPT] for n in (5, 6)},
    }
    yield Case(
        "group-key-long",
        11,
        "a group: its first key has 65,536 bytes",
        in_segment(_lengthen_key),
        base="grouped-keyed",
        **keyed,
    )
    yield Case(
        "group-bytes-behind",
        11,
        "a group: bytes behind its last item",
        in_segment(lambda segment: _regroup(segment, lambda data: data.extend(b"xy"))),
        base="grouped",
        intact=False,
    )
    yield Case(
        "group-gap",
        11,
        "a group: bytes between aligned items are not zero",
        in_segment(_fill_gap),
        base="grouped-aligned",
        intact=False,
    )
    for name, kind, what in (
        ("kind-record", 0, "its kind is that of a record"),
        ("kind-large", 4, "its kind is that of a large record"),
    ):
        yield Case(
            f"group-{name}",
            8,
            f"a group: {what}",
            _field(1, kind=kind),
            base="grouped",
            records=all_of_it,
        )
    yield Case(
        "group-key-length",
        8,
        "a group: its frame says that a key follows",
        _field(1, key_length=3),
        base="grouped",
        intact=False,
    )
    yield Case(
        "group-payload",
        11,
        "a group: a bit of its payload has flipped",
        in_segment(lambda segment: segment.flip("000001.bin", segment.entry(1)[0] + 32 + 30)),
        base="grouped",
        records=all_of_it,
    )
    yield Case(
        "group-zstd-payload",
        11,
        "a compressed group: a bit of its payload has flipped",
        in_segment(lambda segment: segment.flip("000001.bin", segment.entry(1)[0] + 32 + 9)),
        base="grouped-zstd",
        records=dict.fromkeys(range(8, 11), CORRUPT),
    )
    tables = 8 + 4 * 4
    descending = in_segment(lambda segment: _rekey(segment, tables + 4, 0))
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
    beyond = in_segment(lambda segment: _rekey(segment, tables + 8, 1 << 31))
    yield Case(
        "group-key-beyond",
        11,
        "a group: its third key ends beyond the payload",
        beyond,
        base="grouped-keyed",
        records=others,
        keys=_choice(6, (4, 5)) | {7: CORRUPT},
        find=_found(6, (4, 5)),
    )


def _field(frame: int, **fields: Any) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.set_frame(frame, segment.frame(frame)._replace(**fields)))


def _choice(wrong: int, others: tuple[int, ...]) -> dict[int, Any]:
    """Return verdicts on the keys of a group: one is wrong, the others may be read."""
    return {wrong: CORRUPT} | {position: [f"key {position}", CORRUPT] for position in others} | {7: [None, CORRUPT]}


def _found(wrong: int, others: tuple[int, ...]) -> dict[str, Any]:
    return {f"key {wrong}": CORRUPT} | {f"key {position}": [position, CORRUPT] for position in others}


def _rekey(segment: SegmentEditor, offset: int, end: int) -> None:
    _regroup(segment, lambda data: data.__setitem__(slice(offset, offset + 4), pack("<I", end)))


def _regroup(segment: SegmentEditor, change: Callable[[bytearray], object]) -> None:
    payload = bytearray(segment.payload(1))
    change(payload)
    segment.replace_last(bytes(payload), frame=1, raw=len(payload))


def _lengthen(segment: SegmentEditor) -> None:
    count, flags, *ends = unpack("<5I", segment.payload(2)[:20])
    items = segment.payload(2)[20:]
    ends = [end + 4 for end in ends]
    payload = pack("<6I", count + 1, flags, *ends, ends[-1] + 4) + items + b"more"
    segment.replace_last(payload, raw=len(payload))


def _align_widely(segment: SegmentEditor) -> None:
    records = GROUPED[4:8]
    items, ends = b"", []
    for record in records:
        items += bytes(-(len(items) + 24) % 128) + record
        ends.append(len(items) + 24)
    payload = pack("<6I", 4, 7, *ends) + items
    segment.replace_last(payload, frame=1, raw=len(payload))


def _lengthen_key(segment: SegmentEditor) -> None:
    """Let the first key of a group be 65,536 zeros longer than it is, less its own length."""
    payload = segment.payload(1)
    words = list(unpack("<10I", payload[:40]))
    more = 65536 - (words[6] - words[5])
    words[6:] = [end + more for end in words[6:]]
    first = words[5]
    longer = pack("<10I", *words) + payload[40:first] + bytes(65536) + payload[words[6] - more :]
    segment.replace_last(longer, frame=1, raw=len(longer))


def _fill_gap(segment: SegmentEditor) -> None:
    # The last group of three; its tables have 20 bytes, its first item begins at 64.
    payload = bytearray(segment.payload(2))
    payload[21] = 1
    segment.replace_last(bytes(payload), raw=len(payload))
