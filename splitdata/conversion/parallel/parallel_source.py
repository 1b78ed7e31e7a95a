"""A source that several processes read, part by part; its records come as they would from the source alone.

Where it stands is a part and a number of records in it, so resuming reads that part from its beginning again.

    parts ──> part_pool.py: workers ──> blocks, in order ──> (key, record), failures ──> the conversion goes on as ever
"""

from __future__ import annotations

import io
import logging
import pickle
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from splitdata._shown import one_line
from splitdata.conversion.parallel.part_pool import PartPool
from splitdata.conversion.sources.files.sized_file import SizedFile
from splitdata.conversion.sources.parts import has_parts
from splitdata.conversion.sources.seek import count_at, counts_at, state_of
from splitdata.conversion.sources.source import KeyedSource, metadata_in
from splitdata.conversion.steps.failures import FAILED, FailedRecord
from splitdata.conversion.steps.stepped_source import SteppedSource
from splitdata.errors import SourceError
from splitdata.process.wire.remote_error import rebuild

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from splitdata.conversion.parallel.block import Block
    from splitdata.conversion.sources.parts import PartedSource
    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition
    from splitdata.conversion.steps.failures import FailurePolicy
    from splitdata.dataset.manifests.stated_schema import SampleEncoder

__all__ = ["KeyedParallelSource", "ParallelSource", "in_parallel"]

_logger = logging.getLogger(__name__)

_PART_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class _Begin:
    """Where a part begins.

    Attributes:
        part: Its number.
        num_records: That the parts before it gave.
        num_inputs: That these took, before the steps.
        num_bytes: Of these.
        skipped: What these left out.
    """

    part: int = 0
    num_records: int = 0
    num_inputs: int = 0
    num_bytes: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    @classmethod
    def at(cls, position: SourcePosition) -> _Begin:
        """Return that of the part that a position lies in."""
        return cls(
            count_at(position, "part"),
            count_at(position, "records before"),
            count_at(position, "inputs before"),
            count_at(position, "bytes"),
            Counter(counts_at(position, "left out")),
        )

    def behind(self, last: Block, num_records: int) -> _Begin:
        """Return where the next part begins, given the last block of this one and the records up to there."""
        return _Begin(
            self.part + 1,
            num_records,
            self.num_inputs + last.num_inputs,
            self.num_bytes + last.bytes_read,
            self.skipped + Counter(last.skipped),
        )


class ParallelSource:
    """The records of a source that has parts, read by workers."""

    def __init__(self, source: RecordSource, failures: FailurePolicy, *, num_workers: int, folder: str) -> None:
        """Take a source, steps and all, what decides about failures, and a folder for what does not fit in memory."""
        self._source = source
        self._failures = failures
        self._num_workers = num_workers
        self._folder = folder
        self._pool: PartPool | None = None
        self._encoder: SampleEncoder | None = None
        self._settled: SteppedSource | None = None
        # Of the part that is read, and of that of the record which was given last.
        self._begin = self._place = _Begin()
        self._part_skipped: Mapping[str, int] = {}
        self._num_given = 0

    @property
    def kind(self) -> str:
        """The kind of the source."""
        return self._source.kind

    @property
    def name(self) -> str:
        """The name of the source."""
        return self._source.name

    @property
    def inputs(self) -> Sequence[str]:
        """The paths of the source."""
        return self._source.inputs

    @property
    def num_bytes(self) -> int | None:
        """Bytes of the source."""
        return self._source.num_bytes

    @property
    def bytes_read(self) -> int:
        """Bytes that the workers have read so far, those of parts that wait for their turn too."""
        return self._begin.num_bytes + (sum(self._pool.bytes_read.values()) if self._pool else 0)

    @property
    def skipped(self) -> Mapping[str, int]:
        """What was left out so far."""
        return Counter(self._source.skipped) + self._begin.skipped + Counter(self._part_skipped)

    @property
    def metadata(self) -> dict[str, Any]:
        """Those of the source, with the codec of what its steps give."""
        if isinstance(self._source, SteppedSource):
            return self._with_codec(self._source).metadata
        return metadata_in(self._source)

    def _with_codec(self, source: SteppedSource) -> SteppedSource:
        """Return a source of the same steps whose codec is known; parts are read here until one gives a record."""
        if self._settled is None:
            failures = _IgnoredFailures() if self._failures.skips else self._failures
            self._settled = source.settled_by(self._copied_parts(), failures)
        return self._settled

    def _copied_parts(self) -> Iterator[RecordSource]:
        # What was read of a part may not be sent to a worker any more.
        with closing(cast("PartedSource", self._source).parts(_PART_BYTES)) as parts:
            for part in parts:
                yield pickle.loads(pickle.dumps(part, 5))

    def identity(self) -> str:
        """Return that of the source: files do not tell how many workers made them."""
        return self._source.identity()

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the source from a changed one."""
        return state_of(self._source, with_times=with_times)

    def position(self) -> SourcePosition:
        """Return the part of the record that was given last, what came before the part, and the records up to there."""
        place = self._place
        return {
            "part": place.part,
            "records before": place.num_records,
            "inputs before": place.num_inputs,
            "bytes": place.num_bytes,
            "left out": dict(place.skipped),
            "record": self._num_given,
        }

    def bind_with(self, encoder: SampleEncoder | None) -> bool:
        """Let samples come bound from now on, where the schemas of a writer's encoder were known in time."""
        self._encoder = encoder
        if self._pool is not None:
            self._pool.bind_with(encoder)
        return True

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records; raises what the source and the steps raise.

        Raises:
            WorkerCrashedError: If a worker has died.
        """
        return self.records_from({})

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Yield the records behind a position."""
        for _, record in self._pairs(position):
            yield record

    def _pairs(self, position: SourcePosition) -> Generator[tuple[str | None, Record], None, None]:
        """Yield key and record behind a position."""
        self._begin = self._place = _Begin.at(position)
        self._num_given, self._part_skipped = self._begin.num_records, {}
        self._failures.begin(self._begin.skipped[FAILED])
        num_known = count_at(position, "record") - self._begin.num_records
        steps = self._with_codec(self._source).settled_steps() if isinstance(self._source, SteppedSource) else None
        pool = self._pool = PartPool(
            steps, skips=self._failures.skips, num_workers=self._num_workers, folder=self._folder
        )
        if self._encoder is not None:
            pool.bind_with(self._encoder)
        parts = cast("PartedSource", self._source).parts(_PART_BYTES)
        with (
            closing(parts),
            closing(pool),
            closing(pool.blocks(islice(parts, self._begin.part, None), self._begin.part)) as blocks,
        ):
            for key, record in self._records_in(blocks):
                self._num_given += 1
                self._place = self._begin
                if num_known > 0:
                    num_known -= 1
                else:
                    yield key, record
                if type(record) is SizedFile:
                    record.drain()

    def _records_in(self, blocks: Iterator[Block]) -> Iterator[tuple[str | None, Record]]:
        for first in blocks:
            cut: _CutRecord | None = _CutRecord(first, blocks, self._finish)
            # A record that ends in a later block has used up those up to that one.
            while cut is not None:
                _, records, begin = cut.block.taken_apart(cut.missing)
                yield from self._whole(cut.block, records)
                if begin is None:
                    self._finish(cut.block)
                    break
                cut = _CutRecord(cut.block, blocks, self._finish, begin)
                key = cut.block.keys[-1] if cut.block.keys else None
                yield key, SizedFile(cut.read, cut.size, path=self.name, position=self._num_given)

    def _whole(self, block: Block, records: list[bytes]) -> Iterator[tuple[str | None, Record]]:
        """Yield the records of a block that are all in it, and take its failures where they come."""
        keys = block.keys or [None] * len(records)
        start = 0
        for failed in block.failed:
            yield from zip(keys[start : failed.at], records[start : failed.at], strict=False)
            start = failed.at
            error = cast("Exception", rebuild(failed.error, worker_id=None, pid=None))
            number = self._begin.num_inputs + failed.number
            self._failures.take(FailedRecord(number, failed.key, failed.record, error))
        yield from zip(keys[start:], records[start:], strict=False)

    def _finish(self, block: Block) -> None:
        """Note what a block tells beside its records, which have all been given."""
        self._part_skipped = block.skipped
        if block.error is not None:
            error = rebuild(block.error, worker_id=None, pid=None)
            if isinstance(error, SourceError) and error.position is not None:
                error.position += (
                    self._begin.num_inputs if isinstance(self._source, SteppedSource) else self._begin.num_records
                )
            try:
                raise error
            finally:
                # Else the error would lead back to this call, and keep all that its callers hold.
                del error
        if block.is_last:
            self._begin, self._part_skipped = self._begin.behind(block, self._num_given), {}


