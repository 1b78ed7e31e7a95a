"""module:function as a source: found, called, and every mistake told by its name."""

from __future__ import annotations

import importlib
import io
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from splitdata import ConversionReport, convert, open_source
from splitdata.conversion import conversion_log
from splitdata.conversion.sources.function import FunctionSource
from splitdata.errors import SourceError, StateMismatchError

CODE = """
import array, io

def records():
    yield b"bytes"
    yield bytearray(b"bytearray")
    yield memoryview(b"view")
    yield io.BytesIO(b"file")

def a_list():
    return [b"a", b"b"]

class Maker:
    @staticmethod
    def make(count=2):
        return (b"%d" % number for number in range(count))

def needs(argument):
    yield b""

async def later():
    yield b""

def nothing():
    pass

def one():
    return b"one"

def texts():
    yield b"a"
    yield "b"

def numbers():
    return range(3)

def fails():
    yield b"a"
    raise LookupError("the user's own")

value = 7
"""
_numbers = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a module of code, importable by the name that is returned."""

    def make(code: str) -> str:
        # A name is imported once in a program's life.
        name = f"made_for_test_{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(code)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    return make


def test_records_of_every_kind_are_passed_on(module: Callable[[str], str]) -> None:
    records = list(FunctionSource(module(CODE) + ":records"))

    assert [record.read() if isinstance(record, io.BytesIO) else bytes(record) for record in records] == [  # type: ignore[arg-type]  # no file is left
        b"bytes",
        b"bytearray",
        b"view",
        b"file",
    ]


def test_any_iterable_and_any_dotted_place_will_do(module: Callable[[str], str]) -> None:
    name = module(CODE)

    assert list(FunctionSource(f"{name}:a_list")) == [b"a", b"b"]
    source = FunctionSource(f"{name}:Maker.make")
    assert list(source) == list(source) == [b"0", b"1"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("missing", "there is no missing in made_for_test"),
        ("Maker.missing", "there is no missing"),
        ("value", "is int, not a function"),
        ("needs", "cannot be called without arguments: missing a required argument: 'argument'"),
        ("later", "is asynchronous"),
        ("nothing", "gave NoneType, not an iterable of records: did it forget"),
        ("one", "gave bytes, not an iterable"),
        ("texts", "record 1 of .*: a record is a bytes-like object or a binary file, not str; encode text first"),
        ("numbers", "record 0 of .*: a record is .*, not int"),
    ],
)
def test_function_that_gives_no_records_is_told_why(module: Callable[[str], str], function: str, reason: str) -> None:
    target = f"{module(CODE)}:{function}"

    with pytest.raises(SourceError, match=reason):
        list(FunctionSource(target))


@pytest.mark.parametrize("target", ["no_such_module:f", "no.such.module:f", "os.no_such:f"])
def test_missing_module_is_told_by_name(target: str) -> None:
    with pytest.raises(SourceError, match="there is no module"):
        FunctionSource(target)


@pytest.mark.parametrize("target", ["os", "os:", ":f", ""])
def test_target_without_module_or_function_is_refused(target: str) -> None:
    with pytest.raises(SourceError, match="module:function"):
        FunctionSource(target)


def test_module_that_the_users_module_misses_is_the_users_error(module: Callable[[str], str]) -> None:
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        FunctionSource(module("import not_installed_anywhere") + ":f")


def test_exception_of_the_function_passes_through_as_itself(module: Callable[[str], str]) -> None:
    records = iter(FunctionSource(module(CODE) + ":fails"))

    assert next(records) == b"a"
    with pytest.raises(LookupError, match="the user's own"):
        next(records)


GENERATES = """
import os
import threading

lock = threading.Lock()

def helper(number):
    return b"%d" % number

def records():
    for number in range(10):
        if number == 4 and "STOP_AT_FOUR" in os.environ:
            raise LookupError("stop here")
        yield helper(number)
"""


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        ('b"%d" % number', 'b"%x" % number', False),
        ("range(10)", "range(11)", False),
        ("import threading", "\n\nimport threading  # further below", True),
    ],
)
def test_resumed_conversion_knows_a_function_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, is_same: bool
) -> None:
    def go_on(code: str) -> ConversionReport:
        (tmp_path / "generates.py").write_text(code)
        sys.modules.pop("generates", None)
        importlib.invalidate_caches()
        source = open_source("generates:records", kind="callable")
        return convert(source, tmp_path / "data", resume=True)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 1)
    with monkeypatch.context() as first:
        first.setenv("STOP_AT_FOUR", "1")
        with pytest.raises(LookupError, match="stop here"):
            go_on(GENERATES)
    assert old in GENERATES
    if is_same:
        report = go_on(GENERATES.replace(old, new))
        assert (report.num_resumed, report.num_records) == (4, 6)
    else:
        with pytest.raises(StateMismatchError, match=r"another source .*: code was '[0-9a-f]{32}', is '[0-9a-f]{32}'"):
            go_on(GENERATES.replace(old, new))
