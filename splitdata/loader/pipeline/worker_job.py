"""The work of a worker, wherever it runs: one batch for each step that it is asked for.

It sees the requests that wait behind the present one, and lets the kernel read their records ahead.

    requests ──upcoming──> ask the kernel for their records
       | next
       v
    ColumnMaker: a batch at once, where nothing looks at samples one by one ──> StepReply
       | else
    SampleMaker: read, transform ──> collate ──> StepReply          in order, one for each request
                                  `> pack, where the loader keeps samples and collates them itself
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from splitdata.loader.cache.cache_job import open_cache
from splitdata.loader.cache.cached_maker import CachedRecords
from splitdata.loader.plan.steps import StepReply, StepRequest
from splitdata.loader.samples.column_maker import ColumnMaker, open_columns
from splitdata.loader.samples.draws import may_draw, transform_may_draw
from splitdata.loader.samples.error_notes import add_note
from splitdata.loader.samples.global_random import GlobalRandom
from splitdata.loader.samples.packed_collate import PackedCollate
from splitdata.loader.samples.packing import SamplePacker
from splitdata.loader.samples.sample_maker import ErrorPolicy, SampleMaker, Transform
from splitdata.loader.stats.stage_clock import StageClock
from splitdata.samples.collate import Allocate, collate, nbytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.cache.cache_job import CacheJob
    from splitdata.loader.cache.cached_maker import CachedSampleMaker
    from splitdata.loader.plan.selection import Selection
    from splitdata.loader.samples.record_source import RecordFetcher

__all__ = ["Job", "StepMaker", "StepRequests", "environment_of", "make_batch", "serve"]


class StepRequests(Protocol):
    """The steps that a worker was given."""

    def __iter__(self) -> Iterator[StepRequest]:
        """Yield each when its turn comes."""

    def upcoming(self) -> list[StepRequest]:
        """Return those that have arrived already, without taking them."""

    def allocate(self, num_bytes: int) -> memoryview | None:
        """Return memory in which an array of the next reply is best made, None where there is none."""

    @property
    def send_seconds(self) -> float:
        """The cost of sending the last reply."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs; pickled to each of them once.

    Attributes:
        selection: The records that may stand in for bad ones.
        packs: The batch of a reply is PackedSamples, not collated.
        by_position: A sample's random numbers depend on its position: its record may come several times in an epoch.
        seeds_globals: The global generators are set for each sample.
    """

    source: RecordFetcher
    selection: Selection
    transform: Transform | None
    collate_fn: Callable[[list[Any]], Any] | None
    as_tensors: bool
    seed: int
    on_error: ErrorPolicy
    init_fn: Callable[[int], Any] | None
    read_ahead: bool
    packs: bool = False
    by_position: bool = False
    cache: CacheJob | None = None
    seeds_globals: bool = False

    def global_random(self, *, puts_back: bool) -> GlobalRandom | None:
        """Return what sets the global generators for each sample; None if nothing draws, or should draw, from them."""
        of_parts = may_draw(self.source.given) or may_draw(self.collate_fn)
        draws = of_parts or transform_may_draw(self.transform, self.source.given)
        return GlobalRandom(self.seed, puts_back=puts_back) if self.seeds_globals and draws else None

    def open_columns(self, allocate: Allocate) -> ColumnMaker | None:
        """Return what makes batches at once; None where something looks at samples one by one."""
        if self.collate_fn is not None or self.packs or self.cache is not None:
            return None
        return open_columns(self.source, self.transform, as_tensors=self.as_tensors, allocate=allocate)


class _ReplyMemory:
    """Makes the arrays of a reply where they need not be copied to travel; stands for np.empty.

    Attributes:
        waited: Seconds, so far, that it took until there was room.
    """

    def __init__(self, requests: StepRequests) -> None:
        self._requests = requests
        self.waited = 0.0

    def __call__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        begin = time.perf_counter()
        memory = self._requests.allocate(math.prod(shape) * dtype.itemsize)
        self.waited += time.perf_counter() - begin
        return np.empty(shape, dtype) if memory is None else np.ndarray(shape, dtype, memory)


class StepMaker:
    """Makes the batch of a step. Belongs to one thread.

    Args:
        job: The work.
        worker_id: Of this worker.
        memory: Where the arrays of batches are made; None for memory as usual, in the user's process.
        clock: Of this thread.
    """

    def __init__(
        self, job: Job, worker_id: int, memory: _ReplyMemory | None = None, clock: StageClock | None = None
    ) -> None:
        self._job = job
        self._memory = memory
        self._clock = clock or StageClock()
        self._random = job.global_random(puts_back=memory is None)
        maker = SampleMaker(
            job.source,
            job.transform,
            seed=job.seed,
            on_error=job.on_error,
            selection=job.selection,
            by_position=job.by_position,
            clock=self._clock,
            global_random=self._random,
        )
        self._maker: SampleMaker | CachedSampleMaker = maker
        self._cached: CachedSampleMaker | None = None
        self._packer = SamplePacker(memory or np.empty) if job.packs else None
        self._columns = job.open_columns(memory or np.empty)
        self._ahead: RecordFetcher | CachedRecords = job.source
        self._newest_ahead = -1
        if job.cache is not None:
            self._maker = self._cached = open_cache(job.cache, maker, job.source)
            self._ahead = CachedRecords(job.source, self._cached.store)

    def make(self, request: StepRequest, *, is_last: bool, send_seconds: float = 0.0) -> StepReply:
        """Return the batch of a step and what it took; `send_seconds` is noted with it.

        Args:
            request: The step.
            is_last: Nothing else is asked for yet: what was put into the cache is committed before the reply, so
                that the next iterator from there finds it.

        Raises:
            Exception: What the dataset, the transform or the collate function raised.
        """
        try:
            if self._random is None:
                return self._make(request, is_last=is_last, send_seconds=send_seconds)
            with self._random.borrowed():
                return self._make(request, is_last=is_last, send_seconds=send_seconds)
        except StopIteration as error:
            # Raised as it is, it would look like the end of the epoch.
            raise RuntimeError(
                f"the dataset, transform or collate function raised StopIteration at {request}"
            ) from error

    def _make(self, request: StepRequest, *, is_last: bool, send_seconds: float) -> StepReply:
        maker = self._maker
        maker.begin()
        batch = self._batch_of_columns(request)
        if batch is None:
            batch = self._batch_of_samples(request, is_last=is_last)
        num_samples = sum(len(part.records) for part in request.parts)
        num_bytes = nbytes(batch)
        spent = self._clock.timings(send=send_seconds)
        counts = None if self._cached is None else self._cached.counts()
        skipped, fill = tuple(maker.skipped), request.parts[0].fill if request.parts else None
        return StepReply(request.ticket, batch, num_samples, num_bytes, spent, skipped, counts, fill)

    def _batch_of_columns(self, request: StepRequest) -> Any | None:
        """Make the batch at once; None where samples must be made one by one."""
        if self._columns is None:
            return None
        self._clock.mark()
        waited = self._waited
        batch = self._columns.make(request.parts)
        self._clock.lap("read", without=self._waited - waited)
        return batch

    def _batch_of_samples(self, request: StepRequest, *, is_last: bool) -> Any:
        """Make samples one by one, and a batch of them."""
        samples: list[Any] = []
        for part in request.parts:
            samples += self._maker.make(part)
        if is_last and self._cached is not None:
            self._cached.commit()
            self._clock.lap("cache")
        waited = self._waited
        if self._packer is not None:
            batch: Any = self._packer.pack(samples, _records_of(request))
        else:
            batch = make_batch(self._job, samples, request, self._random, self._memory or np.empty)
        self._clock.lap("collate", without=self._waited - waited)
        return batch

    @property
    def _waited(self) -> float:
        """Seconds, so far, in which there was no memory for a batch."""
        return 0.0 if self._memory is None else self._memory.waited

    def read_ahead(self, upcoming: list[StepRequest]) -> None:
        """Ask the disk for the records of steps to come, which are given in order: for each step once."""
        if not self._job.read_ahead:
            return
        for request in upcoming:
            if request.ticket > self._newest_ahead:
                self._newest_ahead = request.ticket
                for part in request.parts:
                    self._ahead.read_ahead(part.records)

    def close(self) -> None:
        """Let go of the cache, what is in it committed."""
        if self._cached is not None:
            self._cached.close()


def make_batch(
    job: Job, samples: list[Any], request: StepRequest, random: GlobalRandom | None, allocate: Allocate = np.empty
) -> Any:
    """Return what the collate function makes of the samples of a step; `allocate` is for the default one.

    Raises:
        Exception: What it raised, with a note that names the step.
    """
    try:
        if job.collate_fn is not None:
            return _collate(job.collate_fn, samples, request, random)
        return collate(samples, as_tensors=job.as_tensors, records=_records_of(request), allocate=allocate)
    except Exception as error:
        add_note(error, f"raised while {request} was collated")
        raise


def _collate(
    collate_fn: Callable[[list[Any]], Any], samples: list[Any], request: StepRequest, random: GlobalRandom | None
) -> Any:
    if isinstance(collate_fn, PackedCollate):
        return collate_fn.pack(samples, records=_records_of(request), span=request.parts[0].span)
    if random is None or not may_draw(collate_fn):
        return collate_fn(samples)
    first = request.parts[0]
    with random.borrowed():
        random.set(first.epoch, int(first.positions[0]), "global generators, collate")
        return collate_fn(samples)


def _records_of(request: StepRequest) -> list[int]:
    return [record for part in request.parts for record in part.records.tolist()]


def serve(worker_id: int, requests: StepRequests, job: Job) -> Iterator[StepReply]:
    """Make batches in a worker until no more are asked for."""
    if job.init_fn is not None:
        job.init_fn(worker_id)
    # A process computes with all its threads, of which the first does this; one thread of many counts its own.
    is_alone = threading.current_thread() is threading.main_thread()
    clock = StageClock(processor=time.process_time if is_alone else time.thread_time)
    maker = StepMaker(replace(job, source=job.source.for_worker()), worker_id, _ReplyMemory(requests), clock)
    try:
        for request in requests:
            upcoming = requests.upcoming()
            maker.read_ahead(upcoming)
            # The cost of sending this one is known with the next.
            yield maker.make(request, is_last=not upcoming, send_seconds=requests.send_seconds)
    finally:
        maker.close()


def environment_of(worker_id: int, gpu_indices: Sequence[int] | None) -> dict[str, str]:
    """Return the variables that a worker process gets before anything of the user's is imported in it.

    Raises:
        ValueError: This process does not see such a GPU.
    """
    if gpu_indices is None:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    index = gpu_indices[worker_id]
    if not visible:
        return {"CUDA_VISIBLE_DEVICES": str(index)}
    names = visible.split(",")
    if not 0 <= index < len(names):
        raise ValueError(
            f"gpu_indices gives worker {worker_id} GPU {index}, this process sees {len(names)}, from 0: "
            f"CUDA_VISIBLE_DEVICES={visible!r}"
        )
    return {"CUDA_VISIBLE_DEVICES": names[index].strip()}
