"""What a user's functions make of one record: it is kept or not, and becomes none, one or many.

They get bytes; where the records of a source are of a codec, such as samples, what these hold.

    record ──(decoded)──> where(value)? ──> transform(value) ──> None                   no record
                                                             ──> list, iterator         many
                                                             ──> anything else          one: bytes, or a sample
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from splitdata._payload import payload
from splitdata.samples.record_codecs import record_codec

__all__ = ["CHOSEN_BY_FIRST", "Output", "RecordSteps", "StepFunction"]

StepFunction: TypeAlias = Callable[[Any], Any]

CHOSEN_BY_FIRST: Final = "chosen by first"
"""A transform may give bytes or samples; its first output says which of them all are."""

_FREE_CODECS: Final = (None, "sample")


@dataclass(frozen=True, slots=True)
class Output:
    """One record that was made.

    Attributes:
        key: It has, None for none.
        record: Its bytes, encoded.
        codec: Of the record, None for plain bytes.
    """

    key: str | None
    record: bytes
    codec: str | None


@dataclass(frozen=True, slots=True)
class RecordSteps:
    """The steps of a conversion; they may be sent to other processes.

    Attributes:
        where: Says whether a record is kept.
        transform: Makes records of one.
        codec: Of the records that come in, None for plain bytes.
        gives: The codec of those that go out, or `CHOSEN_BY_FIRST`.
    """

    where: StepFunction | None
    transform: StepFunction | None
    codec: str | None
    gives: str | None

    @classmethod
    def of(cls, where: StepFunction | None, transform: StepFunction | None, codec: str | None) -> RecordSteps:
        """Return the steps for records of a codec."""
        is_free = transform is not None and codec in _FREE_CODECS
        return cls(where, transform, codec, CHOSEN_BY_FIRST if is_free else codec)

    def outputs(self, key: str | None, record: bytes) -> Iterator[Output] | None:
        """Return what one record becomes, None if it is not kept; raises what the functions raise.

        Raises:
            TypeError, ValueError: If what they give is no record.
        """
        value = record if self.codec is None else record_codec(self.codec).decode(record)
        if self.where is not None and not self.where(value):
            return None
        if self.transform is None:
            return iter((Output(key, record, self.codec),))
        made = self.transform(value)
        if isinstance(made, (list, Iterator)):
            return self._many(key, made)
        return iter(()) if made is None else iter((self._output(key, made),))

    def _many(self, key: str | None, made: list[Any] | Iterator[Any]) -> Iterator[Output]:
        for number, one in enumerate(made):
            yield self._output(None if key is None else f"{key}#{number}", one)

    def _output(self, key: str | None, value: Any) -> Output:  # whatever the transform gave
        if self.codec not in _FREE_CODECS:
            return Output(key, record_codec(self.codec).encode(value), self.codec)
        if isinstance(value, str):
            raise TypeError(
                "the transform gave a str, which is neither bytes nor a sample: return text.encode(), or {'text': text}"
            )
        is_bytes = isinstance(value, (bytes, bytearray, memoryview))
        codec = None if is_bytes else "sample"
        if self.gives not in (CHOSEN_BY_FIRST, codec):
            raise TypeError(
                f"the transform gave {_word(codec)}, and {_word(self.gives)} before: all records of a dataset are of "
                "one kind"
            )
        return Output(key, bytes(payload(value)) if is_bytes else record_codec("sample").encode(value), codec)


def _word(codec: str | None) -> str:
    return "bytes" if codec is None else f"a {codec}"
