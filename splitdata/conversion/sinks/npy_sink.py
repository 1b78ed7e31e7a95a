"""npy and npz: all samples of one shape and data type as the rows of one array, or of one for each field.

The number of rows is written last, over its place in the header.

    arrays float32[3], n of them               ──> DEST.npy: shape (n, 3)
    {"x": float32[3], "y": int64 scalar}       ──> DEST.npz: x (n, 3), y (n,)
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from splitdata.conversion.sinks.sink import ExportedRecord, fields_of, refuse

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NpySink", "NpzSink"]

_FORM = "npy"


class _GrowingArray:
    """One array that grows by a row at a time."""

    def __init__(self, file: IO[bytes], first: np.ndarray[Any, Any] | np.generic) -> None:
        self._file = file
        self.dtype, self.shape = first.dtype, first.shape
        self.num_rows = 0
        self._begin = len(self._header(0))
        file.write(self._header(0))

    def _header(self, num_rows: int) -> bytes:
        output = io.BytesIO()
        shape = (num_rows, *self.shape)
        np.lib.format.write_array_header_1_0(
            output, {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        )
        # numpy leaves room in a header for a number of rows that grows.
        return output.getvalue()

    def add(self, record: ExportedRecord, field: str | None, value: Any) -> None:
        if not isinstance(value, (np.ndarray, np.generic)):
            refuse(record, field, value, _FORM, "it takes arrays and numpy's scalars")
        if (value.dtype, value.shape) != (self.dtype, self.shape) or value.dtype.hasobject:
            refuse(record, field, value, _FORM, f"the first was {self.dtype}{list(self.shape)}")
        self._file.write(value.tobytes())
        self.num_rows += 1

    def finish(self) -> None:
        header = self._header(self.num_rows)
        if len(header) != self._begin:  # pragma: no cover - numpy's room is for 21 digits
            raise ValueError("the header of the npy file has no room for the number of rows")
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()


def _first_of(record: ExportedRecord, field: str | None, value: Any) -> np.ndarray[Any, Any] | np.generic:
    if not isinstance(value, (np.ndarray, np.generic)):
        refuse(record, field, value, _FORM, "it takes arrays and numpy's scalars")
    return value


class NpySink:
    """Writes one array."""

    def __init__(self, path: Path, codec: str | None) -> None:
        """Take the path of the file; arrays are those of the codec "npy", or samples that are arrays."""
        self._file = path.open("xb", buffering=1 << 20)
        self._rows: _GrowingArray | None = None

    def write(self, record: ExportedRecord) -> None:
        """Write one row."""
        if self._rows is None:
            if isinstance(record.value, dict):
                refuse(record, None, record.value, _FORM, "samples with fields go into DEST.npz")
            self._rows = _GrowingArray(self._file, _first_of(record, None, record.value))
        self._rows.add(record, None, record.value)

    def finish(self) -> None:
        """Write the header."""
        if self._rows is None:
            self.close()
            raise ValueError("a dataset without records has no shape that an npy file could have")
        self._rows.finish()
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class NpzSink:
    """Writes an array for each field, into files beside each other and then into one archive."""

    def __init__(self, path: Path, codec: str | None) -> None:
        """Take the path of the file."""
        self._path = path
        self._columns: dict[str, _GrowingArray] = {}
        self._files: dict[str, IO[bytes]] = {}

    def write(self, record: ExportedRecord) -> None:
        """Write one row of each array."""
        fields = fields_of(record, _FORM)
        if not self._columns:
            for name, value in fields.items():
                first = _first_of(record, name, value)
                opened = tempfile.TemporaryFile(dir=self._path.parent, prefix=".splitdata-")  # noqa: SIM115 - `close` does
                self._files[name] = opened
                self._columns[name] = _GrowingArray(self._files[name], first)
        if fields.keys() != self._columns.keys():
            refuse(record, None, record.value, _FORM, f"its fields are not {', '.join(self._columns)}")
        for name, value in fields.items():
            self._columns[name].add(record, name, value)

    def finish(self) -> None:
        """Put all arrays into the archive."""
        if not self._columns:
            raise ValueError("a dataset without records has no fields that an npz file could have")
        with zipfile.ZipFile(self._path, "x", allowZip64=True) as archive:
            for name, rows in self._columns.items():
                rows.finish()
                self._files[name].seek(0)
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    shutil.copyfileobj(self._files[name], member, 1 << 20)
        self.close()

    def close(self) -> None:
        """Remove what lies beside the archive."""
        for file in self._files.values():
            file.close()
