"""Datasets of samples on the command line: what they hold for a person, their bytes for a pipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from splitdata import SampleDataset, SplitDataLoader, SplitWriter, encode_sample
from tests.cli.processes import run_bytes, run_on_terminal
from tests.command import run_cli

SHOWN = r"{'image': uint8[4, 4, 3] 0 0 0 0 ..., 'label': 0, 'text': 'a\n\x1b[2J'}"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples, with a text that would clear a terminal."""
    path = tmp_path_factory.mktemp("samples") / "data"
    with SplitWriter(path) as writer:
        for number in range(3):
            writer.write_sample(
                {"image": np.zeros((4, 4, 3), np.uint8), "label": number, "text": "a\n\x1b[2J"}, key=f"k{number}"
            )
    return path


def test_info_names_the_codec(data: Path) -> None:
    assert "records      3, sample\n" in run_cli("info", data).stdout
    assert json.loads(run_cli("info", data, "--json").stdout)["record_codec"] == "sample"


def test_head_shows_what_samples_hold(data: Path) -> None:
    size = len(SplitDataLoader(data)[0])
    lines = run_cli("head", data, "-n", "1").stdout.splitlines()
    assert lines == [f"0  {size}  k0  {SHOWN}"[:77] + "..."] or lines == [f"0  {size}  k0  {SHOWN}"]


def test_head_as_json_shows_what_samples_hold(data: Path) -> None:
    shown = json.loads(run_cli("head", data, "--json").stdout)
    assert [row["key"] for row in shown] == ["k0", "k1", "k2"]
    assert (shown[0]["preview"], shown[0]["is_whole"]) == (SHOWN, True)


def test_head_cuts_long_samples(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_sample([{"number": number} for number in range(1000)])
    row = json.loads(run_cli("head", tmp_path / "data", "--json").stdout)[0]
    assert len(row["preview"]) == 1000
    assert row["preview"].endswith("...")
    assert not row["is_whole"]


def test_records_of_text_are_shown_as_before(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", codec="text") as writer:
        writer.write_sample("größe\n")
    assert run_cli("head", tmp_path / "data").stdout == "0  8  größe\\n\n"


def test_record_that_is_no_sample_is_one_line_that_names_it(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", codec="sample") as writer:
        writer.write(b"\x8dSM no sample")
    ended = run_cli("head", tmp_path / "data")
    assert ended.returncode == 1
    assert "record 0 of" in ended.stderr
    assert "not of the codec sample" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_cat_writes_samples_into_a_pipe_as_bytes_that_stand_alone(data: Path) -> None:
    assert run_bytes("cat", data, "1").stdout == encode_sample(SampleDataset(data)[1])


def test_schema_shows_what_samples_are(data: Path, tmp_path: Path) -> None:
    shown = "{'image': uint8[4,4,3], 'label': int, 'text': str}"
    assert run_cli("schema", data).stdout == shown + "\n"
    assert "schemas      1, `splitdata schema` shows them\n" in run_cli("info", data).stdout
    assert json.loads(run_cli("schema", data, "--json").stdout)["schemas"] == [shown]
    with SplitWriter(tmp_path / "declared", schema={"a": "int?"}) as writer:
        writer.write_sample({"a": None})
    assert run_cli("schema", tmp_path / "declared").stdout == "{'a': int?}\n"
    assert "schema       {'a': int?}\n" in run_cli("info", tmp_path / "declared").stdout
    with SplitWriter(tmp_path / "plain") as writer:
        writer.write(b"bytes")
    assert run_cli("schema", tmp_path / "plain").stdout.startswith("no schemas: ")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_cat_shows_samples_on_a_terminal(data: Path) -> None:
    code, sent = run_on_terminal("cat", data, "0")
    assert (code, sent.decode()) == (0, SHOWN + "\r\n")


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_lines_are_not_added_to_samples_and_encoded_ones_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with SplitWriter("data") as writer:
        writer.write_sample(0)
    Path("a.txt").write_bytes(b"a line\n")
    Path("encodes.py").write_text("import splitdata\ndef samples():\n    yield splitdata.encode_sample(1)\n")

    refused = run_cli("write", "a.txt", "data", "--append", *options, cwd=tmp_path)
    added = run_cli("write", "encodes:samples", "data", "--from", "callable", "--append", *options, cwd=tmp_path)

    assert refused.returncode == 2
    assert "data holds samples, and the records of a.txt are not" in refused.stderr
    assert added.returncode == 0, added.stderr
    assert list(SampleDataset("data")) == ([0] if options else [0, 1])
