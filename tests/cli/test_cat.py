"""`splitdata cat`: exactly the bytes of the records into a pipe, exactly the positions that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitdata import SplitWriter
from tests.cli.processes import run_bytes

RECORDS = [b"zero\n", b"", bytes(range(256)), b"\r\n\x1a", b"last"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset."""
    path = tmp_path_factory.mktemp("cat") / "data"
    with SplitWriter(path, bins=2) as writer:
        writer.write_many(RECORDS)
    return path


@pytest.mark.parametrize(
    "positions", [[0], [2], [1], [4, 0, 0], [-1], [-5], [2, -1, 3], [0, 1, 2, 3, 4]], ids=lambda value: str(value)
)
def test_bytes_of_the_records_are_written_and_nothing_added(data: Path, positions: list[int]) -> None:
    ended = run_bytes("cat", data, *map(str, positions))

    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout == b"".join(RECORDS[position] for position in positions)


def test_negative_positions_may_stand_anywhere(data: Path) -> None:
    assert run_bytes("cat", data, "-1", "--", "-1", "0").stdout == b"lastlastzero\n"


@pytest.mark.parametrize("position", ["5", "-6", "99999999999999999999"])
def test_position_that_is_not_there_writes_nothing(data: Path, position: str) -> None:
    ended = run_bytes("cat", data, "0", position)

    assert ended.returncode == 2
    assert ended.stdout == b""
    assert f"there is no record {position}: the dataset has 5 records".encode() in ended.stderr
    assert ended.stderr.count(b"\n") == 1


def test_large_record_is_written_whole(tmp_path: Path) -> None:
    record = bytes(range(251)) * 80_000
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(record)

    assert run_bytes("cat", tmp_path / "data", "0").stdout == record


def test_records_before_a_damaged_one_are_written_and_the_code_tells(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_many([b"good", b"damaged"])
    path = next(iter((tmp_path / "data").glob("segments/*/*.bin")))
    path.write_bytes(path.read_bytes().replace(b"damaged", b"damagee"))

    ended = run_bytes("cat", tmp_path / "data", "0", "1")

    assert ended.returncode == 1
    assert ended.stdout == b"good"
    assert b"record 1 does not match its checksum" in ended.stderr
