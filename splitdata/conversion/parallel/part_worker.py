"""What a worker process does: it reads a part, lets its records go through the steps, and answers with blocks of them.

A block is done at 2 MiB, or after half a second.

    request: part 7 ────> its first block
    request: go on  ────> the next one             behind the last one: an empty one
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from splitdata._payload import is_file, payload, read_piece
from splitdata.conversion.parallel.block import Block, FailedHere
from splitdata.conversion.sources.each_record import keyed_records_of, whole_record
from splitdata.conversion.sources.sample_source import bind_source
from splitdata.process.wire.remote_error import report

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from splitdata._types import ReadableFile
    from splitdata.conversion.sources.source import Record, RecordSource
    from splitdata.conversion.steps.failures import FailedRecord
    from splitdata.conversion.steps.record_steps import RecordSteps
    from splitdata.samples.known_schemas import KnownSchemas

__all__ = ["PartRequest", "serve"]

_BLOCK_BYTES: Final = 2 << 20
_BLOCK_SECONDS: Final = 0.5
_BLOCK_RECORDS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class PartRequest:
    """What is asked of a worker.

    Attributes:
        number: Of a part.
        part: It, to begin with; None to go on.
        schemas: To bind samples with from now on; None if nothing is new.
    """

    number: int
    part: RecordSource | None
    schemas: KnownSchemas | None = None

    def __str__(self) -> str:
        return f"part {self.number} of the source"


def serve(
    _worker_id: int, requests: Iterator[PartRequest], steps: RecordSteps | None, *, skips: bool
) -> Iterator[Block]:
    """Answer each request with a block; `skips` says whether records that fail end their part."""
    blocks: Iterator[Block] = iter(())
    binder = _Binder()
    for request in requests:
        if request.schemas is not None:
            binder.learn(request.schemas)
        if request.part is not None:
            blocks = _PartReader(request.number, request.part, steps, binder, skips=skips).blocks()
        yield next(blocks, None) or Block.of(request.number, [], [], [], is_last=True)


class _Binder:
    """What binds samples: of one worker, as it changes while parts are read.

    Attributes:
        bind: Returns a sample bound, or as it is; None while the writer has said nothing, or where the source does it.
    """

    def __init__(self) -> None:
        self.bind: Callable[[bytes], bytes] | None = None
        self._schemas: KnownSchemas | None = None
        self._source: RecordSource | None = None

    def learn(self, schemas: KnownSchemas) -> None:
        """Bind with these from now on."""
        self._schemas = schemas
        self._settle()

    def begin(self, source: RecordSource) -> None:
        """Bind what this source gives from now on."""
        self._source = source
        self._settle()

    def _settle(self) -> None:
        if self._schemas is not None:
            is_bound = bind_source(self._source, self._schemas.encoder())
            self.bind = None if is_bound else self._schemas.binder()


class _PartReader:
    """Makes the blocks of one part; takes the failures of its steps."""

    def __init__(
        self, number: int, part: RecordSource, steps: RecordSteps | None, binder: _Binder, *, skips: bool
    ) -> None:
        self._number = number
        self._binder = binder
        self._source = part if steps is None else self._stepped(part, steps)
        binder.begin(self._source)
        self._skips = skips
        self._num_inputs = 0
        self._begin()

    def _stepped(self, part: RecordSource, steps: RecordSteps) -> RecordSource:
        # Half of what a worker loads as it starts, and of no use to one without steps.
        from splitdata.conversion.steps.stepped_source import SteppedSource

        return cast("RecordSource", SteppedSource(part, steps, self))

    def begin(self, num_failed: int) -> None:
        """Failures are counted where all parts meet."""

    def take(self, failed: FailedRecord) -> None:
        """Let a record that failed go along with the others, or end the part."""
        one = FailedHere(len(self._lengths), failed.number, failed.key, failed.record, report(failed.error))
        self._failed.append(one)
        self._size += len(failed.record)
        if not self._skips:
            raise _PartEndedError

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks; an exception that ends the part is told in the last one."""
        error: bytes | None = None
        try:
            with closing(keyed_records_of(self._source, None)) as pairs:
                yield from self._read(pairs)
        except _PartEndedError:
            # It is among those that failed.
            pass
        except Exception as caught:
            error = report(caught)
        yield self._block(is_last=True, error=error)

    def _read(self, pairs: Generator[tuple[str | None, Record], None, None]) -> Iterator[Block]:
        for key, record in pairs:
            self._keys.append(key)
            if type(record) is bytes and len(record) < _BLOCK_BYTES:
                if self._binder.bind is not None:
                    record = self._binder.bind(record)
                self._lengths.append(len(record))
                self._pieces.append(record)
                self._size += len(record)
            else:
                yield from self._cut(record)
            if self._size >= _BLOCK_BYTES or len(self._lengths) >= _BLOCK_RECORDS or time.monotonic() > self._deadline:
                yield self._block()

    def _cut(self, record: Record) -> Iterator[Block]:
        """Take a large record, or one of another type, in pieces."""
        size = getattr(record, "size", None) if is_file(record) else None
        if size is None:
            view = memoryview(whole_record(record))
            self._lengths.append(len(view))
            pieces: Iterator[Any] = (view[at : at + _BLOCK_BYTES] for at in range(0, len(view), _BLOCK_BYTES))
        else:
            self._lengths.append(size)
            pieces = iter(lambda: read_piece(cast("ReadableFile", record), _BLOCK_BYTES), b"")
        for piece in pieces:
            if self._size + len(piece) > _BLOCK_BYTES and self._pieces:
                yield self._block()
            self._pieces.append(bytes(payload(piece)))
            self._size += len(piece)

    def _begin(self) -> None:
        self._lengths: list[int] = []
        self._keys: list[str | None] = []
        self._pieces: list[bytes] = []
        self._failed: list[FailedHere] = []
        self._size = 0
        self._deadline = time.monotonic() + _BLOCK_SECONDS

    def _block(self, *, is_last: bool = False, error: bytes | None = None) -> Block:
        """Return what has come together, and begin anew."""
        block = Block.of(
            self._number,
            self._lengths,
            self._keys,
            self._pieces,
            failed=self._failed,
            num_inputs=getattr(self._source, "num_inputs", 0),
            bytes_read=self._source.bytes_read,
            skipped=dict(self._source.skipped),
            is_last=is_last,
            error=error,
        )
        self._begin()
        return block


class _PartEndedError(BaseException):
    """A record has failed, and that ends the part."""
