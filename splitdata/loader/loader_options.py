"""The options of a loader, checked once, when it is made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.plan.plan import PartitionKind
from splitdata.loader.plan.selection import Subset
from splitdata.loader.plan.user_samplers import BatchSampler, Sampler
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.loader.samples.sample_maker import ErrorPolicy, Transform
from splitdata.order.counts import MAX_LANES, checked_count
from splitdata.order.epoch_order import Shuffle
from splitdata.order.partition import Tail
from splitdata.order.permutation import derive_key
from splitdata.order.window import Window
from splitdata.process.wire.channel_options import ChannelOptions, StartMethod

__all__ = ["Device", "LoaderOptions", "WorkerKind"]

_log = logging.getLogger("splitdata")

WorkerKind: TypeAlias = Literal["process", "thread"]
# A torch.device, its name or number; torch need not be installed.
Device: TypeAlias = Any

_CHOICES: dict[str, tuple[object, ...]] = {
    "tail": get_args(Tail),
    "partition": get_args(PartitionKind),
    "worker_kind": get_args(WorkerKind),
    "on_error": get_args(ErrorPolicy),
}
# Name, least value, whether None is allowed.
_COUNTS: tuple[tuple[str, int, bool], ...] = (
    ("batch_size", 1, False),
    ("num_workers", 0, False),
    ("prefetch", 1, False),
    ("read_ahead", 0, False),
    ("device_batches", 1, False),
    ("interleave", 1, False),
    ("lanes", 1, True),
    ("num_steps", 1, True),
    ("max_bytes", 1, True),
    ("worker_threads", 1, True),
)
_FUNCTIONS = ("transform", "collate_fn", "to_device", "worker_init_fn")


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """The options of a DistributedLoader; what each means is said there."""

    batch_size: int
    shuffle: Shuffle
    seed: int
    num_workers: int
    transform: Transform | None
    as_views: bool
    with_keys: bool
    with_positions: bool
    collate_fn: Callable[[list[Any]], Any] | None
    as_tensors: bool
    rank: int | None
    world_size: int | None
    device: Device
    pin_memory: bool
    to_device: Callable[[Any, Any], Any] | None
    device_batches: int
    tail: Tail
    partition: PartitionKind
    lanes: int | None
    interleave: int
    subset: Subset | None
    sampler: Sampler | None
    batch_sampler: BatchSampler | None
    num_steps: int | None
    rotation: Rotation | None
    in_order: bool
    worker_kind: WorkerKind
    start_method: StartMethod | None
    prefetch: int
    max_bytes: int | None
    read_ahead: int
    prefetch_epochs: bool
    on_error: ErrorPolicy
    seed_globals: bool
    max_skipped: float | None
    validate: bool
    worker_init_fn: Callable[[int], Any] | None
    gpu_indices: Sequence[int] | None
    timeout: float | None
    stall_warning: float | None
    worker_threads: int | None
    cache: Cache | None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                shown = " or ".join(map(repr, choices))
                raise ValueError(f"{name} must be {shown}, got {getattr(self, name)!r}")
        for name, least, may_be_none in _COUNTS:
            value = getattr(self, name)
            if value is None and may_be_none:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name} must be an int, got {value!r}")
            if value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}")
            if name == "lanes" and value > MAX_LANES:
                raise ValueError(f"lanes must be {MAX_LANES} or fewer, got {value}")
            # One of numpy would not go into a state, which is JSON.
            object.__setattr__(self, name, int(value))
        for name in _FUNCTIONS:
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"{name} must be a function, got {value!r}")
        if self.cache is not None and not isinstance(self.cache, Cache):
            raise TypeError(f"cache must be a Cache, as in cache=Cache({self.cache!r}), got {self.cache!r}")
        # Validates the seed.
        derive_key(self.seed)
        self._check_shuffle()
        self._check_samplers()
        self._check_rotation()
        self._check_skipping()
        self._check_workers()

    def _check_shuffle(self) -> None:
        # Values that callers without a type checker may pass.
        shuffle: object = self.shuffle
        if not (isinstance(shuffle, Window) or shuffle in ("global", "bins") or shuffle is False):
            raise ValueError(f'shuffle must be False, "global", "bins" or Window(n), got {shuffle!r}')

    def _check_samplers(self) -> None:
        given = [name for name in ("sampler", "batch_sampler") if getattr(self, name) is not None]
        for name in given:
            if not isinstance(getattr(self, name), Iterable) and not callable(getattr(self, name)):
                raise TypeError(f"{name} must be iterable, or a function of the epoch, got {getattr(self, name)!r}")
            if isinstance(getattr(self, name), Iterator):
                kind = type(getattr(self, name)).__qualname__
                raise TypeError(
                    f"{name} is an iterator ({kind}), which has nothing left after one epoch: give what it was "
                    "made from, or a function of the epoch that makes it"
                )
        if len(given) == 2:
            raise ValueError("sampler and batch_sampler exclude each other")
        if not given:
            return
        others = {
            "shuffle": self.shuffle is not False,
            "subset": self.subset is not None,
            "lanes": self.lanes is not None and self.rotation is None,
        }
        if given == ["batch_sampler"]:
            others |= {
                "batch_size": self.batch_size != 1,
                "num_steps": self.num_steps is not None,
                'partition="contiguous"': self.partition == "contiguous",
            }
        clash = [name for name, is_set in others.items() if is_set]
        if clash:
            raise ValueError(f"{given[0]} decides the order itself: leave out {', '.join(clash)}")

    def _check_rotation(self) -> None:
        if self.rotation is None:
            return
        if not isinstance(self.rotation, Rotation):
            raise TypeError(f"rotation must be a Rotation, got {self.rotation!r}")
        if self.batch_sampler is not None:
            raise ValueError("rotation mixes samples and makes batches of them: not with batch_sampler")
        if self.partition == "contiguous":
            raise ValueError(
                'rotation divides the epoch into groups, and partition="contiguous" into stretches of ranks, which '
                'would cut through them: use partition="strided"'
            )

    def _check_skipping(self) -> None:
        budget = self.max_skipped
        if budget is None:
            return
        if self.on_error != "skip":
            raise ValueError(f'max_skipped={budget!r} is the budget of on_error="skip": give both, or none')
        if isinstance(budget, bool) or not isinstance(budget, (int, float, np.integer, np.floating)):
            raise TypeError(f"max_skipped must be a number of records, or a share of them as a float, got {budget!r}")
        is_share = isinstance(budget, (float, np.floating))
        if not (0 <= budget <= 1 if is_share else budget >= 0):
            raise ValueError(f"max_skipped must be an int of 0 or more, or a float from 0.0 to 1.0, got {budget!r}")
        object.__setattr__(self, "max_skipped", float(budget) if is_share else int(budget))

    def _check_workers(self) -> None:
        if self.num_steps is not None and self.partition == "contiguous":
            raise ValueError('num_steps goes through epoch after epoch without end: not with partition="contiguous"')
        gpus = self.gpu_indices
        if gpus is not None and (self.worker_kind == "thread" or len(gpus) != self.num_workers):
            raise ValueError(
                f"gpu_indices needs one number for each worker process, got {list(gpus)} for {self.num_workers} "
                f"workers of kind {self.worker_kind!r}"
            )
        for index in () if gpus is None else gpus:
            checked_count("each of gpu_indices", index, 0)
        # Validates the options of the workers.
        self.channel_options()
        if self.timeout is not None and not self.num_workers:
            _log.warning(
                "timeout=%s has no effect with num_workers=0: this process makes the batches itself, and waits for "
                "itself. With num_workers=1 or more a worker that takes longer is an error",
                self.timeout,
            )

    def channel_options(self) -> ChannelOptions:
        """Return what a pool of workers is told."""
        return ChannelOptions(
            max_batches=self.prefetch,
            max_bytes=self.max_bytes,
            start_method=self.start_method,
            timeout=self.timeout,
            stall_warning=self.stall_warning,
            worker_threads=self.worker_threads,
        )
