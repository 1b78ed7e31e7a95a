"""Databases of LMDB become records with keys; what is cut, damaged or of several databases is refused."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitDataLoader, convert, open_source
from tests.conversion.sources.held_sources import check_positions, refused


def test_missing_library_is_an_error_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.mdb").touch()
    monkeypatch.setitem(sys.modules, "lmdb", None)

    with pytest.raises(ModuleNotFoundError, match=r"needs lmdb: pip install 'splitdata\[lmdb\]'"):
        open_source(tmp_path)


VALUES = {b"%05d" % number: b"v" * (number * 7 % 3000) for number in range(60)} | {b"\xff\x00": b"", b"x": bytes(48)}


def _write(folder: Path, named: str | None = None, values: dict[bytes, bytes] = VALUES) -> Path:
    lmdb: Any = pytest.importorskip("lmdb")
    with lmdb.open(str(folder), map_size=1 << 22, max_dbs=2) as environment:
        database = environment.open_db(named.encode()) if named else None
        with environment.begin(write=True, db=database) as transaction:
            for key, value in values.items():
                transaction.put(key, value)
    return folder


def test_values_come_with_their_keys_in_their_order(tmp_path: Path) -> None:
    source = open_source(_write(tmp_path / "in"))

    assert (source.kind, source.name) == ("lmdb", "in")
    assert check_positions(source) == [VALUES[key] for key in sorted(VALUES)]
    assert convert(source, tmp_path / "data", resume=True).num_records == len(VALUES)
    with SplitDataLoader(tmp_path / "data") as loader:
        assert bytes(loader[loader.find("00017")]) == VALUES[b"00017"]
        assert bytes(loader[loader.find("\\xff\0")]) == b""
    assert list(open_source(tmp_path / "in" / "data.mdb")) == list(source)


def test_file_without_a_folder_is_read(tmp_path: Path) -> None:
    _write(tmp_path / "in")
    shutil.copy(tmp_path / "in" / "data.mdb", tmp_path / "a.mdb")

    source = open_source(tmp_path / "a.mdb")

    assert (source.kind, source.name, len(list(source))) == ("lmdb", "a.mdb", len(VALUES))


def test_database_with_a_name_is_refused_until_it_is_named(tmp_path: Path) -> None:
    _write(tmp_path / "in", named="train")

    refused(tmp_path, tmp_path / "in", "column='train'")
    assert len(list(open_source(tmp_path / "in", column="train"))) == len(VALUES)
    refused(tmp_path, tmp_path / "in", "cannot be read as LMDB", column="test")


def test_empty_database_has_no_records(tmp_path: Path) -> None:
    assert list(open_source(_write(tmp_path / "in", values={}))) == []


def test_file_that_is_cut_or_no_database_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    whole = (_write(tmp_path / "in") / "data.mdb").read_bytes()
    used = len(whole.rstrip(b"\0"))
    for content in (b"", b"x" * 9000, whole[:100], whole[:4096], whole[:8192], whole[: used // 2]):
        (tmp_path / "in" / "data.mdb").write_bytes(content)
        refused(tmp_path, tmp_path / "in", "no LMDB of version 1|was truncated")


def test_position_of_another_database_is_refused(tmp_path: Path) -> None:
    from splitdata import SourceError

    source: Any = open_source(_write(tmp_path / "in"))
    for key in ("00", "zz", 7, ""):
        with pytest.raises(SourceError, match="no key at which"):
            list(source.records_from({"record": 3, "key": key}))
