"""Oddities of samples and their schemas: docs/format/samples.md has the rules.

A case adds a schema to those of the dataset `samples`, and puts a record of it in the place of the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.conformance.case import FORMAT, NEWER, Case, hash_of, in_segment
from tests.conformance.dataset_editor import SegmentEditor
from tests.conformance.golden_samples import SAMPLE_RECORDS, SAMPLE_SCHEMAS
from tests.conformance.sample_bytes import (
    BIG_INT,
    BOOL,
    DATE,
    DATETIME,
    FREE,
    INT,
    INTS,
    OFFSET,
    TEXT,
    TIMEDELTA,
    ZONE,
    alone,
    array,
    bound,
    f64,
    i64,
    optional,
    parts,
    scalar,
    shaped,
    u64,
)

__all__ = ["NEW_SCHEMA", "bound_to_new", "sample_case", "sample_cases", "scalars_case"]

_LAST: Final = len(SAMPLE_RECORDS) - 1
NEW_SCHEMA: Final = len(SAMPLE_SCHEMAS)
_DAY: Final = 86_400_000_000
_MOST_WALL: Final = 315_537_897_599_999_999


def sample_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_values()
    yield from _of_arrays()
    yield from _of_records()


def sample_case(name: str, what: str, schema: bytes | None, record: bytes, answer: Any) -> Case:
    """Return a case: the last record is this one, and its value that answer."""
    is_wrong = answer in (FORMAT, NEWER)

    def change(segment: SegmentEditor) -> None:
        if schema is not None:
            segment.add_schema(schema)
        segment.set_last_record(record)

    return Case(
        f"sample-{name}",
        "samples",
        f"the last sample: {what}",
        in_segment(change),
        base="samples",
        records={_LAST: hash_of(record)},
        samples={_LAST: answer},
        fingerprint=None,
        intact=None if isinstance(answer, list) else not is_wrong,
    )


def bound_to_new(**fields: Any) -> bytes:
    """Return a record that is bound to the schema that a case adds."""
    return bound(NEW_SCHEMA, **fields)


def scalars_case(name: str, what: str, node: bytes, scalars: list[bytes], answer: Any, **fields: Any) -> Case:
    """Return a case whose schema has nothing but scalars, or is given all else that it has."""
    return sample_case(name, what, node, bound_to_new(scalars=scalars, **fields), answer)


def _of_values() -> Iterator[Case]:
    shown: dict[str, Any]
    yield scalars_case("bool-2", "a boolean is 2", BOOL, [u64(2)], FORMAT)
    yield scalars_case("int-least", "the least integer", INT, [i64(-(2**63))], {"int": str(-(2**63))})
    for name, what, data, value in (
        ("empty", "a big integer of no bytes", b"", 0),
        ("long", "a big integer with bytes that it does not need", b"\5\0\0", 5),
        ("negative", "a big integer below zero", (-(2**70)).to_bytes(9, "little", signed=True), -(2**70)),
    ):
        yield sample_case(
            f"big-{name}", what, BIG_INT, bound_to_new(rest=data, extents=[len(data)]), {"int": str(value)}
        )
    dates = (("least", 1), ("most", 3652059), ("zero", 0), ("beyond", 3652060), ("negative", -1))
    for name, days in dates:
        right = 1 <= days <= 3652059
        yield scalars_case(
            f"date-{name}", f"a date of day {days}", DATE, [i64(days)], {"date": days} if right else FORMAT
        )
    for days, micro in ((999_999_999, _DAY - 1), (-999_999_999, 0), (10**9, 0), (-(10**9), 0), (0, _DAY), (0, -1)):
        right = abs(days) < 10**9 and 0 <= micro < _DAY
        shown = {"timedelta": [days, micro]}
        name, what = f"length-{days}-{micro}".replace("--", "-minus-"), f"{days} days and {micro} microseconds"
        yield scalars_case(name, what, TIMEDELTA, [i64(days), i64(micro)], shown if right else FORMAT)
    for wall, fold in ((_MOST_WALL, 1), (_MOST_WALL + 1, 0), (-1, 0), (0, 2)):
        right = 0 <= wall <= _MOST_WALL and fold < 2
        shown = {"datetime": str(wall), "fold": fold}
        name, what = f"time-{wall}-{fold}".replace("--", "-minus-"), f"a time of {wall} microseconds and fold {fold}"
        yield scalars_case(name, what, DATETIME, [i64(wall), u64(fold)], shown if right else FORMAT)
    for offset in (_DAY - 1, 1 - _DAY, _DAY, -_DAY):
        shown = {"datetime": str(10 * _DAY), "fold": 0, "offset": offset, "name": ""}
        what = f"a time {offset} microseconds east of UTC"
        scalars = [i64(10 * _DAY), u64(0), i64(offset)]
        yield scalars_case(
            f"offset-{offset}".replace("--", "-minus-"),
            what,
            OFFSET,
            scalars,
            shown if abs(offset) < _DAY else FORMAT,
            extents=[0],
        )
    for name, key in (("empty", ""), ("path", "../etc/x"), ("absolute", "/UTC"), ("long", "a" * 256), ("dot", "UTC.x")):
        what = f"the key of a time zone is {key:.20}"
        scalars = [i64(10 * _DAY), u64(0), i64(0)]
        yield scalars_case(f"zone-{name}", what, ZONE, scalars, FORMAT, rest=key.encode(), extents=[len(key)])
    yield from _of_texts()
    yield scalars_case("optional-2", "the mark of an optional part is 2", optional(INT), [u64(2), i64(0)], FORMAT)
    yield scalars_case(
        "optional-leftover", "a part that is missing has a value", optional(BOOL), [u64(0), u64(9)], None
    )


def _of_texts() -> Iterator[Case]:
    # The texts of some languages cannot tell half of a pair alone from what it is a half of.
    texts: dict[str, tuple[str, bytes, Any]] = {
        "zero": ("a text with a zero", b"a\0b", "a\0b"),
        "surrogate": ("a text with half of a surrogate pair", b"a\xed\xa0\x80", ["a\ud800", "a\ufffd", FORMAT]),
        "overlong": ("a text with a zero of two bytes", b"\xc0\x80", FORMAT),
        "cut": ("a text that ends within a character", b"\xe2\x82", FORMAT),
        "beyond": ("a text with a code point above 10FFFF", b"\xf4\x90\x80\x80", FORMAT),
    }
    for name, (what, data, answer) in texts.items():
        yield sample_case(f"text-{name}", what, TEXT, bound_to_new(rest=data, extents=[len(data)]), answer)


def _of_arrays() -> Iterator[Case]:
    nothing = {"array": "", "type": "<f4"}
    yield sample_case(
        "array-empty",
        "an array of 3 by 0",
        array("<f4", 2),
        bound_to_new(small=[b""], extents=[3, 0]),
        nothing | {"shape": [3, 0]},
    )
    yield sample_case(
        "array-of-none",
        "an array of no dimensions",
        array("<f4", 0),
        bound_to_new(small=[b"\0\0\x80\x3f"]),
        {"array": "0000803f", "type": "<f4", "shape": []},
    )
    yield sample_case(
        "array-big",
        "arrays of 63 and 64 bytes, and a number between",
        parts(16, array("|u1", 1), INT, array("|u1", 1)),
        bound_to_new(big=[b"b" * 64], scalars=[i64(5)], small=[b"a" * 63], extents=[63, 64]),
        {
            "list": [
                {"array": "61" * 63, "type": "|u1", "shape": [63]},
                {"int": "5"},
                {"array": "62" * 64, "type": "|u1", "shape": [64]},
            ]
        },
    )
    most = (1 << 20) + 1
    yield sample_case(
        "array-rows-of-nothing",
        "an array of a million and more rows of nothing",
        array("<f4", 2),
        bound_to_new(small=[b""], extents=[most, 0]),
        FORMAT,
    )
    half = (1 << 19) + 1
    yield sample_case(
        "array-rows-of-nothing-together",
        "two arrays that have a million and more rows of nothing together",
        parts(16, array("<f4", 2), array("<f4", 2)),
        bound_to_new(small=[b"", b""], extents=[half, 0, half, 0]),
        FORMAT,
    )
    yield sample_case(
        "array-absent-rows-of-nothing",
        "an absent array of two million by free, so by 0",
        optional(shaped("<f4", 2_000_000, FREE)),
        bound_to_new(scalars=[u64(0)], small=[b""], extents=[0]),
        FORMAT,
    )
    yield sample_case(
        "array-of-zeros-before",
        "an array of 0 by a million and more",
        array("<f4", 2),
        bound_to_new(small=[b""], extents=[0, most]),
        nothing | {"shape": [0, most]},
    )
    yield sample_case(
        "array-too-large",
        "an array of 2^63 bytes and no row",
        array("<f8", 4),
        bound_to_new(small=[b""], extents=[0, 1 << 20, 1 << 20, 1 << 20]),
        FORMAT,
    )
    yield sample_case(
        "array-shaped-too-large",
        "an array of 2^64 elements by its schema",
        shaped("|u1", 1 << 32, 1 << 32),
        bound_to_new(small=[b""]),
        FORMAT,
    )
    yield sample_case(
        "array-claims",
        "an array of 4 billion elements in a short record",
        array("|u1", 1),
        bound_to_new(extents=[2**32 - 1]),
        FORMAT,
    )
    yield sample_case(
        "array-code-point",
        "an array of texts with a code point above 10FFFF",
        array("<U1", 1),
        bound_to_new(small=[b"\0\0\x11\0"], extents=[1]),
        FORMAT,
    )
    yield sample_case(
        "scalar-code-point",
        "a text as a single element, above 10FFFF",
        scalar(">U1"),
        bound_to_new(small=[b"\0\x11\0\0"]),
        FORMAT,
    )
    yield sample_case(
        "ints-length",
        "a list of integers, of which the last is cut",
        INTS,
        bound_to_new(small=[i64(1) + b"1234"], extents=[2]),
        FORMAT,
    )
    yield sample_case(
        "ints-empty", "an empty list of integers", INTS, bound_to_new(small=[b""], extents=[0]), {"list": []}
    )


def _of_records() -> Iterator[Case]:
    seven = bound(NEW_SCHEMA, scalars=[i64(7)])
    wrong: dict[str, tuple[str, bytes]] = {
        "no-bytes": ("no bytes", b""),
        "three-bytes": ("three bytes", b"\1\0\0"),
        "unknown-number": ("the number of a schema that the segment has not", bound(NEW_SCHEMA + 1, scalars=[i64(7)])),
        "longer": ("a byte more than its schema says", b"\0" + seven),
        "shorter": ("a byte less than its schema says", seven[1:]),
    }
    for name, (what, record) in wrong.items():
        yield sample_case(f"bound-{name}", f"it has {what}", INT, record, FORMAT)
    yield sample_case(
        "bound-free-and-fixed",
        "an array with a dimension that is fixed and one that is free",
        shaped("|u1", 2, FREE),
        bound_to_new(small=[b"abcdef"], extents=[3]),
        {"array": b"abcdef".hex(), "type": "|u1", "shape": [2, 3]},
    )
    right = alone(INT, scalars=[i64(7)])
    yield sample_case("alone", "it stands alone", None, right, {"int": "7"})
    wide = parts(16, array("|u1", 1), TEXT, INT)
    yield sample_case(
        "alone-aligned",
        "it stands alone, with an array of 64 bytes behind a text",
        None,
        alone(
            parts(16, TEXT, INT, array("|u1", 1)),
            extents=[1, 64],
            scalars=[i64(7)],
            payloads=[(b"t", False), (bytes(64), True)],
        ),
        {"list": ["t", {"int": "7"}, {"array": "00" * 64, "type": "|u1", "shape": [64]}]},
    )
    yield sample_case(
        "alone-version", "it stands alone, of version 2", None, alone(INT, scalars=[i64(7)], version=2), NEWER
    )
    short: dict[str, tuple[str, bytes]] = {
        "magic": ("ends behind its magic", right[:3]),
        "header": ("ends within its header", right[:7]),
        "schema": ("has a schema longer than it", right[:4] + b"\xff\xff\0\0" + right[8:]),
        "schema-limit": ("claims a schema of more than 1 MiB", right[:4] + b"\1\0\x10\0" + right[8:]),
        "table": ("ends within its table", right[:-1]),
        "longer": ("has a byte more", right + b"\0"),
        "extent": ("has an extent of 2^63", alone(wide, extents=[2**63, 0], scalars=[i64(7)])),
        "no-schema": ("has a schema of no bytes", alone(b"")),
    }
    for name, (what, record) in short.items():
        yield sample_case(f"alone-{name}", f"it stands alone and {what}", None, record, FORMAT)
    yield scalars_case(
        "float", "a number of 64 bits", parts(16, bytes([4])), [f64(0.1)], {"list": [{"float": "3fb999999999999a"}]}
    )
