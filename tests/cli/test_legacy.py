"""The commands on a directory of splitdataloader 0.0.1: shown, verified, converted, never written to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader
from splitdata_cli.main import cli

old = pytest.importorskip("splitdataloader", reason="the package whose layout is read")

RECORDS = [b"record %d" % number for number in range(20)]


def invoke(*arguments: str | os.PathLike[str]) -> Result:
    return CliRunner().invoke(cli, [os.fspath(argument) for argument in arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """20 records in 3 bins."""
    old.write_split_data(str(tmp_path / "old"), RECORDS, splits=3)
    return tmp_path / "old"


def lose_entries(directory: Path, num_bytes: int) -> None:
    os.truncate(directory / "index.dat", 12 * 20 - num_bytes)


def test_info_names_the_layout_and_tells_of_orphans(directory: Path) -> None:
    shown = invoke("info", directory).stdout
    assert "layout       splitdataloader 0.0.1, read-only" in shown
    assert "damage" not in shown

    lose_entries(directory, 17)
    shown = invoke("info", directory).stdout
    assert "records      18" in shown
    assert "its last 7 bytes are no entry" in shown
    assert shown.count("holds 1 records that the index does not list") == 2
    described = json.loads(invoke("info", directory, "--json").stdout)
    assert len(described["problems"]) == 3


def test_head_and_cat_show_its_records(directory: Path) -> None:
    assert "record 1" in invoke("head", directory, "-n", "2").stdout
    assert invoke("cat", directory, "3", "-1").stdout_bytes == b"record 3record 19"


def test_verify_ends_with_1_where_lengths_disagree(directory: Path) -> None:
    assert invoke("verify", directory).exit_code == 0
    os.truncate(directory / "bin00000001.dat", 30)

    result = invoke("verify", directory)

    assert result.exit_code == 1
    assert "bin00000001.dat, record 7: ends at 30, before these records do" in result.stdout


def test_write_converts_what_is_listed_and_from_bins_all(directory: Path, tmp_path: Path) -> None:
    lose_entries(directory, 24)

    listed = invoke("write", directory, tmp_path / "listed")
    everything = invoke("write", directory, tmp_path / "all", "--from-bins")

    assert "left out: 2 unlisted records" in listed.stdout
    assert list(SplitDataLoader(tmp_path / "listed")) == RECORDS[:18]
    assert "left out" not in everything.stdout
    assert list(SplitDataLoader(tmp_path / "all")) == RECORDS
    assert invoke("write", directory, directory, "--append").exit_code == 2
    (tmp_path / "a.txt").write_bytes(b"1")
    assert "read but never written" in invoke("write", tmp_path / "a.txt", directory, "--append").stderr
