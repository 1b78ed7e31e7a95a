"""Words of torch's DataLoader and DistributedSampler, and options given in the wrong place, answered with ours.

    DistributedLoader(..., drop_last=True)  ──>  TypeError: ... instead of drop_last use tail="drop" ...
    DistributedLoader(..., lanes=4)         ──>  TypeError: ... instead of lanes use order=OrderOptions(lanes=...)

The signature stays as it is written; only what Python would refuse anyway gets a better answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Final, ParamSpec, TypeVar

from splitdata.loader.option_groups import OrderOptions, RecordOptions, WorkerOptions

__all__ = ["answers_torch_words"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_OURS: Final = {
    field.name: f"{option}={group.__name__}({field.name}=...)"
    for option, group in (("workers", WorkerOptions), ("order", OrderOptions), ("records", RecordOptions))
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


def answers_torch_words(init: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a constructor answer words of torch's with its own; all else is left to it."""

    @functools.wraps(init)
    def answer(*args: Parameters.args, **options: Parameters.kwargs) -> Result:
        foreign = [name for name in options if name in _OURS]
        if foreign:
            answers = "; ".join(f"instead of {name} use {_OURS[name]}" for name in foreign)
            raise TypeError(f"DistributedLoader has no {' and no '.join(foreign)}: {answers}")
        return init(*args, **options)

    return answer
