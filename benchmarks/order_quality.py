"""How random each order is, and how sequential: tables in Markdown, on the standard output.

global     beside numpy's own permutation        chance alone is what both should show
Window     beside a shuffle buffer               how far records move, who meets whom
bins       beside the global order               how many files are open, how much of the data a batch mixes

python -m benchmarks.order_quality            two minutes
python -m benchmarks.order_quality --quick    fewer repetitions, to see that it runs
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.bin_layout import BinLayout, BinTable
from splitdata.order.bin_shuffle import BinShuffle
from splitdata.order.epoch_order import epoch_order
from splitdata.order.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MEASURES", "measures_of"]

_MOST_CELLS: Final = 16
_BATCH: Final = 256
_NUM_RECORDS: Final = 1_000_000
_NUM_BINS: Final = 64
# Number of records, repetitions.
_GLOBAL: Final = ((20, 20_000), (1000, 5000), (65_536, 1000), (65_537, 1000), (1_000_000, 100))

# Name, what a uniform permutation shows on average; all are scaled so that this does not depend on the length.
MEASURES: Final = {
    "pairs": 0.0,
    "places": 0.0,
    "displacement": 1 / 3,
    "correlation": 0.0,
    "fixed points": 1.0,
    "neighbours": 2.0,
}


def measures_of(records: NDArray[np.int64]) -> dict[str, float]:
    """Return how a permutation compares with chance.

    `pairs` is the chi-square of the table (record, next record) in up to 16 x 16 equal parts, `places` that of
    (position, record): both less their expectation, in standard deviations. `displacement` is the mean distance
    between position and record as a share of the length, `correlation` that of record and next record, times the
    root of the length. `fixed points` counts the records whose place is their number, `neighbours` those that
    follow one beside which they were written.
    """
    count = len(records)
    positions = np.arange(count)
    steps = np.abs(np.diff(records))
    return {
        "pairs": _chi_square(records[:-1], records[1:], count),
        "places": _chi_square(positions, records, count),
        "displacement": float(np.abs(records - positions).mean()) / count,
        "correlation": float(np.corrcoef(records[:-1], records[1:])[0, 1]) * math.sqrt(count),
        "fixed points": float((records == positions).sum()),
        "neighbours": float((steps == 1).sum()) * count / (count - 1),
    }


def _chi_square(first: NDArray[np.int64], second: NDArray[np.int64], count: int) -> float:
    """Return the chi-square of two columns of numbers below `count`, standardised."""
    # Five in each cell, on average, or more.
    cells = max(2, min(_MOST_CELLS, math.isqrt(count // 5)))
    table = np.zeros((cells, cells))
    np.add.at(table, (first * cells // count, second * cells // count), 1)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / len(first)
    # The sums of rows and columns are given, as each number comes once.
    freedom = (cells - 1) ** 2
    return (float(((table - expected) ** 2 / expected).sum()) - freedom) / math.sqrt(2 * freedom)


def global_table(share: float) -> Iterator[str]:
    """Yield the lines of the comparison with numpy."""
    yield "| records | orders | | " + " | ".join(MEASURES) + " |"
    yield "|---:|---:|---|" + "---:|" * len(MEASURES)
    generator = np.random.default_rng(1)
    for count, most in _GLOBAL:
        repeat = max(5, round(most * share))
        orders = {
            "splitdata": [
                measures_of(epoch_order("global", count, seed=seed, epoch=3)(np.arange(count)))
                for seed in range(repeat)
            ],
            "numpy": [measures_of(generator.permutation(count)) for _ in range(repeat)],
        }
        for name, found in orders.items():
            cells = [_mean_and_error([one[measure] for one in found]) for measure in MEASURES]
            yield f"| {count:,} | {repeat:,} | {name} | " + " | ".join(cells) + " |"


def _mean_and_error(values: list[float]) -> str:
    error = float(np.std(values)) / math.sqrt(len(values))
    digits = 4 if error < 0.005 else 2
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def window_table() -> Iterator[str]:
    """Yield the lines on windows, beside a buffer of as many records."""
    yield "| | furthest move | mean move | next record is that far away | neighbours kept | spread of a batch |"
    yield "|---|---:|---:|---:|---:|---:|"
    for size in (100, 1000, 10_000, 100_000):
        records = epoch_order(Window(size), _NUM_RECORDS, seed=0, epoch=0)(np.arange(_NUM_RECORDS))
        yield _window_line(f"`Window({size:_})`", records, size)
        yield _window_line(f"buffer of {size:,} records", _from_buffer(size), size)


def _window_line(name: str, records: NDArray[np.int64], size: int) -> str:
    moved = np.abs(records - np.arange(_NUM_RECORDS))
    steps = np.abs(np.diff(records))
    batches = records[: len(records) // _BATCH * _BATCH].reshape(-1, _BATCH)
    shares = [moved.max(), moved.mean(), steps.mean(), np.median(batches.std(axis=1))]
    furthest, mean, step, spread = (float(value) / size for value in shares)
    kept = float((steps == 1).mean())
    return f"| {name} | {furthest:.2f} w | {mean:.2f} w | {step:.2f} w | {kept:.2%} | {spread:.2f} w |"


def _from_buffer(size: int) -> NDArray[np.int64]:
    """Return the order in which a full buffer yields records when a random one is taken out each time."""
    generator = np.random.default_rng(2)
    slots = generator.integers(0, size, _NUM_RECORDS).tolist()
    buffer = list(range(size))
    taken = []
    for record, slot in zip(range(size, _NUM_RECORDS), slots, strict=False):
        taken.append(buffer[slot])
        buffer[slot] = record
    return np.array([*taken, *generator.permutation(np.array(buffer)).tolist()])


def bins_table() -> Iterator[str]:
    """Yield the lines on bins, beside the global order."""
    yield (
        "| | bins open | reads forward in their bin | bins in a batch | spread of batch means | "
        "mixed with, of all records |"
    )
    yield "|---|---:|---:|---:|---:|---:|"
    bins = np.arange(_NUM_BINS)
    counts = (_NUM_RECORDS - bins + _NUM_BINS - 1) // _NUM_BINS
    layout = BinLayout([BinTable(bins, np.full(_NUM_BINS, _NUM_BINS), counts)])
    for interleave, lanes in ((1, 1), (4, 1), (16, 1), (64, 1), (4, 8), (1, 8)):
        order = epoch_order("bins", _NUM_RECORDS, seed=0, epoch=0, lanes=lanes, interleave=interleave, bins=layout)
        shuffle = BinShuffle(counts, interleave=interleave, seed=0, lanes=lanes)
        name = f"interleave={interleave}" + (f", {lanes} lanes, all ranks" if lanes > 1 else "")
        yield _bins_line(name, order(np.arange(_NUM_RECORDS)), _reachable(shuffle, lanes))
        if lanes > 1:
            name = f"interleave={interleave}, {lanes} lanes, one rank of {lanes}"
            yield _bins_line(name, order(np.arange(0, _NUM_RECORDS, lanes)), _reachable(shuffle, lanes) / lanes)
    everything = epoch_order("global", _NUM_RECORDS, seed=0, epoch=0)(np.arange(_NUM_RECORDS))
    yield _bins_line("global", everything, 1.0)


def _bins_line(name: str, records: NDArray[np.int64], reachable: float) -> str:
    bins = records % _NUM_BINS
    order = np.argsort(bins, kind="stable")
    edges = np.flatnonzero(np.diff(bins[order])) + 1
    stretches = np.split(order, edges)
    open_bins = sum(int(places[-1] - places[0]) + 1 for places in stretches) / len(records)
    forward = sum(int((np.diff(records[places]) > 0).sum()) for places in stretches) / (len(records) - len(stretches))
    batches = records[: len(records) // _BATCH * _BATCH].reshape(-1, _BATCH)
    in_batch = np.mean([len(np.unique(batch)) for batch in batches[::37] % _NUM_BINS])
    # Of uniform batches the mean has this spread; 1.00 says that a batch is as mixed as theirs.
    spread = batches.mean(axis=1).std() / (_NUM_RECORDS / math.sqrt(12 * _BATCH))
    return f"| {name} | {open_bins:.1f} | {forward:.1%} | {in_batch:.1f} | {spread:.2f} | {reachable:.1%} |"


def _reachable(shuffle: BinShuffle, lanes: int) -> float:
    """Return the share of all records that are mixed with a record at the same time, on average."""
    sizes = np.diff([0, *(shuffle.group_range(group)[1] for group in range(shuffle.num_groups))])
    return float((sizes.astype(float) ** 2).sum()) * lanes / shuffle.num_records**2


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the repetitions")
    arguments = parser.parse_args()
    for title, lines in (
        ("global", global_table(0.05 if arguments.quick else 1.0)),
        (f"Window, {_NUM_RECORDS:,} records", window_table()),
        (f"bins, {_NUM_RECORDS:,} records in {_NUM_BINS} bins", bins_table()),
    ):
        print(f"**{title}**\n")
        for line in lines:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
