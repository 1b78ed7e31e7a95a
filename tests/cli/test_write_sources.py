"""Sources that would be taken for something else, or with mistakes that are hard to find: told, with the way out."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, open_source
from splitdata_cli.main import cli


def write(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["write", *arguments])


def failure(*arguments: str) -> str:
    result = write(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert not Path("data").exists()
    return result.stderr


def rows_of(path: str) -> list[tuple[str | None, bytes]]:
    with SplitDataLoader(path) as loader:
        return [(loader.key(position), loader[position]) for position in range(len(loader))]


def put(path: str, data: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


# -- links ---------------------------------------------------------------------------------------


@pytest.fixture
def linked() -> str:
    """A folder with a file, a link to a file, a link to a folder, and two that lead round in circles."""
    put("elsewhere/7.jpg", b"seven")
    put("elsewhere/deep/8.jpg", b"eight")
    put("root/a/1.jpg", b"one")
    try:
        Path("root/b.jpg").symlink_to(Path("elsewhere/7.jpg").resolve())
        Path("root/c").symlink_to(Path("elsewhere").resolve())
        Path("root/a/up").symlink_to(Path("root").resolve())
        Path("elsewhere/deep/self").symlink_to(Path("elsewhere/deep").resolve())
    except OSError:
        pytest.skip("this user may not make symbolic links")
    return "root"


def test_links_are_left_out_and_the_option_that_takes_them_is_named(linked: str) -> None:
    result = write(linked, "data")

    assert "left out: 3 symbolic links (--follow-links takes what links lead to)" in result.stdout
    assert rows_of("data") == [("a/1.jpg", b"one")]


@pytest.mark.parametrize("options", [[], ["--resume"], ["--shuffle", "1"], ["--reproducible"]])
def test_links_are_followed_on_request_and_circles_are_left_out(linked: str, options: list[str]) -> None:
    result = write(linked, "data", "--follow-links", *options)

    assert "left out: 2 circular links" in result.stdout
    assert sorted(rows_of("data")) == [
        ("a/1.jpg", b"one"),
        ("b.jpg", b"seven"),
        ("c/7.jpg", b"seven"),
        ("c/deep/8.jpg", b"eight"),
    ]


def test_link_that_leads_nowhere_is_an_error_that_names_it(linked: str) -> None:
    Path("root/lost.jpg").symlink_to("gone.jpg")

    message = failure(linked, "data", "--follow-links")

    assert "lost.jpg is a link to gone.jpg, which does not exist" in message


def test_dataset_in_a_folder_that_a_link_leads_to_is_refused(linked: str) -> None:
    assert "would lie inside the source" in write(linked, "elsewhere/data", "--follow-links").stderr
    assert write(linked, "elsewhere/data").exit_code == 0


def test_sizes_and_changes_of_what_links_lead_to_count(linked: str) -> None:
    source = open_source(linked, follow_links=True)
    assert source.num_bytes == 3 + 5 + 5 + 5

    assert write(linked, "data", "--follow-links", "--resume").exit_code == 0
    put("elsewhere/7.jpg", b"another seven")
    assert "another source" in write(linked, "data", "--follow-links", "--resume").stderr


def test_following_links_is_refused_where_there_are_none() -> None:
    put("a.txt", b"a\n")
    assert "--follow-links is for folders, and a.txt is read as lines" in failure("a.txt", "data", "--follow-links")


# -- rows and lines ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "divider"), [("a.csv", ";"), ("a.csv", "\t"), ("a.csv", "|"), ("a.tsv", ","), ("a.tsv", ";")]
)
@pytest.mark.parametrize("options", [[], ["--no-header"], ["--column", "0", "--no-header"], ["--dry-run"]])
def test_table_that_another_character_divides_is_refused_with_the_option(
    name: str, divider: str, options: list[str]
) -> None:
    put(name, f"id{divider}text\n1{divider}x\n".encode())

    message = failure(name, "data", *options)

    shown = repr(divider)
    assert f"its first row is one field, {f'id{divider}text'!r}, which {shown} seems to divide" in message
    assert f"--delimiter {shown} divides it there" in message
    option = r"\t" if divider == "\t" else divider
    assert write(name, "divided", "--delimiter", option).exit_code == 0
    assert rows_of("divided") == [(None, b'{"id":"1","text":"x"}')]
    own = r"\t" if name == "a.tsv" else ","
    assert write(name, "whole", "--delimiter", own, "--no-header").exit_code == 0
    assert len(rows_of("whole")) == 2


def test_table_of_one_column_is_taken() -> None:
    put("a.csv", b"text\na;b\n")
    put("b.csv", b"a; b\nx\n")
    assert write("a.csv", "data").exit_code == 0
    assert rows_of("data") == [(None, b'{"text":"a;b"}')]
    assert write("b.csv", "named", "--column", "a; b").exit_code == 0


@pytest.mark.parametrize("data", [b'{"a":1}\r{"b":2}\r', b'{"a":1}\r{"b":2}', b'{"a":1}\r\r'])
@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_lines_that_end_with_cr_alone_are_refused_with_the_way_out(name: str, data: bytes) -> None:
    put(name, data)
    if b"\r" not in data.rstrip(b"\r"):
        assert write(name, "data").exit_code == 0
        return

    message = failure(name, "data")

    assert f"{name} has 1 CR inside and no LF" in message
    assert "--from files" in message
    assert write(name, "whole", "--from", "files").exit_code == 0
    assert rows_of("whole") == [(name, data)]


def test_cr_inside_of_lines_that_lf_ends_stays() -> None:
    put("a.txt", b"10%\r100%\nnext\n")
    assert write("a.txt", "data").exit_code == 0
    assert rows_of("data") == [(None, b"10%\r100%"), (None, b"next")]


def test_text_in_another_encoding_names_the_option() -> None:
    put("a.csv", "name\ncafé\n".encode("latin-1"))

    assert "is no text in utf-8 behind line" in (message := failure("a.csv", "data"))
    assert "say how it is encoded: --encoding 'cp1252', for instance" in message
    assert write("a.csv", "data", "--encoding", "cp1252").exit_code == 0
    assert rows_of("data") == [(None, '{"name":"café"}'.encode())]


# -- lists ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--from", "lines"], ["--from", "folder"], ["--shuffle", "1"], ["--dry-run"]])
def test_path_of_a_list_that_does_not_exist_is_named_with_list_and_line(options: list[str]) -> None:
    put("a.txt", b"a\n")
    if "folder" in options:
        put("f/a.txt", b"a\n")
    first = "f" if "folder" in options else "a.txt"
    put("list.txt", f"{first}\n\nmissing.txt\n".encode())

    message = failure("@list.txt", "data", *options)

    assert "missing.txt" in message
    assert "named in line 3 of list.txt" in message


def test_other_mistakes_in_a_list_are_named_with_list_and_line() -> None:
    put("a.txt", b"a\n")
    put("folder/b.txt", b"b\n")
    for line, words in {
        b"folder": "folder, named in line 2 of list.txt, is no file but a folder",
        b"s3://b/x": "the path in line 2 of list.txt 's3://b/x' is a URL",
        b"a\0b": "line 2 holds zero bytes",
    }.items():
        put("list.txt", b"a.txt\n" + line + b"\n")
        assert words in failure("@list.txt", "data")


def test_second_list_and_names_beside_it_are_told_apart() -> None:
    put("a.txt", b"a\n")
    put("one.txt", b"a.txt\n")
    put("two.txt", b"a.txt\nmissing\n")

    assert "named in line 2 of two.txt" in failure("@one.txt", "@two.txt", "data")
    assert "named in" not in failure("@one.txt", "missing", "data", "--from", "files")


# -- a dry run -----------------------------------------------------------------------------------


def test_dry_run_shows_the_first_records_with_keys() -> None:
    for number in range(5):
        put(f"root/{number}.txt", b"%d" % number * 10)
    put("root/0.txt", b"\x1b[2J\xff")

    result = write("root", "data", "--dry-run")

    assert result.stdout.splitlines()[1:] == [
        r"0   5  0.txt  \x1b[2J\xff",
        "1  10  1.txt  1111111111",
        "2  10  2.txt  2222222222",
    ]
    assert os.listdir() == ["root"]  # noqa: PTH208  # names are enough


def test_dry_run_shows_the_first_records_as_json_at_their_positions() -> None:
    put("a.jsonl", b'{"a":1}\n' * 2 + b'"' + b"x" * 1000 + b'"\n')
    assert write("a.jsonl", "data").exit_code == 0

    report = json.loads(write("a.jsonl", "data", "--append", "--dry-run", "--json").stdout)
    shown = write("a.jsonl", "data", "--append", "--dry-run").stdout.splitlines()

    assert [one["num_bytes"] for one in report["first_records"]] == [7, 7, 1002]
    assert report["first_records"][0] == {"key": None, "num_bytes": 7, "preview": '{"a":1}'}
    assert len(report["first_records"][2]["preview"]) == 256
    assert shown[1] == '3     7  {"a":1}'
    assert shown[3].startswith('5  1002  "xxx')
    assert shown[3].endswith("...")


def test_conversion_that_writes_shows_no_records() -> None:
    put("a.txt", b"a\n")
    result = write("a.txt", "data")
    assert len(result.stdout.splitlines()) == 1
    assert json.loads(write("a.txt", "more", "--json").stdout)["first_records"] == []


def test_kind_that_was_recognised_is_told_with_the_reason_before_the_work(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("1.jpg", "1.cls"):
            archive.addfile(tarfile.TarInfo(name))
    (tmp_path / "cut.zip").touch()

    told = write(str(tmp_path / "a.tar"), str(tmp_path / "dest"))
    said = write(str(tmp_path / "a.tar"), str(tmp_path / "2"), "--from", "tar")
    failed = write(str(tmp_path / "cut.zip"), str(tmp_path / "3"))

    assert told.stderr.startswith("a.tar is read as webdataset: members of it share stems")
    assert said.stderr == ""
    assert failed.exit_code == 2
    assert failed.stderr.startswith("cut.zip is read as zip: by its name")
