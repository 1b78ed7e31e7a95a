"""The golden datasets of typed samples: values, the records that they must become, and how verdicts show them."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from splitdata import SplitWriter
from tests.conformance.sample_bytes import (
    BIG_INT,
    BOOL,
    BYTES,
    DATE,
    DATETIME,
    FLOAT,
    FLOATS,
    FREE,
    INT,
    INTS,
    NONE,
    OFFSET,
    TEXT,
    TIMEDELTA,
    ZONE,
    alone,
    bound,
    data_type,
    dictionary,
    f64,
    i64,
    optional,
    parts,
    scalar,
    shaped,
    structure,
    u64,
)

__all__ = [
    "DECLARED_RECORDS",
    "DECLARED_SCHEMAS",
    "DECLARED_SHOWN",
    "SAMPLE_RECORDS",
    "SAMPLE_SCHEMAS",
    "SAMPLE_SHOWN",
    "write_declared",
    "write_samples",
]

_PIXELS: Final = bytes(range(64))
_IMAGE: Final = np.frombuffer(_PIXELS, np.uint8).reshape(4, 4, 4)
_HOUR: Final = 3_600_000_000
_WALL: Final = (datetime.datetime(2026, 10, 25, 2, 30) - datetime.datetime(1, 1, 1)) // datetime.timedelta(
    microseconds=1
)
_POINT: Final = np.dtype([("x", "<f4"), ("y", "<i2", (2,))])
_MOMENT: Final = datetime.datetime(2026, 10, 25, 2, 30)

_VALUES: Final[tuple[Any, ...]] = (
    {"image": _IMAGE, "label": 7, "name": "cat"},
    {"image": np.zeros((4, 4, 4), np.uint8), "label": -1, "name": ""},
    [None, True, 2**70, 1.5, "größe", b"\0\xff"],
    {
        "date": datetime.date(2026, 11, 30),
        "length": datetime.timedelta(days=-1, microseconds=5),
        "wall": _MOMENT,
        "offset": _MOMENT.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-2), "named")),
        "zone": _MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        3: 4,
    },
    (
        [1, -2, 3],
        [0.5],
        np.array([1, 2, 3], ">i4"),
        np.float32(1.5),
        np.array(["ab", "c"]),
        np.array([(1.0, (2, 3))], _POINT),
        {},
    ),
)
SAMPLE_SCHEMAS: Final = (
    dictionary(("image", shaped("|u1", 4, 4, 4)), ("label", INT), ("name", TEXT)),
    parts(16, NONE, BOOL, BIG_INT, FLOAT, TEXT, BYTES),
    dictionary(("date", DATE), ("length", TIMEDELTA), ("wall", DATETIME), ("offset", OFFSET), ("zone", ZONE), (3, INT)),
    parts(
        17,
        INTS,
        FLOATS,
        shaped(">i4", 3),
        scalar("<f4"),
        shaped("<U2", 2),
        shaped(structure(8, (0, "x", (), data_type("<f4")), (4, "y", (2,), data_type("<i2"))), 1),
        dictionary(),
    ),
)
_ALONE: Final = alone(
    dictionary(("image", bytes([32, 3]) + data_type("|u1")), ("label", INT), ("name", TEXT)),
    extents=[4, 4, 4, 3],
    scalars=[i64(7)],
    payloads=[(_PIXELS, True), (b"cat", False)],
)
_BIG_ENDIAN: Final = bytes.fromhex("000000010000000200000003")
_TEXTS: Final = "ab".encode("utf-32-le") + "c\0".encode("utf-32-le")
_STRUCTURE: Final = bytes.fromhex("0000803f02000300")
SAMPLE_RECORDS: Final = (
    bound(0, big=[_PIXELS], scalars=[i64(7)], rest=b"cat", extents=[3]),
    bound(0, big=[bytes(64)], scalars=[i64(-1)], extents=[0]),
    bound(
        1,
        scalars=[u64(1), f64(1.5)],
        rest=(2**70).to_bytes(9, "little") + "größe".encode() + b"\0\xff",
        extents=[9, 7, 2],
    ),
    bound(
        2,
        scalars=[
            *(i64(datetime.date(2026, 11, 30).toordinal()), i64(-1), i64(5), i64(_WALL), u64(0)),
            *(i64(_WALL), u64(0), i64(-2 * _HOUR), i64(_WALL), u64(1), i64(_HOUR), i64(4)),
        ],
        rest=b"namedEurope/Berlin",
        extents=[5, 13],
    ),
    bound(
        3,
        small=[i64(1) + i64(-2) + i64(3), f64(0.5), _BIG_ENDIAN, bytes.fromhex("0000c03f"), _TEXTS, _STRUCTURE],
        extents=[3, 1],
    ),
    _ALONE,
)
_CAT: Final = {
    "dict": [
        ["image", {"array": _PIXELS.hex(), "type": "|u1", "shape": [4, 4, 4]}],
        ["label", {"int": "7"}],
        ["name", "cat"],
    ]
}
SAMPLE_SHOWN: Final[tuple[Any, ...]] = (
    _CAT,
    {
        "dict": [
            ["image", {"array": "00" * 64, "type": "|u1", "shape": [4, 4, 4]}],
            ["label", {"int": "-1"}],
            ["name", ""],
        ]
    },
    {"list": [None, True, {"int": str(2**70)}, {"float": "3ff8000000000000"}, "größe", {"bytes": "00ff"}]},
    {
        "dict": [
            ["date", {"date": 739950}],
            ["length", {"timedelta": [-1, 5]}],
            ["wall", {"datetime": str(_WALL), "fold": 0}],
            ["offset", {"datetime": str(_WALL), "fold": 0, "offset": -2 * _HOUR, "name": "named"}],
            ["zone", {"datetime": str(_WALL), "fold": 1, "offset": _HOUR, "zone": "Europe/Berlin"}],
            [{"int": "3"}, {"int": "4"}],
        ]
    },
    {
        "tuple": [
            {"list": [{"int": "1"}, {"int": "-2"}, {"int": "3"}]},
            {"list": [{"float": "3fe0000000000000"}]},
            {"array": _BIG_ENDIAN.hex(), "type": ">i4", "shape": [3]},
            {"scalar": "0000c03f", "type": "<f4"},
            {"array": _TEXTS.hex(), "type": "<U2", "shape": [2]},
            {
                "array": _STRUCTURE.hex(),
                "type": {"size": 8, "fields": [[0, "x", [], "<f4"], [4, "y", [2], "<i2"]]},
                "shape": [1],
            },
            {"dict": []},
        ]
    },
    _CAT,
)


def write_samples(folder: Path) -> None:
    """Write one sample after the other; the last stands alone."""
    with SplitWriter(folder, bins=2, codec="sample", group=1, alignment=64, reproducible="conformance") as writer:
        for value in _VALUES:
            writer.write_sample(value)
        writer.write(_ALONE)


_COUNTED: Final = np.arange(20, dtype=np.int32)
DECLARED_SCHEMAS: Final = (dictionary(("x", optional(INT)), ("tokens", shaped("<i4", FREE)), ("note", optional(TEXT))),)
DECLARED_RECORDS: Final = (
    bound(0, scalars=[u64(1), i64(5), u64(1)], small=[_COUNTED[:3].tobytes()], rest=b"a", extents=[3, 1]),
    bound(0, big=[_COUNTED.tobytes()], scalars=[u64(0), i64(0), u64(0)], extents=[20, 0]),
    bound(0, scalars=[u64(1), i64(-1), u64(1)], small=[b""], extents=[0, 0]),
)
DECLARED_SHOWN: Final[tuple[Any, ...]] = tuple(
    {
        "dict": [
            ["x", x],
            ["tokens", {"array": tokens.tobytes().hex(), "type": "<i4", "shape": [len(tokens)]}],
            ["note", note],
        ]
    }
    for x, tokens, note in (
        ({"int": "5"}, _COUNTED[:3], "a"),
        (None, _COUNTED, None),
        ({"int": "-1"}, _COUNTED[:0], ""),
    )
)


def write_declared(folder: Path) -> None:
    """Write samples of a schema that the dataset declares, in groups."""
    schema = {"x": "int?", "tokens": "int32[?]", "note": "str?"}
    with SplitWriter(folder, schema=schema, bins=1, group=2, reproducible="conformance") as writer:
        for x, tokens, note in ((5, _COUNTED[:3], "a"), (None, _COUNTED, None), (-1, _COUNTED[:0], "")):
            writer.write_sample({"x": x, "tokens": tokens, "note": note})
