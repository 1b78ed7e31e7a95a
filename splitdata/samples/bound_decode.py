"""Decodes samples of a segment that has schemas: most name theirs by a number, some stand alone.

Which of both a record is, its first bytes tell.

    record ── begins with the magic of a sample? ── yes: it stands alone, decode.py
                 `- no: last 4 bytes, its number ─> plan and builder, made once ─> sample
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.errors import FormatError
from splitdata.samples import sample_spec
from splitdata.samples.bound_plan import BoundPlan
from splitdata.samples.build import build_node
from splitdata.samples.collate import collate
from splitdata.samples.columns import Columns, NoColumnsError, bound_parts
from splitdata.samples.decode import VALUE_ERRORS, as_bytes_view, as_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splitdata._types import BytesLike
    from splitdata.samples.build import Buffer, Builder
    from splitdata.samples.collate import Allocate
    from splitdata.samples.decode import SampleDecoder

__all__ = ["BoundDecoder"]

_MAGIC: Final = sample_spec.SAMPLE_MAGIC
_MAGIC_BYTES: Final = len(_MAGIC)
_NUMBER_BYTES: Final = sample_spec.NUMBER_BYTES
_read_number: Final = struct.Struct("<I").unpack_from
# A plan takes some 500 times the bytes of its schema.
_MAX_KEPT_BYTES: Final = 256 << 10


class BoundDecoder:
    """Decodes the samples of segments that have one list of schemas; safe to share between threads.

    Attributes:
        schemas: The list, each as bytes.
    """

    def __init__(self, schemas: Sequence[bytes], alone: SampleDecoder) -> None:
        """Take the schemas, none of which is looked at before a sample names it, and what decodes all others."""
        self.schemas = tuple(schemas)
        self._alone = alone
        self._made: list[tuple[BoundPlan, Builder] | None] = [None] * len(self.schemas)
        self._kept_bytes = 0

    def decode(self, buffer: BytesLike | NDArray[Any], *, copy: bool = False) -> Any:  # any sample
        """Return the sample, as `decode_sample` says.

        Raises:
            FormatError: If the bytes are not a sample of these schemas, or not a whole one.
        """
        data: Buffer = buffer if type(buffer) is bytes else as_bytes_view(buffer)
        if data[:_MAGIC_BYTES] == _MAGIC:
            return self._alone.decode(data, copy=copy)
        if copy:
            data = bytearray(data)
        try:
            (number,) = _read_number(data, len(data) - _NUMBER_BYTES)
            plan, build = self._made[number] or self._make(number, len(data))
            scalars, places = plan.read(data)
            return build(scalars, places, data)
        except FormatError:
            raise
        except VALUE_ERRORS as error:
            raise FormatError(f"these {len(data)} bytes are no sample: {error}") from None

    def decode_batch(
        self, records: NDArray[np.uint8] | Sequence[BytesLike], allocate: Allocate = np.empty
    ) -> Any:  # any batch
        """Return the batch that `collate` makes of these samples, as `SampleDecoder.decode_batch` does."""
        rows = as_rows(records)
        try:
            return self._columns(rows, allocate)
        except NoColumnsError:
            return collate([self.decode(row) for row in rows], allocate=allocate)

    def _columns(self, rows: NDArray[np.uint8] | list[Buffer], allocate: Allocate) -> Any:  # any batch
        first = bytes(rows[0][-_NUMBER_BYTES:])
        if rows[0][:_MAGIC_BYTES].tobytes() == _MAGIC if isinstance(rows, np.ndarray) else rows[0][:3] == _MAGIC:
            # If the others stand alone as well, they have columns of their own.
            if all(bytes(row[:_MAGIC_BYTES]) == _MAGIC for row in rows):
                return self._alone.decode_batch(rows, allocate)
            raise NoColumnsError("some of these samples stand alone")
        if not _have_number(rows, first):
            raise NoColumnsError("these samples differ in structure: in types, keys, the order of keys or shapes")
        # Proves one sample, so that its schema is one.
        self.decode(rows[0])
        plan, _ = self._plan_of(rows[0].data if isinstance(rows[0], np.ndarray) else rows[0])
        try:
            return Columns(plan.root, self._alone.known, rows, bound_parts(plan, rows), allocate).batch()
        except (FormatError, NoColumnsError):
            raise
        except VALUE_ERRORS as error:
            raise FormatError(f"one of these {len(rows)} records is no sample: {error}") from None

    def _plan_of(self, data: Buffer) -> tuple[BoundPlan, Builder]:
        """Return plan and builder of the schema that a sample names.

        Raises:
            FormatError, IndexError, struct.error: If there is none, or it asks for more than the sample has.
        """
        (number,) = _read_number(data, len(data) - _NUMBER_BYTES)
        return self._made[number] or self._make(number, len(data))

    def _make(self, number: int, num_bytes: int) -> tuple[BoundPlan, Builder]:
        plan = BoundPlan(self.schemas[number], num_bytes // sample_spec.EXTENT_BYTES)
        made = plan, build_node(plan.root, 0, self._alone.known)
        self._kept_bytes += len(self.schemas[number])
        if self._kept_bytes > _MAX_KEPT_BYTES:
            # Which costs less than to know what is old.
            self._made = [None] * len(self.schemas)
            self._kept_bytes = len(self.schemas[number])
        self._made[number] = made
        return made


def _have_number(rows: NDArray[np.uint8] | list[Buffer], number: bytes) -> bool:
    """Say whether all records name one schema, and none stands alone."""
    if isinstance(rows, np.ndarray):
        magic = np.frombuffer(_MAGIC, np.uint8)
        if rows.shape[1] < _NUMBER_BYTES:
            return False
        # One byte tells in most batches that none of them does.
        if (rows[:, 0] == magic[0]).any() and (rows[:, :_MAGIC_BYTES] == magic).all(axis=1).any():
            return False
        return bool((rows[:, -_NUMBER_BYTES:] == np.frombuffer(number, np.uint8)).all())
    return all(row[-_NUMBER_BYTES:] == number and row[:_MAGIC_BYTES] != _MAGIC for row in rows)
