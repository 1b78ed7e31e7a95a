"""`splitdata write` of several sources: the records and keys of each alone, for every kind and every option.

write A X    write B Y    write A B Z    ->    Z = X + Y, record for record, key for key
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader
from splitdata_cli.main import cli

old = pytest.importorskip("splitdataloader", reason="the package whose layout is read")

Rows = list[tuple[str | None, bytes]]


def write(*arguments: str | os.PathLike[str]) -> Result:
    result = CliRunner().invoke(cli, ["write", *[os.fspath(argument) for argument in arguments]])
    assert result.exit_code == 0, result.stderr
    return result


def failure(*arguments: str | os.PathLike[str]) -> str:
    result = CliRunner().invoke(cli, ["write", *[os.fspath(argument) for argument in arguments]])
    assert result.exit_code == 2
    return result.stderr


def rows_of(path: str | os.PathLike[str]) -> Rows:
    with SplitDataLoader(path) as loader:
        return [(loader.key(position), loader[position]) for position in range(len(loader))]


def _put(path: str, data: bytes) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)
    return path


def folder(number: int) -> str:
    _put(f"part{number}/cat/{number}.jpg", b"cat %d" % number)
    _put(f"part{number}/dog/{number}.jpg", b"dog %d" % number)
    return f"part{number}"


def file(number: int) -> str:
    return _put(f"{number}.bin", b"file %d" % number)


def listed(number: int) -> str:
    # The name of what is listed tells nothing: each is one record.
    _put(f"{number}/a.txt", b"not a line\nbut a file %d" % number)
    return "@" + _put(f"list{number}.txt", f"{number}/a.txt\n".encode())


def lines(number: int) -> str:
    return _put(f"{number}.txt", b"a %d\n\nno end" % number)


def jsonl(number: int) -> str:
    return _put(f"{number}.jsonl.gz", gzip.compress(b'{"a": %d}\n\n{"b": 1}\n' % number))


def rows(number: int) -> str:
    return _put(f"{number}.csv", f"id,text {number}\n{number},x\n\n7,y\n".encode())


def tabs(number: int) -> str:
    return _put(f"{number}.tsv", f"id\ttext\n{number}\tx,y\n".encode())


def prefixed(number: int) -> str:
    return _put(f"{number}.data", b"".join(len(one).to_bytes(4, "little") + one for one in (b"", b"p%d" % number)))


def legacy(number: int) -> str:
    old.write_split_data(f"old{number}", [b"%d %d" % (number, one) for one in range(5)], splits=2)
    return f"old{number}"


def function(number: int) -> str:
    name = f"module_of_several_{number}"
    _put(f"{name}.py", f"def records():\n    yield b'made {number}'\n    yield b''\n".encode())
    return f"{name}:records"


KINDS: dict[str, tuple[Callable[[int], str], list[str]]] = {
    "folder": (folder, []),
    "folder, prefixed keys": (folder, ["--prefix-keys"]),
    "files": (file, ["--from", "files"]),
    "@list": (listed, []),
    "list": (listed, ["--from", "list"]),
    "lines": (lines, []),
    "jsonl": (jsonl, ["--validate"]),
    "csv": (rows, []),
    "csv, one column": (rows, ["--column", "id"]),
    "tsv": (tabs, []),
    "prefixed": (prefixed, ["--from", "prefixed"]),
    "splitdataloader": (legacy, []),
    "splitdataloader, from bins": (legacy, ["--from", "splitdataloader", "--from-bins"]),
    "callable": (function, ["--from", "callable"]),
}
OPTIONS: dict[str, list[str]] = {
    "plain": [],
    "resumable": ["--resume"],
    "compressed": ["--compression", "zstd", "--dictionary", "--bins", "3"],
    "reproducible": ["--reproducible", "--durability", "none"],
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_several_sources_give_the_records_and_keys_of_each_alone(kind: str, options: str) -> None:
    make, how = KINDS[kind]
    first, second = make(1), make(2)
    arguments = [*how, *OPTIONS[options]]

    write(first, "X", *arguments)
    write(second, "Y", *arguments)
    write(first, second, "Z", *arguments)

    assert rows_of("Z") == rows_of("X") + rows_of("Y")
    assert {key is None for key, _ in rows_of("Z")} == {not kind.startswith(("folder", "file", "@list", "list"))}


@pytest.mark.parametrize("kind", KINDS)
def test_several_sources_in_random_order_limited_or_tried_out_are_the_same_records(kind: str) -> None:
    make, how = KINDS[kind]
    sources = [make(number) for number in (1, 2, 3)]
    write(*sources, "plain", *how)
    plain = rows_of("plain")

    write(*sources, "shuffled", *how, "--shuffle", "3")
    write(*sources, "limited", *how, "--limit", str(len(plain) - 1))
    tried = write(*sources, "tried", *how, "--dry-run")

    assert sorted(rows_of("shuffled"), key=repr) == sorted(plain, key=repr)
    assert rows_of("limited") == plain[:-1]
    assert tried.stdout.startswith(f"would write {len(plain)} records, ")
    assert not Path("tried").exists()


def test_keys_of_folders_are_found_where_their_files_are() -> None:
    write(folder(1), folder(2), "data")

    with SplitDataLoader("data") as loader:
        assert loader[loader.find("cat/2.jpg")] == b"cat 2"
        assert [loader.key(position) for position in range(4)] == ["cat/1.jpg", "dog/1.jpg", "cat/2.jpg", "dog/2.jpg"]


@pytest.mark.parametrize("options", [[], ["--resume"], ["--shuffle", "1"], ["--dry-run"]])
def test_key_that_two_folders_have_is_refused_with_both_before_anything_is_written(options: list[str]) -> None:
    folder(1)
    _put("part2/a.jpg", b"a")
    _put("part2/cat/1.jpg", b"another")

    message = failure("part1", "part2", "data", *options)

    assert "part1 and part2 both hold cat/1.jpg" in message
    assert "--prefix-keys puts the path of its folder before each key" in message
    assert not Path("data/manifest.0000000002.json").exists()


def test_key_that_two_folders_have_is_told_apart_by_the_folder_on_request() -> None:
    folder(1)
    _put("part2/cat/1.jpg", b"another")

    write("part1", "part2/", "data", "--prefix-keys")

    assert rows_of("data") == [
        ("part1/cat/1.jpg", b"cat 1"),
        ("part1/dog/1.jpg", b"dog 1"),
        ("part2/cat/1.jpg", b"another"),
    ]


def test_resumed_conversion_of_folders_with_other_keys_is_refused() -> None:
    sources = [folder(1), folder(2)]
    write(*sources, "data", "--resume")

    assert "another source or other options" in failure(*sources, "data", "--resume", "--prefix-keys")


def test_prefixed_keys_are_refused_where_there_are_no_keys() -> None:
    assert "prefix_keys" not in (message := failure(lines(1), "data", "--prefix-keys"))
    assert "--prefix-keys is for files with their paths as keys, and 1.txt is read as lines" in message


def test_standard_input_named_twice_is_refused() -> None:
    assert "standard input is named more than once" in failure("-", "-", "data")
    assert "standard input is named more than once" in failure("-", "@-", "data")


def test_lists_and_names_of_lines_together_are_asked_about() -> None:
    assert "several kinds by their names (files, lines)" in failure(listed(1), lines(2), "data")
    write(listed(1), lines(2), "data", "--from", "lines")
    assert [record for _, record in rows_of("data")] == [b"not a line", b"but a file 1", b"a 2", b"", b"no end"]


def test_lists_that_name_nothing_are_an_error_whatever_the_kind() -> None:
    for number in (1, 2):
        _put(f"list{number}", b"\n")
    for kind in ("auto", "folder", "lines", "splitdataloader"):
        assert "names no file to convert" in failure("@list1", "@list2", "data", "--from", kind)


def test_report_counts_what_all_sources_left_out() -> None:
    for number in (1, 2):
        folder(number)
        _put(f"part{number}/.hidden", b"")

    report = json.loads(write("part1", "part2", "data", "--json").stdout)

    assert report["num_records"] == 4
    assert report["skipped"] == {"hidden name": 2}
