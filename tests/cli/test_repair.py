"""`splitdata repair`: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, SplitWriter
from splitdata_cli.main import cli


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small dataset in a folder with an ugly name."""
    path = tmp_path / "da\x1bta"
    with SplitWriter(path, bins=2) as writer:
        writer.write_many(b"record %d" % number for number in range(6))
    return path


def index_of(path: Path) -> Path:
    return next(path.rglob("index"))


def test_whole_dataset_needs_nothing_and_ends_with_0(data: Path) -> None:
    result = invoke("repair", data)

    assert result.exit_code == 0
    assert result.stdout.endswith("ta is whole: 6 records, nothing had to be done\n")
    assert "\x1b" not in result.stdout


def test_deleted_index_is_made_again_and_told(data: Path) -> None:
    before = index_of(data).read_bytes()
    index_of(data).unlink()

    planned = invoke("repair", data, "--dry-run")
    assert planned.exit_code == 0
    assert planned.stdout.startswith("would be done: ")
    assert planned.stdout.endswith("1 step would be done\n")
    assert list(data.rglob("index")) == []

    result = invoke("repair", data)
    assert result.exit_code == 0
    assert "index: made again from the bins (it was missing)" in result.stdout
    assert index_of(data).read_bytes() == before


def test_damaged_record_ends_with_1_and_is_named(data: Path) -> None:
    file = next(data.rglob("000001.bin"))
    file.write_bytes(file.read_bytes().replace(b"record 3", b"rekord 3"))

    result = invoke("repair", data)
    report = json.loads(invoke("repair", data, "--json").stdout)

    assert result.exit_code == 1
    assert "000001.bin, record 3: cannot be read: 1 damaged in place, 0 lost" in result.stdout
    assert result.stdout.endswith("is not whole, 1 record cannot be read: 6 records, nothing had to be done\n")
    assert (report["is_whole"], report["num_lost_records"]) == (False, 1)
    assert [finding["position"] for finding in report["findings"]] == [3]


def test_deleted_manifest_needs_adopt(data: Path) -> None:
    next(data.glob("manifest.*.json")).unlink()

    refused = invoke("repair", data)
    assert refused.exit_code == 2
    assert "`splitdata repair --adopt" in refused.stderr
    assert refused.stderr.count("\n") == 1

    assert invoke("repair", data, "--adopt").exit_code == 0
    with SplitDataLoader(data) as loader:
        assert list(loader) == [b"record %d" % number for number in range(6)]


def test_wrong_use_ends_with_2(tmp_path: Path) -> None:
    for arguments in (("repair",), ("repair", tmp_path / "nothing"), ("repair", tmp_path), ("repair", "--what", "x")):
        result = invoke(*arguments)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
