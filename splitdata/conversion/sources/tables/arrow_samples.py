"""Rows of Arrow as samples that are bound to schemas, column by column: no object of Python for a value.

Rows of one structure are laid out together: those with nulls at the same places, and lists of the same lengths. A
schema gets its number when its first row is asked for, so that all is as if each row had been encoded by itself.

    batch ──nulls, lengths of lists──> group 0, 1, ...
    group ──numbers [n, 8 x k], texts, arrays [n, bytes]──joined by Arrow──> n records

A type or a group for which this does not pay goes through `rows_of`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sources.tables.arrow_values import rows_of
from splitdata.samples import sample_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow
    from numpy.typing import NDArray

    from splitdata.samples.schema_table import SchemaTable

__all__ = ["bound_rows"]

# Fewer alike rows are as quick one by one.
_FEWEST: Final = 8
_MAX_LENGTH: Final = (1 << 32) - 1


def bound_rows(
    batch: pyarrow.RecordBatch, table: SchemaTable, encode: Callable[[object], bytes]
) -> Iterator[bytes] | None:
    """Return the rows of a batch as `encode` makes them of those of `rows_of`, by a table that it takes as well.

    Returns:
        None if a column is of a type that is not taken here; nothing has been encoded then.
    """
    names, columns = batch.schema.names, [_stored(column) for column in batch.columns]
    if not columns or not batch.num_rows or len(set(names)) < len(names) or not all(map(_is_usual, columns)):
        return None
    first, group_of = _alike(columns)
    if len(first) * _FEWEST > batch.num_rows:
        return None
    return _in_order(batch, columns, group_of, table, encode)


def _in_order(
    batch: pyarrow.RecordBatch,
    columns: list[pyarrow.Array],
    group_of: NDArray[np.intp],
    table: SchemaTable,
    encode: Callable[[object], bytes],
) -> Iterator[bytes]:
    """Yield the rows; a group is encoded when the first of it comes."""
    groups: dict[int, Iterator[bytes]] = {}
    for group in group_of.tolist():
        records = groups.get(group)
        if records is None:
            rows = np.flatnonzero(group_of == group)
            (sample,) = rows_of(batch.slice(int(rows[0]), 1))
            is_all = len(rows) == len(group_of)
            made = _joined(sample, columns if is_all else [column.take(rows) for column in columns], table)
            records = iter(made) if made is not None else map(encode, rows_of(batch.take(rows)))
            groups[group] = records
        yield next(records)


def _joined(sample: dict[str, Any], columns: list[pyarrow.Array], table: SchemaTable) -> list[bytes] | None:
    """Return the rows of a group, given the first as a sample; None if they are to be encoded one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = _Parts(len(columns[0]))
    try:
        for column in columns:
            parts.add(column)
    except (pa.ArrowInvalid, OverflowError):
        # Text that is none: the error for it comes with its row.
        return None
    found = table.columns_like(sample, parts.extents, parts.scalars(), parts.payloads)
    if found is None:
        return None
    pieces = [*found.pieces, parts.packed(found.extents), found.number]
    binary = pa.large_binary()
    as_column = [piece if isinstance(piece, pa.Array) else pa.scalar(bytes(piece), binary) for piece in pieces]
    joined = pc.binary_join_element_wise(*as_column, pa.scalar(b"", binary))
    magic = sample_spec.SAMPLE_MAGIC
    if pc.any(pc.equal(pc.binary_slice(joined, 0, len(magic)), pa.scalar(magic, binary))).as_py():
        return None
    _, offsets, data = joined.buffers()
    memory = memoryview(data)
    bounds = np.frombuffer(offsets, np.int64, len(joined) + 1, joined.offset * 8).tolist()
    return [bytes(memory[start:stop]) for start, stop in pairwise(bounds)]


