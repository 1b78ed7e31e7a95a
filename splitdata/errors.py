"""Every error that splitdata raises on purpose, in one tree.

    SplitDataError
    |- FormatError (ValueError)               bytes on disk break FORMAT.md
    |  |- BadMagicError                       this is another kind of file
    |  |- UnsupportedVersionError             written by a newer splitdata
    |  |- TruncatedFileError                  a file is shorter than what was committed
    |  |- CorruptRecordError                  one record cannot be proven right
    |  |- RecordDeletedError                  one record was deleted, on purpose
    |  |- MissingBinError                     a bin file is not there
    |  `- ManifestError                       the manifest is damaged or contradicts itself
    |- DatasetNotFoundError (FileNotFoundError)
    |- DatasetExistsError (FileExistsError)
    |- RecordTooLargeError (ValueError)
    |- DuplicateKeyError (ValueError)
    |- SchemaError (ValueError)               a sample is not what its dataset declares
    |- ClosedError (ValueError)
    |- SourceError (ValueError)               the input of a conversion is damaged, or of another kind
    |- UnfinishedError (ValueError)           units of a conversion by several processes are missing
    |- StoreError (OSError)                   an object store fails, or is not what it must be
    |- StateMismatchError (ValueError)        a checkpoint of other data or other options
    |- TooManySkippedError (RuntimeError)     on_error="skip" has replaced more than its budget
    |- CacheError
    `- WorkerError (RuntimeError)
       |- WorkerCrashedError
       `- WorkerTimeoutError (TimeoutError)

Each also is the builtin that a caller would already catch. A position out of range stays
``IndexError``, a bad argument ``ValueError`` or ``TypeError``, a failing disk ``OSError``.
A message says what is wrong, where, how much is affected and what to do next. What a name in it may
hold and no terminal should be sent, it shows escaped. Every error pickles, with its fields.
"""

from __future__ import annotations

import errno
import os
from typing import Any

__all__ = [
    "BadMagicError",
    "CacheError",
    "ClosedError",
    "CorruptRecordError",
    "DatasetExistsError",
    "DatasetNotFoundError",
    "DuplicateKeyError",
    "FormatError",
    "ManifestError",
    "MissingBinError",
    "RecordDeletedError",
    "RecordTooLargeError",
    "SchemaError",
    "SourceError",
    "SplitDataError",
    "StateMismatchError",
    "StoreError",
    "TooManySkippedError",
    "TruncatedFileError",
    "UnfinishedError",
    "UnsupportedVersionError",
    "WorkerCrashedError",
    "WorkerError",
    "WorkerTimeoutError",
]


def _rebuild(cls: type[SplitDataError], args: tuple[Any, ...], fields: dict[str, Any]) -> SplitDataError:
    """Make an error again from its pickled parts without running its constructor."""
    # Of several builtin bases only the one with the widest layout may allocate the object.
    allocate = OSError.__new__ if issubclass(cls, OSError) else Exception.__new__
    error: SplitDataError = allocate(cls)
    error.args = args
    for name, value in fields.items():
        setattr(error, name, value)
    return error


def _printable(text: str) -> str:
    """Return a text with all but its line endings and tabs that does not print escaped, as the command line does."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    code = ord(character)
    # Bytes that file names carry as lone surrogates.
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()


class SplitDataError(Exception):
    """Base of every error that splitdata raises on purpose."""

    def __str__(self) -> str:
        """Show the message, with what does not print in it escaped: it names files, keys and metadata of others."""
        return _printable(super().__str__())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by class, arguments and fields: constructors take keyword-only fields."""
        fields = dict(self.__dict__)
        if isinstance(self, OSError):
            # Only what is set: OSError shows a filename of None as if it were one.
            system = {"errno": self.errno, "strerror": self.strerror, "filename": self.filename}
            fields |= {name: value for name, value in system.items() if value is not None}
        return _rebuild, (type(self), self.args, fields)


