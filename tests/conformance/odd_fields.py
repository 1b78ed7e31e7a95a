"""Oddities of JSON and of the fields of a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from tests.conformance.case import MANIFEST, Case
from tests.conformance.dataset_editor import DatasetEditor

__all__ = ["field_cases", "replaced", "set_fields", "set_segment_fields"]

_LATER: Final = {"record_codec": "later"}
_LIST_OF_ONE: Final = {"deleted": 1, "deleted_hash": "0" * 16}


def _set_codec(name: str) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(lambda manifest: manifest["metadata"].update(record_codec=name))


def replaced(old: str, new: str) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.replace_in_line(old, new)


def set_fields(**fields: Any) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(lambda manifest: manifest.update(fields))


def set_segment_fields(number: int = 0, **fields: Any) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(lambda manifest: manifest["segments"][number].update(fields))


def _without(name: str) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(
        lambda manifest: (manifest if name in manifest else manifest["segments"][0]).pop(name)
    )


def _number(text: str) -> Callable[[DatasetEditor], object]:
    """Put a number among the metadata, as it is written."""
    return replaced('"nested":', f'"number":{text},"nested":')


def field_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_json()
    yield from _of_fields()


def _of_json() -> Iterator[Case]:
    refused = {
        "key-twice": ("a key twice", '"generation":', '"generation":1,"generation":'),
        "key-twice-escaped": ("a key twice, once escaped", '"nested":', '"\\u006eested":1,"nested":'),
        "key-twice-in-segment": ("a key of a segment twice", '"bins":', '"bins":2,"bins":'),
        "key-twice-in-unknown": (
            "a key twice in an object of an unknown name",
            '"metadata":',
            '"later":{"a":1,"a":1},"metadata":',
        ),
        "trailing-comma": ("a comma behind the last value", '"segments":[', '"later":[1,],"segments":['),
        "leading-zero": ("an integer with a leading zero", '"bins":2', '"bins":02'),
        "comment": ("a comment", '"metadata":', '/**/"metadata":'),
        "control-character": ("a tab within a text", '"name":"plain"', '"name":"pl\tain"'),
        "two-values": ("two values in line 1", '{"format"', '{}{"format"'),
    }
    for name, (what, old, new) in refused.items():
        yield Case(f"json-{name}", 5, what, replaced(old, new), opens=MANIFEST)
    for name, text in {
        "nan": "NaN",
        "infinity": "-Infinity",
        "1e400": "1e400",
        "two-to-63": str(2**63),
        "minus-two-to-63": str(-(2**63)),
        "twenty-digits": "1" * 20,
    }.items():
        yield Case(f"json-{name}", 5, f"a number of the metadata is {text}", _number(text), opens=MANIFEST)
    for name, text, value in (
        ("1e-400", "1e-400", 0.0),
        ("largest", str(2**63 - 1), None),
        ("least", str(1 - 2**63), None),
    ):
        # Integers beyond 2**53 are shown as text: many JSON parsers have no other numbers than floats.
        shown = {"number": text if value is None else value}
        yield Case(f"json-{name}", 5, f"a number of the metadata is {text}", _number(text), metadata=shown)
    odd_texts: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("proto", '"__proto__":{"a":1}', {"__proto__": {"a": 1}}),
        ("no-name", '"":1', {"": 1}),
        ("astral", '"\\ud83d\\ude00":"\\u0000"', {"\U0001f600": "\0"}),
        ("minus-zero", '"number":-0', {"number": 0}),
        ("exact-float", '"number":9007199254740993.0', {"number": 9007199254740992.0}),
    )
    for name, text, shown in odd_texts:
        edit = replaced('"nested":', f'{text},"nested":')
        yield Case(f"json-{name}", 5, f"the metadata have {text}", edit, metadata=shown)
    yield Case("json-blanks", 5, "blanks and a tab between values", replaced('"bins":2', '"bins" : \t2 '))
    yield Case(
        "json-escaped",
        5,
        "letters of a key and of a value escaped",
        replaced('"format":"splitdata"', '"\\u0066ormat":"split\\u0064ata"'),
    )


def _of_fields() -> Iterator[Case]:
    for name in ("format", "version", "generation", "dataset", "must_understand", "metadata", "segments"):
        yield Case(f"manifest-without-{name}", 5, f"{name} is missing", _without(name), opens=MANIFEST)
    for name in ("id", "records", "bins", "sealed", "digest", "raw_bytes", "stored_bytes"):
        yield Case(f"segment-without-{name}", 5, f"{name} of a segment is missing", _without(name), opens=MANIFEST)
    tops: dict[str, Any] = {
        "format": "splitdatas",
        "generation": 2,
        "dataset": "A" * 32,
        "metadata": [],
        "segments": {},
        "must_understand": "none",
        "writer": 1,
        "time": None,
    }
    for name, value in tops.items():
        yield Case(
            f"manifest-wrong-{name}", 5, f"{name} is {json.dumps(value)}", set_fields(**{name: value}), opens=MANIFEST
        )
    yield Case(
        "manifest-short-dataset", 5, "the id of the dataset has 31 digits", set_fields(dataset="a" * 31), opens=MANIFEST
    )
    yield Case(
        "manifest-feature-number",
        5,
        "a feature of the dataset is a number",
        set_fields(must_understand=[1]),
        opens=MANIFEST,
    )
    values: list[tuple[str, Any]] = [
        ("id", "../" + "a" * 29),
        ("id", "A" * 32),
        ("id", "a" * 31),
        ("records", -1),
        ("records", True),
        ("records", "7"),
        ("records", 2**32 - 1),
        ("bins", 0),
        ("bins", 2**24 + 1),
        ("sealed", 1),
        ("digest", "1" + "f" * 15),
        ("digest", "0" * 15),
        ("digest", 0),
        ("raw_bytes", -1),
        ("stored_bytes", None),
        ("group", 3),
        ("group", 1),
        ("group", None),
        ("group", 131072),
        ("keys", 1),
        ("keys_bytes", 64),
        ("deleted", 1),
        ("deleted_hash", "0" * 16),
        ("must_understand", {}),
        ("must_understand", [["deleted"]]),
    ]
    for count, (name, value) in enumerate(values):
        what = f"{name} of a segment is {json.dumps(value)}"
        yield Case(
            f"segment-wrong-{name}-{count}".replace("_", "-"),
            5,
            what,
            set_segment_fields(**{name: value}),
            opens=MANIFEST,
        )
    for name, value in (("keys", 0), ("keys", 8)):
        what = f"keys of a segment is {value}"
        yield Case(f"segment-{value}-keys", 5, what, set_segment_fields(**{name: value}), base="keyed", opens=MANIFEST)
    for value in (0, 8):
        yield Case(
            f"segment-{value}-deleted",
            5,
            f"deleted of a segment is {value}",
            set_segment_fields(deleted=value),
            base="deleted",
            opens=MANIFEST,
        )
    for name, text in (("bins", "2.0"), ("bins", "2e0"), ("generation", "1.0")):
        what = f"{name} is {text}"
        old = '"bins":2' if name == "bins" else '"generation":1'
        yield Case(f"json-float-{name}-{text}", 5, what, replaced(old, f'"{name}":{text}'), opens=MANIFEST)
    for name in ("writer", "time"):
        yield Case(
            f"manifest-{name}", 5, f"{name} is any text of 200 characters", set_fields(**{name: "\U0001f600" * 200})
        )
        yield Case(f"manifest-long-{name}", 5, f"{name} has 201", set_fields(**{name: "ä" * 201}), opens=MANIFEST)
    yield Case("manifest-codec", 5, "the codec of records is not known", _set_codec("later"), metadata=_LATER)
    groups: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("group-without-feature", "a group and not the feature", {"group": 4}),
        ("feature-without-group", "the feature groups and no group", {"must_understand": ["groups"]}),
        ("feature-without-deleted", "the feature deleted and no list", {"must_understand": ["deleted"]}),
        ("deleted-without-feature", "deleted records and not the feature", _LIST_OF_ONE),
        ("feature-text", "a feature that is a number", {"must_understand": [1]}),
    )
    for name, what, fields in groups:
        yield Case(f"segment-{name}", 5, f"a segment has {what}", set_segment_fields(**fields), opens=MANIFEST)
    yield Case(
        "segment-no-features", 5, "a segment has an empty list of features", set_segment_fields(must_understand=[])
    )
    yield Case(
        "segment-fewer-keys",
        5,
        "a segment counts four keys, and has five",
        set_segment_fields(keys=4),
        base="keyed",
        intact=False,
    )
    yield Case(
        "segment-wrong-digest",
        5,
        "the digest of a segment is that of no record",
        set_segment_fields(digest="0" * 16),
        fingerprint="7-" + "0" * 16,
        intact=False,
    )
    for name in ("raw_bytes", "stored_bytes"):
        edit = set_segment_fields(**{name: 343})
        yield Case(f"segment-other-{name}".replace("_", "-"), 5, f"{name} of a segment is another", edit, intact=False)
    yield Case(
        "segment-twice",
        5,
        "two segments have one id",
        lambda dataset: dataset.change_manifest(lambda manifest: manifest["segments"].append(manifest["segments"][0])),
        opens=MANIFEST,
    )
    yield Case(
        "segment-not-an-object", 5, "a segment is null", replaced('"segments":[{', '"segments":[null,{'), opens=MANIFEST
    )
    yield Case(
        "open-group-not-full",
        11,
        "an open segment with groups, the last of which is not full",
        set_segment_fields(sealed=False),
        base="grouped",
        opens=MANIFEST,
    )
