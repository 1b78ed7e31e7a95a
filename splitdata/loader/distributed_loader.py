"""DistributedLoader: batches of a dataset for this rank, from workers, in an order that can be resumed anywhere.

It is the face of the loader: options are checked in loader_options.py, the work is done by the parts below.

    loader = DistributedLoader(dataset, batch_size=64, shuffle="global", num_workers=4, transform=decode)
    for batch in loader: ...          iter() ──> Runtime (workers) ──> EpochIterator ──> batches
    loader.state_dict()               Progress: the position behind the last batch that was handed out
"""

from __future__ import annotations

import copy
import logging
import operator
import weakref
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NoReturn, Self

from splitdata._ownership import Closeable
from splitdata.errors import ClosedError
from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.epoch_iterator import EpochIterator
from splitdata.loader.loader_options import Device, LoaderOptions, answers_torch_words
from splitdata.loader.option_groups import OrderOptions, RecordOptions, WorkerOptions
from splitdata.loader.plan.epoch_steps import num_records_in, open_run, records_of, seek, skip, whole_epoch
from splitdata.loader.plan.loader_state import StateDict
from splitdata.loader.plan.plan import Plan
from splitdata.loader.plan.progress import EpochProgress
from splitdata.loader.plan.steps import Position
from splitdata.loader.plan.user_samplers import BatchSampler, Sampler
from splitdata.loader.rank_state import RankState
from splitdata.loader.resolved_options import ResolvedOptions
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.loader.runtime import Runtime
from splitdata.loader.samples.record_source import DatasetLike
from splitdata.loader.samples.skips import Skip, SkipLog
from splitdata.loader.stats.meter import StatsMeter
from splitdata.loader.stats.stats import LoaderStats
from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from splitdata.loader.plan.steps import SkippedRecord
    from splitdata.loader.samples.sample_maker import Transform
    from splitdata.order.epoch_order import Shuffle
    from splitdata.order.partition import Tail

__all__ = ["DistributedLoader"]

_log = logging.getLogger("splitdata")


