"""MpQItr as a user meets it: arguments, runs, order, bounds, ways to end it."""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from splitdata.errors import ClosedError
from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.channel_options import StartMethod
from tests.process.generators import arrays, count, forever, is_mixed, mixed, slowly

METHODS: list[StartMethod] = ["spawn", "fork"]


@pytest.mark.parametrize("method", METHODS)
def test_generator_with_arguments_yields_its_batches_in_order(method: StartMethod) -> None:
    batches = MpQItr.options(start_method=method)(mixed, 50, size=20_000)

    for number, batch in enumerate(batches):
        assert is_mixed(batch, number)
    assert number == 49


def test_subscripted_class_takes_a_generator_function() -> None:
    batches = MpQItr[int](count, 3, start=4)

    assert list(batches) == [4, 5, 6]


def test_each_iter_starts_a_fresh_run_in_another_process() -> None:
    def whoami() -> Iterator[int]:
        yield os.getpid()

    batches = MpQItr.options(start_method="fork")(whoami)
    first, second = list(batches), list(batches)

    assert first != second
    assert os.getpid() not in first + second


def test_keywords_named_like_options_reach_the_generator() -> None:
    def keywords(**given: object) -> Iterator[dict[str, object]]:
        yield given

    chosen: dict[str, Any] = {"timeout": 1, "max_batches": 2, "self": 3, "generator_function": 4, "options": 5}

    assert list(MpQItr(keywords, **chosen)) == [chosen]


def test_empty_generator_gives_no_batches() -> None:
    assert list(MpQItr(count, 0)) == []


def test_function_that_returns_a_list_is_accepted() -> None:
    assert list(MpQItr(lambda: ["a", "b"])) == ["a", "b"]


def test_exhausted_iterator_stays_exhausted() -> None:
    running = iter(MpQItr.options(start_method="fork")(count, 2))

    assert list(running) == [0, 1]
    assert list(running) == []


def test_several_iterators_of_one_itr_run_at_once() -> None:
    batches = MpQItr.options(start_method="fork")(count, 100)
    first, second, third = iter(batches), iter(batches), iter(batches)

    assert list(zip(first, second, third, strict=True)) == [(n, n, n) for n in range(100)]


@pytest.mark.parametrize("max_batches", [1, 2, 3, 16])
def test_generator_runs_at_most_max_batches_ahead(max_batches: int, tmp_path: Path) -> None:
    def noting(path: str) -> Iterator[int]:
        for number in range(200):
            with open(path, "a") as file:  # noqa: PTH123 - travels by value
                file.write(".")
            yield number

    log = tmp_path / "yielded"
    with MpQItr.options(start_method="fork", max_batches=max_batches)(noting, str(log)) as batches:
        for taken, number in enumerate(batches, start=1):
            assert number == taken - 1
            ahead = log.stat().st_size - taken
            # One more is made while max_batches wait: it stands in `next`, not in the channel.
            assert ahead <= max_batches
            if taken == 60:
                break


def test_iterator_left_by_break_ends_its_worker() -> None:
    for batch in MpQItr.options(start_method="fork")(forever):
        if batch[0] == 5:
            break


def test_exception_in_loop_body_ends_the_worker() -> None:
    with contextlib.suppress(ZeroDivisionError):
        for _ in MpQItr.options(start_method="fork")(forever):
            _ = 1 / 0


def test_closed_iterator_raises_closed_error_and_not_an_end() -> None:
    running: Any = iter(MpQItr.options(start_method="fork")(forever))
    next(running)
    running.close()
    running.close()

    with pytest.raises(ClosedError, match="after 1 batches"):
        next(running)


def test_closed_itr_ends_its_runs_and_starts_no_more() -> None:
    batches = MpQItr.options(start_method="fork")(forever)
    running = iter(batches)
    next(running)
    batches.close()

    with pytest.raises(ClosedError):
        next(running)
    with pytest.raises(ClosedError):
        iter(batches)


def test_batch_outlives_the_iterator_that_gave_it() -> None:
    with MpQItr.options(start_method="fork")(arrays, 3, 100_000) as batches:
        kept = list(batches)

    assert [float(batch.min()) for batch in kept] == [0.0, 1.0, 2.0]


