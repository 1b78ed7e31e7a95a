"""Workers of a loader that do not answer: an error that names worker, step and records, and shows where they stand."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from splitdata.errors import WorkerTimeoutError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from tests.loader.grouped import grouped
from tests.loader.workloads import Hangs, Numbers, Stream, worker_pids
from tests.watchdog import running_ids

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# How the work is done, and how it hangs: where a thread holds the GIL, nobody is left to notice.
CASES: list[tuple[dict[str, Any], str]] = [
    ({"start_method": "fork"}, "sleep"),
    ({"start_method": "fork"}, "busy"),
    ({"start_method": "fork"}, "holding the GIL"),
    ({"kind": "thread"}, "sleep"),
    ({"kind": "thread"}, "busy"),
]


@pytest.mark.parametrize(("way", "how"), CASES)
def test_hanging_transform_is_a_timeout_with_its_stack_and_the_loader_goes_on(
    way: dict[str, Any], how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    switch = tmp_path / "switch"
    switch.touch()
    transform = Hangs(record=13, how=how, switch=switch)
    try:
        with DistributedLoader(
            Numbers(40), **grouped(batch_size=2, num_workers=2, transform=transform, timeout=1.0, **way)
        ) as loader:
            stream = Stream(loader)
            with (
                caplog.at_level(logging.WARNING, "splitdata"),
                pytest.raises(
                    WorkerTimeoutError, match=r"worker 0 .* no batch for 1 s.* at step 6 of epoch 0, records 12, 13\."
                ) as caught,
            ):
                stream.follow()
            assert caught.value.worker_id == 0
            assert caught.value.stack is not None
            assert "in _hang" in caught.value.stack
            assert "workloads.py" in str(caught.value)
            assert (stream.num_batches, loader.position) == (6, (0, 12))
            # A process is ended; a thread cannot be, so it is left, and that is said.
            assert ("1 of 2 worker threads do not end" in caplog.text) == ("kind" in way)
            switch.unlink()
            stream.follow(40)
    finally:
        switch.unlink(missing_ok=True)


def test_slow_transform_is_warned_of_with_its_stack_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    def slow(record: int) -> int:
        time.sleep(0.7 if record == 5 else 0)
        return record

    with (
        caplog.at_level(logging.WARNING, "splitdata"),
        DistributedLoader(
            Numbers(12),
            batch_size=2,
            num_workers=2,
            workers=WorkerOptions(start_method="fork", stall_warning=0.25),
            transform=slow,
        ) as loader,
    ):
        assert [batch.tolist() for batch in loader] == [[number, number + 1] for number in range(0, 12, 2)]

    # Other workers' starts may be slow too, on a busy machine.
    texts = [text for record in caplog.records if "in slow" in (text := record.getMessage())]
    assert len(texts) >= 1
    assert all("worker 0" in text and "at step 2 of epoch 0, records 4, 5" in text for text in texts)


@pytest.mark.parametrize("how", ["sleep", "holding the GIL"])
def test_close_ends_workers_that_hang(how: str, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    switch.touch()
    before = running_ids()
    loader = DistributedLoader(
        Numbers(40),
        batch_size=2,
        num_workers=3,
        workers=WorkerOptions(start_method="fork"),
        transform=Hangs(record=13, how=how, switch=switch),
    )
    stream = Stream(loader)
    stream.take(iter(loader), 4)
    time.sleep(0.05)
    loader.close()

    assert worker_pids(before) == []


def test_stopped_iterator_in_another_thread_is_woken_by_close(tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    switch.touch()
    loader = DistributedLoader(
        Numbers(8),
        batch_size=2,
        num_workers=1,
        workers=WorkerOptions(start_method="fork"),
        transform=Hangs(record=0, switch=switch),
    )
    batches = iter(loader)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            next(batches)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    loader.close()
    thread.join(10)

    assert not thread.is_alive()
    assert len(errors) == 1
