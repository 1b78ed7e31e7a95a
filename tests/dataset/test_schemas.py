"""Datasets of samples that name a schema of their segment: written, appended to, folded, resumed, repaired, converted.

samples ──SplitWriter──> body | extents | number; schemas in the manifest and beside the bins ──SampleDataset──> samples
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from splitdata import (
    FormatError,
    ManifestError,
    SampleDataset,
    SampleSchema,
    SchemaError,
    SplitDataLoader,
    SplitWriter,
    UnsupportedVersionError,
    convert,
    describe,
    encode_sample,
    repair,
    verify,
)
from splitdata.conversion import conversion_log
from splitdata.conversion.sources.records.dataset_source import DatasetSource
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format.manifest import Manifest
from splitdata.format.schemas import SchemasHeader, pack_schemas, unpack_schemas
from splitdata.samples.standing_alone import is_alone
from tests.dataset.record_kinds import kill
from tests.samples.drawn import Sample, same

TYPES: Final = {"image": "uint8[4,4,4]", "label": "int", "name": "str", "note": "str?"}


def image(number: int, size: int = 4) -> dict[str, Any]:
    return {"image": np.full((size, size, 4), number % 250, np.uint8), "label": number, "name": f"n{number}"}


def declared(number: int) -> dict[str, Any]:
    return image(number) | {"note": None if number % 2 else f"note {number}"}


def write(path: Path, samples: list[Sample], **options: Any) -> Path:
    with SplitWriter(path, **options) as writer:
        writer.write_samples(samples)
    return path


def manifest_of(path: Path) -> Manifest:
    return DatasetDirectory(path).newest()


def schemas_file(path: Path) -> Path:
    return next(path.glob("segments/*/schemas"))


def holds(path: Path, expected: list[Sample]) -> bool:
    with SampleDataset(path) as dataset:
        return len(dataset) == len(expected) and all(map(same, dataset, expected))


# -- what is stored ----------------------------------------------------------------------------


def test_worked_sample_takes_83_bytes_and_its_schema_stands_in_the_manifest_and_beside_the_bins(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [{"image": np.arange(64, dtype="u1").reshape(4, 4, 4), "label": 7, "name": "cat"}] * 3)
    assert SplitDataLoader(path).sizes[:].tolist() == [83] * 3
    manifest = manifest_of(path)
    assert manifest.segments[0].schemas == manifest.schemas
    assert len(manifest.schemas) == 1
    data = schemas_file(path).read_bytes()
    assert SchemasHeader.unpack(data) == SchemasHeader(manifest.segments[0].id)
    assert tuple(unpack_schemas(data[64:])) == manifest.schemas
    line = json.loads(manifest.encode().splitlines()[0])
    assert line["segments"][0]["schemas"] == [0]
    assert "schema" not in line
    assert Manifest.decode(manifest.encode()) == manifest
    assert list(map(str, describe(path).schemas)) == ["{'image': uint8[4,4,4], 'label': int, 'name': str}"]
    assert verify(path).is_intact


def test_reader_of_bytes_needs_no_schemas(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [image(1)])
    schemas_file(path).unlink()
    assert len(SplitDataLoader(path)[0]) == 64 + 8 + 2 + 4 + 4
    assert holds(path, [image(1)])


def test_every_way_of_reading_decodes_samples_that_name_a_schema(tmp_path: Path) -> None:
    samples = [image(number) for number in range(30)]
    path = write(tmp_path / "d", samples, bins=3, compression="zstd")
    with SampleDataset(path) as dataset:
        assert all(same(dataset[number], samples[number]) for number in range(-30, 30))
        assert all(map(same, dataset[[4, 1, 7]], [samples[4], samples[1], samples[7]]))
        assert all(map(same, dataset, samples))
        assert dataset.gather([3, 9])["image"].tolist() == [samples[3]["image"].tolist(), samples[9]["image"].tolist()]
        assert dataset.preview(5) == "{'image': uint8[4, 4, 4] 5 5 5 5 ..., 'label': 5, 'name': 'n5'}"
        again = pickle.loads(pickle.dumps(dataset))
        assert same(again[17], samples[17])
    with SampleDataset(path, copy=True) as dataset:
        assert dataset[3]["image"].flags.writeable


def test_samples_that_were_encoded_elsewhere_keep_their_bytes_or_are_bound_as_is_asked(tmp_path: Path) -> None:
    samples = [image(number) for number in range(4)]
    with SplitWriter(tmp_path / "d", codec="sample") as writer:
        assert writer.codec == "sample"
        writer.write(encode_sample(samples[0]))
        writer.write_many([encode_sample(samples[1])], keys=["one"])
        assert writer.write_encoded(map(encode_sample, samples[2:])) == 2
    loader = SplitDataLoader(tmp_path / "d")
    assert [bool(is_alone(record)) for record in loader] == [True, True, False, False]
    assert loader[0] == encode_sample(samples[0])
    assert holds(tmp_path / "d", samples)
    assert SampleDataset(tmp_path / "d").gather(range(4))["label"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("record", [b"", b"another kind", bytes(12)])
def test_bytes_that_are_no_sample_are_refused_by_a_writer_of_samples(tmp_path: Path, record: bytes) -> None:
    with SplitWriter(tmp_path / "d", codec="sample") as writer:
        for take in (writer.write, lambda one: writer.write_many([one]), lambda one: writer.write_many(iter([one]))):
            with pytest.raises(ValueError, match="encode_sample"):
                take(record)
        with pytest.raises(FormatError):
            writer.write_encoded([record])
        writer.write_sample(1)
    assert holds(tmp_path / "d", [1])


def test_records_of_equal_bytes_and_other_schemas_have_another_fingerprint_and_digest(tmp_path: Path) -> None:
    one, other, plain = (tmp_path / name for name in ("one", "other", "plain"))
    write(one, [{"cat": 1, "dog": 2}])
    write(other, [{"dog": 1, "cat": 2}])
    with SplitWriter(plain) as writer:
        writer.write_many(SplitDataLoader(one))
    loaders = [SplitDataLoader(path) for path in (one, other, plain)]
    assert loaders[0][0] == loaders[1][0] == loaders[2][0]
    assert len({loader.fingerprint for loader in loaders}) == 3
    assert len({loader.digest() for loader in loaders}) == 3
    assert [describe(path).fingerprint for path in (one, other, plain)] == [one.fingerprint for one in loaders]


def test_fingerprint_and_digest_stay_when_segments_are_folded_or_samples_converted(tmp_path: Path) -> None:
    samples = [image(number, 4 + number % 3) for number in range(40)]
    folded, whole = tmp_path / "folded", write(tmp_path / "whole", samples)
    for sample in samples:
        write(folded, [sample], mode="append", durability="none")
    convert(whole, tmp_path / "copy", bins=3, compression="zstd")
    loaders = [SplitDataLoader(path) for path in (whole, folded, tmp_path / "copy")]
    assert len({loader.fingerprint for loader in loaders}) == 1
    assert len({loader.digest() for loader in loaders}) == 1


def test_reader_whose_manifest_is_gone_keeps_its_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with SplitWriter(path, bins=1) as writer:
        writer.write_sample({"a": 1})
        writer.commit()
        reader = SplitDataLoader(path)
        state = pickle.dumps(reader)
        expected = reader.fingerprint
        reader.close()
        writer.write_sample({"b": 2})
        writer.commit()
        (path / f"manifest.{reader.generation:010d}.json").unlink()
        again = pickle.loads(state)
        assert (len(again), again.fingerprint) == (1, expected)


# -- several segments --------------------------------------------------------------------------


def test_session_goes_on_with_the_schemas_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "d"
    samples = [image(number, 4 + number % 3) for number in range(9)]
    for start in range(0, 9, 3):
        write(path, samples[start : start + 3], mode="append")
    assert [len(segment.schemas) for segment in manifest_of(path).segments] == [3, 3, 3]
    one = write(tmp_path / "one", samples)
    assert list(SplitDataLoader(path)) == list(SplitDataLoader(one))
    assert SplitDataLoader(path).fingerprint == SplitDataLoader(one).fingerprint
    assert holds(path, samples)


def test_segments_of_writers_at_the_same_time_have_numbers_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write(path, [], codec="sample")
    with SplitWriter(path, mode="append") as one, SplitWriter(path, mode="append") as other:
        one.write_samples([{"a": 1}, {"b": "x"}])
        other.write_samples([{"b": "y"}, {"a": 2}])
    expected = [{"b": "y"}, {"a": 2}, {"a": 1}, {"b": "x"}]
    assert len(manifest_of(path).schemas) == 2
    with SampleDataset(path) as dataset:
        assert [*dataset] == expected
        assert dataset[[3, 0]] == [expected[3], expected[0]]
        assert dataset[-1] == expected[3]
        assert dataset.gather([1, 2])["a"].tolist() == [2, 1]
        assert dataset.gather([1, 1])["a"].tolist() == [2, 2]
    assert verify(path).is_intact


def test_datasets_with_other_schemas_are_read_end_to_end(tmp_path: Path) -> None:
    write(tmp_path / "a", [{"a": 1}, {"b": 2}])
    write(tmp_path / "b", [{"b": 3}])
    with SampleDataset([tmp_path / "a", tmp_path / "b"]) as dataset:
        assert [*dataset] == [{"a": 1}, {"b": 2}, {"b": 3}]
        assert dataset.gather([1, 2])["b"].tolist() == [2, 3]


def test_reader_that_is_refreshed_decodes_what_came(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [{"a": 1}])
    with SampleDataset(path) as dataset:
        write(path, [{"b": 2}], mode="append")
        assert dataset.refresh()
        assert [*dataset] == [{"a": 1}, {"b": 2}]


def test_small_segments_are_folded_with_their_schemas(tmp_path: Path) -> None:
    path = tmp_path / "d"
    samples = [image(number, 4 + number % 3) for number in range(40)]
    for sample in samples:
        write(path, [sample], mode="append", durability="none")
    manifest = manifest_of(path)
    assert len(manifest.segments) < 40
    assert [len(segment.schemas) for segment in manifest.segments[:1]] == [3]
    assert holds(path, samples)
    assert verify(path).is_intact


def test_segments_whose_numbers_mean_other_schemas_are_not_folded_together(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write(path, [], codec="sample")
    expected = []
    for number in range(20):
        with SplitWriter(path, mode="append", durability="none") as one:
            with SplitWriter(path, mode="append", durability="none") as other:
                one.write_samples([{f"one {number}": 1}])
                other.write_samples([{f"other {number}": 2}])
            expected.append({f"other {number}": 2})
        expected.append({f"one {number}": 1})
    assert holds(path, expected)
    assert verify(path).is_intact


def test_session_that_was_killed_is_resumed_with_its_schemas(tmp_path: Path) -> None:
    path = tmp_path / "d"
    samples = [image(number, 4 + number % 5) for number in range(20)]
    writer = SplitWriter(path, bins=1)
    writer.write_samples(samples[:4])
    writer.commit()
    writer.write_samples(samples[4:6])
    kill(writer)
    with SplitWriter(path, bins=1, mode="resume") as again:
        assert again.num_written == 4
        again.write_samples(samples[4:])
    assert len(manifest_of(path).segments) == 1
    assert holds(path, samples)
    assert verify(path).is_intact


def test_schema_of_a_later_version_costs_its_samples_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [{"a": 1}, {"b": 1}])
    before = manifest_of(path)
    later = before.segments[0].schemas[0][:-1] + b"\x7f"
    schemas = (later, before.segments[0].schemas[1])
    forged = dataclasses.replace(before, generation=2, schemas=schemas, segments=())
    forged = dataclasses.replace(forged, segments=(dataclasses.replace(before.segments[0], schemas=schemas),))
    (path / "manifest.0000000002.json").write_bytes(forged.encode())
    write(path, [{"b": 2}, {"a": 2}], mode="append")
    assert manifest_of(path).segments[1].schemas == (*schemas, before.schemas[0])
    with SampleDataset(path) as dataset:
        assert [dataset[1], dataset[2], dataset[3]] == [{"b": 1}, {"b": 2}, {"a": 2}]
        with pytest.raises(UnsupportedVersionError, match="a newer splitdata may know it"):
            dataset[0]
    assert "newer splitdata" in str(describe(path).schemas[0])


def test_overwritten_dataset_has_none_of_the_old_schemas(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [{"a": 1}])
    write(path, [{"b": 1}], mode="overwrite")
    assert len(manifest_of(path).schemas) == 1


# -- damage ------------------------------------------------------------------------------------


def test_damaged_file_of_schemas_is_found_and_made_again_from_the_manifest(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [image(1), {"other": 1}])
    file = schemas_file(path)
    whole = file.read_bytes()
    for content in (None, b"", whole[:70], whole[:80] + b"!" + whole[81:], b"!" + whole[1:], whole[:64]):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        report = verify(path)
        assert [finding.path for finding in report.findings] == [str(file)]
        assert report.num_damaged_records == 0
        assert holds(path, [image(1), {"other": 1}])
        assert any("schemas" in action for action in repair(path).actions)
        assert file.read_bytes() == whole
        assert verify(path).is_intact
    assert not repair(path).actions


@pytest.mark.parametrize("options", [{}, {"schema": TYPES}])
def test_schemas_come_back_from_their_file_where_the_manifest_is_lost(tmp_path: Path, options: dict[str, Any]) -> None:
    samples = [declared(number) for number in range(5)]
    path = write(tmp_path / "d", samples, **options)
    before = manifest_of(path)
    for manifest in path.glob("manifest.*"):
        manifest.write_bytes(b"damaged")
    repair(path)
    after = manifest_of(path)
    assert (after.schemas, after.schema, after.segments) == (before.schemas, before.schema, before.segments)
    assert holds(path, samples)
    assert verify(path).is_intact


def test_records_that_are_adopted_bring_their_schemas(tmp_path: Path) -> None:
    path = tmp_path / "d"
    writer = SplitWriter(path, bins=1)
    writer.write_samples([{"a": 1}])
    writer.commit()
    writer.write_samples([{"b": 2}, {"c": 3}])
    # Written, and never listed.
    kill(writer)
    assert repair(path, adopt=True).num_adopted == 2
    assert holds(path, [{"a": 1}, {"b": 2}, {"c": 3}])
    assert verify(path).is_intact


def test_record_that_is_no_sample_of_its_schema_is_found_by_verify(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [{"a": 1}, {"b": "text"}])
    with SplitWriter(tmp_path / "e") as writer:
        writer.write_many([*SplitDataLoader(path), bytes(3)])
    segment = next((tmp_path / "e" / "segments").iterdir())
    manifest = manifest_of(tmp_path / "e")
    other = manifest_of(path).segments[0].schemas
    forged = json.loads(manifest.encode().splitlines()[0])
    assert segment.name == forged["segments"][0]["id"]
    forged = Manifest(
        generation=2,
        dataset_id=manifest.dataset_id,
        metadata={"record_codec": "sample"},
        segments=tuple(
            type(info)(**{name: getattr(info, name) for name in info.__slots__} | {"schemas": other})
            for info in manifest.segments
        ),
    )
    (tmp_path / "e" / "manifest.0000000002.json").write_bytes(forged.encode())
    (segment / "schemas").write_bytes(SchemasHeader(segment.name).pack() + pack_schemas(other))
    report = verify(tmp_path / "e")
    assert [finding.position for finding in report.findings] == [2]
    assert "no sample" in report.findings[0].problem
    assert report.num_damaged_records == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schemas": ["!"]}, "base64"),
        ({"schemas": "AA=="}, "list of texts"),
        ({"schemas": ["AA==", "AA=="]}, "twice"),
        ({"schemas": [""]}, "list of texts"),
        ({"schemas": []}, "numbers below 0"),
        ({"schema": 1}, "schema is 1"),
        ({"schema": -1}, "schema is -1"),
        ({"schema": True}, "schema is"),
        ({"schemas": None}, "list of texts"),
        ({"schemas": ["AA=", "AA=="]}, "base64"),
        ({"schemas": ["AA=="], "of segment": [1]}, "numbers below 1"),
        ({"schemas": ["AA=="], "of segment": [-1]}, "numbers below 1"),
        ({"schemas": ["AA=="], "of segment": [0, 0]}, "or one twice"),
        ({"schemas": ["AA=="], "of segment": [False]}, "numbers below 1"),
        ({"schemas": ["AA=="], "of segment": {"0": 0}}, "numbers below 1"),
        ({"schemas": ["AAA="] + [f"{n:04d}" for n in range(4097)]}, "the limits are"),
        ({"schemas": ["A" * (6 << 20)]}, "the limits are"),
    ],
)
def test_manifest_that_says_what_cannot_be_of_schemas_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    from splitdata.format.checksum import hash64

    body = json.loads(manifest_of(write(tmp_path / "d", [1])).encode().splitlines()[0]) | change
    if "of segment" in body:
        body["segments"][0]["schemas"] = body.pop("of segment")
    line = json.dumps(body).encode()
    with pytest.raises(ManifestError, match=message):
        Manifest.decode(line + b'\n{"xxh3":"' + f"{hash64(line):016x}".encode() + b'"}\n')


# -- a declared schema -------------------------------------------------------------------------


def test_declared_schema_is_kept_shown_and_enforced(tmp_path: Path) -> None:
    samples = [declared(number) for number in range(6)]
    path = write(tmp_path / "d", samples, schema=TYPES)
    assert holds(path, samples)
    assert manifest_of(path).schema == manifest_of(path).schemas[0]
    text = "{'image': uint8[4,4,4], 'label': int, 'name': str, 'note': str?}"
    assert str(describe(path).schema) == text
    dataset = SampleDataset(path)
    assert str(dataset.schema) == text
    assert dataset.gather([1, 3])["note"] == [None, None]
    assert dataset.gather([0, 2])["note"] == ["note 0", "note 2"]
    assert verify(path).is_intact


def test_example_of_a_sample_declares_its_types_and_shapes(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [image(1), image(2)], schema=image(0))
    assert str(describe(path).schema) == "{'image': uint8[4,4,4], 'label': int, 'name': str}"
    with SplitWriter(path, mode="append") as writer, pytest.raises(SchemaError, match="image"):
        writer.write_sample(image(3, 5))


def test_keys_may_come_in_another_order_and_are_stored_in_the_declared_one(tmp_path: Path) -> None:
    sample = declared(2)
    path = write(tmp_path / "d", [sample, dict(reversed(sample.items()))], schema=TYPES)
    assert holds(path, [sample, sample])
    records = SplitDataLoader(path)
    assert records[0] == records[1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"image": np.zeros((4, 4, 3), np.uint8)}, 'sample["image"]'),
        ({"image": np.zeros((4, 4), np.uint8)}, 'sample["image"]'),
        ({"image": np.zeros((4, 4, 4), np.int8)}, 'sample["image"]'),
        ({"image": [1, 2]}, 'sample["image"]'),
        ({"label": 1.0}, 'sample["label"]'),
        ({"label": None}, 'sample["label"]'),
        ({"label": 2**70}, 'sample["label"]'),
        ({"label": np.int64(3)}, 'sample["label"]'),
        ({"note": 1}, 'sample["note"]'),
        ({"more": 1}, 'sample["more"]'),
    ],
)
def test_sample_that_is_not_of_the_declared_schema_is_refused_by_field_and_record(
    tmp_path: Path, change: dict[str, Any], field: str
) -> None:
    path = tmp_path / "d"
    with SplitWriter(path, schema=TYPES) as writer:
        writer.write_sample(declared(0))
        ways: tuple[Callable[[Any], object], ...] = (
            writer.write_sample,
            lambda one: writer.write_samples([one]),
            lambda one: writer.write(encode_sample(one)),
            lambda one: writer.write_encoded([encode_sample(one)]),
        )
        for take in ways:
            with pytest.raises(SchemaError, match=r"^record 1 of ") as caught:
                take(declared(1) | change)
            assert (caught.value.field, caught.value.record) == (field, 1)
        writer.write_sample(declared(1))
    assert holds(path, [declared(0), declared(1)])


def test_sample_without_a_declared_field_is_refused(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d", schema=TYPES) as writer:
        sample = declared(0)
        del sample["note"]
        with pytest.raises(SchemaError, match="is missing"):
            writer.write_sample(sample)
        writer.write_sample(declared(1))


def test_appending_needs_the_declared_schema_or_says_none(tmp_path: Path) -> None:
    path = write(tmp_path / "d", [declared(0)], schema=TYPES)
    write(path, [declared(1)], mode="append")
    write(path, [declared(2)], mode="append", schema=TYPES)
    write(path, [declared(3)], mode="append", schema=SampleDataset(path).schema)
    with pytest.raises(SchemaError, match="declares the schema"):
        SplitWriter(path, mode="append", schema={"image": "uint8[4,4,4]"})
    plain = write(tmp_path / "plain", [declared(0)])
    with pytest.raises(SchemaError, match="declares no schema"):
        SplitWriter(plain, mode="append", schema=TYPES)
    assert holds(path, [declared(number) for number in range(4)])
    assert len(manifest_of(path).schemas) == 1


def test_rival_that_declares_first_is_not_joined_by_samples_of_no_schema(tmp_path: Path) -> None:
    path = tmp_path / "d"
    write(path, [], codec="sample")
    with SplitWriter(path, mode="append") as plain:
        plain.write_sample({"a": 1})
        write(path, [declared(0)], mode="append", schema=TYPES)
        with pytest.raises(SchemaError):
            plain.commit()
    assert holds(path, [declared(0)])


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"a": "integer"}, "is not a type"),
        ({"a": "int[3]"}, "is not a type"),
        ({"a": "object[3]"}, "is not a type"),
        ({"a": "uint8[x]"}, "is not a type"),
        ({"a": "tensor uint16x[3]"}, "is not a type"),
        ({"a": "longdouble[3]"}, "is not stored"),
    ],
)
def test_declaration_that_is_none_is_refused_before_anything_is_made(
    tmp_path: Path, schema: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SplitWriter(tmp_path / "d", schema=schema)
    assert not (tmp_path / "d").exists()


def test_schema_with_another_codec_than_that_of_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a schema is for samples"):
        SplitWriter(tmp_path / "d", schema=TYPES, codec="json")


def test_every_type_that_can_be_declared_takes_its_values(tmp_path: Path) -> None:
    from datetime import date, datetime, timedelta

    torch: Any = pytest.importorskip("torch")
    types: dict[str, Any] = {
        "i": "int", "f": "float", "b": "bool", "s": "str", "y": "bytes", "d": "date", "t": "datetime",
        "delta": "timedelta", "ints": "list[int]", "floats": "list[float]?", "scalar": "float32",
        "free": "float32[?,3]", "none": "float32[]", "when": "datetime64[ns][2]", "tensor": "tensor bfloat16[?]",
        "in": {"list": ["int?", "str"], "tuple": ("int", {"deep": "uint8[100]?"})},
    }  # fmt: skip
    sample: dict[str, Any] = {
        "i": 1, "f": 0.5, "b": True, "s": "x", "y": b"y", "d": date(2026, 11, 30), "t": datetime(2026, 11, 30),
        "delta": timedelta(1), "ints": [1, 2], "floats": [0.5], "scalar": np.float32(2),
        "free": np.ones((2, 3), np.float32), "none": np.array(1, np.float32),
        "when": np.zeros(2, "M8[ns]"), "tensor": torch.ones(3, dtype=torch.bfloat16),
        "in": {"list": [1, "x"], "tuple": (1, {"deep": np.arange(100, dtype=np.uint8)})},
    }  # fmt: skip
    empty = sample | {
        "ints": [],
        "floats": None,
        "free": np.ones((0, 3), np.float32),
        "in": {"list": [None, ""], "tuple": (1, {"deep": None})},
    }
    path = write(tmp_path / "d", [sample, empty], schema=types)
    found = [*SampleDataset(path)]
    assert list(map(encode_sample, found)) == list(map(encode_sample, [sample, empty]))
    assert not any(map(is_alone, SplitDataLoader(path)))
    assert SampleSchema(manifest_of(path).schemas[0]) == SampleDataset(path).schema


# -- other datasets ----------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"schema": TYPES}])
@pytest.mark.parametrize("shuffle", [None, 5])
def test_converted_samples_take_their_schemas_along(
    tmp_path: Path, options: dict[str, Any], shuffle: int | None
) -> None:
    samples = [declared(number) for number in range(20)]
    path = write(tmp_path / "d", samples[:10], **options)
    write(path, samples[10:], mode="append")
    convert(path, tmp_path / "e", shuffle=shuffle)
    with SampleDataset(tmp_path / "e") as copied:
        found = sorted(copied, key=lambda one: int(one["label"]))
        assert all(map(same, found, samples))
        assert copied.schema == SampleDataset(path).schema
    assert not any(map(is_alone, SplitDataLoader(tmp_path / "e")))
    assert verify(tmp_path / "e").is_intact


def test_samples_of_several_datasets_are_converted_into_one(tmp_path: Path) -> None:
    for name, samples in (("a", [{"a": 1}, {"b": 2}]), ("b", [{"b": 3}, {"a": 4}, {"c": 5}])):
        with SplitWriter(tmp_path / name) as writer:
            writer.write_samples(samples, keys=[f"{name} {number}" for number in range(len(samples))])
    convert([tmp_path / "a", tmp_path / "b"], tmp_path / "e")
    assert holds(tmp_path / "e", [{"a": 1}, {"b": 2}, {"b": 3}, {"a": 4}, {"c": 5}])
    assert SplitDataLoader(tmp_path / "e").find("b 2") == 4


def test_resumable_conversion_of_samples_knows_what_it_has_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [image(number, 4 + number % 3) for number in range(40)]
    path = write(tmp_path / "d", samples)
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 1000)
    real = DatasetSource._numbered

    def failing(source: DatasetSource, position: dict[str, Any]) -> Iterator[Any]:
        for number, record in real(source, position):
            if number == 25:
                raise KeyboardInterrupt
            yield number, record

    with monkeypatch.context() as patch:
        patch.setattr(DatasetSource, "_numbered", failing)
        with pytest.raises(KeyboardInterrupt):
            convert(path, tmp_path / "e", resume=True)
    committed = len(SplitDataLoader(tmp_path / "e"))
    assert 0 < committed <= 25
    report = convert(path, tmp_path / "e", resume=True)
    assert report.num_records == 40 - committed
    assert holds(tmp_path / "e", samples)
