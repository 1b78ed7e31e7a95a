"""A record that is copied is held once while it is read, not once in blocks and once whole."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from splitdata import SplitDataLoader, SplitWriter

LENGTH = 48 << 20
READS: dict[str, Callable[[SplitDataLoader], object]] = {
    "record": lambda loader: loader[0],
    "view": lambda loader: loader.view(0),
    "range": lambda loader: loader.read_range(0, 100, LENGTH - 100),
}


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_copy_of_a_large_record_is_held_once_while_it_is_made(
    tmp_path: Path, compression: Literal["zstd"] | None
) -> None:
    record = bytes(range(1, 256)) * (LENGTH // 255 + 1)
    record = record[:LENGTH]
    with SplitWriter(tmp_path / "d", compression=compression, durability="none") as writer:
        writer.write(record)

    with SplitDataLoader(tmp_path / "d", io="pread") as loader:
        for name, read in READS.items():
            tracemalloc.start()
            try:
                found = read(loader)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            assert found == (record[100:-100] if name == "range" else record)
            assert peak < 1.5 * LENGTH, name
