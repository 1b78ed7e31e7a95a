"""Shared memory: no copy, writable, valid as long as held, bounded, returned, and never rewritten under a reader."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata.process.mpqitr import MpQItr
from tests.process.generators import arrays, is_mixed, mixed

MIB = 1 << 20


def addresses(mark: str) -> list[tuple[int, int]]:
    """Return begin and end of every map of this process whose name contains a mark."""
    places = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        if mark in line:
            begin, _, end = line.split()[0].partition("-")
            places.append((int(begin, 16), int(end, 16)))
    return places


def is_shared(array: Any) -> bool:
    """Tell whether an array lies in a block of shared memory."""
    place = array.__array_interface__["data"][0]
    return any(begin <= place < end for begin, end in addresses("memfd:splitdata"))


def shared_bytes() -> int:
    """Return the bytes of all blocks of shared memory that this process maps and that anyone ever touched."""
    total = 0
    # A map keeps a descriptor of its own, which knows the size of the file beneath.
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - iterdir would show its own descriptor too
        try:
            if "memfd:splitdata" in os.readlink(f"/proc/self/fd/{entry}"):  # noqa: PTH115 - leads to no path
                total += os.fstat(int(entry)).st_blocks * 512
        except OSError:
            continue
    return total


def test_large_array_arrives_in_shared_memory_and_writable() -> None:
    for number, batch in enumerate(MpQItr.options(start_method="fork")(arrays, 40, 50_000)):
        assert is_shared(batch)
        assert batch.flags.writeable
        batch += 1
        assert (batch == number + 1).all()


def test_copy_option_gives_private_memory() -> None:
    with MpQItr.options(start_method="fork", copy=True)(arrays, 40, 50_000) as batches:
        kept = list(batches)
        assert not any(is_shared(batch) for batch in kept)

    assert all((batch == number).all() and batch.flags.writeable for number, batch in enumerate(kept))


def test_stream_of_equal_batches_lives_in_the_slots_that_it_needs() -> None:
    options = MpQItr.options(start_method="fork", max_batches=4, max_bytes=256 * MIB)
    for batch in options(arrays, 300, 250_000):
        assert batch.size
    running = iter(options(arrays, 300, 250_000))
    for _ in range(200):
        next(running)

    # 1 MB each of 256: four on their way, those in hand, those going back.
    assert MIB <= shared_bytes() <= 12 * MIB


def test_consumer_that_keeps_everything_gets_copies_after_half_of_the_budget() -> None:
    kept = []
    with MpQItr.options(start_method="fork", max_bytes=8 * MIB)(mixed, 100, 250_000) as batches:
        for number, batch in enumerate(batches):
            kept.append(batch)
            assert is_mixed(batch, number)
    in_shared = [is_shared(batch["large"]) for batch in kept]

    # 4 MiB of 8 in slots of a good 1 MB, the rest private.
    assert 3 <= sum(in_shared) <= 5
    assert in_shared == sorted(in_shared, reverse=True)
    assert all(is_mixed(batch, number) for number, batch in enumerate(kept))


def test_slot_returns_only_with_the_last_view_of_it() -> None:
    def pairs(n: int) -> Iterator[tuple[Any, Any]]:
        for number in range(n):
            yield np.full(30_000, number), np.full(30_000, number + 0.5)

    running = iter(MpQItr.options(start_method="fork", max_bytes=4 * MIB)(pairs, 60))
    first, second = next(running)
    window = memoryview(second[100:200])[5:7]
    row = first.reshape(3, -1)[1]
    del first, second
    for number, (left, right) in enumerate(running, start=1):
        assert (left == number).all()
        assert (right == number + 0.5).all()
        assert (row == 0).all()
        assert list(window) == [0.5, 0.5]


@pytest.mark.parametrize("max_bytes", [1, 100_000, 3 * MIB])
def test_batch_larger_than_the_budget_goes_through(max_bytes: int) -> None:
    for number, batch in enumerate(MpQItr.options(start_method="fork", max_bytes=max_bytes)(mixed, 10, 1_000_000)):
        assert is_mixed(batch, number)
        assert batch["large"].flags.writeable


def test_batches_of_all_sizes_arrive_whole() -> None:
    def growing() -> Iterator[Any]:
        for power in range(25):
            for size in (2**power - 1, 2**power, 2**power + 1):
                yield np.full(size, power, np.uint8)

    sizes = []
    for batch in MpQItr.options(start_method="fork", max_bytes=4 * MIB)(growing):
        sizes.append(batch.size)
        assert not batch.size or batch.min() == batch.max()

    assert sizes == [2**power + step for power in range(25) for step in (-1, 0, 1)]


def test_bytes_of_many_megabytes_arrive() -> None:
    def blobs() -> Iterator[bytes]:
        for size in (0, 1, 20_000, 5_000_000, 40_000_000):
            yield b"x" * size

    for max_bytes in (MIB, 64 * MIB):
        options = MpQItr.options(start_method="fork", max_bytes=max_bytes)
        assert [len(blob) for blob in options(blobs)] == [0, 1, 20_000, 5_000_000, 40_000_000]


def test_held_slots_that_cover_every_hole_do_not_stop_the_stream() -> None:
    def alternating() -> Iterator[Any]:
        for number in range(400):
            yield np.full(20_000 if number % 2 else 300_000, number, np.uint16)

    kept: dict[int, Any] = {}
    for number, batch in enumerate(MpQItr.options(start_method="fork", max_bytes=2 * MIB)(alternating)):
        assert (batch == number).all()
        if number % 7 == 1 and len(kept) < 20:
            kept[number] = batch

    assert all((batch == number).all() for number, batch in kept.items())


def test_batch_that_refers_to_itself_gives_its_slot_back() -> None:
    def cyclic(n: int) -> Iterator[dict[str, Any]]:
        for number in range(n):
            batch: dict[str, Any] = {"x": np.full(100_000, number)}
            batch["me"] = batch
            yield batch

    for number, batch in enumerate(MpQItr.options(start_method="fork", max_bytes=4 * MIB)(cyclic, 30)):
        assert batch["me"] is batch
        assert (batch["x"] == number).all()
    del batch
    gc.collect()


def test_generator_may_reuse_its_buffer() -> None:
    def reusing(n: int) -> Iterator[dict[str, Any]]:
        batch: dict[str, Any] = {"x": np.zeros(50_000, np.int64), "n": [0]}
        for number in range(n):
            batch["x"][:] = number
            batch["n"][0] = number
            yield batch

    for number, batch in enumerate(MpQItr.options(start_method="fork", max_batches=8)(reusing, 50)):
        assert (batch["x"] == number).all()
        assert batch["n"] == [number]


def test_many_runs_leave_no_map_behind() -> None:
    for _ in range(20):
        assert len(list(MpQItr.options(start_method="fork")(arrays, 3, 50_000))) == 3

    assert addresses("memfd:splitdata") == []
    assert shared_bytes() == 0
