"""ArrayRecord files become records as they are; what is cut or damaged is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitDataLoader, convert, open_source
from splitdata.conversion.sources.records import arrayrecord_file
from tests.conversion.sources.held_sources import check_positions, refused


def test_missing_library_is_an_error_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.arrayrecord").touch()
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)

    with pytest.raises(ModuleNotFoundError, match=r"needs array_record: pip install 'splitdata\[arrayrecord\]'"):
        open_source(tmp_path / "a.arrayrecord")


RECORDS = [b"", b"\0", *(bytes([k % 251]) * k * 9 for k in range(1, 40))]


def _write(path: Path, records: list[bytes] = RECORDS) -> Path:
    module: Any = pytest.importorskip("array_record.python.array_record_module")
    writer = module.ArrayRecordWriter(str(path), "group_size:3")
    for record in records:
        writer.write(record)
    writer.close()
    return path


@pytest.mark.parametrize("at_once", [1, 7, 1 << 12])
def test_records_come_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(arrayrecord_file, "_MAX_BATCH", at_once)
    source = open_source(_write(tmp_path / "a.arrayrecord-00000-of-00001"))

    assert source.kind == "arrayrecord"
    assert check_positions(source) == RECORDS
    assert convert(source, tmp_path / "data", resume=True).num_records == len(RECORDS)
    assert [bytes(record) for record in SplitDataLoader(tmp_path / "data")] == RECORDS


def test_file_that_is_cut_damaged_or_empty_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.arrayrecord")
    whole = path.read_bytes()
    place = whole.index(bytes([39]) * 9) if bytes([39]) * 9 in whole else 300
    flipped = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    for content in (b"", b"x" * 100, whole[:100], whole[: len(whole) // 2], whole[:-1], flipped):
        path.write_bytes(content)
        refused(tmp_path, path, r"a\.arrayrecord cannot be read as ArrayRecord")
