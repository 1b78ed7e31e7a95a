"""Shards of MosaicML (MDS): a column for each field, with an encoding that keeps its type.

Columns lie in the order of their names; a value whose size is not fixed by its encoding has it before all values.

    index.json   shard.00000.mds: | u32 n | u32 offsets[n + 1] | JSON of the columns | sample | sample | ...
                                  sample: u32 size of each column of no fixed size, then the columns
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sinks.json_line_sink import json_of
from splitdata.conversion.sinks.sink import ExportedRecord, fields_of, refuse

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MdsSink"]

_FORM: Final = "MDS"
_SHARD_BYTES: Final = 64 << 20
# Of the data types that arrays and scalars may have, the code before an array.
_CODES: Final = {
    "uint8": 8,
    "int8": 9,
    "uint16": 16,
    "int16": 17,
    "float16": 18,
    "uint32": 32,
    "int32": 33,
    "float32": 34,
    "uint64": 64,
    "int64": 65,
    "float64": 66,
}


class MdsSink:
    """Writes a folder of shards."""

    def __init__(self, path: Path, codec: str | None) -> None:
        """Make the folder."""
        path.mkdir()
        self._path = path
        self._encodings: dict[str, str] | None = None
        self._samples: list[bytes] = []
        self._num_bytes = 0
        self._shards: list[dict[str, Any]] = []

    def begin_like(self, first: ExportedRecord) -> None:
        """Take the columns of a record that another shard has in front."""
        self._encodings = _encodings_of(first)

    def write(self, record: ExportedRecord) -> None:
        """Take one sample."""
        fields = fields_of(record, _FORM)
        if self._encodings is None:
            self._encodings = _encodings_of(record)
        if fields.keys() != self._encodings.keys():
            refuse(record, None, record.value, _FORM, f"its fields are not {', '.join(self._encodings)}")
        sizes, values = [], []
        for name, encoding in self._encodings.items():
            value = fields[name]
            if _encoding_of(record, name, value) != encoding:
                refuse(record, name, value, _FORM, f"the column is {encoding}")
            data = _encoded(record, name, encoding, value)
            values.append(data)
            if _size_of(encoding) is None:
                sizes.append(len(data))
        sample = struct.pack(f"<{len(sizes)}I", *sizes) + b"".join(values)
        if self._samples and self._num_bytes + len(sample) > _SHARD_BYTES:
            self._write_shard()
        self._samples.append(sample)
        self._num_bytes += len(sample) + 4

    def _write_shard(self) -> None:
        names = list(self._encodings or {})
        encodings = [self._encodings[name] for name in names] if self._encodings else []
        config = {
            "column_encodings": encodings,
            "column_names": names,
            "column_sizes": [_size_of(encoding) for encoding in encodings],
            "compression": None,
            "format": "mds",
            "hashes": [],
            "size_limit": _SHARD_BYTES,
            "version": 2,
        }
        about = json.dumps(config, sort_keys=True).encode()
        count = len(self._samples)
        begin = 4 + 4 * (count + 1) + len(about)
        offsets = begin + np.concatenate(([0], np.cumsum([len(sample) for sample in self._samples], dtype=np.int64)))
        if offsets[-1] >= 1 << 32:
            raise ValueError(f"a sample of {self._num_bytes} bytes is too large for a shard of MDS: 4 GiB is its limit")
        name = f"shard.{len(self._shards):05d}.mds"
        with (self._path / name).open("xb") as file:
            file.write(struct.pack("<I", count) + offsets.astype("<u4").tobytes() + about)
            file.writelines(self._samples)
        raw = {"basename": name, "bytes": int(offsets[-1]), "hashes": {}}
        self._shards.append(config | {"raw_data": raw, "samples": count, "zip_data": None})
        self._samples, self._num_bytes = [], 0

    def finish(self) -> None:
        """Write the last shard and the index."""
        if self._samples:
            self._write_shard()
        index = {"shards": self._shards, "version": 2}
        (self._path / "index.json").write_text(json.dumps(index, sort_keys=True), encoding="utf-8")

    def close(self) -> None:
        """No file is open between two records."""


def _encodings_of(record: ExportedRecord) -> dict[str, str]:
    fields = fields_of(record, _FORM)
    return {name: _encoding_of(record, name, fields[name]) for name in sorted(fields)}


def _encoding_of(record: ExportedRecord, name: str, value: Any) -> str:
    plain = {bytes: "bytes", str: "str", int: "int", float: "float64"}.get(type(value))
    if plain == "float64":
        refuse(record, name, value, _FORM, "it comes back as numpy's float64, which is taken")
    if plain is not None:
        return plain
    if isinstance(value, np.generic) and value.dtype.name in _CODES:
        return value.dtype.name
    if isinstance(value, np.ndarray) and value.dtype.name in _CODES and value.ndim and min(value.shape) > 0:
        return "ndarray"
    if isinstance(value, (dict, list, bool)) or value is None:
        json_of(record, name, value)
        return "json"
    refuse(record, name, value, _FORM)


def _size_of(encoding: str) -> int | None:
    if encoding == "int":
        return 8
    return np.dtype(encoding).itemsize if encoding in _CODES else None


def _encoded(record: ExportedRecord, name: str, encoding: str, value: Any) -> bytes:
    if encoding == "bytes":
        return bytes(value)
    if encoding == "str":
        return str(value).encode()
    if encoding == "int":
        if not -(1 << 63) <= value < 1 << 63:
            refuse(record, name, value, _FORM, "it has more than 64 bits")
        return struct.pack("<q", value)
    if encoding == "json":
        return json_of(record, name, value).encode()
    little = value.astype(value.dtype.newbyteorder("<"))
    return _header_of(value) + little.tobytes() if encoding == "ndarray" else bytes(little.tobytes())


def _header_of(array: np.ndarray[Any, Any]) -> bytes:
    """Return data type and shape: u8 code, u8 dimensions * 4 + log2 of the bytes of an extent, the extents."""
    power = next(power for power in range(4) if max(array.shape) < 1 << (8 << power))
    extents = np.array(array.shape, f"<u{1 << power}").tobytes()
    return bytes((_CODES[array.dtype.name], array.ndim << 2 | power)) + extents
