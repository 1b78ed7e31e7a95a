"""How full batches by length and packs are, beside other ways on the same lengths, and the speed of orders that draw.

padding    samples padded to the longest of their batch     beside transformers' LengthGroupedSampler, and sorting all
packs      sequences of one length                          beside TRL's, Megatron's and Grain's published algorithms
mixing     who meets whom again in the next epoch           what like lengths and windows cost
speed      positions per CPU second                         mixtures, weights, classes, batches

python -m benchmarks.batching_quality            a minute or two
python -m benchmarks.batching_quality --quick    fewer samples, to see that it runs
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from splitdata.order.balanced_order import Balance
from splitdata.order.batching import Batching, Buckets, TokenBudget
from splitdata.order.blend import Blend, Stage
from splitdata.order.epoch_order import epoch_order
from splitdata.order.mixture_order import MixedSource, Mixing
from splitdata.order.packs import Packed, Strategy
from splitdata.order.weighted_order import Weighting
from splitdata.order.windowed_batches import WindowedBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["Packing", "grain_first_fit", "lengths_of", "megatron_concat", "trl_best_fit", "trl_wrapped"]

_NUM_SAMPLES: Final = 100_000
_SIZE: Final = 4096
_BUDGET: Final = 16_384
_BLOCK: Final = 1 << 16
# Of datasets' map, which packs each of its batches by itself.
_TRL_BATCH: Final = 1000


def lengths_of(num_samples: int) -> NDArray[np.int64]:
    """Return lengths as of texts: log-normal, most of them short, up to one sequence."""
    drawn = np.exp(np.random.default_rng(0).normal(5, 1, num_samples)).astype(np.int64) + 1
    return np.minimum(drawn, _SIZE)


class Packing(NamedTuple):
    """What a way to pack makes of lengths: elements of each sequence, samples that are cut, how far samples move."""

    sequences: list[int]
    num_split: int
    moved: float


def trl_best_fit(lengths: NDArray[np.int64], size: int) -> Packing:
    """TRL's strategy "bfd": best fit decreasing in each thousand samples; trl/data_utils.py says how."""
    sequences: list[int] = []
    moves: list[int] = []
    place = 0
    for begin in range(0, len(lengths), _TRL_BATCH):
        some = lengths[begin : begin + _TRL_BATCH]
        bins: list[list[int]] = []
        room: list[int] = []
        for sample in np.argsort(-some, kind="stable").tolist():
            fitting = [number for number, left in enumerate(room) if left >= some[sample]]
            if fitting:
                chosen = min(fitting, key=room.__getitem__)
            else:
                chosen = len(bins)
                bins.append([])
                room.append(size)
            bins[chosen].append(begin + sample)
            room[chosen] -= int(some[sample])
        sequences += [size - left for left in room]
        for inner in bins:
            moves += [abs(sample - place - turn) for turn, sample in enumerate(inner)]
            place += len(inner)
    return Packing(sequences, 0, float(np.mean(moves)))


def trl_wrapped(lengths: NDArray[np.int64], size: int) -> Packing:
    """TRL's strategy "wrapped": each thousand samples end to end, cut every `size` elements."""
    parts = [megatron_concat(lengths[begin : begin + _TRL_BATCH], size) for begin in range(0, len(lengths), _TRL_BATCH)]
    return Packing([one for part in parts for one in part.sequences], sum(part.num_split for part in parts), 0.0)


