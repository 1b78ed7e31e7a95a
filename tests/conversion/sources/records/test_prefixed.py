"""Length-prefixed records: what was written comes back, and a cut is an error that names the record."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.records.prefixed import PrefixedSource
from splitdata.errors import SourceError


def prefixed(records: list[bytes]) -> bytes:
    return b"".join(len(record).to_bytes(4, "little") + record for record in records)


def read_all(path: Path) -> list[bytes]:
    return [record if isinstance(record, bytes) else record.read() for record in PrefixedSource(str(path))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of hypothesis, which runs many examples in one test."""
    return tmp_path_factory.mktemp("prefixed")


@given(records=st.lists(st.binary(max_size=50), max_size=20))
def test_records_come_back_as_they_were_written(folder: Path, records: list[bytes]) -> None:
    path = folder / "records"
    path.write_bytes(prefixed(records))

    assert read_all(path) == records


def test_records_across_many_blocks_come_back(tmp_path: Path) -> None:
    # Blocks are 256 KiB: lengths and payloads fall across their borders.
    records = [bytes([number % 251]) * (number * 37 % 5000) for number in range(1000)]
    path = tmp_path / "records.gz"
    path.write_bytes(gzip.compress(prefixed(records), 1))

    assert read_all(path) == records


@given(records=st.lists(st.binary(max_size=12), min_size=1, max_size=4), data=st.data())
def test_input_cut_off_within_a_record_names_it(folder: Path, records: list[bytes], data: st.DataObject) -> None:
    whole = prefixed(records)
    borders = [len(prefixed(records[:count])) for count in range(len(records) + 1)]
    length = data.draw(st.integers(0, len(whole)))
    path = folder / "cut"
    path.write_bytes(whole[:length])

    if length in borders:
        assert read_all(path) == records[: borders.index(length)]
    else:
        cut_record = sum(border <= length for border in borders) - 1
        with pytest.raises(SourceError, match=f"ends in record {cut_record}, ") as caught:
            read_all(path)
        assert caught.value.position == cut_record


def test_large_record_is_streamed_and_never_allocated_before_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "lie"
    path.write_bytes(prefixed([b"a"]) + b"\xff\xff\xff\xff" + b"x" * 100)
    records = iter(PrefixedSource(str(path)))

    assert next(records) == b"a"
    large = cast("SizedFile", next(records))
    assert large.size == 0xFFFFFFFF
    assert large.read(1000) == b"x" * 100
    with pytest.raises(SourceError, match="ends after 100 of the 4294967295 bytes of record 1"):
        large.read(1000)


def test_large_record_that_was_not_read_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_bytes(prefixed([b"x" * (READ_WHOLE_BYTES + 1), b"next"]))
    records = iter(PrefixedSource(str(path)))

    assert isinstance(next(records), SizedFile)
    assert list(records) == [b"next"]


def test_text_taken_for_prefixed_records_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello world, this is text\n")

    with pytest.raises(SourceError, match="record 0"):
        read_all(path)
