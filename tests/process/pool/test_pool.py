"""A pool as its user meets it: requests, replies, order, bounds, cancel; by processes and by threads."""

from __future__ import annotations

import pickle
import random
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata.errors import ClosedError
from splitdata.process.pool.process_pool import ProcessPool
from splitdata.process.pool.thread_pool import ThreadPool
from splitdata.process.pool.thread_worker import estimate_bytes
from splitdata.process.wire.channel_options import ChannelOptions
from tests.command import ROOT, run_python
from tests.process import servers
from tests.process.servers import Way, is_reply, make_pool
from tests.process.test_memory import is_shared

WAYS: list[Way] = ["spawn", "fork", "thread"]
# Where the start method makes no difference.
KINDS: list[Way] = ["fork", "thread"]

MIB = 1 << 20


@pytest.mark.parametrize("way", WAYS)
def test_replies_come_in_the_order_of_the_requests(way: Way) -> None:
    with make_pool(servers.arrays, 30_000, way=way, max_bytes=4 * MIB) as pool:
        for number in range(60):
            pool.submit(number % 2, number)
        for number in range(60):
            assert is_reply(pool.receive(number % 2), number % 2, number)


@pytest.mark.parametrize("way", KINDS)
def test_any_reply_comes_in_the_order_of_its_worker(way: Way) -> None:
    with make_pool(servers.echo, way=way, n=3) as pool:
        for number in range(90):
            pool.submit(number % 3, number)
        received: list[list[int]] = [[], [], []]
        for _ in range(90):
            worker_id, (served_by, number) = pool.receive_any()
            assert worker_id == served_by
            received[worker_id].append(number)

    assert received == [list(range(first, 90, 3)) for first in range(3)]


def test_worker_knows_what_sending_a_reply_has_cost() -> None:
    with make_pool(servers.sending_times, n=1) as pool:
        for size in (MIB, 10, 10):
            pool.submit(0, size)
        costs = [pool.receive(0)[0] for _ in range(3)]

    assert costs[0] == 0
    assert costs[1] > 0
    assert costs[2] > 0


