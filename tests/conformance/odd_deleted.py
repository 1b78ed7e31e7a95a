"""Oddities of the lists of deleted records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from struct import pack
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import FORMAT, NEWER, Case, hash_of
from tests.conformance.dataset_editor import DatasetEditor
from tests.conformance.golden_datasets import PLAIN

__all__ = ["deleted_cases"]

_KEYS: Final = ("schlüssel/7", "a/b.txt", "b", "c", "z")


def _no_search(error: str = FORMAT) -> dict[str, Any]:
    """Return what searches say where the list cannot be read, which a key that is nowhere does not need."""
    return dict.fromkeys(_KEYS, error) | {"not there": [error, None]}


def deleted_cases() -> Iterator[Case]:
    """Yield all of them.

    The first segment has 7 records, of which 2 and 3 are deleted, the second 11, of which 1 is.
    """
    first = range(7)
    halves: dict[str, tuple[str, Callable[[bytearray], object], Any]] = {
        "other-segment": ("is of another segment", lambda half: half.__setitem__(slice(16, 32), b"\xaa" * 16), FORMAT),
        "version-2": ("is of version 2.0", lambda half: half.__setitem__(slice(8, 12), pack("<HH", 2, 0)), NEWER),
        "version-0-1": ("is of version 0.1", lambda half: half.__setitem__(slice(8, 12), pack("<HH", 0, 1)), NEWER),
        "feature": ("is of a feature that nobody knows", lambda half: half.__setitem__(32, 128), NEWER),
        "count": ("counts three", lambda half: half.__setitem__(40, 3), FORMAT),
        "descending": ("is not ascending", lambda half: half.__setitem__(slice(64, 72), pack("<II", 3, 2)), FORMAT),
        "twice": ("lists a record twice", lambda half: half.__setitem__(slice(64, 72), pack("<II", 3, 3)), FORMAT),
        "magic": ("is of another magic", lambda half: half.__setitem__(3, 0x42), FORMAT),
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
            find=_no_search(error),
        )
    beyond = partial(_relist, lambda half: half.__setitem__(slice(64, 72), pack("<II", 3, 7)))
    yield Case(
        "deleted-beyond",
        13,
        "the list has record 7 of 7 in the place of record 2",
        beyond,
        base="deleted",
        records={2: hash_of(PLAIN[2])},
        keys={2: "a/b.txt"},
        find={"a/b.txt": 2},
        intact=False,
    )
    refused = dict.fromkeys(first, FORMAT)
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
            find=_no_search(),
        )
    for kind, other in (("link", {"link": "elsewhere"}), ("folder", {"folder": True}), ("fifo", {"fifo": True})):
        yield Case(
            f"deleted-is-{kind}",
            4,
            f"the list of deleted records is a {kind}",
            lambda dataset, other=other: dataset.others.append({"file": _list_name(dataset), **other}),  # type: ignore[misc]  # a default, to bind it
            base="deleted",
            records=refused,
            keys=refused,
            find=_no_search(),
        )
    yield Case(
        "deleted-missing",
        13,
        "the list of deleted records is missing",
        lambda dataset: dataset.files.pop(_list_name(dataset)),
        base="deleted",
        records=refused,
        keys=refused,
        find=_no_search(),
    )
    yield Case(
        "deleted-first-damaged",
        13,
        "the first half of the list of deleted records is damaged",
        lambda dataset: _list_of(dataset).__setitem__(66, 9),
        base="deleted",
        intact=False,
    )
    yield Case(
        "deleted-second-damaged",
        13,
        "the second half of the list of deleted records is damaged",
        lambda dataset: _list_of(dataset).__setitem__(-1, 9),
        base="deleted",
        intact=False,
    )
    yield Case(
        "deleted-cut",
        13,
        "the list of deleted records ends within its second half",
        lambda dataset: _list_of(dataset).__delitem__(slice(-3, None)),
        base="deleted",
        intact=False,
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
