"""The cache on a disk that fails, fills up or rots, and in a process that is killed: the samples are always right.

    records in memory ──> loader with a cache ──every operation of the cache, in turn, fails or kills──> samples

What is counted is how often a sample was made: what was committed is never made again.
"""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from splitdata import Cache, DistributedLoader, SplitWriter, describe_cache, verify
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.loader.cache import cache_writer
from splitdata.loader.cache.cache_entry import EntryCodec
from splitdata.loader.cache.cache_reader import CacheReader
from splitdata.storage import files
from tests.faults.file_faults import fast_folder, intercepted
from tests.faults.small_process import run_until_killed
from tests.faults.test_io_errors import NAMES, Failing
from tests.loader.counting import Counting, calls, expected_sample, samples_of
from tests.loader.grouped import grouped

NUM_RECORDS = 12
FAULT_POINTS = 40
KILL_POINTS = 30


class Numbers:
    """Records that no disk is asked for."""

    def __init__(self, count: int = NUM_RECORDS) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:
        return index.to_bytes(8, "little")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


def loader_of(folder: Path, count: int = NUM_RECORDS, **options: Any) -> DistributedLoader:
    settings = {name: options.pop(name) for name in ("max_bytes", "refresh_every") if name in options}
    cache = Cache(folder / "cache", version="1", **settings)
    transform = options.pop("transform", None) or Counting(folder / "log")
    return DistributedLoader(Numbers(count), **grouped(batch_size=4, transform=transform, cache=cache, **options))


def run_epochs(folder: Path, num_epochs: int, fault: Failing | None = None, **options: Any) -> None:
    """Run epochs, with a fault from the first on, and compare each sample with what it must be."""
    refresh_every = options.get("refresh_every", 1 << 30)
    with loader_of(folder, **options) as loader, intercepted(fault, NAMES) if fault else nullcontext():
        for epoch in range(num_epochs):
            first = epoch - epoch % refresh_every
            assert samples_of(loader) == [expected_sample(number, first) for number in range(NUM_RECORDS)]


def committed(folder: Path, count: int = NUM_RECORDS) -> set[int]:
    """Return the records of which the newest generation has an entry."""
    cache = CacheFolder(folder / "cache")
    found: set[int] = set()
    # The newest is the last.
    for generation in cache.looks():
        reader = CacheReader(generation, EntryCodec((), copy=False), count)
        reader.refresh()
        found = set(range(count)) - set(reader.unknown(_every(count)).tolist())
        reader.close()
    return found


def _every(count: int) -> Any:
    import numpy as np

    return np.arange(count)


