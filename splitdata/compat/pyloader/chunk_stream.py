"""Reads files ahead in workers, and gives their batches in the one order that has nothing to do with workers.

Each worker reads every n-th file, whole, and sends its batches in groups: light ones together, heavy ones alone.

    epoch 1: b a c   epoch 2: c b a          worker 0: b c b      worker 1: a c a
    request: files below this number ─> worker k mod n ─> (epoch, batches, is the file done?)

A request allows one group, and every file whose number is below that in it. So no more files than the user says are
begun before they are needed. Groups that wait are bounded by the bytes of the pool, and in number by the requests.
"""

from __future__ import annotations

import copy
import logging
import random
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from splitdata._shown import one_line
from splitdata.compat.pyloader.batch_collators import collate_function
from splitdata.errors import ClosedError
from splitdata.process.pool.process_pool import ProcessPool
from splitdata.process.pool.thread_pool import ThreadPool
from splitdata.process.wire.channel_options import ChannelOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from splitdata.compat.pyloader.batch_collators import DataCollator
    from splitdata.compat.pyloader.batch_encoders import Dataset
    from splitdata.compat.pyloader.chunk_readers import DataReader
    from splitdata.process.pool.pool import WorkerPool

__all__ = ["ChunkPlan", "ChunkStream"]

_log = logging.getLogger("splitdata")

# A reply costs some 50 us, whatever is in it.
_GROUP_BATCHES: Final = 16
_GROUP_SECONDS: Final = 0.01
# Of one worker on their way. A file may have many: it is read while the loop is at one of another worker.
_MOST_GROUPS: Final = 1000


class BatchGroup(NamedTuple):
    """Some batches of one file, in order."""

    epoch: int
    batches: list[Any]
    is_last: bool


@dataclass(frozen=True)
class ChunkPlan:
    """What is read, in which order, and what becomes of it in a worker.

    Attributes:
        files: Paths, in the order of an epoch that is not shuffled.
        collator: None where batches are collated in the loop's process.
    """

    files: Sequence[str]
    num_epochs: int
    shuffle: bool
    random_seed: int
    reader: DataReader
    dataset: Dataset
    collator: DataCollator | None

    @property
    def num_chunks(self) -> int:
        """Files to read, over all epochs."""
        return self.num_epochs * len(self.files)

    def chunks(self) -> Iterator[tuple[int, str]]:
        """Yield epoch and path of each file; an epoch's order depends on the seed and its number alone."""
        for epoch in range(1, self.num_epochs + 1):
            files = list(self.files)
            if self.shuffle:
                random.Random(f"{self.random_seed} {epoch}").shuffle(files)
            for path in files:
                yield epoch, path

    def groups(self, epoch: int, path: str) -> Iterator[BatchGroup]:
        """Read a file and yield its batches; the last group may be empty."""
        # What the reader does to itself must not depend on the files that this worker has read before.
        reader = copy.deepcopy(self.reader)
        reader.epoch = epoch
        reader.load(path)
        collate = collate_function(self.collator) if self.collator is not None else None
        batches: list[Any] = []
        begun = time.monotonic()
        for number in range(reader.n_batch):
            batch = self.dataset.batch_encode(reader.get_batch(number)[0])
            batches.append(batch if collate is None else collate(batch))
            if len(batches) == _GROUP_BATCHES or time.monotonic() - begun > _GROUP_SECONDS:
                yield BatchGroup(epoch, batches, is_last=False)
                batches, begun = [], time.monotonic()
        yield BatchGroup(epoch, batches, is_last=True)


class Permits:
    """What a worker was allowed by requests and has not used."""

    def __init__(self, requests: Iterator[int]) -> None:
        self._requests = requests
        self._num_groups = 0
        self._first_forbidden = 0

    def take(self, number: int) -> bool:
        """Wait until a group of this file may be sent, and use that up; False where nothing is wanted any more."""
        while not self._num_groups or number >= self._first_forbidden:
            request = next(self._requests, None)
            if request is None:
                return False
            self._num_groups += 1
            self._first_forbidden = max(self._first_forbidden, request)
        self._num_groups -= 1
        return True


