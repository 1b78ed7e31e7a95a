"""Bytes by number in shared memory: seen by all desks at once, gone with the last process, never wrong.

owner ── RecordMemory ──pickled──> other processes: desk
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from splitdata.process.shared import record_memory
from splitdata.process.shared.record_memory import RecordMemory
from splitdata.process.shared.record_store import RecordDesk
from tests.command import ROOT

needs_memory_files = pytest.mark.skipif(not record_memory.has_memory_files(), reason="needs memory files and /proc")
KINDS = [pytest.param(True, marks=needs_memory_files, id="shared"), pytest.param(False, id="own")]


def memory_of(
    *, is_shared: bool, num_records: int = 100, num_writers: int = 4, max_bytes: int = 1 << 20
) -> RecordMemory:
    return RecordMemory(num_records=num_records, num_writers=num_writers, max_bytes=max_bytes, is_shared=is_shared)


def read(desk: RecordDesk, *records: int) -> list[bytes | None]:
    return [None if data is None else bytes(data) for data in desk.read(np.array(records, np.int64))]


@pytest.mark.parametrize("is_shared", KINDS)
def test_entry_is_seen_by_all_desks_at_once(is_shared: bool) -> None:
    memory = memory_of(is_shared=is_shared)
    desks = [memory.attach(number) for number in range(3)]
    for desk in desks:
        desk.begin(0)

    for number, desk in enumerate(desks):
        assert desk.add(number, b"entry %d" % number)
        assert desk.add(10 + number, b"")

    for desk in desks:
        assert read(desk, 2, 0, 50, 1, 0, 11) == [b"entry 2", b"entry 0", None, b"entry 1", b"entry 0", b""]
        assert desk.unknown(np.array([0, 3, 12, 99], np.int64)).tolist() == [3, 99]
        assert desk.num_damaged == 0


@pytest.mark.parametrize("is_shared", KINDS)
def test_next_generation_begins_empty_and_the_one_before_is_gone(is_shared: bool) -> None:
    memory = memory_of(is_shared=is_shared)
    ahead, behind = memory.attach(0), memory.attach(1)
    for desk in (ahead, behind):
        desk.begin(5)
    assert behind.add(7, b"old")
    ahead.begin(10)

    assert read(ahead, 7) == [None]
    assert ahead.add(7, b"new")
    # Who lags behind neither finds anything nor does harm.
    assert read(behind, 7) == [None]
    assert behind.add(7, b"late")
    assert behind.add(8, b"late")
    assert read(ahead, 7, 8) == [b"new", None]
    behind.begin(10)
    assert read(behind, 7, 8) == [b"new", None]
    assert behind.add(8, b"eight")
    assert read(ahead, 8) == [b"eight"]
    assert (ahead.num_damaged, behind.num_damaged) == (0, 0)


@pytest.mark.parametrize("is_shared", KINDS)
def test_entries_beyond_the_limit_are_not_kept(is_shared: bool) -> None:
    memory = memory_of(is_shared=is_shared, max_bytes=1000)
    desks = [memory.attach(number) for number in range(2)]
    for desk in desks:
        desk.begin(0)

    kept = [desks[number % 2].add(number, bytes(200)) for number in range(10)]

    assert 3 <= sum(kept) <= 5
    assert kept == sorted(kept, reverse=True)
    assert [data is not None for data in read(desks[0], *range(10))] == kept
    # Another generation has all the room again.
    desks[0].begin(1)
    assert desks[0].add(0, bytes(200))


@pytest.mark.parametrize("is_shared", KINDS)
def test_discarded_entry_is_gone_until_it_is_added_again(is_shared: bool) -> None:
    desk = memory_of(is_shared=is_shared).attach(0)
    desk.begin(0)
    desk.add(3, b"x")
    desk.discard(3)

    assert read(desk, 3) == [None]
    assert desk.num_damaged == 1
    assert desk.add(3, b"y")
    assert read(desk, 3) == [b"y"]


@needs_memory_files
@pytest.mark.parametrize("place", range(0, 40, 3))
def test_damaged_entry_is_not_there_and_counted(place: int) -> None:
    desk = memory_of(is_shared=True).attach(0)
    desk.begin(0)
    desk.add(0, b"filler" * 5)
    desk.add(1, b"precious")
    offset = 64 + place
    data_file = desk._data_file  # type: ignore[attr-defined]
    byte = os.pread(data_file, 1, offset)
    os.pwrite(data_file, bytes([byte[0] ^ 4]), offset)

    assert read(desk, 1) == [None]
    assert desk.num_damaged == 1
    assert read(desk, 0) == [b"filler" * 5]


@needs_memory_files
def test_writer_that_comes_again_goes_on_behind_its_entries() -> None:
    memory = memory_of(is_shared=True)
    first = memory.attach(1)
    first.begin(0)
    first.add(1, b"one")
    first.close()
    second = memory.attach(1)
    second.begin(0)
    second.add(2, b"two")

    assert read(second, 1, 2) == [b"one", b"two"]


@needs_memory_files
@pytest.mark.parametrize("num_records", [0, 1, 511, 512, 513])
def test_table_of_any_length_is_cleared_whole(num_records: int) -> None:
    desk = memory_of(is_shared=True, num_records=num_records).attach(0)
    for generation in range(3):
        desk.begin(generation)
        assert desk.unknown(np.arange(num_records)).tolist() == list(range(num_records))
        for record in range(num_records):
            desk.add(record, b"%d" % record)
        assert read(desk, *range(num_records)) == [b"%d" % record for record in range(num_records)]


@needs_memory_files
def test_threads_may_begin_a_generation_at_once() -> None:
    memory = memory_of(is_shared=True, num_writers=8)
    desks = [memory.attach(number) for number in range(8)]
    for generation in range(20):
        barrier = threading.Barrier(len(desks))

        def work(number: int, generation: int = generation, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            desks[number].begin(generation)
            desks[number].add(number, b"%d of %d" % (number, generation))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(desks))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert read(desks[3], *range(8)) == [b"%d of %d" % (number, generation) for number in range(8)]


WORKER = """
import pickle, sys
import numpy as np
memory = pickle.loads(bytes.fromhex(sys.argv[1]))
desk = memory.attach(int(sys.argv[2]))
desk.begin(0)
print([bytes(data) for data in desk.read(np.array([0]))], flush=True)
desk.add(int(sys.argv[2]), b"from a process")
print("added", flush=True)
sys.stdin.read()
"""


def start_worker(memory: RecordMemory, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, pickle.dumps(memory).hex(), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd=ROOT,
    )


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@needs_memory_files
def test_processes_share_entries_and_a_killed_one_takes_none_with_it() -> None:
    memory = memory_of(is_shared=True)
    desk = memory.attach(0)
    desk.begin(0)
    desk.add(0, b"from the owner")
    with start_worker(memory, 1) as process:
        assert next_line(process) == str([b"from the owner"])
        assert next_line(process) == "added"
        assert read(desk, 1) == [b"from a process"]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert read(desk, 0, 1) == [b"from the owner", b"from a process"]


@needs_memory_files
def test_memory_of_another_process_by_the_same_number_is_not_taken() -> None:
    memory = memory_of(is_shared=True)
    copy: RecordMemory = pickle.loads(pickle.dumps(memory))
    data = (memory._files or (0, 0))[1]
    other = os.open(os.devnull, os.O_RDWR)
    os.dup2(other, data)
    os.close(other)

    desk = copy.attach(0)
    desk.begin(0)
    assert desk.add(1, b"mine")
    assert type(desk).__name__ == "OwnDesk"
    assert read(desk, 1) == [b"mine"]


@needs_memory_files
def test_closed_memory_holds_no_descriptor_and_no_page() -> None:
    folder = Path("/proc/self/fd")
    gc.collect()
    before = len(list(folder.iterdir()))
    memory = memory_of(is_shared=True)
    desk = memory.attach(0)
    desk.begin(0)
    desk.add(1, bytes(1000))
    desk.close()
    memory.close()
    memory.close()
    del memory, desk
    gc.collect()

    assert len(list(folder.iterdir())) == before


@needs_memory_files
def test_memory_that_cannot_be_mapped_is_each_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*arguments: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    memory = memory_of(is_shared=True)
    monkeypatch.setattr("splitdata.process.shared.record_store.mmap.mmap", refuses)
    desks = [memory.attach(number) for number in range(2)]
    for desk in desks:
        desk.begin(0)
    desks[0].add(1, b"x")

    assert read(desks[1], 1) == [b"x"]
