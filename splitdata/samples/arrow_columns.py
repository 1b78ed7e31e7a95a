"""Samples as columns of Arrow: what lies together in memory is taken as it is, everything else value by value.

A part of the samples is decoded at a time, so that its memory is that of the table and a little more.

    numbers [n]                  int64, float, ...                      the memory of the batch, not a copy (but bools)
    arrays [n, 3, 4]             fixed_size_list[fixed_size_list]       the same
    arrays of several lengths    list                                   one copy
    texts, bytes, None, dicts    string, binary, null, struct
    samples that are no dicts    one column, "value"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from splitdata.errors import FormatError

if TYPE_CHECKING:
    import pyarrow
    from numpy.typing import NDArray

__all__ = ["table_of"]

_WHOLE: Final = "value"
# Rows of a part of the table: so many samples are decoded at a time.
_ROWS: Final = 1024


class _Samples(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...
    def __getitems__(self, indices: NDArray[np.int64], /) -> list[Any]: ...
    def gather(self, indices: NDArray[np.int64], /) -> Any: ...


def table_of(samples: _Samples, names: Sequence[str] | None) -> pyarrow.Table:
    """Return samples as a table; arguments and errors as of `SampleDataset.to_arrow`."""
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        message = "to_arrow needs pyarrow: pip install 'splitdata[parquet]'"
        raise ModuleNotFoundError(message, name="pyarrow") from error
    tables = []
    for start in range(0, len(samples), _ROWS):
        columns = _columns(samples, np.arange(start, min(start + _ROWS, len(samples))), names)
        tables.append(pyarrow.table({name: _named_array(name, values) for name, values in columns.items()}))
    return pyarrow.concat_tables(tables or [pyarrow.table({})], promote_options="permissive")


def _columns(samples: _Samples, positions: NDArray[np.int64], names: Sequence[str] | None) -> dict[str, Any]:
    """Return fields of samples, each an array [n, ...] or a list of n values."""
    first = _selected(samples[int(positions[0])], names)
    # Of lists and dicts a batch is another nesting.
    if all(isinstance(value, (np.ndarray, np.generic, bool, int, float, str, bytes)) for value in first.values()):
        try:
            return _selected(samples.gather(positions), names)
        except FormatError:
            raise
        except (ValueError, TypeError):
            # Samples of several structures or shapes.
            pass
    rows = [_selected(sample, names) for sample in samples.__getitems__(positions)]
    columns = first if names is not None else dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in columns}


def _selected(sample: Any, names: Sequence[str] | None) -> dict[str, Any]:
    """Return fields of a sample, or of a batch of samples.

    Raises:
        KeyError: There is no such field; the message has those that there are.
    """
    fields: Mapping[str, Any] = sample if isinstance(sample, Mapping) else {_WHOLE: sample}
    missing = [] if names is None else [name for name in names if name not in fields]
    if missing:
        raise KeyError(f"there is no column {missing[0]!r}: there are {', '.join(map(repr, fields))}")
    return {str(name): fields[name] for name in (fields if names is None else names)}


def _named_array(name: str, values: Any) -> pyarrow.Array:
    """Return a column; TypeError if Arrow has no type for it."""
    import pyarrow

    try:
        return _array(values)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise TypeError(f"the column {name!r} does not fit into Arrow: {error}") from None


def _array(values: Any) -> pyarrow.Array:
    import pyarrow

    if hasattr(values, "numpy"):
        values = values.numpy()
    if isinstance(values, np.ndarray):
        return _of_array(values)
    values = [value.numpy() if hasattr(value, "numpy") else value for value in values]
    if values and all(isinstance(value, np.ndarray) and value.ndim for value in values):
        return _of_arrays(values)
    if values and all(isinstance(value, Mapping) for value in values):
        names = dict.fromkeys(name for value in values for name in value)
        return pyarrow.StructArray.from_arrays(
            [_array([value.get(name) for value in values]) for name in names], [str(name) for name in names]
        )
    return pyarrow.array([value.item() if isinstance(value, np.ndarray) else value for value in values])


def _of_array(values: NDArray[Any]) -> pyarrow.Array:
    """Return rows of one shape: the memory as it is, cut into lists of a fixed length from the innermost on."""
    import pyarrow

    array = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
    for length in values.shape[:0:-1]:
        array = pyarrow.FixedSizeListArray.from_arrays(array, length)
    return array


def _of_arrays(values: list[NDArray[Any]]) -> pyarrow.Array:
    """Return arrays as lists, of a fixed length if all have one shape."""
    import pyarrow

    if len({(value.shape, value.dtype) for value in values}) == 1:
        return _of_array(np.stack(values))
    if len({(value.shape[1:], value.dtype) for value in values}) > 1:
        return pyarrow.array([value.tolist() for value in values])
    offsets = np.cumsum([0, *map(len, values)])
    return pyarrow.LargeListArray.from_arrays(pyarrow.array(offsets), _of_array(np.concatenate(values)))
