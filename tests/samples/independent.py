"""A reader of samples made from docs/format/samples.md alone: no line of it is shared with the library.

bytes ── struct, int.from_bytes ──> plain values; an array as ("array", data type, shape, bytes)
"""

from __future__ import annotations

import datetime
import math
import struct
from typing import Any

__all__ = ["read_bound", "read_sample"]

CODES = {1: "Q", 2: "q", 4: "d", 7: "q", 8: "qq", 9: "qQ", 10: "qQq", 11: "qQq"}
TENSORS = {"bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}


def read_sample(data: bytes) -> Any:  # any sample
    """Return the sample."""
    assert data[:4] == b"\x8dSM\x01"
    size = int.from_bytes(data[4:8], "little")
    reader = _Reader(data)
    tree = reader.node()
    assert reader.at == 8 + size
    table = -(-reader.at // 8) * 8
    extents = struct.unpack_from(f"<{reader.num_extents}Q", data, table)
    scalars = struct.unpack_from("<" + reader.codes, data, table + 8 * reader.num_extents)
    end = table + 8 * (reader.num_extents + len(reader.codes))
    places = []
    for payload in reader.payloads:
        _, _, itemsize, is_array = payload
        shape = reader.shape(payload, extents)
        length = math.prod(shape) * itemsize
        if is_array:
            alignment = 64 if length >= 64 else 8
            start = -(-end // alignment) * alignment
            assert not any(data[end:start])
            end = start
        places.append((shape, data[end : end + length]))
        end += length
    assert end == len(data)
    return _value(tree, scalars, places)


def read_bound(data: bytes, schemas: list[bytes]) -> Any:  # any sample
    """Return the sample of a segment that has these schemas."""
    if data[:3] == b"\x8dSM":
        return read_sample(data)
    reader = _Reader(schemas[int.from_bytes(data[-4:], "little")], 0)
    tree = reader.node()
    assert reader.at == len(reader.data)
    end = len(data) - 4 - 4 * reader.num_extents
    extents = struct.unpack_from(f"<{reader.num_extents}I", data, end)
    shapes = [reader.shape(payload, extents) for payload in reader.payloads]
    sizes = [math.prod(shape) * payload[2] for shape, payload in zip(shapes, reader.payloads, strict=True)]
    arrays = [number for number, payload in enumerate(reader.payloads) if payload[3]]
    places: dict[int, int] = {}
    at = 0

    def padded(alignment: int) -> int:
        start = -(-at // alignment) * alignment
        assert not any(data[at:start])
        return start

    for number in (number for number in arrays if sizes[number] >= 64):
        places[number] = padded(64)
        at = places[number] + sizes[number]
    if reader.codes:
        at = padded(8)
    scalars = struct.unpack_from("<" + reader.codes, data, at)
    at += 8 * len(reader.codes)
    for number in (number for number in arrays if sizes[number] < 64):
        places[number] = padded(8)
        at = places[number] + sizes[number]
    for number in (number for number in range(len(sizes)) if number not in arrays):
        places[number] = at
        at += sizes[number]
    assert at == end
    parts = [data[places[number] : places[number] + sizes[number]] for number in range(len(sizes))]
    return _value(tree, scalars, list(zip(shapes, parts, strict=True)))


class _Reader:
    def __init__(self, data: bytes, start: int = 8) -> None:
        self.data, self.at = data, start
        self.fixed: dict[int, tuple[int, ...]] = {}
        self.num_extents, self.codes = 0, ""
        self.payloads: list[tuple[int, int, int, bool]] = []

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def text(self) -> str:
        return self.take(self.number(4)).decode("utf-8", "surrogatepass")

    def shape(self, payload: tuple[int, int, int, bool], extents: tuple[int, ...]) -> tuple[int, ...]:
        first, count, *_ = payload
        free = list(extents[first : first + count])
        fixed = self.fixed.get(next(n for n, one in enumerate(self.payloads) if one is payload))
        return tuple(free if fixed is None else (free.pop(0) if size == 2**64 - 1 else size for size in fixed))

    def payload(self, count: int, itemsize: int, is_array: bool) -> int:
        self.payloads.append((self.num_extents, count, itemsize, is_array))
        self.num_extents += count
        return len(self.payloads) - 1

    def node(self) -> tuple[Any, ...]:
        kind = self.number(1)
        if kind in (16, 17):
            return kind, [self.node() for _ in range(self.number(4))]
        if kind == 18:
            return kind, [(self.key(), self.node()) for _ in range(self.number(4))]
        if kind in (19, 20):
            return kind, self.text(), [(self.text(), self.node()) for _ in range(self.number(4))]
        if kind in (21, 22):
            return kind, self.payload(1, 8, True)
        if kind == 48:
            first = len(self.codes)
            self.codes += "Q"
            return kind, first, self.node()
        if kind in (32, 33, 34, 35, 36):
            count = 0 if kind == 33 else self.number(1)
            shape = tuple(self.number(8) for _ in range(count if kind > 34 else 0))
            name, itemsize = self.tensor_dtype() if kind in (34, 36) else self.dtype()
            number = self.payload(shape.count(2**64 - 1) if kind > 34 else count, itemsize, True)
            if kind > 34:
                self.fixed[number] = shape
            return kind, name, number
        first, has_payload = len(self.codes), kind in (3, 5, 6, 10, 11)
        self.codes += CODES.get(kind, "")
        return kind, first, self.payload(1, 1, False) if has_payload else None

    def key(self) -> str | int:
        return self.text() if self.number(1) == 0 else struct.unpack("<q", self.take(8))[0]

    def dtype(self) -> tuple[Any, int]:
        length = self.number(1)
        if length == 0:
            itemsize, count = self.number(4), self.number(4)
            fields = []
            for _ in range(count):
                offset, name = self.number(4), self.text()
                shape = tuple(self.number(4) for _ in range(self.number(1)))
                fields.append((name, offset, shape, self.dtype()))
            return fields, itemsize
        name = self.take(length).decode("ascii")
        if name[1] in "Mm":
            return name, 8
        return name, int(name[2:]) * (4 if name[1] == "U" else 1)

    def tensor_dtype(self) -> tuple[str, int]:
        name = self.take(self.number(1)).decode("ascii")
        return name, TENSORS.get(name) or int(name[2:])


def _value(node: tuple[Any, ...], scalars: tuple[Any, ...], places: list[tuple[tuple[int, ...], bytes]]) -> Any:
    kind = node[0]
    if kind in (16, 17):
        values = [_value(child, scalars, places) for child in node[1]]
        return values if kind == 16 else tuple(values)
    if kind in (18, 19, 20):
        pairs = {key: _value(child, scalars, places) for key, child in node[-1]}
        return tuple(pairs.values()) if kind == 19 else pairs
    if kind in (21, 22):
        (count,), data = places[node[1]]
        return list(struct.unpack(f"<{count}{'q' if kind == 21 else 'd'}", data))
    if kind == 48:
        return _value(node[2], scalars, places) if scalars[node[1]] else None
    if kind in (32, 33, 34, 35, 36):
        shape, data = places[node[2]]
        return ("array" if kind != 33 else "scalar", node[1], shape, data)
    return _single(kind, scalars[node[1] :], b"" if node[2] is None else places[node[2]][1])


def _single(kind: int, scalars: tuple[Any, ...], data: bytes) -> Any:
    if kind in (8, 9, 10, 11):
        microsecond = datetime.timedelta(microseconds=1)
        if kind == 8:
            return datetime.timedelta(scalars[0]) + scalars[1] * microsecond
        wall = datetime.datetime.min + scalars[0] * microsecond
        return wall, scalars[1], *((scalars[2], data.decode()) if kind > 9 else ())
    if kind == 3:
        return int.from_bytes(data, "little", signed=True)
    if kind == 5:
        return data.decode("utf-8", "surrogatepass")
    if kind == 7:
        return datetime.date.fromordinal(scalars[0])
    if kind in (0, 6):
        return data if kind == 6 else None
    return bool(scalars[0]) if kind == 1 else scalars[0]
