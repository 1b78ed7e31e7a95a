"""HDF5 files: each row of all data sets together is a sample, or of one of them.

Data sets are found by hard links alone, and are read from this file alone: what a file says lies in another one is
refused. Whole chunks are read at a time.

    /x (n, 3)   /labels/y (n,)   ──>   n samples: {"x": array of shape (3,), "labels/y": scalar}
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from splitdata._extras import load_extra
from splitdata.conversion.sources.arrays.array_rows import (
    StoredArray,
    check_rows,
    chosen_arrays,
    row_bytes,
    rows_of_slabs,
    slabs_of,
)
from splitdata.conversion.sources.numbered import NumberedFileSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Hdf5Source"]


class Hdf5Source(NumberedFileSource):
    """The rows of a file."""

    kind = "hdf5"

    def __init__(self, path: str, column: str | None = None) -> None:
        """Take a path, and the data set whose rows are the samples; None for all together.

        Raises:
            FileNotFoundError: If there is no such file.
            ModuleNotFoundError: If h5py is not installed.
        """
        super().__init__(path)
        load_extra("h5py", "hdf5", f"reading {path}")
        self._column = None if column is None else column.strip("/")

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one, and the data set that is taken."""
        return super().state(with_times=with_times) | {"column": self._column}

    def _known_count(self) -> int:
        with self._arrays() as arrays:
            return next(iter(arrays.values())).shape[0]

    def _samples(self, first: int) -> Iterator[Any]:
        with self._arrays() as arrays:
            yield from rows_of_slabs(self._counted(arrays, first), self._column)

    def _counted(self, arrays: dict[str, StoredArray], first: int) -> Iterator[dict[str, Any]]:
        num_rows = next(iter(arrays.values())).shape[0]
        for stop, slab in slabs_of(arrays, first):
            yield slab
            self._bytes_read = (self.num_bytes or 0) * stop // num_rows

    @contextmanager
    def _arrays(self) -> Iterator[dict[str, StoredArray]]:
        """Open the file and yield the arrays whose rows are the samples."""
        h5py = load_extra("h5py", "hdf5", f"reading {self.shown}")
        with self._named_damage(), h5py.File(self.path, "r", locking=False) as file:
            found: dict[str, Any] = {}

            def collect(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset):
                    found[name] = item

            file.visititems(collect)
            names = chosen_arrays({name: item.shape or () for name, item in found.items()}, self._column)
            yield {name: _stored(h5py, name, found[name]) for name in names}

    @contextmanager
    def _named_damage(self) -> Iterator[None]:
        with self._named():
            try:
                yield
            except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
                # What HDF5 finds has no number; what the system says has one.
                if isinstance(error, SourceError) or (isinstance(error, OSError) and error.errno is not None):
                    raise
                raise SourceError(f"cannot be read as HDF5: {error}") from error


def _stored(h5py: Any, name: str, item: Any) -> StoredArray:
    """Return a data set as rows; SourceError if it has none, or lies in another file."""
    if item.external or item.is_virtual:
        raise SourceError(f"has a data set {name} whose values lie in other files, which are not read")
    text = h5py.check_string_dtype(item.dtype)
    is_text = text is not None and text.encoding == "utf-8"
    # Texts and lists of any length: their own data type is one of objects.
    is_ragged = (text is not None and text.length is None) or h5py.check_vlen_dtype(item.dtype) is not None
    if not is_ragged:
        check_rows(f"its data set {name}", item.dtype, item.shape or ())
    elif len(item.shape) != 1:
        raise SourceError(f"has a data set {name} of texts or lists with {len(item.shape)} axes; one is read")
    read = item.asstr() if is_text and is_ragged else item
    return StoredArray(
        item.shape,
        0 if is_ragged else row_bytes(item.dtype, item.shape),
        item.chunks[0] if item.chunks else 1,
        lambda start, stop: read[start:stop],
    )
