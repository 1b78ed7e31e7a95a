"""The running part of a loader: workers, stream and device prefetcher, made at the first iterator and kept over epochs.

    options, source, facts, world, lanes ──> Plan ──> StepStream ──> DevicePrefetcher ──> (position behind, ...), batch
                                                        |
                                                      Executor    this process, threads or processes

With rotation a RotationStream takes the StepStream's place: workers make samples, it keeps and collates them.

It belongs to the process that made it: a copy in a forked child is dropped, not closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from splitdata._ownership import OwnerProcess
from splitdata.loader.cache.cache_job import discard_stale
from splitdata.loader.device.device import open_engine
from splitdata.loader.device.device_prefetcher import DevicePrefetcher
from splitdata.loader.device.transfer import DeviceTransfer
from splitdata.loader.pipeline.executors import AnyOrder, Executor, InOrder, InProcess
from splitdata.loader.pipeline.step_stream import StepStream, Stream
from splitdata.loader.pipeline.worker_job import Job, StepMaker, environment_of, make_batch, serve
from splitdata.loader.plan.epoch_steps import open_run
from splitdata.loader.plan.plan import Plan
from splitdata.loader.plan.steps import BatchInfo, Position, StepReply, StepRequest
from splitdata.loader.rotation.rotation_stream import RotationStream
from splitdata.loader.rotation.sample_prefetcher import PrefetchLimits
from splitdata.loader.rotation.sample_store import StoreMaker
from splitdata.loader.samples.packing import PackedSamples, unpack_all

if TYPE_CHECKING:
    from splitdata.loader.cache.cache_job import CacheJob
    from splitdata.loader.loader_options import Device
    from splitdata.loader.plan.epoch_steps import Run
    from splitdata.loader.resolved_options import ResolvedOptions
    from splitdata.loader.stats.meter import StatsMeter
    from splitdata.process.pool.pool import WorkerPool

__all__ = ["Runtime"]

# Samples that a worker makes for rotation at once: at least, at most.
_CHUNK = (8, 64)


class Runtime:
    """All that a loader needs while it runs. Belongs to one thread at a time.

    Attributes:
        plan: Where the steps come from.
    """

    def __init__(self, resolved: ResolvedOptions, plan: Plan, device: Device, meter: StatsMeter) -> None:
        self.plan = plan
        self._options = resolved.options
        self._device = device
        self._meter = meter
        self._owner = OwnerProcess()
        self._has_ended = False
        self._source = resolved.source
        self._cache = resolved.cache
        self._workers: Executor | None = None
        self._stream: Stream | None = None
        self._job: Job | None = None
        self._stores: StoreMaker | None = None
        self._transfer: DeviceTransfer | None = None

    @property
    def is_usable(self) -> bool:
        """Whether this process made it, and no failure has ended it."""
        has_failed = self._stream is not None and self._stream.has_failed
        return self._owner.is_current and not self._has_ended and not has_failed

    def start(self) -> None:
        """Start the workers, all at once, without waiting for them; nothing where they run.

        Workers that an interrupt has ended are replaced.

        Raises:
            TypeError: Part of the dataset, the transform or the collate function cannot be sent to a process.
            OSError: No more processes or descriptors.
        """
        if self._workers is not None and self._job is not None and not self._workers.have_ended:
            if self._stream is None:
                self._workers.forget()
                self._stream = self._make_stream(self._workers, self._job)
            return
        self._end_workers()
        rotation = self._options.rotation
        # Before the workers, so that a folder that cannot be written to leaves none running.
        self._stores = None if rotation is None else StoreMaker(rotation)
        if self._cache is not None:
            discard_stale(self._cache)
        self._job = job = self._make_job()
        workers = self._start_workers(job)
        self._meter.launch()
        self._stream = self._make_stream(workers, job)
        self._workers = workers

    def go_by(self, plan: Plan) -> None:
        """Take the steps from another plan from now on; the workers stay, as none of them knows the ranks."""
        if plan is self.plan:
            return
        self.plan = plan
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.release()

    def _make_stream(self, workers: Executor, job: Job) -> Stream:
        options = self._options
        num_workers = max(1, options.num_workers)
        ahead = num_workers * (options.workers.prefetch + options.workers.read_ahead)
        # Without workers nothing is made before it is taken.
        crosses_epochs = options.workers.prefetch_epochs and options.num_workers > 0
        at_once = num_workers * options.workers.prefetch
        if self._stores is None:
            return StepStream(
                self.plan,
                workers,
                self._meter,
                ahead=ahead,
                at_once=at_once,
                crosses_epochs=crosses_epochs,
                cache=options.cache,
                makes_tensors=self._makes_tensors,
            )
        limits = PrefetchLimits(
            ahead=ahead,
            at_once=at_once,
            # All workers take part in one batch, and a message is worth what it carries.
            chunk_size=min(max(_CHUNK[0], -(-options.batch_size // num_workers)), _CHUNK[1]),
            crosses_epochs=crosses_epochs,
        )
        return RotationStream(self.plan, workers, job, self._stores, self._meter, limits, cache=options.cache)

    def _start_workers(self, job: Job) -> Executor:
        options = self._options
        if not options.num_workers:
            return InProcess(job)
        pool = self._make_pool(job)
        try:
            pool.start()
        except TypeError as error:
            # The pool speaks of its arguments; to the user they are options of the loader.
            text = str(error).replace("args[0].source._given", "dataset").replace("args[0].", "")
            raise TypeError(text) from error
        return InOrder(pool) if options.workers.in_order else AnyOrder(pool)

    def _make_pool(self, job: Job) -> WorkerPool[StepRequest, StepReply]:
        options = self._options
        if options.workers.kind == "thread":
            # Not before there are workers: importing the library starts none.
            from splitdata.process.pool.thread_pool import ThreadPool

            return ThreadPool(serve, (job,), options.channel_options(), num_workers=options.num_workers, describe=str)
        if options.workers.kind == "ray":
            from splitdata.process.pool.ray_worker import serve_on_ray
            from splitdata.process.pool.thread_pool import ThreadPool

            # A thread for each actor, which hands on what that has made.
            return ThreadPool(
                serve_on_ray,
                (serve, replace(job, as_tensors=False)),
                options.channel_options(),
                num_workers=options.num_workers,
                describe=str,
            )
        from splitdata.process.pool.process_pool import ProcessPool

        # Tensors are made of their arrays here: importing torch would be most of what starting a worker takes.
        job = replace(job, as_tensors=False)
        gpus = options.workers.gpu_indices
        return ProcessPool(
            serve,
            (job,),
            options.channel_options(),
            num_workers=options.num_workers,
            describe=str,
            environments=None if gpus is None else [environment_of(n, gpus) for n in range(options.num_workers)],
        )

    @property
    def _makes_tensors(self) -> bool:
        options = self._options
        is_remote = options.num_workers > 0 and options.workers.kind != "thread"
        return is_remote and options.as_tensors and options.collate_fn is None

    def _make_job(self, *, keeps: bool = True) -> Job:
        """Return what workers are to do; `keeps` says whether a cache is read and filled."""
        options = self._options
        return Job(
            source=self._source,
            # A sampler is asked only where it matters.
            selection=self.plan.replacements() if options.records.skip else self.plan.selection,
            transform=options.transform,
            collate_fn=options.collate_fn,
            as_tensors=options.as_tensors,
            seed=options.seed,
            on_error="skip" if options.records.skip else "raise",
            init_fn=options.workers.init_fn,
            read_ahead=options.workers.read_ahead > 0,
            packs=options.rotation is not None,
            by_position=self.plan.repeats,
            cache=self._cache_job(keeps=keeps),
            # Threads share them with the whole program.
            seeds_globals=options.workers.seed_globals
            and not (options.num_workers and options.workers.kind == "thread"),
        )

    def _cache_job(self, *, keeps: bool) -> CacheJob | None:
        if self._cache is None:
            return None
        # Packed samples are copied when they are unpacked.
        copies = self._options.collate_fn is not None and self._options.rotation is None
        return replace(self._cache, num_needed=len(self.plan.selection), copies=copies, keeps=keeps)

    def peek(self, position: Position) -> Any:
        """Return the batch at a position, made here and moved to the device; starts and changes nothing.

        Raises:
            ValueError: If there is no batch.
            Exception: What the dataset, the transform, the collate function or `to_device` raised.
        """
        run = open_run(self.plan, position)
        if not run.num_steps:
            raise ValueError(f"epoch {position.epoch} has no batch to look at behind sample {position.samples}")
        batch = _first_batch(self._make_job(keeps=False), run)
        transfer = self._open_transfer()
        return batch if transfer is None else transfer.hand_over(transfer.send(batch))

    def run(self, position: Position) -> Iterator[tuple[BatchInfo, Any]]:
        """Start, and yield what is left of an epoch from a position on; an earlier run is over."""
        self.start()
        if self._stream is None or self._workers is None:
            raise RuntimeError("a runtime that has started has workers")
        self._stream.follow(position)
        transfer = self._open_transfer()
        if transfer is None:
            return self._stream
        return DevicePrefetcher(self._stream, transfer, is_ready=self._stream.next_is_ready)

    def _open_transfer(self) -> DeviceTransfer | None:
        """Return what moves batches to the device, kept over epochs; None where they stay."""
        options = self._options
        if self._device is None and not options.pin_memory and options.workers.to_device is None:
            return None
        if self._transfer is None:
            self._transfer = DeviceTransfer(
                open_engine(self._device, pin_memory=options.pin_memory),
                to_device=options.workers.to_device,
                device_batches=options.workers.device_batches,
                transferred=self._meter.transferred,
            )
        return self._transfer

    def note_interrupt(self) -> None:
        """Note that an exception from outside, as Ctrl-C raises one, may have left a transfer half done."""
        self._transfer = None

    def end_of_run(self) -> Position:
        """Return where training stands behind the present run."""
        if self._stream is None:
            raise RuntimeError("there is no run")
        return self._stream.end_of_run()

    def num_ready(self) -> int:
        """Return how many batches are ready."""
        return 0 if self._stream is None else self._stream.num_ready()

    def memory_bytes(self) -> int:
        """Return the bytes of batches in memory shared with workers, waiting or in the user's hands."""
        return 0 if self._workers is None else self._workers.memory_bytes()

    def close(self) -> None:
        """End the workers; batches that were handed out stay valid."""
        self._has_ended = True
        self._end_workers()

    def _end_workers(self) -> None:
        workers, stream = self._workers, self._stream
        self._workers = self._stream = None
        if not self._owner.is_current:
            return
        if stream is not None:
            stream.release()
        if workers is not None:
            workers.close()


def _first_batch(job: Job, run: Run) -> Any:
    """Make the first batch of a run here, as a worker would; it must have one."""
    request = StepRequest(0, run.first_step, run.parts(0, 1)[0])
    maker = StepMaker(job, 0)
    try:
        batch = maker.make(request, is_last=True).batch
        if not isinstance(batch, PackedSamples):
            return batch
        return make_batch(job, unpack_all(batch), request, job.global_random(puts_back=True))
    finally:
        # A worker that is started later takes its place.
        maker.close()
