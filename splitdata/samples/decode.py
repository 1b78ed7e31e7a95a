"""Decodes bytes to a sample: the schema's bytes lead to a plan and a builder that were made once.

Arrays of the sample are views of the bytes; nothing of their payload is copied.

    header ─> schema ── in the cache? ──> plan ── table ─> extents ── known? ──> layout
                 `- no: parse, bounded by the bytes there are          `- its end must be the end of the bytes
    builder(table, layout, buffer) ─> sample, its arrays views of the buffer
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.errors import BadMagicError, FormatError, UnsupportedVersionError
from splitdata.samples import sample_spec
from splitdata.samples.build import build_node
from splitdata.samples.collate import collate
from splitdata.samples.columns import Columns, NoColumnsError, alone_parts
from splitdata.samples.decode_plan import HEADER, PREFIX, DecodePlan, DecodePlanCache
from splitdata.samples.restore import KnownTypes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from splitdata._types import BytesLike
    from splitdata.samples.build import Buffer, Builder
    from splitdata.samples.collate import Allocate

__all__ = ["VALUE_ERRORS", "SampleDecoder", "as_bytes_view", "as_rows", "decode_sample", "header_error"]

# Bound here, as they are looked up for each sample.
_SCHEMA_START: Final = sample_spec.SAMPLE_HEADER_BYTES
_MAX_SCHEMA_BYTES: Final = sample_spec.MAX_SCHEMA_BYTES
_read_header: Final = HEADER.unpack_from

# Decoders for the types that callers of `decode_sample` gave lately.
_MAX_DECODERS: Final = 16
# The errors of a schema's parts, which was found right, for values that are not.
VALUE_ERRORS: Final = (struct.error, ValueError, OverflowError, IndexError)


def decode_sample(
    buffer: BytesLike | NDArray[Any], *, copy: bool = False, types: Iterable[type] = ()
) -> Any:  # any sample
    """Return the sample that `encode_sample` made bytes of.

    Arrays are views of `buffer`, which they keep alive, and can be written to only where it can;
    everything else is copied. Tensors are views too where `buffer` can be written to, else copies.
    An array or tensor that would not lie at a multiple of what its data type needs is a copy: in a buffer
    that does not begin at a multiple of 64, and where complex128 of less than 64 bytes lies at one of 8.
    Where torch is not installed, tensors come as arrays, those of types that numpy does not have
    as arrays of their bits, with a warning.

    Args:
        buffer: The bytes of one sample, no more and no less; aligned arrays need its start to be
            aligned to 64, as it is in datasets of samples.
        copy: Copy the buffer first: arrays can be written to, and hold nothing but the copy.
        types: Namedtuples and dataclasses to be restored, known by their names. Others come as tuples
            and dicts. Their `__init__` is not run.

    Raises:
        FormatError: If the bytes are not a sample, or not a whole one.
        UnsupportedVersionError: If they were written by a newer splitdata.
        TypeError: If a type that was given has other fields than its sample.
    """
    if types or copy:
        return (_decoder_of(tuple(types)) if types else _plain).decode(buffer, copy=copy)
    return _plain_decode(buffer)


class SampleDecoder:
    """Decodes samples with the same types again and again; safe to share between threads.

    Pickles as its types.

    Attributes:
        known: The types.
    """

    def __init__(self, types: Iterable[type] = ()) -> None:
        """Take the types, as `decode_sample` does.

        Raises:
            TypeError: If one is neither a namedtuple nor a dataclass.
            ValueError: If two have one name.
        """
        self.known = KnownTypes(types)
        self._builders: DecodePlanCache[tuple[DecodePlan, Builder]] = DecodePlanCache()
        self._get_made = self._builders.get

    def decode(self, buffer: BytesLike | NDArray[Any], *, copy: bool = False) -> Any:  # any sample
        """Return the sample, as `decode_sample` says."""
        data: Buffer = buffer if type(buffer) is bytes else as_bytes_view(buffer)
        if copy:
            data = bytearray(data)
        try:
            prefix, size = _read_header(data)
            if prefix != PREFIX or size > _MAX_SCHEMA_BYTES:
                raise header_error(data, size)
            schema = bytes(data[_SCHEMA_START : _SCHEMA_START + size])
            plan, build = self._get_made(schema) or self._make(schema, len(data))
            values = plan.unpack(data, plan.table_start)
            extents = values[: plan.num_extents]
            layout = plan.layouts.get(extents) or plan.lay_out(extents)
            if layout.total != len(data) or len(schema) != size:
                raise FormatError(f"a sample of {layout.total} bytes has {len(data)} here")
            return build(values, layout.places, data)
        except FormatError:
            raise
        except VALUE_ERRORS as error:
            raise FormatError(f"these {len(data)} bytes are no sample: {error}") from None

    def decode_batch(
        self, records: NDArray[np.uint8] | Sequence[BytesLike], allocate: Allocate = np.empty
    ) -> Any:  # any batch
        """Return the batch that `collate` makes of these samples, in memory of its own.

        A batch has the structure of its samples, the namedtuples and dataclasses among them as in `decode`.
        Of n samples, arrays and numpy's numbers give an array [n, ...] of their data type, tensors a tensor,
        bool, int and float arrays of bool, int64 and float64. Lists and tuples hold batches: a list of 3
        numbers gives a list of 3 arrays. All else gives a list of n values. Samples of one structure are
        batched without a loop in Python over them.

        Args:
            records: One sample each: uint8[n, size], or any bytes-like objects.
            allocate: Makes arrays, as `collate` is given it.

        Raises:
            FormatError: If one is not a sample.
            ValueError, TypeError: If there are no records, or they do not fit together into a batch.
        """
        rows = as_rows(records)
        try:
            return self._columns(rows, allocate)
        except NoColumnsError:
            return collate([self.decode(row) for row in rows], allocate=allocate)

    def decode_columns(self, records: NDArray[np.uint8] | Sequence[BytesLike]) -> Any:  # any batch
        """Return what `decode_batch` does, for samples of one structure only.

        Raises:
            FormatError: If one is not a sample.
            ValueError: If they differ in structure or shapes, so that another way may still make a batch of them.
        """
        return self._columns(as_rows(records), np.empty)

    def _columns(self, rows: NDArray[np.uint8] | list[Buffer], allocate: Allocate) -> Any:  # any batch
        # Proves one sample, so that its schema is one.
        self.decode(rows[0])
        first = bytes(rows[0][: _SCHEMA_START + _MAX_SCHEMA_BYTES])
        schema = first[_SCHEMA_START : _SCHEMA_START + _read_header(first)[1]]
        plan, _ = self._get_made(schema) or self._make(schema, len(rows[0]))
        if not _have_head(rows, plan.head):
            raise NoColumnsError("these samples differ in structure: in types, keys or the order of keys")
        try:
            return Columns(plan.schema.root, self.known, rows, alone_parts(plan, rows), allocate).batch()
        except (FormatError, NoColumnsError):
            raise
        except VALUE_ERRORS as error:
            raise FormatError(f"one of these {len(rows)} records is no sample: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the types."""
        return SampleDecoder, (self.known.types,)

    def _make(self, schema: bytes, num_bytes: int) -> tuple[DecodePlan, Builder]:
        """Return plan and builder of a new schema, in a sample of so many bytes."""
        plan = DecodePlan(schema, (num_bytes - _SCHEMA_START - len(schema)) // sample_spec.SLOT_BYTES)
        made = plan, build_node(plan.schema.root, plan.num_extents, self.known)
        self._builders.keep(schema, made)
        return made


def as_bytes_view(buffer: BytesLike | NDArray[Any]) -> memoryview:
    """Return any bytes-like object as a view of bytes, held in its place for as long as an array shows a part of it."""
    view = memoryview(buffer)  # type: ignore[arg-type]  # arrays are known as buffers from Python 3.12 on
    if view.nbytes == 0:
        return memoryview(b"")
    # Arrays made on an object do not keep it from moving its memory, those that `frombuffer` makes do.
    return np.frombuffer(view.cast("B"), np.uint8).data


def as_rows(records: NDArray[np.uint8] | Sequence[BytesLike]) -> NDArray[np.uint8] | list[Buffer]:
    """Return records as rows that lie in one piece each."""
    if isinstance(records, np.ndarray):
        if records.dtype != np.uint8 or records.ndim != 2:
            raise TypeError(f"records are uint8[n, size], got {records.dtype} of shape {records.shape}")
        rows: NDArray[np.uint8] | list[Buffer] = np.ascontiguousarray(records)
    else:
        rows = [record if type(record) is bytes else as_bytes_view(record) for record in records]
    if not len(rows):
        raise ValueError("there are no samples to make a batch of")
    return rows


def _have_head(rows: NDArray[np.uint8] | list[Buffer], head: bytes) -> bool:
    """Say whether all records begin with one header and schema."""
    if isinstance(rows, np.ndarray):
        return bool((rows[:, : len(head)] == np.frombuffer(head, np.uint8)).all())
    return all(row[: len(head)] == head for row in rows)


def header_error(data: Buffer, size: int) -> FormatError:
    """Return the error for bytes that do not begin as a sample of this version does."""
    begin = bytes(data[:4])
    if begin[:3] != sample_spec.SAMPLE_MAGIC:
        return BadMagicError(f"these {len(data)} bytes are no sample: they begin with {begin.hex(' ')}")
    if begin[3] != sample_spec.SAMPLE_VERSION:
        return UnsupportedVersionError(
            f"a sample of version {begin[3]}; this splitdata reads {sample_spec.SAMPLE_VERSION}: install a newer one"
        )
    return FormatError(f"a sample has a schema of {size} bytes, the limit is {sample_spec.MAX_SCHEMA_BYTES}")


@functools.lru_cache(maxsize=_MAX_DECODERS)
def _decoder_of(types: tuple[type, ...]) -> SampleDecoder:
    return SampleDecoder(types)


_plain: Final = SampleDecoder()
_plain_decode: Final = _plain.decode
