"""Oddities of keys, and of the files that lead to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct, pack
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import CORRUPT, CUT, FORMAT, NEWER, Case, in_segment, instead
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = ["key_cases"]

# Of the dataset `keyed`: five keys in one block, its fence, one run in the directory.
_KEYS: Final = ("schlüssel/7", "a/b.txt", "b", "c", "z")
_POSITIONS: Final = (0, 2, 3, 4, 6)
_BLOCK: Final = 64
_FENCE: Final = 128
_DIRECTORY: Final = 144
_FOOTER: Final = 168
_NO_SEARCH: Final = dict.fromkeys((*_KEYS, "not there"), FORMAT)


def _header(offset: int, data: bytes) -> Callable[[DatasetEditor], object]:
    return in_segment(lambda segment: segment.set_header("keys", offset, data))


def key_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_keys()
    yield from _of_headers()
    yield from _of_directories()
    yield from _of_open_segments()
    yield from _of_several()


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
        yield Case(f"keys-{name}", 9, what, in_segment(change), base="keyed", keys={6: CORRUPT}, find={"z": CORRUPT})
    yield Case(
        "keys-key-cut",
        9,
        "a bin ends within a key; the record is whole",
        in_segment(lambda segment: segment.file("000000.bin").__delitem__(slice(_key_of(segment, 6) + 5, None))),
        base="keyed",
        keys={6: CUT},
        find={"z": CUT},
    )
    yield Case(
        "keys-other",
        12,
        "a record has another key than the keys file says",
        in_segment(lambda segment: _rekey(segment, b"y")),
        base="keyed",
        keys={6: "y"},
        find={"z": CORRUPT, "y": None},
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
        "other-segment": ("of another segment", 16, b"\xaa" * 16, FORMAT),
        "version-2": ("of version 2.0", 8, pack("<HH", 2, 0), NEWER),
        "version-0-1": ("of version 0.1", 8, pack("<HH", 0, 1), NEWER),
        "feature": ("of a feature that nobody knows", 32, pack("<I", 1 << 7), NEWER),
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
        "missing": ("is missing", lambda segment: segment.remove("keys")),
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
        yield Case(f"keys-{name}", 12, f"the keys file {what}", in_segment(change), base="keyed", find=_NO_SEARCH)
    yield Case(
        "keys-sequence",
        12,
        "the keys file leads to a record that a sealed segment does not have",
        in_segment(lambda segment: _relist(segment, _place_of(segment, _KEYS[0]), sequence=7)),
        base="keyed",
        find=dict.fromkeys((_KEYS[0],), FORMAT),
    )
    changed: tuple[tuple[str, str, Callable[[SegmentEditor], object], dict[str, Any]], ...] = (
        (
            "keys-leads-elsewhere",
            "the keys file leads to a record with another key",
            lambda segment: _relist(segment, _place_of(segment, "b"), sequence=0),
            {"b": CORRUPT},
        ),
        (
            "keys-leads-to-none",
            "the keys file leads to a record without a key",
            lambda segment: _relist(segment, _place_of(segment, "b"), sequence=1),
            {"b": CORRUPT},
        ),
        (
            "keys-hash",
            "the keys file has another hash of a key, all of its own hashes are right",
            lambda segment: _relist(segment, 4, hash_xor=1),
            {_in_order()[4]: None},
        ),
        (
            "keys-descending",
            "the keys of a block do not ascend",
            _swap,
            {key: [position, None, FORMAT, CORRUPT] for key, position in zip(_KEYS, _POSITIONS, strict=True)},
        ),
    )
    for name, what, change, find in changed:
        yield Case(name, 12, what, in_segment(change), base="keyed", find=find, intact=False)
    for kind, edit in (("link", {"link": "../../elsewhere"}), ("folder", {"folder": True}), ("fifo", {"fifo": True})):
        yield Case(
            f"keys-is-{kind}", 4, f"the keys file is a {kind}", instead("keys", **edit), base="keyed", find=_NO_SEARCH
        )
    yield Case(
        "keys-overlapping-runs",
        12,
        "the directory of an open segment lists one run twice",
        _list_runs,
        base="open-keyed",
        find={**_NO_SEARCH, "late 0": FORMAT},
    )
    yield Case(
        "keys-elsewhere",
        12,
        "the manifest says of a sealed segment that the directory ends before the file does",
        lambda dataset: dataset.change_manifest(lambda manifest: manifest["segments"][0].update(keys_bytes=184)),
        base="keyed",
        intact=False,
    )


def _in_order() -> tuple[str, ...]:
    """Return the keys in the order of the block."""
    return tuple(sorted(_KEYS, key=lambda key: hash64(key.encode())))


def _place_of(segment: SegmentEditor, key: str) -> int:
    return Struct("<5Q").unpack_from(segment.file("keys"), _BLOCK).index(hash64(key.encode()))


def _relist(segment: SegmentEditor, place: int, *, sequence: int | None = None, hash_xor: int = 0) -> None:
    """Change what the block says of a key, and all hashes around it."""
    file = segment.file("keys")
    file[_BLOCK + 8 * place] ^= hash_xor
    if sequence is not None:
        file[_BLOCK + 40 + 4 * place : _BLOCK + 44 + 4 * place] = pack("<I", sequence)
    file[_FENCE : _FENCE + 16] = file[_BLOCK : _BLOCK + 8] + hash64(bytes(file[_BLOCK:_FENCE])).to_bytes(8, "little")
    run = Struct("<QQQ").unpack_from(file, _DIRECTORY)
    file[_DIRECTORY:_FOOTER] = pack("<QQQ", *run[:2], hash64(bytes(file[_FENCE:_DIRECTORY])))
    _redirect(segment)


def _swap(segment: SegmentEditor) -> None:
    """Let the first key of the block and the fourth change places."""
    file = segment.file("keys")
    for start, size in ((_BLOCK, 8), (_BLOCK + 40, 4)):
        first, fourth = slice(start, start + size), slice(start + 3 * size, start + 4 * size)
        file[first], file[fourth] = file[fourth], file[first]
    _relist(segment, 0)


def _list_twice(segment: SegmentEditor) -> None:
    """Put a directory of the same run twice behind all."""
    file = segment.file("keys.open")
    end = segment.info["keys_bytes"]
    total, runs, _ = Struct("<QQQ").unpack_from(file, end - 24)
    listed = bytes(file[end - 24 - 24 * runs : end - 24]) * 2
    counts = pack("<QQ", 2 * total, 2 * runs)
    file[end - 24 - 24 * runs :] = listed + counts + hash64(listed + counts).to_bytes(8, "little")


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


def _list_runs(dataset: DatasetEditor) -> None:
    in_segment(_list_twice)(dataset)
    end = len(dataset.segment().file("keys.open"))
    dataset.change_manifest(lambda manifest: manifest["segments"][0].update(keys_bytes=end))


def _of_open_segments() -> Iterator[Case]:
    yield Case(
        "keys-sealed-meanwhile",
        12,
        "an open segment whose keys have been sealed since",
        in_segment(_seal_keys),
        base="open-keyed",
    )
    yield Case(
        "keys-open-missing",
        12,
        "an open segment without a file of keys",
        in_segment(lambda segment: segment.remove("keys.open")),
        base="open-keyed",
        find={**_NO_SEARCH, "late 0": FORMAT},
    )


def _seal_keys(segment: SegmentEditor) -> None:
    """Rename the file to `keys`, and let its directory end where it does for the first commit."""
    end = segment.info["keys_bytes"]
    segment.add("keys", segment.file("keys.open")[:end])
    segment.remove("keys.open")


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
        find={"schlüssel/7": FORMAT, "not there": FORMAT},
    )
    yield Case(
        "keys-of-newest-segment",
        12,
        "the keys of the newest segment are damaged",
        damage_last,
        base="several",
        find=dict.fromkeys(names, FORMAT),
    )
