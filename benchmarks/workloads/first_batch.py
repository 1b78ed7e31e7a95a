"""S: from `iter()` to the first batch, in a process that has everything imported.

    open     not measured: the loader is made
    epoch 1  iter() ──────────> first batch      starts the workers
             ... to its end
    epoch 2  iter() ──> first batch              the workers are there
    epoch 3, 4           as 2
    close

Processes are started in every way that both sides offer.
"""

from __future__ import annotations

import gc
import statistics
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.loaders.base import Feed, Images, LoaderPeer, StartMethod

__all__ = ["FirstBatch", "measure_first_batch"]

_NUM_LATER_EPOCHS: Final = 3


@dataclass(slots=True)
class FirstBatch:
    """How long one loader lets wait.

    Attributes:
        peer, start_method: Which; None where it starts no processes or has but one way.
        first: Milliseconds of each round, in the first epoch.
        later: The same in the epochs after it, of all rounds.
        answer: Why there is nothing.
    """

    peer: str
    start_method: StartMethod | None
    first: list[float] = field(default_factory=list)
    later: list[float] = field(default_factory=list)
    answer: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for the results file."""
        shown: dict[str, Any] = {"peer": self.peer, "start_method": self.start_method}
        if self.answer:
            return shown | {"answer": self.answer}
        return shown | {
            "first_ms": round(statistics.median(self.first), 2),
            "later_ms": round(statistics.median(self.later), 2),
            "first_runs": [round(one, 2) for one in self.first],
            "later_runs": [round(one, 2) for one in self.later],
        }


def measure_first_batch(peers: list[LoaderPeer], images: Images, repeat: int) -> Iterator[FirstBatch]:
    """Yield the times of each loader with each of its start methods, when all rounds are over."""
    # One pass: what follows the first batch is only waited for.
    images = replace(images, passes=1)
    cases = [(peer, method) for peer in peers for method in (peer.start_methods or (None,))]
    results = [FirstBatch(peer.name, method) for peer, method in cases]
    for _ in range(repeat):
        for (peer, method), result in zip(cases, results, strict=True):
            if result.answer:
                continue
            try:
                gc.collect()
                with closing(peer.open(replace(images, start_method=method))) as feed:
                    result.first.append(_seconds_to_first(feed) * 1000)
                    result.later += [_seconds_to_first(feed) * 1000 for _ in range(_NUM_LATER_EPOCHS)]
            except Exception as error:  # a peer that fails is reported, the others go on
                result.answer = f"failed: {type(error).__name__}: {error}"
    yield from results


def _seconds_to_first(feed: Feed) -> float:
    begin = time.perf_counter()
    batches = feed.epoch()
    batch = next(batches)
    seconds = time.perf_counter() - begin
    del batch
    for _ in batches:
        pass
    return seconds
