"""What other systems have to do without, forced here; small machines; few descriptors."""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest

from splitdata.errors import WorkerCrashedError, WorkerTimeoutError
from splitdata.process.consumer.channel import Channel
from splitdata.process.consumer.start import start_worker
from splitdata.process.wire import arena
from splitdata.process.wire.arena import Arena
from splitdata.process.wire.channel_options import ChannelOptions
from tests.command import ROOT
from tests.process.family import environment, new_mark, seconds_until_gone
from tests.process.generators import is_mixed, mixed, stuck, then_exit

FALLBACKS: dict[str, dict[str, Any]] = {
    "temporary file": {"arena_kind": "file"},
    "watching thread": {"use_signals": False},
    "no sentinel": {"use_sentinel": False},
    "one connection": {"use_pipes": False},
    "all of them": {"arena_kind": "file", "use_signals": False, "use_sentinel": False, "use_pipes": False},
}


def run(function: Any, *args: Any, **options: Any) -> Channel[Any]:
    return start_worker(function, args, {}, ChannelOptions(**options))


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_carries_batches_of_all_sizes(name: str, method: str) -> None:
    for size in (3, 30_000, 600_000):
        running = run(mixed, 40, size, start_method=method, max_bytes=1 << 20, **FALLBACKS[name])
        received = 0
        for batch in running:
            assert is_mixed(batch, received)
            assert batch["large"].flags.writeable
            received += 1
        assert received == 40


@pytest.mark.parametrize("how", ["os._exit", "SIGKILL"])
@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_notices_a_dead_worker_after_all_batches(name: str, how: str) -> None:
    running = run(then_exit, 20, how, **FALLBACKS[name])
    received: list[int] = []
    with pytest.raises(WorkerCrashedError) as caught:
        received.extend(running)

    assert caught.value.items_received == 20
    assert caught.value.exit_code == (0 if how == "os._exit" else -signal.SIGKILL)


@pytest.mark.parametrize("how", ["sleep", "busy"])
@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_times_out_with_a_stack(name: str, how: str) -> None:
    running = run(stuck, how, 1, start_method="fork", timeout=1.0, **FALLBACKS[name])
    next(running)
    with pytest.raises(WorkerTimeoutError) as caught:
        next(running)

    assert "in stuck" in (caught.value.stack or "")


@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_closes_a_hanging_worker(name: str) -> None:
    running = run(stuck, "holding the GIL", 1, **FALLBACKS[name])
    next(running)
    running.close()

    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_ends_with_a_killed_parent(name: str) -> None:
    source = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom tests.process.generators import stuck\n"
        "from tests.process.consumer.test_fallbacks import FALLBACKS, run\n"
        f"running = run(stuck, 'sleep', 1, **FALLBACKS[{name!r}])\nnext(running)\nprint('ready', flush=True)\n"
        "next(running)"
    )
    mark = new_mark()
    program = subprocess.Popen([sys.executable, "-c", source], env=environment(mark), stdout=subprocess.PIPE)
    assert program.stdout is not None
    assert program.stdout.readline() == b"ready\n"
    program.kill()
    program.wait()
    program.stdout.close()

    assert seconds_until_gone(mark, 20.0) < 20.0


@pytest.mark.parametrize("how", ["os._exit", "SIGKILL"])
def test_system_that_cannot_look_without_reaping_knows_the_exit_code(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    running = run(then_exit, 3, how, start_method="fork", use_sentinel=False)
    with monkeypatch.context() as patch:
        patch.delattr("os.waitid")
        with pytest.raises(WorkerCrashedError) as caught:
            list(running)

    assert caught.value.exit_code == (0 if how == "os._exit" else -signal.SIGKILL)


def test_without_memfd_a_temporary_file_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.memfd_create")

    assert arena.default_kind() == "file"
    assert len(list(run(mixed, 5, 30_000))) == 5


def test_on_windows_a_named_mapping_is_made_and_attached_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, str]] = []

    def map_named(size: int, name: str) -> Any:
        made.append((size, name))
        return mmap.mmap(-1, size)

    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setattr(arena, "_map_named", map_named)
    ours = Arena.create(5000)
    theirs = Arena.attach(ours.kind, ours.size, ours.handle)
    ours.reserve(5000)
    ours.release_descriptor()

    assert ours.kind == "mapping"
    assert ours.size == theirs.size == 8192
    assert made[0] == made[1]
    assert len(made[0][1]) > 30


