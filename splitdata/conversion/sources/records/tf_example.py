"""A tf.train.Example as a sample, without TensorFlow: its features by name, as the message has them.

A feature is a list always, also of one value: nothing in the message says that it is meant alone.

    Example 1: Features 1: {1: name, 2: Feature}      1: bytes_list ──> list of bytes
                                                      2: float_list ──> array of float32
                                                      3: int64_list ──> array of int64
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["parse_example"]

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_MAX_VARINT_BYTES: Final = 10


def parse_example(message: bytes) -> dict[str, Any]:
    """Return the features of a message.

    Raises:
        ValueError: If it is none, is a tf.train.SequenceExample, or has a feature twice.
    """
    sample: dict[str, Any] = {}
    for number, features in _fields(memoryview(message)):
        if number == 2 and isinstance(features, memoryview):
            raise ValueError("it is a tf.train.SequenceExample, which is not read")
        if number != 1:
            continue
        for one, entry in _fields(_message(features)):
            if one == 1:
                name, feature = _entry(_message(entry))
                if name in sample:
                    raise ValueError(f"it has the feature {name!r} twice")
                sample[name] = feature
    return sample


def _entry(entry: memoryview) -> tuple[str, Any]:
    name, feature = "", memoryview(b"")
    for number, value in _fields(entry):
        if number == 1:
            name = str(_message(value), "utf-8")
        elif number == 2:
            feature = _message(value)
    return name, _feature(feature)


def _feature(feature: memoryview) -> Any:
    """Return the one list of a feature; an empty list if it has none."""
    found: Any = []
    for number, values in _fields(feature):
        if number in (1, 2, 3):
            found = _LISTS[number](_message(values))
    return found


def _bytes_list(values: memoryview) -> list[bytes]:
    return [bytes(_message(value)) for number, value in _fields(values) if number == 1]


def _floats(values: memoryview) -> np.ndarray[Any, Any]:
    parts = [_message(value) for number, value in _fields(values) if number == 1]
    if any(len(part) % 4 for part in parts):
        raise ValueError("it has a list of floats that is cut off")
    return np.frombuffer(b"".join(parts), "<f4")


def _ints(values: memoryview) -> np.ndarray[Any, Any]:
    parts = []
    for number, value in _fields(values):
        if number == 1:
            parts.append(_varints(value) if isinstance(value, memoryview) else np.array([value], np.uint64))
    joined: np.ndarray[Any, Any] = np.concatenate(parts) if parts else np.empty(0, np.uint64)
    return joined.view(np.int64)


_LISTS: Final = {1: _bytes_list, 2: _floats, 3: _ints}


def _varints(data: memoryview) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return the whole numbers of a packed list: 7 bits a byte, the lowest first, the last byte below 128."""
    values = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(values < 128)
    if not len(values):
        return np.empty(0, np.uint64)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - starts + 1
    if not len(ends) or ends[-1] != len(values) - 1 or lengths.max() > _MAX_VARINT_BYTES:
        raise ValueError("it has a list of whole numbers that is cut off")
    shifts = (np.arange(len(values)) - np.repeat(starts, lengths)).astype(np.uint64) * np.uint64(7)
    return np.bitwise_or.reduceat((values & 127).astype(np.uint64) << shifts, starts)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield number and value of each field: the bytes of all but whole numbers."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in (_FIXED_32, _FIXED_64):
            size = 4 if kind == _FIXED_32 else 8
        else:
            raise ValueError("it is no tf.train.Example, or damaged")
        if size > len(message) - place:
            raise ValueError("it ends within a field: it is no tf.train.Example, or damaged")
        yield tag >> 3, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for number, byte in enumerate(message[place : place + _MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * number
        if byte < 128:
            return value & (1 << 64) - 1, place + number + 1
    raise ValueError("it ends within a number: it is no tf.train.Example, or damaged")


def _message(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it has a number where a message belongs: it is no tf.train.Example, or damaged")
    return value
