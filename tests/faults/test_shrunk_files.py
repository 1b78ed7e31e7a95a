"""Files that are cut while they are mapped: found before the next batch, an error for the records that are cut off.

truncate, rsync --inplace      the same file, shorter      let go of and opened again: TruncatedFileError
rsync, mv over it              another file                what is mapped stays as it was
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from splitdata import SplitDataLoader, SplitWriter, TruncatedFileError
from splitdata.dataset.segments import segment_reader
from splitdata.storage.file_source import MappedSource
from tests.command import run_python

COUNT = 4000
RECORDS = [b"%7d" % number * 40 for number in range(COUNT)]


def write(path: Path) -> Path:
    """Write the dataset; returns its last bin."""
    with SplitWriter(path, bins=2, durability="none") as writer:
        writer.write_many(RECORDS)
    return max(path.glob("segments/*/*.bin"))


_BATCHES = """
import sys
import numpy as np
from splitdata import SplitDataLoader, TruncatedFileError
from splitdata.dataset.segments import segment_reader

segment_reader._LOOK_SECONDS, segment_reader._LOOK_SHARE = 0.0, 0
path, cut, how = sys.argv[1], sys.argv[2], sys.argv[3]
ask = {
    "batch": lambda loader: loader[list(range(4000))],
    "rows": lambda loader: loader.gather(np.arange(4000)),
    "views": lambda loader: loader.views(list(range(4000))),
    "walk": lambda loader: list(loader),
    "binwise": lambda loader: list(loader.iterate_binwise()),
    "shuffled": lambda loader: list(loader.iterate_binwise(shuffle=True, seed=1)),
}[how]
loader = SplitDataLoader(path, io="mmap")
ask(loader)
with open(cut, "r+b") as file:
    file.truncate(5000)
try:
    ask(loader)
except TruncatedFileError:
    print("told")
assert loader[[0, 1]] == [b"%7d" % n * 40 for n in range(2)]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be cut there")
@pytest.mark.parametrize("file", ["bin", "index"])
@pytest.mark.parametrize("how", ["batch", "rows", "views", "walk", "binwise", "shuffled"])
def test_file_cut_under_a_map_is_an_error_at_the_next_batch(tmp_path: Path, how: str, file: str) -> None:
    last = write(tmp_path / "data")

    done = run_python("-c", _BATCHES, tmp_path / "data", last if file == "bin" else last.with_name("index"), how)

    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")


def test_file_that_was_replaced_keeps_its_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_reader, "_LOOK_SECONDS", 0.0)
    last = write(tmp_path / "data")
    with SplitDataLoader(tmp_path / "data", io="mmap") as loader:
        assert loader[list(range(COUNT))] == RECORDS
        other = tmp_path / "shorter"
        other.write_bytes(last.read_bytes()[:5000])
        other.replace(last)
        assert loader[list(range(COUNT))] == RECORDS


def test_sizes_are_not_asked_for_at_every_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "data")
    asked: list[object] = []
    real = MappedSource.has_shrunk

    def counted(source: MappedSource) -> bool:
        asked.append(source)
        return real(source)

    monkeypatch.setattr(MappedSource, "has_shrunk", counted)
    monkeypatch.setattr(segment_reader, "perf_counter", lambda: 1000.0)
    with SplitDataLoader(tmp_path / "data", io="mmap") as loader:
        for _ in range(100):
            loader[list(range(30))]
            loader[7]
        assert len(asked) <= 3


def test_pread_gives_the_error_by_itself(tmp_path: Path) -> None:
    last = write(tmp_path / "data")
    with SplitDataLoader(tmp_path / "data", io="pread") as loader:
        assert loader[[COUNT - 1]] == RECORDS[-1:]
        os.truncate(last, 5000)
        with pytest.raises((TruncatedFileError, Exception)) as caught:
            loader[[COUNT - 1]]
        assert "Corrupt" in type(caught.value).__name__ or isinstance(caught.value, TruncatedFileError)
