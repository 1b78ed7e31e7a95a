"""Samples on their way: chunks that workers are to make, and what comes back into the groups.

Samples are asked for before they are used, in chunks, of which `ahead` at most are with the workers.

    add ──> unsent ──send──> at the workers, `ahead` of them ──take_in──> store of the row, addresses in its groups
               |                         |
               `- behind the barrier     `- raised: the error is kept until a sample is missed
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from splitdata.errors import ClosedError
from splitdata.loader.pipeline.epoch_barrier import EpochBarrier
from splitdata.loader.plan.steps import StepRequest

if TYPE_CHECKING:
    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.pipeline.executors import Executor
    from splitdata.loader.plan.steps import Part, SkippedRecord
    from splitdata.loader.rotation.groups import GroupHolder, Row, Uses
    from splitdata.loader.samples.packing import PackedSamples, SampleUnpacker
    from splitdata.loader.stats.meter import StatsMeter

__all__ = ["PrefetchLimits", "SamplePrefetcher"]


class PrefetchLimits(NamedTuple):
    """The limits on how far ahead samples are made.

    `ahead` chunks of up to `chunk_size` samples may be on their way, and up to `at_once` of those that are ready are
    taken in at a step. With `crosses_epochs` the next epoch's samples are asked for behind those of this one.
    """

    ahead: int
    at_once: int
    chunk_size: int
    crosses_epochs: bool


class _Chunk(NamedTuple):
    """Samples of one row that one worker is to make."""

    row: Row
    uses: Uses
    request: StepRequest


class SamplePrefetcher:
    """Asks workers for samples and puts them into groups. Belongs to one thread.

    Args:
        workers: Make packed samples.
        groups: Where they are put.
        unpacker: Learns of their classes.
        meter: Counts.
        limits: How far ahead.
        cache: From which workers take samples, and into which they put them.

    Attributes:
        has_failed: Whether a worker has raised something: there will be no more samples.
        is_receiving: Whether an interrupt that has come now can at most have lost a reply.
    """

    def __init__(
        self,
        workers: Executor,
        groups: GroupHolder,
        unpacker: SampleUnpacker,
        meter: StatsMeter,
        limits: PrefetchLimits,
        cache: Cache | None,
    ) -> None:
        self._workers = workers
        self._groups = groups
        self._unpacker = unpacker
        self._meter = meter
        self._limits = limits
        self._barrier = None if cache is None else EpochBarrier(cache)
        self._next_ticket = 0
        self._unsent: deque[_Chunk] = deque()
        self._in_flight: dict[int, _Chunk] = {}
        self._skipped: list[SkippedRecord] = []
        self._failure: Exception | None = None
        self.has_failed = False
        self.is_receiving = False

    def add(self, row: Row, uses: Uses, part: Part, step: int) -> None:
        """Ask for samples of one row, behind those that were asked for.

        Args:
            row: Theirs.
            uses: Of each sample the first.
            part: The same samples, by their records.
            step: Where the first is used, for messages.
        """
        for begin in range(0, len(part.records), self._limits.chunk_size):
            here = slice(begin, begin + self._limits.chunk_size)
            some = part._replace(positions=part.positions[here], records=part.records[here])
            self._unsent.append(_Chunk(row, uses.part(here), StepRequest(self._next_ticket, step, (some,))))
            self._next_ticket += 1

    def send(self) -> bool:
        """Send chunks to the workers; return whether there is room for more than there are."""
        if self.has_failed:
            return False
        while self._unsent and len(self._in_flight) < self._limits.ahead:
            chunk = self._unsent[0]
            if self._barrier is not None:
                if self._in_flight and self._barrier.holds_back(chunk.request.parts):
                    return False
                self._barrier.note_asked(chunk.request.parts)
            self._in_flight[chunk.request.ticket] = chunk
            self._workers.ask(chunk.request)
            self._unsent.popleft()
        return len(self._in_flight) < self._limits.ahead

    def take_in(self) -> None:
        """Keep the next chunk that a worker has made; wait for it.

        Raises:
            Exception: What the dataset or the transform raised; errors of workers and disk.
        """
        if self.has_failed:
            self.raise_failure()
        self.is_receiving = True
        worker_id, reply = self._workers.receive()
        self.is_receiving = False
        row, uses, request = self._in_flight.pop(reply.ticket)
        packed: PackedSamples = reply.batch
        self._unpacker.learn(packed.classes)
        address = row.store.add(packed.data)
        for _, group, places, numbers in self._groups.shares(uses):
            group.records[numbers] = request.parts[0].records[places]
            group.addresses[numbers] = address + packed.starts[places]
            group.lengths[numbers] = packed.lengths[places]
        self._skipped += reply.skipped
        self._meter.worker_reply(worker_id, reply.timings)
        if reply.cache is not None and self._barrier is not None:
            self._meter.cached(reply.cache)
            self._barrier.note_reply(reply)
        self._meter.made(len(packed.starts))
        self._meter.holds(*self._groups.bytes_held())
        self.send()

    def take_in_ready(self) -> None:
        """Keep what workers have made ahead; some of it, so that no step takes much longer than others."""
        try:
            for _ in range(self._limits.at_once):
                if self.has_failed or not self._in_flight or not self._has_reply():
                    return
                self.take_in()
        except Exception as error:
            # Its place is where that sample is needed; until then there are batches.
            self._failure, self.has_failed = error, True

    def _has_reply(self) -> bool:
        self.is_receiving = True
        has_reply = self._workers.next_is_ready()
        self.is_receiving = False
        return has_reply

    def raise_failure(self) -> NoReturn:
        """Raise what a worker raised before its sample was needed; once.

        Raises:
            Exception: That.
            ClosedError: It was raised before.
        """
        failure, self._failure = self._failure, None
        if failure is None:
            raise ClosedError("an error has ended this iterator's workers: call iter() on the loader again")
        try:
            raise failure
        finally:
            # It knows this frame, and the frame would know it.
            del failure

    def take_skipped(self) -> tuple[SkippedRecord, ...]:
        """Return the records that were replaced in what was taken in since the last call."""
        skipped, self._skipped = tuple(self._skipped), []
        return skipped

    def forget(self) -> None:
        """Drop everything that was asked for and has not come."""
        self.is_receiving = False
        if self._in_flight:
            self._workers.forget()
        self._in_flight.clear()
        self._unsent.clear()
