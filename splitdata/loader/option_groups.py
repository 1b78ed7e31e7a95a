"""Options of a DistributedLoader that belong together: given as one, checked where they are made.

    DistributedLoader(path, num_workers=4, workers=WorkerOptions(prefetch=4), order=OrderOptions(lanes=8))

Each is frozen and pickles, so one may be shared by several loaders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from splitdata.loader.plan.plan import PartitionKind
from splitdata.loader.plan.selection import Subset
from splitdata.loader.plan.world import World
from splitdata.loader.samples.record_values import PerRecord
from splitdata.loader.samples.skips import Skip
from splitdata.order.batching import Batching
from splitdata.order.counts import MAX_LANES, checked_count
from splitdata.process.wire.channel_options import STALL_WARNING, ChannelOptions, StartMethod

__all__ = ["OnError", "OrderOptions", "RecordOptions", "WorkerKind", "WorkerOptions", "check_choice", "check_function"]

OnError: TypeAlias = "Literal['raise', 'skip'] | Skip"
WorkerKind: TypeAlias = Literal["process", "thread", "ray"]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """How batches are made ahead of the loop. None of these changes which samples come, but `in_order=False`.

        DistributedLoader(path, num_workers=4, workers=WorkerOptions(kind="thread", prefetch=4))

    Attributes:
        kind: "process"; "thread": for transforms that release the interpreter; or "ray": actors on the machines of a
            Ray cluster, each with a CPU, for transforms that need more of these than there are here.
        start_method: "spawn" (default) or "fork".
        prefetch: Batches that each worker makes ahead.
        prefetch_epochs: Begin with the next epoch's batches before its `iter()`.
        device_batches: Batches that are on their way to the device ahead of the loop.
        to_device: (batch, device) -> batch, in place of what moves batches to the device; called in this process.
        read_ahead: Steps for which each worker asks the disk before it needs them.
        max_bytes: Shared memory of all workers together, with "ray" memory of this process. None: what the machine can
            spare, 1 GiB at most.
        threads: Threads of OpenMP, BLAS and torch in each worker process. None: what these libraries take, which is
            usually all cores.
        in_order: False: batches as they become ready. Then a state counts batches, not which ones. With rotation
            batches keep their order, and only samples are taken as they become ready.
        stall_warning: Seconds without a batch after which a warning tells where the worker stands. None: never.
        init_fn: Called with the worker's number, in each worker, first.
        gpu_indices: For each worker process the GPU that it sees.
        seed_globals: Set the global generators of Python, numpy and (where it is loaded) torch from (seed, epoch,
            record) before each sample is made, so that transforms that draw from them give the same for every
            number of workers and after a resume. Yours are put back. Not in threads, which share them.

    Raises:
        TypeError, ValueError: An attribute of a wrong type or out of range.
    """

    kind: WorkerKind = "process"
    start_method: StartMethod | None = None
    prefetch: int = 2
    prefetch_epochs: bool = False
    device_batches: int = 1
    to_device: Callable[[Any, Any], Any] | None = None
    read_ahead: int = 16
    max_bytes: int | None = None
    threads: int | None = 1
    in_order: bool = True
    stall_warning: float | None = STALL_WARNING
    init_fn: Callable[[int], Any] | None = None
    gpu_indices: Sequence[int] | None = None
    seed_globals: bool = True

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(WorkerKind))
        for name, least in (("prefetch", 1), ("device_batches", 1), ("read_ahead", 0)):
            object.__setattr__(self, name, checked_count(name, getattr(self, name), least))
        for name in ("max_bytes", "threads"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else checked_count(name, value, 1))
        for name in ("to_device", "init_fn"):
            check_function(name, getattr(self, name))
        for index in () if self.gpu_indices is None else self.gpu_indices:
            checked_count("each of gpu_indices", index, 0)
        # Checks start_method and stall_warning.
        self.channel_options(None)

    def channel_options(self, timeout: float | None) -> ChannelOptions:
        """Return what a pool of workers is told."""
        return ChannelOptions(
            max_batches=self.prefetch,
            max_bytes=self.max_bytes,
            start_method=self.start_method,
            timeout=timeout,
            stall_warning=self.stall_warning,
            worker_threads=self.threads,
        )


@dataclass(frozen=True, kw_only=True)
class OrderOptions:
    """How the order is cut into epochs, dealt out to ranks, and mixed with shuffle="bins": see docs/order.md.

        DistributedLoader(path, shuffle="bins", order=OrderOptions(lanes=64, interleave=8))

    Attributes:
        num_steps: Steps of an epoch, cut from pass after pass through the data: no tails. None: an epoch is one pass.
            Not with partition="contiguous".
        partition: "strided": rank r takes every world_size-th position; "contiguous": a stretch of its own.
        lanes: See docs/order.md; None: the world size at first use, kept in the state.
        interleave: Bins that are mixed, with shuffle="bins".
        batching: TokenBudget, Buckets or Packed: batches by the length of samples, see docs/batching.md. Not with
            num_steps or partition="contiguous".
        weights: How often each record comes, beside the others: a number for each record of the dataset, the name of a
            field, or a function of a record, which is called for each once. See docs/weights.md.
        balanced_by: The class of each record, as `weights` is given: each class comes as often as any other.
        num_samples: Of an epoch, with one of these two; None: as many as records take part.
        replacement: Whether a record may come more than once in an epoch, with `weights`.
        mesh: In place of rank and world size: the part of a torch DeviceMesh that shares the data out, as `mesh["dp"]`.
            All ranks beside it, of tensor or context parallelism, get the same batches. Kept as this rank in it.
        replicate: So many neighbouring ranks get the same batches, as ranks of tensor, context or pipeline parallelism
            need them. Then rank and world size of a loader, and of its state, count such groups. Not with `mesh`.

    Raises:
        TypeError, ValueError: An attribute of a wrong type or out of range, or two that clash.
    """

    num_steps: int | None = None
    partition: PartitionKind = "strided"
    lanes: int | None = None
    interleave: int = 4
    batching: Batching | None = None
    weights: PerRecord | None = None
    balanced_by: PerRecord | None = None
    num_samples: int | None = None
    replacement: bool = True
    mesh: Any = None
    replicate: int = 1

    def __post_init__(self) -> None:
        check_choice("partition", self.partition, get_args(PartitionKind))
        # An int of numpy would not go into a state, which is JSON.
        object.__setattr__(self, "interleave", checked_count("interleave", self.interleave, 1))
        for name in ("num_steps", "lanes", "num_samples"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else checked_count(name, value, 1))
        object.__setattr__(self, "replicate", checked_count("replicate", self.replicate, 1))
        if self.mesh is not None and self.replicate != 1:
            raise ValueError("mesh says which ranks get the same batches, and so does replicate: give one of them")
        if self.mesh is not None:
            object.__setattr__(self, "mesh", World.of_mesh(self.mesh))
        if self.lanes is not None and self.lanes > MAX_LANES:
            raise ValueError(f"lanes must be {MAX_LANES} or fewer, got {self.lanes}")
        if self.num_steps is not None and self.partition == "contiguous":
            raise ValueError('num_steps goes through epoch after epoch without end: not with partition="contiguous"')
        self._check_drawing()
        self._check_batching()

    @property
    def draws(self) -> str | None:
        """The name of the option that says which records are drawn, None where each comes once an epoch."""
        return "weights" if self.weights is not None else None if self.balanced_by is None else "balanced_by"

    def _check_drawing(self) -> None:
        if self.weights is not None and self.balanced_by is not None:
            raise ValueError("weights and balanced_by exclude each other: give weights that balance the classes too")
        if self.num_samples is not None and self.weights is None and self.balanced_by is None:
            raise ValueError("num_samples goes with weights or balanced_by: else each record comes once an epoch")
        if self.replacement:
            return
        if self.weights is None:
            raise ValueError("replacement=False goes with weights: balanced_by repeats what a small class has")
        if self.num_samples is None:
            raise ValueError(
                "replacement=False needs num_samples: in an epoch of as many samples as records each comes once, "
                "whatever it weighs"
            )

    def _check_batching(self) -> None:
        batching: object = self.batching
        if batching is None:
            return
        if not isinstance(batching, Batching):
            raise TypeError(f"batching must be TokenBudget(...), Buckets(...) or Packed(...), got {batching!r}")
        if self.num_steps is not None or self.partition == "contiguous":
            raise ValueError(
                "batching by length deals out the batches of an epoch one by one, and epochs have different numbers of "
                'them: not with num_steps or partition="contiguous"'
            )


@dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """Which records take part, in what form the transform gets them, and what becomes of bad ones.

        DistributedLoader(path, transform=decode, records=RecordOptions(subset=HashSplit(0.0, 0.9), with_keys=True))

    Attributes:
        subset: The records that take part: slice, range, array of ints or bools, HashSplit. None: all.
        skip_deleted: Records that were deleted take no part, as if `subset` did not name them; else they are errors.
            A state is that of a loader with the same deleted records.
        on_error: "raise", or "skip": a record that cannot be read or transformed is replaced by another of those that
            take part (with a sampler: in epoch 0), counted, and listed in `skipped`; more than half of a rank's
            records in an epoch are an error all the same. Skip(max_records) sets another limit.
        as_views: As read-only memoryviews, verified, without a copy where the file is mapped; faster for large ones.
            Not for datasets without a method `view`.
        with_keys: As the tuple `(record, key)`, of which the key is None where a record has none: for labels that are
            a part of it. Reads and verifies a record twice. Not for datasets without a method `key`.
        with_positions: As `(record, position)`, the record's number in the dataset; with `with_keys` too,
            `(record, key, position)`.

    Raises:
        ValueError: `on_error` is something else. A subset is checked against its dataset.
    """

    subset: Subset | None = None
    skip_deleted: bool = False
    on_error: OnError = "raise"
    as_views: bool = False
    with_keys: bool = False
    with_positions: bool = False

    def __post_init__(self) -> None:
        on_error: object = self.on_error
        if not (isinstance(on_error, Skip) or on_error in ("raise", "skip")):
            raise ValueError(f"on_error must be 'raise', 'skip' or Skip(max_records), got {on_error!r}")

    @property
    def skip(self) -> Skip | None:
        """What on_error says of bad records; None where they are errors."""
        if isinstance(self.on_error, Skip):
            return self.on_error
        return Skip() if self.on_error == "skip" else None


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is not one of the choices.

    Raises:
        ValueError: Naming them.
    """
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}")


def check_function(name: str, value: object) -> None:
    """Refuse what cannot be called, but None.

    Raises:
        TypeError: Naming it.
    """
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r}")
