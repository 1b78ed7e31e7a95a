"""Oddities of what a file of keys leads to: records of one key, runs, fences, and which file counts.

A case writes the file anew, from pairs of hash and sequence number, and all hashes in it are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import pack
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import FORMAT, NEWER, Case, in_segment, instead
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = ["key_table_cases"]

# Of the datasets `keyed` and `open-keyed`.
_KEYS: Final = {"schlüssel/7": 0, "a/b.txt": 2, "b": 3, "c": 4, "z": 6}
_NO_SEARCH: Final = dict.fromkeys((*_KEYS, "not there"), FORMAT)
_NO_OPEN_SEARCH: Final = _NO_SEARCH | {"late 0": FORMAT}
_NONE: Final = dict.fromkeys(_KEYS)

_Pair = tuple[str, int]


def _run(pairs: Sequence[_Pair], fence_xor: int = 0) -> tuple[bytes, int]:
    """Return a run of few keys, and the hash of its fences; keys of one hash stay in the order that is given."""
    hashed = sorted(((hash64(key.encode()), sequence) for key, sequence in pairs), key=lambda pair: pair[0])
    block = b"".join(pack("<Q", one) for one, _ in hashed) + b"".join(pack("<I", number) for _, number in hashed)
    block += bytes(-len(block) % 8)
    fences = pack("<QQ", hashed[0][0] ^ fence_xor, hash64(block))
    return block + fences, hash64(fences)


def _table(
    header: bytes, runs: Sequence[Sequence[_Pair]], *, skipped: int = 0, gap: int = 0, fence_xor: int = 0
) -> bytes:
    """Return the file of keys with these runs; bytes may be skipped before each run, and before the directory."""
    data, listed = bytearray(header), b""
    for pairs in runs:
        run, fences_hash = _run(pairs, fence_xor)
        data += bytes(skipped)
        listed += pack("<QQQ", len(data), len(pairs), fences_hash)
        data += run
    listed += pack("<QQ", sum(map(len, runs)), len(runs))
    return bytes(data) + bytes(gap) + listed + pack("<Q", hash64(listed))


def _rewritten(*runs: Sequence[_Pair], **options: int) -> Callable[[DatasetEditor], object]:
    """Return an edit that writes the keys of the first segment anew, and says in the manifest where they end."""

    def edit(dataset: DatasetEditor) -> None:
        segment = dataset.segment()
        name = "keys" if segment.info["sealed"] else "keys.open"
        data = _table(bytes(segment.file(name)[:64]), runs, **options)
        segment.add(name, data)
        dataset.change_manifest(lambda manifest: manifest["segments"][0].update(keys_bytes=len(data)))

    return edit


def _then(*edits: Callable[[DatasetEditor], object]) -> Callable[[DatasetEditor], object]:
    def edit(dataset: DatasetEditor) -> None:
        for one in edits:
            one(dataset)

    return edit


def key_table_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_one_key()
    yield from _of_runs()
    yield from _of_headers()
    yield from _of_open_segments()
    yield from _of_empty_segments()


def _rekey(segment: SegmentEditor) -> None:
    """Give the last record, which had the key "z", the key "b", which record 3 has too."""
    segment.replace_last(segment.payload(6), behind=b"b" + pack("<Q", hash64(b"b")), key_length=1)


def _of_one_key() -> Iterator[Case]:
    before = [pair for pair in _KEYS.items() if pair[0] not in {"b", "z"}]
    for name, twins in (("", [("b", 3), ("b", 6)]), ("-descending", [("b", 6), ("b", 3)])):
        order = "the greater" if name else "the smaller"
        yield Case(
            f"keys-of-two-records{name}",
            12,
            f"two records of a segment have one key, and the file lists {order} sequence number first",
            _then(in_segment(_rekey), _rewritten([*before, *twins])),
            base="keyed",
            keys={6: "b"},
            find={"b": 6, "z": None},
            intact=True,
        )
    yield Case(
        "keys-of-two-records-in-two-runs",
        12,
        "an open segment: two records have one key, and the greater sequence number stands in the first run",
        _then(in_segment(_rekey), _rewritten([("b", 6)], [*before, ("b", 3)])),
        base="open-keyed",
        keys={6: "b"},
        find={"b": 6, "z": None},
        intact=True,
    )
    yield Case(
        "keys-of-deleted-twin",
        13,
        "two records of a segment have one key, and the newer one is deleted",
        _then(
            in_segment(
                lambda segment: segment.replace_last(
                    segment.payload(6), behind=b"b" + pack("<Q", hash64(b"b")), key_length=1
                )
            ),
            _rewritten([*before, ("b", 3), ("b", 6)]),
            _delete_last,
        ),
        base="keyed",
        records={6: "RecordDeletedError"},
        keys={6: "RecordDeletedError"},
        find={"b": 3, "z": None},
        intact=True,
    )


def _delete_last(dataset: DatasetEditor) -> None:
    """Mark the last record of the first segment as deleted."""
    segment = dataset.segment()
    number = segment.info["records"] - 1
    head = pack("<8sHHI16sIIQQ", b"\x89SDX\r\n\x1a\n", 1, 0, 64, bytes.fromhex(segment.id), 0, 0, 1, 0)
    half = head + pack("<Q", hash64(head)) + pack("<I", number)
    name = f"{hash64(half):016x}"
    fields = {"deleted": 1, "deleted_hash": name, "must_understand": ["deleted"]}
    dataset.change_manifest(lambda manifest: manifest["segments"][0].update(fields))
    segment.add(f"deleted.{name}", half * 2)


def _of_runs() -> Iterator[Case]:
    pairs = list(_KEYS.items())
    yield Case(
        "keys-two-runs",
        12,
        "the keys file of a sealed segment has two runs",
        _rewritten(pairs[:2], pairs[2:]),
        base="keyed",
        intact=False,
    )
    yield Case(
        "keys-run-later",
        12,
        "the keys file of a sealed segment has zeros before its run",
        _rewritten(pairs, skipped=8),
        base="keyed",
        intact=None,
    )
    yield Case(
        "keys-no-runs",
        12,
        "the keys file has an intact directory of no run",
        _rewritten(),
        base="keyed",
        find=_NONE,
    )
    for name, what, options in (
        ("run-unaligned", "a run begins at no multiple of 8", {"skipped": 4, "gap": 4}),
        ("directory-unaligned", "the directory begins and ends at no multiple of 8", {"gap": 4}),
    ):
        yield Case(
            f"keys-{name}", 12, f"the keys file: {what}", _rewritten(pairs, **options), base="keyed", find=_NO_SEARCH
        )
    # The fence stays below the hash of the first key, so that the block is found.
    first = min(hash64(key.encode()) for key in _KEYS)
    yield Case(
        "keys-other-fence",
        16,
        "the keys file: a fence has another hash than that of the first key of its block",
        _rewritten(pairs, fence_xor=first & -first),
        base="keyed",
        intact=False,
    )
    yield Case(
        "keys-missing-pair",
        16,
        "the keys file leaves out a key that a record has",
        _rewritten([pair for pair in pairs if pair[0] != "b"]),
        base="keyed",
        find={"b": None},
    )
    yield Case(
        "keys-extra-pair",
        16,
        "the keys file has a key more than the records have, with the hash of a key that nobody asks for",
        _rewritten([*pairs, ("nobody", 1)]),
        base="keyed",
        intact=False,
    )
    yield Case(
        "keys-pair-twice",
        16,
        "the keys file has a pair of hash and sequence number twice",
        _rewritten([*pairs, ("b", 3)]),
        base="keyed",
        intact=False,
    )


def _of_headers() -> Iterator[Case]:
    yield Case(
        "keys-file-header-damaged",
        12,
        "the header of the keys file is not intact",
        in_segment(lambda segment: segment.flip("keys", 20)),
        base="keyed",
        intact=False,
    )
    yield Case(
        "keys-file-magic",
        12,
        "the magic of the keys file is that of an index",
        in_segment(lambda segment: segment.set_header("keys", 3, b"I")),
        base="keyed",
        intact=False,
    )
    yield Case(
        "keys-file-groups",
        15,
        "the header of the keys file announces groups, which its segment does not have",
        in_segment(lambda segment: segment.set_header("keys", 32, b"\1")),
        base="keyed",
        intact=None,
    )


def _of_open_segments() -> Iterator[Case]:
    pairs = list(_KEYS.items())
    yield Case(
        "keys-open-later-record",
        12,
        "an open segment: the file of keys has a key once more, of a record that is not committed yet",
        _rewritten([*pairs, ("b", 8)]),
        base="open-keyed",
    )
    yield Case(
        "keys-open-later-record-alone",
        12,
        "an open segment: a key leads only to a record that is not committed yet",
        _rewritten([*pairs, ("late 0", 7)]),
        base="open-keyed",
    )
    yield Case(
        "keys-open-of-two-files",
        12,
        "an open segment: both files of keys are there, and the one of the sealed segment is damaged",
        in_segment(lambda segment: segment.add("keys", bytes(200))),
        base="open-keyed",
    )
    for kind, edit in (("link", {"link": "keys"}), ("folder", {"folder": True}), ("fifo", {"fifo": True})):
        yield Case(
            f"keys-open-is-{kind}",
            12,
            f"an open segment: keys.open is a {kind}, and keys is right",
            _then(in_segment(_copy_keys), instead("keys.open", **edit)),
            base="open-keyed",
            find=_NO_OPEN_SEARCH,
        )
    changes: dict[str, tuple[str, int, bytes, Any]] = {
        "other-segment": ("of another segment", 16, b"\xaa" * 16, {}),
        "version-2": ("of version 2.0", 8, pack("<HH", 2, 0), dict.fromkeys(_NO_OPEN_SEARCH, NEWER)),
        "feature": ("of a feature that nobody knows", 32, pack("<I", 1 << 7), dict.fromkeys(_NO_OPEN_SEARCH, NEWER)),
    }
    for name, (what, offset, data, find) in changes.items():
        yield Case(
            f"keys-open-{name}",
            12,
            f"an open segment: keys.open is {what}, and keys is right",
            in_segment(lambda segment, at=offset, new=data: _spoil_open(segment, at, new)),  # type: ignore[misc]  # a default, to bind it
            base="open-keyed",
            find=find,
            intact="derived" if find else None,
        )
    yield Case(
        "keys-open-damaged",
        12,
        "an open segment: keys.open is damaged, and keys is right",
        _then(in_segment(_copy_keys), in_segment(_damage_open)),
        base="open-keyed",
        intact=None,
    )


def _copy_keys(segment: SegmentEditor) -> None:
    """Write what was committed of the open keys into the file of a sealed segment too."""
    segment.add("keys", segment.file("keys.open")[: segment.info["keys_bytes"]])


def _spoil_open(segment: SegmentEditor, offset: int, data: bytes) -> None:
    _copy_keys(segment)
    segment.set_header("keys.open", offset, data)


def _damage_open(segment: SegmentEditor) -> None:
    segment.flip("keys.open", segment.info["keys_bytes"] - 1)


def _of_empty_segments() -> Iterator[Case]:
    for name, what, fields in (
        ("", "", {}),
        ("-of-feature", ", which has a feature that nobody knows", {"must_understand": ["colours"]}),
    ):
        yield Case(
            f"segment-of-no-records{name}",
            9,
            f"a segment without records and files between two others{what}",
            lambda dataset, more=fields: dataset.change_manifest(lambda manifest: _insert_empty(manifest, more)),  # type: ignore[misc]  # a default, to bind it
            base="several",
            intact=False if fields else None,
        )


def _insert_empty(manifest: dict[str, Any], more: dict[str, Any]) -> None:
    empty = {"id": "e" * 32, "records": 0, "bins": 1, "sealed": True, "digest": "0" * 16}
    manifest["segments"].insert(2, empty | {"raw_bytes": 0, "stored_bytes": 0} | more)
