"""forecast_epoch: what an epoch will be for every rank, by arithmetic: steps, padding, bytes and requests.

    dataset, options, world ──> Plan ──> steps of each rank, samples that repeat or are left out
                                   ├──> batches by length: elements, padding
                                   └──> records of some steps ──sizes, bins──> bytes, requests

Nothing runs. An epoch of 10^9 records for 1,000 ranks takes a second: bytes and requests are those of some steps, at
even distances. Batches by length are looked at one and all.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.dataset.sample_dataset import SampleDataset
from splitdata.loader.loader_options import LoaderOptions
from splitdata.loader.option_groups import OrderOptions, RecordOptions, WorkerOptions
from splitdata.loader.plan.epoch_steps import open_run
from splitdata.loader.plan.length_batches import LengthBatches
from splitdata.loader.plan.world import World
from splitdata.loader.resolved_options import ResolvedOptions
from splitdata.loader.samples.packed_collate import PackedCollate
from splitdata.loader.stats.figures import share
from splitdata.order.counts import checked_count
from splitdata.order.packs import Packed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.loader.plan.plan import Plan
    from splitdata.loader.samples.record_source import DatasetLike
    from splitdata.order.bin_layout import BinLayout
    from splitdata.order.epoch_order import Shuffle
    from splitdata.order.partition import Tail

__all__ = ["BatchForecast", "EpochForecast", "ReadForecast", "forecast_epoch"]

# Steps that are looked at, and records at most.
_MOST_STEPS: Final = 64
_MOST_RECORDS: Final = 1 << 16
# What one request to a store may leave out between two records, and how large it may get.
_GAP_BYTES: Final = 1 << 20
_REQUEST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchForecast:
    """The batches by length of an epoch, of all ranks together; elements are in the unit of the lengths."""

    num_batches: int
    fewest_samples: int
    """Of the smallest batch; a sample that is split counts in each."""
    most_samples: int
    num_elements: int
    num_padded_elements: int
    """With the padding; with cost="sum" the budgets."""

    @property
    def fill_ratio(self) -> float:
        """Elements without padding as a share of those with it, 0 to 1."""
        return share(self.num_elements, self.num_padded_elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadForecast:
    """What is read, from the steps that were looked at: means."""

    bytes_per_step: float
    """Of one rank."""
    bytes_per_rank: float
    """In the epoch."""
    bytes_per_node: float
    """In the epoch."""
    requests_per_step: float | None
    """To a store of objects, of one rank; records of a bin that lie less than 1 MiB apart are one request of up to 16
    MiB. None where the dataset has no bins."""
    requests_ahead: float | None
    """The same for a step of a reader that asks for 16 steps at a time."""
    steps_looked_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochForecast:
    """What an epoch will be; see `forecast_epoch`."""

    epoch: int
    num_records: int
    """Of the dataset."""
    num_samples: int
    """Of the epoch, before the tail: with weights, classes, mixtures and subsets not as many as records."""
    world_size: int
    """Ranks that share the data out; groups of `replicate` count as one."""
    ranks_per_node: int
    """As asked for, and no more than there are."""
    batch_size: int
    most_steps: int
    """Of the rank that has most; with "pad" and "drop" all have as many."""
    fewest_steps: int
    num_repeated: int
    """Samples that come a second time so that all ranks have as many; batches, with batches by length."""
    num_left_out: int
    """Samples, or batches, that no rank has."""
    batches: BatchForecast | None
    reads: ReadForecast | None
    """None where the dataset does not know the sizes of its records, or there are no steps."""

    def as_dict(self) -> dict[str, Any]:
        """Return everything as a dict of JSON values."""
        told: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.batches is not None:
            batches = self.batches
            told["batches"] = {one.name: getattr(batches, one.name) for one in fields(batches)}
            told["batches"]["fill_ratio"] = batches.fill_ratio
        if self.reads is not None:
            told["reads"] = {one.name: getattr(self.reads, one.name) for one in fields(self.reads)}
        return told


def forecast_epoch(
    dataset: DatasetLike,
    *,
    world_size: int = 1,
    batch_size: int = 1,
    shuffle: Shuffle | bool = False,
    seed: int = 0,
    tail: Tail = "pad",
    order: OrderOptions | None = None,
    records: RecordOptions | None = None,
    ranks_per_node: int = 8,
    epoch: int = 0,
) -> EpochForecast:
    """Tell what an epoch of a DistributedLoader with these options will be; reads no record.

    Weights, classes and lengths that are fields or functions are found out as the loader would. Costs about a second
    at any number of records; with batches by length as much as to begin an epoch and to cut all of its windows.

    Args:
        dataset, batch_size, shuffle, seed, tail, order, records: As DistributedLoader takes them.
        world_size: How many ranks there will be.
        ranks_per_node: How many of them read on one machine.
        epoch: Which.

    Raises:
        TypeError, ValueError, DatasetNotFoundError: As DistributedLoader does.
    """
    ranks_per_node = checked_count("ranks_per_node", ranks_per_node, 1)
    epoch = checked_count("epoch", epoch, 0)
    resolved = ResolvedOptions(
        dataset,
        LoaderOptions(
            batch_size=batch_size,
            shuffle="global" if shuffle is True else shuffle,
            seed=seed,
            num_workers=0,
            transform=None,
            collate_fn=_collate_for(order),
            as_tensors=False,
            sampler=None,
            batch_sampler=None,
            tail=tail,
            rank=None,
            world_size=None,
            device=None,
            pin_memory=False,
            timeout=None,
            cache=None,
            rotation=None,
            workers=WorkerOptions(),
            order=OrderOptions() if order is None else order,
            records=RecordOptions() if records is None else records,
        ),
    )
    options = resolved.options.order
    world = World(0, checked_count("world_size", world_size, 1)).in_groups(options.replicate)
    plan = resolved.plan(world, options.lanes or world.world_size)
    return _forecast(resolved, plan, epoch, min(ranks_per_node, world_size))


def _collate_for(order: OrderOptions | None) -> PackedCollate | None:
    """Return what options of samples that are split ask for; it is never called."""
    batching = None if order is None else order.batching
    return PackedCollate(batching.size, {"elements": 0}) if isinstance(batching, Packed) else None


def _forecast(resolved: ResolvedOptions, plan: Plan, epoch: int, ranks_per_node: int) -> EpochForecast:
    start, last = plan.start_of(epoch), plan.world_size - 1
    first_run, last_run = open_run(plan, start, 0), open_run(plan, start, last)
    num_places = _num_places(plan, epoch)
    most, fewest = first_run.num_steps, last_run.num_steps
    if plan.num_steps is not None:
        handed_out = num_places = plan.num_steps * plan.shape.samples
    elif plan.tail == "keep":
        handed_out = num_places
    elif plan.tail == "drop" or not num_places:
        handed_out = most * _places_of_a_step(plan)
    else:
        handed_out = -(-num_places // plan.world_size) * plan.world_size
    return EpochForecast(
        epoch=epoch,
        num_records=resolved.facts.num_records,
        num_samples=num_places if plan.num_steps is not None else plan.order(epoch).num_positions,
        world_size=plan.world_size,
        ranks_per_node=ranks_per_node,
        batch_size=plan.batch_size,
        most_steps=most,
        fewest_steps=fewest,
        num_repeated=max(0, handed_out - num_places),
        num_left_out=max(0, num_places - handed_out),
        batches=_batches(plan, epoch),
        reads=_reads(resolved, plan, epoch, ranks_per_node, most),
    )


def _num_places(plan: Plan, epoch: int) -> int:
    """Return what is shared out among ranks: samples, or batches by length."""
    return len(plan.batches.batches(epoch)) if plan.batches is not None else plan.order(epoch).num_positions


def _places_of_a_step(plan: Plan) -> int:
    return plan.world_size if plan.batches is not None else plan.shape.samples


def _batches(plan: Plan, epoch: int) -> BatchForecast | None:
    if not isinstance(plan.batches, LengthBatches):
        return None
    batching, whole = plan.batches.batching, plan.batches.batches(epoch)
    counts, elements, room = [], 0, 0
    for number in range(len(whole)):
        cut = whole.cut(number)
        counts.append(len(cut.positions))
        elements += cut.num_elements
        room += batching.room(cut)
    return BatchForecast(
        num_batches=len(whole),
        fewest_samples=min(counts, default=0),
        most_samples=max(counts, default=0),
        num_elements=elements,
        num_padded_elements=room,
    )


def _reads(
    resolved: ResolvedOptions, plan: Plan, epoch: int, ranks_per_node: int, num_steps: int
) -> ReadForecast | None:
    dataset = resolved.source.dataset
    sizes = getattr(dataset.records if isinstance(dataset, SampleDataset) else dataset, "sizes", None)
    if sizes is None or not num_steps:
        return None
    # Stretches of 16 steps, as a reader asks ahead.
    ahead = min(WorkerOptions().read_ahead, num_steps)
    per_step = max(1, resolved.options.batch_size)
    num_stretches = max(1, min(_MOST_STEPS, _MOST_RECORDS // per_step, num_steps) // ahead)
    run = open_run(plan, plan.start_of(epoch), 0)
    stretches: list[list[NDArray[np.int64]]] = []
    for first in np.linspace(0, num_steps - ahead, num_stretches).astype(np.int64).tolist():
        steps = run.parts(first, first + ahead)
        stretches.append([np.concatenate([part.records for part in parts]) for parts in steps])
    steps_looked_at = sum(map(len, stretches))
    looked_at = np.concatenate([step for stretch in stretches for step in stretch])
    mean_bytes = float(np.mean(sizes[looked_at])) if len(looked_at) else 0.0
    count_requests = _requests_counter(resolved, mean_bytes)
    alone = together = None
    if count_requests is not None:
        alone = sum(count_requests(step) for stretch in stretches for step in stretch) / steps_looked_at
        together = sum(count_requests(np.concatenate(stretch)) for stretch in stretches) / steps_looked_at
    per_step_bytes = len(looked_at) / steps_looked_at * mean_bytes
    return ReadForecast(
        bytes_per_step=per_step_bytes,
        bytes_per_rank=per_step_bytes * num_steps,
        bytes_per_node=per_step_bytes * num_steps * ranks_per_node,
        requests_per_step=alone,
        requests_ahead=together,
        steps_looked_at=steps_looked_at,
    )


def _requests_counter(resolved: ResolvedOptions, mean_bytes: float) -> Callable[[NDArray[np.int64]], int] | None:
    """Return what counts the requests for some records; None where there are no bins."""
    if not hasattr(resolved.source.dataset, "bin_layout"):
        return None
    layout: BinLayout = resolved.source.bins()
    per_record = layout.counts / max(1, layout.num_records) * mean_bytes

    def count(records: NDArray[np.int64]) -> int:
        records = np.unique(records)
        bins = layout.bins_of(records)
        order = np.argsort(bins, kind="stable")
        return _num_requests(bins[order], (records * per_record[bins])[order], mean_bytes)

    return count


def _num_requests(bins: NDArray[np.int64], begins: NDArray[np.float64], length: float) -> int:
    """Count requests for records that lie at such places of such bins, both ascending."""
    is_first = np.ones(len(bins), bool)
    is_first[1:] = (np.diff(bins) != 0) | (np.diff(begins) - length > _GAP_BYTES)
    firsts = np.flatnonzero(is_first)
    ends = np.append(firsts[1:], len(begins)) - 1
    spans = begins[ends] + length - begins[firsts] if len(firsts) else np.empty(0)
    return int(np.maximum(1, np.ceil(spans / _REQUEST_BYTES)).sum())
