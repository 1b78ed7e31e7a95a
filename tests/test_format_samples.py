"""docs/format/samples.md, the sample codec and the golden samples say the same.

docs/format/samples.md ── constants, kinds, hex dump ──> splitdata/samples
    `─ a reader made from it alone <── tests/golden/v1/samples ──> SampleDataset
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given

from splitdata import SampleDataset, SplitDataLoader, encode_sample, verify
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.schemas import SchemasHeader, pack_schemas
from splitdata.samples import record_codecs, sample_spec
from splitdata.samples.schema import parse_schema
from tests.format_tables import SAMPLES_DOCUMENT, code_words, constant_of, fields_of, section, table
from tests.golden import make_golden
from tests.samples.drawn import Sample, same, samples
from tests.samples.independent import read_bound, read_sample

SAMPLES: Final = make_golden.GOLDEN / "samples"
torch: Any = pytest.importorskip("torch")


def test_every_constant_of_the_codec_is_stated_in_the_document() -> None:
    stated = {
        code_words(name)[0]: constant_of(value) for name, value, _ in table("2", "name", document=SAMPLES_DOCUMENT)
    }
    of_code = {
        name: value for name, value in vars(sample_spec).items() if name.isupper() and not name.startswith("KIND_")
    }
    # Those are listed in the text.
    names = of_code.pop("TENSOR_DTYPES"), of_code.pop("TENSOR_BITS")
    assert stated == of_code
    shown = {name for name in code_words(section("5", SAMPLES_DOCUMENT)) if re.fullmatch(r"[<|][biufc]\d+", name)}
    assert shown == set(names[0])
    assert set(names[1]) <= set(code_words(section("5", SAMPLES_DOCUMENT)))


def test_every_kind_of_the_codec_is_stated_in_the_document() -> None:
    stated = dict(re.findall(r"^\| `(KIND_\w+)` = (\d+) \|", section("4", SAMPLES_DOCUMENT), re.M))
    of_code = {name: str(value) for name, value in vars(sample_spec).items() if name.startswith("KIND_")}
    assert stated == of_code


def test_every_codec_of_records_is_stated_in_the_document() -> None:
    assert (
        tuple(code_words(row[0])[0] for row in table("1", "name", document=SAMPLES_DOCUMENT))
        == record_codecs.CODEC_NAMES
    )


def test_table_of_the_header_describes_what_the_code_packs() -> None:
    data = encode_sample({"a": 1})
    assert fields_of(table("6", "offset", document=SAMPLES_DOCUMENT), data[:8]) == {
        "magic": sample_spec.SAMPLE_MAGIC,
        "version": sample_spec.SAMPLE_VERSION,
        "schema_bytes": 12,
    }


def test_hex_dumps_of_the_document_are_the_first_golden_sample_its_schema_and_it_standing_alone() -> None:
    dumps = []
    for dump in re.findall(r"```text\n(.*?)```", section("9", SAMPLES_DOCUMENT), re.S):
        data = bytearray()
        for line in dump.splitlines():
            offset, piece = re.fullmatch(r"([0-9a-f]{8})  ((?:[0-9a-f]{2} ?)+)(?: .*)?", line).groups()  # type: ignore[union-attr]
            assert int(offset, 16) == len(data), line
            data += bytes.fromhex(piece)
        dumps.append(bytes(data))
    assert dumps == [schemas_of(SAMPLES)[0], SplitDataLoader(SAMPLES)[0], encode_sample(make_golden.WORKED_SAMPLE)]
    assert dumps[2] == SplitDataLoader(SAMPLES)[-1]
    assert make_golden.dump_of_sample() in section("9", SAMPLES_DOCUMENT)


def test_table_of_the_file_of_schemas_describes_what_the_code_packs() -> None:
    header = SchemasHeader("0f" * 16, is_declared=True)
    assert fields_of(table("7", "offset", document=SAMPLES_DOCUMENT), header.pack()) == {
        "magic": spec.SCHEMAS_MAGIC,
        "major": spec.MAJOR,
        "minor": spec.MINOR,
        "header_bytes": 64,
        "segment": bytes.fromhex("0f" * 16),
        "must_understand": 0,
        "may_ignore": 1,
        "reserved": bytes(16),
        "header_hash": hash64(header.pack()[:56]),
    }


def test_table_of_an_item_of_that_file_describes_what_the_code_packs() -> None:
    rows = table("7", "offset", 1, document=SAMPLES_DOCUMENT)
    packed = pack_schemas([b"schema"])
    assert fields_of(rows[:3], packed[:16]) == {"length": 6, "reserved": 0, "hash": hash64(b"schema")}
    assert packed[16:] == b"schema\0\0"


def test_stated_fingerprint_and_digest_are_made_as_the_document_says() -> None:
    loader = SplitDataLoader(SAMPLES)
    lists = struct.pack("<I", len(schemas_of(SAMPLES)))
    for schema in schemas_of(SAMPLES):
        lists += struct.pack("<I", len(schema)) + schema
    items = b"".join(len(record).to_bytes(8, "little") + record for record in loader)
    marked = (2**64 - 2).to_bytes(8, "little") + lists
    digest = hashlib.sha256(hashlib.sha256(items).digest() + hashlib.sha256(marked).digest()).hexdigest()
    fingerprint = f"{loader.fingerprint.rpartition('-')[0]}-{hash64(lists):016x}"
    assert (loader.fingerprint, loader.digest()) == (fingerprint, digest)
    assert {fingerprint, digest} <= set(code_words(section("9", SAMPLES_DOCUMENT)))


@pytest.mark.parametrize("name", ["samples", "declared"])
def test_golden_samples_written_again_are_equal_byte_by_byte(tmp_path: Path, name: str) -> None:
    if name == "samples":
        make_golden.write_samples(tmp_path / name, make_golden.golden_samples())
    else:
        make_golden.write_declared(tmp_path / name)
    for path in filter(Path.is_file, (make_golden.GOLDEN / name).rglob("*")):
        assert (tmp_path / name / path.relative_to(make_golden.GOLDEN / name)).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["samples", "declared"])
def test_golden_samples_are_read_as_they_were_made(name: str) -> None:
    dataset = SampleDataset(make_golden.GOLDEN / name, types=[make_golden.Point, make_golden.Box])
    assert verify(make_golden.GOLDEN / name).is_intact
    for found, made in zip(dataset, golden(name), strict=True):
        assert same(plain(found), plain(made))


def golden(name: str) -> list[Any]:
    """Return the samples of a golden dataset."""
    if name == "declared":
        return make_golden.declared_samples()
    expected = make_golden.golden_samples()
    return [*expected, expected[0]]


def schemas_of(path: Path) -> list[bytes]:
    """Return the schemas of the first segment, as the manifest lists them: read with nothing of the library."""
    manifest = json.loads(max(path.glob("manifest.*")).read_bytes().splitlines()[0])
    schemas = [base64.b64decode(schema) for schema in manifest["schemas"]]
    return [schemas[number] for number in manifest["segments"][0]["schemas"]]


def plain(value: Sample) -> Sample:
    """Return a sample in the words of the independent reader: arrays and tensors as name, shape and bytes."""
    if isinstance(value, (np.ndarray, np.generic)):
        what = "array" if isinstance(value, np.ndarray) else "scalar"
        return (what, plain_dtype(value.dtype), value.shape, value.tobytes())
    if isinstance(value, torch.Tensor):
        name = str(value.dtype).removeprefix("torch.")
        memory = value.reshape(-1).view(torch.uint8).numpy().tobytes()
        return (
            "array",
            name if name in sample_spec.TENSOR_BITS else value.numpy().dtype.str,
            tuple(value.shape),
            memory,
        )
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(child) for child in value] if type(value) is list else tuple(plain(child) for child in value)
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime.datetime):
        return plain_moment(value)
    return value


def plain_moment(value: datetime.datetime) -> Sample:
    wall, offset, zone = value.replace(tzinfo=None, fold=0), value.utcoffset(), value.tzinfo
    if offset is None:
        return (wall, value.fold)
    default = datetime.timezone(offset).tzname(None)
    name = getattr(zone, "key", None) or ("" if zone.tzname(None) == default else zone.tzname(None))  # type: ignore[union-attr]
    return (wall, value.fold, offset // datetime.timedelta(microseconds=1), name)


def plain_dtype(dtype: np.dtype[Any]) -> Sample:
    if dtype.names is None:
        return dtype.str
    fields = []
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]  # type: ignore[index]
        base, shape = field.subdtype or (field, ())
        fields.append((name, offset, shape, (plain_dtype(base), base.itemsize)))
    return fields


@pytest.mark.parametrize("name", ["samples", "declared"])
def test_golden_samples_are_read_by_a_reader_made_from_the_document_alone(name: str) -> None:
    path = make_golden.GOLDEN / name
    for record, made in zip(SplitDataLoader(path), golden(name), strict=True):
        assert same(read_bound(record, schemas_of(path)), plain(made))


def test_golden_samples_have_one_of_each_kind() -> None:
    alone = SplitDataLoader(SAMPLES)[-1]
    schemas = [alone[8 : 8 + int.from_bytes(alone[4:8], "little")]]
    nodes = [
        parse_schema(schema, 1000).root
        for schema in (*schemas, *schemas_of(SAMPLES), *schemas_of(make_golden.GOLDEN / "declared"))
    ]
    seen = set()
    while nodes:
        node = nodes.pop()
        seen.add(node.kind)
        nodes += node.children
    # A tensor whose schema leaves all dimensions free comes where there are many shapes.
    kinds = {value for name, value in vars(sample_spec).items() if name.startswith("KIND_")}
    assert seen == kinds - {sample_spec.KIND_TENSOR}


@given(samples())
def test_any_sample_is_read_by_a_reader_made_from_the_document_alone(sample: Sample) -> None:
    assert same(read_sample(encode_sample(sample)), plain(sample))