def test_close_from_another_thread_wakes_a_waiting_next() -> None:
    def silent() -> Iterator[int]:
        yield 0
        time.sleep(600)

    running: Any = iter(MpQItr.options(start_method="fork")(silent))
    next(running)
    closer = threading.Timer(0.2, running.close)
    closer.start()
    with pytest.raises(ClosedError):
        next(running)
    closer.join()


def test_close_from_a_signal_handler_ends_a_waiting_next() -> None:
    running = iter(MpQItr.options(start_method="fork")(slowly, 5, 30.0))
    before = signal.signal(signal.SIGUSR2, lambda number, frame: running.close())
    ringer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2))
    ringer.start()
    try:
        with pytest.raises(ClosedError):
            next(running)
    finally:
        ringer.join()
        signal.signal(signal.SIGUSR2, before)


def test_batches_go_to_several_threads_once_each() -> None:
    running = iter(MpQItr.options(start_method="fork")(count, 2000))
    taken: list[list[int]] = [[], [], [], []]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(running)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(itertools.chain.from_iterable(taken)) == list(range(2000))


def test_iterator_started_in_a_short_lived_thread_goes_on_after_it() -> None:
    started: list[Iterator[int]] = []
    for method in METHODS:
        thread = threading.Thread(
            target=lambda method=method: started.append(iter(MpQItr.options(start_method=method)(count, 500)))
        )
        thread.start()
        thread.join()
    time.sleep(0.3)

    for running in started:
        assert list(running) == list(range(500))


@pytest.mark.parametrize("method", METHODS)
def test_generator_may_use_an_mpqitr_itself(method: StartMethod) -> None:
    def outer(n: int) -> Iterator[int]:
        for number in MpQItr.options(start_method=method)(lambda: iter(range(n))):
            yield number * 10

    assert list(MpQItr.options(start_method=method)(outer, 4)) == [0, 10, 20, 30]


@pytest.mark.parametrize("method", METHODS)
def test_generator_may_use_a_pool_of_processes(method: StartMethod) -> None:
    def pooled() -> Iterator[int]:
        import multiprocessing

        with multiprocessing.get_context("fork").Pool(2) as pool:
            yield from pool.imap(abs, range(-5, 0))

    assert list(MpQItr.options(start_method=method)(pooled)) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("method", METHODS)
def test_arguments_larger_than_a_pipe_arrive(method: StartMethod) -> None:
    large = np.arange(3_000_000)

    def summed(numbers: npt.NDArray[np.int64], blob: bytes) -> Iterator[tuple[int, int]]:
        yield int(numbers.sum()), len(blob)

    assert list(MpQItr.options(start_method=method)(summed, large, b"x" * 5_000_000)) == [(int(large.sum()), 5_000_000)]


def test_mpqitr_pickles_with_its_options() -> None:
    batches = pickle.loads(pickle.dumps(MpQItr.options(max_batches=3, start_method="fork")(count, 3)))

    assert batches._options.max_batches == 3
    assert list(batches) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_batches": 0}, ValueError),
        ({"max_batches": 2.0}, TypeError),
        ({"max_batches": True}, TypeError),
        ({"max_bytes": -1}, ValueError),
        ({"max_bytes": "1"}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"stall_warning": -1.0}, ValueError),
        ({"copy": 1}, TypeError),
        ({"start_method": "thread"}, ValueError),
        ({"start_method": "forkserver"}, ValueError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        MpQItr.options(**options)


def test_generator_instead_of_its_function_is_refused() -> None:
    with pytest.raises(TypeError, match="not the result of calling it"):
        MpQItr(count(3))  # type: ignore[arg-type]


def test_random_state_of_the_user_is_untouched_and_runs_draw_anew() -> None:
    import random

    def draw() -> Iterator[tuple[float, float]]:
        yield random.random(), float(np.random.rand())

    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), repr(np.random.get_state())
    draws = [next(iter(MpQItr.options(start_method=method)(draw))) for method in METHODS for _ in range(2)]

    assert (random.getstate(), repr(np.random.get_state())) == before
    assert len({value for pair in draws for value in pair}) == 8
