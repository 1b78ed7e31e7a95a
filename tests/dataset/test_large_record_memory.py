"""A large record is held once while it is copied, not in blocks and whole; verify says how far it is within one."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from splitdata import SplitDataLoader, SplitWriter, verify
from splitdata.dataset.verify import bin_check
from splitdata.dataset.verify import verify as verify_module

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


def test_verify_reports_progress_within_a_large_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SplitWriter(tmp_path / "d", bins=1, durability="none") as writer:
        writer.write(bytes(LENGTH))
    half, was_shown = LENGTH // 2, threading.Event()
    shown: list[int] = []
    note_done = bin_check.BinCheck._note_done

    def stop_half_way(check: bin_check.BinCheck, offset: int) -> None:
        note_done(check, offset)
        if offset >= half:
            assert was_shown.wait(30)

    def show(done: int, total: int) -> None:
        shown.append(done)
        assert done <= total
        if done >= half:
            was_shown.set()

    monkeypatch.setattr(bin_check.BinCheck, "_note_done", stop_half_way)
    monkeypatch.setattr(verify_module, "_REPORT_SECONDS", 0.01)

    report = verify(tmp_path / "d", progress=show)

    assert report.is_intact
    assert any(half <= done < LENGTH for done in shown)
    assert shown[-1] == report.num_bytes >= LENGTH
    assert shown == sorted(shown)
