"""K: the order of 10^9 records, positions per second of each kind and what it takes of memory, in a process of its own.

parent ── starts ──> child: blocks of positions, here and there in the epoch ── JSON ──> parent
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from splitdata.order.epoch_order import Order

__all__ = ["KINDS", "order_billion"]

# As the tables name them.
KINDS: Final = ("global", "window", "bins", "bins, 8 lanes", "rotation, 8 lanes", "one step of 64, global")
_NUM_RECORDS: Final = 10**9
_BLOCK: Final = 1 << 16
_STEP: Final = 64
_NUM_BINS: Final = 64


def order_billion(repeat: int, seconds: float) -> dict[str, Any]:
    """Return positions per second of each kind, the median of all runs, and by how many MB the process grew."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workloads.ordering", str(repeat), str(seconds)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=600,
        cwd=Path(__file__).parents[2],
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _orders() -> dict[str, tuple[Order, int]]:
    """Return for each kind its order and the positions of a block."""
    import numpy as np

    from splitdata.order.bin_layout import BinLayout, BinTable
    from splitdata.order.epoch_order import epoch_order
    from splitdata.order.rotation import RotationOrder
    from splitdata.order.window import Window

    bins = np.arange(_NUM_BINS, dtype=np.int64)
    counts = (_NUM_RECORDS - bins + _NUM_BINS - 1) // _NUM_BINS
    layout = BinLayout([BinTable(bins, np.full(_NUM_BINS, _NUM_BINS, np.int64), counts)])
    everything = epoch_order("global", _NUM_RECORDS, seed=0, epoch=0)
    in_lanes = epoch_order("bins", _NUM_RECORDS, seed=0, epoch=0, lanes=8, bins=layout)
    orders: tuple[tuple[Order, int], ...] = (
        (everything, _BLOCK),
        (epoch_order(Window(10_000), _NUM_RECORDS, seed=0, epoch=0), _BLOCK),
        (epoch_order("bins", _NUM_RECORDS, seed=0, epoch=0, bins=layout), _BLOCK),
        (in_lanes, _BLOCK),
        (RotationOrder(in_lanes, times=3, size=10_000, seed=0, epoch=0, lanes=8), _BLOCK),
        (everything, _STEP),
    )
    return dict(zip(KINDS, orders, strict=True))


def _child(repeat: int, seconds: float) -> None:
    import numpy as np

    from benchmarks.workloads.billion import peak_rss_mb

    before = peak_rss_mb()
    orders = _orders()
    rates: dict[str, list[float]] = {kind: [] for kind in orders}
    starts = np.random.default_rng(0).integers(0, _NUM_RECORDS - _BLOCK, 1000).tolist()
    for _ in range(repeat + 1):
        for kind, (order, block) in orders.items():
            begun, count = time.perf_counter(), 0
            while time.perf_counter() < begun + seconds / 2:
                start = starts[count % len(starts)]
                order(np.arange(start, start + block))
                count += 1
            rates[kind].append(count * block / (time.perf_counter() - begun))
    # The first round warms up.
    medians = {kind: statistics.median(values[1:] or values) for kind, values in rates.items()}
    print(json.dumps({"positions_per_second": medians, "grown_by_mb": peak_rss_mb() - before}))


if __name__ == "__main__":
    _child(int(sys.argv[1]), float(sys.argv[2]))
