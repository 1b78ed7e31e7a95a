"""What counts as bytes: every kind of value, in every way of writing."""

from __future__ import annotations

import array
import ctypes
import io
import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter, convert
from splitdata._payload import is_file, payload
from splitdata.conversion.dry_run import DryRun
from splitdata.errors import SourceError

Way: TypeAlias = Callable[[Path, list[Any]], object]


class Pointing(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("pointer", ctypes.POINTER(ctypes.c_int)))


class Either(ctypes.Union):
    """Its buffer calls itself plain bytes."""

    _fields_ = (("number", ctypes.c_int), ("pointer", ctypes.c_void_p))


class Packed(ctypes.Structure):
    """As `Either`."""

    _pack_ = 1
    _fields_ = (("number", ctypes.c_int), ("text", ctypes.c_char_p))


class Outer(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rows", Packed * 2),)


class Plain(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("number", ctypes.c_int), ("raw", ctypes.c_char * 3))


class Image:
    """Shows itself as an array, and has no buffer."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.zeros((2, 2), dtype)


OBJECTS = np.array([{"a": 1}, None], object)

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "array of objects": (lambda: OBJECTS, "ndarray of object; holds addresses .* astype"),
    "view of an array of objects": (lambda: OBJECTS.data, "holds addresses"),
    "empty array of objects": (lambda: OBJECTS[:0], "holds addresses"),
    "records with objects": (lambda: np.zeros(2, [("a", "i4"), ("b", object)]), "holds addresses"),
    "row of records with objects": (lambda: np.zeros(2, [("a", "i4"), ("b", object)])[0], "holds addresses"),
    "fields in fields with objects": (lambda: np.zeros(2, [("a", [("b", "O", 2)])]), "holds addresses"),
    "array of strings of any length": (lambda: np.array(["a", "bc"], np.dtypes.StringDType()), "holds addresses"),
    "structure with a pointer": (Pointing, "Pointing; holds addresses .* ctypes.string_at"),
    "view of a structure with a pointer": (lambda: memoryview(Pointing()), "holds addresses"),
    "array of structures with a pointer": (lambda: (Pointing * 3)(), "holds addresses"),
    "union with a pointer": (Either, "holds addresses"),
    "packed structure with a pointer": (Packed, "holds addresses"),
    "packed structures within one": (Outer, "holds addresses"),
    "void pointer": (lambda: ctypes.c_void_p(5), "holds addresses"),
    "pointer to char": (lambda: ctypes.c_char_p(b"text"), "holds addresses"),
    "pointer to wchar": (lambda: ctypes.c_wchar_p("text"), "holds addresses"),
    "pointer": (lambda: ctypes.pointer(ctypes.c_int(5)), "holds addresses"),
    "object of Python": (lambda: ctypes.py_object([]), "holds addresses"),
    "function": (lambda: ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 5), "holds addresses"),
    "str": (lambda: "text", "not str; encode text first"),
    "numpy.str_": (lambda: np.str_("text"), "holds text .* encode it first"),
    "array of text": (lambda: np.array(["a", "bc"]), "holds text"),
    "view of an array of text": (lambda: np.array(["a", "bc"]).data, "holds text"),
    "records with text": (lambda: np.zeros(2, [("a", "i4"), ("b", "U3", 2)]), "holds text"),
    "array.array of text": (lambda: array.array("u", "text"), "holds text: encode it first"),
    "ctypes text": (lambda: ctypes.create_unicode_buffer("text"), "holds text"),
    "masked array": (lambda: np.ma.masked_array([1, 2], [True, False]), "has a mask, .* filled"),
    "path": (lambda: Path("somewhere"), r"open\(path, 'rb'\)"),
    "dict": (lambda: {"image": 1}, r"not dict; write_sample\(\) stores dicts"),
    "list": (lambda: [1, 2], r"not list; write_sample\(\) stores"),
    "int": (lambda: 5, r"not int; write_sample\(\)"),
    "image": (Image, r"write_sample\(\) stores arrays, and numpy.asarray\(\) makes one of this"),
    "file of text": (lambda: io.StringIO("text"), "open in binary mode; it gave str"),
}

TAKEN: dict[str, tuple[Callable[[], Any], bytes]] = {
    "numbers": (lambda: np.array([1, 2], ">u2"), b"\0\1\0\2"),
    "every second number": (lambda: np.array([1, 9, 2, 9], ">u2")[::2], b"\0\1\0\2"),
    "columns first": (lambda: np.asfortranarray(np.array([[1, 2], [3, 4]], "u1")), b"\1\2\3\4"),
    "no numbers": (lambda: np.zeros((0, 3)), b""),
    "one number": (lambda: np.int16(258).astype(">i2"), np.int16(258).tobytes()),
    "records": (lambda: np.array([(1, b"ab")], [("P:", "u1"), ("O", "S2")]), b"\1ab"),
    "dates": (lambda: np.array([5, 6], "<M8[s]"), np.array([5, 6], "<i8").tobytes()),
    "complex": (lambda: np.array([1 + 2j], "<c8"), np.array([1, 2], "<f4").tobytes()),
    "view of complex": (lambda: np.array([1 + 2j], "c8").data, np.array([1, 2], "f4").tobytes()),
    "structure": (lambda: Plain(1, b"abc"), np.int32(1).tobytes() + b"abc"),
    "array of int": (lambda: (ctypes.c_uint8 * 3)(1, 2, 3), b"\1\2\3"),
    "string buffer": (lambda: ctypes.create_string_buffer(b"ab"), b"ab\0"),
    "numpy.bytes_": (lambda: np.bytes_(b"ab\0"), b"ab\0"),
    "view of an array of an array": (lambda: np.zeros((2, 3), "u1").data[1:], bytes(3)),
}


def yielding(records: list[Any]) -> Callable[[], Iterator[Any]]:
    return lambda: iter(records)


def write_one_by_one(path: Path, records: list[Any]) -> object:
    with SplitWriter(path) as writer:
        return [writer.write(record) for record in records]


def write_with_keys(path: Path, records: list[Any]) -> object:
    with SplitWriter(path) as writer:
        return writer.write_many(records, keys=[str(number) for number in range(len(records))])


def write_list(path: Path, records: list[Any]) -> object:
    with SplitWriter(path) as writer:
        return writer.write_many(records)


def write_iterator(path: Path, records: list[Any]) -> object:
    with SplitWriter(path) as writer:
        return writer.write_many(iter(records))


WAYS: dict[str, Way] = {
    "write": write_one_by_one,
    "write_many of a list": write_list,
    "write_many of an iterator": write_iterator,
    "write_many with keys": write_with_keys,
    "callable": lambda path, records: convert(yielding(records), path),
    "callable, shuffled": lambda path, records: convert(yielding(records), path, shuffle=1),
    "callable, dry": lambda path, records: convert(yielding(records), path, dry_run=True),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_holds_no_bytes_is_refused_in_every_way_of_writing(
    tmp_path: Path, way: Way, make: Callable[[], Any], reason: str
) -> None:
    with pytest.raises((TypeError, SourceError), match=reason):
        way(tmp_path / "data", [b"first", make()])


@pytest.mark.parametrize(("make", "expected"), TAKEN.values(), ids=TAKEN.keys())
def test_numbers_and_bytes_of_any_kind_are_their_bytes_in_every_way_of_writing(
    tmp_path: Path, make: Callable[[], Any], expected: bytes
) -> None:
    assert bytes(payload(make())) == expected
    for number, (name, way) in enumerate(WAYS.items()):
        path = tmp_path / str(number)
        way(path, [make(), b"next"])
        if "dry" not in name:
            assert sorted(SplitDataLoader(path)) == sorted([expected, b"next"]), name


def test_payload_of_what_lies_in_one_piece_is_no_copy() -> None:
    record = bytearray(b"abc")
    numbers = np.zeros((3, 4))

    assert payload(b"abc") is payload(b"abc")
    view = payload(record)
    assert isinstance(view, memoryview)
    assert view.obj is record
    assert np.shares_memory(np.frombuffer(payload(numbers), np.uint8), numbers)


def written_file() -> io.BytesIO:
    """Return a file as PIL leaves one: what was written into it lies before the place where it stands."""
    file = io.BytesIO()
    file.write(b"picture")
    return file


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_file_that_stands_at_its_end_is_refused_in_every_way_of_writing(tmp_path: Path, way: Way) -> None:
    with pytest.raises(ValueError, match=r"stands at its end, byte 7: call its seek\(0\) first"):
        way(tmp_path / "data", [b"first", written_file()])


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_file_that_is_empty_is_an_empty_record_in_every_way_of_writing(tmp_path: Path, way: Way) -> None:
    way(tmp_path / "data", [io.BytesIO(), b"next"])

    if (tmp_path / "data").exists():
        assert sorted(SplitDataLoader(tmp_path / "data")) == [b"", b"next"]


def test_pipe_that_gives_nothing_is_an_empty_record() -> None:
    class Pipe(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            return b""

        def tell(self) -> int:
            raise OSError(29, "Illegal seek")

    taker = DryRun("nowhere", mode="create", bins=None)
    taker.take([Pipe()])

    assert taker.num_records == 1


def test_map_is_bytes_though_it_can_be_read() -> None:
    with mmap.mmap(-1, 5) as mapped:
        mapped.write(b"abcde")

        assert not is_file(mapped)
        view = payload(mapped)
        assert bytes(view) == b"abcde"
        del view
