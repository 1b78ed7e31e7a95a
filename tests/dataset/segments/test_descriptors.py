"""The descriptors of a process: all readers share one part of them; who has none left is told how many there are."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import pytest

from splitdata import SplitDataLoader, SplitWriter, verify
from splitdata.dataset.segments import open_files
from tests.command import run_python

BINS = 200
linux = pytest.mark.skipif(sys.platform != "linux", reason="counts what /proc lists")


def write(path: Path) -> list[bytes]:
    records = [b"%d" % number for number in range(2 * BINS)]
    with SplitWriter(path, bins=BINS, durability="none") as writer:
        writer.write_many(records)
    return records


def num_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def num_mapped(folder: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(folder))


@linux
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_six_readers_of_two_hundred_bins_share_one_limit(
    tmp_path: Path, io: Literal["mmap", "pread"], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = write(tmp_path / "data")
    monkeypatch.setattr(open_files, "descriptor_limit", lambda: 100)
    before = num_open()
    readers = [SplitDataLoader(tmp_path / "data", io=io) for _ in range(6)]

    for _ in range(2):
        for reader in readers:
            assert list(reader.iterate_binwise(shuffle=True, seed=1)) != records
            assert [reader[position] for position in range(len(records))] == records

    # One more for the lock that keeps each snapshot.
    assert num_open() - before <= 100 + 6
    # None is pushed out for good: each holds some.
    assert sum(len(pool) for pool in open_files._living()) <= 100
    for reader in readers:
        reader.close()
    del reader, readers
    assert num_open() == before


@linux
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_threads_that_push_out_each_others_files_leave_none_open_that_no_pool_counts(
    tmp_path: Path, io: Literal["mmap", "pread"], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = write(tmp_path / "data")
    monkeypatch.setattr(open_files, "descriptor_limit", lambda: 4)
    reader = SplitDataLoader(tmp_path / "data", io=io)
    before = num_open() + num_mapped(tmp_path)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda part: [reader[n] for n in range(part, len(records), 4)], range(4)))
    finally:
        sys.setswitchinterval(interval)

    assert found == [records[part::4] for part in range(4)]
    # Each thread may have opened one that is not counted yet when another looks how many there are; a file that is
    # mapped is counted twice here.
    assert num_open() + num_mapped(tmp_path) - before <= 2 * (4 + 4)
    reader.close()


@linux
def test_pools_of_readers_that_are_gone_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "data")
    # What other tests have left to the garbage collector must not go meanwhile.
    gc.collect()
    before = len(open_files._living())
    for _ in range(3):
        loader = SplitDataLoader(tmp_path / "data", io="pread")
        list(loader)
        del loader
    assert verify(tmp_path / "data").is_intact
    assert len(open_files._living()) == before


_USED_UP = """
import os, resource, sys
from splitdata import SplitDataLoader

def use_up():
    while True:
        try:
            held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return

held = []
loader = SplitDataLoader(sys.argv[1], io="pread")
assert loader[0] == b"0"
assert loader[7] == b"7"
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
use_up()
# What the readers hold they give up for what is asked for.
assert [loader[n] for n in range(20)] == [b"%d" % n for n in range(20)]
for pool in loader._snapshot._pools.values():
    pool.drop_all()
use_up()
try:
    loader[30]
except OSError as error:
    print(error)
"""


@linux
def test_used_up_descriptors_are_counted_in_the_message(tmp_path: Path) -> None:
    write(tmp_path / "data")

    done = run_python("-c", _USED_UP, tmp_path / "data")

    assert done.stderr == ""
    assert "may have 64 descriptors, and all are in use, 0 of them by open datasets, which need 4" in done.stdout
