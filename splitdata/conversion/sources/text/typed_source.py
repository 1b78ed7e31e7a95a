"""Records of another source that are texts or messages, as samples: JSON lines, rows, tf.train.Examples.

Positions, parts and what is left out are those of the other source.

    JSONL  {"id": 7, "x": [1, 2]}  ──>  {"id": 7, "x": [1, 2]}      types={"x": "float32[]"}: an array
    CSV    7,0.5,                  ──>  {"id": 7, "score": 0.5, "note": ""}
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

from splitdata._payload import is_file, payload
from splitdata.conversion.sources.files.sized_file import SizedFile
from splitdata.conversion.sources.numbered import MAX_SAMPLE_BYTES
from splitdata.conversion.sources.parts import PartedSource, has_parts
from splitdata.conversion.sources.sample_source import SampleSource
from splitdata.conversion.sources.seek import num_records_at, position_of, records_from, state_of
from splitdata.errors import RecordTooLargeError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition

__all__ = ["TypedSource"]


class TypedSource(SampleSource):
    """The records of a source without keys, each made into a sample."""

    def __init__(self, source: RecordSource, parse: Callable[[bytes], Any], *, types: str) -> None:
        """Take the source and what makes a value of a record; it raises ValueError for one that is none.

        Args:
            source: Of the records.
            parse: Can be pickled.
            types: What tells equal ways to parse from others, for a conversion to resume.
        """
        self._source = source
        self._parse = parse
        self._types = types
        self._num_given = 0
        self.kind = source.kind
        self.name = source.name

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
        """Bytes of the source read so far."""
        return self._source.bytes_read

    @property
    def skipped(self) -> Mapping[str, int]:
        """The things that the source left out."""
        return self._source.skipped

    @property
    def metadata(self) -> dict[str, Any]:
        """The codec of the samples."""
        return {"record_codec": "sample"}

    def identity(self) -> str:
        """Return the identity of the source and how it is parsed."""
        return f"{self._source.identity()} typed {self._types}"

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return the state of the source and how it is parsed."""
        return state_of(self._source, with_times=with_times) | {"typed": self._types}

    def position(self) -> SourcePosition:
        """Return where the source stands."""
        return position_of(self._source, self._num_given)

    def __iter__(self) -> Generator[bytes, None, None]:
        """Yield the samples.

        Raises:
            SourceError: If a record cannot be parsed, naming it; or as the source does.
            RecordTooLargeError: If a record has more than 1 GiB.
        """
        return self.records_from({})

    def records_from(self, position: SourcePosition) -> Generator[bytes, None, None]:
        """Yield the samples behind a position."""
        self._num_given = num_records_at(position)
        with closing(records_from(self._source, position)) as records:
            for record in records:
                sample = self._sample(record)
                self._num_given += 1
                yield sample

    @property
    def has_parts(self) -> bool:
        """Whether the source has."""
        return has_parts(self._source)

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the parts of the source, as samples."""
        for part in cast("PartedSource", self._source).parts(max_bytes):
            yield cast("RecordSource", TypedSource(part, self._parse, types=self._types))

    def _sample(self, record: Record) -> bytes:
        data = record if type(record) is bytes else self._whole(record)
        try:
            value = self._parse(data)
        except (ValueError, OverflowError) as error:
            raise SourceError(
                f"record {self._num_given} of {self.name} cannot be made a sample: {error}",
                path=next(iter(self.inputs), self.name),
                position=self._num_given,
            ) from None
        return self._record_of(value, self.name, self._num_given)

    def _whole(self, record: Record) -> bytes:
        """Return a record that is not `bytes` as such."""
        if not is_file(record):
            return bytes(payload(record))
        file = cast("SizedFile", record)
        if file.size > MAX_SAMPLE_BYTES:
            raise RecordTooLargeError(f"record {self._num_given} of {self.name} has {file.size} bytes, not 1 GiB")
        return file.read_whole()
