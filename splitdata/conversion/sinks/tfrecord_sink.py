"""TFRecord: records of bytes as payloads, each with both checksums.

A sample is no payload: what TensorFlow makes of one, a `tf.train.Example`, has neither text nor most numbers.

    | u64 length | u32 masked crc32c of the length | payload | u32 masked crc32c of the payload | ...
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from splitdata.conversion.sinks.sink import ExportedRecord, refuse
from splitdata.conversion.sources.records.crc32c import crc32c, masked_crc

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TFRecordSink"]

_FORM = "TFRecord"


class TFRecordSink:
    """Writes one file."""

    def __init__(self, path: Path, codec: str | None) -> None:
        """Take its path, and the codec of the records."""
        self._file = path.open("xb", buffering=1 << 20)

    def write(self, record: ExportedRecord) -> None:
        """Write one payload."""
        data = record.value
        if not isinstance(data, bytes):
            refuse(record, None, data, _FORM, "column=NAME (--column NAME) takes one field of bytes of each sample")
        length = struct.pack("<Q", len(data))
        self._file.write(length + struct.pack("<I", masked_crc(crc32c(length))))
        self._file.write(data)
        self._file.write(struct.pack("<I", masked_crc(crc32c(data))))

    def finish(self) -> None:
        """Write what is left."""
        self._file.close()

    close = finish
