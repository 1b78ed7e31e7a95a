"""Oddities of where the parts of a sample lie, and of names and values that few samples have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.case import CUT, FORMAT, NEWER, Case, hash_of
from tests.conformance.dataset_editor import DIGEST_BASE, DIGEST_PRIME, DatasetEditor, digest_of, packed_lists
from tests.conformance.golden_samples import SAMPLE_RECORDS, SAMPLE_SCHEMAS, SAMPLE_SHOWN
from tests.conformance.odd_samples import bound_to_new, sample_case, scalars_case
from tests.conformance.sample_bytes import (
    BYTES,
    INT,
    NONE,
    OFFSET,
    TEXT,
    alone,
    array,
    data_type,
    dictionary,
    i64,
    named,
    optional,
    parts,
    scalar,
    structure,
    tensor,
    u64,
)

__all__ = ["layout_cases"]


def layout_cases() -> Iterator[Case]:
    """Yield all of them."""
    yield from _of_places()
    yield from _of_names()
    yield from _of_types()
    yield from _of_codecs()
    yield from _of_lists()


def _shown(data: bytes) -> dict[str, Any]:
    return {"array": data.hex(), "type": "|u1", "shape": [len(data)]}


def _of_places() -> Iterator[Case]:
    schema = parts(16, array("|u1", 1), array("|u1", 1), TEXT)
    value = {"list": [_shown(b"abc"), _shown(b""), "t"]}
    yield sample_case(
        "place-of-empty-array",
        "an array of no bytes behind one of three: the text begins at a multiple of 8",
        schema,
        bound_to_new(small=[b"abc", b""], rest=b"t", extents=[3, 0, 1]),
        value,
    )
    yield sample_case(
        "place-of-empty-array-wrong",
        "an array of no bytes behind one of three, and the text directly behind that",
        schema,
        bound_to_new(small=[b"abc"], rest=b"t", extents=[3, 0, 1]),
        FORMAT,
    )
    yield sample_case(
        "alone-place-of-empty-array",
        "it stands alone: an array of no bytes begins at a multiple of 8, and a text behind it",
        None,
        alone(schema, extents=[3, 0, 1], payloads=[(b"abc", True), (b"", True), (b"t", False)]),
        value,
    )
    yield sample_case(
        "alone-place-of-empty-array-wrong",
        "it stands alone: an array of no bytes, and a text directly behind the array before",
        None,
        alone(schema, extents=[3, 0, 1], payloads=[(b"abc", True), (b"t", False)]),
        FORMAT,
    )
    big = bytes(range(65))
    yield sample_case(
        "place-without-scalars",
        "an array of 65 bytes and a text: nothing is skipped for scalars that are not there",
        parts(16, TEXT, array("|u1", 1)),
        bound_to_new(big=[big], rest=b"t", extents=[1, 65]),
        {"list": ["t", _shown(big)]},
    )
    yield sample_case(
        "place-of-big-behind-big",
        "arrays of 65 bytes and of 64: the second begins at a multiple of 64, and a number behind it",
        parts(16, array("|u1", 1), array("|u1", 1), INT),
        bound_to_new(big=[big, big[:64]], scalars=[i64(7)], extents=[65, 64]),
        {"list": [_shown(big), _shown(big[:64]), {"int": "7"}]},
    )
    yield scalars_case(
        "absent-text", "a text that is absent is not UTF-8", optional(TEXT), [u64(0)], None, rest=b"\xff", extents=[1]
    )
    yield scalars_case(
        "absent-array",
        "an array of texts that is absent has a code point above 10FFFF",
        optional(array("<U1", 1)),
        [u64(0)],
        None,
        small=[b"\0\0\x11\0"],
        extents=[1],
    )
    yield scalars_case(
        "absent-length", "what is absent has a length beyond the record", optional(BYTES), [u64(0)], FORMAT, extents=[9]
    )
    yield scalars_case(
        "absent-within",
        "an absent part within an absent part has a mark of 5",
        optional(parts(16, optional(INT))),
        [u64(0), u64(5), i64(0)],
        None,
    )


def _of_names() -> Iterator[Case]:
    yield scalars_case(
        "offset-name",
        "the name of an offset is not UTF-8",
        OFFSET,
        [i64(0), u64(0), i64(0)],
        FORMAT,
        rest=b"\xff",
        extents=[1],
    )
    half = "\ud800"
    names: dict[str, tuple[str, bytes, Any]] = {
        "key": ("a key of a dictionary", dictionary((half, NONE)), {"dict": [[half, None]]}),
        "field": ("a field of an object", named(20, "Point", (half, NONE)), {"dict": [[half, None]]}),
        "class": ("a class", named(20, half, ("x", NONE)), {"dict": [["x", None]]}),
    }
    for name, (what, schema, value) in names.items():
        replaced: Any = {"dict": [["\ufffd", None]]}
        choice = [value, FORMAT] if name == "class" else [value, replaced, FORMAT]
        yield sample_case(
            f"name-{name}", f"the name of {what} is half of a surrogate pair", schema, bound_to_new(), choice
        )


def _of_types() -> Iterator[Case]:
    empty = structure(4)
    yield sample_case(
        "structure-no-fields",
        "its data type has no fields",
        array(empty, 1),
        bound_to_new(small=[b"\1\2\3\4"], extents=[1]),
        {"array": "01020304", "type": {"size": 4, "fields": []}, "shape": [1]},
    )
    texts = structure(8, (4, "a", (), data_type("<U1")))
    yield sample_case(
        "structure-code-point",
        "a field of texts has a code point above 10FFFF",
        array(texts, 1),
        bound_to_new(small=[b"\0\0\0\0\0\0\x11\0"], extents=[1]),
        FORMAT,
    )
    yield sample_case(
        "structure-code-point-between",
        "bytes before a field of texts would be a code point above 10FFFF",
        array(texts, 1),
        bound_to_new(small=[b"\0\0\x11\0a\0\0\0"], extents=[1]),
        {"array": "0000110061000000", "type": {"size": 8, "fields": [[4, "a", [], "<U1"]]}, "shape": [1]},
    )
    yield sample_case(
        "structure-scalar-surplus",
        "a single element has a field of too many rows of nothing",
        scalar(structure(1, (0, "a", ((1 << 20) + 9, 0), data_type("|u1")))),
        bound_to_new(small=[b"\7"]),
        FORMAT,
    )
    # A reader may name it as a writer would.
    shown = [{"array": bytes(8).hex(), "type": name, "shape": [1]} for name in ("<M8[1s]", "<M8[s]")]
    case = sample_case(
        "type-one-second",
        "dates in units of one second",
        array("<M8[1s]", 1),
        bound_to_new(small=[bytes(8)], extents=[1]),
        shown,
    )
    yield replace(case, intact=True)
    for name, text in (
        ("zero", "<M8[0s]"),
        ("leading", "<M8[05s]"),
        ("ten-digits", "<M8[1234567890s]"),
        ("empty", "<M8[]"),
    ):
        yield sample_case(
            f"type-unit-{name}",
            f"an array of the data type {text}",
            array(text, 0),
            bound_to_new(small=[bytes(8)]),
            NEWER,
        )
    yield sample_case("tensor-bytes", "a tensor of bytes", tensor("|S1", 0), bound_to_new(small=[b"a"]), NEWER)


def _of_codecs() -> Iterator[Case]:
    # A verification decodes samples, and records of no other codec.
    codecs: tuple[tuple[str, str, Any, str], ...] = (
        ("number", "is no text but 7", 7, NEWER),
        ("list", "is no text but a list of one", ["sample"], NEWER),
        ("later", "is a name that nobody knows", "later", NEWER),
        ("json", "says that records are JSON, which they are not", "json", FORMAT),
    )
    for name, what, value, answer in codecs:
        yield Case(
            f"codec-{name}",
            "samples",
            f"record_codec {what}",
            _with_codec(value),
            base="samples",
            metadata=None,
            samples={0: answer},
        )


def _with_codec(codec: Any) -> Callable[[DatasetEditor], object]:
    return lambda dataset: dataset.change_manifest(lambda manifest: manifest["metadata"].update(record_codec=codec))


def _of_lists() -> Iterator[Case]:
    yield Case(
        "segment-schemas-empty",
        "samples",
        "a segment has an empty list of schemas",
        lambda dataset: dataset.change_manifest(lambda manifest: manifest["segments"][0].update(schemas=[])),
    )

    def begin(dataset: DatasetEditor) -> None:
        dataset.change_manifest(lambda manifest: manifest["segments"][0].update(schemas=[0]))

    yield Case(
        "segment-schemas-begin",
        "samples",
        "a segment lists the first of its schemas alone: samples of the others are bound to none",
        begin,
        base="samples",
        samples={0: SAMPLE_SHOWN[0], 2: FORMAT, 3: FORMAT, 4: FORMAT},
        fingerprint=None,
        intact=False,
    )
    yield Case(
        "fingerprint-of-lists",
        "samples",
        "three more segments, whose files are missing, list schemas: the begin of a list, one without records, another",
        _list_more,
        base="samples",
        records=[*map(hash_of, SAMPLE_RECORDS), CUT, CUT],
        fingerprint=_fingerprint_of_lists(),
        intact=False,
    )


def _list_more(dataset: DatasetEditor) -> None:
    fields = {"bins": 1, "sealed": True, "digest": "0" * 15 + "7", "raw_bytes": 1, "stored_bytes": 1}
    more = [
        {"id": "d" * 32, "records": 1, "schemas": [0, 1], **fields},
        {"id": "e" * 32, "records": 0, "schemas": [2], **fields, "digest": "0" * 16},
        {"id": "f" * 32, "records": 1, "schemas": [1], **fields},
    ]
    dataset.change_manifest(lambda manifest: manifest["segments"].extend(more))


def _fingerprint_of_lists() -> str:
    digest = digest_of(SAMPLE_RECORDS)
    for _ in range(2):
        digest = (digest * DIGEST_BASE + 7) % DIGEST_PRIME
    lists = packed_lists([SAMPLE_SCHEMAS, SAMPLE_SCHEMAS[1:2]])
    return f"{len(SAMPLE_RECORDS) + 2}-{digest:016x}-{hash64(lists):016x}"
