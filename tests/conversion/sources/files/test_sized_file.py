"""A record that is read as a file: exactly its size, and its length without moving what lies below."""

from __future__ import annotations

import io

import pytest

from splitdata.conversion.sources.files.sized_file import SizedFile
from splitdata.errors import SourceError


def sized(data: bytes, size: int) -> SizedFile:
    return SizedFile(io.BytesIO(data).read, size, path="a.bin", position=3)


def test_reading_ends_at_the_size_and_leaves_the_rest_below() -> None:
    below = io.BytesIO(b"abcdef")
    file = SizedFile(below.read, 4, path="a.bin", position=0)

    assert [file.read(3), file.read(3), file.read(3)] == [b"abc", b"d", b""]
    assert below.read() == b"ef"


def test_end_below_before_the_size_is_an_error_that_names_the_record() -> None:
    file = sized(b"abc", 5)

    assert file.read() == b"abc"
    with pytest.raises(SourceError, match=r"a\.bin ends after 3 of the 5 bytes of record 3"):
        file.read()


def test_length_can_be_asked_for_in_the_middle() -> None:
    file = sized(b"abcdef", 6)
    file.read(2)

    here = file.tell()
    assert (here, file.seek(0, io.SEEK_END), file.seek(here)) == (2, 6, 2)
    assert file.read() == b"cdef"


def test_reading_from_another_place_is_refused() -> None:
    file = sized(b"abcdef", 6)
    file.read(2)
    file.seek(-1, io.SEEK_CUR)

    with pytest.raises(io.UnsupportedOperation):
        file.read(1)


def test_drained_file_has_taken_all_of_its_bytes_from_below() -> None:
    below = io.BytesIO(b"abcdef")
    file = SizedFile(below.read, 5, path="a.bin", position=0)
    file.read(1)
    file.drain()

    assert below.read() == b"f"
    assert file.read() == b""
