"""The protocol that every source of records implements.

The conversion knows nothing else of a source: a new layout is one more class.

    source ──for record in source──> bytes, or an open file for a big one ──> SplitWriter
    samples are records too: `encode_sample` makes them in the source, whose metadata name the codec
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from splitdata._types import BytesLike, ReadableFile

    SourcePosition: TypeAlias = dict[str, Any]
    """What a source needs to read on: plain JSON, equal for equal places whatever was read at a time."""
    Record: TypeAlias = BytesLike | ReadableFile
    """An open file is valid until the next record is asked for, and read once, to its end."""

__all__ = ["KeyedSource", "MetadataSource", "Record", "RecordSource", "SourcePosition", "metadata_in", "storable"]


class RecordSource(Protocol):
    """Records to be converted, in an order that depends on what is read alone.

    Iterating opens what is read and closes it at the end. It may be done again, from the beginning,
    except on standard input. A source either gives every record or raises: it never ends early.
    """

    @property
    def kind(self) -> str:
        """The word for this layout, such as "folder"."""

    @property
    def name(self) -> str:
        """The name of what is read, without the folders above it; stored with the dataset."""

    @property
    def inputs(self) -> Sequence[str]:
        """Paths of the files and folders that are read."""

    @property
    def num_bytes(self) -> int | None:
        """Bytes that will be read, compressed where the input is; None where unknown. May cost a walk."""

    @property
    def bytes_read(self) -> int:
        """The number of bytes that the newest iteration has read so far."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """The things that the newest iteration left out so far, by kind, with the number of each."""

    def identity(self) -> str:
        """Return a text that is equal for equal sources on every machine. May cost a walk."""

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records.

        Raises:
            SourceError: If the input is damaged, truncated or of another kind.
            OSError: If it cannot be read.
        """


@runtime_checkable
class KeyedSource(Protocol):
    """A source of records that have keys."""

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str | None, Record], None, None]:
        """Yield the key of each record behind a position, None for all; None for one without a key, and the record."""


@runtime_checkable
class MetadataSource(Protocol):
    """A source that says something of its records, which is stored with the dataset."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata of the dataset, as JSON has them.

        Records that are samples have "record_codec": "sample" here, and are what `encode_sample` made of them.
        """


def metadata_in(source: RecordSource) -> dict[str, Any]:
    """Return what a source says of its records, nothing for most."""
    return dict(source.metadata) if isinstance(source, MetadataSource) else {}


def storable(name: str) -> str:
    """Return a name as text that JSON can hold, whatever bytes the file system allows in it."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
