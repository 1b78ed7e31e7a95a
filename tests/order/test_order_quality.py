"""The quality of the orders, with fixed keys: the global one shows what chance shows, and the measures would notice."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.order_quality import MEASURES, measures_of
from splitdata import Window
from splitdata.order.bin_layout import BinLayout, BinTable
from splitdata.order.epoch_order import epoch_order

# Above the largest of the fifty figures that are compared, were all of them chance.
MOST_ERRORS = 5


# A table, the longest table, the shortest network, a network whose length is cut from nearly twice as much.
@pytest.mark.parametrize(("num_records", "num_orders"), [(200, 400), (65_536, 30), (65_537, 30), (131_073, 20)])
def test_global_order_shows_what_chance_shows(num_records: int, num_orders: int) -> None:
    positions = np.arange(num_records)
    found = [
        measures_of(epoch_order("global", num_records, seed=seed, epoch=1)(positions)) for seed in range(num_orders)
    ]

    for measure, expected in MEASURES.items():
        values = [one[measure] for one in found]
        error = float(np.std(values)) / math.sqrt(num_orders)
        # Of few records chance itself is a little beside the figure for many.
        assert abs(float(np.mean(values)) - expected) < MOST_ERRORS * error + 2 / num_records, measure
    # Neither less even than chance nor more.
    for measure in ("pairs", "places", "correlation"):
        assert 0.6 < float(np.std([one[measure] for one in found])) < 1.6, measure


def test_orders_of_two_epochs_have_nothing_to_do_with_each_other() -> None:
    """Where a record comes in one epoch does not say where it comes in the next, or under the next seed."""
    for num_records in (1000, 70_000):
        positions = np.arange(num_records)
        one, next_epoch, next_seed = (
            epoch_order("global", num_records, seed=seed, epoch=epoch)(positions)
            for seed, epoch in ((3, 3), (3, 4), (4, 3))
        )
        for other in (next_epoch, next_seed):
            assert abs(np.corrcoef(one, other)[0, 1]) * math.sqrt(num_records) < MOST_ERRORS
            assert int((one == other).sum()) < 8


def test_measures_notice_an_order_that_is_not_global() -> None:
    num_records = 50_000
    positions = np.arange(num_records)
    bins = np.arange(64)
    layout = BinLayout([BinTable(bins, np.full(64, 64), (num_records - bins + 63) // 64)])
    wide = measures_of(epoch_order(Window(num_records // 2), num_records, seed=0, epoch=0)(positions))
    # Records of one bin are 64 apart, so two that follow each other are never neighbours.
    binwise = measures_of(epoch_order("bins", num_records, seed=0, epoch=0, interleave=1, bins=layout)(positions))
    unshuffled = measures_of(np.roll(positions, num_records // 3))

    assert wide["places"] > 100
    assert wide["correlation"] > 10
    assert binwise["neighbours"] == 0
    assert unshuffled["pairs"] > 1000
    assert unshuffled["neighbours"] > 1000
