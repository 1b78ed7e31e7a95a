"""What a worker finds: threads of its libraries, modules of the program's path; and what it says of one it does not."""

from __future__ import annotations

import math
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitdata.process.consumer.wait_timeout import WaitTimeout
from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.channel_options import ChannelOptions, StartMethod
from tests.process import servers
from tests.process.generators import count
from tests.process.servers import make_pool


def threads_of_torch() -> Iterator[tuple[int, Any]]:
    import torch

    yield torch.get_num_threads(), os.environ.get("OPENBLAS_NUM_THREADS")


@pytest.mark.parametrize(("method", "number"), [("spawn", 1), ("spawn", 3), ("fork", 1)])
def test_libraries_of_a_worker_have_one_thread_or_as_many_as_the_option_says(method: StartMethod, number: int) -> None:
    before = dict(os.environ)
    chosen: dict[str, Any] = {} if number == 1 else {"worker_threads": number}
    (found,) = MpQItr.options(start_method=method, **chosen)(threads_of_torch)

    # torch takes no more than there are cores.
    assert found == (min(number, os.cpu_count() or number), str(number))
    assert dict(os.environ) == before


def test_worker_threads_of_none_leaves_the_libraries_alone() -> None:
    def variables() -> Iterator[str | None]:
        yield os.environ.get("OMP_NUM_THREADS")

    assert list(MpQItr.options(worker_threads=None)(variables)) == [os.environ.get("OMP_NUM_THREADS")]


def test_environment_of_a_worker_may_say_otherwise() -> None:
    with make_pool(servers.orders, n=1, environments=[{"OMP_NUM_THREADS": "7"}]) as pool:
        pool.submit(0, ("environment", "OMP_NUM_THREADS"))
        assert pool.receive(0) == "7"


def test_relative_entries_of_the_path_lead_no_interpreter_to_the_present_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seen() -> Iterator[tuple[Any, ...]]:
        yield os.environ["PYTHONPATH"], [entry for entry in sys.path if not Path(entry).is_absolute()]

    # Python looks for these before any line of a program runs.
    for name in ("sitecustomize", "usercustomize", "encodings", "fcntl"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').close()\n")
    monkeypatch.chdir(tmp_path)
    relative = os.pathsep.join([os.environ.get("PYTHONPATH", ""), "", ".", f"..{os.sep}{tmp_path.name}"])
    monkeypatch.setenv("PYTHONPATH", relative)

    (found,) = MpQItr.options(start_method="spawn")(seen)

    # Programs that the worker starts find what was meant.
    assert found == (relative, [])
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_worker_threads_out_of_range_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="worker_threads"):
        MpQItr.options(worker_threads=value)


@pytest.mark.parametrize("entry", ["modules", "."])
def test_relative_entry_of_the_path_is_found_by_a_worker_also_after_the_program_went_elsewhere(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / entry
    folder.mkdir(exist_ok=True)
    (folder / "found_by_entry.py").write_text("def number():\n    yield 5\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    import found_by_entry  # type: ignore[import-not-found]

    monkeypatch.chdir("/")
    try:
        if entry != ".":
            assert list(MpQItr(found_by_entry.number)) == [5]
        monkeypatch.chdir(tmp_path)
        assert list(MpQItr(found_by_entry.number)) == [5]
    finally:
        del sys.modules["found_by_entry"]


def test_worker_has_absolute_entries_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def entries() -> Iterator[list[str]]:
        yield sys.path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", "never_used", *sys.path])
    (found,) = list(MpQItr(entries))

    assert found[:2] == [str(tmp_path), str(tmp_path / "never_used")]
    assert all(map(os.path.isabs, found))


def made_at_run_time() -> Any:
    made: Any = types.ModuleType("made_at_run_time")
    source = "def numbers():\n    yield 1\n\nclass Made:\n    pass\n"
    exec(source, made.__dict__)
    return made


@pytest.mark.parametrize("what", ["function", "argument", "module that a function names"])
def test_module_that_exists_in_the_program_alone_is_named_with_the_ways_out(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = made_at_run_time()
    monkeypatch.setitem(sys.modules, "made_at_run_time", made)

    def names_it() -> Iterator[int]:
        yield from made.numbers()

    calls: dict[str, Callable[[], Any]] = {
        "function": lambda: MpQItr(made.numbers),
        "argument": lambda: MpQItr(count, made.Made()),
        "module that a function names": lambda: MpQItr(names_it),
    }
    with pytest.raises(ModuleNotFoundError, match="a worker process could not import") as caught:
        list(calls[what]())

    message = str(caught.value)
    assert "made_at_run_time" in message
    assert all(way in message for way in ("sys.path", "register_pickle_by_value", "start_method='fork'", "threads"))


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 10**400, 30 * 86400, 1e9])
def test_waits_without_end_are_waited_for(seconds: float) -> None:
    options: dict[str, Any] = {"timeout": seconds, "stall_warning": seconds}

    assert list(MpQItr.options(start_method="fork", **options)(count, 3)) == [0, 1, 2]
    for way in ("fork", "thread"):
        with make_pool(servers.echo, way=way, **options) as pool:
            pool.submit(0, 1)
            assert pool.receive(0) == (0, 1)
    for use_pipes in (False, True):
        stall = WaitTimeout(ChannelOptions(use_pipes=use_pipes, **options))
        stall.begin()
        patience = stall.patience()
        assert patience is None or patience * 1000 < 2**31
