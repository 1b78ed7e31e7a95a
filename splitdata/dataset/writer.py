"""SplitWriter: takes records one by one; commits make them part of the dataset.

Records wait in memory until a chunk is full, since a chunk is framed and written by few calls.

    write, write_many ──> pending list ──a chunk is full──> WriteSession ──commit──> manifest
                             `─ up to 64 MiB wait here while the number of bins is open
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Mapping
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, cast

from splitdata._ownership import OwnerProcess, renew_after_fork
from splitdata._payload import check_has_rest, is_file, payload, read_piece
from splitdata._place import is_url
from splitdata._shown import one_line
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import KEPT_SECONDS
from splitdata.dataset.segments.given_sizes import given_sizes
from splitdata.dataset.segments.large_record import LargeSource
from splitdata.dataset.stores.store_session import StoreSession
from splitdata.dataset.writing.destination import ONE_BIN_BYTES
from splitdata.dataset.writing.session_options import SessionOptions
from splitdata.dataset.writing.unclosed import end_with_program
from splitdata.dataset.writing.write_session import WriteSession
from splitdata.errors import ClosedError, DuplicateKeyError, SchemaError, SplitDataError
from splitdata.format import spec
from splitdata.format.compression import DEFAULT_LEVEL
from splitdata.format.keys import encode_key, encode_keys
from splitdata.format.manifest import encode_metadata
from splitdata.samples.record_codecs import record_codec
from splitdata.samples.standing_alone import is_alone
from splitdata.storage.remote.store_access import StoreAccess

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from splitdata._types import BytesLike, ReadableFile
    from splitdata.dataset.manifests.stated_schema import SampleEncoder
    from splitdata.storage.remote.store import Store

__all__ = ["SplitWriter"]

_Result = TypeVar("_Result")
_logger = logging.getLogger(__name__)

# In messages.
_NAME: Final = "SplitWriter(%r)"
# A chunk holds at least this much, and for many bins enough that each gets a worthwhile write.
_MIN_CHUNK_BYTES: Final = 4 << 20
_CHUNK_BYTES_PER_BIN: Final = 16 << 10
_MAX_CHUNK_BYTES: Final = 64 << 20
# Of a list so many records are looked at together.
_BATCH_RECORDS: Final = 1024
_FIRST: Final = itemgetter(0)
_SECOND: Final = itemgetter(1)


class SplitWriter:
    """Writes records into a dataset directory; a context manager.

    Leaving the ``with`` block commits and seals; leaving it by an exception commits nothing
    further and keeps what was committed. For one thread at a time; several programs may append
    to one dataset at once, and each commit enters whole. A writer belongs to the process that made
    it: in a forked child it raises ClosedError, and whatever becomes of it there leaves the files alone.

    Attributes:
        path: The directory, absolute.
    """

    # For an object whose construction has failed.
    _is_closed = True
    # One look before each record: False while a step changes files, and for good where it ends by an exception, in a
    # forked child, and once the writer is closed. `_check_usable` says which.
    _takes_records = False

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        bins: int | None = None,
        mode: Literal["create", "append", "overwrite", "resume"] = "create",
        compression: Literal["zstd"] | None = None,
        compression_level: int = DEFAULT_LEVEL,
        compression_threads: int = 1,
        dictionary: bool = False,
        durability: Literal["commit", "none"] = "commit",
        metadata: dict[str, Any] | None = None,
        reproducible: bool | str = False,
        alignment: int | None = None,
        codec: Literal["sample", "text", "json", "npy", "bytes"] | None = None,
        group: int | None = None,
        keep_seconds: float = KEPT_SECONDS,
        schema: Any = None,  # types in the place of values, or any sample
        storage_options: Mapping[str, Any] | None = None,
        store: Store | None = None,
        single_writer: bool = False,
    ) -> None:
        """Open a dataset for writing.

        Args:
            path: The directory; it is made where it does not exist, its parents too. `~` is the home folder. Or the
                URL of a dataset in an object store, "s3://bucket/train": records are staged in a folder of TMPDIR
                until they are committed, and each commit is a segment of its own.
            bins: Number of bin files. None: one up to 64 MiB of records, 64 for more.
            mode: "create" refuses a directory that holds anything, "append" adds to a dataset
                (or begins one), "overwrite" replaces a dataset with the first commit, "resume" goes on
                with a session that was killed (below).
            compression: "zstd" compresses each record by itself where that makes it smaller.
            compression_level: Of zstd, -100 to 22.
            compression_threads: So many compress together what is written at a time; the files are the same.
            dictionary: Compress with what the first records have in common, if that saves more than it
                takes: for small records that are alike, such as JSON, half the size.
            durability: "commit" waits for the medium at each commit: a committed record survives
                a loss of power. "none" leaves that to the system: it survives a kill of the process.
            metadata: JSON-able, up to 1 MiB, stored with the dataset; appending adds to it by key.
            reproducible: Derive the ids in the files from the options instead of at random, so that
                equal records give equal files. A text names the source and is mixed in.
            alignment: Of each payload in its file, a power of two from 8 to 4096. None: 64 for records
                that hold arrays, which are read in place then, 8 for all others.
            codec: What all records of the dataset are, for `write_sample` and `SampleDataset`: stored in
                its metadata as "record_codec". None: that of the dataset which is added to, if it has one.
            group: Records that are stored together, with one checksum, and compressed together: a power of two up to
                65,536; 1 stores each by itself. None groups records of fewer than 512 bytes, if 4,096 or more come
                before the first commit. Together they take 8 bytes beside a record instead of 52, and a walk is
                faster; a single record costs the reading of its group, and damage costs the group.
            keep_seconds: So long segments that were folded stay for jobs that read an older state without a lock,
                as those on other machines may. An overwrite keeps nothing.
            schema: What each sample of the dataset must be, which it then declares for ever: types in the place
                of values, as ``{"image": "uint8[224,224,3]", "label": "int", "note": "str?"}`` (docs/samples.md
                has all), or an example of a sample, whose arrays have the shapes that all must have. None: what
                the dataset which is added to declares.
            storage_options, store: Of the object store, as `SplitDataLoader` takes them.
            single_writer: Nobody else writes to this dataset: for stores that cannot make an object only if there is
                none, which are refused otherwise.

        A session that was killed, or has failed, leaves its last segment open. "resume" with the same
        options takes that segment's lock, cuts off what was never committed, and goes on as if there
        had been one session: `num_written` and the numbers that `write` returns count its committed records
        too, and `metadata` are those of its last commit. Where there is no such segment, because the
        session was closed, has other bins or another alignment, or another one has appended since, "resume"
        begins one as "append" does; and a dataset where there is none, as "create" does.

        Raises:
            DatasetExistsError: If the mode does not allow what is there.
            ManifestError: If what is there is a damaged dataset.
            FormatError: If the segment to resume is damaged; nothing was changed.
            BlockingIOError: If another writer is at work in the segment to resume.
            OSError: If no file can be made there: it is read-only, or belongs to another user.
            ValueError, TypeError: If an option is invalid, or the codec differs from that of the existing records.
            SchemaError: If the schema differs from the one that the dataset declares, or it has records and none.
            ValueError: If the path is the URL of something else than an object store.
            StoreError: If the store fails.
        """
        self._access = StoreAccess.of(storage_options, store)
        self._single_writer = single_writer
        self.path = self._access.place(path)
        self._owner = OwnerProcess()
        options = SessionOptions.checked(
            mode=mode,
            bins=bins,
            compression=compression,
            compression_level=compression_level,
            compression_threads=compression_threads,
            dictionary=dictionary,
            durability=durability,
            metadata=metadata,
            reproducible=reproducible,
            alignment=alignment,
            codec=codec,
            group=group,
            keep_seconds=keep_seconds,
            schema=schema,
        )
        # A record with a key is one item, so that an interrupt finds both or neither.
        self._pending: list[bytes | tuple[bytes, bytes]] = []
        self._has_pending_keys = False
        self._pending_bytes = 0
        self._failure: BaseException | None = None
        self._session = self._begun_session(options)
        # Makes records of samples; None while their codec is open.
        self._encode_value: Callable[[Any], bytes] | None = None
        self._holds_samples = self._session.codec == "sample"
        # Number in the session of the first record that is pending.
        self._first_pending = self._session.num_records
        self._chunk_bytes = _chunk_bytes(bins)
        self._is_closed = False
        self._takes_records = True
        renew_after_fork(self)
        end_with_program(self)

    def _directory(self) -> DatasetDirectory:
        """Return the directory to write in."""
        return DatasetDirectory(self.path)

    def _begun_session(self, options: SessionOptions) -> WriteSession:
        """Return the session of this writer."""
        if is_url(self.path):
            return StoreSession(self._access.open(self.path), options, single_writer=self._single_writer)
        return WriteSession(self._directory(), options)

    @property
    def num_written(self) -> int:
        """Records written in this session, committed or not; with those of the session that it goes on with."""
        return self._session.num_records + len(self._pending)

    @property
    def num_bins(self) -> int | None:
        """Bins that this session writes to; None while that is open."""
        return self._session.num_bins

    @property
    def codec(self) -> str | None:
        """Name of the codec of the records, None where they have none, or none yet."""
        return self._session.codec

    @property
    def metadata(self) -> dict[str, Any]:
        """The dataset's metadata as of this writer's last commit; before that what it adds to, {} if nothing."""
        return self._session.metadata

    def write(self, record: BytesLike | ReadableFile, key: str | None = None) -> int:
        """Take one record; returns its number in this session, from 0.

        Args:
            record: Any bytes-like object of bytes or numbers, or a binary file, whose rest becomes the
                record. `bytes` are kept as they are until their chunk is written, anything else is
                copied; records of 16 MiB and more are written at once, in blocks, and never copied
                whole. Of arrays the bytes alone are stored, in C order: `write_sample` keeps types.
            key: By which `SplitDataLoader.find` leads to the record; UTF-8 of 1 to 65,535 bytes. No
                other record of this session may have it, which the commit checks; one of an earlier session
                may, and is then no longer found.

        Raises:
            TypeError: If it is neither, is text, or holds addresses, as arrays of objects do; or the key
                is no text. The message says what to do instead.
            ValueError: If a file stands at its end, as one does that was just written; or the key is
                empty, too long or not to be had as UTF-8.
            ClosedError: If the writer was closed, or has failed before.
        """
        if type(record) is bytes and key is None and self._takes_records and not self._holds_samples:
            size = len(record)
            if size < spec.LARGE_RECORD_BYTES:
                # The usual record, as `_write` takes it: a further call would cost a quarter of the time.
                pending = self._pending
                number = self._first_pending + len(pending)
                pending.append(record)
                self._pending_bytes += size + spec.FRAME_HEADER_BYTES
                if self._pending_bytes >= self._chunk_bytes:
                    self._guarded(self._flush)
                return number
        if self._holds_samples:
            record = self._checked_sample(record)
        return self._write(record, key)

    def _write(self, record: BytesLike | ReadableFile, key: str | None) -> int:
        if not self._takes_records:
            self._check_usable()
        number = self._first_pending + len(self._pending)
        encoded = b"" if key is None else encode_key(key)
        if type(record) is bytes and len(record) < spec.LARGE_RECORD_BYTES:
            taken = record
        else:
            source = _taken(record)
            if isinstance(source, LargeSource):
                self._guarded(lambda: self._write_large(source, encoded))
                return number
            taken = source
        # The header counts too, so that empty records fill a chunk as well.
        self._pending_bytes += len(taken) + len(encoded) + spec.FRAME_HEADER_BYTES
        if encoded:
            self._has_pending_keys = True
            self._pending.append((taken, encoded))
        else:
            self._pending.append(taken)
        if self._pending_bytes >= self._chunk_bytes:
            self._guarded(self._flush)
        return number

    def write_sample(self, sample: Any, key: str | None = None) -> int:  # what the codec takes
        """Take one value and write it as a record of the dataset's codec; returns its number in this session, from 0.

        A writer of a new dataset that was given no codec takes "sample" with the first one: see
        `encode_sample` for what a sample may hold. `write` takes records of the codec that are encoded
        already, for example by other processes.

        Args:
            sample: A sample; of the codec "text" a str, of "json" what JSON can hold, of "npy" an array.
            key: As `write` takes it.

        Raises:
            TypeError, ValueError: If the sample does not fit, or the key; nothing was written.
            SchemaError: If it is not of the schema that the dataset declares.
            ValueError: If this session, or the dataset, has records that are of no codec.
            ClosedError: If the writer was closed, or has failed before.
        """
        if not self._takes_records:
            self._check_usable()
        return self._write(self._encode(sample), key)

    def write_samples(self, samples: Iterable[Any], *, keys: Iterable[str | None] | None = None) -> int:
        """Take values from an iterable, each as `write_sample` does; returns how many there were.

        An exception of the iterable passes through, and so does that of a sample that does not fit; those
        before it count as written.

        Args:
            samples: As `write_sample` takes them.
            keys: Of each sample, in the same order; None where none has one.

        Raises:
            TypeError: If it is a single sample: a dict or a text.
            TypeError, ValueError: If a sample does not fit, or a key; or if there are more samples than keys, or
                fewer. Of lists of different lengths nothing was taken then.
        """
        if isinstance(samples, (Mapping, str, bytes)):
            raise TypeError(
                f"write_samples takes an iterable of samples, got one {type(samples).__name__}; write_sample takes one"
            )
        if isinstance(samples, (list, tuple)) and isinstance(keys, (list, tuple)) and len(samples) != len(keys):
            raise ValueError(f"write_samples got {len(samples)} samples and {len(keys)} keys")
        return self._write_many(map(self._encode, samples), keys)

    def write_encoded(
        self, samples: Iterable[BytesLike | ReadableFile], *, keys: Iterable[str | None] | None = None
    ) -> int:
        """Take samples that `encode_sample` has made bytes of, in other processes say; returns how many there were.

        They are stored as `write_samples` stores them: without the schema that each has with it here, which
        `write_many` would leave in each record.

        Args:
            samples: The bytes of each, or a binary file of them, which is read whole.
            keys: As `write_samples` takes them.

        Raises:
            FormatError: If one is no such sample; those before it count as written.
            SchemaError: If one is not of the schema that the dataset declares; likewise.
            ValueError: If the dataset is not one of samples, or has more or fewer keys.
        """
        if self._encode_value is None:
            self._chosen_encoder()
        if not self._holds_samples:
            raise ValueError(f"{self._name} has records of the codec {self._session.codec}, and these are samples")
        return self._write_many(map(self.bind, samples), keys)

    @property
    def encoder(self) -> SampleEncoder:
        """What makes records of samples, and knows their schemas: from `KnownSchemas` of it others can bind them."""
        return self._session.encoder

    def write_bound(
        self, records: Iterable[BytesLike | ReadableFile], *, keys: Iterable[str | None] | None = None
    ) -> int:
        """Take samples that `bind`, or `KnownSchemas` of the encoder, has made; returns how many there were.

        They are stored unchecked: what else is given here is a record that no reader can decode.
        """
        return self._write_many(records, keys)

    def bind(self, record: BytesLike | ReadableFile) -> bytes:
        """Return a sample that `encode_sample` has made bytes of as `write_bound` takes it; raises as `write_encoded`.

        Its number in messages is that of the record that is written next.
        """
        data = cast("ReadableFile", record).read(-1) if is_file(record) else payload(record)
        try:
            return self._session.encoder.bind(data)
        except SchemaError as error:
            raise self._with_number(error) from None

    def _encode(self, sample: Any) -> bytes:  # what the codec takes
        try:
            return (self._encode_value or self._chosen_encoder())(sample)
        except SchemaError as error:
            raise self._with_number(error) from None

    def _with_number(self, error: SchemaError) -> SchemaError:
        number = self.num_written
        return SchemaError(f"record {number} of {self._name}: {error}", field=error.field, record=number)

    def _chosen_encoder(self) -> Callable[[Any], bytes]:
        """Return what makes records, once the codec is known; one that was not given is taken now."""
        session = self._session
        if session.codec is None:
            session.take_codec("sample", has_records=self.num_written > 0)
        self._holds_samples = session.codec == "sample"
        self._encode_value = session.encoder.encode if self._holds_samples else record_codec(session.codec).encode
        return self._encode_value

    def _checked_sample(self, record: BytesLike | ReadableFile) -> BytesLike | ReadableFile:
        """Return a record that was encoded elsewhere; raise where it would be read as something else than it is.

        Raises:
            ValueError: If it is not a sample that stands alone, which `encode_sample` makes.
            SchemaError: If it is not of the schema that the dataset declares.
        """
        if is_file(record):
            if self._session.schema is not None:
                raise TypeError("a dataset that declares a schema takes samples, or the bytes of samples, and no files")
            return record
        if not is_alone(payload(record)):
            raise ValueError(
                f"{self._name} holds samples, and a record that begins with "
                f"{bytes(memoryview(payload(record))[:4]).hex(' ')} is none that encode_sample has made; write_sample "
                "takes the sample itself"
            )
        return record if self._session.schema is None else self.bind(record)

    def write_many(
        self, records: Iterable[BytesLike | ReadableFile], *, keys: Iterable[str | None] | None = None
    ) -> int:
        """Take records from an iterable, the fast path; returns how many there were.

        An exception of the iterable passes through; the records before it count as written.

        Args:
            records: As `write` takes them.
            keys: Of each record, in the same order; None where none has one.

        Raises:
            ValueError: If there are more records than keys, or fewer. Of lists nothing was taken then.
        """
        if self._holds_samples:
            if isinstance(records, (list, tuple)):
                return self._write_many(list(map(self._checked_sample, records)), keys)
            return self._write_many(map(self._checked_sample, records), keys)
        return self._write_many(records, keys)

    def _write_many(self, records: Iterable[BytesLike | ReadableFile], keys: Iterable[str | None] | None) -> int:
        self._check_usable()
        before = self.num_written
        if keys is not None:
            self._take_keyed(records, keys)
        elif isinstance(records, (list, tuple)):
            for start in range(0, len(records), _BATCH_RECORDS):
                self._take_batch(records[start : start + _BATCH_RECORDS])
        else:
            self._take_each(records)
        # The iterable may have closed the writer, and what it gave afterwards went nowhere.
        self._check_usable()
        return self.num_written - before

    def _take_batch(self, records: Sequence[BytesLike | ReadableFile], keys: list[bytes] | None = None) -> None:
        """Take records that are in memory already: checked together, a third of the time of one by one."""
        if sizes := given_sizes(records):
            total, longest = sizes
            if total <= self._chunk_bytes and longest < spec.LARGE_RECORD_BYTES:
                self._check_usable()
                if keys is None:
                    self._pending.extend(cast("Sequence[bytes]", records))
                else:
                    self._has_pending_keys = True
                    self._pending.extend(zip(cast("Sequence[bytes]", records), keys, strict=True))
                    self._pending_bytes += sum(map(len, keys))
                self._pending_bytes += total + len(records) * spec.FRAME_HEADER_BYTES
                if self._pending_bytes >= self._chunk_bytes:
                    self._guarded(self._flush)
                return
        if keys is None:
            self._take_each(records)
            return
        for record, key in zip(records, keys, strict=True):
            self._write(record, key.decode())

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
                    self._write(record, None)
                size, limit = self._pending_bytes, self._chunk_bytes
        finally:
            self._pending_bytes = size

    def _take_keyed(self, records: Iterable[BytesLike | ReadableFile], keys: Iterable[str | None]) -> None:
        """Take records with keys, lists of them a batch at a time."""
        if not isinstance(records, (list, tuple)) or not isinstance(keys, (list, tuple)):
            for record, key in zip(records, keys, strict=True):
                self._write(record, key)
            return
        if len(records) != len(keys):
            raise ValueError(f"write_many got {len(records)} records and {len(keys)} keys")
        for start in range(0, len(records), _BATCH_RECORDS):
            stop = start + _BATCH_RECORDS
            encoded = encode_keys(keys[start:stop])
            if encoded is None:
                for record, key in zip(records[start:stop], keys[start:stop], strict=True):
                    self._write(record, key)
                continue
            self._take_batch(records[start:stop], encoded)

    def commit(self, *, metadata: dict[str, Any] | None = None) -> range:
        """Make everything written so far part of the dataset; returns its new positions.

        Args:
            metadata: Replace those of the dataset, key by key, in the same step: so that what the
                records were made from, and how far, is stored with them or not at all.

        Once it returns, readers that `refresh()` see the records, and with durability "commit" they
        survive a loss of power. Costs a few milliseconds: commit by the second, not by the record.

        Raises:
            DuplicateKeyError: If two records of this session have one key: nothing of this commit counts
                then, and the writer is done.
            OSError: If the disk fails: nothing of this commit counts then, and the writer is done.
            ValueError, TypeError: If the metadata cannot be stored as JSON, or take more than 1 MiB.
        """
        self._check_usable()
        if metadata:
            encode_metadata(metadata)
        return self._guarded(lambda: self._commit(seal=False, metadata=metadata))

    def close(self, *, metadata: dict[str, Any] | None = None) -> None:
        """Commit what is pending, seal the segment and release all files; safe to call again.

        Args:
            metadata: As `commit` takes it.

        After a failure it only releases: the failure was raised where it happened.
        """
        if self._is_closed:
            return
        self._owner.check(_NAME, self.path)
        if metadata:
            encode_metadata(metadata)
        try:
            if self._takes_records:
                self._guarded(lambda: self._commit(seal=True, metadata=metadata))
                self._session.fold()
        except DuplicateKeyError:
            # The disk is well: leave nothing behind that stands in the way of another try.
            with suppress(OSError, SplitDataError):
                self._session.undo()
            raise
        finally:
            self._release()

    def abort(self) -> None:
        """Drop what was not committed and release all files; safe to call again.

        In a forked child it does nothing.
        """
        if self._is_closed or not self._owner.is_current:
            return
        try:
            # A disk that fails may refuse this too; what is left then is ignored by readers.
            with suppress(OSError, SplitDataError):
                self._session.undo()
        finally:
            self._release()

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close, or after an exception drop what was not committed; in a forked child do nothing."""
        if not self._owner.is_current:
            return
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        """Tell of records that were written and never committed."""
        if self._is_closed:
            # An interrupt may have come between the mark and what it stands for.
            session = self.__dict__.get("_session")
            if session is not None:
                session.close()
            return
        if not self._owner.is_current:
            return
        try:
            if lost := self._report_lost():
                warnings.warn(
                    f"{one_line(self._name)} was dropped with {lost} records that were not committed; close it",
                    ResourceWarning,
                    stacklevel=2,
                    source=self,
                )
        finally:
            self.abort()

    # -- parts -------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return _NAME % (self.path,)

    def _after_fork_in_child(self) -> None:
        """Let go of the files, whose locks would outlive the parent; nothing in them is changed."""
        self._takes_records = False
        with suppress(OSError):
            self._session.close()

    def _end_with_program(self) -> None:
        """Tell what is lost, and drop it."""
        if self._is_closed or not self._owner.is_current:
            return
        self._report_lost()
        if threading.active_count() == 1:
            self.abort()
        else:
            # Another thread may be at work in it, until the very end.
            self._is_closed = True
            self._takes_records = False

    def _report_lost(self) -> int:
        """Log how many records are lost if nothing more is committed; returns the number."""
        lost = self.num_written - self._session.num_committed
        if lost:
            _logger.warning(
                "%s was never closed: %d records that it was given are not committed, and lost; close it, or write in "
                "`with SplitWriter(...) as writer:`",
                one_line(self._name),
                lost,
            )
        return lost

    def _flush(self) -> None:
        if self._has_pending_keys:
            self._session.append(*_records_and_keys(self._pending))
        else:
            self._session.append(cast("list[bytes]", self._pending))
        # The list itself stays: `write_many` holds it while an iterable that commits runs.
        self._pending.clear()
        self._has_pending_keys = False
        self._pending_bytes = 0
        self._chunk_bytes = _chunk_bytes(self._session.num_bins)

    def _write_large(self, source: LargeSource, key: bytes) -> None:
        self._flush()
        self._session.append_large(source, key)

    def _commit(self, *, seal: bool, metadata: dict[str, Any] | None) -> range:
        self._flush()
        return self._session.commit(seal=seal, metadata=metadata)

    def _guarded(self, action: Callable[[], _Result]) -> _Result:
        """Run a step that changes files; if it fails, the writer is done for."""
        self._owner.check(_NAME, self.path)
        # Before and after it, rather than where an exception is caught: an interrupt may come there as well.
        self._takes_records = False
        try:
            result = action()
        except BaseException as error:
            self._failure = error
            raise
        self._first_pending = self._session.num_records
        self._takes_records = not self._is_closed
        return result

    def _check_usable(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self._name} is closed")
        self._owner.check(_NAME, self.path)
        if not self._takes_records:
            why = "it was interrupted" if self._failure is None else repr(self._failure)
            raise ClosedError(
                f"{self._name} has failed and writes no more: {why}; the "
                f"{self._session.num_committed} records that were committed in this session are safe"
            ) from self._failure

    def _release(self) -> None:
        self._is_closed = True
        self._takes_records = False
        self._pending.clear()
        self._session.close()


