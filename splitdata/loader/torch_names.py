"""Words of torch's DataLoader and DistributedSampler, answered with those of ours.

The signature stays as it is written; only what Python would refuse anyway gets a better answer.

    DistributedLoader(..., drop_last=True)  ──>  TypeError: ... instead of drop_last use tail="drop" ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

__all__ = ["answers_torch_words"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_OURS: Final = {
    "drop_last": 'tail="drop" for True (drops the last, shorter step on all ranks); False is the default, tail="pad"',
    "prefetch_factor": "prefetch= (batches that each worker makes ahead)",
    "persistent_workers": "nothing, workers always stay until close()",
    "pin_memory_device": 'device= (as "cuda": batches go there through pinned memory)',
    "multiprocessing_context": 'start_method= ("spawn" or "fork")',
    "generator": "seed= (an int; order and randomness follow from it and the epoch)",
    "num_replicas": "world_size=",
    "collate": "collate_fn=",
    "workers": "num_workers=",
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
