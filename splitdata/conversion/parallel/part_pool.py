"""Parts are given to workers, and their blocks come back in the order of the parts.

Each worker is at one part. Only blocks of the first part that is not done are handed on, those of the others wait. So
no further part is begun once twice as many wait as there are workers, or what waits has filled its share of the disk.

    parts 0 1 2 3 ...    worker 0: part 0 ──> block, block, last ──────────────> handed on at once
                         worker 1: part 1 ──> block, block ──> wait (waiting_blocks.py) ──> handed on behind part 0
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.conversion.parallel.part_worker import PartRequest, serve
from splitdata.conversion.parallel.waiting_blocks import WaitingBlocks
from splitdata.process.wire.channel_options import ChannelOptions
from splitdata.samples.known_schemas import KnownSchemas

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from splitdata.conversion.parallel.block import Block
    from splitdata.conversion.sources.source import RecordSource
    from splitdata.conversion.steps.record_steps import RecordSteps
    from splitdata.dataset.manifests.stated_schema import SampleEncoder
    from splitdata.process.pool.process_pool import ProcessPool

__all__ = ["PartPool"]

_MEMORY_BYTES: Final = 64 << 20
_DISK_BYTES: Final = 8 << 30
# Requests that a worker has, so that it never waits for the next one.
_REQUESTS: Final = 2


class PartPool:
    """Workers that read the parts of a source; for one reading."""

    def __init__(self, steps: RecordSteps | None, *, skips: bool, num_workers: int, folder: str) -> None:
        """Start the workers.

        Args:
            steps: Of each record; None for none.
            skips: Whether records that fail do not end their part.
            num_workers: How many.
            folder: For what waits and does not fit into memory.
        """
        # Loads what no other conversion needs.
        import functools

        from splitdata.process.pool.process_pool import ProcessPool

        self._pool: ProcessPool[PartRequest, Block] = ProcessPool(
            functools.partial(serve, skips=skips),
            (steps,),
            ChannelOptions(max_batches=_REQUESTS),
            num_workers=num_workers,
            describe=str,
        )
        self._folder = folder
        self._waiting: dict[int, WaitingBlocks] = {}
        # Of each worker, the part that it is at and the blocks that it still owes; None for a worker without one.
        self._at: list[int | None] = [None] * num_workers
        self._owed = [0] * num_workers
        # How many schemas each of them knows, -1 until it was told of any.
        self._known = [-1] * num_workers
        self._encoder: SampleEncoder | None = None
        self.bytes_read: dict[int, int] = {}

    def bind_with(self, encoder: SampleEncoder | None) -> None:
        """Let the workers bind samples, as far as what encodes those of the writer knows their schemas."""
        self._encoder = encoder

    def blocks(self, parts: Iterator[RecordSource], first: int) -> Generator[Block, None, None]:
        """Yield the blocks of all parts in their order, the first of which has this number.

        Raises:
            WorkerCrashedError: If a worker has died.
        """
        self._pool.start()
        numbered = zip(count(first), parts, strict=False)
        head = first
        while True:
            self._ask(numbered, head)
            waiting = self._waiting.get(head)
            if waiting is None:
                return
            if waiting:
                yield waiting.take()
                continue
            if waiting.is_complete:
                self._waiting.pop(head).close()
                self.bytes_read.pop(head, None)
                head += 1
                continue
            self._receive(head)

    def _ask(self, numbered: Iterator[tuple[int, RecordSource]], head: int) -> None:
        """Let each worker have as much to do as it may."""
        for worker_id, number in enumerate(self._at):
            if number is None:
                if self._has_room(head) and (found := next(numbered, None)):
                    self._at[worker_id] = found[0]
                    self._waiting[found[0]] = WaitingBlocks(self._folder)
                    self._submit(worker_id, *found)
            elif self._owed[worker_id] < _REQUESTS and (number == head or self._is_room_on_disk()):
                self._submit(worker_id, number, None)

    def _submit(self, worker_id: int, number: int, part: RecordSource | None) -> None:
        schemas = None
        if self._encoder is not None and len(self._encoder.schemas) > self._known[worker_id]:
            schemas = KnownSchemas.of(self._encoder)
            self._known[worker_id] = len(schemas.schemas)
        self._pool.submit(worker_id, PartRequest(number, part, schemas))
        self._owed[worker_id] += 1

    def _has_room(self, head: int) -> bool:
        """Say whether one more part may be begun."""
        newest = max(self._waiting, default=head)
        return newest - head < 2 * len(self._at) and (not self._waiting or self._is_room_on_disk())

    def _is_room_on_disk(self) -> bool:
        return sum(waiting.num_stored_bytes for waiting in self._waiting.values()) < _DISK_BYTES

    def _receive(self, head: int) -> None:
        """Wait for one block, and put it where it belongs."""
        worker_id, block = self._pool.receive_any()
        self._owed[worker_id] -= 1
        number = block.part
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.is_complete:
            self.bytes_read[number] = block.bytes_read
            in_memory = sum(other.num_bytes for other in self._waiting.values())
            # What the worker lent is given back at once: it is of use for the next block.
            own = replace(block, payload=np.array(block.payload), lengths=np.array(block.lengths))
            waiting.put(own, has_room=number == head or in_memory < _MEMORY_BYTES)
        if block.is_last and self._at[worker_id] == number:
            self._at[worker_id] = None

    def close(self) -> None:
        """End the workers; safe to call again."""
        self._pool.close()
        for waiting in self._waiting.values():
            waiting.close()