class _Parts:
    """What the samples of a group are made of, in the order of their schema.

    Attributes:
        extents: Of each payload: a length [n] of texts, an int of arrays.
        payloads: Columns of bytes.
    """

    def __init__(self, num_rows: int) -> None:
        self._num_rows = num_rows
        self._numbers: list[NDArray[np.int64]] = []
        self.extents: list[Any] = []
        self.payloads: list[pyarrow.Array] = []

    def add(self, array: pyarrow.Array) -> None:
        """Add a column, whose values are all null or none is.

        Raises:
            pyarrow.ArrowInvalid: If text is not UTF-8.
            OverflowError: If a text is longer than bound samples may have it.
        """
        import pyarrow.types as types

        kind = array.type
        if array.null_count == len(array):
            return
        if types.is_struct(kind):
            for part in array.flatten():
                self.add(_stored(part))
        elif _is_text(kind):
            self._add_text(array)
        elif _is_list(kind):
            self._add_lists(array.flatten())
        else:
            self._add_numbers(array.to_numpy(zero_copy_only=False))

    def _add_numbers(self, values: NDArray[Any]) -> None:
        if values.dtype == np.float64:
            self._numbers.append(values.view(np.int64))
        elif values.dtype in (np.int64, np.bool_):
            self._numbers.append(values.astype(np.int64, copy=False))
        else:
            self.payloads.append(self._fixed(values))

    def _add_text(self, array: pyarrow.Array) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        array.validate(full=True)
        lengths = pc.binary_length(array).to_numpy(zero_copy_only=False)
        if int(lengths.max()) > _MAX_LENGTH:
            raise OverflowError(f"a text of {lengths.max()} bytes")
        self.extents.append(lengths)
        self.payloads.append(array.cast(pa.large_binary()))

    def _add_lists(self, values: pyarrow.Array) -> None:
        """Add lists of one length, given their values end to end."""
        length = len(values) // self._num_rows
        if _is_text(values.type):
            for number in range(length):
                self._add_text(values.take(np.arange(number, len(values), length)))
            return
        self.extents.append(length)
        self.payloads.append(self._fixed(values.to_numpy(zero_copy_only=False)))

    def scalars(self) -> pyarrow.Array:
        """Return the numbers of each row, 8 bytes each."""
        return self._fixed(np.stack(self._numbers, axis=1) if self._numbers else np.empty(0, np.int64))

    def packed(self, extents: tuple[Any, ...]) -> pyarrow.Array:
        """Return some extents of each row, 4 bytes each."""
        found = np.empty((self._num_rows, len(extents)), "<u4")
        for number, extent in enumerate(extents):
            found[:, number] = extent
        return self._fixed(found)

    def _fixed(self, values: NDArray[Any]) -> pyarrow.Array:
        """Return the memory of an array as equally many bytes for each row."""
        import pyarrow as pa

        data = np.ascontiguousarray(values)
        offsets = np.arange(self._num_rows + 1, dtype=np.int64) * (data.nbytes // self._num_rows)
        memory = pa.py_buffer(data.tobytes())
        return pa.Array.from_buffers(pa.large_binary(), self._num_rows, [None, pa.py_buffer(offsets), memory])


def _alike(columns: list[pyarrow.Array]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first row of each group, and the group of each row."""
    patterns = [pattern for column in columns for pattern in _patterns(column) if (pattern != pattern[0]).any()]
    if not patterns:
        return np.zeros(1, np.intp), np.zeros(len(columns[0]), np.intp)
    _, first, group_of = np.unique(np.stack(patterns, axis=1), axis=0, return_index=True, return_inverse=True)
    return first, group_of.reshape(-1)


def _patterns(array: pyarrow.Array) -> Iterator[NDArray[np.int64]]:
    """Yield what decides about the structure of rows: [n] each."""
    import pyarrow.compute as pc
    from pyarrow import types

    yield array.is_null().to_numpy(zero_copy_only=False).astype(np.int64)
    if types.is_struct(array.type):
        for part in array.flatten():
            yield from _patterns(_stored(part))
    elif _is_list(array.type):
        yield pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)


def _stored(array: pyarrow.Array) -> pyarrow.Array:
    import pyarrow as pa

    array = array.storage if isinstance(array.type, pa.BaseExtensionType) else array
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _is_usual(array: pyarrow.Array) -> bool:
    import pyarrow.compute as pc
    from pyarrow import types

    kind = array.type
    if types.is_struct(kind):
        names = [field.name for field in kind]
        parts = dict(zip(names, map(_stored, array.flatten()), strict=True))
        if len(parts) < len(names) or not all(map(_is_usual, parts.values())):
            return False
        # One that names a file and does not hold it is refused with its row.
        return (
            set(names) != {"bytes", "path"}
            or not pc.any(pc.and_(pc.is_null(parts["bytes"]), pc.is_valid(parts["path"]))).as_py()
        )
    if _is_list(kind):
        values = array.flatten()
        return not values.null_count and (_is_text(values.type) or _is_number(values.type))
    return _is_text(kind) or _is_number(kind) or types.is_null(kind)


def _is_text(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    tests = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return types.is_fixed_size_binary(kind) or any(test(kind) for test in tests)


def _is_number(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _is_list(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))
