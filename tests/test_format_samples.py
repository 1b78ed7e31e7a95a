"""FORMAT.md section 17, the sample codec and the golden samples say the same.

FORMAT.md ── constants, kinds, hex dump ──> splitdata/samples
    `─ a reader made from it alone <── tests/golden/v1/samples ──> SampleDataset
"""

from __future__ import annotations

import dataclasses
import datetime
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given

from splitdata import SampleDataset, SplitDataLoader, encode_sample, verify
from splitdata.samples import record_codecs, sample_spec
from splitdata.samples.schema import parse_schema
from tests.format_tables import code_words, constant_of, fields_of, section, table
from tests.golden import make_golden
from tests.samples.drawn import Sample, same, samples
from tests.samples.independent import read_sample

SAMPLES: Final = make_golden.GOLDEN / "samples"
torch: Any = pytest.importorskip("torch")


def test_every_constant_of_the_codec_is_stated_in_the_document() -> None:
    stated = {code_words(name)[0]: constant_of(value) for name, value, _ in table("17.2", "name")}
    of_code = {
        name: value for name, value in vars(sample_spec).items() if name.isupper() and not name.startswith("KIND_")
    }
    # Those are listed in the text.
    names = of_code.pop("TENSOR_DTYPES"), of_code.pop("TENSOR_BITS")
    assert stated == of_code
    shown = {name for name in code_words(section("17.4")) if re.fullmatch(r"[<|][biufc]\d+", name)}
    assert shown == set(names[0])
    assert set(names[1]) <= set(code_words(section("17.4")))


def test_every_kind_of_the_codec_is_stated_in_the_document() -> None:
    stated = dict(re.findall(r"^\| `(KIND_\w+)` = (\d+) \|", section("17.3"), re.M))
    of_code = {name: str(value) for name, value in vars(sample_spec).items() if name.startswith("KIND_")}
    assert stated == of_code


def test_every_codec_of_records_is_stated_in_the_document() -> None:
    assert tuple(code_words(row[0])[0] for row in table("17.1", "name")) == record_codecs.CODEC_NAMES


def test_table_of_the_header_describes_what_the_code_packs() -> None:
    data = encode_sample({"a": 1})
    assert fields_of(table("17.2", "offset"), data[:8]) == {
        "magic": sample_spec.SAMPLE_MAGIC,
        "version": sample_spec.SAMPLE_VERSION,
        "schema_bytes": 12,
    }


def test_hex_dump_of_the_document_is_the_first_golden_sample() -> None:
    data = bytearray()
    for line in re.findall(r"```text\n(.*?)```", section("17.7"), re.S)[0].splitlines():
        offset, piece = re.fullmatch(r"([0-9a-f]{8})  ((?:[0-9a-f]{2} ?)+)(?: .*)?", line).groups()  # type: ignore[union-attr]
        assert int(offset, 16) == len(data), line
        data += bytes.fromhex(piece)
    assert data == encode_sample(make_golden.WORKED_SAMPLE) == SplitDataLoader(SAMPLES)[0]
    assert make_golden.dump_of_sample() in section("17.7")


def test_golden_samples_written_again_are_equal_byte_by_byte(tmp_path: Path) -> None:
    make_golden.write_samples(tmp_path / "samples", make_golden.golden_samples())
    for path in SAMPLES.rglob("*.*"):
        assert (tmp_path / "samples" / path.relative_to(SAMPLES)).read_bytes() == path.read_bytes()


def test_golden_samples_are_read_as_they_were_made() -> None:
    dataset = SampleDataset(SAMPLES, types=[make_golden.Point, make_golden.Box])
    expected = make_golden.golden_samples()
    assert verify(SAMPLES).is_intact
    assert len(dataset) == len(expected)
    for found, made in zip(dataset, expected, strict=True):
        assert same(plain(found), plain(made))


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


def test_golden_samples_are_read_by_a_reader_made_from_the_document_alone() -> None:
    for record, made in zip(SplitDataLoader(SAMPLES), make_golden.golden_samples(), strict=True):
        assert same(read_sample(record), plain(made))


def test_golden_samples_have_one_of_each_kind() -> None:
    seen = set()
    for record in SplitDataLoader(SAMPLES):
        nodes = [parse_schema(record[8 : 8 + int.from_bytes(record[4:8], "little")], 1000).root]
        while nodes:
            node = nodes.pop()
            seen.add(node.kind)
            nodes += node.children
    # These stand in tables of schemas alone.
    of_tables = {sample_spec.KIND_SHAPED_ARRAY, sample_spec.KIND_SHAPED_TENSOR, sample_spec.KIND_OPTIONAL}
    assert seen == {value for name, value in vars(sample_spec).items() if name.startswith("KIND_")} - of_tables


@given(samples())
def test_any_sample_is_read_by_a_reader_made_from_the_document_alone(sample: Sample) -> None:
    assert same(read_sample(encode_sample(sample)), plain(sample))
