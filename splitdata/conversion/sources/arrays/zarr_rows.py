"""Zarr stores: each row of all arrays of a group together is a sample, or of one of them.

A store whose arrays are pickled, or coded by what is not known here, is refused before the library opens it. A chunk
that is not there stands for the fill value, by the format: so nothing tells a store that has lost chunks.

    group/  x (n, 3)  labels/y (n,)   ──>   n samples: {"x": array of shape (3,), "labels/y": scalar}
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitdata._extras import load_extra
from splitdata._shown import shown
from splitdata.conversion.sources.arrays.array_rows import (
    StoredArray,
    check_rows,
    chosen_arrays,
    row_bytes,
    rows_of_slabs,
    slabs_of,
)
from splitdata.conversion.sources.files.file_folder import FolderSource
from splitdata.conversion.sources.numbered import NumberedSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ZarrSource"]

_MARKS: Final = (".zarray", ".zgroup", ".zmetadata", "zarr.json")
_MAX_METADATA_BYTES: Final = 1 << 26
_CODED_BY: Final = ("codecs", "compressor", "filters", "index_codecs")
_CODECS: Final = frozenset(
    {"adler32", "astype", "bitround", "blosc", "bytes", "bz2", "crc32", "crc32c", "delta", "fixedscaleoffset"}
    | {"fletcher32", "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits", "quantize", "sharding_indexed", "shuffle"}
    | {"transpose", "vlen-bytes", "vlen-utf8", "zlib", "zstd"}
)


class ZarrSource(NumberedSource):
    """The rows of a store that lies in a folder."""

    kind = "zarr"

    def __init__(self, path: str, column: str | None = None) -> None:
        """Take the folder, and the array whose rows are the samples; None for all together.

        Raises:
            FileNotFoundError, NotADirectoryError: If there is no such folder.
            ModuleNotFoundError: If zarr is not installed.
        """
        super().__init__()
        self._files = FolderSource(path)
        self.shown, self.path = path, self._files.path
        load_extra("zarr", "zarr", f"reading {path}")
        self._column = None if column is None else column.strip("/")

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self._files.name

    @property
    def inputs(self) -> list[str]:
        """The path of the folder."""
        return [self.path]

    @property
    def num_bytes(self) -> int:
        """Size of the files in it; the first time this looks at each of them."""
        return self._files.num_bytes

    def identity(self) -> str:
        """Return kind and name."""
        return f"{self.kind} {self.name}"

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the files from changed ones, and the array that is taken."""
        return self._files.state(with_times=with_times) | {"column": self._column}

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
            self._bytes_read = self.num_bytes * stop // num_rows

    @contextmanager
    def _arrays(self) -> Iterator[dict[str, StoredArray]]:
        """Open the store and yield the arrays whose rows are the samples."""
        zarr = load_extra("zarr", "zarr", f"reading {self.shown}")
        with self._named():
            _check_codecs(Path(self.path))
            try:
                opened = zarr.open(self.path, mode="r")
                if isinstance(opened, zarr.Array):
                    found = {self.name: opened}
                    names = [self.name]
                    self._column = self._column or self.name
                else:
                    members = dict(opened.members(max_depth=None))
                    found = {name: item for name, item in sorted(members.items()) if isinstance(item, zarr.Array)}
                    names = chosen_arrays({name: item.shape for name, item in found.items()}, self._column)
                yield {name: _stored(name, found[name]) for name in names}
            # Damage of metadata and chunks is whatever the codec raises.
            except Exception as error:
                if isinstance(error, SourceError) or (isinstance(error, OSError) and error.errno is not None):
                    raise
                raise SourceError(f"cannot be read as Zarr: {type(error).__name__}: {error}") from error


def _stored(name: str, item: Any) -> StoredArray:
    """Return an array as rows; SourceError if it has none."""
    # Of texts of any length the codecs have been checked: none of them is pickle.
    is_ragged = item.dtype.hasobject or item.dtype.kind == "T"
    if not is_ragged:
        check_rows(f"its array {name}", item.dtype, item.shape)
    elif len(item.shape) != 1:
        raise SourceError(f"has an array {name} of texts with {len(item.shape)} axes; one is read")
    return StoredArray(
        item.shape,
        0 if is_ragged else row_bytes(item.dtype, item.shape),
        (getattr(item, "shards", None) or item.chunks)[0],
        lambda start, stop: item[start:stop],
    )


def _check_codecs(folder: Path) -> None:
    """Raise unless all metadata of a store name codecs that run nothing, and no link leads out of it."""
    for parent, folders, files in folder.walk() if hasattr(folder, "walk") else _walk(folder):
        for name in (*folders, *files):
            if (parent / name).is_symlink():
                raise SourceError(f"has a symbolic link {name} in it, which is not followed")
        for name in sorted({*files} & {*_MARKS}):
            with (parent / name).open("rb") as file:
                text = file.read(_MAX_METADATA_BYTES + 1)
            try:
                if len(text) > _MAX_METADATA_BYTES:
                    raise ValueError(f"more than {_MAX_METADATA_BYTES} bytes")
                _check_metadata(json.loads(text), f"{(parent / name).relative_to(folder)}")
            except SourceError:
                raise
            except (ValueError, RecursionError) as error:
                raise SourceError(f"has metadata in {name} that are damaged: {error}") from None


def _walk(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    import os

    for parent, folders, files in os.walk(folder):
        yield Path(parent), folders, files


def _check_metadata(value: Any, where: str) -> None:
    if isinstance(value, list):
        for one in value:
            _check_metadata(one, where)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name in _CODED_BY:
                for codec in one if isinstance(one, list) else [one]:
                    _check_codec(codec, where)
            _check_metadata(one, where)


def _check_codec(codec: Any, where: str) -> None:
    if codec is None:
        return
    found = codec.get("id", codec.get("name")) if isinstance(codec, dict) else codec
    if not isinstance(found, str) or found.removeprefix("numcodecs.") not in _CODECS:
        why = "which is not known here" if found != "pickle" else "and to unpickle runs what the file says"
        raise SourceError(f"is coded by {shown(found)}, by {where}, {why}: write it again with another codec")
