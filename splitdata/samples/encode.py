"""A sample to bytes: one walk collects pieces of the schema, extents, scalars and payloads.

{"image": uint8[32, 32, 3], "label": 7}

schema    DICT 2 | "image" | ARRAY 3 "|u1" | "label" | INT ──joined──> Plan, from the cache
extents   32, 32, 3     scalars 7     payloads [3072 bytes]      head | table | gap, payload | ...
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.samples import spec
from splitdata.samples.dtypes import text_bytes
from splitdata.samples.leaves import LEAVES, add_scalar, add_tensor
from splitdata.samples.output import Output, UnfitError, remember, shown_key, type_name
from splitdata.samples.plan import Plan, PlanCache
from splitdata.samples.restore import fields_of, kind_of
from splitdata.samples.tensors import is_tensor_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from splitdata._types import BytesLike

    Encoder = Callable[[Any, "Output"], None]

__all__ = ["encode_sample", "encode_sample_parts"]

_INT64: Final = (-(1 << 63), (1 << 63) - 1)

_plans: Final[PlanCache[Plan]] = PlanCache()
# What is written of a key or a class is worked out once.
_keys: Final[dict[str, bytes]] = {}
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
    output = Output()
    try:
        _add(sample, output)
    except UnfitError as unfit:
        raise unfit.as_error() from None
    schema = b"".join(output.schema)
    plan = _plans.get(schema) or _plan_of(schema)
    extents = tuple(output.extents)
    layout = plan.layouts.get(extents) or plan.lay_out(extents)
    parts: list[BytesLike] = [plan.head, plan.table.pack(*extents, *output.scalars)]
    for gap, payload in zip(layout.gaps, output.payloads, strict=True):
        if gap:
            parts.append(gap)
        parts.append(payload)
    return parts


def _plan_of(schema: bytes) -> Plan:
    if len(schema) > spec.MAX_SCHEMA_BYTES:
        raise ValueError(
            f"the sample has so many parts that {len(schema)} bytes describe them, the limit is "
            f"{spec.MAX_SCHEMA_BYTES}: put what is alike into arrays"
        )
    plan = Plan(schema, sys.maxsize)
    _plans.keep(schema, plan)
    return plan


def _add(value: object, output: Output) -> None:
    """Add one value, of any type."""
    encoder = _encoders.get(type(value)) or _find_encoder(value)
    encoder(value, output)


# -- containers ----------------------------------------------------------------------------------


def _add_dict(value: dict[Any, Any], output: Output) -> None:
    output.enter()
    schema = output.schema
    schema.append(struct.pack("<BI", spec.KIND_DICT, len(value)))
    for key, child in value.items():
        try:
            schema.append((_keys.get(key) if type(key) is str else None) or _key_bytes(key))
            encoder = _encoders.get(type(child)) or _find_encoder(child)
            encoder(child, output)
        except UnfitError as unfit:
            unfit.path.append(f"[{shown_key(key)}]")
            raise
    output.depth -= 1


def _key_bytes(key: object) -> bytes:
    if type(key) is str:
        data = bytes([spec.KEY_TEXT]) + text_bytes(key)
        remember(_keys, key, data)
        return data
    if type(key) is not int:
        raise UnfitError(f"a key is of type {type_name(key)}; keys are str or int")
    if not _INT64[0] <= key <= _INT64[1]:
        raise UnfitError("a key is an int of more than 64 bits", ValueError)
    return struct.pack("<Bq", spec.KEY_INT, key)


def _add_list(value: list[Any], output: Output) -> None:
    types = set(map(type, value))
    if len(types) == 1 and (types == {int} or types == {float}):
        letter, kind = ("q", spec.KIND_INT_LIST) if types == {int} else ("d", spec.KIND_FLOAT_LIST)
        try:
            payload = struct.pack(f"<{len(value)}{letter}", *value)
        except struct.error:
            # An int of more than 64 bits; one by one they may be of any size.
            pass
        else:
            output.schema.append(bytes([kind]))
            output.extents.append(len(value))
            output.payloads.append(payload)
            return
    _add_sequence(spec.KIND_LIST, value, output)


def _add_tuple(value: tuple[Any, ...], output: Output) -> None:
    _add_sequence(spec.KIND_TUPLE, value, output)


def _add_sequence(kind: int, value: list[Any] | tuple[Any, ...], output: Output) -> None:
    output.enter()
    output.schema.append(struct.pack("<BI", kind, len(value)))
    number = 0
    try:
        for number, child in enumerate(value):  # noqa: B007  # used where an error is met
            encoder = _encoders.get(type(child)) or _find_encoder(child)
            encoder(child, output)
    except UnfitError as unfit:
        unfit.path.append(f"[{number}]")
        raise
    output.depth -= 1


def _fields_encoder(kind: int, name: str, fields: Iterable[str]) -> Encoder:
    """Return what encodes the instances of one namedtuple or dataclass."""
    named = [(field, text_bytes(field)) for field in fields]
    begin = bytes([kind]) + text_bytes(name) + struct.pack("<I", len(named))

    def add_fields(value: object, output: Output) -> None:
        output.enter()
        output.schema.append(begin)
        for field, data in named:
            try:
                output.schema.append(data)
                _add(getattr(value, field), output)
            except UnfitError as unfit:
                unfit.path.append(f".{field}")
                raise
        output.depth -= 1

    return add_fields


# -- which encoder for which type ----------------------------------------------------------------

_KNOWN: Final[dict[type, Encoder]] = {
    dict: _add_dict,
    list: _add_list,
    tuple: _add_tuple,
    **LEAVES,
}


def _find_encoder(value: object) -> Encoder:
    cls = type(value)
    encoder = _encoder_of(cls)
    if encoder is None:
        raise UnfitError(f"{type_name(value)} is nothing that a sample can hold")
    remember(_encoders, cls, encoder)
    return encoder


def _encoder_of(cls: type) -> Encoder | None:
    if cls in _KNOWN:
        return _KNOWN[cls]
    if issubclass(cls, np.generic) and cls.__module__ == "numpy":
        return add_scalar
    if is_tensor_type(cls):
        return add_tensor
    kind = kind_of(cls)
    return None if kind is None else _fields_encoder(kind, cls.__name__, fields_of(cls))
