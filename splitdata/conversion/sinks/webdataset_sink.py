"""WebDataset shards: a file in a tar for each field of a sample, named by the key and the field.

Bytes go out under the names of their fields, so that they come back as they are. Other types get a suffix that says
what they are, as WebDataset's own decoders take it; `values_of_suffixes` as --transform reads them back.

    key 1, {"png": bytes}                      ──> 1.png
    key 1, {"label": 7, "x": array}            ──> 1.label.cls  1.x.npy
    without a key                              ──> 000000001.png
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sinks.json_line_sink import json_of
from splitdata.conversion.sinks.safe_paths import parts_of_key
from splitdata.conversion.sinks.sink import ExportedRecord, fields_of, refuse
from splitdata.samples.record_codecs import record_codec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["WebDatasetSink", "values_of_suffixes"]

_FORM: Final = "WebDataset"
_SHARD_RECORDS: Final = 10_000
_SHARD_BYTES: Final = 1 << 30
_FIELD: Final = re.compile(r"[a-z0-9_\-]+(\.[a-z0-9_\-]+)*")
# Behind the name of a field that is not bytes.
_TYPES: Final = ("cls", "txt", "json", "npy")


class WebDatasetSink:
    """Writes one archive, or shards of 10,000 samples or 1 GiB into a folder."""

    def __init__(self, path: Path, codec: str | None, *, is_one: bool) -> None:
        """Take the path of the archive or the folder, and which it is."""
        self._path = path
        self._is_one = is_one
        self._tar: tarfile.TarFile | None = None
        self._num_shards = self._num_records = 0

    def write(self, record: ExportedRecord) -> None:
        """Write the files of one sample."""
        key = f"{record.position:09d}" if record.key is None else record.key
        has_dot = "." in key.rpartition("/")[2]
        if record.key is not None and (has_dot or any(part.startswith((".", "__")) for part in parts_of_key(key))):
            refuse(record, None, record.value, _FORM, f"the key {key!r} has a dot or is hidden, and would be cut there")
        files = [self._file_of(record, name, value) for name, value in fields_of(record, _FORM).items()]
        tar = self._opened()
        for suffix, data in files:
            member = tarfile.TarInfo(f"{key}.{suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        self._num_records += 1

    def _file_of(self, record: ExportedRecord, name: str, value: Any) -> tuple[str, bytes]:
        if not _FIELD.fullmatch(name):
            refuse(record, name, value, _FORM, "a field is a suffix: small letters, digits, - and _, dots in between")
        if type(value) is bytes:
            if name.rpartition(".")[1] and name.rpartition(".")[2] in _TYPES:
                refuse(record, name, value, _FORM, "its name would say another type")
            return name, value
        if type(value) is int:
            return f"{name}.cls", b"%d" % value
        if type(value) is str:
            return f"{name}.txt", value.encode("utf-8", "surrogatepass")
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return f"{name}.npy", record_codec("npy").encode(value)
        return f"{name}.json", json_of(record, name, value).encode()

    def _opened(self) -> tarfile.TarFile:
        if self._tar is not None and not self._is_one:
            is_full = self._num_records >= _SHARD_RECORDS or self._tar.offset >= _SHARD_BYTES
            if is_full:
                self._tar.close()
                self._tar, self._num_records = None, 0
        if self._tar is None:
            self._tar = self._new_shard()
        return self._tar

    def _new_shard(self) -> tarfile.TarFile:
        path = self._path
        if not self._is_one:
            path.mkdir(exist_ok=True)
            path = path / f"{self._num_shards:06d}.tar"
        self._num_shards += 1
        return tarfile.open(path, "x", format=tarfile.PAX_FORMAT)

    def finish(self) -> None:
        """Write the end of the last archive."""
        (self._tar or self._new_shard()).close()

    def close(self) -> None:
        """Close the archive."""
        if self._tar is not None:
            self._tar.close()


def values_of_suffixes(sample: dict[str, bytes]) -> dict[str, Any]:
    """Return a sample of a shard that an export has written with the types that it had; for `--transform`."""
    return dict(_value_of(name, data) for name, data in sample.items())


def _value_of(name: str, data: bytes) -> tuple[str, Any]:
    field, dot, kind = name.rpartition(".")
    if not dot or kind not in _TYPES:
        return name, data
    if kind == "npy":
        return field, record_codec("npy").decode(data, copy=True)
    text = data.decode("utf-8", "surrogatepass")
    return field, text if kind == "txt" else json.loads(text)
