"""The options of a loader, checked once, when it is made; other names for them are answered with ours.

The signature stays as it is written; only what Python would refuse anyway gets a better answer.

    DistributedLoader(..., drop_last=True)  ──>  TypeError: ... instead of drop_last use tail="drop" ...
    DistributedLoader(..., lanes=4)         ──>  TypeError: ... instead of lanes use order=OrderOptions(lanes=...)
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar, get_args

from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.option_groups import (
    OrderOptions,
    RecordOptions,
    WorkerOptions,
    check_choice,
    check_function,
)
from splitdata.loader.plan.user_samplers import BatchSampler, Sampler
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.loader.samples.packed_collate import PackedCollate
from splitdata.loader.samples.sample_maker import Transform
from splitdata.order.counts import checked_count
from splitdata.order.epoch_order import Shuffle
from splitdata.order.packs import Packed
from splitdata.order.partition import Tail
from splitdata.order.permutation import derive_key
from splitdata.order.window import Window
from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["Device", "LoaderOptions", "answers_torch_words"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_log = logging.getLogger("splitdata")

# A torch.device, its name or number; torch need not be installed.
Device: TypeAlias = Any

# The option, its class, and a hint for what is often meant by it.
_GROUPS: Final = (
    ("cache", Cache, "as in cache=Cache('folder')"),
    ("rotation", Rotation, "as in rotation=Rotation(times=3)"),
    ("workers", WorkerOptions, "as in workers=WorkerOptions(prefetch=4); how many there are is num_workers="),
    ("order", OrderOptions, 'as in order=OrderOptions(lanes=8); a shuffled order is shuffle="global"'),
    ("records", RecordOptions, "as in records=RecordOptions(subset=slice(1000))"),
)
# What takes the place of words of torch's DataLoader and DistributedSampler, and of options given in the wrong place.
_ANSWERS: Final = {
    field.name: f"{option}={group.__name__}({field.name}=...)"
    for option, group, _ in _GROUPS[2:]
    for field in fields(group)
} | {
    "drop_last": 'tail="drop" for True (drops the last, shorter step on all ranks); False is the default, tail="pad"',
    "prefetch_factor": "workers=WorkerOptions(prefetch=...) (batches that each worker makes ahead)",
    "persistent_workers": "nothing, workers always stay until close()",
    "pin_memory_device": 'device= (as "cuda": batches go there through pinned memory)',
    "multiprocessing_context": 'workers=WorkerOptions(start_method=...) ("spawn" or "fork")',
    "worker_init_fn": "workers=WorkerOptions(init_fn=...)",
    "worker_kind": "workers=WorkerOptions(kind=...)",
    "worker_threads": "workers=WorkerOptions(threads=...)",
    "max_skipped": "records=RecordOptions(on_error=Skip(max_records=...))",
    "validate": "nothing, loader.peek() makes a batch in this process",
    "generator": "seed= (an int; order and randomness follow from it and the epoch)",
    "num_replicas": "world_size=",
    "collate": "collate_fn=",
}


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """The options of a DistributedLoader, by the same names; what each means is said there."""

    batch_size: int
    shuffle: Shuffle
    seed: int
    num_workers: int
    transform: Transform | None
    collate_fn: Callable[[list[Any]], Any] | None
    as_tensors: bool
    sampler: Sampler | None
    batch_sampler: BatchSampler | None
    tail: Tail
    rank: int | None
    world_size: int | None
    device: Device
    pin_memory: bool
    timeout: float | None
    cache: Cache | None
    rotation: Rotation | None
    workers: WorkerOptions
    order: OrderOptions
    records: RecordOptions

    def __post_init__(self) -> None:
        for name, kind, hint in _GROUPS:
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name} must be {kind.__name__}, {hint}, got {value!r}")
        check_choice("tail", self.tail, get_args(Tail))
        for name, least in (("batch_size", 1), ("num_workers", 0)):
            # An int of numpy would not go into a state, which is JSON.
            object.__setattr__(self, name, checked_count(name, getattr(self, name), least))
        for name in ("transform", "collate_fn"):
            check_function(name, getattr(self, name))
        # Checks the seed.
        derive_key(self.seed)
        self._take_mesh()
        self._check_shuffle()
        self._check_samplers()
        self._check_rotation()
        self._check_packs()
        self._check_workers()

    def _take_mesh(self) -> None:
        world = self.order.mesh
        if world is None:
            return
        if self.rank is not None or self.world_size is not None:
            raise ValueError("the mesh of OrderOptions says rank and world_size: leave them out")
        object.__setattr__(self, "rank", world.rank)
        object.__setattr__(self, "world_size", world.world_size)

    def _check_shuffle(self) -> None:
        # Values that callers without a type checker may pass.
        shuffle: object = self.shuffle
        if not (isinstance(shuffle, Window) or shuffle in ("global", "bins") or shuffle is False):
            raise ValueError(f'shuffle must be False, "global", "bins" or Window(n), got {shuffle!r}')
        if self.order.draws is not None and (isinstance(shuffle, Window) or shuffle == "bins"):
            raise ValueError(
                f"{self.order.draws} of OrderOptions draws from all records, so that none are near or read together: "
                f'not with shuffle={shuffle!r}, use "global", or False for the records in their order'
            )

    def _check_samplers(self) -> None:
        given = [name for name in ("sampler", "batch_sampler") if getattr(self, name) is not None]
        for name in given:
            value = getattr(self, name)
            if not isinstance(value, Iterable) and not callable(value):
                raise TypeError(f"{name} must be iterable, or a function of the epoch, got {value!r}")
            if isinstance(value, Iterator):
                raise TypeError(
                    f"{name} is an iterator ({type(value).__qualname__}), which has nothing left after one epoch: give "
                    "what it was made from, or a function of the epoch that makes it"
                )
        if len(given) == 2:
            raise ValueError("sampler and batch_sampler exclude each other")
        if not given:
            return
        others = {
            "shuffle": self.shuffle is not False,
            "subset": self.records.subset is not None,
            "skip_deleted": self.records.skip_deleted,
            "lanes": self.order.lanes is not None and self.rotation is None,
            "weights": self.order.weights is not None,
            "balanced_by": self.order.balanced_by is not None,
        }
        if given == ["batch_sampler"]:
            others |= {
                "batching": self.order.batching is not None,
                "batch_size": self.batch_size != 1,
                "num_steps": self.order.num_steps is not None,
                'partition="contiguous"': self.order.partition == "contiguous",
            }
        clash = [name for name, is_set in others.items() if is_set]
        if clash:
            raise ValueError(f"{given[0]} decides the order itself: leave out {', '.join(clash)}")

    def _check_rotation(self) -> None:
        if self.rotation is None:
            return
        if self.batch_sampler is not None or self.order.batching is not None:
            raise ValueError("rotation mixes samples and makes batches of them: not with batch_sampler or batching")
        if self.order.partition == "contiguous":
            raise ValueError(
                'rotation divides the epoch into groups, and partition="contiguous" into stretches of ranks, which '
                'would cut through them: use partition="strided"'
            )

    def _check_packs(self) -> None:
        packed, collate = self.order.batching, self.collate_fn
        if not isinstance(packed, Packed):
            return
        if isinstance(collate, PackedCollate):
            if collate.size != packed.size:
                raise ValueError(
                    f"Packed makes sequences of {packed.size} elements, and PackedCollate of {collate.size}: give both "
                    "the same size"
                )
        elif packed.splits:
            raise ValueError(
                'strategy="concat" splits samples, and PackedCollate is what knows where: give '
                f"collate_fn=PackedCollate({packed.size}, ...)"
            )
        if packed.splits and self.records.on_error != "raise":
            raise ValueError(
                'strategy="concat" splits samples over batches, and a replacement has another length: use '
                'on_error="raise", or leave bad records out by a subset'
            )

    def _check_workers(self) -> None:
        gpus, kind = self.workers.gpu_indices, self.workers.kind
        if gpus is not None and (kind != "process" or len(gpus) != self.num_workers):
            raise ValueError(
                f"gpu_indices needs one number for each worker process, got {list(gpus)} for {self.num_workers} "
                f"workers of kind {kind!r}"
            )
        # Checks the timeout.
        self.channel_options()
        if self.timeout is not None and not self.num_workers:
            _log.warning(
                "timeout=%s has no effect with num_workers=0: this process makes the batches itself, and waits for "
                "itself. With num_workers=1 or more a worker that takes longer is an error",
                self.timeout,
            )

    def channel_options(self) -> ChannelOptions:
        """Return what a pool of workers is told."""
        return self.workers.channel_options(self.timeout)


def answers_torch_words(init: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a constructor answer words of torch's with its own; all else is left to it."""

    @functools.wraps(init)
    def answer(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        foreign = [name for name in options if name in _ANSWERS]
        if foreign:
            answers = "; ".join(f"instead of {name} use {_ANSWERS[name]}" for name in foreign)
            raise TypeError(f"DistributedLoader has no {' and no '.join(foreign)}: {answers}")
        return init(*args, **options)

    return answer
