"""`splitdata plan`: the forecast of the library, as a table and as JSON, and what options it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import OrderOptions, Packed, SplitWriter, forecast_epoch
from splitdata_cli.main import cli


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["plan", *(str(argument) for argument in arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "da\x1bta", bins=2) as writer:
        writer.write_many([bytes(100 + 10 * (number % 7)) for number in range(200)])
    return tmp_path / "da\x1bta"


def test_table_shows_steps_bytes_and_requests_and_escapes_names(folder: Path) -> None:
    result = invoke(folder, "--world", 3, "--batch", 8, "--order", "bins", "--ranks-per-node", 3)

    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    first, *rows = result.stdout.splitlines()
    assert first.endswith("200 records, 200 samples in epoch 0")
    assert [row.split("  ")[0] for row in rows] == [
        "steps",
        "tail",
        "bytes of a step",
        "bytes of a rank",
        "bytes of a node",
        "requests of a step",
        "requests of an epoch",
        "requests a second",
    ]
    assert rows[0].endswith("9 on each of 3 ranks")
    assert rows[1].endswith("1 sample repeated")


def test_json_is_the_forecast_of_the_library(folder: Path) -> None:
    arguments = ["--world", 2, "--batch", 2, "--order", "window:50", "--pack", 500, "--strategy", "concat"]
    told = json.loads(invoke(folder, *arguments, "--window", 64, "--epoch", 1, "--json").stdout)

    from splitdata import Window

    order = OrderOptions(batching=Packed(size=500, strategy="concat", window=64))
    expected = forecast_epoch(folder, world_size=2, batch_size=2, shuffle=Window(50), order=order, epoch=1)
    store = told.pop("store")
    assert told == json.loads(json.dumps(expected.as_dict()))
    assert store["requests_per_epoch"] == told["reads"]["requests_ahead"] * told["most_steps"] * 2
    assert told["batches"]["fill_ratio"] > 0.9


def test_orders_are_shown_beside_each_other_with_requests_a_second_and_what_they_cost(folder: Path) -> None:
    arguments = (folder, "--world", 4, "--batch", 2, "--order", "all", "--rate", 3, "--price", 2e6)
    shown, told = invoke(*arguments).stdout, json.loads(invoke(*arguments, "--json").stdout)

    assert list(told) == ["none", "global", "window:65536", "bins"]
    for name, forecast in told.items():
        reads, store = forecast["reads"], forecast["store"]
        assert store["requests_per_second"] == pytest.approx(reads["requests_ahead"] * 4 * 3)
        assert store["cost_per_epoch"] == pytest.approx(2 * store["requests_per_epoch"])
        assert f"{store['cost_per_epoch']:,.2f} at 2e+06 a million" in shown.split(f"\n{name}\n")[1]


@pytest.mark.parametrize(
    ("batching", "batches"),
    [(["--max-tokens", 900], "of 5 to 7 samples"), (["--buckets", "120,140"], "of 1 to 8 samples")],
)
def test_padding_of_batches_by_length_is_shown(folder: Path, batching: list[object], batches: str) -> None:
    arguments = ["--batch", 8] if "--buckets" in batching else []
    lines = invoke(folder, *arguments, *batching).stdout.splitlines()

    assert any(line.startswith("batches ") for line in lines)
    assert any(line.startswith("fill ") and "elements and" in line for line in lines)


def test_steps_that_differ_and_what_is_left_out_are_shown(folder: Path) -> None:
    assert "11 to 12 on 3 ranks" in invoke(folder, "--world", 3, "--batch", 6, "--tail", "keep").stdout
    assert "8 samples left out" in invoke(folder, "--world", 3, "--batch", 8, "--tail", "drop").stdout
    assert "nothing repeated or left out" in invoke(folder, "--world", 4, "--batch", 5).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--order", "random"], "'random' is not one of none, global, bins and window:SIZE"),
        (["--max-tokens", 900, "--pack", 9], "give one of --max-tokens, --buckets and --pack"),
        (["--buckets", "9,x"], "give numbers, as 64,128,256"),
        (["--world", 3, "--replicate", 2], "no whole number of such groups"),
        (["--max-tokens", 5], "samples of a window of 200 are longer than max_tokens"),
    ],
)
def test_options_that_mean_nothing_are_one_line(folder: Path, arguments: list[object], message: str) -> None:
    result = invoke(folder, *arguments)

    assert result.exit_code == 2
    assert message in result.stderr
