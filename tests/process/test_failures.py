"""Workers that raise, end, or yield what cannot be sent: everything before arrives, then the truth."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitdata.errors import ClosedError, WorkerCrashedError, WorkerError
from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.channel_options import StartMethod
from splitdata.process.wire.remote_error import WorkerTraceback
from tests.process import hostile
from tests.process.generators import then_exit, then_raise

METHODS: list[StartMethod] = ["spawn", "fork"]


def drain(running: Iterator[Any]) -> tuple[list[Any], BaseException]:
    """Return what came and the exception that ended it."""
    received: list[Any] = []
    try:
        for batch in running:
            received.append(batch)  # noqa: PERF402 - what came before the exception counts
    except BaseException as error:
        return received, error
    pytest.fail(f"ended quietly after {received}")


@pytest.mark.parametrize("method", METHODS)
def test_exception_of_the_generator_arrives_as_itself_after_all_batches(method: StartMethod) -> None:
    running = iter(MpQItr.options(start_method=method)(then_raise, 40, KeyError("lost", 3)))
    received, error = drain(running)

    assert received == list(range(40))
    assert type(error) is KeyError
    assert error.args == ("lost", 3)
    assert isinstance(error.__cause__, WorkerTraceback)
    assert "in then_raise" in str(error.__cause__)
    assert "KeyError: ('lost', 3)" in str(error.__cause__)


def test_iterator_that_failed_does_not_end_quietly_afterwards() -> None:
    running = iter(MpQItr.options(start_method="fork")(then_raise, 1, ValueError("x")))
    drain(running)

    with pytest.raises(ClosedError, match="ValueError after 1 batches"):
        next(running)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", hostile.ALL, ids=lambda kind: kind.__name__)
def test_hostile_exception_never_shortens_the_epoch(method: StartMethod, kind: Callable[[], BaseException]) -> None:
    running = iter(MpQItr.options(start_method=method)(hostile.raises, 7, kind))
    received, error = drain(running)

    assert received == list(range(7))
    assert isinstance(error.__cause__, WorkerTraceback)
    assert "hostile.py" in str(error.__cause__)
    if kind in hostile.SURVIVING:
        assert type(error) is type(kind())
    elif kind is hostile.ends_an_iteration:
        assert type(error) is RuntimeError
    else:
        assert type(error) is WorkerError
        assert kind.__name__.replace("_", "") in str(error).lower().replace("_", "")


def test_exception_group_and_notes_survive() -> None:
    failure = ExceptionGroup("two", [ValueError("a"), OSError(2, "b")])
    failure.add_note("seen by the user")
    _, error = drain(iter(MpQItr(then_raise, 0, failure)))

    assert isinstance(error, ExceptionGroup)
    assert [type(part) for part in error.exceptions] == [ValueError, FileNotFoundError]
    assert "seen by the user" in error.__notes__


def test_generator_function_that_raises_at_once_is_an_error() -> None:
    def refuse() -> Iterator[int]:
        raise LookupError("no such data")

    with pytest.raises(LookupError, match="no such data"):
        next(iter(MpQItr(refuse)))


def test_function_that_returns_no_iterable_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        next(iter(MpQItr(lambda: 5)))  # type: ignore[arg-type,return-value]


def test_module_that_the_worker_cannot_import_is_an_error_here() -> None:
    class Elsewhere:
        def __reduce__(self) -> tuple[Any, ...]:
            return __import__, ("no_such_module_anywhere",)

    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        next(iter(MpQItr(lambda _: iter([1]), Elsewhere())))


@pytest.mark.parametrize("method", METHODS)
def test_batch_that_cannot_be_pickled_is_named_after_all_before_it(method: StartMethod) -> None:
    def generate() -> Iterator[Any]:
        yield from range(5)
        yield {"x": [1, {"lock": threading.Lock()}]}
        yield "never reached"

    received, error = drain(iter(MpQItr.options(start_method=method)(generate)))

    assert received == list(range(5))
    assert type(error) is TypeError
    assert "batch number 5" in error.__notes__[0]
    assert "batch['x'][1]['lock'] is a _thread.lock" in error.__notes__[0]


def test_batch_that_cannot_be_unpickled_is_an_error_not_a_gap() -> None:
    running = iter(MpQItr(hostile.yields_a_bomb))
    received, error = drain(running)

    assert received == ["before"]
    assert isinstance(error, ZeroDivisionError)
    assert "batch number 1" in error.__notes__[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("sys.exit", 0),
        ("sys.exit 3", 3),
        ("sys.exit text", 1),
        ("os._exit", 0),
        ("SIGKILL", -signal.SIGKILL),
        ("SIGVTALRM", -signal.SIGVTALRM),
        ("SIGSEGV", -signal.SIGSEGV),
        ("null pointer", -signal.SIGSEGV),
        ("abort", -signal.SIGABRT),
    ],
)
def test_worker_that_ends_before_the_end_is_a_crash_after_all_batches(
    method: StartMethod, how: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    running = iter(MpQItr.options(start_method=method)(then_exit, 33, how))
    received, error = drain(running)

    assert received == list(range(33))
    assert isinstance(error, WorkerCrashedError)
    assert error.exit_code == code
    assert error.items_received == 33
    assert error.pid is not None
    assert f"(pid {error.pid})" in str(error)
    assert (f"code {code}" if code >= 0 else signal.Signals(-code).name) in str(error)


@pytest.mark.parametrize("method", METHODS)
def test_worker_that_raises_keyboard_interrupt_raises_it_here(method: StartMethod) -> None:
    received, error = drain(iter(MpQItr.options(start_method=method)(then_raise, 3, KeyboardInterrupt())))

    assert received == [0, 1, 2]
    assert type(error) is KeyboardInterrupt
    assert isinstance(error.__cause__, WorkerTraceback)


def test_worker_that_cannot_start_is_a_crash_that_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(broken))

    with pytest.raises(WorkerCrashedError, match="code 7 before it had finished, before it was ready") as caught:
        next(iter(MpQItr(then_raise, 1, ValueError())))
    assert caught.value.items_received == 0


def test_worker_whose_child_was_collected_elsewhere_is_still_a_crash() -> None:
    import os

    running: Any = iter(MpQItr.options(start_method="fork")(then_exit, 2, "SIGKILL"))
    next(running)
    os.waitpid(running.pid, 0)
    received, error = drain(running)

    assert received == [1]
    assert isinstance(error, WorkerCrashedError)
    assert error.exit_code is None


def test_worker_that_writes_into_its_own_pipe_is_an_error() -> None:
    def scribble() -> Iterator[int]:
        import os

        yield 1
        for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - travels by value
            try:
                if os.readlink(f"/proc/self/fd/{entry}").startswith("pipe:"):  # noqa: PTH115
                    os.write(int(entry), b"\xff" * 64)
            except OSError:
                continue
        yield 2

    received, error = drain(iter(MpQItr(scribble)))

    assert received == [1]
    assert isinstance(error, WorkerError)
    assert "something else" in str(error)


def test_worker_that_closes_all_descriptors_is_a_crash() -> None:
    def closing() -> Iterator[int]:
        import os
        import time

        yield 1
        os.closerange(3, 1000)
        time.sleep(600)
        yield 2

    received, error = drain(iter(MpQItr(closing)))

    assert received == [1]
    assert isinstance(error, WorkerCrashedError)
    assert "went on running" in str(error)
