"""Oddities of keys, of the files that lead to them, and of the lists of deleted records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from struct import Struct, pack
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import Case
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = ["key_cases"]

_CORRUPT: Final = "CorruptRecordError"
_BROKEN: Final = "FormatError"
_NEWER: Final = "UnsupportedVersionError"
# Of the dataset `keyed`: five keys in one block, its fence, one run in the directory.
_KEYS: Final = ("schlüssel/7", "a/b.txt", "b", "c", "z")
_BLOCK: Final = 64
_FENCE: Final = 128
_DIRECTORY: Final = 144
_FOOTER: Final = 168
_NO_SEARCH: Final = dict.fromkeys((*_KEYS, "not there"), _BROKEN)


def _edit(change: Callable[[SegmentEditor], object]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        change(dataset.segment())

    return edit


def _header(offset: int, data: bytes) -> Callable[[DatasetEditor], object]:
    return _edit(lambda segment: segment.set_header("keys", offset, data))


def key_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_keys()
    yield from _of_headers()
    yield from _of_directories()
    yield from _of_open_segments()
    yield from _of_several()
    yield from _of_deleted()


def _of_keys() -> Iterator[Case]:
    # Frame 5 has no key, frame 6 is the last of bin 0 and has the key "z".
    damages: dict[str, tuple[str, Callable[[SegmentEditor], object]]] = {
        "key": ("a bit of a key has flipped", lambda segment: segment.flip("000000.bin", _key_of(segment, 6))),
        "key-hash": (
            "a bit of a key's hash has flipped",
            lambda segment: segment.flip("000000.bin", _key_of(segment, 6) + 1),
        ),
        "key-length": (
            "a key is one byte longer, the check is right",
            lambda segment: segment.set_frame(6, segment.frame(6)._replace(key_length=2)),
        ),
        "key-hidden": ("the length of a key is 0, the check is wrong", _hide_key),
        "key-sync": (
            "the sync word of a frame with a key is another",
            lambda segment: segment.flip("000000.bin", segment.entry(6)[0]),
        ),
        "key-check": (
            "the header check of a frame with a key is wrong",
            lambda segment: segment.flip("000000.bin", segment.entry(6)[0] + 4),
        ),
        "key-not-utf-8": ("a key is not UTF-8, its hash is right", lambda segment: _rekey(segment, b"\xff")),
        "key-surrogate": (
            "a key is a surrogate in UTF-8, its hash is right",
            lambda segment: _rekey(segment, b"\xed\xa0\x80"),
        ),
    }
    for name, (what, change) in damages.items():
        yield Case(f"keys-{name}", 9, what, _edit(change), base="keyed", keys={6: _CORRUPT}, find={"z": _CORRUPT})
    yield Case(
        "keys-key-cut",
        9,
        "a bin ends within a key; the record is whole",
        _edit(lambda segment: segment.file("000000.bin").__delitem__(slice(_key_of(segment, 6) + 5, None))),
        base="keyed",
        keys={6: [_CORRUPT, "TruncatedFileError"]},
        find={"z": [_CORRUPT, "TruncatedFileError"]},
    )
    yield Case(
        "keys-other",
        12,
        "a record has another key than the keys file says",
        _edit(lambda segment: _rekey(segment, b"y")),
        base="keyed",
        keys={6: "y"},
        find={"z": _CORRUPT, "y": None},
    )


def _key_of(segment: SegmentEditor, frame: int) -> int:
    """Return where the key of a frame begins in its bin."""
    begin, stored, _ = segment.entry(frame)
    return begin + 32 + stored


def _hide_key(segment: SegmentEditor) -> None:
    begin, *_ = segment.entry(6)
    segment.file("000000.bin")[begin + 22 : begin + 24] = bytes(2)


def _rekey(segment: SegmentEditor, key: bytes) -> None:
    behind = key + hash64(key).to_bytes(8, "little")
    segment.replace_last(segment.payload(6), behind=behind, key_length=len(key))


def _of_headers() -> Iterator[Case]:
    refused = {
        "other-segment": ("of another segment", 16, b"\xaa" * 16, _BROKEN),
        "version-2": ("of version 2.0", 8, pack("<HH", 2, 0), _NEWER),
        "feature": ("of a feature that nobody knows", 32, pack("<I", 1 << 7), _NEWER),
    }
    for name, (what, offset, data, error) in refused.items():
        yield Case(
            f"keys-file-{name}",
            12,
            f"the keys file is {what}",
            _header(offset, data),
            base="keyed",
            find=dict.fromkeys(_NO_SEARCH, error),
        )
    for name, offset, data in (
        ("minor", 8, pack("<HH", 1, 9)),
        ("may-ignore", 36, b"\xff"),
        ("reserved", 40, b"\xff" * 16),
    ):
        yield Case(
            f"keys-file-{name}",
            12,
            f"the keys file has another {name}",
            _header(offset, data),
            base="keyed",
        )


def _of_directories() -> Iterator[Case]:
    changes: dict[str, tuple[str, Callable[[SegmentEditor], object]]] = {
        "missing": ("is missing", lambda segment: segment._files.pop(segment.path("keys"))),
        "empty": ("has no byte", lambda segment: segment.file("keys").clear()),
        "cut": ("ends before its footer does", lambda segment: segment.file("keys").__delitem__(slice(-8, None))),
        "directory": ("has a damaged directory", lambda segment: segment.flip("keys", _DIRECTORY)),
        "fences": ("has a damaged fence", lambda segment: segment.flip("keys", _FENCE + 8)),
        "block": ("has a damaged block", lambda segment: segment.flip("keys", _BLOCK + 3)),
        "total": ("counts six keys", lambda segment: _redirect(segment, total=6)),
        "no-run": ("has no run and counts five keys", lambda segment: _redirect(segment, runs=0)),
        "many-runs": ("counts 2^60 runs", lambda segment: _redirect(segment, runs=1 << 60)),
        "run-in-header": ("has a run within its header", lambda segment: _redirect(segment, offset=0)),
        "run-beyond": ("has a run that ends within the directory", lambda segment: _redirect(segment, offset=72)),
        "run-far": ("has a run that begins at 2^63", lambda segment: _redirect(segment, offset=1 << 63)),
        "run-long": ("has a run of 2^62 keys", lambda segment: _redirect(segment, num_keys=1 << 62, total=1 << 62)),
        "run-empty": ("has a run of no key", lambda segment: _redirect(segment, num_keys=0, total=0)),
    }
    for name, (what, change) in changes.items():
        yield Case(f"keys-{name}", 12, f"the keys file {what}", _edit(change), base="keyed", find=_NO_SEARCH)
    yield Case(
        "keys-sequence",
        12,
        "the keys file leads to a record that a sealed segment does not have",
        _edit(_lead_beyond),
        base="keyed",
        find=dict.fromkeys((_KEYS[0],), _BROKEN),
    )
    yield Case(
        "keys-elsewhere",
        12,
        "the manifest says of a sealed segment that the directory ends before the file does",
        lambda dataset: dataset.change_manifest(lambda manifest: manifest["segments"][0].update(keys_bytes=184)),
        base="keyed",
    )


def _redirect(
    segment: SegmentEditor,
    *,
    offset: int | None = None,
    num_keys: int | None = None,
    total: int | None = None,
    runs: int | None = None,
) -> None:
    """Write the directory anew, with its hash."""
    file = segment.file("keys")
    old = Struct("<QQQ").unpack_from(file, _DIRECTORY)
    old_total, old_runs, _ = Struct("<QQQ").unpack_from(file, _FOOTER)
    run = pack("<QQQ", old[0] if offset is None else offset, old[1] if num_keys is None else num_keys, old[2])
    counts = pack("<QQ", old_total if total is None else total, old_runs if runs is None else runs)
    listed = run if runs != 0 else b""
    file[_DIRECTORY:_FOOTER] = run
    file[_FOOTER:] = counts + hash64(listed + counts).to_bytes(8, "little")


def _lead_beyond(segment: SegmentEditor) -> None:
    file = segment.file("keys")
    hashes = Struct("<5Q").unpack_from(file, _BLOCK)
    place = hashes.index(hash64(_KEYS[0].encode()))
    file[_BLOCK + 40 + 4 * place : _BLOCK + 44 + 4 * place] = pack("<I", 7)
    file[_FENCE + 8 : _FENCE + 16] = hash64(bytes(file[_BLOCK:_FENCE])).to_bytes(8, "little")
    run = list(Struct("<QQQ").unpack_from(file, _DIRECTORY))
    run[2] = hash64(bytes(file[_FENCE:_DIRECTORY]))
    file[_DIRECTORY:_FOOTER] = pack("<QQQ", *run)
    _redirect(segment)


def _of_open_segments() -> Iterator[Case]:
    yield Case(
        "keys-sealed-meanwhile",
        12,
        "an open segment whose keys have been sealed since",
        _edit(_seal_keys),
        base="open-keyed",
    )
    yield Case(
        "keys-open-missing",
        12,
        "an open segment without a file of keys",
        _edit(lambda segment: segment._files.pop(segment.path("keys.open"))),
        base="open-keyed",
        find=_NO_SEARCH,
    )


def _seal_keys(segment: SegmentEditor) -> None:
    """Rename the file to `keys`, and let its directory end where it does for the first commit."""
    end = segment.info["keys_bytes"]
    segment._files[segment.path("keys")] = segment._files.pop(segment.path("keys.open"))[:end]


def _of_several() -> Iterator[Case]:
    def damage_second(dataset: DatasetEditor) -> None:
        dataset.segment(1).flip("keys", 64 + 3)

    def damage_last(dataset: DatasetEditor) -> None:
        dataset.segment(3).flip("keys", 64 + 3)

    names = ("schlüssel/7", "a/b.txt", "new", "not there")
    yield Case(
        "keys-of-older-segment",
        12,
        "the keys of an older segment are damaged: what newer ones have is found",
        damage_second,
        base="several",
        find={"schlüssel/7": _BROKEN, "not there": _BROKEN},
    )
    yield Case(
        "keys-of-newest-segment",
        12,
        "the keys of the newest segment are damaged",
        damage_last,
        base="several",
        find=dict.fromkeys(names, _BROKEN),
    )


def _of_deleted() -> Iterator[Case]:
    """The first segment has 7 records, of which 2 and 3 are deleted, the second 11, of which 1 is."""
    first = range(7)
    halves: dict[str, tuple[str, Callable[[bytearray], object], Any]] = {
        "other-segment": ("is of another segment", lambda half: half.__setitem__(slice(16, 32), b"\xaa" * 16), _BROKEN),
        "version-2": ("is of version 2.0", lambda half: half.__setitem__(slice(8, 12), pack("<HH", 2, 0)), _NEWER),
        "feature": ("is of a feature that nobody knows", lambda half: half.__setitem__(32, 128), _NEWER),
        "count": ("counts three", lambda half: half.__setitem__(40, 3), _BROKEN),
        "descending": ("is not ascending", lambda half: half.__setitem__(slice(64, 72), pack("<II", 3, 2)), _BROKEN),
        "twice": ("lists a record twice", lambda half: half.__setitem__(slice(64, 72), pack("<II", 3, 3)), _BROKEN),
        "magic": ("is of another magic", lambda half: half.__setitem__(3, 0x42), _BROKEN),
    }
    for name, (what, change, error) in halves.items():
        refused = dict.fromkeys(first, error)
        edit = partial(_relist, change)
        yield Case(
            f"deleted-{name}",
            13,
            f"the list of deleted records {what}",
            edit,
            base="deleted",
            records=refused,
            keys=refused,
            find=dict.fromkeys(_NO_SEARCH, error),
        )
    beyond = partial(_relist, lambda half: half.__setitem__(slice(64, 72), pack("<II", 3, 7)))
    yield Case(
        "deleted-beyond",
        13,
        "the list has a record that the segment does not have, in the place of record 2",
        beyond,
        base="deleted",
        records={2: "df516159715b8f5b"},
        keys={2: "a/b.txt"},
        find={"a/b.txt": 2},
    )
    refused = dict.fromkeys(first, _BROKEN)
    broken: dict[str, tuple[str, Callable[[bytearray], object]]] = {
        "both-damaged": (
            "both halves of the list of deleted records are damaged",
            lambda file: (file.__setitem__(66, 9), file.__setitem__(len(file) // 2 + 66, 9)),
        ),
        "empty": ("the list of deleted records has no byte", lambda file: file.clear()),
    }
    for name, (what, change) in broken.items():
        yield Case(
            f"deleted-{name}",
            13,
            what,
            partial(_change_list, change),
            base="deleted",
            records=refused,
            keys=refused,
            find=_NO_SEARCH,
        )
    yield Case(
        "deleted-missing",
        13,
        "the list of deleted records is missing",
        lambda dataset: dataset.files.pop(_list_name(dataset)),
        base="deleted",
        records=refused,
        keys=refused,
        find=_NO_SEARCH,
    )
    yield Case(
        "deleted-first-damaged",
        13,
        "the first half of the list of deleted records is damaged",
        lambda dataset: _list_of(dataset).__setitem__(66, 9),
        base="deleted",
    )
    yield Case(
        "deleted-second-damaged",
        13,
        "the second half of the list of deleted records is damaged",
        lambda dataset: _list_of(dataset).__setitem__(-1, 9),
        base="deleted",
    )
    yield Case(
        "deleted-cut",
        13,
        "the list of deleted records ends within its second half",
        lambda dataset: _list_of(dataset).__delitem__(slice(-3, None)),
        base="deleted",
    )


def _list_name(dataset: DatasetEditor) -> str:
    segment = dataset.segment()
    return segment.path(f"deleted.{segment.info['deleted_hash']}")


def _list_of(dataset: DatasetEditor) -> bytearray:
    return dataset.files[_list_name(dataset)]


def _change_list(change: Callable[[bytearray], object], dataset: DatasetEditor) -> None:
    change(_list_of(dataset))


def _relist(change: Callable[[bytearray], object], dataset: DatasetEditor) -> None:
    """Change both halves of the list, with their hash, and so the name of the file."""
    file = dataset.files.pop(_list_name(dataset))
    half = file[: len(file) // 2]
    change(half)
    half[56:64] = hash64(bytes(half[:56])).to_bytes(8, "little")
    name = f"{hash64(bytes(half)):016x}"
    dataset.change_manifest(lambda manifest: manifest["segments"][0].update(deleted_hash=name))
    dataset.files[_list_name(dataset)] = half + half
