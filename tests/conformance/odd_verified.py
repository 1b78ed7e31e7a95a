"""Oddities that cost no record: only a verification looks at them, each of which one check alone finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack
from typing import Any

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import FORMAT, Case, in_segment
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = ["verified_cases"]


def verified_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_tables()
    yield from _of_headers()
    yield from _of_control_frames()
    yield from _of_sums()
    yield from _of_lists()


def _tables_of(segment: SegmentEditor) -> dict[str, int]:
    """Return where the tables of the index of few entries begin."""
    sums = 128 + segment.stride * segment.frames
    return {
        "sums": sums,
        "bins": sums + 8,
        "dictionary": sums + 8 + 8 * segment.bins,
        "footer": len(segment.index) - 24,
    }


def _rewrite(segment: SegmentEditor, table: str, place: int) -> None:
    """Change a byte of a table, and let its hash in the footer be right."""
    at = _tables_of(segment)
    index = segment.index
    index[at[table] + place] ^= 8
    ends = {"sums": at["bins"], "bins": at["dictionary"], "dictionary": at["footer"]}
    number = list(ends).index(table)
    footer = at["footer"] + 8 * number
    index[footer : footer + 8] = pack("<Q", hash64(bytes(index[at[table] : ends[table]])))


def _of_tables() -> Iterator[Case]:
    changes: dict[str, tuple[str, Callable[[SegmentEditor], object]]] = {
        "sum": ("a block sum is not that of its entries", lambda segment: _rewrite(segment, "sums", 0)),
        "bin-table": ("the bin table has another length of a bin", lambda segment: _rewrite(segment, "bins", 0)),
        "hash-of-sums": ("the hash of the block sums", lambda segment: segment.flip("index", len(segment.index) - 24)),
        "hash-of-bin-table": (
            "the hash of the bin table",
            lambda segment: segment.flip("index", len(segment.index) - 16),
        ),
        "hash-of-dictionary": (
            "the hash of the dictionary, which has no bytes",
            lambda segment: segment.flip("index", len(segment.index) - 8),
        ),
    }
    for name, (what, change) in changes.items():
        text = f"{what}, all hashes are right" if "hash" not in name else f"{what} is another"
        yield Case(f"verify-{name}", 16, f"the index: {text}", in_segment(change), intact=False)
    yield Case(
        "verify-lengths-zeros",
        16,
        "the index: behind the lengths of a group that is not full stand no zeros",
        in_segment(_fill_lengths),
        base="grouped",
        intact=False,
    )


def _fill_lengths(segment: SegmentEditor) -> None:
    segment.index[128 + segment.stride * segment.frames - 1] = 1
    segment.rehash()


def _of_headers() -> Iterator[Case]:
    # Bit 0 is known in each header. Whether it is right, and with it the group, a verification sees.
    for name, file, flags, group in (("index", "index", 32, 101), ("bin", "000001.bin", 40, 50)):
        yield Case(
            f"verify-{name}-groups",
            15,
            f"the header of the {name} announces groups of four, which its segment does not have",
            in_segment(lambda segment, edit=(file, flags, group): _announce(segment, *edit)),  # type: ignore[misc]  # a default, to bind it
            intact=False,
        )
        yield Case(
            f"verify-{name}-no-groups",
            15,
            f"the header of the {name} announces no groups, which its segment has",
            in_segment(lambda segment, edit=(file, flags, group): _announce(segment, *edit, log2=0)),  # type: ignore[misc]  # a default, to bind it
            base="grouped",
            intact=False,
        )
        # Which of them a group needs the header itself says, not the manifest.
        yield Case(
            f"{name}-other-segment-groups",
            7,
            f"the {name} is that of another segment, which has groups of four",
            in_segment(lambda segment, edit=(file, flags, group): _announce(segment, *edit, other=True)),  # type: ignore[misc]  # a default, to bind it
            records=dict.fromkeys(range(7) if name == "index" else (1, 3, 5), FORMAT),
        )
    yield Case(
        "verify-index-alone-groups",
        15,
        "the header of the index announces groups, and has a group of one record",
        in_segment(lambda segment: segment.set_header("index", 32, b"\1")),
        intact=False,
    )


def _announce(segment: SegmentEditor, file: str, flags: int, group: int, log2: int = 2, *, other: bool = False) -> None:
    if other:
        segment.set_header(file, 16, b"\xaa" * 16)
    segment.set_header(file, flags, bytes([log2 > 0]))
    segment.set_header(file, group, bytes([log2]))


def _of_control_frames() -> Iterator[Case]:
    changes: dict[str, tuple[str, Callable[[SegmentEditor], object]]] = {
        "check": ("the header check", lambda segment: segment.flip("000000.bin", 64 + 4)),
        "sync": ("the sync word", lambda segment: segment.flip("000000.bin", 64)),
        "payload-hash": ("the payload hash", lambda segment: segment.flip("000000.bin", 64 + 8)),
    }
    for name, (what, change) in changes.items():
        edit = in_segment(change)
        yield Case(f"verify-metadata-{name}", 16, f"the copy of the metadata: {what} is wrong", edit, intact=False)
    edit = in_segment(lambda segment: segment.flip("000000.bin", segment.entry(0)[0] - 1))
    yield Case("verify-metadata-zeros", 16, "behind the copy of the metadata stand no zeros", edit, intact=False)
    edit = in_segment(lambda segment: segment.set_control_frame(_array(segment), kind=2))
    yield Case("verify-metadata-array", 16, "the copy of the metadata is an array", edit, intact=False)
    edit = in_segment(lambda segment: segment.set_control_frame(_deep(segment), kind=2))
    yield Case("verify-metadata-twice", 16, "the copy of the metadata has a key twice", edit, intact=False)


def _length(segment: SegmentEditor) -> int:
    return int.from_bytes(segment.file("000000.bin")[64 + 24 : 64 + 28], "little")


def _array(segment: SegmentEditor) -> bytes:
    return b"[" + b" " * (_length(segment) - 2) + b"]"


def _deep(segment: SegmentEditor) -> bytes:
    return b'{"a":1,"a":2' + b" " * (_length(segment) - 13) + b"}"


def _of_sums() -> Iterator[Case]:
    def set_both(dataset: DatasetEditor, fields: dict[str, Any], place: int, value: int) -> None:
        dataset.change_manifest(lambda manifest: manifest["segments"][0].update(fields))
        dataset.segment().set_header("index", place, pack("<Q", value))

    yield Case(
        "verify-digest",
        16,
        "manifest and index say the same digest, which is not that of the records",
        lambda dataset: set_both(dataset, {"digest": f"{5:016x}"}, 64, 5),
        fingerprint=f"7-{5:016x}",
        intact=False,
    )
    for name, place in (("stored_bytes", 72), ("raw_bytes", 80)):
        yield Case(
            f"verify-{name}".replace("_", "-"),
            16,
            f"manifest and index say the same {name}, which is not that of the records",
            lambda dataset, edit=({name: 5}, place, 5): set_both(dataset, *edit),  # type: ignore[misc]  # a default, to bind it
            intact=True,
        )


def _of_lists() -> Iterator[Case]:
    yield Case(
        "deleted-both-other",
        13,
        "both halves of the list have record 4 in the place of record 3: nothing but their hash is wrong",
        _relist_wrongly,
        base="deleted",
        records=dict.fromkeys(range(7), FORMAT),
        keys=dict.fromkeys(range(7), FORMAT),
        find=dict.fromkeys(("schlüssel/7", "a/b.txt", "b", "c", "z"), FORMAT) | {"not there": [FORMAT, None]},
    )
    yield Case(
        "deleted-bytes-behind",
        16,
        "the list of deleted records: zeros behind its second half",
        lambda dataset: _list_of(dataset).extend(bytes(8)),
        base="deleted",
        intact=False,
    )
    yield Case(
        "deleted-no-index",
        9,
        "the index of a segment with deleted records is missing",
        in_segment(lambda segment: segment.remove("index")),
        base="deleted",
        records=dict.fromkeys((0, 1, 4, 5, 6), "TruncatedFileError"),
        keys=dict.fromkeys((0, 1, 4, 5, 6), "TruncatedFileError"),
        find=dict.fromkeys(("schlüssel/7", "c", "z"), "TruncatedFileError"),
    )
    yield Case(
        "deleted-groups",
        15,
        "the header of the list of deleted records announces groups, which its segment does not have",
        _announce_in_list,
        base="deleted",
        intact=None,
    )


def _list_of(dataset: DatasetEditor) -> bytearray:
    segment = dataset.segment()
    return segment.file(f"deleted.{segment.info['deleted_hash']}")


def _relist_wrongly(dataset: DatasetEditor) -> None:
    file = _list_of(dataset)
    for end in (len(file) // 2, len(file)):
        file[end - 4 : end] = pack("<I", 4)


def _announce_in_list(dataset: DatasetEditor) -> None:
    half = bytearray(_list_of(dataset)[: len(_list_of(dataset)) // 2])
    old = dataset.segment().info["deleted_hash"]
    half[32] = 1
    half[56:64] = pack("<Q", hash64(bytes(half[:56])))
    name = f"{hash64(bytes(half)):016x}"
    dataset.segment().remove(f"deleted.{old}")
    dataset.change_manifest(lambda manifest: manifest["segments"][0].update(deleted_hash=name))
    dataset.segment().add(f"deleted.{name}", half * 2)
