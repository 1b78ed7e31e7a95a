"""Several processes at one dataset: writers beside writers, readers beside writers, and some of them killed.

writer w writes b"w:commit:number" ── so every record says where it belongs
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, get_context
from pathlib import Path

import numpy as np
import pytest

from splitdata import ManifestError, SplitDataLoader, SplitWriter, verify
from tests.command import run_python
from tests.faults.file_faults import fast_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals")

WRITERS = 8
COMMITS = 12


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


def records_of(writer: int, commit: int) -> list[bytes]:
    """Return what one writer puts into one commit: 1 to 5 records."""
    return [f"{writer}:{commit}:{number}".encode() for number in range(1 + (writer + commit) % 5)]


# Writes commits and prints the positions of each: "writer commit start stop".
WRITER = """
import sys
from splitdata import SplitWriter
from tests.faults.test_concurrent import records_of

path, number, commits, per_run = sys.argv[1], *map(int, sys.argv[2:5])
commit = 0
while commit < commits:
    with SplitWriter(path, bins=2, mode="append", durability="none") as writer:
        for _ in range(per_run):
            writer.write_many(records_of(number, commit))
            positions = writer.commit()
            print(number, commit, positions.start, positions.stop, flush=True)
            commit += 1
"""


def start_writer(path: Path, number: int, commits: int, per_run: int) -> subprocess.Popen[str]:
    """Start one writer."""
    arguments = [sys.executable, "-W", "error", "-c", WRITER, str(path), str(number), str(commits), str(per_run)]
    root = Path(__file__).parents[2]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root)


def acknowledged(output: str) -> dict[tuple[int, int], range]:
    """Return the positions of each commit that a writer has reported, a half line left out."""
    whole = output[: output.rfind("\n") + 1]
    numbers = [tuple(map(int, line.split())) for line in whole.splitlines()]
    return {(writer, commit): range(start, stop) for writer, commit, start, stop in numbers}


def check_commits(path: Path, commits: dict[tuple[int, int], range], *, complete: bool) -> None:
    """Every acknowledged commit must stand at its positions, and, with `complete`, nothing else be there."""
    with SplitDataLoader(path) as loader:
        records = list(loader)
        assert loader[range(len(loader))] == records
    for (writer, commit), positions in commits.items():
        assert records[positions.start : positions.stop] == records_of(writer, commit)
    assert len(set(records)) == len(records)
    if complete:
        assert sorted(place for positions in commits.values() for place in positions) == list(range(len(records)))


class Follower(threading.Thread):
    """Refreshes a reader in a loop: what it sees must only ever grow, and never change."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.failure: BaseException | None = None
        self.refreshed = 0
        self._path = path
        self._done = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        try:
            with SplitDataLoader(self._path) as loader:
                seen = list(loader)
                while not self._done.is_set():
                    self.refreshed += loader.refresh()
                    now = list(loader)
                    assert now[: len(seen)] == seen
                    self._check_whole_commits(now)
                    seen = now
        except BaseException as error:
            self.failure = error

    @staticmethod
    def _check_whole_commits(records: list[bytes]) -> None:
        place = 0
        while place < len(records):
            writer, commit, _ = map(int, records[place].split(b":"))
            expected = records_of(writer, commit)
            assert records[place : place + len(expected)] == expected
            place += len(expected)

    def stop(self) -> None:
        """End the thread and raise what it has met."""
        self._done.set()
        self.join(60)
        assert not self.is_alive()
        if self.failure is not None:
            raise self.failure


@pytest.mark.parametrize("per_run", [COMMITS, 3])
def test_appending_processes_lose_nothing_and_readers_see_whole_commits(folder: Path, per_run: int) -> None:
    path = folder / "data"
    with SplitWriter(path, bins=2) as writer:
        writer.write_many(records_of(99, 0))
    commits = {(99, 0): range(len(records_of(99, 0)))}
    writers = [start_writer(path, number, COMMITS, per_run) for number in range(WRITERS)]
    follower = Follower(path)
    follower.start()
    for process in writers:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        commits |= acknowledged(output)
    follower.stop()

    assert len(commits) == WRITERS * COMMITS + 1
    check_commits(path, commits, complete=True)
    assert follower.refreshed > 1
    assert verify(path).is_intact


def test_first_commits_of_several_processes_at_once_all_count(folder: Path) -> None:
    for attempt in range(3):
        path = folder / str(attempt)
        writers = [start_writer(path, number, 1, 1) for number in range(4)]
        commits: dict[tuple[int, int], range] = {}
        for process in writers:
            output, errors = process.communicate()
            assert process.returncode == 0, errors
            commits |= acknowledged(output)
        check_commits(path, commits, complete=True)