class KeyedParallelSource(ParallelSource):
    """The same of a source whose records have keys."""

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str | None, Record], None, None]:
        """Yield the key of each record behind a position, None for one without, and the record."""
        return self._pairs(position or {})


class _CutRecord:
    """A record that goes on in the next blocks.

    Attributes:
        block: The newest block.
        missing: Bytes of the record that were missing before that block.
        size: Of the record.
    """

    def __init__(
        self, block: Block, blocks: Iterator[Block], finish: Callable[[Block], None], begin: bytes | None = None
    ) -> None:
        self.block = block
        self.size = 0 if begin is None else int(block.lengths[-1])
        self.missing = 0
        self._left = self.size - len(begin or b"")
        self._data = io.BytesIO(begin or b"")
        self._blocks = blocks
        self._finish = finish

    def read(self, size: int) -> bytes:
        """Return up to so many bytes of it, none if it ends too early."""
        while not (data := self._data.read(size)) and self._left:
            self._finish(self.block)
            self.block, self.missing = next(self._blocks), self._left
            rest = self.block.taken_apart(self._left)[0]
            self._left -= len(rest)
            self._data = io.BytesIO(rest)
        return data


class _IgnoredFailures:
    """Takes failures where it does not matter yet which records fail."""

    def begin(self, num_failed: int) -> None:
        """Count nothing."""

    def take(self, failed: FailedRecord) -> None:
        """Drop it."""


def in_parallel(
    source: RecordSource, failures: FailurePolicy, *, num_workers: int, folder: str, begun: SourcePosition | None = None
) -> RecordSource:
    """Return a source that workers read, or the source itself where that is of no use: it has one part, or none.

    Args:
        source: What is read, steps and all.
        failures: Decides about failures.
        num_workers: 1 reads in this process, unless a conversion was begun in parts.
        folder: For what does not fit into memory.
        begun: Where a conversion to resume stands; one that was begun without parts goes on without.
    """
    is_of_parts = begun is not None and "part" in begun
    if not is_of_parts and (num_workers == 1 or begun or not _has_two_parts(source)):
        if num_workers > 1:
            why = "it was begun by one" if begun else "it cannot be read in parts"
            _logger.info("%s is read by one process: %s", one_line(source.name), one_line(why))
        return source
    inner = source.source if isinstance(source, SteppedSource) else source
    kind = KeyedParallelSource if isinstance(inner, KeyedSource) else ParallelSource
    return kind(source, failures, num_workers=num_workers, folder=folder)


def _has_two_parts(source: RecordSource) -> bool:
    if not has_parts(source):
        return False
    with closing(cast("PartedSource", source).parts(_PART_BYTES)) as parts:
        return len(list(islice(parts, 2))) == 2
