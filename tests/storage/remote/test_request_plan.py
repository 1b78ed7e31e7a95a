"""Which requests bring some blocks: each block once, neighbours together, within both limits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from splitdata.storage.remote.request_plan import blocks_of, plan_requests, plan_windows

BLOCKS = st.lists(st.integers(0, 400), max_size=60)
SIZES = st.tuples(st.sampled_from((1, 4, 16)), st.integers(0, 80), st.integers(1, 200))


@given(BLOCKS, SIZES)
def test_each_block_is_in_one_request_and_requests_ascend(blocks: list[int], sizes: tuple[int, int, int]) -> None:
    block, gap, most = sizes
    requests = plan_requests(blocks, block, gap_bytes=gap, request_bytes=most)
    covered = [number for request in requests for number in request]
    assert covered == sorted(set(covered))
    assert set(blocks) <= set(covered)


@given(BLOCKS, SIZES)
def test_request_begins_and_ends_with_what_is_wanted_and_keeps_to_the_limits(
    blocks: list[int], sizes: tuple[int, int, int]
) -> None:
    block, gap, most = sizes
    for request in plan_requests(blocks, block, gap_bytes=gap, request_bytes=most):
        assert {request.start, request.stop - 1} <= set(blocks)
        assert len(request) * block <= max(most, block)
        wanted = sorted(set(blocks) & set(request))
        assert all((after - before - 1) * block <= gap for before, after in pairwise(wanted))


@given(BLOCKS, SIZES)
def test_neighbours_are_apart_only_where_a_limit_says_so(blocks: list[int], sizes: tuple[int, int, int]) -> None:
    block, gap, most = sizes
    requests = plan_requests(blocks, block, gap_bytes=gap, request_bytes=most)
    for before, after in pairwise(requests):
        is_far = (after.start - before.stop) * block > gap
        is_long = (after.start + 1 - before.start) * block > most
        assert is_far or is_long


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 300), st.integers(0, 90)), min_size=1, max_size=40))
def test_windows_hold_no_more_blocks_than_they_may_but_for_single_records(records: list[tuple[int, int, int]]) -> None:
    records.sort()
    files, offsets, lengths = (np.array(column, np.int64) for column in zip(*records, strict=True))
    cuts = plan_windows(files, offsets, lengths, 10, 50)
    assert (np.diff(cuts) > 0).all()
    for part in np.split(np.arange(len(records)), cuts):
        assert len(part)
        blocks = {
            (files[one], block)
            for one in part
            for block in range(offsets[one] // 10, (offsets[one] + max(lengths[one], 1) - 1) // 10 + 1)
        }
        assert len(blocks) <= 5 + 10 or len(part) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1 << 40), st.integers(0, 20_000)), min_size=1, max_size=30))
def test_blocks_of_a_batch_are_those_that_its_bytes_lie_in(extents: list[tuple[int, int, int]]) -> None:
    expected: dict[int, set[int]] = {}
    for file, offset, length in extents:
        expected.setdefault(file, set()).update(range(offset // 4096, (offset + max(length, 1) - 1) // 4096 + 1))
    files, offsets, lengths = (np.array(column, np.int64) for column in zip(*extents, strict=True))
    found = blocks_of(files, offsets, lengths, 4096)
    assert found == {file: sorted(numbers) for file, numbers in expected.items()}
