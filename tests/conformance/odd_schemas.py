"""Oddities of the schemas of samples, and of where they stand: docs/format/samples.md has the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.conformance.case import FORMAT, MANIFEST, NEWER, Case, in_segment
from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor
from tests.conformance.odd_fields import set_fields, set_segment_fields
from tests.conformance.odd_samples import NEW_SCHEMA, bound_to_new, sample_case, scalars_case
from tests.conformance.sample_bytes import (
    INT,
    NONE,
    array,
    data_type,
    dictionary,
    i64,
    named,
    parts,
    structure,
    tensor,
    text,
    u64,
)

__all__ = ["schema_cases"]


def schema_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_schemas()
    yield from _of_data_types()
    yield from _of_manifests()
    yield from _of_files()


def _of_schemas() -> Iterator[Case]:
    deep: Callable[[int], bytes] = lambda depth: parts(16, NONE) if depth == 1 else parts(16, deep(depth - 1))  # noqa: E731  # one line
    shown: Any = None
    for _ in range(64):
        shown = {"list": [shown]}
    yield sample_case("nested-64", "lists within each other, 64", deep(64), bound_to_new(), shown)
    yield sample_case("nested-65", "lists within each other, 65", deep(65), bound_to_new(), FORMAT)
    yield sample_case(
        "nested-optional",
        "65 optional parts within each other",
        b"\x30" * 65 + INT,
        bound_to_new(scalars=[u64(0)] * 66),
        FORMAT,
    )
    unknown = {
        "kind": ("a kind that is not known", bytes([12])),
        "kind-255": ("kind 255", bytes([255])),
        "key-kind": ("a key of a kind that is not known", bytes([18, 1, 0, 0, 0, 2]) + NONE),
        "type": ("a data type that is not known", array("<i3", 0)),
        "type-order": ("a data type of native order", array("=i4", 0)),
        "type-one-order": ("a byte with an order", array("<u1", 0)),
        "type-no-bytes": ("a data type of no bytes", array("|S0", 0)),
        "type-not-ascii": ("a data type whose name is not ASCII", bytes([32, 0, 3]) + b"|u\xb9"),
        "type-zero": ("a data type with a zero before its size", array("<U01", 0)),
        "tensor": ("a big-endian tensor", tensor(">f4", 0)),
        "tensor-type": ("a tensor of texts", tensor("<U1", 0)),
        "unit": ("dates in a unit that is not known", array("<M8[x]", 0)),
    }
    for name, (what, schema) in unknown.items():
        yield sample_case(f"unknown-{name}", what, schema, bound_to_new(small=[bytes(8)]), NEWER)
    wrong = {
        "empty-list-cut": ("a list that ends within its length", bytes([16, 1, 0])),
        "cut": ("a list of two parts, of which one is there", parts(16, NONE, NONE)[:-1]),
        "behind": ("bytes behind its node", NONE + NONE),
        "many": ("a list of four billion parts", bytes([16]) + b"\xff" * 4),
        "key-twice": ("a key twice", dictionary(("a", NONE), ("a", NONE))),
        "int-key-twice": ("an integer key twice", dictionary((5, NONE), (5, NONE))),
        "field-twice": ("a field of an object twice", named(20, "Point", ("x", NONE), ("x", NONE))),
        "part-twice": ("a part of a namedtuple twice", named(19, "Point", ("x", NONE), ("x", NONE))),
        "key-text": ("a key that is not UTF-8", bytes([18, 1, 0, 0, 0, 0]) + text(b"\xff") + NONE),
        "key-cut": ("a key that ends within its text", bytes([18, 1, 0, 0, 0, 0, 9, 0, 0, 0]) + b"abc"),
        "dimensions": ("an array of 65 dimensions", array("|u1", 65)),
        "large-text": ("elements of 2^31 bytes, as code points", array("<U536870912", 0)),
        "larger": ("elements of 10^30 bytes", array("|V1" + "0" * 30, 0)),
        "element": ("an array of elements of 2^31 bytes", array("|S2147483648", 0)),
    }
    for name, (what, schema) in wrong.items():
        extents = [1] * 65 if name == "dimensions" else []
        yield sample_case(f"schema-{name}", f"its schema has {what}", schema, bound_to_new(extents=extents), FORMAT)
    yield sample_case(
        "key-kinds",
        "a text and an integer as keys that look alike",
        dictionary(("5", NONE), (5, NONE)),
        bound_to_new(),
        {"dict": [["5", None], [{"int": "5"}, None]]},
    )
    for kind, name, what in ((19, "namedtuple", "a namedtuple"), (20, "object", "an object")):
        schema = named(kind, "Point", ("x", INT), ("y", NONE))
        shown = {"tuple": [{"int": "3"}, None]} if kind == 19 else {"dict": [["x", {"int": "3"}], ["y", None]]}
        yield scalars_case(name, f"{what} of a class that the reader is not told", schema, [i64(3)], shown)


def _of_data_types() -> Iterator[Case]:
    def nested(depth: int) -> bytes:
        return structure(1, (0, "a", (), data_type("|u1") if depth == 1 else nested(depth - 1)))

    wrong: dict[str, tuple[str, bytes]] = {
        "beyond": ("a field beyond its element", structure(4, (1, "a", (), data_type("<i4")))),
        "far": ("a field that begins at 2^32 - 1", structure(4, (2**32 - 1, "a", (), data_type("<i4")))),
        "many": ("a field of too many elements", structure(4, (0, "a", (2**31, 2**31, 2**31), data_type("<i4")))),
        "empty": ("an element of no bytes", structure(0)),
        "long": ("an element of 2^31 bytes", structure(2**31)),
        "twice": (
            "two fields of one name",
            structure(4, (0, "a", (), data_type("|u1")), (1, "a", (), data_type("|u1"))),
        ),
        "nested": ("9 structures within each other", nested(9)),
        "dimensions": ("a field of 65 dimensions", structure(1, (0, "a", (1,) * 65, data_type("|u1")))),
    }
    for name, (what, kind) in wrong.items():
        yield sample_case(
            f"structure-{name}",
            f"its data type has {what}",
            array(kind, 1),
            bound_to_new(small=[b""], extents=[0]),
            FORMAT,
        )
    eight: Any = "|u1"
    for _ in range(8):
        eight = {"size": 1, "fields": [[0, "a", [], eight]]}
    taken: dict[str, tuple[str, bytes, bytes, Any]] = {
        "8": ("8 structures within each other", nested(8), b"\7", eight),
        "overlap": (
            "fields that overlap, in another order",
            structure(2, (1, "b", (), data_type("|u1")), (0, "a", (), data_type("<u2"))),
            b"\1\2",
            {"size": 2, "fields": [[1, "b", [], "|u1"], [0, "a", [], "<u2"]]},
        ),
    }
    for name, (what, kind, data, shown) in taken.items():
        record = bound_to_new(small=[data], extents=[1])
        yield sample_case(
            f"structure-{name}", what, array(kind, 1), record, {"array": data.hex(), "type": shown, "shape": [1]}
        )
    yield from _of_surplus()
    for name, size in (
        ("|b1", 1),
        ("<c16", 16),
        (">f2", 2),
        ("|S3", 3),
        ("|V5", 5),
        ("<M8[25s]", 8),
        (">m8", 8),
        (">U2", 8),
    ):
        data = bytes(size - 1) + b"\1" if name[1] != "U" else "ab".encode("utf-32-be")
        what = f"an array of the data type {name}"
        shown = {"array": data.hex(), "type": name, "shape": [1]}
        plain = "".join(letter if letter.isalnum() else "-" for letter in name)
        yield sample_case(
            f"type-{plain}".replace("type--", f"type-{ord(name[0])}-"),
            what,
            array(name, 1),
            bound_to_new(small=[data], extents=[1]),
            shown,
        )


def _of_surplus() -> Iterator[Case]:
    # Of an element of one byte 8 values are no surplus.
    for name, what, most, answer in (
        ("most", "a field of as many rows of nothing as there may be", 8 + (1 << 20), True),
        ("beyond", "a field of one row of nothing more than there may be", 9 + (1 << 20), False),
    ):
        shown = {"size": 1, "fields": [[0, "a", [most, 0], "|u1"]]}
        yield sample_case(
            f"structure-surplus-{name}",
            f"its data type has {what}",
            array(structure(1, (0, "a", (most, 0), data_type("|u1"))), 1),
            bound_to_new(small=[b"\7"], extents=[1]),
            {"array": "07", "type": shown, "shape": [1]} if answer else FORMAT,
        )
    kind = structure(1, *((0, f"{number}", (1 << 18, 0), data_type("|u1")) for number in range(5)))
    yield sample_case(
        "structure-surplus-fields",
        "fields that have too many rows of nothing together",
        array(kind, 1),
        bound_to_new(small=[b"\7"], extents=[1]),
        FORMAT,
    )
    overlapping = structure(1, *((0, f"{number}", (), data_type("|u1")) for number in range(250)))
    yield sample_case(
        "structure-surplus-overlap",
        "250 fields that lie over one byte, in each of 5000 elements",
        array(overlapping, 1),
        bound_to_new(big=[bytes(5000)], extents=[5000]),
        FORMAT,
    )
    texts = structure(1024, *((0, f"{number}", (), data_type("<U256")) for number in range(600)))
    yield sample_case(
        "structure-surplus-texts",
        "600 texts that lie over each other, in each of 16 elements",
        array(texts, 1),
        bound_to_new(big=[bytes(16 * 1024)], extents=[16]),
        FORMAT,
    )


def _of_manifests() -> Iterator[Case]:
    def renamed(change: Callable[[dict[str, Any]], object]) -> Callable[[DatasetEditor], object]:
        return lambda dataset: dataset.change_manifest(change)

    tops: tuple[tuple[str, str, Callable[[dict[str, Any]], object]], ...] = (
        ("text", "schemas is a text", lambda manifest: manifest.update(schemas="EAAA")),
        ("no-base64", "a schema is not base64", lambda manifest: manifest["schemas"].__setitem__(0, "?" * 8)),
        ("padding", "a schema has no padding", lambda manifest: manifest["schemas"].append("EA")),
        (
            "rest-bits",
            "a schema has bits behind its end, in the last digit of its base64",
            lambda manifest: manifest["schemas"].append("AB=="),
        ),
        (
            "declared-not-first",
            "the declared schema is not the first of a segment",
            lambda manifest: manifest.update(schema=1),
        ),
        ("empty", "a schema is empty", lambda manifest: manifest["schemas"].append("")),
        ("twice", "a schema is there twice", lambda manifest: manifest["schemas"].append(manifest["schemas"][0])),
        ("number", "a schema is a number", lambda manifest: manifest["schemas"].append(5)),
        ("missing", "schemas are missing that a segment lists", lambda manifest: manifest.pop("schemas")),
        ("declared-beyond", "the declared schema is none of them", lambda manifest: manifest.update(schema=NEW_SCHEMA)),
        ("declared-negative", "the declared schema is -1", lambda manifest: manifest.update(schema=-1)),
        ("declared-text", "the declared schema is a text", lambda manifest: manifest.update(schema="EAAA")),
    )
    for name, what, change in tops:
        yield Case(f"schemas-{name}", 5, what, renamed(change), base="samples", opens=MANIFEST)
    yield Case("schemas-without-any", 5, "a declared schema, and no schemas", set_fields(schema=0), opens=MANIFEST)
    for name, value in (
        ("beyond", [0, NEW_SCHEMA]),
        ("twice", [0, 1, 1]),
        ("negative", [-1]),
        ("text", ["0"]),
        ("object", {}),
    ):
        what = f"schemas of a segment is {value}"
        edit = set_segment_fields(schemas=value)
        yield Case(f"segment-schemas-{name}", 5, what, edit, base="samples", opens=MANIFEST)


def _of_files() -> Iterator[Case]:
    damages: dict[str, tuple[str, Callable[[SegmentEditor], object]]] = {
        "missing": ("is missing", lambda segment: segment.remove("schemas")),
        "cut": ("is cut", lambda segment: segment.file("schemas").__delitem__(slice(100, None))),
        "header": ("has a damaged header", lambda segment: segment.flip("schemas", 20)),
        "damaged": ("has a damaged schema", lambda segment: segment.flip("schemas", 64 + 16 + 2)),
        "hash": ("has a damaged hash", lambda segment: segment.flip("schemas", 64 + 8)),
        "other-segment": (
            "is of another segment",
            lambda segment: segment.set_header("schemas", 16, b"\xaa" * 16),
        ),
        "version": ("is of version 2.0", lambda segment: segment.set_header("schemas", 8, b"\2\0\0\0")),
    }
    for name, (what, change) in damages.items():
        yield Case(
            f"schema-file-{name}",
            "samples",
            f"the second copy of the schemas {what}",
            in_segment(change),
            base="samples",
            intact=False,
        )
    yield Case(
        "schema-file-longer",
        "samples",
        "the second copy of the schemas has more than the manifest lists",
        in_segment(lambda segment: segment.file("schemas").extend(b"more")),
        base="samples",
    )
