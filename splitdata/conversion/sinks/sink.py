"""The protocol that every sink implements, and how one says that its format cannot hold a value.

What is written comes back the same, types included, when it is converted again; so what would not is refused.

    dataset ──record by record──> ExportedRecord ──> sink.write ──> files of its format        sink.finish at the end
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

import numpy as np

from splitdata._shown import shown
from splitdata.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ContinuingSink", "ExportedRecord", "Sink", "fields_of", "refuse", "type_of"]


@dataclass(frozen=True, slots=True)
class ExportedRecord:
    """One record on its way out.

    Attributes:
        position: In the dataset.
        key: It has, None for none.
        value: Its bytes; where the records of the dataset are of a codec, what they hold.
    """

    position: int
    key: str | None
    value: Any


class Sink(Protocol):
    """Takes records, and writes files of one format."""

    def write(self, record: ExportedRecord) -> None:
        """Take one record.

        Raises:
            SchemaError: If the format cannot hold it, naming field and type.
            OSError: If it cannot be written.
        """

    def finish(self) -> None:
        """Write what is left, and close all files."""

    def close(self) -> None:
        """Close all files, whatever is in them; safe to call again."""


@runtime_checkable
class ContinuingSink(Protocol):
    """A sink whose first record says what all others must be."""

    def begin_like(self, first: ExportedRecord) -> None:
        """Take a record that is in front of all others, and written elsewhere; raises as `write`."""


def type_of(value: object) -> str:
    """Return the type of a value in words."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype}{list(value.shape)}"
    return f"a scalar of numpy's {value.dtype}" if isinstance(value, np.generic) else type(value).__name__


def refuse(record: ExportedRecord, field: str | None, value: object, form: str, why: str = "") -> NoReturn:
    """Raise SchemaError: the format cannot hold a value.

    Args:
        record: That it is in.
        field: The path of the value in its sample, None for the whole record.
        value: It.
        form: Name of the format.
        why: More about the reason, and what to do.
    """
    what = "it" if field is None else f"the field {shown(field)}"
    raise SchemaError(
        f"record {record.position}: {what} is {type_of(value)}, which {form} cannot hold so that it comes back the "
        f"same{f': {why}' if why else ''}; convert it first, or export to another format",
        field=field,
        record=record.position,
    )


def fields_of(record: ExportedRecord, form: str) -> Mapping[str, Any]:
    """Return the fields of a sample, which is a dict with names of text; raises SchemaError for any other."""
    value = record.value
    if not isinstance(value, dict) or not value or not all(isinstance(name, str) for name in value):
        refuse(record, None, value, form, "it takes samples with named fields")
    return value
