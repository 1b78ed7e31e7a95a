"""`splitdata write --shard I/N` and `splitdata commit`: what they say, and how they end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader
from splitdata_cli.main import cli


def invoke(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env=env).invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.jsonl" for name in "abc"]
    for path in paths:
        path.write_text(f'{{"name": "{path.stem}"}}\n' * 2, encoding="utf-8")
    return paths


def test_shards_are_written_and_committed_in_the_order_of_the_sources(sources: list[Path], tmp_path: Path) -> None:
    dest = tmp_path / "all\x1b"
    written = [invoke("write", *sources, dest, "--shard", f"{index}/2") for index in (1, 0)]
    assert [one.exit_code for one in written] == [0, 0]
    assert "shard 1/2 wrote 1 of 3 units: 2 records" in written[0].stdout
    assert "`splitdata commit" in written[0].stdout
    assert "\x1b" not in written[0].stdout

    done, again = invoke("commit", dest), invoke("commit", dest, "--json")

    assert "committed 3 units" in done.stdout
    assert "6 records as positions 0 to 5" in done.stdout
    assert json.loads(again.stdout)["num_committed"] == 0
    with SplitDataLoader(dest) as loader:
        assert [json.loads(record)["name"] for record in loader] == ["a", "a", "b", "b", "c", "c"]


def test_missing_units_are_named_with_exit_code_2_and_an_option_that_helps(sources: list[Path], tmp_path: Path) -> None:
    invoke("write", *sources, tmp_path / "all", "--shard", "0/2")
    refused = invoke("commit", tmp_path / "all")
    assert refused.exit_code == 2
    assert "1 of 3 units are not written" in refused.stderr
    assert "with --resume" in refused.stderr

    invoke("write", *sources, tmp_path / "all", "--shard", "0/1", "--resume")
    assert invoke("commit", tmp_path / "all").exit_code == 0


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({"RANK": "1", "WORLD_SIZE": "3"}, [1, 3]),
        (
            {
                f"SLURM_ARRAY_TASK_{name}": value
                for name, value in zip(("ID", "MIN", "STEP", "COUNT"), "7323", strict=True)
            }
            | {"RANK": "0", "WORLD_SIZE": "1"},
            [2, 3],
        ),
    ],
    ids=["torchrun", "array"],
)
def test_environment_says_which_shard(
    sources: list[Path], tmp_path: Path, environment: dict[str, str], shard: list[int]
) -> None:
    result = invoke("write", *sources, tmp_path / "all", "--shard", "env", "--json", env=environment)
    assert json.loads(result.stdout)["shard"] == shard


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--shard", "2/2"], {}, "numbered from 0"),
        (["--shard", "1"], {}, "given as I/N"),
        (["--shard", "env"], {}, "neither"),
        (["--shard", "env"], {"RANK": "x", "WORLD_SIZE": "3"}, "no numbers"),
        (["--shard", "0/2", "--workers", "2"], {}, "go with neither"),
        (["--address", "auto"], {}, "for --engine ray"),
        (["--shard", "0/2", "--engine", "ray"], {}, "starts its own"),
        (["--shard", "0/2", "--max-errors", "2"], {}, "counts in one process"),
        (["--shard", "0/2", "--limit", "2"], {}, "go with neither"),
    ],
    ids=str,
)
def test_invalid_share_is_refused(
    sources: list[Path], tmp_path: Path, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    refused = invoke("write", *sources, tmp_path / "all", *arguments, env=environment)
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert not (tmp_path / "all").exists()


def test_folder_called_ray_beside_the_functions_is_not_taken_for_ray(
    sources: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None in sys.modules: as if it were not installed.
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "ray.py").write_text("raise SystemExit('taken for it')\n")
    (tmp_path / "mine.py").write_text("def wanted(sample): return True\n")
    monkeypatch.chdir(tmp_path)

    refused = invoke("write", *sources, tmp_path / "all", "--engine", "ray", "--where", "mine:wanted")

    assert refused.exit_code == 2
    assert "splitdata[ray]" in refused.stderr
