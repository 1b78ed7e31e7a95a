"""The manifest: JSON and back, what it adds up to, and all that it refuses."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.errors import ManifestError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.digest import join_digests
from splitdata.format.manifest import Manifest, SegmentInfo, decode_metadata, encode_metadata

INT63 = st.integers(0, 2**63 - 1)
IDS = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
SEGMENTS = st.builds(
    SegmentInfo,
    id=IDS,
    num_records=st.integers(0, spec.MAX_SEGMENT_RECORDS),
    num_bins=st.integers(1, spec.MAX_BINS),
    is_sealed=st.booleans(),
    digest=st.integers(0, 2**61 - 2),
    raw_bytes=INT63,
    stored_bytes=INT63,
)
MANIFESTS = st.builds(
    Manifest,
    generation=st.integers(1, spec.MAX_GENERATION),
    dataset_id=IDS,
    segments=st.lists(SEGMENTS, unique_by=lambda segment: segment.id).map(tuple),
    metadata=st.dictionaries(st.text(), JSON),
)
SEGMENT = SegmentInfo(id="0a" * 16, num_records=5, num_bins=8, is_sealed=True, digest=255, raw_bytes=10, stored_bytes=9)
MANIFEST = Manifest(generation=3, dataset_id="0b" * 16, segments=(SEGMENT,), metadata={"name": "tiny"})


def signed(line: str | bytes) -> bytes:
    """Return a manifest of any first line with the right checksum."""
    line = line.encode() if isinstance(line, str) else line
    return line + b'\n{"xxh3":"%016x"}\n' % hash64(line)


def changed(**fields: object) -> bytes:
    """Return the manifest with some fields replaced, None leaves a field out."""
    body = json.loads(MANIFEST.encode().splitlines()[0]) | fields
    return signed(json.dumps({name: value for name, value in body.items() if value is not None}))


def segment_changed(**fields: object) -> bytes:
    return changed(segments=[SEGMENT.to_json() | fields])


@given(MANIFESTS)
def test_manifest_survives_bytes(manifest: Manifest) -> None:
    data = manifest.encode()

    assert Manifest.decode(data) == manifest
    assert data.isascii()
    assert data.count(b"\n") == 2


def test_manifest_has_its_literal_bytes() -> None:
    line, second, end = MANIFEST.encode().split(b"\n")

    assert line.decode() == (
        f'{{"format":"splitdata","version":[{spec.MAJOR},{spec.MINOR}],"generation":3,"dataset":"{"0b" * 16}",'
        f'"must_understand":[],"metadata":{{"name":"tiny"}},"segments":[{{"id":"{"0a" * 16}","records":5,"bins":8,'
        '"sealed":true,"digest":"00000000000000ff","raw_bytes":10,"stored_bytes":9}]}'
    )
    assert second.decode() == f'{{"xxh3":"{hash64(line):016x}"}}'
    assert end == b""


def test_every_flipped_bit_is_refused() -> None:
    data = MANIFEST.encode()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ManifestError):
            Manifest.decode(bytes(flipped))


def test_every_truncation_is_refused() -> None:
    data = MANIFEST.encode()
    for length in range(len(data)):
        with pytest.raises(ManifestError):
            Manifest.decode(data[:length])


REFUSED: dict[str, bytes] = {
    "no object": signed("[]"),
    "no JSON": signed("{"),
    "not UTF-8": signed(b'{"format":"\xff"}'),
    "deep": signed("[" * 100_000),
    "key twice": signed('{"format":"splitdata","format":"splitdata"}'),
    "NaN": signed('{"metadata":{"a":NaN}}'),
    "Infinity": signed('{"metadata":{"a":-Infinity}}'),
    "infinite float": signed('{"metadata":{"a":1e999}}'),
    "integer of 64 bits": signed('{"metadata":{"a":9223372036854775808}}'),
    "integer of a million digits": signed('{"metadata":{"a":' + "9" * 1_000_000 + "}}"),
    "other format": changed(format="other"),
    "no format": changed(format=None),
    "no version": changed(version=None),
    "version of text": changed(version="0.1"),
    "version of one": changed(version=[0]),
    "version of booleans": changed(version=[False, True]),
    "required features no list": changed(must_understand={}),
    "required features no names": changed(must_understand=[1]),
    "one segment too many": changed(
        segments=[SEGMENT.to_json() | {"id": f"{number:032x}"} for number in range(spec.MAX_SEGMENTS + 1)]
    ),
    "metadata above a mebibyte": changed(metadata={"a": "x" * spec.MAX_METADATA_BYTES}),
    "writer no text": changed(writer=1),
    "unknown field too deep": changed(later=json.loads("[" * 101 + "]" * 101)),
    "unknown field of a segment too deep": segment_changed(later=json.loads("[" * 101 + "]" * 101)),
    "no segments": changed(segments=None),
    "segments no list": changed(segments={}),
    "segment no object": changed(segments=[3]),
    "segment twice": changed(segments=[SEGMENT.to_json(), SEGMENT.to_json()]),
    "no metadata": changed(metadata=None),
    "metadata no object": changed(metadata=[]),
    "no generation": changed(generation=None),
    "generation negative": changed(generation=-1),
    "generation zero": changed(generation=0),
    "generation fractional": changed(generation=3.0),
    "generation boolean": changed(generation=True),
    "generation of text": changed(generation="3"),
    "generation too large": changed(generation=spec.MAX_GENERATION + 1),
    "dataset no id": changed(dataset="0B" * 16),
    "dataset a path": changed(dataset="../" * 10 + "ab"),
    "segment id a path": segment_changed(id="../../../../../../../etc/passwd.."),
    "segment id short": segment_changed(id="0a" * 15),
    "segment id with newline": segment_changed(id="0a" * 16 + "\n"),
    "records negative": segment_changed(records=-1),
    "records too many": segment_changed(records=spec.MAX_SEGMENT_RECORDS + 1),
    "records missing": segment_changed(records=None),
    "no bins": segment_changed(bins=0),
    "bins too many": segment_changed(bins=spec.MAX_BINS + 1),
    "sealed a number": segment_changed(sealed=1),
    "digest short": segment_changed(digest="ff"),
    "digest a number": segment_changed(digest=255),
    "digest that is none": segment_changed(digest=f"{2**61 - 1:016x}"),
    "keys without their end": segment_changed(keys=1),
    "end of no keys": segment_changed(keys_bytes=100),
    "keys of none": segment_changed(keys=0, keys_bytes=100),
    "more keys than records": segment_changed(keys=6, keys_bytes=100),
    "deleted without a hash": segment_changed(deleted=1, must_understand=["deleted"]),
    "deleted of none": segment_changed(deleted=0, deleted_hash="0" * 16, must_understand=["deleted"]),
    "more deleted than records": segment_changed(deleted=6, deleted_hash="0" * 16, must_understand=["deleted"]),
    "deleted without its feature": segment_changed(deleted=1, deleted_hash="0" * 16),
    "feature of no deleted": segment_changed(must_understand=["deleted"]),
    "group of no power of two": segment_changed(group=6, must_understand=["groups"]),
    "group without its feature": segment_changed(group=4),
    "open group that is not full": segment_changed(group=4, must_understand=["groups"], sealed=False),
    "features no list": segment_changed(must_understand="groups"),
    "features no names": segment_changed(must_understand=[None]),
    "raw bytes negative": segment_changed(raw_bytes=-1),
    "stored bytes fractional": segment_changed(stored_bytes=1.5),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_manifest_that_says_what_cannot_be_is_refused(data: bytes) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.decode(data)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "data", [changed(version=[0, 99]), changed(version=[2, 0]), changed(must_understand=["keys2"])], ids=str
)
def test_intact_manifest_of_another_version_asks_for_a_newer_splitdata(data: bytes) -> None:
    with pytest.raises(UnsupportedVersionError, match="newer"):
        Manifest.decode(data)


def test_version_is_looked_at_before_all_other_fields() -> None:
    with pytest.raises(UnsupportedVersionError, match=r"9\.0"):
        Manifest.decode(changed(version=[9, 0], must_understand=None, generation=0, segments=None, metadata=3))


def test_unknown_fields_are_carried_along_by_whoever_adds_a_segment() -> None:
    later = {"note": "later", "pages": [1, {"a": 2}]}
    given = json.loads(changed(**later, segments=[SEGMENT.to_json() | {"rows": 7}]).splitlines()[0])
    other = dataclasses.replace(SEGMENT, id="0c" * 16)

    manifest = Manifest.decode(signed(json.dumps(given)))
    written = json.loads(manifest.with_segment(other).with_segment(SEGMENT).encode().splitlines()[0])

    assert manifest.others == later
    assert written == given | {"segments": [SEGMENT.to_json() | {"rows": 7}, other.to_json()]}


def test_unknown_fields_may_be_nested_as_deep_as_metadata() -> None:
    deepest = nested(spec.MAX_METADATA_DEPTH, 1)

    manifest = Manifest.decode(changed(later=deepest, segments=[SEGMENT.to_json() | {"later": deepest}]))

    assert manifest.others == manifest.segments[0].others == {"later": deepest}


def test_features_of_a_segment_do_not_hinder_reading_of_the_manifest() -> None:
    (segment,) = Manifest.decode(segment_changed(must_understand=["encryption", "later"])).segments

    assert segment.features == ("encryption", "later")
    assert segment.to_json()["must_understand"] == ["encryption", "later"]
    assert not segment.is_understood
    with pytest.raises(UnsupportedVersionError, match="encryption"):
        segment.check_features()


def test_writer_and_time_survive_bytes() -> None:
    manifest = dataclasses.replace(MANIFEST, writer="splitdata 9.8", time="2026-11-30T06:32:33Z")

    assert Manifest.decode(manifest.encode()) == manifest
    assert b'"writer":"splitdata 9.8","time":"2026-11-30T06:32:33Z"' in manifest.encode()


def test_manifest_of_too_many_segments_is_not_written() -> None:
    segments = tuple(dataclasses.replace(SEGMENT, id=f"{number:032x}") for number in range(spec.MAX_SEGMENTS + 1))

    with pytest.raises(ManifestError, match="10001 segments"):
        dataclasses.replace(MANIFEST, segments=segments).encode()


def test_manifest_beyond_the_limit_is_refused_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    data = MANIFEST.encode()
    monkeypatch.setattr(spec, "MAX_MANIFEST_BYTES", len(data) - 1)

    with pytest.raises(ManifestError, match="the limit"):
        Manifest.decode(data)
    with pytest.raises(ManifestError, match="the limit"):
        MANIFEST.encode()


@given(MANIFESTS, SEGMENTS)
def test_segment_is_added_at_the_end_or_replaced_in_its_place(manifest: Manifest, info: SegmentInfo) -> None:
    before = manifest.find(info.id)
    after = manifest.with_segment(info)

    assert after.find(info.id) == info
    assert len(after.segments) == len(manifest.segments) + (before is None)
    assert after.with_segment(info) == after
    position = after.position_of(info.id)
    assert position == (manifest.num_records if before is None else manifest.position_of(info.id))


def test_sums_of_a_manifest_follow_from_its_segments() -> None:
    other = SegmentInfo(
        id="0c" * 16, num_records=20, num_bins=8, is_sealed=False, digest=7, raw_bytes=1, stored_bytes=1
    )
    both = MANIFEST.with_segment(other)

    assert both.num_records == 25
    assert both.digest == join_digests(255, 7, 20)
    assert both.fingerprint == f"25-{both.digest:016x}"
    assert [segment.num_bin_files for segment in both.segments] == [5, 8]
    assert both.position_of("0c" * 16) == 5
    assert both.position_of("0d" * 16) is None


@given(st.dictionaries(st.text(), JSON))
def test_metadata_survive_bytes(metadata: dict[str, Any]) -> None:
    assert decode_metadata(encode_metadata(metadata)) == metadata


@pytest.mark.parametrize("metadata", [[], "text", {1: 2}, {"a": {1, 2}}, {"a": b"bytes"}], ids=str)
def test_metadata_that_are_no_json_object_are_refused(metadata: Any) -> None:
    with pytest.raises(TypeError):
        encode_metadata(metadata)


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "x" * spec.MAX_METADATA_BYTES},
        {"a": 2**63},
        {"a": {1: 2, "1": 3}},
    ],
    ids=["nan", "inf", "large", "64 bits", "key twice"],
)
def test_metadata_that_could_not_be_read_back_are_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"JSON|limit|read back"):
        encode_metadata(metadata)


def nested(depth: int, last: Any) -> dict[str, Any]:
    """Return objects and arrays in each other, so many, around a value."""
    value = last
    for number in range(depth - 1):
        value = [value] if number % 2 else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("last", [1, "x"])
def test_metadata_of_the_greatest_depth_are_written_and_read(last: object) -> None:
    metadata = nested(spec.MAX_METADATA_DEPTH, last)

    assert decode_metadata(encode_metadata(metadata)) == metadata
    assert Manifest.decode(dataclasses.replace(MANIFEST, metadata=metadata).encode()).metadata == metadata


@pytest.mark.parametrize("depth", [spec.MAX_METADATA_DEPTH + 1, 500, 980, 995, 5000])
def test_metadata_that_are_nested_deeper_are_refused_by_writers_and_readers(depth: int) -> None:
    with pytest.raises(ValueError, match=r"nested more than 100 deep|recursion"):
        encode_metadata(nested(depth, 1))
    deep = '{"a":' * depth + "1" + "}" * depth
    with pytest.raises(ManifestError, match=r"nested more than 100 deep|recursion"):
        Manifest.decode(signed(MANIFEST.encode().splitlines()[0].replace(b'{"name":"tiny"}', deep.encode())))
    with pytest.raises(ManifestError, match=r"nested more than 100 deep|recursion"):
        decode_metadata(deep.encode())