def test_killed_writers_lose_nothing_of_theirs_or_others(folder: Path) -> None:
    path = folder / "data"
    commits: dict[tuple[int, int], range] = {}
    victims = [start_writer(path, number, 10_000, 1 + number) for number in range(4)]
    steady = [start_writer(path, number, COMMITS, 3) for number in (10, 11)]
    outputs = []
    for number, victim in enumerate(victims):
        assert victim.stdout is not None
        # After a number of commits of its own, at whatever it is doing then.
        lines = [victim.stdout.readline() for _ in range(5 + 7 * number)]
        victim.send_signal(signal.SIGKILL)
        outputs.append("".join(lines) + victim.communicate()[0])
        assert victim.returncode == -signal.SIGKILL
    for process in steady:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        outputs.append(output)
    for output in outputs:
        commits |= acknowledged(output)

    assert len(commits) >= 2 * COMMITS
    check_commits(path, commits, complete=False)
    with SplitWriter(path, mode="append") as writer:
        writer.write(b"after")
    assert SplitDataLoader(path)[-1] == b"after"


# -- readers ---------------------------------------------------------------------------------------


def write_numbers(path: Path, count: int = 400) -> list[bytes]:
    """Write records that say their position."""
    records = [b"%d:" % number + bytes(number % 97) for number in range(count)]
    with SplitWriter(path, bins=7, durability="none") as writer:
        writer.write_many(records)
    return records


def read_at_random(loader: SplitDataLoader, records: list[bytes], seed: int, count: int = 3000) -> bool:
    """Read random positions; True if all were right."""
    positions = np.random.default_rng(seed).integers(0, len(records), count).tolist()
    return all(loader[position] == records[position] for position in positions)


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_reader_works_in_parent_and_children_after_fork(folder: Path, io: str) -> None:
    records = write_numbers(folder / "data")
    loader = SplitDataLoader(folder / "data", io=io)  # type: ignore[arg-type]
    assert read_at_random(loader, records, 0, 50)
    children = []
    for seed in range(4):
        child = os.fork()
        if child == 0:
            os._exit(0 if read_at_random(loader, records, seed) and list(loader) == records else 1)
        children.append(child)
    assert read_at_random(loader, records, 99)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    loader.close()


