"""What files claim costs nothing: memory and time follow what is in them. Made and used by hostile_sizes.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from splitdata.storage import files
from tests.command import ROOT, run_python
from tests.faults.file_faults import fast_folder
from tests.faults.hostile_sizes import INPUTS, OPERATIONS

MOST_MIB = 256


# These take seconds each.
LONG = (
    "metadata_of_lists",
    "millions_of_bins_in_each_segment",
    "overlapping_frames",
    "senseless_entries",
    "millions_of_bins",
)
SHORT = tuple(name for name in INPUTS if name not in LONG)


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux reports it, and needs sparse files")
@pytest.mark.time_limit(900)
@pytest.mark.parametrize("names", [SHORT, pytest.param(LONG, marks=pytest.mark.soak)], ids=["short", "long"])
def test_datasets_of_a_megabyte_that_claim_gigabytes_take_little_memory_and_time(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    """One process for all of them: an error that is not of the tree ends it, and so does one that does not end."""
    with fast_folder(tmp_path) as folder:
        ended = run_python("-m", "tests.faults.hostile_sizes", folder, *names, cwd=ROOT)

    assert ended.returncode == 0, ended.stderr
    outcomes = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(outcomes) == len(names) * len(OPERATIONS)
    assert [outcome for outcome in outcomes if outcome[2] > MOST_MIB] == []


def test_data_begins_behind_holes_and_ends_before_them(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as stream:
        stream.truncate(1 << 24)
        stream.seek(1 << 22)
        stream.write(b"x" * 4096)
    descriptor = files.open_existing(str(path))
    try:
        start, stop = files.data_from(descriptor, 64, 1 << 24)
        assert 64 <= start <= 1 << 22
        assert (1 << 22) + 4096 <= stop <= 1 << 24
        start, stop = files.data_from(descriptor, stop, 1 << 24)
        assert start <= stop == 1 << 24
    finally:
        files.close(descriptor)


def test_where_holes_are_not_known_all_is_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sparse"
    path.write_bytes(b"x" * 100)
    descriptor = files.open_existing(str(path))
    try:
        monkeypatch.delattr("os.SEEK_DATA")
        assert files.data_from(descriptor, 10, 100) == (10, 100)
    finally:
        files.close(descriptor)
