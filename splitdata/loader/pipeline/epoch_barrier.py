"""The barrier between passes through the data, for a loader with a cache: no sample is made by two workers at once.

    pass 0   | 7 | 8 | 9 |           while samples are being made, and where a generation ends, the steps of the
    pass 1               # 0 | 1     next pass wait until all steps of this one have come back

Within a pass no two steps have a record in common. Where all samples come from the cache there is no barrier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.plan.steps import Part, StepReply

__all__ = ["EpochBarrier"]


class EpochBarrier:
    """Says which steps wait. Belongs to one thread."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._is_filling = True
        self._asked: set[int] = set()
        self._generation = -1

    def holds_back(self, parts: tuple[Part, ...]) -> bool:
        """Tell whether a step must wait until nothing that was asked for is being made."""
        epochs = {part.epoch for part in parts} | self._asked
        if len(epochs) <= 1:
            return False
        return self._is_filling or any(self._cache.first_epoch(epoch) != self._generation for epoch in epochs)

    def note_asked(self, parts: tuple[Part, ...]) -> None:
        """Note the step that was asked for last."""
        self._asked = {part.epoch for part in parts}
        generation = self._cache.first_epoch(parts[-1].epoch)
        if generation != self._generation:
            # Until a reply shows otherwise.
            self._generation, self._is_filling = generation, True

    def note_reply(self, reply: StepReply) -> None:
        """Note the step that came back last."""
        counts = reply.cache
        self._is_filling = counts is not None and counts.num_misses > 0 and counts.problem is None
