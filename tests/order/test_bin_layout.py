"""BinLayout: bin and ordinal to record and back, over segments with and without a table, and of a part of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order.bin_layout import BinLayout, BinTable


def by_arithmetic(num_records: int, num_bins: int) -> BinTable:
    """A segment whose bins take turns; bins that would stay empty do not exist."""
    bins = np.arange(min(num_bins, num_records), dtype=np.int64)
    counts = (num_records - bins + num_bins - 1) // num_bins
    return BinTable(bins, np.full(len(bins), num_bins, np.int64), counts)


def by_table(bin_of_each: list[int], num_bins: int) -> BinTable:
    """A segment whose records were put into bins at will."""
    numbers = np.array(bin_of_each, np.int64)
    counts = np.bincount(numbers, minlength=num_bins).astype(np.int64)
    order = np.argsort(numbers, kind="stable").astype(np.uint32)
    return BinTable(np.cumsum(counts) - counts, np.ones(num_bins, np.int64), counts, order)


TABLES = st.one_of(
    st.builds(by_arithmetic, st.integers(0, 40), st.integers(1, 7)),
    st.builds(by_table, st.lists(st.integers(0, 4), max_size=30), st.just(5)),
)
LAYOUTS = st.lists(TABLES, max_size=4).map(BinLayout)


def contents(layout: BinLayout) -> list[list[int]]:
    """Return the records of each bin."""
    return [
        layout.positions(np.full(count, number), np.arange(count)).tolist()
        for number, count in enumerate(layout.counts.tolist())
    ]


def test_drawing_of_the_module_holds() -> None:
    layout = BinLayout([by_arithmetic(7, 3), by_table([1, 1, 0], 2)])

    assert contents(layout) == [[0, 3, 6], [1, 4], [2, 5], [9], [7, 8]]
    assert layout.counts.tolist() == [3, 2, 2, 1, 2]
    assert layout.num_records == 10


@given(LAYOUTS)
def test_every_record_is_in_one_bin(layout: BinLayout) -> None:
    bins = contents(layout)

    assert sorted(record for one in bins for record in one) == list(range(layout.num_records))
    found = layout.bins_of(np.arange(layout.num_records)).tolist()
    assert found == [next(number for number, one in enumerate(bins) if record in one) for record in range(len(found))]


@given(LAYOUTS, st.data())
def test_restricted_layout_keeps_bins_and_numbers_records_anew(layout: BinLayout, data: st.DataObject) -> None:
    whole = contents(layout)
    records = np.array(
        data.draw(st.lists(st.integers(0, layout.num_records - 1)) if layout.num_records else st.just([]))
    )
    records = records.astype(np.int64)

    part = contents(layout.restricted_to(records))

    assert len(part) == len(whole)
    assert sorted(place for one in part for place in one) == list(range(len(records)))
    for number, places in enumerate(part):
        assert set(records[places].tolist()) <= set(whole[number])
        assert places == sorted(places)


@given(LAYOUTS)
def test_layout_can_be_restricted_again(layout: BinLayout) -> None:
    half = layout.restricted_to(np.arange(0, layout.num_records, 2))
    quarter = half.restricted_to(np.arange(0, half.num_records, 2))
    at_once = layout.restricted_to(np.arange(0, layout.num_records, 4))

    assert contents(quarter) == contents(at_once)


@pytest.mark.parametrize("record", [-1, 7])
def test_record_that_is_in_no_bin_is_refused(record: int) -> None:
    layout = BinLayout([by_arithmetic(7, 3)])

    with pytest.raises(IndexError, match=f"record {record} .* hold 7"):
        layout.restricted_to(np.array([0, record]))
