"""`splitdata delete`, `compact`, `digest`: what they say, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, SplitWriter, digest
from splitdata_cli.main import cli


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small dataset in a folder with an ugly name."""
    path = tmp_path / "da\x1bta"
    with SplitWriter(path, bins=2) as writer:
        writer.write_many((b"record %d" % number for number in range(6)), keys=[f"k{number}" for number in range(6)])
    return path


def test_records_are_deleted_by_position_and_key_and_a_second_call_says_so(data: Path) -> None:
    planned = invoke("delete", data, 1, "--key", "k4", "--dry-run")
    assert planned.stdout.endswith("ta: 2 records would be deleted\n")
    assert SplitDataLoader(data).num_deleted == 0

    result = invoke("delete", data, 1, -1, "--key", "k4", "--key", "no\x1bne")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    first, second, third = result.stdout.splitlines()
    assert first.startswith("no record has the key no")
    assert second.endswith("ta: 3 records deleted")
    assert "splitdata compact --erase" in third
    assert SplitDataLoader(data).deleted.tolist() == [1, 4, 5]

    again = invoke("delete", data, 1, "--json")
    report = json.loads(again.stdout)
    assert (again.exit_code, report["num_deleted"], report["num_deleted_before"]) == (0, 0, 1)
    assert "deleted      3 records" in invoke("info", data).stdout


@pytest.mark.parametrize("arguments", [[], ["6"], ["--key", ""]])
def test_request_that_cannot_be_met_ends_with_2_and_deletes_nothing(data: Path, arguments: list[str]) -> None:
    result = invoke("delete", data, *arguments)

    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert SplitDataLoader(data).num_deleted == 0


def test_deleted_record_is_told_by_cat_and_the_exit_code_is_1(data: Path) -> None:
    invoke("delete", data, 1)
    result = invoke("cat", data, 0, 1, 2)

    assert result.exit_code == 1
    assert result.stdout == "record 0record 2"
    assert "record 1 of" in result.stderr
    assert "was deleted" in result.stderr


def test_bytes_are_erased_and_what_a_reader_has_open_ends_with_1(data: Path) -> None:
    invoke("delete", data, 1)
    planned = invoke("compact", data, "--dry-run")
    assert "1 of 1 deleted record would be erased" in planned.stdout
    reader = SplitDataLoader(data)

    left = invoke("compact", data, "--erase")
    assert left.exit_code == 1
    assert "an older state" in left.stdout
    reader.close()

    done = invoke("compact", data, "--erase", "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["is_erased"], report["left"]) == (0, True, [])
    assert invoke("verify", data).exit_code == 0


def test_digest_is_printed_alone(data: Path) -> None:
    assert invoke("digest", data).stdout == digest(data) + "\n"
    assert json.loads(invoke("digest", data, "--json").stdout)["digest"] == digest(data)
