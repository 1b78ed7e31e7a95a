"""Folders that Hugging Face's `save_to_disk` wrote: each row of its Arrow files is a sample.

Old versions stored a mapping beside the rows, which is applied: rows are then taken from mapped files.

    state.json ──> data-00000-of-00002.arrow, data-00001-of-00002.arrow     their rows, end to end
               `─> indices.arrow  3 0 1 ...                                 row 3, row 0, row 1, ... of these
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitdata._local_path import local_path
from splitdata.conversion.sources.files.input_file import InputFile
from splitdata.conversion.sources.several import SeveralSources
from splitdata.conversion.sources.tables.arrow_tables import ArrowSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    import pyarrow

    from splitdata.conversion.sources.source import RecordSource

__all__ = ["huggingface_kind", "open_huggingface"]

_MAX_STATE_BYTES: Final = 1 << 24
_ROWS_AT_ONCE: Final = 1 << 10


def huggingface_kind(folder: Path) -> bool:
    """Say whether `save_to_disk` of the package datasets wrote a folder: a Dataset or a DatasetDict."""
    is_dataset = (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()
    return is_dataset or (folder / "dataset_dict.json").is_file()


def open_huggingface(path: str, column: str | None = None) -> RecordSource:
    """Return the rows of a folder that `save_to_disk` wrote.

    Raises:
        SourceError: If it is a DatasetDict of several splits, of which one has to be named, or what describes it
            is damaged.
        ModuleNotFoundError: If pyarrow is not installed.
    """
    folder = Path(local_path(path, "the source"))
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not splits or not all(map(_is_name, splits)):
            raise SourceError(f"{path}/dataset_dict.json is damaged: it names no splits", path=path)
        if len(splits) > 1:
            names = ", ".join(f"{path}/{split}" for split in splits)
            raise SourceError(
                f"{path} is a DatasetDict of {len(splits)} splits: name those that are meant, {names}; several are "
                "read one after another",
                path=path,
            )
        return open_huggingface(f"{path}/{splits[0]}", column)
    state = _json(folder / "state.json")
    data = _named_files(state, "_data_files", path)
    if not data:
        raise SourceError(f"{path}/state.json is damaged: it names no files of this folder", path=path)
    indices = [*_named_files(state, "_indices_data_files", path), *_named_files(state, "_indices_files", path)]
    if indices:
        return _MappedRows(data, indices, column, name=folder.resolve().name)
    return _HuggingFaceSource([ArrowSource(file, column) for file in data], name=folder.resolve().name)


def _named_files(state: dict[str, Any], name: str, path: str) -> list[str]:
    """Return the paths of the files that a state lists, none where it has no such list."""
    listed = state.get(name) or []
    found = [file.get("filename") if isinstance(file, dict) else None for file in listed]
    if not isinstance(listed, list) or not all(map(_is_name, found)):
        raise SourceError(f"{path}/state.json is damaged: it names no files of this folder", path=path)
    return [f"{path}/{file}" for file in found]


class _HuggingFaceSource(SeveralSources):
    """The files of one folder, end to end."""

    def __init__(self, parts: list[ArrowSource], *, name: str) -> None:
        super().__init__(parts, name=name)
        self.kind = "huggingface"


class _MappedRows(ArrowSource):
    """The rows of files in the order of a mapping; a few of them are in memory, all files are mapped."""

    kind = "huggingface"

    def __init__(self, data: list[str], indices: list[str], column: str | None, *, name: str) -> None:
        super().__init__(data[0], column)
        self._files = {"rows": [InputFile(path) for path in data], "indices": [InputFile(path) for path in indices]}
        self._folder = name

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self._folder

    @property
    def inputs(self) -> list[str]:
        """The paths of all files."""
        return [file.path for files in self._files.values() for file in files]

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(file.num_bytes or 0 for files in self._files.values() for file in files)

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the files from changed ones, and the column that is taken."""
        states = [file.state(with_times=with_times) for files in self._files.values() for file in files]
        return {"files": states, "column": self._column}

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the source itself: its rows are taken from all over the files."""
        yield self

    def _batches(self, first: int) -> Iterator[pyarrow.RecordBatch]:
        rows, mapping = self._table("rows"), self._table("indices")
        self._check_column(rows.schema.names)
        if mapping.schema.names != ["indices"] or not self._pyarrow.types.is_integer(mapping.schema.types[0]):
            raise SourceError("has a mapping beside it that is no column of indices: it is damaged")
        indices = mapping.column("indices")
        for start in range(first, len(indices), _ROWS_AT_ONCE):
            chosen = indices.slice(start, _ROWS_AT_ONCE).to_numpy()
            if not 0 <= int(chosen.min()) <= int(chosen.max()) < rows.num_rows:
                raise SourceError(f"has {rows.num_rows} rows, and its mapping names {chosen.max()}: it is damaged")
            yield from rows.take(chosen).combine_chunks().to_batches()
            self._bytes_read = self.num_bytes * min(len(indices), start + _ROWS_AT_ONCE) // len(indices)

    def _table(self, name: str) -> pyarrow.Table:
        tables = []
        for file in self._files[name]:
            with self._pyarrow.ipc.open_stream(self._pyarrow.memory_map(file.path)) as reader:
                tables.append(reader.read_all())
        table = self._pyarrow.concat_tables(tables)
        # Bytes of a file are not trusted: this checks every offset before it is used.
        table.validate(full=True)
        return table


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_STATE_BYTES).decode())
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is damaged: {error}", path=path) from None
    if not isinstance(found, dict):
        raise SourceError(f"{path} is damaged: it is no object", path=path)
    return found


def _is_name(name: object) -> bool:
    """Say whether a value from a file is the plain name of something in its folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0:")
