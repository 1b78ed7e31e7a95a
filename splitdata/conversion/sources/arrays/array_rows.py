"""Rows of arrays that lie in a file: what is refused before any is read, and how many are read at a time.

Nothing is read of an array before its type and shape are known to be those of samples.

    shape (n, a, b, ...)  ──>  n rows of shape (a, b, ...)      several arrays: {"name": row, ...}, all of one n
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from splitdata.conversion.sources.numbered import MAX_SAMPLE_BYTES
from splitdata.errors import FormatError, RecordTooLargeError, SourceError
from splitdata.samples.extents import check_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np

__all__ = ["StoredArray", "check_rows", "chosen_arrays", "row_bytes", "rows_at_once", "rows_of_slabs", "slabs_of"]

_SLAB_BYTES: Final = 8 << 20
_MAX_ROWS: Final = 1 << 16
# Of a chunk, which is decompressed whole in any case: rows of larger ones are read in pieces.
_MAX_CHUNK_BYTES: Final = 256 << 20
_RAGGED_ROWS: Final = 256


class StoredArray(NamedTuple):
    """An array that a library reads.

    Attributes:
        shape: Of it.
        row_bytes: Of a row; 0 where they differ.
        chunk_rows: So many rows are stored, and decompressed, together.
        read: Returns the rows from one up to another.
    """

    shape: tuple[int, ...]
    row_bytes: int
    chunk_rows: int
    read: Callable[[int, int], Any]


def row_bytes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Return how many bytes a row has."""
    return dtype.itemsize * prod(shape[1:])


def rows_at_once(num_bytes: int) -> int:
    """Return how many rows of so many bytes are read at a time."""
    return max(1, min(_MAX_ROWS, _SLAB_BYTES // max(1, num_bytes)))


def check_rows(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Refuse what has no rows that could be samples.

    Raises:
        SourceError: If it holds Python objects, is a single value, or claims more than its bytes could bound.
        RecordTooLargeError: If a row has more than 1 GiB.
    """
    if dtype.hasobject:
        raise SourceError(
            f"{name} holds Python objects, which are pickled: to read them would run what the file says; write it "
            "again with a plain data type"
        )
    if not shape:
        raise SourceError(f"{name} is a single value and has no rows")
    try:
        check_array(shape, dtype)
    except FormatError as error:
        raise SourceError(f"{name} holds {error}") from None
    size = row_bytes(dtype, shape)
    if size > MAX_SAMPLE_BYTES:
        raise RecordTooLargeError(f"{name} has rows of {size} bytes: 1 GiB is the limit")


def chosen_arrays(shapes: Mapping[str, tuple[int, ...]], column: str | None) -> list[str]:
    """Return the names of the arrays that make up the samples: one, or all, of equal length.

    Raises:
        SourceError: If there is none, or they have different numbers of rows.
    """
    if column is not None:
        if column not in shapes:
            raise SourceError(f"has no array {column!r}; it has {_listed(shapes)}")
        return [column]
    if not shapes:
        raise SourceError("holds no array")
    if len({shape[:1] for shape in shapes.values()}) > 1:
        raise SourceError(
            f"holds arrays of different numbers of rows: {_listed(shapes)}; take one with column=NAME (--column)"
        )
    return list(shapes)


def slabs_of(arrays: Mapping[str, StoredArray], first: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield slabs of arrays of equal length from a row on, whole chunks where these fit, and where each slab ends."""
    num_rows = next(iter(arrays.values())).shape[0]
    size = sum(array.row_bytes for array in arrays.values())
    step = rows_at_once(size) if all(array.row_bytes for array in arrays.values()) else _RAGGED_ROWS
    chunk_rows = max(array.chunk_rows for array in arrays.values())
    if chunk_rows > step and chunk_rows * size <= _MAX_CHUNK_BYTES:
        step = chunk_rows
    step = max(1, step // chunk_rows) * chunk_rows if step >= chunk_rows else step
    start = first
    while start < num_rows:
        stop = min(num_rows, (start // step + 1) * step)
        yield stop, {name: array.read(start, stop) for name, array in arrays.items()}
        start = stop


def rows_of_slabs(slabs: Iterable[Mapping[str, Any]], column: str | None) -> Iterator[Any]:
    """Yield the rows of slabs of several arrays: dicts by name, or of one array its rows alone."""
    for slab in slabs:
        if column is not None:
            yield from slab[column]
        else:
            for row in zip(*slab.values(), strict=True):
                yield dict(zip(slab, row, strict=True))


def _listed(shapes: Mapping[str, tuple[int, ...]]) -> str:
    listed = ", ".join(f"{name} {list(shape)}" for name, shape in list(shapes.items())[:20])
    return listed + (", ..." if len(shapes) > 20 else "")
