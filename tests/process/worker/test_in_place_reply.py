"""Arrays made in the memory that they travel in: they arrive right whatever else is sent, and are not copied."""

from __future__ import annotations

import mmap
import random
from typing import Any

import numpy as np
import pytest

from splitdata.process.pool.process_pool import ProcessPool
from splitdata.process.pool.thread_pool import ThreadPool
from splitdata.process.wire.channel_options import ChannelOptions, StartMethod
from splitdata.process.wire.messages import part_places
from splitdata.process.worker.in_place_reply import InPlaceReply
from tests.process import servers
from tests.process.servers import is_in_place
from tests.process.test_memory import is_shared

MIB = 1 << 20
Pool = ProcessPool[list[int], Any]


def parts_of(in_place: InPlaceReply, sizes: list[int]) -> list[memoryview]:
    """Return a message with a pickle of 100 bytes and arrays made in place."""
    arrays = [in_place.allocate(size) for size in sizes]
    return [memoryview(bytes(100)), *[array for array in arrays if array is not None]]


@pytest.mark.parametrize("sizes", [[1000], [64, 64], [1, 2, 3], [500, 64, 7]])
def test_message_of_arrays_in_the_order_they_were_made_is_in_place(sizes: list[int]) -> None:
    memory = mmap.mmap(-1, 1 << 16)
    in_place = InPlaceReply(memory, 4096, 8192, 1024, 64)
    parts = parts_of(in_place, sizes)
    places, size = part_places(list(map(len, parts)))
    offset = in_place.message_offset(parts, places)

    assert offset is not None
    assert 4096 <= offset < offset + size <= 4096 + 8192
    for number, (part, place) in enumerate(zip(parts, places, strict=True)):
        if number:
            part[:] = bytes([number]) * len(part)
            assert memory[offset + place : offset + place + len(part)] == bytes([number]) * len(part)


def test_message_of_other_arrays_is_not_in_place() -> None:
    in_place = InPlaceReply(mmap.mmap(-1, 1 << 16), 0, 8192, 1024, 64)
    pickled, first, second = parts_of(in_place, [100, 200])
    for parts in ([pickled, second, first], [pickled, first, memoryview(bytearray(200))], [pickled, second], [pickled]):
        places, _ = part_places(list(map(len, parts)))
        offset = in_place.message_offset(parts, places)
        # One that begins with the second leaves the room of the first unused, and is as good.
        assert (offset is None) == (parts[1:] != [second])


def test_head_that_is_too_small_for_the_pickle_is_noticed() -> None:
    in_place = InPlaceReply(mmap.mmap(-1, 1 << 16), 4096, 8192, 64, 64)
    parts = parts_of(in_place, [100])
    assert in_place.message_offset(parts, part_places(list(map(len, parts)))[0]) is None


def test_draft_without_room_gives_none_and_goes_on() -> None:
    in_place = InPlaceReply(mmap.mmap(-1, 1 << 16), 0, 1024, 64, 64)
    assert in_place.allocate(961) is None
    assert in_place.allocate(960) is not None
    assert in_place.allocate(1) is None
    assert in_place.num_wanted == 1024 + 960 + 64


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_arrays_of_one_size_are_not_copied(method: StartMethod) -> None:
    sizes = [300_000, 50_000]
    with Pool(
        servers.in_place_replies, (), ChannelOptions(start_method=method, max_bytes=8 * MIB), num_workers=1
    ) as pool:
        pool.start()
        for _ in range(40):
            pool.submit(0, sizes)
        for number in range(40):
            reply = pool.receive(0)
            assert is_in_place(reply, 0, number, sizes)
            assert is_shared(reply["0"])
            assert is_shared(reply["1"])
            assert reply["0"].flags.writeable
    # In the first reply the second array found no room, every fifth is in another order.
    copied_replies = 1 + 40 // 5
    assert reply["copied"] <= copied_replies * 351_000 + 40 * 1000


@pytest.mark.parametrize("max_bytes", [1, MIB, 3 * MIB])
def test_arrays_of_all_sizes_arrive_whatever_the_memory(max_bytes: int) -> None:
    draw = random.Random(max_bytes)
    wanted = [[draw.choice([1, 20_000, 70_000, 900_000]) for _ in range(draw.randint(1, 4))] for _ in range(60)]
    held: list[Any] = []
    options = ChannelOptions(start_method="fork", max_bytes=max_bytes, max_batches=3)
    with Pool(servers.in_place_replies, (), options, num_workers=1) as pool:
        pool.start()
        for sizes in wanted:
            pool.submit(0, sizes)
        for number, sizes in enumerate(wanted):
            reply = pool.receive(0)
            held.append((reply, number, sizes))
            # Some are held for long, some given back at once.
            if number % 3:
                held.pop(draw.randrange(len(held)))
            assert all(is_in_place(reply, 0, number, sizes) for reply, number, sizes in held)
        del reply


def test_memory_that_is_not_used_is_given_back() -> None:
    sizes = [200_000, -200_000]
    with Pool(servers.in_place_replies, (), ChannelOptions(start_method="fork", max_bytes=MIB), num_workers=1) as pool:
        pool.start()
        for _ in range(100):
            pool.submit(0, sizes)
        assert all(is_in_place(pool.receive(0), 0, number, sizes) for number in range(100))


def test_memory_of_cancelled_replies_is_given_back() -> None:
    sizes = [300_000]
    options = ChannelOptions(start_method="fork", max_bytes=MIB, max_batches=2)
    with Pool(servers.in_place_replies, (), options, num_workers=1) as pool:
        pool.start()
        for _ in range(50):
            for _ in range(5):
                pool.submit(0, sizes)
            pool.cancel()
        for _ in range(20):
            pool.submit(0, sizes)
        replies = (pool.receive(0) for _ in range(20))
        numbers = [reply["number"] for reply in replies if is_in_place(reply, 0, reply["number"], sizes)]
        assert numbers == list(range(numbers[0], numbers[0] + 20))


def test_threads_have_no_memory_of_their_own() -> None:
    with ThreadPool[Any, Any](servers.asks_for_memory, (), ChannelOptions(), num_workers=1) as pool:
        pool.start()
        pool.submit(0, [1 << 20])
        assert pool.receive(0) is None


def test_reply_held_by_the_consumer_is_never_written_again() -> None:
    sizes = [100_000, 30_000]
    with Pool(servers.in_place_replies, (), ChannelOptions(start_method="fork", max_bytes=MIB), num_workers=1) as pool:
        pool.start()
        for _ in range(40):
            pool.submit(0, sizes)
        held = [pool.receive(0) for _ in range(3)]
        copies = [np.array(reply["0"]) for reply in held]
        for _ in range(37):
            pool.receive(0)
        assert all((reply["0"] == copy).all() for reply, copy in zip(held, copies, strict=True))
