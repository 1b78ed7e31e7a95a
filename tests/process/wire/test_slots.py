"""Free ranges against a model of single bytes, loans against the garbage collector."""

from __future__ import annotations

import gc
import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.process.wire.slots import FreeRanges, Loans

TOTAL = 64 * 40


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 64 * 12)), max_size=120))
def test_free_ranges_never_overlap_and_take_the_lowest_place(steps: list[tuple[bool, int]]) -> None:
    free = FreeRanges(TOTAL)
    taken: dict[int, int] = {}
    for gives, number in steps:
        if gives and taken:
            offset = sorted(taken)[number % len(taken)]
            free.give_back(offset)
            del taken[offset]
            continue
        size = -(-number // 64) * 64
        used = sorted((offset, offset + length) for offset, length in taken.items())
        gaps = list(zip([0, *(end for _, end in used)], [*(begin for begin, _ in used), TOTAL], strict=True))
        expected = next((begin for begin, end in gaps if end - begin >= size), None)
        offset_or_none = free.take(number)
        assert offset_or_none == expected
        if offset_or_none is not None:
            taken[offset_or_none] = size
    for offset in taken:
        free.give_back(offset)

    assert free.take(TOTAL) == 0


def test_slot_that_is_not_taken_cannot_be_given_back() -> None:
    with pytest.raises(KeyError):
        FreeRanges(640).give_back(64)


def lend(loans: Loans, offset: int, size: int) -> Any:
    return loans.lend(offset, size)


def test_loan_returns_once_the_last_view_is_gone() -> None:
    loans = Loans(mmap.mmap(-1, 8192))
    slot = lend(loans, 64, 640)
    views = [memoryview(slot[5:]), np.ndarray((10,), "<f8", memoryview(slot)), slot[1:][1:][::2]]
    del slot
    while views:
        assert loans.collect() == []
        assert loans.bytes_out == 640
        views.pop()
        gc.collect()

    assert loans.returned
    assert loans.collect() == [64]
    assert loans.bytes_out == 0
    assert not loans.returned


def test_pinned_loan_never_returns() -> None:
    loans = Loans(mmap.mmap(-1, 8192))
    first, second = lend(loans, 0, 64), lend(loans, 128, 64)
    loans.pin()
    third = lend(loans, 256, 64)
    del first, second, third

    assert loans.collect() == [256]
    assert loans.bytes_out == 128


def test_memory_of_a_loan_outlives_the_loans() -> None:
    loans = Loans(mmap.mmap(-1, 8192))
    slot = lend(loans, 0, 4096)
    slot[:] = 7
    del loans
    gc.collect()

    assert (slot == 7).all()