class DistributedLoader(Closeable):
    """Feeds one rank its share of a dataset, batch by batch.

        loader = DistributedLoader("data/train", batch_size=64, shuffle="global", num_workers=4, transform=decode)
        for epoch in range(10):
            for batch in loader:
                train(batch)
        checkpoint = {"model": ..., "data": loader.state_dict()}

    The sequence of batches depends on the dataset, the seed and the options of the order alone: never on the
    number of workers, their kind, prefetching or timing. Every epoch has another order, by itself. `state_dict()`
    may be taken at any time and loads into a loader with another world size, batch size or number of workers:
    the samples go on exactly behind the last batch that was handed out.

    `iter()` after a complete epoch begins the next; after a break it begins the next too, and `resume()` gives
    the rest of the broken one; after `load_state_dict`, `seek`, `skip` or `set_epoch` it begins there. A newer
    iterator ends the older. Batches from worker processes lie in shared memory and stay valid for as long as
    they are held.

    Not thread-safe. May be pickled: configuration and position travel, processes do not.
    """

    @answers_torch_words
    def __init__(
        self,
        dataset: DatasetLike,
        *,
        batch_size: int = 1,
        shuffle: Shuffle | bool = False,
        seed: int = 0,
        num_workers: int = 0,
        transform: Transform | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        as_tensors: bool = False,
        sampler: Sampler | None = None,
        batch_sampler: BatchSampler | None = None,
        tail: Tail = "pad",
        rank: int | None = None,
        world_size: int | None = None,
        device: Device = None,
        pin_memory: bool = False,
        timeout: float | None = None,
        cache: Cache | None = None,
        rotation: Rotation | None = None,
        workers: WorkerOptions | None = None,
        order: OrderOptions | None = None,
        records: RecordOptions | None = None,
    ) -> None:
        """Describe a loader; nothing is started before the first `iter()` or `start()`.

        Args:
            dataset: A path (of samples, where its records have a codec), or a list of paths, read end to end; an
                object with `__len__` and `__getitem__` (`__getitems__` is used where it is there); or a function
                that returns one, called in each worker and here once for the length.
            batch_size: Samples of a batch, on each rank.
            shuffle: False (write order), "global" or True (uniform), Window(n) (nearby records are mixed), or "bins"
                (bins in random order, a few of them mixed: reads sequentially).
            seed: Any int of 0 or more. Order and randomness follow from (seed, epoch).
            num_workers: 0 works in this process, when a batch is asked for.
            transform: Record -> sample, in the worker. One with a parameter `rng` gets a numpy Generator that is
                keyed by (seed, epoch, record).
            collate_fn: List of samples -> batch, in the worker. None: stacks arrays, numbers and tensors in any
                nesting; strings and bytes become lists.
            as_tensors: Let the default collate give tensors where it would give arrays.
            sampler: The records of an epoch, for all ranks together: an iterable, or a function of the epoch.
            batch_sampler: The batches of an epoch, for all ranks together, dealt out one by one.
            tail: "pad": the last step repeats up to world_size - 1 samples, so that all ranks have as many
                batches; "drop": full steps only; "keep": nothing repeated or dropped, ranks may differ by a batch.
            rank, world_size: None: from torch.distributed if it runs, else from RANK and WORLD_SIZE or what
                mpirun and srun set, else 0 of 1; found when first needed (start, iter, len), compared at each iter.
            device: Where batches go, as torch names it. "cuda" is torch's current device.
            pin_memory: Hand out tensors in pinned memory where no device is given.
            timeout: Seconds to wait for a batch before WorkerTimeoutError. Without workers nobody could interrupt
                what takes too long: a warning says that it has no effect.
            cache: Keep transformed samples, and read them again in later epochs.
            rotation: Make each sample once and use it several times: see Rotation and docs/reuse.md. Epochs become
                longer, and batches are collated in this process.
            workers: Kind and start of workers, how far they work ahead, and what moves batches to the device: see
                WorkerOptions.
            order: How many steps an epoch has, and how the order is dealt out to ranks: see OrderOptions and
                docs/order.md.
            records: Which records take part, in what form the transform gets them, and whether bad ones are skipped:
                see RecordOptions.

        Raises:
            TypeError, ValueError, IndexError: An option of a wrong type or out of range, or options that clash.
            DatasetNotFoundError: There is no dataset at the path.
            CacheError: The folder of the cache holds something else.
        """
        shuffle = "global" if shuffle is True else shuffle
        workers = WorkerOptions() if workers is None else workers
        order = OrderOptions() if order is None else order
        records = RecordOptions() if records is None else records
        # The fields have the names of the arguments.
        given = locals()
        self._options = LoaderOptions(**{field.name: given[field.name] for field in fields(LoaderOptions)})
        self._resolved = ResolvedOptions(dataset, self._options)
        self._device = device
        self._set_up(EpochProgress())

    def _set_up(self, progress: EpochProgress) -> None:
        """Make what does not travel with a pickle."""
        self._rank_state = RankState(self._resolved, progress)
        self._runtime: Runtime | None = None
        # Weak: the iterator holds this loader, and both must be freed as soon as nobody uses them.
        self._iterator: weakref.ref[EpochIterator] | None = None
        self._meter = StatsMeter(self._options.num_workers, self._options.workers.kind)
        self._skips = SkipLog(self._options.records.skip or Skip())
        self._is_closed = False

    # -- what is there -----------------------------------------------------------------------

    def __len__(self) -> int:
        """Return the batches of this rank in a whole epoch; fixes rank and world size."""
        plan = self._rank_state.plan()
        return whole_epoch(plan, self._rank_state.progress.position_in(plan)).num_steps

    @property
    def steps_left(self) -> int:
        """Batches of this rank that are left of the present epoch; fixes rank and world size.

        Of one that was begun by another number of ranks they need not be as many as its length less those before.
        """
        plan = self._rank_state.plan()
        return open_run(plan, self._rank_state.progress.position_in(plan)).num_steps

    @property
    def position(self) -> tuple[int, int]:
        """Epoch, and samples of it that all ranks together were handed (batches, with a batch sampler)."""
        return self._rank_state.progress.position.epoch, self._rank_state.progress.position.samples

    @property
    def dataset(self) -> Any:
        """The dataset that records come from: as it was given, or opened, or made by the function that was given."""
        return self._resolved.source.dataset

    @property
    def batch_size(self) -> int:
        """Samples of a batch, on each rank; of the user's own batches 1, as with a batch sampler none is given."""
        return self._options.batch_size

    @property
    def rank(self) -> int:
        """This rank; fixes it."""
        return self._rank_state.ranks.held().rank

    @property
    def world_size(self) -> int:
        """Number of ranks; fixes it."""
        return self._rank_state.ranks.held().world_size

    @property
    def skipped(self) -> list[SkippedRecord]:
        """Records that were replaced so far with on_error="skip"; the last thousand."""
        return list(self._skips.listed)

    if not TYPE_CHECKING:
        # A type checker would take every name for an attribute.

        def __getattr__(self, name: str) -> NoReturn:
            """Answer to what a DataLoader of torch's has and this has not."""
            hint = ""
            if name in ("sampler", "batch_sampler"):
                hint = ": accelerate's skip_first_batches, and so Trainer, takes splitdata.interop.torch.as_dataloader"
            raise AttributeError(f"DistributedLoader has no attribute {name!r}{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        """Show the data, and where training stands."""
        position = self._rank_state.progress.position
        return (
            f"DistributedLoader({self._resolved.source.name}: {len(self._resolved.selection)} records, "
            f"at epoch {position.epoch}, {position.samples} samples)"
        )

    def records(self, epoch: int, step: int, rank: int | None = None) -> NDArray[np.int64]:
        """Return the records of one batch, int64[n], in its order; computed, without running anything.

        Of this rank, if none is given. With `num_steps` of OrderOptions the epoch is one of this loader's, counted from
        the very beginning with the present batch size and world size. Costs O(batch_size).

        Raises:
            IndexError: There is no such step or rank.
        """
        return records_of(self._rank_state.plan(), epoch, operator.index(step), rank)

    def peek(self) -> Any:
        """Return the batch with which the next `iter()` begins, and change nothing: no position, rank or cache.

        `next(iter(loader))` would use up an epoch: the `iter()` after it begins the next. It costs one batch, made in
        this process also where workers will make it; no worker is started, and `init_fn` of WorkerOptions is not
        called. The samples are those that the loop will get, on its device.

        Raises:
            ValueError: That epoch has no batches.
            ClosedError: The loader was closed.
            Exception: What the dataset, the transform, the collate function or `to_device` raised.
        """
        self._check_open()
        plan = self._rank_state.plan_of_a_look()
        # Of its own: it shares neither workers nor figures with what runs.
        meter = StatsMeter(self._options.num_workers)
        look = Runtime(self._resolved, plan, self._device, meter)
        return look.peek(self._rank_state.progress.start_of_next(plan))

    def stats(self, epoch: int | None = None) -> LoaderStats:
        """Return what was measured since the loader was made, unpickled or reset; see LoaderStats.

        Args:
            epoch: Of this epoch alone; the newest hundred are told apart. None: of all together.

        Raises:
            IndexError: Nothing was measured in this epoch.
        """
        runtime = self._runtime
        if runtime is None or not runtime.is_usable:
            return self._meter.stats(epoch)
        return self._meter.stats(epoch, num_ready=runtime.num_ready(), memory_bytes=runtime.memory_bytes())

    def reset_stats(self) -> None:
        """Measure anew from here on, as after a warm-up. Training and its position are not touched."""
        self._meter.reset()

    # -- iterating ---------------------------------------------------------------------------

    def start(self, rank: int | None = None, world_size: int | None = None, device: Device = None) -> Self:
        """Fix rank and world size, and start the workers without waiting for them.

        Not needed: the first `iter()` does the same. Anything given here replaces what was given before.

        Raises:
            ValueError: The rank was fixed before, as another one.
            StateMismatchError: If the state that was loaded does not fit this number of ranks.
            TypeError: Part of the dataset, transform or collate function cannot be sent to a process.
        """
        if rank is not None or world_size is not None:
            self._rank_state.ranks.give(rank, world_size)
        if device is not None:
            self._device = device
            self._end_iterator("was ended by start")
            self._close_runtime()
        runtime = self._running()
        # What so many ranks cannot go on with fails before workers run.
        self._rank_state.progress.start_of_next(runtime.plan)
        runtime.start()
        return self

    def __iter__(self) -> EpochIterator:
        """Return an iterator over the next epoch, or over the rest of one that was loaded or sought.

        Raises:
            ClosedError: The loader was closed.
            TypeError, OSError: As `start`.
            ValueError: Rank or world size are not what they were when the loader was first used.
            StateMismatchError: If the state that was loaded does not fit this number of ranks.
        """
        return self._iterate(self._rank_state.progress.start_of_next)

    def resume(self) -> EpochIterator:
        """Return an iterator over the rest of the present epoch, wherever it was left."""
        return self._iterate(self._rank_state.progress.position_in)

    def _iterate(self, begin: Callable[[Plan], Position]) -> EpochIterator:
        self._end_iterator("was ended by a newer one")
        runtime = self._running()
        plan = runtime.plan
        start = begin(plan)
        self._skips.begin(start.epoch, plan.rank, lambda: num_records_in(plan, start))
        iterator = EpochIterator(
            runtime,
            self._rank_state.progress,
            self._meter,
            start,
            note_skipped=self._skips.note,
            check_ranks=self._rank_state.ranks.check,
        )
        self._iterator = weakref.ref(iterator)
        return iterator

    def seek(self, step: int) -> None:
        """Go to a step of the present epoch, counted on this rank from its beginning.

        A running loop goes on from there: its epoch is the present one until it is over, also in the body of its
        last batch. Without one the next `iter()` begins there; behind the last batch of an epoch the next is present.

        Raises:
            IndexError: The epoch has no such step; its first is 0, its last the one before its number of steps.
        """
        plan, iterator = self._rank_state.plan(), self._live_iterator()
        beginning = None if iterator is None else iterator.beginning
        self._jump(seek(plan, beginning or self._rank_state.progress.position_in(plan), operator.index(step)))

    def skip(self, num_steps: int) -> None:
        """Leave out the next steps, also beyond the end of the epoch; costs nothing however many they are.

        A running loop goes on behind them, or ends if the epoch does; else the next `iter()` begins there.
        """
        plan = self._rank_state.plan()
        self._jump(skip(plan, self._rank_state.progress.position_in(plan), checked_count("num_steps", num_steps, 0)))

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin this epoch. Not needed: epochs advance by themselves.

        A position in this very epoch that was just loaded is kept. May be called before ranks are known, but with
        `num_steps`.
        """
        if self._rank_state.give_epoch(checked_count("epoch", epoch, 0)):
            self._end_iterator("was ended by set_epoch")
            self._skips.forget()

    def _jump(self, position: Position) -> None:
        self._rank_state.progress.give(position, self._rank_state.plan().shape)
        iterator = self._live_iterator()
        if iterator is not None:
            iterator.jump(position)

    # -- checkpoints -------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """Return where training stands: JSON values, under 1 KB, the same on every rank; costs microseconds.

        Only batches that were handed out count. It is the caller's.
        """
        return self._rank_state.state().as_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken; the next `iter()` begins there.

        World size, batch size, number and kind of workers may differ: the samples that follow are the same. The
        state is kept as it was saved until rank and world size are needed, so it may be loaded before ranks exist;
        where they were found and not given, they are found anew. An iterator that is running ends.

        Raises:
            StateMismatchError: It was saved with other data, or options that give another order; both sides are
                shown, and nothing has changed. With partition="contiguous" and inside an epoch: by another number
                of ranks; where this one is not given, `iter()` raises it.
        """
        loaded = self._rank_state.check(state)
        self._end_iterator("was ended by load_state_dict")
        self._skips.forget()
        self._rank_state.load(loaded)

    # -- life --------------------------------------------------------------------------------

    def close(self) -> None:
        """End the workers. Batches that were handed out stay valid; the state can still be taken.

        May be called more than once. A loader that is collected, or alive at exit, is closed by itself.
        """
        self._is_closed = True
        self._end_iterator("was closed")
        self._close_runtime()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle configuration and position; rank and world size are found anew where it arrives."""
        return {
            "options": self._options,
            "resolved": self._resolved,
            "device": self._device,
            # Of its own also where nothing is pickled: copy.copy asks for this too.
            "progress": copy.copy(self._rank_state.progress),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a loader that has not started."""
        self._options = state["options"]
        self._resolved = state["resolved"]
        self._device = state["device"]
        self._set_up(state["progress"])

    # -- parts -------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self!r} is closed: make another one")

    def _running(self) -> Runtime:
        self._check_open()
        self._rank_state.ranks.check()
        plan = self._rank_state.plan()
        if self._runtime is not None and not self._runtime.is_usable:
            self._close_runtime()
        if self._runtime is None:
            self._runtime = Runtime(self._resolved, plan, self._device, self._meter)
        self._runtime.go_by(plan)
        return self._runtime

    def _close_runtime(self) -> None:
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()

    def _live_iterator(self) -> EpochIterator | None:
        return None if self._iterator is None else self._iterator()

    def _end_iterator(self, reason: str) -> None:
        iterator = self._live_iterator()
        self._iterator = None
        if iterator is not None:
            iterator.end(reason)
