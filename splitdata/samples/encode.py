"""A sample to bytes: one walk collects pieces of the schema, extents, scalars and payloads.

Most of the time goes into calling functions, so the usual parts of a dict are handled in its loop itself.

    {"image": uint8[32, 32, 3], "label": 7}

    schema    DICT 2 | "image" | ARRAY 3 "|u1" | "label" | INT ──joined──> Plan, from the cache
    extents   32, 32, 3     scalars 7     payloads [3072 bytes]      head | table | gap, payload | ...
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.samples import sample_spec
from splitdata.samples.conversions import conversion_of
from splitdata.samples.dtypes import text_bytes
from splitdata.samples.leaves import (
    ARRAY_PIECES,
    LARGE_BYTES,
    LEAVES,
    add_scalar,
    add_tensor,
    memory_of,
)
from splitdata.samples.output import UnfitError, remember, shown_key, type_name
from splitdata.samples.restore import fields_of, kind_of
from splitdata.samples.standing_alone import join_alone
from splitdata.samples.tensors import is_tensor_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata._types import BytesLike
    from splitdata.samples.output import Output

    # Takes a value, where it goes, and how many levels are around it.
    Encoder = Callable[[Any, Output, int], None]

__all__ = ["collect", "encode_sample", "encode_sample_parts"]

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
_NONE, _BOOL, _INT = bytes([sample_spec.KIND_NONE]), bytes([sample_spec.KIND_BOOL]), bytes([sample_spec.KIND_INT])
_FLOAT, _TEXT = bytes([sample_spec.KIND_FLOAT]), bytes([sample_spec.KIND_TEXT])
_ndarray: Final = np.ndarray
_INT_LIST, _FLOAT_LIST = bytes([sample_spec.KIND_INT_LIST]), bytes([sample_spec.KIND_FLOAT_LIST])
_MAX_DEPTH: Final = sample_spec.MAX_DEPTH
_NUM_DICTS: Final = 64
_DICTS: Final = [struct.pack("<BI", sample_spec.KIND_DICT, count) for count in range(_NUM_DICTS)]

# What is written of a key is worked out once.
_keys: Final[dict[Any, bytes]] = {}
_encoders: Final[dict[type, Encoder]] = {}


def encode_sample(sample: object) -> bytes:
    """Return a sample as bytes, from which `decode_sample` makes it again.

    A sample is a dict with keys of text or 64-bit integers, a list, tuple, namedtuple or dataclass, of
    these or of numpy arrays and scalars, dense torch tensors in the CPU's memory, bytes, str, int of any
    size, float, bool, None, datetime, date and timedelta; nested up to 64 levels.

    Equal samples with equal order of keys give equal bytes. Arrays are stored in C order whatever theirs
    is. A class that is derived from one of these is refused, as it would not come back: but for
    namedtuples, and numpy.memmap, which comes back as an array.

    Raises:
        TypeError: If a part is of another type. The message names its path, as ``sample["meta"][2]``.
        ValueError: If it is nested too deep, has more structure than 1 MiB can describe, or has a value
            that does not fit.
    """
    return b"".join(encode_sample_parts(sample))


def encode_sample_parts(sample: object) -> list[BytesLike]:
    """Return the buffers that joined are `encode_sample(sample)`; large arrays are not copied for it.

    They show the arrays' own memory: to be written before the arrays change.
    """
    schema, extents, scalars, payloads = collect(sample)
    if len(schema) > sample_spec.MAX_SCHEMA_BYTES:
        raise ValueError(
            f"the sample has so many parts that {len(schema)} bytes describe them, the limit is "
            f"{sample_spec.MAX_SCHEMA_BYTES}: put what is alike into arrays"
        )
    return join_alone(schema, extents, scalars, payloads)


def collect(sample: object) -> tuple[bytes, list[int], list[int | float], list[BytesLike]]:
    """Return the schema, extents, scalars and payloads of a sample; raises as `encode_sample`."""
    output: Output = [], [], [], []
    try:
        encoder = _encoders.get(type(sample)) or _find_encoder(sample)
        encoder(sample, output, 0)
    except UnfitError as unfit:
        raise unfit.as_error() from None
    pieces, extents, scalars, payloads = output
    return b"".join(pieces), extents, scalars, payloads


# -- containers ----------------------------------------------------------------------------------


def _add_dict(mapping: dict[Any, Any], output: Output, depth: int) -> None:
    if depth >= _MAX_DEPTH:
        raise _too_deep()
    schema, extents, scalars, payloads = output
    count = len(mapping)
    schema.append(_DICTS[count] if count < _NUM_DICTS else _dict_bytes(count))
    key = None
    try:
        for key, value in mapping.items():
            schema.append(_keys.get(key) or _key_bytes(key))
            cls = type(value)
            if cls is _ndarray and (known := ARRAY_PIECES.get(value.dtype)):
                shape = value.shape
                schema.append(known[len(shape)])
                extents += shape
                payloads.append(value.tobytes() if value.nbytes < LARGE_BYTES else memory_of(value))
            elif cls is int and _LOWEST <= value <= _HIGHEST:
                schema.append(_INT)
                scalars.append(value)
            elif cls is str:
                text = value.encode("utf-8", "surrogatepass")
                schema.append(_TEXT)
                extents.append(len(text))
                payloads.append(text)
            elif cls is float or cls is bool:
                schema.append(_FLOAT if cls is float else _BOOL)
                scalars.append(value)
            elif value is None:
                schema.append(_NONE)
            else:
                encoder = _encoders.get(cls) or _find_encoder(value)
                encoder(value, output, depth + 1)
    except UnfitError as unfit:
        unfit.path.append(f"[{shown_key(key)}]")
        raise


def _dict_bytes(count: int) -> bytes:
    return struct.pack("<BI", sample_spec.KIND_DICT, count)


def _key_bytes(key: object) -> bytes:
    if isinstance(key, str):
        data = bytes([sample_spec.KEY_TEXT]) + text_bytes(key)
        # As plain text, so that any equal key finds it.
        remember(_keys, str.__str__(key), data)
        return data
    if type(key) is not int:
        raise UnfitError(f"has a key of type {type_name(key)}; keys are str or int")
    if not _LOWEST <= key <= _HIGHEST:
        raise UnfitError("has a key that is an int of more than 64 bits", ValueError)
    return struct.pack("<Bq", sample_spec.KEY_INT, key)


def _add_list(values: list[Any], output: Output, depth: int) -> None:
    first = type(values[0]) if values else None
    if (first is float or first is int) and len(set(map(type, values))) == 1:
        kind, letter = (_FLOAT_LIST, "d") if first is float else (_INT_LIST, "q")
        try:
            numbers = struct.pack(f"<{len(values)}{letter}", *values)
        except struct.error:
            # An int of more than 64 bits; one by one they may be of any size.
            pass
        else:
            output[0].append(kind)
            output[1].append(len(values))
            output[3].append(numbers)
            return
    _add_sequence(sample_spec.KIND_LIST, values, output, depth)


def _add_tuple(value: tuple[Any, ...], output: Output, depth: int) -> None:
    _add_sequence(sample_spec.KIND_TUPLE, value, output, depth)


def _add_sequence(kind: int, values: list[Any] | tuple[Any, ...], output: Output, depth: int) -> None:
    if depth >= _MAX_DEPTH:
        raise _too_deep()
    output[0].append(struct.pack("<BI", kind, len(values)))
    number = -1
    try:
        for value in values:
            number += 1
            encoder = _encoders.get(type(value)) or _find_encoder(value)
            encoder(value, output, depth + 1)
    except UnfitError as unfit:
        unfit.path.append(f"[{number}]")
        raise


def _fields_encoder(kind: int, name: str, fields: list[str]) -> Encoder:
    """Return what encodes the instances of one namedtuple or dataclass."""
    begin = bytes([kind]) + text_bytes(name) + struct.pack("<I", len(fields))
    named = [(field, text_bytes(field)) for field in fields]

    def add_fields(instance: object, output: Output, depth: int) -> None:
        if depth >= _MAX_DEPTH:
            raise _too_deep()
        schema = output[0]
        schema.append(begin)
        field = ""
        try:
            for field, data in named:
                schema.append(data)
                value = getattr(instance, field)
                encoder = _encoders.get(type(value)) or _find_encoder(value)
                encoder(value, output, depth + 1)
        except UnfitError as unfit:
            unfit.path.append(f".{field}")
            raise

    return add_fields


def _too_deep() -> UnfitError:
    return UnfitError(f"is nested more than {_MAX_DEPTH} levels deep, or holds itself", ValueError)


# -- which encoder for which type ----------------------------------------------------------------

_KNOWN: Final[dict[type, Encoder]] = {
    dict: _add_dict,
    list: _add_list,
    tuple: _add_tuple,
    **LEAVES,
}


def _find_encoder(value: object) -> Encoder:
    cls = type(value)
    encoder = _KNOWN.get(cls) or _encoder_of(cls)
    if encoder is None:
        raise UnfitError(f"{type_name(value)} is nothing that a sample can hold{conversion_of(value)}")
    remember(_encoders, cls, encoder)
    return encoder


def _encoder_of(cls: type) -> Encoder | None:
    if issubclass(cls, np.generic) and cls.__module__ == "numpy":
        return add_scalar
    if is_tensor_type(cls):
        return add_tensor
    kind = kind_of(cls)
    return None if kind is None else _fields_encoder(kind, cls.__name__, fields_of(cls))