class FormatError(SplitDataError, ValueError):
    """The bytes of a file do not follow FORMAT.md.

    Attributes:
        path: The file, where one is known.
        offset: Byte in that file, where one is known.
    """

    def __init__(self, message: str, *, path: str | os.PathLike[str] | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = None if path is None else os.fspath(path)
        self.offset = offset


class BadMagicError(FormatError):
    """The file does not begin as a file of its kind must."""


class UnsupportedVersionError(FormatError):
    """The file needs a newer splitdata: its version or a feature that must be understood is unknown."""


class TruncatedFileError(FormatError):
    """A file ends before the data that were committed to it."""


class CorruptRecordError(FormatError):
    """A record is damaged, or lost: it cannot be proven to be what was written.

    Attributes:
        position: Position of the record in its dataset.
        bin_index: Number of the bin in its segment.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | os.PathLike[str] | None = None,
        offset: int | None = None,
        position: int | None = None,
        bin_index: int | None = None,
    ) -> None:
        super().__init__(message, path=path, offset=offset)
        self.position = position
        self.bin_index = bin_index


class RecordDeletedError(FormatError):
    """A record was deleted: its position stays taken, its bytes are not to be had.

    Attributes:
        position: Position of the record in its dataset.
    """

    def __init__(
        self, message: str, *, path: str | os.PathLike[str] | None = None, position: int | None = None
    ) -> None:
        super().__init__(message, path=path)
        self.position = position


class MissingBinError(FormatError):
    """A bin file that holds committed records does not exist."""


class ManifestError(FormatError):
    """The manifest is damaged, or says something that cannot be."""


class DatasetNotFoundError(SplitDataError, FileNotFoundError):
    """There is no splitdata dataset at this path."""

    def __init__(self, message: str, *, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.ENOENT, message, os.fspath(path))

    def __str__(self) -> str:
        """Show the message alone: it names the path already."""
        return _printable(str(self.strerror))


class DatasetExistsError(SplitDataError, FileExistsError):
    """The target holds something that this call would have to replace."""

    def __init__(self, message: str, *, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EEXIST, message, os.fspath(path))

    def __str__(self) -> str:
        """Show the message alone: it names the path already."""
        return _printable(str(self.strerror))


class RecordTooLargeError(SplitDataError, ValueError):
    """A record is larger than the limit that applies here."""


class DuplicateKeyError(SplitDataError, ValueError):
    """Two records of one write session, or of datasets to merge, have one key; or very many keys of a session one hash.

    Nothing of that commit counts.

    Attributes:
        key: The key; of several the first.
        numbers: Both records, as `write` numbered them, or by their positions in the merged dataset.
    """

    def __init__(self, message: str, *, key: str, numbers: tuple[int, int]) -> None:
        super().__init__(message)
        self.key = key
        self.numbers = numbers


class SchemaError(SplitDataError, ValueError):
    """A sample, or a writer's schema, is not of the schema that the dataset declares.

    Attributes:
        field: The part of the sample that does not fit, as ``sample["image"]``; None where it is about all.
        record: The number that the record would have had in its session, where one was written.
    """

    def __init__(self, message: str, *, field: str | None = None, record: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.record = record


class ClosedError(SplitDataError, ValueError):
    """The object was closed, or a failure has ended its use."""


class SourceError(SplitDataError, ValueError):
    """The input of a conversion is damaged, ends too early, or is not of the kind that it was said to be.

    Attributes:
        path: The file, folder or function that is read, where one is known.
        position: Number of the record in its source, from 0, where one is known.
    """

    def __init__(
        self, message: str, *, path: str | os.PathLike[str] | None = None, position: int | None = None
    ) -> None:
        super().__init__(message)
        self.path = None if path is None else os.fspath(path)
        self.position = position


class UnfinishedError(SplitDataError, ValueError):
    """Units of a conversion that several processes share are not written yet; nothing was committed.

    Attributes:
        numbers: Of the first units that are missing, 0-based.
    """

    def __init__(self, message: str, *, numbers: tuple[int, ...]) -> None:
        super().__init__(message)
        self.numbers = numbers


class StoreError(SplitDataError, OSError):
    """An object store does not answer, answers wrongly, or cannot do what is asked of it."""


class StateMismatchError(SplitDataError, ValueError):
    """A saved state belongs to other data or to other options."""


class TooManySkippedError(SplitDataError, RuntimeError):
    """More records could not be used than a loader with on_error="skip" may replace in an epoch.

    Attributes:
        num_skipped: How many of this epoch, with those of the batch that was not handed out.
    """

    def __init__(self, message: str, *, num_skipped: int) -> None:
        super().__init__(message)
        self.num_skipped = num_skipped


class CacheError(SplitDataError):
    """A cache cannot be used as it is."""


class WorkerError(SplitDataError, RuntimeError):
    """A worker failed.

    Attributes:
        worker_id: Number of the worker, 0-based.
        pid: Process id of the worker, where it had started.
    """

    def __init__(self, message: str, *, worker_id: int | None = None, pid: int | None = None) -> None:
        super().__init__(message)
        self.worker_id = worker_id
        self.pid = pid


class WorkerCrashedError(WorkerError):
    """A worker process ended before its work did.

    Attributes:
        exit_code: As multiprocessing gives it: negative is the number of the signal.
        items_received: Items that arrived before the end.
    """

    def __init__(
        self,
        message: str,
        *,
        worker_id: int | None = None,
        pid: int | None = None,
        exit_code: int | None = None,
        items_received: int | None = None,
    ) -> None:
        super().__init__(message, worker_id=worker_id, pid=pid)
        self.exit_code = exit_code
        self.items_received = items_received


class WorkerTimeoutError(WorkerError, TimeoutError):
    """A worker produced nothing for longer than was allowed.

    Attributes:
        stack: Where the worker stood, as text, where that could be had.
    """

    def __init__(
        self,
        message: str,
        *,
        worker_id: int | None = None,
        pid: int | None = None,
        stack: str | None = None,
    ) -> None:
        super().__init__(message, worker_id=worker_id, pid=pid)
        self.stack = stack
