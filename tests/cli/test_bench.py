"""`splitdata bench`: the table, the JSON, and what is refused; how fast anything is, nobody asserts."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitWriter
from splitdata_cli.main import cli
from tests.cli.processes import run_on_terminal
from tests.command import run_cli


def invoke(*arguments: str | os.PathLike[str]) -> Result:
    return CliRunner().invoke(cli, ["bench", *(os.fspath(argument) for argument in arguments)])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "data", bins=2) as writer:
        writer.write_many(b"%d" % (10_000 + number) for number in range(300))
    return tmp_path / "data"


QUICK = ("--workers", "0", "--seconds", "0.02", "--batch-size", "8")


def test_table_has_a_line_for_each_way_of_reading_and_ends_with_the_verdict(data: Path) -> None:
    result = invoke(data, *QUICK)
    lines = result.stdout.splitlines()

    assert result.exit_code == 0
    assert lines[0] == f"{data}: 300 records, of 5 bytes each"
    assert [line.split("  ")[0] for line in lines[2:5]] == [
        *["read in order", "read at random, 8 at a time", "loader, in process"]
    ]
    assert lines[-1].startswith("Fastest with no workers, in a loop that does nothing. Training waits ")
    assert result.stderr == ""


def test_workers_are_started_and_told(data: Path) -> None:
    ended = run_cli("bench", data, "--workers", "1", "--seconds", "0.02")

    assert ended.returncode == 0, ended.stderr
    assert "\nloader, 1 worker " in ended.stdout


def test_system_that_drops_nothing_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)

    result = invoke(data, *QUICK)

    assert "cold records/s" not in result.stdout
    assert "Nothing is cold: the dataset stays in memory." in result.stdout


def test_json_has_every_measurement(data: Path) -> None:
    report = json.loads(invoke(data, *QUICK, "--json", "--shuffle", "window:50").stdout)

    assert report["num_records"] == report["num_measured"] == 300
    assert report["shuffle"] == "window:50"
    assert [one["task"] for one in report["measurements"]][-3:] == ["in order", "at random", "loader"]
    assert report["measurements"][-1]["records_per_second"] > 0
    assert report["measurements"][-1]["stats"]["num_batches"] > 0
    assert report["verdict"]


@pytest.mark.parametrize("shuffle", ["none", "global", "bins"])
def test_every_order_can_be_named(data: Path, shuffle: str) -> None:
    assert invoke(data, *QUICK, "--shuffle", shuffle).exit_code == 0


def test_transform_is_found_in_the_working_folder_and_its_error_names_the_record(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import json\n\ndef decode(record):\n    return int(record)\n\ndef fail(record):\n    return json.loads(b'{')\n"
    )

    good = run_cli("bench", data, *QUICK, "--transform", "mine:decode", cwd=tmp_path)
    bad = run_cli("bench", data, *QUICK, "--transform", "mine:fail", cwd=tmp_path)

    assert good.returncode == 0, good.stderr
    assert bad.returncode == 2
    assert "JSONDecodeError: " in bad.stderr
    assert "; raised by the transform of record " in bad.stderr
    assert bad.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shuffle", "window:0"], "'window:0' is not one of none, global, bins and window:SIZE"),
        (["--shuffle", "Global"], "'Global' is not one of none"),
        (["--transform", "json"], "a function is given as module:function, not 'json'"),
        (["--transform", "no_such_module:f"], "there is no module no_such_module to import for no_such_module:f"),
        (["--transform", "json:load_s"], "json:load_s: there is no load_s in json"),
        (["--transform", "json:__doc__"], "json:__doc__ is str, not a function"),
        (["--seconds", "0"], "0"),
        (["--batch-size", "0"], "0"),
    ],
)
def test_wrong_option_is_told_in_one_line(data: Path, arguments: list[str], message: str) -> None:
    result = invoke(data, *arguments)

    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_missing_and_empty_datasets_are_errors(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "empty"):
        pass

    assert "does not exist" in invoke(tmp_path / "missing").stderr
    assert invoke(tmp_path / "empty").exit_code == 2
    assert "has no records to measure" in invoke(tmp_path / "empty").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_progress_on_a_terminal_names_what_is_measured(data: Path) -> None:
    code, sent = run_on_terminal("bench", data, *QUICK)

    assert code == 0
    assert b"measuring" in sent
    assert b"\r\nloader, in process " in sent
