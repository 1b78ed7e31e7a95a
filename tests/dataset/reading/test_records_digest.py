"""The SHA-256 digest: as FORMAT.md says it, whatever the storage; and opening with the digest that is expected."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from splitdata import CorruptRecordError, FormatError, SplitDataLoader, SplitWriter, compact, delete, digest
from tests.dataset.record_kinds import KINDS, RecordKind, segments_of


def expected(records: list[bytes | None], schemas: tuple[bytes, ...] = ()) -> str:
    root = b""
    for start in range(0, len(records), 1024):
        leaf = hashlib.sha256()
        for record in records[start : start + 1024]:
            leaf.update(b"\xff" * 8 if record is None else len(record).to_bytes(8, "little") + record)
        root += leaf.digest()
    if schemas:
        content = [b"\xfe" + b"\xff" * 7, len(schemas).to_bytes(4, "little")]
        content += [len(schema).to_bytes(4, "little") + schema for schema in schemas]
        root += hashlib.sha256(b"".join(content)).digest()
    return hashlib.sha256(root).hexdigest()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_digest_is_that_of_the_records_however_they_are_stored(tmp_path: Path, kind: RecordKind) -> None:
    kind.write_sealed(tmp_path / "data")
    kind.write_open(tmp_path / "open")

    schemas = segments_of(tmp_path / "data")[0][0].schemas
    assert bool(schemas) == bool(kind.samples)
    assert digest(tmp_path / "data") == digest(tmp_path / "open") == expected(list(kind.records), schemas)


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000])
def test_digest_of_any_number_of_records(tmp_path: Path, count: int) -> None:
    records: list[bytes | None] = [b"%d" % number * (number % 7) for number in range(count)]
    with SplitWriter(tmp_path / "data", bins=3, durability="none") as writer:
        writer.write_many(record or b"" for record in records)
    done: list[tuple[int, int]] = []

    found = digest(tmp_path / "data", num_workers=2, progress=lambda part, total: done.append((part, total)))

    assert found == expected(records)
    assert done == sorted(done)
    assert done[-1:] == ([(count, count)] if count else [])


def test_digest_changes_with_what_is_deleted_and_not_with_compacting(tmp_path: Path) -> None:
    path = tmp_path / "data"
    records: list[bytes | None] = [b"record %d" % number for number in range(3000)]
    with SplitWriter(path, bins=3, durability="none") as writer:
        writer.write_many(record or b"" for record in records)
    whole = digest(path)
    for number in (0, 1024, 2999):
        records[number] = None
    delete(path, positions=[0, 1024, 2999])

    assert digest(path) == expected(records) != whole
    compact(path, erase=True)
    assert digest(path) == expected(records)


def test_reader_opens_with_the_digest_that_is_expected_and_with_no_other(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, durability="none") as writer:
        writer.write_many([b"a", b"b"])
    right = digest(path)

    assert list(SplitDataLoader(path, expect_digest=right.upper())) == [b"a", b"b"]
    assert list(SplitDataLoader([path, path], expect_digest=digest([path, path]))) == [b"a", b"b"] * 2
    with pytest.raises(FormatError, match=f"digest {right}, {'0' * 64} is expected"):
        SplitDataLoader(path, expect_digest="0" * 64)


def test_damaged_record_has_no_digest(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=1, durability="none") as writer:
        writer.write_many([b"record a", b"record b"])
    file = next(path.rglob("*.bin"))
    file.write_bytes(file.read_bytes().replace(b"record b", b"rekord b"))

    with pytest.raises(CorruptRecordError, match="record 1"):
        digest(path)
    with pytest.raises(ValueError, match="num_workers"):
        digest(path, num_workers=0)
