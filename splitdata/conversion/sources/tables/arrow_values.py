"""Columns of Arrow as the values of samples, their types kept.

A value never depends on the rows around it.

    int64, double, bool, string, binary      int, float, bool, str, bytes
    other numbers, timestamps, durations     numpy scalars of their data type
    lists of numbers                         arrays            other lists   lists
    struct                                   dict              null          None
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from splitdata.errors import SourceError

if TYPE_CHECKING:
    import pyarrow

__all__ = ["import_pyarrow", "rows_of", "values_of"]


def import_pyarrow(wanted_by: str) -> Any:
    """Return the package pyarrow, with the parts that are used here loaded.

    Raises:
        ModuleNotFoundError: If it is not installed; the message has the command.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        message = f"{wanted_by} needs pyarrow: pip install 'splitdata[parquet]'"
        raise ModuleNotFoundError(message, name="pyarrow") from error
    return pyarrow


def rows_of(batch: pyarrow.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a batch as samples.

    Raises:
        SourceError: If a column is of a type that samples do not have, or two have one name.
    """
    names = _distinct(batch.schema.names, "the table")
    columns = [values_of(column, name) for name, column in zip(names, batch.columns, strict=True)]
    if not columns:
        raise SourceError("a table without columns has nothing to convert")
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def values_of(array: pyarrow.Array, name: str) -> list[Any]:
    """Return the values of one column; raises as `rows_of` does."""
    import pyarrow as pa

    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.null_count == len(array):
        return [None] * len(array)
    values = _values(array, name)
    if not array.null_count:
        return values
    is_null = array.is_null().to_pylist()
    return [None if gone else value for gone, value in zip(is_null, values, strict=True)]


def _values(array: pyarrow.Array, name: str) -> list[Any]:
    """Return the values, anything where they are null."""
    import pyarrow as pa

    types, kind = pa.types, array.type
    if _is_plain(kind) or types.is_date32(kind) or (types.is_timestamp(kind) and kind.tz and kind.unit != "ns"):
        values: list[Any] = array.to_pylist()
        return values
    if _is_number(kind):
        return list(array.fill_null(0).to_numpy(zero_copy_only=False))
    if (types.is_timestamp(kind) and not kind.tz) or types.is_duration(kind):
        return list(array.to_numpy(zero_copy_only=False))
    if types.is_struct(kind):
        return _structs(array, name)
    if types.is_fixed_size_list(kind):
        size = kind.list_size
        inner = array.values.slice(array.offset * size, len(array) * size)
        return _cut(inner, [number * size for number in range(len(array) + 1)], name)
    if types.is_list(kind) or types.is_large_list(kind):
        offsets = array.offsets.to_numpy().tolist()
        inner = array.values.slice(offsets[0], offsets[-1] - offsets[0])
        return _cut(inner, [offset - offsets[0] for offset in offsets], name)
    raise SourceError(
        f"the column {name} is of the type {kind}, which samples do not have: cast it, or take another with "
        "column=NAME (--column)"
    )


def _structs(array: pyarrow.StructArray, name: str) -> list[dict[str, Any]]:
    names = _distinct([field.name for field in array.type], f"the column {name}")
    # Unlike `field`, this applies the offset; what is null outside is None there as well.
    parts = [values_of(part, f"{name}.{inner}") for inner, part in zip(names, array.flatten(), strict=True)]
    if set(names) == {"bytes", "path"}:
        content, paths = parts[names.index("bytes")], parts[names.index("path")]
        for data, path in zip(content, paths, strict=True):
            if data is None and path is not None:
                raise SourceError(
                    f"the column {name} only names the file {path!r} and does not hold its bytes; embed them where the "
                    "table is written, as save_to_disk and push_to_hub do"
                )
    return [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)] if parts else [{}] * len(array)


def _cut(values: pyarrow.Array, bounds: list[int], name: str) -> list[Any]:
    """Return the lists that end at each bound but the first: arrays of numbers, lists of what else there is.

    A list with a null in it is no array, whatever the others are: no row depends on those around it.
    """
    from pyarrow import types

    kind = values.type
    if not (_is_number(kind) or _is_int64_or_double(kind) or types.is_boolean(kind)):
        inner = values_of(values, name)
        return [inner[start:stop] for start, stop in pairwise(bounds)]
    array = values.fill_null(False if types.is_boolean(kind) else 0).to_numpy(zero_copy_only=False)
    if not values.null_count:
        return [array[start:stop] for start, stop in pairwise(bounds)]
    is_null, inner = values.is_null().to_numpy(zero_copy_only=False), values_of(values, name)
    return [inner[start:stop] if is_null[start:stop].any() else array[start:stop] for start, stop in pairwise(bounds)]


def _is_plain(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    tests = (types.is_boolean, types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    more = (types.is_fixed_size_binary, types.is_null, types.is_string_view, types.is_binary_view)
    return _is_int64_or_double(kind) or any(test(kind) for test in (*tests, *more))


def _is_int64_or_double(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_int64(kind) or types.is_float64(kind))


def _is_number(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind) or types.is_floating(kind)) and not _is_int64_or_double(kind)


def _distinct(names: list[str], where: str) -> list[str]:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SourceError(f"{where} has two fields of the name {twice}, and a sample has one of each name")
    return names
