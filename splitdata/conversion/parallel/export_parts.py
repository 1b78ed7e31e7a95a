"""The parts of an export: written by workers, each beside the place of the whole, and put together in their order.

What is written is the same for every number of workers, as parts depend on the dataset alone.

    positions 0 ... 9999 | 10000 ... | ...     ──> workers ──> .DEST.parts/0, 1, 2 ...
    part 0, 1, 2 in their order                ──> .DEST.partial (assembly.py), noted in a journal on request
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final

from splitdata.conversion.sinks.assembly import assembly_of, info_of
from splitdata.conversion.sinks.choose_sink import ExportFormat, sink_maker
from splitdata.conversion.sinks.sink import ContinuingSink
from splitdata.conversion.sinks.staging import flush, remove
from splitdata.process.wire.remote_error import rebuild, report

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from splitdata.conversion.sinks.assembly import Assembly
    from splitdata.conversion.sinks.choose_sink import PartSizes
    from splitdata.conversion.sinks.export_journal import ExportJournal
    from splitdata.conversion.sinks.exported_records import ExportedRecords

__all__ = ["ExportJob", "export_parts"]

# Parts that may be ready, or in the making, for each worker.
_AHEAD: Final = 2


@dataclass(frozen=True, slots=True)
class _Part:
    """One part: its number and its positions."""

    number: int
    positions: range

    def __str__(self) -> str:
        return f"records {self.positions.start} to {self.positions.stop - 1}"


@dataclass(frozen=True, slots=True)
class _Made:
    """One part that was written, or the exception that ended it."""

    part: _Part
    num_records: int = 0
    info: dict[str, Any] | None = None
    error: bytes | None = None


@dataclass(frozen=True, slots=True)
class ExportJob:
    """The things that are the same for all parts; may be sent to a worker.

    Attributes:
        records: Of the dataset.
        to: The format.
        dest: Where all goes in the end.
        folder: For the parts.
        first: The position of the first record of all.
        is_durable: Wait until the medium has each part.
    """

    records: ExportedRecords
    to: ExportFormat
    dest: Path
    folder: Path
    first: int
    is_durable: bool

    def place(self, number: int) -> Path:
        """Return where a part is written."""
        return self.folder / str(number)

    def write(self, part: _Part) -> _Made:
        """Write one part; what an earlier export has left of it is removed."""
        place = self.place(part.number)
        try:
            remove(place)
            num_records = self._write(part, place)
            if self.is_durable:
                flush(place)
            return _Made(part, num_records, info_of(self.to, place))
        except Exception as error:
            return _Made(part, error=report(error))

    def _write(self, part: _Part, place: Path) -> int:
        num_records = 0
        with closing(sink_maker(self.to, self.dest, self.records.codec)(place)) as sink:
            if isinstance(sink, ContinuingSink) and self.first < part.positions.start:
                sink.begin_like(next(self.records.given([self.first])))
            for record in self.records.given(part.positions):
                sink.write(record)
                num_records += 1
            sink.finish()
        return num_records


def export_parts(
    job: ExportJob,
    place: Path,
    sizes: PartSizes,
    *,
    limit: int | None,
    num_workers: int,
    journal: ExportJournal | None,
    progress: Callable[[int], None],
) -> int:
    """Write all parts, and put them together at a place; returns the number of records.

    Args:
        job: What is exported.
        place: Of the whole; there is nothing unless an export is resumed.
        sizes: Of parts.
        limit: At most so many records.
        num_workers: Processes; 1 is this one.
        journal: Of an export that can be resumed.
        progress: Called with the number of records so far.

    Raises:
        SchemaError, OSError: As the sink does, for the first record that it does so for.
        WorkerCrashedError: If a worker has died.
    """
    job.folder.mkdir(exist_ok=True)
    assembly, num_done, num_records = _begun(job, place, journal)
    ranges = job.records.cut(sizes.records, sizes.bytes, sizes.record_bytes, limit)
    parts = islice(map(_Part, count(), ranges), num_done, None)
    with closing(_made_here(job, parts) if num_workers == 1 else _made_by(num_workers, job, parts)) as all_made:
        for made in all_made:
            if made.error is not None:
                error = rebuild(made.error, worker_id=None, pid=None)
                try:
                    raise error
                finally:
                    # Else the error would lead back to this call, and keep all that its callers hold.
                    del error
            info = made.info or {}
            if journal:
                journal.ready(made.part.number, made.num_records, info)
            _add(job, assembly, made.part.number, info, journal)
            num_records += made.num_records
            progress(num_records)
    assembly.finish()
    return num_records


def _begun(job: ExportJob, place: Path, journal: ExportJournal | None) -> tuple[Assembly, int, int]:
    """Return the assembly, the parts that it has and their records, as an earlier export has left them."""
    if journal is None:
        return assembly_of(job.to, place, []), 0, 0
    infos = [part["info"] for part in journal.parts]
    assembly = assembly_of(job.to, place, infos[: journal.num_added])
    if not infos or not assembly.is_whole():
        journal.begin_again()
        remove(place)
        return assembly_of(job.to, place, []), 0, 0
    for number in range(journal.num_added, len(infos)):
        # It lies there as it was noted, and some of it may have been added.
        _add(job, assembly, number, infos[number], journal)
    return assembly, len(infos), sum(int(part["records"]) for part in journal.parts)


def _add(job: ExportJob, assembly: Assembly, number: int, info: dict[str, Any], journal: ExportJournal | None) -> None:
    assembly.add(job.place(number), info)
    if journal:
        journal.added()
    remove(job.place(number))


def _made_here(job: ExportJob, parts: Iterator[_Part]) -> Generator[_Made, None, None]:
    for part in parts:
        yield job.write(part)


def _serve(_worker_id: int, requests: Iterator[_Part], job: ExportJob) -> Iterator[_Made]:
    """Write each part that is asked for."""
    for part in requests:
        yield job.write(part)


def _made_by(num_workers: int, job: ExportJob, parts: Iterator[_Part]) -> Generator[_Made, None, None]:
    """Yield the parts in their order, as workers have written them."""
    # Loads what no other export needs.
    from splitdata.process.pool.process_pool import ProcessPool
    from splitdata.process.wire.channel_options import ChannelOptions

    pool: ProcessPool[_Part, _Made] = ProcessPool(
        _serve, (job,), ChannelOptions(max_batches=_AHEAD), num_workers=num_workers, describe=str
    )
    with closing(pool):
        pool.start()
        owed = [0] * num_workers
        asked: deque[int] = deque()
        made: dict[int, _Made] = {}
        while True:
            while len(asked) < _AHEAD * num_workers and (part := next(parts, None)) is not None:
                worker_id = min(range(num_workers), key=owed.__getitem__)
                pool.submit(worker_id, part)
                owed[worker_id] += 1
                asked.append(part.number)
            if not asked:
                return
            while asked[0] not in made:
                worker_id, reply = pool.receive_any()
                owed[worker_id] -= 1
                made[reply.part.number] = reply
            yield made.pop(asked.popleft())
