"""JSONL, CSV and TFRecord as samples of the same values, with types that are told or given."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from splitdata import SampleDataset, convert, open_source
from splitdata.conversion.sources.records import crc32c as crc32c_module
from splitdata.conversion.sources.records.crc32c import crc32c
from splitdata.conversion.sources.records.tf_example import parse_example
from splitdata.conversion.sources.text.value_types import told_types
from splitdata_cli.main import cli
from tests.conversion.sources.held_sources import refused, samples_of
from tests.conversion.sources.records.test_tfrecord import framed

GOLDEN = Path(__file__).parents[3] / "golden" / "tensorflow"


def _put(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_lines_of_json_are_the_values_that_they_say(tmp_path: Path) -> None:
    path = _put(
        tmp_path / "a.jsonl", '{"id": 7, "x": [1, 2.5], "s": "ü", "n": null, "f": true}\n\n[1]\n12345678901234567890\n'
    )

    samples = samples_of(open_source(path, typed=True))

    assert samples == [{"id": 7, "x": [1, 2.5], "s": "ü", "n": None, "f": True}, [1], 12345678901234567890]
    report = convert(open_source(path, typed=True), tmp_path / "data", resume=True)
    assert (report.kind, report.skipped) == ("jsonl", {"blank line": 1})
    assert SampleDataset(tmp_path / "data")[0]["s"] == "ü"


def test_fields_of_json_get_the_types_that_are_given(tmp_path: Path) -> None:
    path = _put(
        tmp_path / "a.jsonl",
        '{"id": 7, "x": [1, 2.5], "y": 1, "m": [[1], [2]], "e": []}\n{"id": null, "x": [], "y": 0.5, "m": [], "e": []}',
    )
    types = {"id": "uint8", "x": "float32[]", "y": "float", "m": "int16[]", "e": "bool[]"}

    first, second = samples_of(open_source(path, types=types))

    assert (first["id"], first["id"].dtype, second["id"]) == (7, np.uint8, None)
    assert (first["x"].tolist(), first["x"].dtype, second["x"].dtype) == ([1, 2.5], np.float32, np.float32)
    assert (first["y"], type(first["y"])) == (1.0, float)
    assert (first["m"].tolist(), first["m"].dtype) == ([[1], [2]], np.int16)
    assert first["e"].dtype == np.bool_


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('{"a": 256}', "uint8"),
        ('{"a": -1}', "uint8"),
        ('{"a": 1.5}', "int"),
        ('{"a": true}', "int"),
        ('{"a": 1}', "bool"),
        ('{"a": "1"}', "float32"),
        ('{"a": 1e300}', "float32"),
        ('{"a": [1, "x"]}', "int8[]"),
        ('{"a": [1, [2]]}', "int8[]"),
        ('{"a": [300]}', "int8[]"),
        ('{"a": [1.5]}', "int8[]"),
        ('{"a": [1e300]}', "float32[]"),
        ('{"a": {"b": 1}}', "int8[]"),
        ('{"a": 1' + "0" * 400 + "}", "float"),
        ('{"b": 1}', "int"),
        ("[1]", "int"),
    ],
)
def test_value_of_another_type_is_refused_by_record_and_field(tmp_path: Path, line: str, kind: str) -> None:
    path = _put(tmp_path / "a.jsonl", line)

    refused(tmp_path, path, r"record 0 of a\.jsonl cannot be made a sample: ", types={"a": kind})


@pytest.mark.parametrize("line", ["{", '{"a": 1, "a": 2}', "[" * 100_000, "\ufeff\ufeff1", '{"a": 1} 2'])
def test_line_that_is_no_json_or_has_a_field_twice_is_refused(tmp_path: Path, line: str) -> None:
    refused(
        tmp_path, _put(tmp_path / "a.jsonl", "1\n" + line), "record 1 of a.jsonl cannot be made a sample", typed=True
    )


ROWS = 'id,score,word,big,code,empty\n1,0.5,x,12345678901234567890,007,\n-2,,"a\nb",3,010,\n3,1e3,4,5,1,\n'


def test_types_of_columns_are_told_by_their_texts(tmp_path: Path) -> None:
    samples = samples_of(open_source(_put(tmp_path / "a.csv", ROWS), typed=True))

    assert samples[0] == {"id": 1, "score": 0.5, "word": "x", "big": 12345678901234567890, "code": "007", "empty": ""}
    assert samples[1] == {"id": -2, "score": None, "word": "a\nb", "big": 3, "code": "010", "empty": ""}
    assert samples[2]["score"] == 1000.0
    assert samples[2]["word"] == "4"


def test_types_of_columns_that_are_given_are_taken(tmp_path: Path) -> None:
    path = _put(tmp_path / "a.tsv", "id\tx\tflag\tn\n1\t[1, 2]\tTrue\tnan\n2\t\t0\t\n")

    dest = tmp_path / "data"
    arguments = ["write", str(path), str(dest), "--type", "id=int16", "--type", "x=float32[]", "--type", "flag=bool"]
    ended = CliRunner().invoke(cli, [*arguments, "--type", "n=float64"])

    assert ended.exit_code == 0, ended.stderr
    first, second = SampleDataset(dest)
    assert (first["id"].dtype, first["x"].tolist(), first["flag"]) == (np.int16, [1, 2], True)
    assert math.isnan(first["n"])
    assert (second["x"], second["flag"], second["n"]) == (None, False, None)


def test_later_value_of_another_type_is_refused_and_told_how_to_say_it(tmp_path: Path) -> None:
    path = _put(tmp_path / "a.csv", "id\n" + "1\n" * 1000 + "x\n")

    refused(
        tmp_path, path, r"record 1000 of a\.csv .*'id' is 'x', which is no int; .*types=\{'id': 'str'\}", typed=True
    )
    assert len(list(open_source(path, types={"id": "str"}))) == 1001
    refused(tmp_path, path, "no column 'q'", types={"q": "int"})


def test_types_of_several_files_are_those_of_the_first(tmp_path: Path) -> None:
    _put(tmp_path / "a.csv", "x\n0.5\n")
    _put(tmp_path / "b.csv", "x\n1\n")

    assert samples_of(open_source(str(tmp_path / "*.csv"), typed=True)) == [{"x": 0.5}, {"x": 1.0}]


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    path = _put(tmp_path / "a.csv", "x\n1\n")
    for options in ({"column": "x"}, {"header": False}, {"types": {"x": "complex"}}, {"types": {"x": "str[]"}}):
        with pytest.raises(ValueError, match=r"typed=True|the type of x must be"):
            open_source(path, typed=True, **options)
    with pytest.raises(ValueError, match="typed=True is for"):
        open_source(_put(tmp_path / "a.txt", "x"), typed=True)
    assert CliRunner().invoke(cli, ["write", str(path), str(tmp_path / "d"), "--type", "x"]).exit_code == 2


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "-2", "0"], "int"),
        (["1", "0.5"], "float"),
        (["1", "", "x"], "str"),
        (["01"], "str"),
        (["-01.5"], "str"),
        (["-0"], "float"),
        (["1_000"], "str"),
        (["٣"], "str"),
        (["", ""], "str"),
        ([" 1"], "str"),
        (["1e5", ".5"], "float"),
        (["true"], "str"),
    ],
)
def test_told_type_keeps_what_a_text_says(texts: list[str], kind: str) -> None:
    assert told_types({"a": text} for text in texts) == {"a": kind}


# -- tf.train.Example ----------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _example(features: dict[str, bytes]) -> bytes:
    entries = (_field(1, _field(1, name.encode()) + _field(2, feature)) for name, feature in features.items())
    return _field(1, b"".join(entries))


NUMBERS = [0, 1, -1, 127, 128, 300, (1 << 63) - 1, -(1 << 63)]


def test_features_are_lists_of_their_types_packed_or_not(tmp_path: Path) -> None:
    floats = np.array([0.5, -2], "<f4").tobytes()
    message = _example(
        {
            "packed": _field(3, _field(1, b"".join(map(_varint, NUMBERS)))),
            "single": _field(3, b"".join(b"\x08" + _varint(number) for number in NUMBERS)),
            "floats": _field(2, _field(1, floats)),
            "alone": _field(2, b"\x0d" + floats[:4]),
            "bytes": _field(1, _field(1, b"\xff\xd8") + _field(1, b"")),
            "empty": _field(3, b""),
            "none": b"",
        }
    )
    (tmp_path / "a.tfrecord").write_bytes(framed(message) + framed(b"") + framed(_example({})))

    first, *others = samples_of(open_source(tmp_path / "a.tfrecord", typed=True))

    assert first["packed"].tolist() == first["single"].tolist() == NUMBERS
    assert (first["floats"].tolist(), first["floats"].dtype, first["alone"].tolist()) == ([0.5, -2], np.float32, [0.5])
    assert (first["bytes"], first["empty"].tolist(), first["none"]) == ([b"\xff\xd8", b""], [], [])
    assert others == [{}, {}]


def test_examples_that_protobuf_wrote_are_read() -> None:
    # Written with protobuf 7 by the schema of tf.train.Example, tests/golden/make_peers.py.
    samples = samples_of(open_source(GOLDEN / "examples.tfrecord", typed=True))

    for k, sample in enumerate(samples):
        assert sample["label"].tolist() == [k - 2, 1 << 40]
        assert sample["score"].tolist() == [k / 4] * k
        assert sample["image"] == [b"\xff\xd8" * k]
    assert len(samples) == 5


@pytest.mark.parametrize("message", [b"\x0a", b"\x0a\x05ab", b"\x08\x01", b"\x0b", b"\xff" * 11, b"\x0a\x02\x08\x01"])
def test_message_that_is_no_example_is_refused(tmp_path: Path, message: bytes) -> None:
    (tmp_path / "a.tfrecord").write_bytes(framed(_example({})) + framed(message))

    refused(tmp_path, tmp_path / "a.tfrecord", r"record 1 of a\.tfrecord cannot be made a sample: it ", typed=True)


def test_every_flipped_byte_of_an_example_is_a_value_or_a_value_error() -> None:
    message = _example({"a": _field(3, _field(1, b"\x81\x01\x05")), "b": _field(2, _field(1, bytes(8)))})
    for place in range(len(message)):
        for change in (1, 0x80, 0xFF):
            damaged = message[:place] + bytes([message[place] ^ change]) + message[place + 1 :]
            try:
                parse_example(damaged)
            except ValueError as error:
                assert str(error)  # noqa: PT017  # either is right
    with pytest.raises(ValueError, match="SequenceExample"):
        parse_example(_field(1, b"") + _field(2, b""))
    with pytest.raises(ValueError, match="'a' twice"):
        parse_example(_field(1, _example({"a": b""})[2:] * 2))


# -- checksums by a library -----------------------------------------------------------------------


def _by_tables(data: bytes, before: int) -> int:
    state = before ^ 0xFFFFFFFF
    return crc32c_module._of_short(data, state) ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("google_crc32c", SimpleNamespace(implementation="c", extend=lambda before, data: _by_tables(data, before))),
        ("google_crc32c", SimpleNamespace(implementation="python")),
        ("crc32c", SimpleNamespace(crc32c=_by_tables)),
        ("google_crc32c", None),
    ],
)
def test_checksum_is_the_same_by_each_library_and_without(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any
) -> None:
    data = bytes(k * k % 251 for k in range(700))
    wanted = _by_tables(data, 0)
    for one in ("google_crc32c", "crc32c"):
        monkeypatch.setitem(sys.modules, one, None)
    monkeypatch.setitem(sys.modules, name, module)
    crc32c_module._library.cache_clear()
    try:
        is_used = hasattr(module, "extend") or hasattr(module, "crc32c")
        assert (crc32c_module._library() is not None) == is_used
        assert crc32c(data) == crc32c(data[300:], crc32c(data[:300])) == wanted
    finally:
        crc32c_module._library.cache_clear()
