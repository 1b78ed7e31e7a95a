"""SplitWriter: records come in one by one, commits make them part of the dataset.

write, write_many ──> pending list ──a chunk is full──> WriteRun ──commit──> manifest
`─ up to 64 MiB wait here while the number of bins is open
"""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, cast

from splitdata.dataset.directory import DatasetDirectory
from splitdata.dataset.large_record import LargeSource, checked_piece
from splitdata.dataset.run import ONE_BIN_BYTES, RunOptions, WriteRun
from splitdata.errors import ClosedError
from splitdata.format import spec
from splitdata.format.codec import DEFAULT_LEVEL, Compressor
from splitdata.format.manifest import encode_metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from splitdata._types import BytesLike, ReadableFile

__all__ = ["SplitWriter"]

_Result = TypeVar("_Result")

# A chunk holds at least this much, and for many bins enough that each gets a worthwhile write.
_MIN_CHUNK_BYTES: Final = 4 << 20
_CHUNK_BYTES_PER_BIN: Final = 16 << 10
_MAX_CHUNK_BYTES: Final = 64 << 20
# Of a list so many records are looked at together.
_BATCH_RECORDS: Final = 1024


class SplitWriter:
    """Writes records into a dataset directory; a context manager.

    Leaving the ``with`` block commits and seals; leaving it by an exception commits nothing
    further and keeps what was committed. For one thread at a time; several programs may append
    to one dataset at once, and each commit enters whole.

    Attributes:
        path: The directory.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        bins: int | None = None,
        mode: Literal["create", "append", "overwrite"] = "create",
        compression: Literal["zstd"] | None = None,
        compression_level: int = DEFAULT_LEVEL,
        durability: Literal["commit", "none"] = "commit",
        metadata: dict[str, Any] | None = None,
        reproducible: bool | str = False,
        alignment: int = spec.FRAME_UNIT,
    ) -> None:
        """Open a dataset for writing.

        Args:
            path: The directory; it is made where it does not exist, its parents too.
            bins: Number of bin files. None: one up to 64 MiB of records, 64 for more.
            mode: "create" refuses a directory that holds anything, "append" adds to a dataset
                (or begins one), "overwrite" replaces a dataset with the first commit.
            compression: "zstd" compresses each record by itself where that makes it smaller.
            compression_level: Of zstd, -100 to 22.
            durability: "commit" waits for the medium at each commit: a committed record survives
                a loss of power. "none" leaves that to the system: it survives a kill of the process.
            metadata: JSON-able, up to 1 MiB, stored with the dataset; appending adds to it by key.
            reproducible: Derive the ids in the files from the options instead of at random, so that
                equal records give equal files. A text names the source and is mixed in.
            alignment: Of each payload in its file, a power of two from 8 to 4096.

        Raises:
            DatasetExistsError: If the mode does not allow what is there.
            ManifestError: If what is there is a damaged dataset.
            ValueError, TypeError: If an option is none.
        """
        self._is_closed = True
        _check_choice("mode", mode, ("create", "append", "overwrite"))
        _check_choice("compression", compression, (None, "zstd"))
        _check_choice("durability", durability, ("commit", "none"))
        _check_choice("alignment", alignment, spec.ALIGNMENTS)
        _check_bins(bins)
        self.path = os.fspath(path)
        metadata_bytes = encode_metadata(metadata) if metadata else b""
        identity = None
        if reproducible:
            source = reproducible if isinstance(reproducible, str) else ""
            identity = repr((bins, compression, compression_level, alignment, metadata_bytes, source))
        options = RunOptions(
            mode=mode,
            bins=bins,
            alignment=alignment,
            is_durable=durability == "commit",
            metadata=dict(metadata or {}),
            metadata_bytes=metadata_bytes,
            identity=identity,
        )
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._failure: BaseException | None = None
        self._run = WriteRun(DatasetDirectory(path), options, Compressor(compression_level) if compression else None)
        self._chunk_bytes = _chunk_bytes(bins)
        self._is_closed = False

    @property
    def num_written(self) -> int:
        """Records written in this run, committed or not."""
        return self._run.num_records + len(self._pending)

    def write(self, record: BytesLike | ReadableFile) -> int:
        """Take one record; returns its number in this run, from 0.

        Args:
            record: Any bytes-like object, or a binary file, whose rest becomes the record. `bytes`
                are kept as they are until their chunk is written, anything else is copied; records
                of 16 MiB and more are written at once, in blocks, and never copied whole.

        Raises:
            TypeError: If it is neither.
            ClosedError: If the writer was closed, or has failed before.
        """
        self._check_usable()
        number = self.num_written
        taken = _taken(record)
        if isinstance(taken, LargeSource):
            self._guarded(lambda: self._write_large(taken))
            return number
        self._pending.append(taken)
        # The header counts too, so that empty records fill a chunk as well.
        self._pending_bytes += len(taken) + spec.FRAME_HEADER_BYTES
        if self._pending_bytes >= self._chunk_bytes:
            self._guarded(self._flush)
        return number

    def write_many(self, records: Iterable[BytesLike | ReadableFile]) -> int:
        """Take records from an iterable, the fast path; returns how many there were.

        An exception of the iterable passes through; the records before it count as written.
        """
        self._check_usable()
        before = self.num_written
        if isinstance(records, (list, tuple)):
            for start in range(0, len(records), _BATCH_RECORDS):
                self._take_batch(records[start : start + _BATCH_RECORDS])
        else:
            self._take_each(records)
        # The iterable may have closed the writer, and what it gave afterwards went nowhere.
        self._check_usable()
        return self.num_written - before

    def _take_batch(self, records: Sequence[BytesLike | ReadableFile]) -> None:
        """Take records that are in memory already: checked together, a third of the time of one by one."""
        if set(map(type, records)) == {bytes}:
            sizes = list(map(len, cast("Sequence[bytes]", records)))
            total = sum(sizes)
            if total <= self._chunk_bytes and max(sizes) < spec.LARGE_RECORD_BYTES:
                self._check_usable()
                self._pending.extend(cast("Sequence[bytes]", records))
                self._pending_bytes += total + len(records) * spec.FRAME_HEADER_BYTES
                if self._pending_bytes >= self._chunk_bytes:
                    self._guarded(self._flush)
                return
        self._take_each(records)

    def _take_each(self, records: Iterable[BytesLike | ReadableFile]) -> None:
        """Take records one by one, as they come: never more of them in memory than a chunk."""
        large, header = spec.LARGE_RECORD_BYTES, spec.FRAME_HEADER_BYTES
        keep, size, limit = self._pending.append, self._pending_bytes, self._chunk_bytes
        try:
            for record in records:
                if type(record) is bytes and len(record) < large:
                    keep(record)
                    size += len(record) + header
                    if size < limit:
                        continue
                    self._guarded(self._flush)
                else:
                    self._pending_bytes = size
                    self.write(record)
                size, limit = self._pending_bytes, self._chunk_bytes
        finally:
            self._pending_bytes = size

    def commit(self) -> range:
        """Make everything written so far part of the dataset; returns its new positions.

        Once it returns, readers that `refresh()` see the records, and with durability "commit" they
        survive a loss of power. Costs a few milliseconds: commit by the second, not by the record.

        Raises:
            OSError: If the disk fails: nothing of this commit counts then, and the writer is done.
        """
        self._check_usable()
        return self._guarded(lambda: self._commit(seal=False))

    def close(self) -> None:
        """Commit what is pending, seal the segment and release all files; safe to call again.

        After a failure it only releases: the failure was raised where it happened.
        """
        if self._is_closed:
            return
        try:
            if self._failure is None:
                self._guarded(lambda: self._commit(seal=True))
                self._run.fold()
        finally:
            self._release()

    def abort(self) -> None:
        """Drop what was not committed and release all files; safe to call again."""
        if self._is_closed:
            return
        try:
            # A disk that fails may refuse this too; what is left then is ignored by readers.
            with suppress(OSError):
                self._run.undo()
        finally:
            self._release()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, or after an exception drop what was not committed."""
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        """Warn of records that were written and never committed."""
        if self._is_closed:
            return
        lost = self.num_written - self._run.num_committed
        if lost:
            warnings.warn(
                f"SplitWriter({self.path!r}) was dropped with {lost} records that were not committed; close it",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
        self.abort()

    # -- parts -------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._run.append(self._pending)
        # The list itself stays: `write_many` holds it while an iterable that commits runs.
        self._pending.clear()
        self._pending_bytes = 0
        self._chunk_bytes = _chunk_bytes(self._run.num_bins)

    def _write_large(self, source: LargeSource) -> None:
        self._flush()
        self._run.append_large(source)

    def _commit(self, *, seal: bool) -> range:
        self._flush()
        return self._run.commit(seal=seal)

    def _guarded(self, action: Callable[[], _Result]) -> _Result:
        """Run a step that changes files; if it fails, the writer is done for."""
        try:
            return action()
        except BaseException as error:
            self._failure = error
            raise

    def _check_usable(self) -> None:
        if self._is_closed:
            raise ClosedError(f"SplitWriter({self.path!r}) is closed")
        if self._failure is not None:
            raise ClosedError(
                f"SplitWriter({self.path!r}) has failed and writes no more: {self._failure!r}; the "
                f"{self._run.num_committed} records that were committed in this run are safe"
            ) from self._failure

    def _release(self) -> None:
        self._is_closed = True
        self._pending.clear()
        self._run.close()


def _chunk_bytes(num_bins: int | None) -> int:
    """Return how much is collected before it is written; everything while the number of bins is open."""
    if num_bins is None:
        return ONE_BIN_BYTES + 1
    return min(_MAX_CHUNK_BYTES, max(_MIN_CHUNK_BYTES, num_bins * _CHUNK_BYTES_PER_BIN))


def _taken(record: BytesLike | ReadableFile) -> bytes | LargeSource:
    """Return an ordinary record as bytes of its own, a large one as the source of its blocks."""
    if isinstance(record, bytes) and len(record) < spec.LARGE_RECORD_BYTES:
        return bytes(record)
    try:
        view = memoryview(record)  # type: ignore[arg-type]  # a file fails here, and is next
    except TypeError:
        return _taken_from_file(record)
    if view.nbytes < spec.LARGE_RECORD_BYTES:
        return view.tobytes()
    return LargeSource(buffer=view.cast("B") if view.c_contiguous else memoryview(view.tobytes()))


def _taken_from_file(record: object) -> bytes | LargeSource:
    read = getattr(record, "read", None)
    if read is None:
        hint = "; encode text first" if isinstance(record, str) else ""
        raise TypeError(f"a record is bytes-like or a binary file, not {type(record).__name__}{hint}")
    file = cast("IO[bytes]", record)
    pieces, size = [], 0
    while size < spec.LARGE_RECORD_BYTES and (piece := checked_piece(read(spec.LARGE_RECORD_BYTES - size))):
        pieces.append(piece)
        size += len(piece)
    head = b"".join(pieces)
    return head if size < spec.LARGE_RECORD_BYTES else LargeSource(head=head, file=file)


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    # By type too: 8.0 equals 8, and would fail much later.
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")


def _check_bins(bins: int | None) -> None:
    if bins is not None and (isinstance(bins, bool) or not isinstance(bins, int)):
        raise TypeError(f"bins must be an int or None, got {bins!r}")
    if bins is not None and not 1 <= bins <= spec.MAX_BINS:
        raise ValueError(f"bins must be from 1 to {spec.MAX_BINS}, got {bins}")