def test_shared_memory_that_cannot_be_made_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("os.memfd_create", refuse)
    received = list(run(mixed, 10, 100_000))

    assert all(is_mixed(batch, number) for number, batch in enumerate(received))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "come through the pipe" in caplog.text


def full_machine(n: int, size: int) -> Any:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    os.posix_fallocate = refuse
    return mixed(n, size)


def test_memory_that_runs_out_is_one_warning_and_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    received = list(run(full_machine, 10, 100_000))

    assert all(is_mixed(batch, number) for number, batch in enumerate(received))
    assert len(received) == 10
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "finds no memory" in caplog.text


def test_shared_memory_cannot_be_resized_by_anyone() -> None:
    block = Arena.create(8192)
    assert isinstance(block.handle, int)
    for size in (0, 4096, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(block.handle, size)
    block.release_descriptor()


def test_system_without_fallocate_writes_zeros_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.posix_fallocate")
    block = Arena.create(3 << 20, "file")
    assert isinstance(block.handle, int)
    before = os.fstat(block.handle).st_blocks
    block.reserve(100)

    assert os.fstat(block.handle).st_blocks - before >= (1 << 20) // 512
    block.release_descriptor()


SMALL = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
from splitdata.process.mpqitr import MpQItr
from tests.process.generators import is_mixed, mixed
for method in ("spawn", "fork"):
    runs = [iter(MpQItr.options(start_method=method)(mixed, 30, 500_000)) for _ in range(RUNS)]
    for number in range(30):
        assert all(is_mixed(next(run), number) for run in runs)
    assert [list(run) for run in runs] == [[]] * RUNS
print("done")
"""


def test_works_with_64_descriptors() -> None:
    source = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n" + SMALL.replace("RUNS", "4")
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.stderr) == ("done\n", "")


def test_running_out_of_descriptors_is_an_os_error_that_leaves_nothing() -> None:
    source = (
        "import resource, os; resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))\n"
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom splitdata.process.mpqitr import MpQItr\n"
        "from tests.process.generators import count\n"
        "for method in ('spawn', 'fork'):\n"
        "    before = len(os.listdir('/proc/self/fd'))\n"
        "    runs = []\n"
        "    try:\n"
        "        while True:\n"
        "            runs.append(iter(MpQItr.options(start_method=method)(count, 3)))\n"
        "    except OSError as error:\n"
        "        assert error.errno == 24, error\n"
        "        assert 'each takes 6 descriptors' in str(error) and 'may have 24 for' in str(error), error\n"
        "    assert [list(run) for run in runs] == [[0, 1, 2]] * len(runs) and runs\n"
        "    runs.clear()\n"
        "    assert len(os.listdir('/proc/self/fd')) == before, method\n"
        "print('done')\n"
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.stderr) == ("done\n", "")


def test_works_with_shared_memory_of_one_mebibyte() -> None:
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare")
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm && df --output=size /dev/shm | tail -1 && exec "
    source = SMALL.replace("RUNS", "2")
    command = ["unshare", "-Urm", "sh", "-c", mount + '"$@"', "sh", sys.executable, "-c", source]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in ended.stderr or "mount" in ended.stderr:
        pytest.skip(f"no user namespaces here: {ended.stderr.strip()}")

    assert ended.stderr == ""
    assert ended.stdout.split() == ["1024", "done"]


def test_a_pool_without_descriptors_says_how_many_it_needs_and_how_many_there_are() -> None:
    source = (
        "import resource, os; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\n"
        "from tests.process.servers import make_pool, orders\n"
        "for method in ('spawn', 'fork'):\n"
        "    before = len(os.listdir('/proc/self/fd'))\n"
        "    try:\n"
        "        with make_pool(orders, n=14, way=method) as pool:\n"
        "            pool.submit(0, ('ok', 1))\n"
        "    except OSError as error:\n"
        "        assert error.errno == 24 and ' of 14 cannot be started; each takes 6 ' in str(error), error\n"
        "        assert 'may have 64 for' in str(error) and 'use fewer workers' in str(error), error\n"
        "    else:\n"
        "        raise AssertionError(method)\n"
        "    left = len(os.listdir('/proc/self/fd')) - before\n"
        "    assert left <= 0, (method, left)\n"
        "print('done')\n"
    )
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert (ended.stdout, ended.stderr) == ("done\n", "")