def _digest_of(loader: SplitDataLoader) -> tuple[int, str, bytes]:
    return len(loader), loader.fingerprint, b"".join(loader)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_pickled_reader_shows_its_snapshot_in_another_process(folder: Path, method: str) -> None:
    path = folder / "data"
    records = write_numbers(path)
    writer = SplitWriter(path, mode="append", bins=2, durability="none")
    writer.write(b"first")
    writer.commit()
    with SplitDataLoader(path) as loader:
        expected = (len(records) + 1, loader.fingerprint, b"".join([*records, b"first"]))
        # So many that the manifest of the snapshot is gone, and its last segment is longer.
        for number in range(12):
            writer.write(b"%d" % number)
            writer.commit()
        writer.close()
        with get_context(method).Pool(1) as pool:
            assert pool.apply(_digest_of, (loader,)) == expected
        if method == "forkserver":
            # It would serve until this process ends.
            forkserver._forkserver._stop()  # type: ignore[attr-defined]
        assert _digest_of(loader) == expected


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_threads_read_one_loader_with_few_descriptors(folder: Path, io: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.dataset.segments.open_files.descriptor_limit", lambda: 4)
    records = write_numbers(folder / "data")
    with SplitDataLoader(folder / "data", io=io) as loader:  # type: ignore[arg-type]
        right: list[bool] = []
        threads = [
            threading.Thread(target=lambda seed=seed: right.append(read_at_random(loader, records, seed, 1500)))
            for seed in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert right == [True] * 6


def test_threads_read_while_another_refreshes(folder: Path) -> None:
    path = folder / "data"
    records = write_numbers(path, 100)
    with SplitDataLoader(path) as loader:
        right: list[bool] = []
        stop = threading.Event()

        def read() -> None:
            seed = 0
            while not stop.is_set():
                count = len(loader)
                right.append(read_at_random(loader, records[:count], seed, 50))
                seed += 1

        readers = [threading.Thread(target=read) for _ in range(3)]
        for thread in readers:
            thread.start()
        try:
            for number in range(15):
                records.append(b"added %d" % number)
                with SplitWriter(path, mode="append", durability="none") as writer:
                    writer.write(records[-1])
                loader.refresh()
        finally:
            stop.set()
            for thread in readers:
                thread.join()

    assert all(right)


MANY_BINS = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from splitdata import SplitDataLoader, SplitWriter, verify

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024

path, bins = sys.argv[1], int(sys.argv[2])
before = peak()
def record(number): return b"%d:" % number * 20
with SplitWriter(path, bins=bins, durability="none") as writer:
    writer.write_many(map(record, range(3 * bins)))
for io in ("mmap", "pread"):
    with SplitDataLoader(path, io=io) as loader:
        assert len(loader) == 3 * bins
        for start in range(2000):
            number = start * 7919 % (3 * bins)
            assert loader[number] == record(number)
        positions = [number * 104729 % (3 * bins) for number in range(2000)]
        assert loader[positions] == [record(number) for number in positions]
        assert sum(1 for _ in loader.iterate_binwise(shuffle=True, seed=1)) == 3 * bins
for number in range(40):
    with SplitWriter(path, bins=2, mode="append", durability="none") as writer:
        writer.write_many(map(record, range(3 * bins + 3 * number, 3 * bins + 3 * number + 3)))
for io in ("mmap", "pread"):
    with SplitDataLoader(path, io=io) as loader:
        assert all(found == record(number) for number, found in enumerate(loader))
report = verify(path)
assert report.is_intact, report.findings[:3]
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux reports it")
def test_ten_thousand_bins_and_forty_segments_need_few_descriptors_and_little_memory(folder: Path) -> None:
    ended = run_python("-c", MANY_BINS, folder / "data", "10000")

    assert ended.returncode == 0, ended.stderr[-2000:]
    # MiB; what is collected before it is written is 64 MiB, and lies there once more in frames.
    assert int(ended.stdout) < 300


# -- snapshots -------------------------------------------------------------------------------------


def test_reader_keeps_its_snapshot_while_writers_append(folder: Path) -> None:
    path = folder / "data"
    records = write_numbers(path)
    with SplitDataLoader(path) as loader, SplitDataLoader(path) as pinned:
        walk = iter(loader)
        first = next(walk)
        for number in range(20):
            with SplitWriter(path, mode="append", durability="none") as writer:
                writer.write(b"new %d" % number)
            assert loader.refresh()
            assert not loader.refresh()
        assert [first, *walk] == records
        assert list(pinned) == records
        assert len(loader) == len(records) + 20


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no list of descriptors on this system")
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_refreshing_and_dropping_readers_leaves_no_files_to_the_garbage_collector(folder: Path, io: str) -> None:
    path = folder / "data"
    write_numbers(path)
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    gc.disable()
    try:
        loader = SplitDataLoader(path, io=io)  # type: ignore[arg-type]
        for number in range(20):
            with SplitWriter(path, mode="append", durability="none") as writer:
                writer.write(b"new %d" % number)
            loader.refresh()
            assert len(list(loader)) == len(loader)
        del loader
        assert len(list(Path("/proc/self/fd").iterdir())) == before
    finally:
        gc.enable()


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_reader_of_an_overwritten_dataset_reads_all_of_it_to_the_end(folder: Path, io: str) -> None:
    path = folder / "data"
    records = write_numbers(path)
    loader = SplitDataLoader(path, io=io)  # type: ignore[arg-type]
    assert loader[0] == records[0]
    with SplitWriter(path, mode="overwrite") as writer:
        writer.write(b"another dataset")
    # Bins that it had not opened too: its manifest is locked, and what that lists stays.
    assert list(loader) == records
    with pytest.raises(ManifestError, match="replaced by another dataset; open it again"):
        loader.refresh()
    loader.close()
    assert list(SplitDataLoader(path)) == [b"another dataset"]


def test_views_stay_valid_after_close_and_after_their_file_was_dropped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.dataset.segments.open_files.descriptor_limit", lambda: 4)
    records = write_numbers(folder / "data")
    loader = SplitDataLoader(folder / "data", io="mmap")
    views = [loader.view(position) for position in range(len(loader))]
    walked = list(loader.iterate_binwise(as_views=True, with_positions=True))
    loader.close()
    with SplitWriter(folder / "data", mode="overwrite") as writer:
        writer.write(b"another dataset")

    assert views == records
    assert all(view == records[position] for position, view in walked)
    assert all(view.readonly for view in views)
