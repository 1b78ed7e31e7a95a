"""The watchdog itself: what it does to a test that hangs, and that it sees processes left behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import watchdog
from tests.command import ROOT, run_python
from tests.watchdog import descendants, end_processes, processes_left, running_ids, time_limit

SLEEP = "import time; print('started', flush=True); time.sleep(600)"


def start_sleeper(code: str = SLEEP) -> subprocess.Popen[str]:
    """Start a Python process that does not end by itself, and wait until it runs."""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    return child


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm signal on this system")
def test_waiting_for_a_process_beyond_the_limit_fails_and_ends_the_process() -> None:
    def wait_for_ever() -> None:
        # Leaving the inner block waits for the process once more, so it must have been ended.
        with time_limit(1), start_sleeper() as child:
            child.wait()

    with pytest.raises(pytest.fail.Exception, match=r"after 1 s; the watchdog ended the processes \[\d+\]"):
        wait_for_ever()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm signal on this system")
def test_waiting_for_a_lock_beyond_the_limit_fails_with_the_stacks(capfd: pytest.CaptureFixture[str]) -> None:
    lock = threading.Lock()
    with lock, pytest.raises(pytest.fail.Exception), time_limit(0.2):
        lock.acquire()

    assert "test_waiting_for_a_lock_beyond_the_limit" in capfd.readouterr().err


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm signal on this system")
def test_inner_limit_that_is_kept_leaves_the_outer_limit_in_force() -> None:
    def keep_the_inner_limit_only() -> None:
        with time_limit(0.2):
            with time_limit(100):
                pass
            threading.Event().wait()

    with pytest.raises(pytest.fail.Exception, match=r"after 0\.2 s"):
        keep_the_inner_limit_only()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm signal on this system")
def test_limit_spares_the_processes_that_were_there_before() -> None:
    with start_sleeper() as child:
        with pytest.raises(pytest.fail.Exception), time_limit(0.2):
            threading.Event().wait()

        assert child.poll() is None
        child.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="no process table to read on this system")
@pytest.mark.parametrize("way", ["children", "proc", "ps"])
def test_process_of_a_process_is_found_and_ended(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(way, monkeypatch)
    grandchild = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"
    # Helpers of multiprocessing that earlier tests have started live as long as this process.
    before = running_ids()
    with start_sleeper(grandchild) as child:
        left = processes_left(before)

        assert len(left) == 2
        assert left[0].pid == child.pid
        assert left[1].parent == child.pid
        assert end_processes(left) == [process.pid for process in left]
        assert not any(process.pid == left[1].pid and not process.is_zombie for process in descendants())


def _use(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "children" and not watchdog._lists_children():
        pytest.skip("this kernel does not list the children of a process")
    if way == "ps" and shutil.which("ps") is None:
        pytest.skip("no ps on this system")
    if way != "children":
        monkeypatch.setattr(watchdog, "_lists_children", lambda: False)
    if way == "ps":
        monkeypatch.setattr(watchdog, "_has_proc", lambda: False)


@pytest.mark.skipif(sys.platform == "win32", reason="no process table to read on this system")
def test_test_that_leaves_a_process_behind_fails(tmp_path: Path) -> None:
    leaving = f"""
        import subprocess, sys, warnings
        def test_leaving():
            warnings.simplefilter("ignore")
            subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
    """
    (tmp_path / "test_leaving.py").write_text("\n".join(line[8:] for line in leaving.splitlines()))
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT.as_posix()}\n")

    ended = run_python("-m", "pytest", "-p", "no:cacheprovider", "-W", "default", "test_leaving.py", cwd=tmp_path)

    assert ended.returncode == 1, ended.stdout
    assert "processes left behind, and ended now: " in ended.stdout
