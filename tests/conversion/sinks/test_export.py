"""export: what goes out through any format comes back the same, types included, or an error names field and type.

dataset ──export──> files of the format ──convert──> dataset: equal samples, equal keys where the format has them
"""

from __future__ import annotations

import datetime
import json
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from splitdata import SampleDataset, SchemaError, SplitDataLoader, SplitWriter, convert, export, extract, open_source
from splitdata.conversion.sinks import mds_sink, table_sink, webdataset_sink
from splitdata.conversion.sinks.staging import staged
from splitdata.conversion.sinks.webdataset_sink import values_of_suffixes
from tests.command import run_python

Format = Literal["files", "jsonl", "csv", "parquet", "arrow", "webdataset", "tfrecord", "mds", "npy", "hf"]


def write(path: Path, samples: list[Any], *, keys: bool = False) -> Path:
    with SplitWriter(path, codec="sample", bins=2) as writer:
        writer.write_samples(samples, keys=[f"k/{number}" for number in range(len(samples))] if keys else None)
    return path


def same(one: Any, other: Any) -> bool:
    """Say whether two samples are equal, with all their types."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        # MDS has columns in the order of their names.
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (np.ndarray, np.generic)):
        return one.dtype == other.dtype and one.shape == other.shape and bool(one.tobytes() == other.tobytes())
    return bool(one == other)


def picture(number: int) -> bytes:
    """A PNG of a digit-like array, as a real encoder would write it."""
    pixels = np.random.default_rng(number).integers(0, 255, (8, 8), np.uint8)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def table_row(number: int) -> dict[str, Any]:
    return {
        "image": {"bytes": picture(number), "path": None},
        "label": number - 5,
        "weight": np.float32(number / 3),
        "half": np.float16(number),
        "byte": np.uint8(number),
        "score": number / 7,
        "is_odd": number % 2 == 1,
        "text": f'a\n,"{number}" ü',
        "day": datetime.date(2020, 1, 1 + number),
        "at": np.datetime64(number, "us"),
        "took": np.timedelta64(number, "ms"),
        "ids": np.arange(number % 4, dtype=np.int64),
        "values": np.linspace(0, 1, number % 3 + 1, dtype=np.float32),
        "flags": np.array([True, False]),
        "words": ["a", "b"][: number % 3],
        "rows": [np.arange(2, dtype=np.int16), np.arange(number % 2, dtype=np.int16)],
        "maybe": None if number % 2 else [{"x": b"\0"}, None],
        "late": None if number < 15 else "now",
    }


def json_value(number: int) -> dict[str, Any]:
    return {"a": number << 70, "b": [number / 3, None, True, {"ü\ud800": "\0"}], "c": {}}


FORMATS: dict[str, tuple[Format, str, Callable[[int], Any], str]] = {
    "parquet": ("parquet", "d.parquet", table_row, "auto"),
    "arrow": ("arrow", "d.arrow", table_row, "auto"),
    "hf": ("hf", "d", table_row, "huggingface"),
    "webdataset": (
        "webdataset",
        "shards",
        lambda number: {
            "png": picture(number),
            "seg.bin": b"",
            "label": number,
            "t": "ü\ud800",
            "x": np.zeros((2, 0, 3), "<f2"),
            "j": [1, {}],
        },
        "webdataset",
    ),
    "one tar": ("webdataset", "d.tar", lambda number: {"png": picture(number), "txt": b"x"}, "auto"),
    "mds": (
        "mds",
        "d",
        lambda number: {
            "x": np.full((number % 3 + 1, 300, 2), number, np.float16),
            "b": picture(number),
            "id": -number,
            "s": "ü" * number,
            "n": np.int32(number),
            "f": np.float64(number / 3),
            "j": [number, None],
        },
        "mds",
    ),
    "npy": ("npy", "d.npy", lambda number: np.full((3, 2), number, ">i4"), "auto"),
    "npz": ("npy", "d.npz", lambda number: {"x": np.full(3, number, np.float32), "y": np.int64(number)}, "auto"),
}


def read_back(tmp_path: Path, dest: Path, name: str, kind: str, **options: Any) -> SampleDataset:
    if name in ("parquet", "arrow", "hf"):
        pytest.importorskip("pyarrow")
    source: Any = sorted(map(str, dest.iterdir())) if name == "webdataset" else dest
    convert(open_source(source, kind=kind), tmp_path / "back", **options)
    return SampleDataset(tmp_path / "back", copy=True)


@pytest.mark.parametrize("has_keys", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_typed_samples_come_back_the_same(
    tmp_path: Path, name: str, has_keys: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    to, dest, sample, kind = FORMATS[name]
    if name in ("parquet", "arrow", "hf"):
        pytest.importorskip("pyarrow")
    # Several batches, shards and archives.
    monkeypatch.setattr(table_sink, "_BATCH_ROWS", 8)
    monkeypatch.setattr(mds_sink, "_SHARD_BYTES", 9000)
    monkeypatch.setattr(webdataset_sink, "_SHARD_RECORDS", 8)
    samples = [sample(number) for number in range(20)]
    write(tmp_path / "data", samples, keys=has_keys)

    report = export(tmp_path / "data", tmp_path / dest, to=to)

    transform = values_of_suffixes if name == "webdataset" else None
    found = read_back(tmp_path, tmp_path / dest, name, kind, transform=transform)
    assert report.num_records == len(found) == 20
    for one, other in zip(found, samples, strict=True):
        assert same(one, other)
    if "webdataset" in to and has_keys:
        assert found.records.key(3) == "k/3"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


RECORDS = [b'{"a": "x,\\"y\\n"}', b'{"a":"\\u00fc"}', b'{ "a": "" }']


@pytest.mark.parametrize("codec", [None, "json", "bytes"])
@pytest.mark.parametrize("to", ["jsonl", "csv", "tfrecord", "files"])
def test_records_of_bytes_come_back_the_same(tmp_path: Path, to: Format, codec: Any) -> None:
    with SplitWriter(tmp_path / "data", codec=codec) as writer:
        for number, record in enumerate(RECORDS):
            writer.write(record, key=f"d{number}/x.json" if to == "files" else None)
    dest = tmp_path / {"files": "d", "tfrecord": "d.tfrecord"}.get(to, f"d.{to}")

    export(tmp_path / "data", dest, to=to)

    convert(dest, tmp_path / "back")
    back = SplitDataLoader(tmp_path / "back")
    is_as_it_was = to != "csv"
    assert [record if is_as_it_was else json.loads(record) for record in back] == [
        record if is_as_it_was else json.loads(record) for record in RECORDS
    ]
    if to == "files":
        assert back.key(1) == "d1/x.json"


def test_json_of_samples_says_what_they_are(tmp_path: Path) -> None:
    samples = [json_value(number) for number in range(20)]
    write(tmp_path / "data", samples)

    export(tmp_path / "data", tmp_path / "d.jsonl", to="jsonl", limit=15)

    lines = (tmp_path / "d.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line) for line in lines[:-1]] == samples[:15]


@pytest.mark.parametrize(
    ("to", "sample", "field", "what"),
    [
        ("jsonl", {"a": [{"b": np.int64(3)}]}, "a[0].b", "a scalar of numpy's int64"),
        ("jsonl", {"a": float("nan")}, "a", "float"),
        ("jsonl", {"a": (1,)}, "a", "tuple"),
        ("csv", {"a": b"x"}, "a", "bytes"),
        ("csv", {"a": None}, "a", "NoneType"),
        ("parquet", {"a": {"b": np.zeros((2, 2), np.float32)}}, "a.b", r"an array float32\[2, 2\]"),
        ("parquet", {"a": [1, 2]}, "a", "list"),
        ("arrow", {"a": np.int64(1)}, "a", "a scalar of numpy's int64"),
        ("hf", {"a": 1 << 64}, "a", "int"),
        ("arrow", {"a": [1, "x", None]}, "a[1]", "str"),
        ("webdataset", {"A": b""}, "A", "bytes"),
        ("webdataset", {"x.npy": b""}, "x.npy", "bytes"),
        ("webdataset", {"a": np.float32(1)}, "a", "a scalar of numpy's float32"),
        ("mds", {"a": 0.5}, "a", "float"),
        ("mds", {"a": np.zeros(2, ">f4").astype(bool)}, "a", r"an array bool\[2\]"),
        ("npy", {"a": 1}, None, "dict"),
        ("npy", 7, None, "int"),
        ("tfrecord", {"a": 1}, None, "dict"),
        ("files", {"a": 1}, None, "dict"),
        ("parquet", [1], None, "list"),
    ],
)
def test_what_a_format_cannot_hold_is_an_error_that_names_field_and_type(
    tmp_path: Path, to: Format, sample: Any, field: str | None, what: str
) -> None:
    if to in ("parquet", "arrow", "hf"):
        pytest.importorskip("pyarrow")
    write(tmp_path / "data", [sample])

    with pytest.raises(SchemaError, match=what) as caught:
        export(tmp_path / "data", tmp_path / "dest", to=to)

    assert (caught.value.field, caught.value.record) == (field, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_column_takes_one_field_and_pictures_go_through_folders_tables_and_shards(tmp_path: Path) -> None:
    for number in range(12):
        path = tmp_path / "root" / f"class{number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    convert(open_source(tmp_path / "root", kind="imagefolder"), tmp_path / "data")
    samples = list(SampleDataset(tmp_path / "data"))

    export(tmp_path / "data", tmp_path / "files", to="files", column="image")
    export(tmp_path / "data", tmp_path / "shards", to="webdataset", keys=False)
    convert(tmp_path / "shards" / "000000.tar", tmp_path / "from shards", transform=values_of_suffixes)

    names = sorted(path.relative_to(tmp_path / "root") for path in (tmp_path / "root").rglob("*.png"))
    assert sorted(path.relative_to(tmp_path / "files") for path in (tmp_path / "files").rglob("*.png")) == names
    for name in names:
        assert (tmp_path / "files" / name).read_bytes() == (tmp_path / "root" / name).read_bytes()
    assert list(SampleDataset(tmp_path / "from shards")) == samples
    pytest.importorskip("pyarrow")
    export(tmp_path / "data", tmp_path / "d.parquet", to="parquet")
    convert(tmp_path / "d.parquet", tmp_path / "from parquet")
    assert list(SampleDataset(tmp_path / "from parquet")) == samples


def test_export_replaces_nothing_unless_told_and_leaves_what_is_there_when_it_fails(tmp_path: Path) -> None:
    write(tmp_path / "data", [{"a": 1}, {"a": b""}])
    (tmp_path / "d.jsonl").write_bytes(b"mine")
    # What a killed export has left.
    (tmp_path / ".d.jsonl.partial").mkdir()

    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(tmp_path / "data", tmp_path / "d.jsonl", to="jsonl")
    with pytest.raises(SchemaError):
        export(tmp_path / "data", tmp_path / "d.jsonl", to="jsonl", overwrite=True)
    assert (tmp_path / "d.jsonl").read_bytes() == b"mine"
    export(tmp_path / "data", tmp_path / "d.jsonl", to="jsonl", overwrite=True, limit=1)

    assert (tmp_path / "d.jsonl").read_bytes() == b'{"a":1}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.jsonl", "data"]
    with pytest.raises(ValueError, match="inside the dataset"):
        export(tmp_path / "data", tmp_path / "data" / "x", to="jsonl")


KILLED = """
import os, sys
from pathlib import Path
from splitdata import export

