"""`splitdata mix`: what it foretells is what a loader does, and how it ends where that cannot be said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import DistributedLoader, Mixture, SplitWriter
from splitdata_cli.main import cli


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["mix", *(str(argument) for argument in arguments)])


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for name, count in (("web", 20), ("co\x1bde", 5)):
        with SplitWriter(tmp_path / name) as writer:
            writer.write_many([name.encode()] * count)
    return [tmp_path / "web", tmp_path / "co\x1bde"]


def test_what_is_foretold_is_what_a_loader_does(folders: list[Path]) -> None:
    web, code = map(str, folders)
    arguments = [f"{web}:3", f"{code}:1", "--then", f"5:{web}:1,{code}:1", "--steps", 10, "--batch", 4, "--json"]
    told = json.loads(invoke(*arguments).stdout)

    mixture = Mixture({web: (web, 3), code: (code, 1)}, schedule=[(20, {web: 1, code: 1})], until=40)
    (batch,) = DistributedLoader(mixture, batch_size=40, collate_fn=list)
    sources = [batch.count(b"web"), batch.count(b"co\x1bde")]
    assert [source["num_samples"] for source in told["sources"]] == sources == [25, 15]
    assert told["shares"] == [[3, 1], [1, 1]]
    places = [place for place, record in enumerate(batch) if record == b"co\x1bde"]
    assert told["sources"][1]["repeats_from_step"] == places[5] // 4
    assert told["sources"][1]["passes"] == 3


def test_table_shows_shares_and_repeats_and_escapes_names(folders: list[Path]) -> None:
    result = invoke(f"{folders[0]}:0.8", f"{folders[1]}:0.2", "--steps", 20)

    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    first, web, code = result.stdout.splitlines()
    assert first == "20 steps, 20 samples"
    assert web.endswith("80.00% 16 samples, read 0.80 times")
    assert code.endswith("20.00% 4 samples, read 0.80 times")
    again = invoke(f"{folders[0]}:0.8", f"{folders[1]}:0.2", "--steps", 40)
    assert "8 samples, read 1.60 times, repeats from step 2" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["data"], "is not DIR:WEIGHT"),
        (["data:much"], "is not DIR:WEIGHT"),
        (["WEB:1", "WEB:2"], "a dataset is given twice"),
        (["WEB:1", "--then", "soon:WEB:1"], "is not STEP:DIR:WEIGHT"),
        (["WEB:1", "--then", "5:other:1"], "names 'other'"),
        (["nowhere:1"], "nowhere"),
        (["WEB:0"], "all weights are 0"),
    ],
)
def test_what_cannot_be_foretold_ends_with_2_and_one_line(
    folders: list[Path], arguments: list[str], message: str
) -> None:
    result = invoke(*(argument.replace("WEB", str(folders[0])) for argument in arguments))

    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
