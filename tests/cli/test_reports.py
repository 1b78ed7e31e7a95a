"""`splitdata info`, `head` and `verify`: what they say of a dataset, and of a damaged one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import splitdata
from splitdata import SplitWriter
from splitdata_cli.main import cli

RECORDS = [b"plain", b"", b"\x1b[2J\n\xff\\ \xe2\x80\xae", b"x" * 1000, "日本".encode()]


def invoke(*arguments: str | os.PathLike[str]) -> Result:
    return CliRunner().invoke(cli, [os.fspath(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small dataset of two bins."""
    with SplitWriter(tmp_path / "data", bins=2, metadata={"who\x1b[2J": "a\nb", "n": 1}) as writer:
        writer.write_many(RECORDS)
    return tmp_path / "data"


def damage(data: Path, needle: bytes) -> Path:
    """Flip a bit of a record that holds `needle`; returns the bin it is in."""
    for path in sorted(data.glob("segments/*/*.bin")):
        content = bytearray(path.read_bytes())
        place = content.find(needle)
        if place >= 0:
            content[place] ^= 1
            path.write_bytes(content)
            return path
    raise AssertionError(f"no bin holds {needle!r}")


def test_info_shows_what_a_dataset_is(data: Path) -> None:
    result = invoke("info", data)
    rows = dict(line.split("  ", 1) for line in result.stdout.splitlines() if not line.startswith("metadata"))

    assert result.exit_code == 0
    assert rows["records"].strip() == "5"
    assert rows["bins"].strip() == "2 bins in 1 segment"
    assert rows["raw size"].strip() == "1.0 kB"
    assert rows["fingerprint"].strip() == splitdata.SplitDataLoader(data).fingerprint
    assert r'who\x1b[2J = "a\nb"' in result.stdout


def test_info_as_json_has_all_that_describe_has(data: Path) -> None:
    report = json.loads(invoke("info", data, "--json").stdout)
    described = splitdata.describe(data)

    assert report["num_records"] == 5
    assert report["fingerprint"] == described.fingerprint
    assert report["metadata"] == {"who\x1b[2J": "a\nb", "n": 1}
    assert report["mean_record_bytes"] == described.mean_record_bytes
    assert [segment["num_bins"] for segment in report["segments"]] == [2]


def test_info_of_an_empty_dataset_divides_by_nothing(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data"):
        pass

    assert invoke("info", tmp_path / "data").exit_code == 0
    assert invoke("head", tmp_path / "data").stdout == ""
    assert invoke("verify", tmp_path / "data").exit_code == 0


def test_head_shows_position_size_and_an_escaped_beginning(data: Path) -> None:
    result = invoke("head", data, "-n", "3")

    assert result.exit_code == 0
    assert result.stdout == "0   5  plain\n1   0  \n2  11  \\x1b[2J\\n\\xff\\\\ \\u202e\n".replace("  11", "  11")


def test_head_cuts_what_is_longer_than_the_line(data: Path) -> None:
    lines = invoke("head", data).stdout.splitlines()

    assert len(lines) == 5
    assert lines[3].startswith("3  1000  xxx")
    assert lines[3].endswith("x...")
    assert len(lines[3]) == 80


def test_head_as_json_escapes_the_same_way(data: Path) -> None:
    report = json.loads(invoke("head", data, "--json").stdout)

    assert [record["num_bytes"] for record in report] == [len(record) for record in RECORDS]
    assert [record["position"] for record in report] == [0, 1, 2, 3, 4]
    assert report[2]["preview"] == r"\x1b[2J\n\xff\\ \u202e"
    assert [record["is_whole"] for record in report] == [True, True, True, False, True]


def test_verify_of_an_intact_dataset_ends_with_0(data: Path) -> None:
    result = invoke("verify", data)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"{data} is intact: 5 records, ")
    assert result.stderr == ""
    assert json.loads(invoke("verify", data, "--json").stdout)["is_intact"] is True


def test_verify_of_a_damaged_record_ends_with_1_and_names_it(data: Path) -> None:
    path = damage(data, b"x" * 1000)

    result = invoke("verify", data)
    report = json.loads(invoke("verify", data, "--json").stdout)

    assert result.exit_code == 1
    assert f"{path}, record 3: " in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"{data} is damaged: 1 finding, 1 record damaged, of 5 records")
    assert report["is_intact"] is False
    assert report["num_damaged_records"] == 1
    assert [finding["position"] for finding in report["findings"]] == [3]


def test_verify_with_one_worker_finds_the_same(data: Path) -> None:
    damage(data, b"plain")
    reports = [json.loads(invoke("verify", data, "--json", "--workers", count).stdout) for count in ("1", "4")]

    assert reports[0]["findings"] == reports[1]["findings"] != []


def test_verify_lists_a_missing_bin_and_all_of_its_records(data: Path) -> None:
    next(iter(data.glob("segments/*/000000.bin"))).unlink()

    result = invoke("verify", data)

    assert result.exit_code == 1
    assert "000000.bin" in result.stdout
    assert "3 records damaged" in result.stdout


def test_verify_of_very_many_findings_shows_a_hundred(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_many(b"record %08d" % number for number in range(150))
    path = next(iter((tmp_path / "data").glob("segments/*/*.bin")))
    path.write_bytes(path.read_bytes().replace(b"record 0", b"rekord 0"))

    lines = invoke("verify", tmp_path / "data").stdout.splitlines()

    assert len(json.loads(invoke("verify", tmp_path / "data", "--json").stdout)["findings"]) == 150
    assert len(lines) == 102
    assert lines[-2] == "... and 50 more, which --json lists"


def test_damaged_record_is_one_line_in_head(data: Path) -> None:
    damage(data, b"plain")

    result = invoke("head", data)

    assert result.exit_code == 1
    assert "record 0 does not match its checksum" in result.stderr
    assert result.stderr.count("\n") == 1