def serve_groups(worker_id: int, requests: Iterator[int], plan: ChunkPlan, num_workers: int) -> Iterator[BatchGroup]:
    """Yield the groups of this worker's files, as requests allow."""
    permits = Permits(requests)
    for number, (epoch, path) in islice(enumerate(plan.chunks()), worker_id, None, num_workers):
        groups = plan.groups(epoch, path)
        # Before a file is read, too.
        while permits.take(number):
            group = next(groups)
            yield group
            if group.is_last:
                break
    for _ in requests:
        pass


class ChunkStream:
    """The batches of a plan, each once, in its order; belongs to one thread.

    Attributes:
        epoch: That of the next batch, once `first` has found it.
    """

    def __init__(self, plan: ChunkPlan, num_workers: int, max_files: int, max_bytes: int | None) -> None:
        """Start reading.

        Args:
            plan: What to read.
            num_workers: Processes; 0 for one thread of this process.
            max_files: How many may be read ahead.
            max_bytes: Bytes of finished batches that may wait, in shared memory; None for a tenth of what is free.
        """
        self.epoch = 0
        self._num_chunks = plan.num_chunks
        self._max_files = max_files
        # The file of the next group.
        self._number = 0
        self._batches: deque[Any] = deque()
        options = ChannelOptions(max_batches=_MOST_GROUPS, max_bytes=max_bytes)
        self._pool = _started(plan, num_workers, options)
        # Of each worker: replies that are to come, and the number below which it may read files.
        self._owed = [0] * self._pool.num_workers
        self._allowed = [0] * self._pool.num_workers
        for worker_id in range(self._pool.num_workers):
            self._ask(worker_id, _MOST_GROUPS)

    def _ask(self, worker_id: int, num_groups: int) -> None:
        allowed = self._number + self._max_files
        self._pool.submit(worker_id, *[allowed] * num_groups)
        self._owed[worker_id] += num_groups
        self._allowed[worker_id] = allowed

    def first(self) -> Any:
        """Return the next batch and leave it there.

        Raises:
            StopIteration: At the end of the last epoch.
            ClosedError: If an interrupt, or a failure before, has lost what comes next.
            BaseException: What the reader, the dataset or the collator raised; errors of the pool.
        """
        while not self._batches:
            if self._number == self._num_chunks:
                raise StopIteration
            worker_id = self._number % self._pool.num_workers
            if self._pool.is_open and self._pool.num_pending(worker_id) != self._owed[worker_id]:
                raise ClosedError("an interrupt came while batches were received, and they are lost: begin anew")
            # An interrupt may have come before it was asked.
            if not self._owed[worker_id] or self._allowed[worker_id] <= self._number:
                self._ask(worker_id, 1)
            group = self._pool.receive(worker_id)
            self.epoch = group.epoch
            self._batches.extend(group.batches)
            self._number += group.is_last
            # Last: until here an interrupt is found out by the check above.
            self._owed[worker_id] -= 1
            if group.is_last:
                # All may read a file more.
                for other in range(self._pool.num_workers):
                    self._ask(other, 1)
            elif self._owed[worker_id] < _MOST_GROUPS:
                self._ask(worker_id, 1)
        return self._batches[0]

    def drop_first(self) -> None:
        """Go on behind the batch that `first` has returned."""
        self._batches.popleft()

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


def _started(plan: ChunkPlan, num_workers: int, options: ChannelOptions) -> WorkerPool[int, BatchGroup]:
    """Return a running pool; of one thread where what it needs cannot be sent to a process."""
    if num_workers:
        pool = ProcessPool[int, BatchGroup](serve_groups, (plan, num_workers), options, num_workers=num_workers)
        try:
            pool.start()
        except TypeError as error:
            _log.warning(
                "files are read by a thread, which shares this process's time with the loop: %s", one_line(error)
            )
        else:
            return pool
    threads = ThreadPool[int, BatchGroup](serve_groups, (plan, 1), options, num_workers=1)
    threads.start()
    return threads
