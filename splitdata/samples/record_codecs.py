"""The codecs of records, by the names that metadata have for them. docs/format/samples.md.

    "sample"   any nesting of arrays and values        "json"    one JSON value, UTF-8
    "text"     str, UTF-8                              "npy"     one array, as numpy.save writes it
    "bytes"    bytes

Of each: a value to the bytes of a record and back, and many records to one batch.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Protocol

import numpy as np

from splitdata._shown import shown
from splitdata.errors import FormatError, UnsupportedVersionError
from splitdata.samples.alignment import place_rightly
from splitdata.samples.bound_decode import BoundDecoder
from splitdata.samples.collate import collate
from splitdata.samples.decode import SampleDecoder, as_bytes_view
from splitdata.samples.dtypes import check_text, has_kind
from splitdata.samples.encode import encode_sample
from splitdata.samples.extents import check_array
from splitdata.samples.npy_header import npy_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from splitdata._types import BytesLike
    from splitdata.samples.collate import Allocate

__all__ = ["CODEC_NAMES", "RecordCodec", "record_codec"]

CODEC_NAMES: Final = ("sample", "text", "json", "npy", "bytes")


class RecordCodec(Protocol):
    """Turns values into the bytes of records and back; safe to share between threads."""

    @property
    def alignment(self) -> int:
        """The alignment at which arrays of records can be read in place; 1 if it does not matter."""

    def encode(self, value: Any) -> bytes:  # whatever the codec takes
        """Return the record of a value; TypeError or ValueError if it does not fit."""

    def decode(self, record: BytesLike | NDArray[Any], *, copy: bool = False) -> Any:
        """Return the value of a record, its arrays as views of it unless `copy`; FormatError if it is damaged."""

    def decode_batch(self, records: NDArray[np.uint8] | Sequence[BytesLike], allocate: Allocate = np.empty) -> Any:
        """Return the values of records as one batch, its arrays made by `allocate`.

        Raises:
            ValueError: They do not fit together.
            FormatError: One is damaged.
        """

    def with_schemas(self, schemas: Sequence[bytes]) -> RecordCodec:
        """Return the codec for records of segments that have these schemas, which only samples name."""


def record_codec(name: object, types: Iterable[type] = ()) -> RecordCodec:
    """Return the codec of a name.

    Args:
        name: As metadata have it.
        types: Namedtuples and dataclasses to be restored, by "sample".

    Raises:
        UnsupportedVersionError: If this version has no codec of that name.
        TypeError, ValueError: If `types` are invalid, as `SampleDecoder` says.
    """
    if name == "sample":
        return _SampleCodec(types)
    if isinstance(name, str) and name in _PLAIN:
        return _PLAIN[name]
    raise UnsupportedVersionError(
        f"records of the codec {shown(name)}, which this splitdata does not know (it knows {', '.join(CODEC_NAMES)}): "
        "install a newer one, or read them as bytes with SplitDataLoader"
    )


class _SampleCodec:
    alignment = 64

    def __init__(self, types: Iterable[type]) -> None:
        decoder = SampleDecoder(types)
        self.encode = encode_sample
        self.decode = decoder.decode
        self.decode_batch = decoder.decode_batch
        self._decoder = decoder

    def with_schemas(self, schemas: Sequence[bytes]) -> RecordCodec:
        return _BoundCodec(schemas, self._decoder) if schemas else self


class _BoundCodec(_SampleCodec):
    def __init__(self, schemas: Sequence[bytes], alone: SampleDecoder) -> None:
        bound = BoundDecoder(schemas, alone)
        self.encode = encode_sample
        self.decode = bound.decode
        self.decode_batch = bound.decode_batch
        self._decoder = alone


class _PlainCodec:
    def with_schemas(self, schemas: Sequence[bytes]) -> Any:
        return self


class _BytesCodec(_PlainCodec):
    alignment = 1

    def encode(self, value: object) -> bytes:
        if not isinstance(value, bytes):
            raise TypeError(f"a record of the codec bytes is made of bytes, not {type(value).__name__}")
        return value

    def decode(self, record: BytesLike | NDArray[Any], *, copy: bool = False) -> Any:
        return bytes(as_bytes_view(record))

    def decode_batch(self, records: NDArray[np.uint8] | Sequence[BytesLike], allocate: Allocate = np.empty) -> Any:
        raise ValueError("these records hold no arrays that would make a batch; read them as a list")


class _TextCodec(_BytesCodec):
    def encode(self, value: object) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"a record of the codec text is made of a str, not {type(value).__name__}")
        return value.encode()

    def decode(self, record: BytesLike | NDArray[Any], *, copy: bool = False) -> Any:
        try:
            return str(as_bytes_view(record), "utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(f"these bytes are no text: {error}") from None


class _JsonCodec(_BytesCodec):
    def encode(self, value: object) -> bytes:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    def decode(self, record: BytesLike | NDArray[Any], *, copy: bool = False) -> Any:
        try:
            return json.loads(str(as_bytes_view(record), "utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"these bytes are no JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


class _NpyCodec(_PlainCodec):
    alignment = 64

    def encode(self, value: object) -> bytes:
        if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.hasobject:
            what = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            raise TypeError(f"a record of the codec npy is made of an array without objects, not {what}")
        check_array(value.shape, value.dtype)
        output = io.BytesIO()
        np.lib.format.write_array(output, np.asarray(value), allow_pickle=False)
        return output.getvalue()

    def decode(self, record: BytesLike | NDArray[Any], *, copy: bool = False) -> Any:
        view = as_bytes_view(record)
        shape, is_fortran, dtype, start = npy_header(view)
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        try:
            array: NDArray[Any] = np.ndarray(shape, dtype, view, start, order=order)
        except (TypeError, ValueError, OverflowError, MemoryError) as error:
            raise FormatError(f"these {len(view)} bytes are no npy file: {error}") from None
        if start + array.nbytes != len(view):
            raise FormatError(f"an npy file of {start + array.nbytes} bytes has {len(view)} here")
        if has_kind(dtype, "U"):
            check_text(array)
        return array.copy(order) if copy else place_rightly(array)

    def decode_batch(self, records: NDArray[np.uint8] | Sequence[BytesLike], allocate: Allocate = np.empty) -> Any:
        arrays = [self.decode(record) for record in records]
        return collate(arrays, allocate=allocate)


_PLAIN: Final[dict[str, RecordCodec]] = {
    "text": _TextCodec(),
    "json": _JsonCodec(),
    "npy": _NpyCodec(),
    "bytes": _BytesCodec(),
}
