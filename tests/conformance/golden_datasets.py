"""The golden datasets of the conformance files: each feature of the format, with what is in it.

GoldenDataset   write(folder) -> files       records, keys, metadata -> the verdict, which no reader was asked for
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from xxhash import xxh3_64_intdigest as hash64

from splitdata import SplitWriter, compact, delete
from tests.conformance.golden_samples import (
    DECLARED_RECORDS,
    DECLARED_SCHEMAS,
    DECLARED_SHOWN,
    SAMPLE_RECORDS,
    SAMPLE_SCHEMAS,
    SAMPLE_SHOWN,
    write_declared,
    write_samples,
)
from tests.dataset.keys.forged_keys import keys_of_one_hash

__all__ = ["DICTIONARY_RECORDS", "GOLDEN", "GROUPED", "LARGE_BYTES", "PLAIN", "GoldenDataset"]

LARGE_BYTES: Final = (16 << 20) + 5
DICTIONARY_RECORDS: Final = 200
PLAIN: Final = (b"hello", b"", b"splitdata", b"x" * 40, bytes(range(256)), b"the last of bin 1", b"the last of bin 0")
# So few that the dictionary is small, so many that there is one.
_JSON: Final = tuple(
    b'{"name": "record %d", "kind": "small and of little use", "values": [%d, %d], "text": "one of many, all alike"}'
    % (n, n * n, n % 7)
    for n in range(DICTIONARY_RECORDS)
)
GROUPED: Final = tuple(b"record %d; " % n * (n % 5) for n in range(11))
_METADATA: Final[dict[str, Any]] = {"name": "plain", "größe": 7, "nested": {"list": [1, 2.5, None, True]}}


@dataclass(frozen=True)
class GoldenDataset:
    """A dataset that is as it should be.

    Attributes:
        write: Writes it in a folder.
        records: Of each position; None where it was deleted.
        keys: Of each position, None where there is none; empty where no record of the dataset has one.
        absent: Keys that no record has.
        ranges: Position, start and stop of parts that a reader is asked for.
        schemas: Of its segment.
        samples: Values of records, as verdicts show them.
    """

    name: str
    what: str
    write: Callable[[Path], None]
    records: tuple[bytes | None, ...]
    keys: tuple[str | None, ...] = ()
    absent: tuple[str, ...] = ()
    ranges: tuple[tuple[int, int, int], ...] = ()
    schemas: tuple[bytes, ...] = ()
    samples: tuple[Any, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


def _writer(
    records: Sequence[bytes], keys: Sequence[str | None] | None = None, **options: Any
) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        with SplitWriter(folder, reproducible="conformance", **({"group": 1} | options)) as writer:
            writer.write_many(records, keys=keys)

    return write


def _append(folder: Path, records: Sequence[bytes], keys: Sequence[str | None] | None = None, **options: Any) -> None:
    _writer(records, keys, mode="append", **options)(folder)


_ZSTD: Final = (b"to and fro, " * 40, b"short", b"", b"a" * 300)
_KEYS: Final = ("schlüssel/7", None, "a/b.txt", "b", "c", None, "z")
_GROUP_KEYS: Final = tuple(None if n % 4 == 3 else f"key {n}" for n in range(11))


def _write_several(folder: Path) -> None:
    _writer(PLAIN, bins=3, alignment=64)(folder)
    _append(folder, PLAIN[:3], _KEYS[:3], bins=2)
    _append(folder, GROUPED, bins=2, group=4, compression="zstd")
    _append(folder, PLAIN[:2], ("a/b.txt", "new"), bins=1)


def _leave_open(
    folder: Path, records: Sequence[bytes], more: Sequence[bytes], keys: Sequence[str | None] | None, **options: Any
) -> None:
    """Write a dataset whose writer was killed behind a commit, while it wrote further records."""
    with tempfile.TemporaryDirectory() as scratch:
        at_work = Path(scratch) / "dataset"
        writer = SplitWriter(at_work, reproducible="conformance", **({"group": 1} | options))
        writer.write_many(records, keys=keys)
        writer.commit()
        shutil.copytree(at_work, folder)
        writer.write_many(more, keys=None if keys is None else [f"late {n}" for n in range(len(more))])
        writer.commit()
        # The files of the second commit, and the manifest of the first.
        shutil.copytree(at_work / "segments", folder / "segments", dirs_exist_ok=True)
        writer.close()


def _write_open(folder: Path) -> None:
    _leave_open(folder, PLAIN, [b"never committed", b"nor this"], None, bins=2)


def _write_open_keyed(folder: Path) -> None:
    _leave_open(folder, PLAIN, [b"never committed", b"nor this"], _KEYS, bins=2)


def _write_open_grouped(folder: Path) -> None:
    _leave_open(folder, GROUPED[:8], [b"never committed", b"nor this"] * 4, None, bins=2, group=4)


def _write_deleted(folder: Path) -> None:
    """The newest record with the key "c" is deleted, an older one is not."""
    _writer(PLAIN, _KEYS, bins=2)(folder)
    _append(folder, GROUPED, bins=2, group=4)
    _append(folder, (b"of c",), ("c",), bins=1)
    delete(folder, positions=[3, 8, 18], keys=["a/b.txt"])


def _write_erased(folder: Path) -> None:
    _write_deleted(folder)
    compact(folder, erase=True)


# Several records of one key come into one segment.
_FOLDED_KEYS: Final = tuple(f"key {n % 7}" for n in range(40))


def _write_folded(folder: Path) -> None:
    for number in range(40):
        with SplitWriter(
            folder, mode="append" if number else "create", bins=1, group=1, reproducible="folded", keep_seconds=0
        ) as writer:
            writer.write(b"record %d" % number, _FOLDED_KEYS[number])
    # What older readers may still use is of no use here.
    newest = max(folder.glob("manifest.*"))
    listed = {segment["id"] for segment in json.loads(newest.read_bytes().splitlines()[0])["segments"]}
    for old in folder.glob("manifest.*"):
        if old != newest:
            old.unlink()
    for segment in (folder / "segments").iterdir():
        if segment.name not in listed:
            shutil.rmtree(segment)


def _without(records: Sequence[bytes], deleted: set[int]) -> tuple[bytes | None, ...]:
    return tuple(None if n in deleted else record for n, record in enumerate(records))


def _write_nothing(folder: Path) -> None:
    with SplitWriter(folder, reproducible="conformance"):
        pass


_DELETED: Final = _without((*PLAIN, *GROUPED, b"of c"), {2, 3, 8, 18})
_DELETED_KEYS: Final = (*_KEYS[:2], None, None, *_KEYS[4:], *(None,) * len(GROUPED), None)
# One hash, so that a search has to look at keys of records.
_ONE_HASH: Final = tuple(keys_of_one_hash(3))


def _many_keys() -> tuple[str, ...]:
    """Return keys of two blocks, of which the last of one and the first of the other have one hash."""
    twins = keys_of_one_hash(2)
    between = hash64(twins[0].encode())
    below: list[str] = []
    above: list[str] = []
    for number in range(5000):
        (below if hash64(b"%d" % number) < between else above).append(str(number))
    return (*below[:1023], *above[:75], *twins)


_MANY_KEYS: Final = _many_keys()

GOLDEN: Final = (
    GoldenDataset("nothing", "a dataset without records", _write_nothing, ()),
    GoldenDataset(
        "plain",
        "records in two bins, one of them empty",
        _writer(PLAIN, bins=2, metadata=_METADATA),
        PLAIN,
        metadata=_METADATA,
    ),
    GoldenDataset("many-bins", "more bins than records", _writer(PLAIN[:3], bins=9), PLAIN[:3]),
    GoldenDataset("aligned", "payloads at multiples of 64", _writer(PLAIN, bins=3, alignment=64), PLAIN),
    GoldenDataset(
        "zstd",
        "records compressed one by one, where that is shorter",
        _writer(_ZSTD, bins=1, compression="zstd"),
        _ZSTD,
    ),
    GoldenDataset(
        "dictionary",
        "records compressed with a dictionary",
        _writer(_JSON, bins=2, compression="zstd", dictionary=True),
        _JSON,
    ),
    GoldenDataset("keyed", "records with keys, and without", _writer(PLAIN, _KEYS, bins=2), PLAIN, _KEYS),
    GoldenDataset("grouped", "groups of four, the last not full", _writer(GROUPED, bins=2, group=4), GROUPED),
    GoldenDataset(
        "grouped-aligned", "groups whose items are aligned", _writer(GROUPED, bins=1, group=4, alignment=64), GROUPED
    ),
    GoldenDataset("grouped-zstd", "groups, compressed", _writer(GROUPED, bins=2, group=8, compression="zstd"), GROUPED),
    GoldenDataset(
        "grouped-dictionary",
        "groups, compressed with a dictionary",
        _writer(_JSON, bins=1, group=64, compression="zstd", dictionary=True),
        _JSON,
    ),
    GoldenDataset(
        "grouped-keyed",
        "groups of records with keys, and without",
        _writer(GROUPED, _GROUP_KEYS, bins=2, group=4),
        GROUPED,
        _GROUP_KEYS,
    ),
    GoldenDataset(
        "large-zstd",
        "a large record, compressed, behind a small one",
        _writer((b"small", bytes(LARGE_BYTES)), (None, "large"), bins=1, compression="zstd", alignment=64),
        (b"small", bytes(LARGE_BYTES)),
        (None, "large"),
        ranges=((0, 1, 3), (1, 0, 1), (1, LARGE_BYTES - 9, LARGE_BYTES), (1, 5, 5)),
    ),
    GoldenDataset(
        "one-hash",
        "three keys of one hash, and a search for a fourth",
        _writer(PLAIN[:3], _ONE_HASH, bins=2),
        PLAIN[:3],
        _ONE_HASH,
        absent=tuple(keys_of_one_hash(4)[3:]),
    ),
    GoldenDataset(
        "many-keys",
        "more keys than a block of the keys file holds, the last of one and the first of the next with one hash",
        _writer([b""] * len(_MANY_KEYS), _MANY_KEYS, bins=1, group=1024, compression="zstd"),
        (b"",) * len(_MANY_KEYS),
        _MANY_KEYS,
    ),
    GoldenDataset(
        "several",
        "four segments, with bins, keys and groups of their own",
        _write_several,
        (*PLAIN, *PLAIN[:3], *GROUPED, *PLAIN[:2]),
        (*(None,) * 7, *_KEYS[:3], *(None,) * 11, "a/b.txt", "new"),
    ),
    GoldenDataset("open", "an open segment, with what was written behind its commit", _write_open, PLAIN),
    GoldenDataset("open-keyed", "the same with keys", _write_open_keyed, PLAIN, _KEYS, absent=("late 0",)),
    GoldenDataset("open-grouped", "the same with groups", _write_open_grouped, GROUPED[:8]),
    GoldenDataset("deleted", "records that were marked as deleted", _write_deleted, _DELETED, _DELETED_KEYS),
    GoldenDataset("erased", "records that were deleted and erased", _write_erased, _DELETED, _DELETED_KEYS),
    GoldenDataset(
        "folded",
        "forty sessions, whose segments were joined",
        _write_folded,
        tuple(b"record %d" % n for n in range(40)),
        _FOLDED_KEYS,
    ),
    GoldenDataset(
        "samples",
        "typed samples, of four schemas, and one that stands alone",
        write_samples,
        SAMPLE_RECORDS,
        metadata={"record_codec": "sample"},
        schemas=SAMPLE_SCHEMAS,
        samples=SAMPLE_SHOWN,
    ),
    GoldenDataset(
        "declared",
        "samples of a declared schema, with parts that may be missing, in groups",
        write_declared,
        DECLARED_RECORDS,
        metadata={"record_codec": "sample"},
        schemas=DECLARED_SCHEMAS,
        samples=DECLARED_SHOWN,
    ),
)