def megatron_concat(lengths: NDArray[np.int64], size: int) -> Packing:
    """Megatron-Core's GPTDataset: all documents of an epoch end to end, cut every `size` elements."""
    stops = np.cumsum(lengths)
    total = int(stops[-1])
    borders = np.arange(size, total, size)
    # A border inside of a sample cuts it; several may.
    cut = np.unique(np.searchsorted(stops, borders, "right")[~np.isin(borders, stops)])
    return Packing([size] * (total // size) + [total % size] * (total % size > 0), len(cut), 0.0)


def grain_first_fit(lengths: NDArray[np.int64], size: int, num_bins: int) -> Packing:
    """Grain's FirstFitPackIterDataset: each sample into the first of N bins with room; if none has, all go out."""
    sequences: list[int] = []
    moves: list[int] = []
    place = 0
    bins: list[list[int]] = [[] for _ in range(num_bins)]
    room = [size] * num_bins

    def emit() -> None:
        nonlocal place
        sequences.extend(size - left for left in room if left < size)
        for inner in bins:
            moves.extend(abs(sample - place - turn) for turn, sample in enumerate(inner))
            place += len(inner)

    for sample, length in enumerate(lengths.tolist()):
        found = next((number for number, left in enumerate(room) if left >= length), None)
        if found is None:
            emit()
            bins, room, found = [[] for _ in range(num_bins)], [size] * num_bins, 0
        bins[found].append(sample)
        room[found] -= length
    emit()
    return Packing(sequences, 0, float(np.mean(moves)))


def length_grouped(lengths: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Return batches as transformers' LengthGroupedSampler: up to 50 batches of random samples at a time, sorted."""
    shuffled = np.random.default_rng(1).permutation(len(lengths))
    step = min(len(lengths) // (batch_size * 4), 50) * batch_size
    groups = [shuffled[begin : begin + step] for begin in range(0, len(lengths), step)]
    indices = np.concatenate([group[np.argsort(-lengths[group], kind="stable")] for group in groups])
    return [indices[begin : begin + batch_size] for begin in range(0, len(indices), batch_size)]


def _batches(batching: Batching, lengths: NDArray[np.int64], batch_size: int, epoch: int = 0) -> WindowedBatches:
    order = epoch_order("global", len(lengths), seed=0, epoch=epoch)
    return WindowedBatches(
        batching, len(lengths), lambda places: lengths[order(places)], batch_size=batch_size, lanes=8, key=epoch + 1
    )


def padding_table(lengths: NDArray[np.int64]) -> Iterator[str]:
    """Yield the lines on padding, of batches of about as many samples."""
    yield "| | batches | elements of the largest | full |"
    yield "|---|---:|---:|---:|"
    ours = {f"`TokenBudget`, window of {window:,}": _padded(lengths, window) for window in (1024, 8192, 65_536)}
    batch_size = len(lengths) // len(ours["`TokenBudget`, window of 8,192"])
    boundaries = tuple(np.unique(np.quantile(lengths, np.arange(1, 20) / 20).astype(int)).tolist())
    cuts = _batches(Buckets(boundaries=boundaries), lengths, batch_size)
    order = epoch_order("global", len(lengths), seed=0, epoch=0)
    ours[f"`Buckets`, 20 of them, {batch_size} samples, window of 8,192"] = [order(batch) for batch in cuts]
    ours[f"LengthGroupedSampler, {batch_size} samples"] = length_grouped(lengths, batch_size)
    everything = np.argsort(lengths, kind="stable")
    ours[f"all samples sorted, {batch_size} samples"] = np.array_split(everything, len(lengths) // batch_size)
    shuffled = order(np.arange(len(lengths)))
    ours[f"in the order of the epoch, {batch_size} samples"] = np.array_split(shuffled, len(lengths) // batch_size)
    for name, batches in ours.items():
        rooms = [len(batch) * int(lengths[batch].max()) for batch in batches]
        yield f"| {name} | {len(batches):,} | {max(rooms):,} | {lengths.sum() / sum(rooms):.1%} |"


def _padded(lengths: NDArray[np.int64], window: int) -> list[NDArray[np.int64]]:
    order = epoch_order("global", len(lengths), seed=0, epoch=0)
    return [order(batch) for batch in _batches(TokenBudget(max_tokens=_BUDGET, window=window), lengths, 1)]


def packs_table(lengths: NDArray[np.int64]) -> Iterator[str]:
    """Yield the lines on packs."""
    yield "| | sequences | full | samples split | mean move of a sample |"
    yield "|---|---:|---:|---:|---:|"
    ours: dict[str, Packing] = {}
    ways: tuple[tuple[Strategy, int], ...] = (
        *(("best-fit", 1024), ("best-fit", 8192), ("first-fit", 8192), ("in-order", 8192), ("concat", 8192)),
    )
    for strategy, window in ways:
        batching = Packed(size=_SIZE, strategy=strategy, window=window)
        ours[f"`{strategy}`, window of {window:,}"] = _packed(batching, lengths)
    ours["TRL `bfd`"] = trl_best_fit(lengths, _SIZE)
    ours["TRL `wrapped`"] = trl_wrapped(lengths, _SIZE)
    ours["Megatron"] = megatron_concat(lengths, _SIZE)
    for num_bins in (8, 64, 512):
        ours[f"Grain first fit, {num_bins} bins"] = grain_first_fit(lengths, _SIZE, num_bins)
    for name, packing in ours.items():
        full = int(lengths.sum()) / (len(packing.sequences) * _SIZE)
        split = f"{packing.num_split / len(lengths):.1%}"
        yield f"| {name} | {len(packing.sequences):,} | {full:.2%} | {split} | {packing.moved:,.0f} |"


def _packed(batching: Packed, lengths: NDArray[np.int64]) -> Packing:
    """Pack in the order given, as the others do; the order of packs is kept too."""
    whole = WindowedBatches(batching, len(lengths), lambda places: lengths[places], batch_size=1, lanes=1, key=None)
    cuts = [whole.cut(number) for number in range(len(whole))]
    moved = 0.0
    if not batching.splits:
        order = np.concatenate([cut.positions for cut in cuts])
        moved = float(np.abs(order - np.arange(len(order))).mean())
    num_split = sum(int(one.positions[-1] == two.positions[0]) for one, two in pairwise(cuts)) if batching.splits else 0
    return Packing([cut.num_elements for cut in cuts], num_split, moved)


def mixing_table(lengths: NDArray[np.int64]) -> Iterator[str]:
    """Yield the lines on who meets whom: pairs of one batch that share one in the next epoch too, beside chance."""
    yield "| | batch mates that meet again, times chance | mean move from the global order |"
    yield "|---|---:|---:|"
    for window in (1024, 8192, 65_536):
        batching = TokenBudget(max_tokens=_BUDGET, window=window)
        epochs = [_batches(batching, lengths, 1, epoch) for epoch in range(2)]
        yield f"| `TokenBudget`, window of {window:,} | {_meeting(epochs, lengths):.1f} | {_moved(epochs[0]):,.0f} |"
    packs = [_batches(Packed(size=_SIZE), lengths, 4, epoch) for epoch in range(2)]
    yield f"| `Packed`, 4 packs, window of 8,192 | {_meeting(packs, lengths):.1f} | {_moved(packs[0]):,.0f} |"


def _moved(batches: WindowedBatches) -> float:
    order = np.concatenate(list(batches))
    return float(np.abs(order - np.arange(len(order))).mean())


def _meeting(epochs: list[WindowedBatches], lengths: NDArray[np.int64]) -> float:
    numbers = []
    for epoch, batches in enumerate(epochs):
        order = epoch_order("global", len(lengths), seed=0, epoch=epoch)
        of_record = np.empty(len(lengths), np.int64)
        for number, batch in enumerate(batches):
            of_record[order(batch)] = number
        numbers.append(of_record)
    pairs = [float((np.bincount(of_record).astype(float) ** 2).sum() - len(lengths)) for of_record in numbers]
    both = np.unique(numbers[0] * len(epochs[1]) + numbers[1], return_counts=True)[1].astype(float)
    again = float((both**2).sum() - len(lengths))
    return again * len(lengths) * (len(lengths) - 1) / (pairs[0] * pairs[1])


def speed_table(seconds: float) -> Iterator[str]:
    """Yield the lines on speed."""
    yield "| order | records | millions of positions per second of one core |"
    yield "|---|---:|---:|"
    for num_sources in (3, 100, 1000):
        mixed = _mixture(num_sources, 10**9)
        yield f"| mixture of {num_sources} sources | 1,000,000,000 | {_rate(mixed, 10**9, seconds):.1f} |"
    generator = np.random.default_rng(0)
    for num_records in (10**6, 10**7):
        drawn = Weighting(generator.random(num_records)).order(0)
        yield f"| `weights` | {num_records:,} | {_rate(drawn, num_records, seconds):.1f} |"
    for num_classes in (10, 1000):
        classes = generator.permutation(np.arange(10**7) % num_classes)
        balanced = Balance(classes).order(0)
        yield f"| `balanced_by`, {num_classes:,} classes | 10,000,000 | {_rate(balanced, 10**7, seconds):.1f} |"
    lengths = lengths_of(200_000)
    ways: list[tuple[str, Batching]] = [
        ("TokenBudget", TokenBudget(max_tokens=_BUDGET)),
        ("Packed", Packed(size=_SIZE)),
        ('Packed, "concat"', Packed(size=_SIZE, strategy="concat")),
    ]
    for name, batching in ways:
        begun = time.process_time()
        batches = _batches(batching, lengths, 1)
        rate = len(lengths) / (time.process_time() - begun) / 1e6
        yield f"| `{name}`, to begin an epoch | {len(lengths):,} | {rate:.2f} |"
        begun = time.process_time()
        for number in range(len(batches)):
            batches.cut(number)
        rate = len(lengths) / (time.process_time() - begun) / 1e6
        yield f"| `{name}`, to walk through it | {len(lengths):,} | {rate:.2f} |"


def _mixture(num_sources: int, num_records: int) -> Any:  # an order
    sources = tuple(MixedSource(f"source {number}", num_records // num_sources) for number in range(num_sources))
    shares = tuple(range(1, num_sources + 1))
    return Mixing(Blend([Stage(0, shares)]), sources, num_records).order("global", seed=0, epoch=0, interleave=4)


def _rate(order: Callable[[NDArray[np.int64]], Any], num_positions: int, seconds: float) -> float:
    starts = np.random.default_rng(0).integers(0, num_positions - _BLOCK, 1000).tolist()
    order(np.arange(starts[-1], starts[-1] + _BLOCK))
    begun, count = time.process_time(), 0
    while time.process_time() < begun + seconds:
        order(np.arange(starts[count], starts[count] + _BLOCK))
        count += 1
    return count * _BLOCK / (time.process_time() - begun) / 1e6


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the samples")
    arguments = parser.parse_args()
    lengths = lengths_of(_NUM_SAMPLES // (10 if arguments.quick else 1))
    print(f"{len(lengths):,} lengths, mean {lengths.mean():.0f}, greatest {lengths.max()}\n")
    for title, lines in (
        ("padding", padding_table(lengths)),
        (f"sequences of {_SIZE}", packs_table(lengths)),
        ("mixing", mixing_table(lengths)),
        ("speed", speed_table(0.1 if arguments.quick else 2.0)),
    ):
        print(f"**{title}**\n")
        for line in lines:
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