def _records_and_keys(pending: list[bytes | tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes] | None]:
    """Return records and the key of each, empty for none; the usual case, that each has one, takes half the time."""
    if set(map(type, pending)) == {tuple}:
        pairs = cast("list[tuple[bytes, bytes]]", pending)
    else:
        pairs = [one if isinstance(one, tuple) else (one, b"") for one in pending]
    keys = list(map(_SECOND, pairs))
    return list(map(_FIRST, pairs)), keys if any(keys) else None


def _chunk_bytes(num_bins: int | None) -> int:
    """Return how much is collected before it is written; everything while the number of bins is open."""
    if num_bins is None:
        return ONE_BIN_BYTES + 1
    return min(_MAX_CHUNK_BYTES, max(_MIN_CHUNK_BYTES, num_bins * _CHUNK_BYTES_PER_BIN))


def _taken(record: BytesLike | ReadableFile) -> bytes | LargeSource:
    """Return an ordinary record as bytes of its own, a large one as the source of its blocks."""
    if is_file(record):
        return _taken_from_file(cast("ReadableFile", record))
    data = payload(record)
    if len(data) < spec.LARGE_RECORD_BYTES:
        return bytes(data)
    return LargeSource(buffer=memoryview(data))


def _taken_from_file(file: ReadableFile) -> bytes | LargeSource:
    pieces, size = [], 0
    while size < spec.LARGE_RECORD_BYTES and (piece := read_piece(file, spec.LARGE_RECORD_BYTES - size)):
        pieces.append(piece)
        size += len(piece)
    if not size:
        check_has_rest(file)
    head = b"".join(pieces)
    return head if size < spec.LARGE_RECORD_BYTES else LargeSource(head=head, file=file)
