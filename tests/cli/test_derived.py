"""`splitdata filter`, `sample`, `rebin`, `split`: what they say, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, SplitWriter, describe
from splitdata_cli.main import cli


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A small dataset with keys."""
    with SplitWriter(tmp_path / "data", bins=2) as writer:
        writer.write_many((b"%d" % number for number in range(50)), keys=[f"k{number}" for number in range(50)])
    return tmp_path / "data"


def test_filter_sample_and_rebin_write_datasets_and_do_nothing_when_called_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chosen_here.py").write_text("def is_short(record):\n    return len(record) < 2\n")
    monkeypatch.chdir(tmp_path)
    arguments = {
        "filter": ("--where", "chosen_here:is_short"),
        "sample": ("-n", 10, "--seed", 3),
        "rebin": ("--bins", 3, "--compression", "zstd", "--group", 16),
    }
    for command, more in arguments.items():
        planned = invoke(command, data, tmp_path / command, *more, "--dry-run")
        assert (planned.exit_code, (tmp_path / command).exists()) == (0, False), planned.output
        assert "would write" in planned.stdout
        done = json.loads(invoke(command, data, tmp_path / command, *more, "--json").stdout)
        assert done["num_records"] == {"filter": 10, "sample": 10, "rebin": 50}[command]
        again = invoke(command, data, tmp_path / command, *more)
        assert (again.exit_code, "finished before" in again.stdout) == (0, True)
    assert sorted(SplitDataLoader(tmp_path / "filter").iterate()) == [b"%d" % number for number in range(10)]
    assert describe(tmp_path / "rebin").segments[0].group == 16
    assert invoke("filter", data, tmp_path / "x", "--where", "no_such:thing").exit_code == 2
    assert invoke("sample", data, tmp_path / "rebin", "-n", 1).exit_code == 2


def test_split_takes_shares_by_name_and_reports(data: Path, tmp_path: Path) -> None:
    planned = json.loads(
        invoke("split", data, tmp_path / "parts", "--train", 0.8, "--part", "rest=0.1", "--dry-run", "--json").stdout
    )
    assert [part["name"] for part in planned["parts"]] == ["train", "rest"]
    assert not (tmp_path / "parts").exists()
    done = invoke("split", data, tmp_path / "parts", "--train", 0.8, "--val", 0.2, "--by-key", "--views")
    assert done.exit_code == 0
    counts = [int(line.rsplit(" ", 2)[1]) for line in done.stdout.splitlines()]
    assert sum(counts) == 50
    for wrong in ((), ("--train", 0.9, "--val", 0.9), ("--part", "x"), ("--part", "../x=0.5")):
        assert invoke("split", data, tmp_path / "other", *wrong).exit_code == 2
    assert not (tmp_path / "other").exists()
