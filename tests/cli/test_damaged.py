"""Commands that read records go on behind a damaged one: it is told, the others are shown, the exit code is 1."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, SplitWriter, measure_dataset
from splitdata_cli.main import cli
from tests.cli.processes import run_bytes, run_on_terminal

RECORDS = [b"record %d, and some more" % number for number in range(200)]
DAMAGED = (2, 150)


@pytest.fixture(params=[1, 3], ids=["1 bin", "3 bins"])
def data(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A dataset of which two records are damaged."""
    with SplitWriter(tmp_path / "data", bins=request.param) as writer:
        writer.write_many(RECORDS, keys=[f"key {number}" for number in range(len(RECORDS))])
    for number in DAMAGED:
        for path in (tmp_path / "data").rglob("*.bin"):
            path.write_bytes(path.read_bytes().replace(b"record %d," % number, b"rec\x1brd %d," % number))
    return tmp_path / "data"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments])


def test_head_tells_the_damaged_record_and_shows_those_behind_it(data: Path) -> None:
    result = run("head", data, "-n", "4")

    assert result.exit_code == 1
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == ["0", "1", "3"]
    assert result.stderr.startswith("splitdata: error: ")
    assert "record 2" in result.stderr
    assert result.stderr.count("\n") == 1


def test_head_as_json_has_every_record_or_its_problem(data: Path) -> None:
    result = run("head", data, "-n", "4", "--json")
    rows = json.loads(result.stdout)

    assert result.exit_code == 1
    assert [row["position"] for row in rows] == [0, 1, 2, 3]
    assert ["problem" in row for row in rows] == [False, False, True, False]
    assert "record 2" in rows[2]["problem"]


def test_cat_writes_what_can_be_read_and_tells_the_rest(data: Path) -> None:
    ended = run_bytes("cat", data, "1", "2", "3", "150", "--key", "key 151")

    assert ended.returncode == 1
    assert ended.stdout == RECORDS[1] + RECORDS[3] + RECORDS[151]
    assert ended.stderr.count(b"splitdata: error: ") == ended.stderr.count(b"\n") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_cat_on_a_terminal_shows_what_can_be_read(data: Path) -> None:
    code, sent = run_on_terminal("cat", data, "1", "2", "3")

    assert code == 1
    lines = sent.decode().splitlines()
    assert [lines[0], lines[-1]] == [RECORDS[1].decode(), RECORDS[3].decode()]
    assert b"\x1b" not in sent


def test_bench_measures_on_the_records_that_can_be_read(data: Path) -> None:
    # In this time all records are walked, also on a busy machine.
    report = measure_dataset(data, num_workers=0, batch_size=8, seconds=0.2)

    assert (report.num_measured, report.num_damaged) == (len(RECORDS) - 2, 2)
    assert all(one.num_records for one in report.measurements if not one.is_cold)

    result = run("bench", data, "--workers", "0", "--seconds", "0.02")
    assert result.exit_code == 1
    # How many are walked in so short a time depends on the machine.
    assert re.search(r": 200 records, (of |measured on the first \d+, of )", result.stdout), result.stdout
    some = r"(2 records are damaged and were|1 record is damaged and was)"
    assert re.search(rf"{some} left out; `splitdata verify` tells more", result.stdout), result.stdout


def test_bench_of_nothing_but_damage_is_an_error(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=1) as writer:
        writer.write(b"all that there is")
    for path in (tmp_path / "data").rglob("*.bin"):
        path.write_bytes(path.read_bytes().replace(b"all", b"al!"))

    result = run("bench", tmp_path / "data", "--workers", "0")

    assert result.exit_code == 2
    assert "has no record that can be read" in result.stderr


@pytest.mark.parametrize("codec", ["sample", "npy", "json"])
def test_records_that_are_none_of_their_codec_are_told_too(tmp_path: Path, codec: str) -> None:
    import numpy as np

    with SplitWriter(tmp_path / "data", codec=codec) as writer:  # type: ignore[arg-type]  # one of them
        for _ in range(2):
            writer.write_sample(np.arange(3) if codec != "json" else 3)
            writer.write(b"\x8dSM no sample \x1b[2J")

    result = run("head", tmp_path / "data")

    if codec != "json":
        # Records of JSON are shown as they are.
        assert result.exit_code == 1
        assert result.stderr.count("splitdata: error: ") == 2
        assert len(result.stdout.splitlines()) == 2
    assert "\x1b" not in result.output
    assert len(SplitDataLoader(tmp_path / "data")) == 4
