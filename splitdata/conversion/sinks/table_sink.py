"""Parquet, Arrow IPC, and folders as Hugging Face's `save_to_disk` writes them: samples as rows, their types kept.

A table says the types of its columns before its first row. A column that was all None for a batch, and then is not,
makes the export begin again, with what is known by then.

    samples ──a batch──> types joined ──> rows ──> DEST.parquet, DEST.arrow, DEST/data-00000-of-00001.arrow
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal

import xxhash

from splitdata.conversion.sinks.arrow_types import ArrowType, type_in_arrow
from splitdata.conversion.sinks.sink import ExportedRecord, fields_of, refuse
from splitdata.conversion.sources.tables.arrow_values import import_pyarrow

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TableSink", "WidenedError"]

_FORM: Final = "a table"
_BATCH_ROWS: Final = 1 << 13
_BATCH_BYTES: Final = 32 << 20


class WidenedError(Exception):
    """The types of columns are others than those of the rows which were written: begin again with these."""

    def __init__(self, types: dict[str, ArrowType]) -> None:
        super().__init__(types)
        self.types = types


class TableSink:
    """Writes one table."""

    def __init__(
        self,
        path: Path,
        codec: str | None,
        *,
        form: Literal["parquet", "arrow", "hf"],
        types: dict[str, ArrowType] | None = None,
    ) -> None:
        """Take the path of the file or folder, the codec, the format, and the types of columns that are known.

        Raises:
            ModuleNotFoundError: If pyarrow is not installed.
        """
        self._pyarrow = import_pyarrow(f"exporting to {form}")
        self._path = path
        self._form = form
        self._types = types
        self._rows: list[dict[str, Any]] = []
        self._num_bytes = 0
        self._writer: Any = None
        if form == "hf":
            path.mkdir()
            self._path = path / "data-00000-of-00001.arrow"

    def write(self, record: ExportedRecord) -> None:
        """Take one row."""
        fields = fields_of(record, _FORM)
        found = {name: type_in_arrow(record, name, value) for name, value in fields.items()}
        if self._types is None:
            self._types = found
        if found.keys() != self._types.keys():
            refuse(record, None, record.value, _FORM, f"its fields are not {', '.join(self._types)}")
        for name, kind in found.items():
            known = self._types[name]
            if known == kind:
                continue
            both = known.joined(kind)
            if both is None:
                refuse(record, name, fields[name], _FORM, f"the column is {known.in_arrow()}")
            self._types[name] = both
            if both != known and self._writer is not None:
                raise WidenedError(self._types)
        self._rows.append(dict(fields))
        self._num_bytes += sum(getattr(value, "nbytes", 0) or _length(value) for value in fields.values())
        if len(self._rows) >= _BATCH_ROWS or self._num_bytes >= _BATCH_BYTES:
            self._write_batch()

    def _write_batch(self) -> None:
        pa, types = self._pyarrow, self._types or {}
        schema = pa.schema([(name, kind.in_arrow()) for name, kind in types.items()])
        if self._writer is None:
            self._writer = self._opened(schema)
        columns = [pa.array([row[name] for row in self._rows], type=schema.field(name).type) for name in types]
        self._writer.write_batch(pa.record_batch(columns, schema=schema))
        self._rows, self._num_bytes = [], 0

    def _opened(self, schema: Any) -> Any:
        if self._form == "parquet":
            return self._pyarrow.parquet.ParquetWriter(str(self._path), schema, compression="zstd")
        new = self._pyarrow.ipc.new_file if self._form == "arrow" else self._pyarrow.ipc.new_stream
        return new(str(self._path), schema)

    def finish(self) -> None:
        """Write the last rows, and what describes the table."""
        if self._rows:
            self._write_batch()
        if self._writer is None:
            raise ValueError("a dataset without records has no columns that a table could have")
        self.close()
        if self._form == "hf":
            state: dict[str, Any] = {
                "_data_files": [{"filename": self._path.name}],
                "_fingerprint": xxhash.xxh3_64_hexdigest(self._path.stat().st_size.to_bytes(8, "little")),
                "_format_columns": None,
                "_format_kwargs": {},
                "_format_type": None,
                "_output_all_columns": False,
                "_split": None,
            }
            info = {"citation": "", "description": "", "homepage": "", "license": ""}
            (self._path.parent / "state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
            (self._path.parent / "dataset_info.json").write_text(json.dumps(info, indent=1), encoding="utf-8")

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _length(value: object) -> int:
    return len(value) if isinstance(value, (str, bytes, list, dict)) else 8
