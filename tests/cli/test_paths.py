"""Paths on the command line: URLs are read or refused by name, `~` is expanded, no folder `s3:` or `~` is ever made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, SplitWriter, open_source
from splitdata.conversion.convert import convert
from splitdata_cli.main import cli

COMMANDS: dict[str, list[str]] = {
    "info": [],
    "head": [],
    "cat": ["0"],
    "verify": [],
    "repair": [],
    "bench": ["--seconds", "0.01", "--workers", "0"],
}
URLS = ["s3://bucket/data", "gs://bucket/data", "https://host/data", "file:///tmp/data"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder, which is not the working folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def in_the_working_folder() -> list[str]:
    return [path.name for path in Path().iterdir()]


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("options", ["", "--dry-run", "--append", "--overwrite", "--shuffle 1"])
@pytest.mark.parametrize("url", URLS[:3])
def test_url_as_destination_asks_for_the_extra_and_makes_no_folder(
    url: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    put(Path("a.txt"), b"a\n")

    result = run("write", "a.txt", url, *options.split())

    assert result.exit_code == 2
    assert "pip install 'splitdata[remote]'" in result.stderr
    assert in_the_working_folder() == ["a.txt"]


@pytest.mark.parametrize("url", ["hdfs://bucket/data", "s4://bucket/data", "S3:/bucket/data"])
def test_url_of_no_store_as_destination_is_refused_by_name_and_makes_no_folder(url: str) -> None:
    put(Path("a.txt"), b"a\n")

    result = run("write", "a.txt", url)

    assert result.exit_code == 2
    assert f"'{url}' is a URL" in result.stderr
    assert in_the_working_folder() == ["a.txt"]


def test_url_of_a_folder_as_destination_is_the_folder() -> None:
    put(Path("a.txt"), b"a\n")

    assert run("write", "a.txt", f"file://{Path.cwd()}/data").exit_code == 0
    assert sorted(in_the_working_folder()) == ["a.txt", "data"]


@pytest.mark.parametrize("options", [[], ["--from", "lines"], ["--from", "folder"], ["--from", "files"], ["--dry-run"]])
@pytest.mark.parametrize("url", URLS)
def test_url_as_source_is_refused_by_name(url: str, options: list[str]) -> None:
    for sources in ([url], [f"{url}/*.jsonl"], ["a.txt", url], [f"@{url}"]):
        put(Path("a.txt"), b"a\n")
        result = run("write", *sources, "data", *options)

        assert result.exit_code == 2
        assert "is a URL" in result.stderr
        assert url in result.stderr
        assert not Path("data").exists()


@pytest.mark.parametrize("url", URLS)
def test_url_as_dataset_to_repair_is_refused_by_name(url: str) -> None:
    result = run("repair", url)

    assert result.exit_code == 2
    assert f"'{url}' is a URL" in result.stderr
    assert in_the_working_folder() == []


@pytest.mark.parametrize("url", URLS[:3])
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "repair"])
def test_url_as_dataset_to_read_asks_for_the_extra(command: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    result = run(command, url, *COMMANDS[command])

    assert result.exit_code == 2
    assert "pip install 'splitdata[remote]'" in result.stderr
    assert in_the_working_folder() == []


def test_tilde_in_quotes_is_the_home_folder_of_every_path(home: Path) -> None:
    put(home / "a.jsonl", b'{"a": 1}\n')
    put(home / "pictures" / "1.jpg", b"1")
    put(home / "list.txt", b"~/pictures/1.jpg\n")

    assert run("write", "~/a.jsonl", "~/lines").exit_code == 0
    assert run("write", "~/pictures", "~/folder").exit_code == 0
    assert run("write", "~/pictures/*.jpg", "~/pattern").exit_code == 0
    assert run("write", "@~/list.txt", "~/listed").exit_code == 0

    assert in_the_working_folder() == []
    for name, records in {"lines": [b'{"a": 1}'], "folder": [b"1"], "pattern": [b"1"], "listed": [b"1"]}.items():
        with SplitDataLoader(home / name) as loader:
            assert list(loader) == records


@pytest.mark.parametrize("command", COMMANDS)
def test_tilde_in_quotes_is_the_home_folder_of_every_command(command: str, home: Path) -> None:
    with SplitWriter(home / "data") as writer:
        writer.write_many([b"%d" % number for number in range(100)])

    assert run(command, "~/data", *COMMANDS[command]).exit_code == 0
    assert in_the_working_folder() == []


def test_source_and_destination_stay_where_they_were_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(Path("part/1.jpg"), b"1")
    put(Path("a.jsonl"), b"2\n")
    put(Path("list.txt"), b"part/1.jpg\n")
    sources = [open_source(name) for name in ("part", "a.jsonl", "@list.txt", "part/*.jpg", "a.js*")]
    monkeypatch.chdir("/")

    for number, source in enumerate(sources):
        report = convert(source, tmp_path / f"data{number}")
        assert report.num_records == 1


def test_source_of_bytes_is_refused_with_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"the source must be text .* got bytes; os.fsdecode\(\) makes text of it"):
        open_source(b"part")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(TypeError, match=r"the dataset must be text"):
        convert("part", b"data")  # type: ignore[arg-type]  # on purpose