# -- failing operations --------------------------------------------------------------------------


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_samples_are_right_whichever_operation_fails(folder: Path, code: int, sticky: bool) -> None:
    count = Failing(1 << 30)
    run_epochs(folder, 3, count, refresh_every=2)
    points = sorted({point * count.count // FAULT_POINTS for point in range(FAULT_POINTS)})
    for number, point in enumerate(points):
        place = folder / f"{number}"
        place.mkdir()
        handler = Failing(point, code, sticky=sticky)
        run_epochs(place, 3, handler, refresh_every=2)
        assert handler.failed
        # And all is well once the disk is.
        run_epochs(place, 3, refresh_every=2)
        run_epochs(place, 3, refresh_every=2)


def test_full_disk_is_one_warning_and_training_goes_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def full(name: str, real: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> object:
        if name in ("write_at", "write_gathered") and is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **keywords)

    is_full = False
    log = folder / "log"
    with intercepted(full, ("write_at", "write_gathered")), loader_of(folder, shuffle="global") as loader:
        iterator = iter(loader)
        kept = [number for number, _ in samples_of([next(iterator)])]
        loader._runtime._workers._maker._cached.commit()  # type: ignore[union-attr]
        is_full = True
        samples_of(iterator)
        for _ in range(3):
            samples_of(loader)
    made = calls(log)
    assert {number for number, count in made.items() if count == 1} == set(kept)
    assert set(made.values()) == {1, 4}
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "takes no more samples" in warnings[0]
    assert "No space left on device" in warnings[0]


def test_max_bytes_holds_and_is_one_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Large(Counting):
        def __call__(self, record: bytes, rng: Any) -> dict[str, Any]:
            return super().__call__(record, rng) | {"more": rng.bytes(10_000)}

    limit = 80_000
    with loader_of(folder, max_bytes=limit, transform=Large(folder / "log")) as loader:
        for _ in range(3):
            iterator = iter(loader)
            for batch in iterator:
                assert len(samples_of([batch])) == 4
                loader._runtime._workers._maker._cached.commit()  # type: ignore[union-attr]
                assert CacheFolder(folder / "cache").num_bytes() <= limit
    made = calls(folder / "log")
    # Four samples take 40 kB, so one batch is kept, and of the next what there is room for.
    assert [count for _, count in sorted(made.items())] == [1] * 6 + [3] * 6
    assert [f"of max_bytes={limit} bytes are taken" in record.message for record in caplog.records] == [True]


def test_older_generation_goes_before_nothing_more_is_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_epochs(folder, 1, refresh_every=1)
    size = CacheFolder(folder / "cache").num_bytes()

    run_epochs(folder, 3, refresh_every=1, max_bytes=size + 30_000)

    assert not caplog.records
    assert committed(folder) == set(range(NUM_RECORDS))


def test_disk_is_not_filled_to_the_last_byte(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "free_bytes", lambda path, **_: (10_000_000, 1_000_000_001))

    run_epochs(folder, 2)

    assert set(calls(folder / "log").values()) == {2}


def test_small_disk_fills_up_and_training_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "splitdata-test", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("mounting a small disk needs root")
    except FileNotFoundError:
        pytest.skip("there is no mount here")

    class Large(Counting):
        def __call__(self, record: bytes, rng: Any) -> dict[str, Any]:
            return super().__call__(record, rng) | {"more": rng.bytes(20_000)}

    try:
        transform = Large(tmp_path / "log")
        for num_workers in (0, 2):
            with loader_of(folder, 40, transform=transform, num_workers=num_workers, kind="thread") as loader:
                for _ in range(3):
                    assert samples_of(loader) == [expected_sample(number, 0) for number in range(40)]
        assert len([record for record in caplog.records if "takes no more samples" in record.message]) == 2
        assert verify(folder / "cache").is_intact
    finally:
        subprocess.run(["umount", str(folder)], check=True)


# -- kills ---------------------------------------------------------------------------------------


def three_epochs(folder: Path) -> list[object]:
    run_epochs(folder, 3, refresh_every=2)
    return []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.usefixtures("small_process")
def test_kill_at_any_byte_costs_nothing_that_was_committed(folder: Path) -> None:
    whole = folder / "whole"
    whole.mkdir()
    exit_code, _, spent = run_until_killed(partial(three_epochs, whole), None)
    assert exit_code == 0
    for number in range(KILL_POINTS):
        place = folder / f"{number}"
        place.mkdir()
        point = 1 + number * (spent - 1) // KILL_POINTS
        assert run_until_killed(partial(three_epochs, place), point).exit_code == -signal.SIGKILL
        kept = committed(place)
        newest = max([epoch for epoch, _ in CacheFolder(place / "cache").generations()], default=0)
        (place / "log").unlink(missing_ok=True)
        with loader_of(place, refresh_every=2) as loader:
            loader.set_epoch(newest)
            assert samples_of(loader) == [expected_sample(number, newest) for number in range(NUM_RECORDS)]
        assert calls(place / "log") == Counter(set(range(NUM_RECORDS)) - kept)
        assert committed(place) == set(range(NUM_RECORDS))
        findings = verify(place / "cache").findings
        # The header of an open segment's index may be torn: nothing reads it.
        assert {finding.problem for finding in findings} <= {"the header of the index is damaged"}


PROGRAM = """
import sys
from pathlib import Path
from tests.faults.test_cache_faults import loader_of
from tests.loader.counting import Counting, samples_of

folder, num_workers, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
transform = Counting(folder / "log", seconds=0.004)
with loader_of(folder, 200, transform=transform, shuffle="global", num_workers=num_workers, kind=kind) as loader:
    for _ in range(2):
        samples_of(loader)
"""


def kill_and_restart(folder: Path, draw: random.Random, num_workers: int, kind: str, num_kills: int) -> None:
    """Kill a program at random moments until it is through; every restart makes what is missing, and no more."""
    program = [sys.executable, "-c", PROGRAM, str(folder), str(num_workers), kind]
    log = folder / "log"
    for attempt in range(num_kills + 1):
        kept = committed(folder, 200)
        before = calls(log)
        process = subprocess.Popen(program)
        try:
            if attempt < num_kills:
                # Counted in samples, so that a slow machine is killed in the midst of it as well.
                target = sum(before.values()) + draw.randint(1, 60)
                while sum(calls(log).values()) < target and process.poll() is None:
                    time.sleep(0.01)
                process.kill()
            assert process.wait(60) in (0, -signal.SIGKILL)
        finally:
            process.kill()
        assert not set(calls(log) - before) & kept
    assert committed(folder, 200) == set(range(200))
    assert set(calls(log)) == set(range(200))


@pytest.mark.parametrize(("num_workers", "kind"), [(0, "process"), (2, "process")])
def test_killed_run_goes_on_with_what_was_committed(folder: Path, num_workers: int, kind: str) -> None:
    kill_and_restart(folder, random.Random(num_workers), num_workers, kind, num_kills=2 - num_workers // 2)


@pytest.mark.soak
@pytest.mark.parametrize(("num_workers", "kind"), [(0, "process"), (2, "thread"), (3, "process")])
def test_killed_run_goes_on_with_what_was_committed_many_times(folder: Path, num_workers: int, kind: str) -> None:
    for number in range(20):
        place = folder / f"{number}"
        place.mkdir()
        kill_and_restart(place, random.Random(number), num_workers, kind, num_kills=6)


# -- damage --------------------------------------------------------------------------------------


def bins_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("cache/generation.*/writer.*/segments/*/*.bin"))


def test_damaged_entries_are_made_again_once_and_counted(folder: Path) -> None:
    run_epochs(folder, 1)
    (path,) = bins_of(folder)
    whole = path.read_bytes()
    draw = random.Random(5)
    for _ in range(40):
        data = bytearray(whole)
        place = draw.randrange(len(data))
        data[place] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        (folder / "log").unlink(missing_ok=True)
        with loader_of(folder) as loader:
            for _ in range(2):
                assert samples_of(loader) == [expected_sample(number, 0) for number in range(NUM_RECORDS)]
            cache = loader.stats().cache
        made = calls(folder / "log")
        assert set(made.values()) <= {1}
        assert cache is not None
        assert cache.num_damaged >= len(made)
        # The next run finds the new entry, not the damaged one.
        run_epochs(folder, 1)
        assert calls(folder / "log") == made


@pytest.mark.parametrize("name", ["manifest", "index", "bin"])
def test_any_damaged_file_costs_samples_at_most(folder: Path, name: str) -> None:
    draw = random.Random(name)
    for number in range(25):
        place = folder / f"{number}"
        place.mkdir()
        run_epochs(place, 1)
        pattern = {"manifest": "manifest.*", "index": "segments/*/index", "bin": "segments/*/*.bin"}[name]
        for path in (place / "cache").glob(f"generation.*/writer.*/{pattern}"):
            data = bytearray(path.read_bytes())
            if number % 3 == 0:
                del data[draw.randrange(len(data)) :]
            else:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            path.write_bytes(data)
        run_epochs(place, 2)
        (place / "log").unlink(missing_ok=True)
        run_epochs(place, 1)
        assert not calls(place / "log")


def test_entry_of_another_record_is_never_taken(folder: Path) -> None:
    """A forged index points to entries of other records, all checksums right."""
    run_epochs(folder, 1)
    (path,) = (folder / "cache").glob("generation.*/writer.0000")
    import numpy as np

    from splitdata.loader.cache.cache_entry import EntryIndex, encode_index

    codec = EntryCodec((), copy=False)
    with SplitWriter(path, mode="append", durability="none") as writer:
        for number in range(NUM_RECORDS):
            writer.write(codec.encode(number, {"number": 99, "noise": b"", "image": np.zeros((2, 3), np.uint8)}))
        records = np.roll(np.arange(NUM_RECORDS), 1)
        writer.write(encode_index(EntryIndex(records, np.empty(0, np.int64))))
    (folder / "log").unlink()

    run_epochs(folder, 1)
    assert calls(folder / "log") == Counter(range(NUM_RECORDS))


def test_index_that_is_missing_or_forged_costs_time_only(folder: Path) -> None:
    """Records behind the last index, and an index that claims more than there is before it."""
    import numpy as np

    from splitdata.loader.cache.cache_entry import EntryIndex, encode_index

    run_epochs(folder, 1)
    (path,) = (folder / "cache").glob("generation.*/writer.0000")
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(encode_index(EntryIndex(np.arange(1000), np.array([-5, 1 << 60]))))
        writer.write(encode_index(EntryIndex(np.array([-3]), np.empty(0, np.int64))))
        writer.write(b"no entry at all")
    (folder / "log").unlink()

    run_epochs(folder, 1)
    assert len(calls(folder / "log")) <= 1


# -- time ----------------------------------------------------------------------------------------


def test_entries_are_committed_while_nobody_asks_for_more(folder: Path) -> None:
    with loader_of(folder, 40) as loader:
        first = samples_of([next(iter(loader))])
        while committed(folder, 40) != {number for number, _ in first}:
            time.sleep(0.01)
        assert calls(folder / "log") == Counter(number for number, _ in first)


def test_entries_are_committed_while_a_long_batch_is_made(folder: Path) -> None:
    class Waiting(Counting):
        def __call__(self, record: bytes, rng: Any) -> dict[str, Any]:
            while record[0] == 2 and not {0, 1} <= committed(folder):
                time.sleep(0.01)
            return super().__call__(record, rng)

    run_epochs(folder, 1, transform=Waiting(folder / "log"))


def test_commits_are_few(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each half second, or so many bytes: not one for each batch."""
    for name in ("_COMMIT_SECONDS", "_LATE_SECONDS"):
        monkeypatch.setattr(cache_writer, name, 3600.0)
    with loader_of(folder, 400) as loader:
        samples_of(loader)
    described = describe_cache(folder / "cache")
    assert described is not None
    (path,) = (folder / "cache").glob("generation.*/writer.0000")
    assert len(list(path.glob("manifest.*"))) <= 2


def test_generation_that_cannot_be_had_is_one_warning(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program is removing it, and is stopped in the midst of that; and a stranger's file comes later."""
    monkeypatch.setattr("splitdata.dataset.cache.cache_generation._MAX_TRIES", 3)
    with loader_of(folder, refresh_every=1) as loader:
        samples_of(loader)
        key = next((folder / "cache").glob("generation.*/key.json")).read_text().replace('"epoch": 0', '"epoch": 1')
        lineage = next((folder / "cache").iterdir()).name.split(".")[2]
        held = folder / "cache" / f"generation.0000000001.{lineage}"
        held.mkdir()
        (held / "key.json").write_text(key)
        descriptor = files.open_existing(str(held / "key.json"), writable=True)
        assert files.lock(descriptor)
        assert samples_of(loader) == [expected_sample(number, 1) for number in range(NUM_RECORDS)]
        files.close(descriptor)
        (folder / "cache" / "thesis.tex").write_text("precious")
        assert samples_of(loader) == [expected_sample(number, 2) for number in range(NUM_RECORDS)]
        (folder / "cache" / "thesis.tex").unlink()
        assert samples_of(loader) == [expected_sample(number, 3) for number in range(NUM_RECORDS)]
    assert ["cannot be used" in record.message for record in caplog.records] == [True]
    assert committed(folder) == set(range(NUM_RECORDS))
