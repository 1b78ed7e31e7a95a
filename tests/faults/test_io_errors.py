"""The disk fails: at every operation, once or from then on, with an error or by doing less than asked.

operation k of a write fails ── OSError, the writer is done ── what was acknowledged is there, whole
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from splitdata import ClosedError, SplitDataError, SplitDataLoader, SplitWriter
from splitdata.storage import files
from tests.command import ROOT
from tests.faults.file_faults import CHANGING, READING, fast_folder, intercepted
from tests.faults.kill_workloads import PLAIN, TEXTS, Workload, workloads
from tests.faults.test_kill import read_all

NAMES = (*CHANGING, *READING)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


class Failing:
    """A handler that lets operation `number` fail, and with `sticky` all that follow.

    Attributes:
        count: Operations so far.
    """

    def __init__(self, number: int, code: int = errno.EIO, *, sticky: bool = False) -> None:
        self.count = 0
        self.failed: list[str] = []
        self._number = number
        self._code = code
        self._sticky = sticky
        self._lock = threading.Lock()

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        """Fail, or do the operation."""
        with self._lock:
            number, self.count = self.count, self.count + 1
        if number == self._number or (self._sticky and number > self._number):
            self.failed.append(name)
            raise OSError(self._code, os.strerror(self._code))
        return None if name.startswith("sync_") else real(*arguments, **keywords)


def run_with_fault(workload: Workload, path: Path, handler: Failing) -> tuple[int, BaseException | None]:
    """Run a workload; returns how many commits were acknowledged, and the error that ended it."""
    acknowledged = 0
    with pytest.MonkeyPatch.context() as patch:
        workload.patch(patch)
        with intercepted(handler, NAMES):
            try:
                for _ in workload.run(path):
                    acknowledged += 1
            except BaseException as error:
                return acknowledged, error
    return acknowledged, None


def open_descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0


# Each operation of each workload fails in a normal run: one that passes at every second, one that stays at the others.
@pytest.mark.parametrize(
    ("code", "sticky", "first", "step"),
    [
        pytest.param(errno.EIO, False, 0, 2, id="EIO-once"),
        pytest.param(errno.ENOSPC, True, 1, 2, id="ENOSPC-sticky"),
        *(
            pytest.param(
                code,
                sticky,
                0,
                1,
                id=f"{errno.errorcode[code]}-{'sticky' if sticky else 'once'}-all",
                marks=pytest.mark.soak,
            )
            for code in (errno.EIO, errno.ENOSPC)
            for sticky in (False, True)
        ),
    ],
)
@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.name)
def test_failing_operation_raises_and_loses_nothing(
    workload: Workload, folder: Path, code: int, sticky: bool, first: int, step: int
) -> None:
    path = folder / "dataset"
    for number in count(first, step):
        workload.prepare(path)
        before = open_descriptors()
        handler = Failing(number, code, sticky=sticky)
        acknowledged, error = run_with_fault(workload, path, handler)
        where = f"operation {number}, {handler.failed[:1]}: {error!r}"
        if not handler.failed:
            break
        # A step that only tidies up may fail unnoticed; then everything is there.
        assert error is None or isinstance(error, (OSError, SplitDataError)), where
        assert error is not None or acknowledged == len(workload.states) - 1, where
        assert open_descriptors() <= before, where
        with pytest.MonkeyPatch.context() as patch:
            workload.patch(patch)
            found = read_all(path) if path.exists() else None
        assert found in workload.states[acknowledged : acknowledged + 2], where
        shutil.rmtree(path, ignore_errors=True)
    assert number > 20


def write_until_failure(path: Path, fails: Callable[..., Any], name: str) -> SplitWriter:
    """Return a writer whose second commit has failed in an operation."""
    writer = SplitWriter(path, bins=2)
    writer.write_many([b"one", b"two"])
    writer.commit()
    writer.write_many([b"three"])
    with intercepted(lambda *_: fails(), (name,)), pytest.raises(OSError, match="Input/output"):
        writer.commit()
    return writer


def fail() -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_writer_is_done_after_a_failed_sync(tmp_path: Path) -> None:
    writer = write_until_failure(tmp_path / "data", fail, "sync_data")

    for attempt in (lambda: writer.write(b"more"), lambda: writer.write_many([b"more"]), writer.commit):
        with pytest.raises(ClosedError, match="2 records that were committed in this session are safe"):
            attempt()
    # The failure was raised where it happened; closing adds none.
    writer.close()
    writer.close()
    assert read_all(tmp_path / "data") == [b"one", b"two"]


def test_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    calls: list[str] = []

    def fail_and_count() -> None:
        calls.append("sync")
        fail()

    write_until_failure(tmp_path / "data", fail_and_count, "sync_directory").close()

    assert calls == ["sync"]


def test_error_in_the_block_is_not_masked_by_a_failing_disk(tmp_path: Path) -> None:
    class MistakeError(Exception):
        pass

    def write_and_fail() -> None:
        with SplitWriter(tmp_path / "data", bins=2) as writer:
            writer.write(b"committed")
            writer.commit()
            writer.write(b"pending")
            # From here to the end of the block nothing can be changed on the disk.
            broken.enter_context(intercepted(lambda *_: fail()))
            raise MistakeError

    with ExitStack() as broken, pytest.raises(MistakeError):
        write_and_fail()
    assert read_all(tmp_path / "data") == [b"committed"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_interruption_after_the_manifest_appeared_keeps_its_records(
    tmp_path: Path, interruption: type[BaseException]
) -> None:
    path = tmp_path / "data"

    def interrupt_if_published(
        name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        if arguments == (str(path),) and list(path.glob("manifest.*2.json")):
            raise interruption
        return real(*arguments, **keywords)

    def write_and_interrupt() -> None:
        with SplitWriter(path, bins=2) as writer:
            writer.write_many([b"one", b"two"])
            writer.commit()
            writer.write_many([b"three", b"four"])
            with intercepted(interrupt_if_published, ("sync_directory",)):
                writer.commit()

    with pytest.raises(interruption):
        write_and_interrupt()
    assert read_all(path) == [b"one", b"two", b"three", b"four"]


def test_short_and_interrupted_system_calls_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, pwrite, pwritev = os.pread, os.pwrite, os.pwritev
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 7), offset))
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:5], offset))
    monkeypatch.setattr(os, "pwritev", lambda descriptor, pieces, offset: pwritev(descriptor, pieces[:1], offset))
    records = [record for group in (*PLAIN, *TEXTS) for record in group]
    with SplitWriter(tmp_path / "data", bins=3, compression="zstd") as writer:
        for record in records:
            writer.write(record)
        writer.commit()
        writer.write_many(records)

    for io in ("pread", "mmap"):
        with SplitDataLoader(tmp_path / "data", io=io) as loader:
            assert [loader[position] for position in range(len(loader))] == records * 2


def test_system_that_writes_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SplitWriter(tmp_path / "data", bins=1)
    writer.write(b"record")
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: 0)

    with pytest.raises(OSError, match="writes none of"):
        writer.commit()
    writer.close()


@pytest.mark.parametrize("name", ["open_existing", "read_at", "size_of"])
def test_failing_read_is_an_os_error_and_the_reader_goes_on(folder: Path, name: str) -> None:
    path = folder / "data"
    with SplitWriter(path, bins=2) as writer:
        writer.write_many([b"one", b"two", b"three", b"four"])
    with SplitDataLoader(path, io="pread") as loader:
        with intercepted(lambda *_: fail(), (name,)), pytest.raises(OSError, match="Input/output"):
            loader[0]
        assert list(loader) == [b"one", b"two", b"three", b"four"]
        if name == "read_at":
            for read in (loader.view, lambda at: loader[[at]], lambda at: loader.read_range(at, 0, 2)):
                with intercepted(lambda *_: fail(), (name,)), pytest.raises(OSError, match="Input/output"):
                    read(1)


FULL_DISK = """
import errno, os, sys
from splitdata import SplitDataLoader, SplitWriter

