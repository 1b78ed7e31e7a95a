"""What sources have in common whose records are known by their number: samples of one file, read on from any of them.

A source of this form needs one method: what yields its values from a number on.

    position {"record": n}  ──>  the samples n, n + 1, ...        what is before them is not read
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from copy import copy
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from splitdata.conversion.sources.files.input_file import FileSource
from splitdata.conversion.sources.sample_source import SampleSource
from splitdata.conversion.sources.seek import count_at
from splitdata.errors import RecordTooLargeError, SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from splitdata.conversion.sources.source import RecordSource, SourcePosition

__all__ = ["MAX_SAMPLE_BYTES", "NumberedFileSource", "NumberedSource"]

# A sample is held whole.
MAX_SAMPLE_BYTES = 1 << 30


class NumberedSource(SampleSource, ABC):
    """Samples of one thing, by their number.

    Attributes:
        shown: What it is called in messages.
        path: Of what is read.
    """

    kind: str
    shown: str
    path: str

    def __init__(self) -> None:
        self.skipped: Mapping[str, int] = {}
        self._num_given = 0
        self._bytes_read = 0
        # Of a part: the number of its first sample, and how many it has.
        self._begin = 0
        self._count: int | None = None

    @property
    @abstractmethod
    def num_bytes(self) -> int | None:
        """Size of what is read."""

    @property
    def has_parts(self) -> bool:
        """Whether other processes can read it, too."""
        return self.num_bytes is not None

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far, about."""
        return self._bytes_read

    @property
    def metadata(self) -> dict[str, Any]:
        """The codec of the samples."""
        return {"record_codec": "sample"}

    def position(self) -> SourcePosition:
        """Return the number of the next sample."""
        return {"record": self._num_given}

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield the samples.

        Raises:
            SourceError: If the file is damaged, truncated, or holds what samples do not have.
            RecordTooLargeError: If a sample has more than 1 GiB.
        """
        return self.records_from({})

    def records_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        """Yield the samples behind a position."""
        self._num_given = count_at(position, "record")
        self._bytes_read = 0
        left = None if self._count is None else max(0, self._count - self._num_given)
        for sample in islice(self._samples(self._begin + self._num_given), left):
            record = self._record(sample)
            self._num_given += 1
            yield record

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the source in runs of equally many samples, if it can be read from any."""
        count = self._known_count()
        num_parts = 1 if count is None else min(count, -(-(self.num_bytes or 0) // max_bytes))
        if count is None or num_parts <= 1:
            yield cast("RecordSource", self)
            return
        for number in range(num_parts):
            part = copy(self)
            part._begin = count * number // num_parts
            part._count = count * (number + 1) // num_parts - part._begin
            yield cast("RecordSource", part)

    def _known_count(self) -> int | None:
        """Return how many samples there are, where that is known and reading may begin at any; raises as reading."""
        return None

    def _record(self, sample: Any) -> bytes:
        """Return the record of a sample; raises as `SampleSource` does."""
        return self._record_of(sample, self.shown, self._num_given)

    @abstractmethod
    def _samples(self, first: int) -> Iterator[Any]:
        """Yield the samples from one on, as values; none if there are no more."""

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Put the name of the file before the message of an error of the block, which says what it is or has."""
        try:
            yield
        except SourceError as error:
            raise SourceError(f"{self.shown} {error}", path=self.path, position=error.position) from None
        except RecordTooLargeError as error:
            raise RecordTooLargeError(f"{self.shown}: {error}") from None

    def _refusal(self, what: str) -> SourceError:
        return SourceError(f"{self.shown} {what}", path=self.path)

    def _check_size(self, num_bytes: int) -> None:
        if num_bytes > MAX_SAMPLE_BYTES:
            raise RecordTooLargeError(f"{self.shown} has a sample of {num_bytes} bytes: 1 GiB is the limit")


class NumberedFileSource(NumberedSource, FileSource, ABC):
    """Samples of one file, by their number."""

    def __init__(self, path: str) -> None:
        """Take a path; raises as `InputFile` does."""
        FileSource.__init__(self, path)
        NumberedSource.__init__(self)
        self.shown, self.path = self._input.shown, self._input.path

    @property
    def num_bytes(self) -> int | None:
        """Size of the file as it is stored."""
        return self._input.num_bytes