rename, calls = Path.rename, []

def dying(self, target):
    calls.append(target)
    if len(calls) == int(sys.argv[3]):
        os._exit(9)
    return rename(self, target)

Path.rename = dying
export(sys.argv[1], sys.argv[2], to="files", overwrite=True)
"""


@pytest.mark.parametrize("at", [1, 2])
def test_export_that_is_killed_while_it_replaces_a_folder_loses_nothing(tmp_path: Path, at: int) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"new", "name.txt")
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine.txt").write_text("old")
    (tmp_path / "kill.py").write_text(KILLED)

    ended = run_python(tmp_path / "kill.py", tmp_path / "data", tmp_path / "dest", str(at))
    assert ended.returncode == 9, ended.stderr
    with pytest.raises(FileExistsError, match="overwrite=True"):
        export(tmp_path / "data", tmp_path / "dest", to="files")
    assert [path.name for path in (tmp_path / "dest").iterdir()] == ["mine.txt"]

    export(tmp_path / "data", tmp_path / "dest", to="files", overwrite=True)
    assert [path.name for path in (tmp_path / "dest").iterdir()] == ["name.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "dest", "kill.py"]


def test_second_export_to_a_place_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    write(tmp_path / "data", [{"a": 1}])
    with staged(tmp_path / "d.jsonl", overwrite=False) as (place, _):
        with pytest.raises(BlockingIOError, match="at work"):
            export(tmp_path / "data", tmp_path / "d.jsonl", to="jsonl")
        place.write_text("first")
    assert (tmp_path / "d.jsonl").read_text() == "first"


def test_extract_names_files_by_keys_and_by_what_they_are(tmp_path: Path) -> None:
    records: list[tuple[bytes, str | None]] = [
        (picture(1), "a/pic"),
        (b"\xff\xd8\xff\xe0", "a/b.jpeg"),
        (b"[1]", None),
        (b"text", None),
        (b"\0\1", "bin"),
        (b"", None),
    ]
    with SplitWriter(tmp_path / "data") as writer:
        for record, key in records:
            writer.write(record, key)

    report = extract(tmp_path / "data", tmp_path / "out", positions=[0, 1, 2, 3, -2])
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}

    assert report.num_records == 5
    assert names == {"a/pic.png", "a/b.jpeg", "000000002.json", "000000003.txt", "bin.bin"}
    with pytest.raises(FileExistsError, match="pic"):
        extract(tmp_path / "data", tmp_path / "out")
    with pytest.raises(IndexError, match="no record 6"):
        extract(tmp_path / "data", tmp_path / "none", positions=[0, 6])
    assert not (tmp_path / "none").exists()


HOSTILE = [
    "../x",
    "/x",
    "a/../../x",
    "a//b",
    "a/",
    ".",
    "a/./b",
    "C:x",
    "a\\..\\x",
    "a\0",
    "a\nb",
    "con",
    "aux.png",
    "x" * 300,
    "a ",
    "b.",
]


@pytest.mark.parametrize("key", HOSTILE)
@pytest.mark.parametrize("way", [partial(export, to="files"), extract])
def test_hostile_key_is_refused_and_nothing_is_written_outside(
    tmp_path: Path, key: str, way: Callable[..., object]
) -> None:
    (tmp_path / "in").mkdir()
    with SplitWriter(tmp_path / "in" / "data") as writer:
        writer.write(b"x", key)

    with pytest.raises(SchemaError, match="no path below a folder"):
        way(tmp_path / "in" / "data", tmp_path / "in" / "out")

    assert list(tmp_path.iterdir()) == [tmp_path / "in"]
    assert not list((tmp_path / "in").glob("out/**/*"))


def test_links_in_the_folder_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "b.txt").symlink_to(tmp_path / "elsewhere" / "new")
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"x", "a/x")
        writer.write(b"x", "b.txt")
    for position in (0, 1):
        with pytest.raises(OSError, match="out/"):
            extract(tmp_path / "data", tmp_path / "out", positions=[position])
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_real_readers_of_each_library_take_what_was_written(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    samples = [{"id": number, "text": str(number), "ids": np.arange(3)} for number in range(10)]
    write(tmp_path / "data", samples)

    export(tmp_path / "data", tmp_path / "hf", to="hf")

    found = datasets.load_from_disk(str(tmp_path / "hf"))
    assert found["id"][:] == list(range(10))
    assert found[3]["ids"] == [0, 1, 2]


def test_shards_that_are_just_full_are_followed_by_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset_sink, "_SHARD_RECORDS", 8)
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_samples([{"id": number} for number in range(16)])

    export(tmp_path / "data", tmp_path / "shards", to="webdataset")

    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == ["000000.tar", "000001.tar"]