path = sys.argv[1] + "/data"
committed, error = [], None
writer = SplitWriter(path, bins=4, mode="append")
try:
    for number in range(10_000):
        records = [bytes([number % 251]) * 5000 for _ in range(20)]
        writer.write_many(records)
        writer.commit()
        committed += records
except OSError as raised:
    error = raised
assert error is not None and error.errno == errno.ENOSPC, error
writer.close()
with SplitDataLoader(path) as loader:
    assert [loader[at] for at in range(len(loader))][: len(committed)] == committed
    assert len(loader) in (len(committed), len(committed) + 20)
print("committed", len(committed))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a user namespace")
def test_really_full_disk_keeps_what_was_committed(tmp_path: Path) -> None:
    mount = "mount -t tmpfs -o size=1m none {} 2>/dev/null || exit 77; exec {} -W error -c '{}' {}"
    script = mount.format(tmp_path, sys.executable, FULL_DISK, tmp_path)
    ended = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("no mounts in a user namespace here")

    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[1]) > 0


def test_all_operations_of_the_module_are_intercepted() -> None:
    # Questions that change nothing; the free bytes are asked for by a cache, see test_cache_faults.py.
    questions = {name for name in files.__all__ if name.startswith(("has_", "is_", "num_", "check_", "free_"))}
    questions |= {"data_from", "exists", "identity_of", "size_of_name"}
    assert set(NAMES) | {"close", "lock"} | questions >= set(files.__all__)