@pytest.mark.parametrize("way", KINDS)
def test_any_reply_does_not_wait_for_a_slow_worker(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(0, ("sleep", 0.8))
        for number in range(5):
            pool.submit(1, ("ok", number))

        assert [pool.receive_any() for _ in range(5)] == [(1, number) for number in range(5)]


def test_any_reply_leaves_no_worker_waiting_for_ever() -> None:
    with make_pool(servers.echo, n=3, max_batches=4) as pool:
        for worker_id in range(3):
            for number in range(100):
                pool.submit(worker_id, number)
        while not all(pool.has_reply(worker_id) for worker_id in range(3)):
            pass

        assert {pool.receive_any()[0] for _ in range(3)} == {0, 1, 2}


@pytest.mark.parametrize("way", KINDS)
def test_worker_may_take_several_requests_before_it_replies(way: Way) -> None:
    with make_pool(servers.two_at_a_time, way=way, n=1) as pool:
        for number in range(10):
            pool.submit(0, number)

        assert [pool.receive(0) for _ in range(10)] == list(range(10))


@pytest.mark.parametrize("way", KINDS)
def test_worker_sees_upcoming_requests_without_taking_them(way: Way) -> None:
    with make_pool(servers.orders, way=way, n=1) as pool:
        pool.submit(0, ("upcoming", None))
        for number in range(4):
            pool.submit(0, ("ok", number))
        pool.submit(0, ("upcoming", 2))
        pool.submit(0, ("ok", "last"))

        assert pool.receive(0) == [*(("ok", number) for number in range(4)), ("upcoming", 2), ("ok", "last")]
        assert [pool.receive(0) for _ in range(4)] == [0, 1, 2, 3]
        assert pool.receive(0) == [("ok", "last")]
        assert pool.receive(0) == "last"


@pytest.mark.parametrize("way", KINDS)
def test_receive_without_a_request_is_refused_and_the_pool_goes_on(way: Way) -> None:
    with make_pool(servers.echo, way=way) as pool:
        with pytest.raises(ValueError, match="worker 1 owes no reply"):
            pool.receive(1)
        with pytest.raises(ValueError, match="no worker owes a reply"):
            pool.receive_any()
        for worker_id in (-1, 2):
            with pytest.raises(ValueError, match="there is no worker"):
                pool.submit(worker_id, 1)
        pool.submit(1, 5)

        assert pool.receive(1) == (1, 5)


def test_request_that_does_not_pickle_is_refused_and_the_pool_goes_on() -> None:
    with make_pool(servers.echo) as pool:
        with pytest.raises(TypeError, match="pickle"):
            pool.submit(0, threading.Lock())
        pool.submit(0, 5)

        assert pool.receive(0) == (0, 5)


@pytest.mark.parametrize("way", KINDS)
def test_has_reply_tells_without_waiting(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(0, ("sleep", 0.2))
        assert not pool.has_reply(0)
        pool.submit(1, ("raise", KeyError("x")))
        while not pool.has_reply(0) or not pool.has_reply(1):
            time.sleep(0.001)

        assert pool.receive(0) == 0.2
        assert not pool.has_reply(0)
        # A failure is there too: `receive` would not wait.
        assert pool.has_reply(1)
        with pytest.raises(KeyError):
            pool.receive(1)


@pytest.mark.parametrize("way", KINDS)
def test_count_tells_what_is_pending(way: Way) -> None:
    with make_pool(servers.echo, way=way) as pool:
        for number in range(7):
            pool.submit(1, number)
        for _ in range(3):
            pool.receive(1)

        assert (pool.num_pending(0), pool.num_pending(1)) == (0, 4)
        pool.cancel()
        assert pool.num_pending(1) == 0


@pytest.mark.parametrize("way", ["spawn", "fork"])
def test_each_worker_has_its_environment_before_anything_is_unpickled(way: Way, tmp_path: Path) -> None:
    # The module is imported while the job is unpickled.
    (tmp_path / "looks_around.py").write_text(
        "import os\nSEEN = os.environ.get('SPLITDATA_TEST_DEVICE')\n"
        "def serve(worker_id, requests):\n    for request in requests:\n        yield SEEN, os.environ.get(request)\n"
    )
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        import looks_around  # type: ignore[import-not-found]

        environments = [{"SPLITDATA_TEST_DEVICE": "7"}, {"SPLITDATA_TEST_DEVICE": "8"}]
        with make_pool(looks_around.serve, way=way, environments=environments) as pool:
            for worker_id in (0, 1):
                pool.submit(worker_id, "SPLITDATA_TEST_DEVICE")
            seen = [pool.receive(worker_id) for worker_id in (0, 1)]
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("looks_around", None)

    assert [now for _, now in seen] == ["7", "8"]
    if way != "fork":
        assert [imported for imported, _ in seen] == ["7", "8"]


@pytest.mark.parametrize("max_batches", [1, 2, 5])
@pytest.mark.parametrize("way", KINDS)
def test_workers_run_at_most_max_batches_ahead_however_much_is_queued(
    way: Way, max_batches: int, tmp_path: Path
) -> None:
    with make_pool(servers.noting, str(tmp_path / "log"), way=way, max_batches=max_batches) as pool:
        for number in range(2000):
            pool.submit(number % 2, number)
        for number in range(40):
            assert pool.receive(number % 2) == number
            time.sleep(0.002)
            for worker_id in (0, 1):
                log = tmp_path / f"log{worker_id}"
                made = log.stat().st_size if log.exists() else 0
                assert made - (number + 2 - worker_id) // 2 <= max_batches


@pytest.mark.parametrize("way", KINDS)
def test_workers_run_ahead_by_their_share_of_the_bytes_at_most(way: Way, tmp_path: Path) -> None:
    # Half of 8 MiB holds three replies of a good MiB; one more is made and waits for its room.
    with make_pool(servers.blobs, str(tmp_path / "log"), way=way, max_bytes=8 * MIB, max_batches=64) as pool:
        for _ in range(40):
            pool.submit(0, MIB + 100_000)
        for taken in range(1, 30):
            pool.receive(0)
            time.sleep(0.02 if taken < 5 else 0)
            assert (tmp_path / "log0").stat().st_size - taken <= 4


def test_estimate_counts_arrays_tensors_and_bytes_at_any_depth() -> None:
    torch = pytest.importorskip("torch")

    class Sample:
        def __init__(self) -> None:
            self.data = np.zeros(1000, np.int64)

    class Slotted:
        __slots__ = ("data", "never_set")

        def __init__(self) -> None:
            self.data = (np.zeros(1000, np.int64),)

    for value, least in [
        (np.zeros((10, 10)), 800),
        (torch.zeros(100), 400),
        (b"x" * 5000, 5000),
        ({"a": [np.zeros(1000, np.uint8), (bytearray(300), {"b": torch.zeros(1000)})]}, 5300),
        (Sample(), 8000),
        (Slotted(), 8000),
        ([np.zeros(100, np.uint8)] * 2, 100),
        ([np.zeros(100, np.uint8) for _ in range(10_000)], 1_000_000),
    ]:
        assert least <= estimate_bytes(value) <= 3 * least + 2000


def test_estimate_survives_cycles_and_hostile_objects() -> None:
    class Hostile:
        @property
        def nbytes(self) -> int:
            raise RuntimeError("no")

    loop: list[Any] = [np.zeros(1000, np.uint8)]
    loop.append(loop)

    assert 1000 <= estimate_bytes(loop) <= 1200
    assert estimate_bytes([Hostile(), np.zeros(1000, np.uint8)]) >= 1000


def test_large_replies_lie_in_shared_memory_and_are_writable() -> None:
    with make_pool(servers.arrays, 50_000, max_bytes=16 * MIB) as pool:
        for number in range(40):
            pool.submit(number % 2, number)
        for number in range(40):
            reply = pool.receive(number % 2)
            assert is_shared(reply["large"])
            reply["large"] += 1
            assert pool.bytes_out >= 200_000
            del reply


def test_thread_hands_over_the_object_itself() -> None:
    with make_pool(servers.echo, way="thread") as pool:
        request = object()
        pool.submit(0, request)

        assert pool.receive(0)[1] is request


def test_replies_outlive_the_pool() -> None:
    with make_pool(servers.arrays, 100_000) as pool:
        for number in range(4):
            pool.submit(number % 2, number)
        kept = [pool.receive(number % 2) for number in range(4)]

    assert all(is_reply(reply, number % 2, number) for number, reply in enumerate(kept))


@pytest.mark.parametrize("max_bytes", [1, 100_000, 4 * MIB])
def test_replies_of_all_sizes_come_whole_also_beyond_the_memory(max_bytes: int) -> None:
    sizes = [2**power + step for power in range(0, 22, 3) for step in (-1, 0, 1)]
    with make_pool(servers.arrays_of_all_sizes, max_bytes=max_bytes, max_batches=3) as pool:
        for number, size in enumerate(sizes):
            pool.submit(number % 2, (number, size))
        for number, size in enumerate(sizes):
            reply = pool.receive(number % 2)
            assert is_reply(reply, number % 2, number)
            assert reply["large"].size == size


def test_user_who_keeps_everything_gets_copies_and_no_deadlock() -> None:
    with make_pool(servers.arrays, 100_000, max_bytes=4 * MIB) as pool:
        for number in range(60):
            pool.submit(number % 2, number)
        kept = [pool.receive(number % 2) for number in range(60)]

    assert all(is_reply(reply, number % 2, number) for number, reply in enumerate(kept))
    assert 2 <= sum(is_shared(reply["large"]) for reply in kept) <= 10


@pytest.mark.parametrize("way", KINDS)
def test_hundred_thousand_requests_ahead_of_a_small_window_arrive(way: Way) -> None:
    with make_pool(servers.echo, way=way, max_batches=2) as pool:
        for number in range(100_000):
            pool.submit(number % 2, number)
        for number in range(100_000):
            assert pool.receive(number % 2) == (number % 2, number)


@pytest.mark.parametrize("size", [2000, 100_000, 600_000])
def test_flood_of_requests_against_replies_that_fill_the_pipe_is_no_deadlock(size: int) -> None:
    # Both pipes full: replies wait for the consumer, which writes 30 MB of requests.
    with make_pool(servers.echo, n=1, max_batches=64, max_bytes=MIB) as pool:
        request = b"x" * size
        for _ in range(30_000_000 // size):
            pool.submit(0, request)
        for _ in range(30_000_000 // size):
            assert pool.receive(0) == (0, request)


@pytest.mark.parametrize("size", [3, 30_000, 600_000])
@pytest.mark.parametrize("way", KINDS)
def test_cancelled_requests_are_never_seen(way: Way, size: int) -> None:
    with make_pool(servers.arrays, size, way=way, max_bytes=2 * MIB, max_batches=4) as pool:
        for repetition in range(30):
            for number in range(20):
                pool.submit(number % 2, 100 * repetition + number)
            for number in range(repetition % 7):
                assert is_reply(pool.receive(number % 2), number % 2, 100 * repetition + number)
            pool.cancel()
        pool.submit(1, -1)
        assert is_reply(pool.receive(1), 1, -1)


@pytest.mark.parametrize("way", KINDS)
def test_cancel_drops_a_hundred_thousand_requests_unserved(way: Way, tmp_path: Path) -> None:
    with make_pool(servers.noting, str(tmp_path / "log"), way=way, n=1, max_batches=2) as pool:
        for number in range(100_000):
            pool.submit(0, number)
        pool.receive(0)
        pool.cancel()
        pool.submit(0, -1)

        assert pool.receive(0) == -1
        assert (tmp_path / "log0").stat().st_size <= 5


@pytest.mark.parametrize("way", KINDS)
def test_cancel_does_not_wait_for_the_request_that_is_being_served(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(0, ("sleep", 0.5))
        pool.submit(0, ("raise", KeyError("never served")))
        time.sleep(0.1)
        pool.cancel()
        for number in range(3):
            pool.submit(number % 2, ("ok", number))

        assert pool.receive(1) == 1
        # It sleeps on, and its reply is dropped.
        assert pool.receive(0) == 0
        assert pool.receive(0) == 2


@pytest.mark.parametrize("way", KINDS)
def test_cancelled_replies_give_their_slots_back(way: Way) -> None:
    with make_pool(servers.arrays, 100_000, way=way, n=1, max_bytes=2 * MIB, max_batches=64) as pool:
        for repetition in range(20):
            for number in range(10):
                pool.submit(0, number)
            while not pool.has_reply(0):
                pass
            pool.cancel()
            assert pool.bytes_out == 0
            pool.submit(0, repetition)
            reply = pool.receive(0)
            assert is_reply(reply, 0, repetition)
            assert way == "thread" or is_shared(reply["large"])
            del reply


class Model:
    """What a pool must do: a queue for each worker."""

    def __init__(self, pool: Any, num_workers: int) -> None:
        self.pool = pool
        self.expected: list[deque[int]] = [deque() for _ in range(num_workers)]
        self.number = 0

    def step(self, chance: random.Random) -> None:
        """Do one random thing, and check it."""
        pool, worker_id = self.pool, chance.randrange(len(self.expected))
        what = chance.choices(["submit", "receive", "any", "cancel", "look"], [8, 6, 4, 1, 2])[0]
        if what == "submit":
            for _ in range(chance.choice([1, 1, 1, 30])):
                self.number += 1
                pool.submit(worker_id, (self.number, chance.choice([0, 3, 5000, 20_000, 200_000])))
                self.expected[worker_id].append(self.number)
        elif what == "receive" and self.expected[worker_id]:
            assert is_reply(pool.receive(worker_id), worker_id, self.expected[worker_id].popleft())
        elif what == "any" and any(self.expected):
            worker_id, reply = pool.receive_any()
            assert is_reply(reply, worker_id, self.expected[worker_id].popleft())
        elif what == "cancel":
            for _ in range(chance.choice([1, 1, 3])):
                pool.cancel()
            for queue in self.expected:
                queue.clear()
        elif what == "look":
            assert not pool.has_reply(worker_id) or self.expected[worker_id]
        assert [pool.num_pending(place) for place in range(len(self.expected))] == [len(q) for q in self.expected]


@pytest.mark.parametrize(
    "steps", [pytest.param(400, id="few"), pytest.param(20_000, id="many", marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("max_batches", [1, 16])
@pytest.mark.parametrize("way", WAYS)
def test_random_use_is_that_of_a_queue_for_each_worker(way: Way, max_batches: int, steps: int) -> None:
    chance = random.Random(f"{way} {max_batches}")
    with make_pool(servers.arrays_of_all_sizes, way=way, n=3, max_batches=max_batches, max_bytes=2 * MIB) as pool:
        model = Model(pool, 3)
        for _ in range(steps):
            model.step(chance)


@pytest.mark.parametrize("way", KINDS)
def test_pool_that_was_not_started_or_was_closed_says_so(way: Way) -> None:
    kind: Any = ThreadPool if way == "thread" else ProcessPool
    pool = kind(servers.echo, (), ChannelOptions(start_method=None), num_workers=1)
    with pytest.raises(ValueError, match="not started"):
        pool.submit(0, 1)
    pool.close()
    pool.close()
    for call in (pool.start, pool.cancel, pool.receive_any, lambda: pool.receive(0), lambda: pool.submit(0, 1)):
        with pytest.raises(ClosedError, match="this pool was closed after 0 batches"):
            call()


def test_pool_starts_once() -> None:
    with make_pool(servers.orders, n=1) as pool:
        pool.submit(0, ("pid", 0))
        pid = pool.receive(0)
        pool.start()
        pool.submit(0, ("pid", 0))

        assert pool.receive(0) == pid


def test_function_that_cannot_travel_is_named_and_nothing_is_started() -> None:
    pool = ProcessPool[Any, Any](servers.orders, (threading.Lock(),), ChannelOptions(), num_workers=2)
    with pytest.raises(TypeError, match=r"cannot send args\[0\]"):
        pool.start()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_workers": 0}, ValueError),
        ({"num_workers": True}, TypeError),
        ({"num_workers": 2.0}, TypeError),
        ({"num_workers": 1, "environments": []}, ValueError),
        ({"num_workers": 1, "environments": [{"A": 1}]}, TypeError),
    ],
)
def test_argument_out_of_range_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        ProcessPool(servers.echo, (), ChannelOptions(), **options)


def test_running_pool_does_not_pickle() -> None:
    with make_pool(servers.echo) as pool, pytest.raises(TypeError):
        pickle.dumps(pool)


def test_import_of_the_pool_loads_no_process_machinery_and_threads_need_none() -> None:
    source = (
        f"import sys; sys.path.append({str(ROOT)!r})\nimport numpy, xxhash, zstandard\nbefore = set(sys.modules)\n"
        "def loaded():\n    return sorted(m for m in set(sys.modules) - before if m.split('.')[0] in"
        " {'multiprocessing', 'subprocess', 'cloudpickle', 'torch', '_posixsubprocess'})\n"
        "from splitdata.process.pool.thread_pool import ThreadPool\nprint(loaded())\n"
        "from splitdata.process.wire.channel_options import ChannelOptions\n"
        "def serve(worker_id, requests):\n    yield from requests\n"
        "with ThreadPool(serve, (), ChannelOptions(), num_workers=2) as pool:\n"
        "    pool.start()\n    pool.submit(1, 'reply')\n    print(pool.receive(1), loaded())\n"
    )

    assert run_python("-c", source).stdout == "[]\nreply []\n"
