"""Tables that pyarrow and datasets wrote become samples of the same values and types; damage has a name."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SampleDataset, SourceError, SplitDataLoader, convert, open_source
from splitdata.conversion.sources.seek import records_from

pa: Any = pytest.importorskip("pyarrow")
NUM_ROWS = 10


def _table() -> Any:
    """Every type that is read, with a null in each column but one, in several chunks."""
    rows = range(NUM_ROWS)
    columns = {
        "int64": pa.array([None, *rows[1:]], pa.int64()),
        "uint8": pa.array([None, *rows[1:]], pa.uint8()),
        "half": pa.array([None, *np.arange(1, NUM_ROWS, dtype=np.float16)], pa.float16()),
        "flag": pa.array([None, *(row % 2 == 0 for row in rows[1:])]),
        "text": pa.array([None, *(f"ü{row}" for row in rows[1:])]),
        "word": pa.array([None, *("ab"[row % 2] for row in rows[1:])]).dictionary_encode(),
        "image": pa.array([None, *({"bytes": b"\xff\xd8%d" % row, "path": None} for row in rows[1:])]),
        "boxes": pa.array([None, *([[row, 1.5]] * row for row in rows[1:])], pa.list_(pa.list_(pa.float32()))),
        "ids": pa.array([None, *(list(range(row)) for row in rows[1:])], pa.large_list(pa.int32())),
        "pair": pa.array([None, *([row, -row] for row in rows[1:])], pa.list_(pa.int16(), 2)),
        "holes": pa.array([[None, row] for row in rows], pa.list_(pa.int64())),
        "when": pa.array([None, *rows[1:]], pa.timestamp("ns")),
        "zoned": pa.array([None, *rows[1:]], pa.timestamp("us", "UTC")),
        "day": pa.array([None, *rows[1:]], pa.date32()),
    }
    return pa.concat_tables([pa.table(columns).slice(0, 4), pa.table(columns).slice(4)])


def _check(dest: Path, first: int = 0) -> None:
    samples = SampleDataset(dest)
    assert len(samples) == NUM_ROWS - first
    if not first:
        assert samples[0]["holes"] == [None, 0]
        assert {name for name, value in samples[0].items() if value is None} == set(samples[0]) - {"holes"}
    for row in range(max(1, first), NUM_ROWS):
        sample = samples[row - first]
        plain = {name: sample[name] for name in ("int64", "flag", "text", "word", "image", "holes", "day")}
        assert plain == {
            "int64": row,
            "flag": row % 2 == 0,
            "text": f"ü{row}",
            "word": "ab"[row % 2],
            "image": {"bytes": b"\xff\xd8%d" % row, "path": None},
            "holes": [None, row],
            "day": datetime.date(1970, 1, 1) + datetime.timedelta(row),
        }
        assert (sample["uint8"], sample["uint8"].dtype) == (row, np.uint8)
        assert (sample["half"], sample["half"].dtype) == (row, np.float16)
        assert sample["when"] == np.datetime64(row, "ns")
        assert sample["zoned"] == datetime.datetime.fromtimestamp(row / 1e6, datetime.UTC)
        assert sample["ids"].dtype == np.int32
        assert sample["ids"].tolist() == list(range(row))
        assert sample["pair"].dtype == np.int16
        assert sample["pair"].tolist() == [row, -row]
        assert [box.tolist() for box in sample["boxes"]] == [[row, 1.5]] * row
        assert all(box.dtype == np.float32 for box in sample["boxes"])


def _write(path: Path, table: Any) -> Path:
    if path.suffix == ".parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, path, row_group_size=3)
    elif path.name.startswith("stream"):
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        import pyarrow.feather

        pyarrow.feather.write_feather(table, path)
    return path


NAMES = ["a.parquet", "stream.arrow", "file.arrow", "a.feather"]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_samples_of_the_same_types_from_every_position(tmp_path: Path, name: str) -> None:
    source = open_source(_write(tmp_path / name, _table()))
    report = convert(source, tmp_path / "dest")

    assert report.kind == ("parquet" if name == "a.parquet" else "arrow")
    _check(tmp_path / "dest")
    everything = list(source)
    for first in range(NUM_ROWS + 1):
        assert list(records_from(source, {"record": first})) == everything[first:]
    assert convert(source, tmp_path / "resumed", resume=True).num_records == NUM_ROWS


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("column", ["image", "text"])
def test_values_of_one_column_are_records(tmp_path: Path, name: str, column: str) -> None:
    path = _write(tmp_path / name, _table().slice(1))

    convert(open_source(path, column=column), tmp_path / "dest")

    with SplitDataLoader(tmp_path / "dest") as loader:
        assert "record_codec" not in loader.metadata
        assert bytes(loader[3]) == (b"\xff\xd84" if column == "image" else "ü4".encode())


def _refused(tmp_path: Path, path: Path, match: str, column: str | None = None) -> None:
    with pytest.raises(SourceError, match=match):
        convert(open_source(path, column=column), tmp_path / "dest")
    assert not list(tmp_path.glob("dest/manifest*"))


@pytest.mark.parametrize("name", NAMES)
def test_column_that_is_no_bytes_is_refused(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, _table())
    _refused(tmp_path, path, "int in row 1|NoneType in row 0", "int64")
    _refused(tmp_path, path, "NoneType in row 0", "text")
    _refused(tmp_path, path, "0 columns 'nothing'", "nothing")


@pytest.mark.parametrize("name", NAMES)
def test_file_that_is_cut_off_or_flipped_is_refused_or_read_and_never_more(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, _table().select(["int64", "ids", "text"]))
    whole = path.read_bytes()
    for length in [0, 3, 8, len(whole) // 3, len(whole) // 2, len(whole) - 9, len(whole) - 1]:
        path.write_bytes(whole[:length])
        _refused(tmp_path, path, name)
    for place in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            assert sum(1 for _ in open_source(path)) <= NUM_ROWS
        except SourceError as error:
            assert name in str(error)  # noqa: PT017  # some bytes are values, which nothing proves


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (lambda: pa.array([1], pa.decimal128(5)), "type decimal128"),
        (lambda: pa.array([{"bytes": None, "path": "/etc/passwd"}]), "does not hold its bytes"),
    ],
)
def test_value_that_samples_do_not_have_is_refused_by_its_column(tmp_path: Path, column: Any, match: str) -> None:
    _refused(tmp_path, _write(tmp_path / "a.parquet", pa.table({"wrong": column()})), f"wrong .*{match}")


def test_fields_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    _refused(tmp_path, _write(tmp_path / "a.parquet", table), "two fields of the name a")


@pytest.mark.parametrize("name", NAMES)
def test_table_without_rows_is_a_dataset_without_records(tmp_path: Path, name: str) -> None:
    assert convert(_write(tmp_path / name, _table().slice(0, 0)), tmp_path / "dest").num_records == 0


def test_missing_library_is_an_error_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'splitdata\[parquet\]'"):
        open_source(tmp_path / "a.parquet")


def _save(folder: Path, names: list[str]) -> None:
    """Make the files of `save_to_disk`, as far as they are read."""
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{}")
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))


def test_folder_of_save_to_disk_is_read_shard_by_shard(tmp_path: Path) -> None:
    _save(tmp_path / "d", ["stream-0.arrow", "stream-1.arrow"])
    _write(tmp_path / "d" / "stream-0.arrow", _table().slice(0, 5))
    _write(tmp_path / "d" / "stream-1.arrow", _table().slice(5))

    assert convert(tmp_path / "d", tmp_path / "dest").kind == "huggingface"
    _check(tmp_path / "dest")


@pytest.mark.parametrize("name", ["../x.arrow", "/x.arrow", "", ".."])
def test_folder_that_names_files_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    _save(tmp_path / "d", [name])
    _refused(tmp_path, tmp_path / "d", "names no files of this folder")


def test_folders_that_datasets_wrote_are_read_in_the_order_of_its_indices(tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets")
    dataset = datasets.Dataset.from_dict({"x": list(range(20)), "text": [f"t{i}" for i in range(20)]})
    mixed = dataset.shuffle(seed=1).select(range(12))
    mixed.save_to_disk(str(tmp_path / "one"), num_shards=3)
    datasets.DatasetDict(train=dataset, test=mixed).save_to_disk(str(tmp_path / "two"))
    datasets.DatasetDict(train=dataset).save_to_disk(str(tmp_path / "single"))

    convert(tmp_path / "one", tmp_path / "1")
    convert([tmp_path / "two" / "test", tmp_path / "two" / "train"], tmp_path / "2")
    convert(tmp_path / "single", tmp_path / "3")

    assert list(SampleDataset(tmp_path / "1")) == list(mixed)
    assert list(SampleDataset(tmp_path / "2")) == [*mixed, *dataset]
    assert list(SampleDataset(tmp_path / "3")) == list(dataset)
    _refused(tmp_path, tmp_path / "two", "DatasetDict of 2 splits: name those")


def _save_mapped(folder: Path, indices: list[int], name: str = "_indices_data_files") -> None:
    """Make the files of `save_to_disk` of datasets 1, which kept a mapping beside the rows."""
    _save(folder, ["stream-0.arrow", "stream-1.arrow"])
    _write(folder / "stream-0.arrow", _table().slice(0, 5))
    _write(folder / "stream-1.arrow", _table().slice(5))
    _write(folder / "stream-indices.arrow", pa.table({"indices": pa.array(indices, pa.uint64())}))
    state = json.loads((folder / "state.json").read_text()) | {name: [{"filename": "stream-indices.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))


def test_mapping_beside_the_rows_is_applied(tmp_path: Path) -> None:
    indices = [7, 0, 7, 9, 3]
    _save_mapped(tmp_path / "d", indices)
    source = open_source(tmp_path / "d")
    everything = list(source)

    assert convert(source, tmp_path / "dest", resume=True).kind == "huggingface"
    samples = SampleDataset(tmp_path / "dest")
    assert [sample["text"] for sample in samples] == [f"ü{row}" if row else None for row in indices]
    for first in range(6):
        assert list(records_from(source, {"record": first})) == everything[first:]
    assert [bytes(one) for one in open_source(tmp_path / "d", column="text").records_from({"record": 2})] == [  # type: ignore[attr-defined]
        "ü7".encode(),
        "ü9".encode(),
        "ü3".encode(),
    ]


def test_mapping_that_names_other_rows_or_is_cut_is_refused(tmp_path: Path) -> None:
    _save_mapped(tmp_path / "d", [10])
    _refused(tmp_path, tmp_path / "d", "has 10 rows, and its mapping names 10")
    path = tmp_path / "d" / "stream-indices.arrow"
    path.write_bytes(path.read_bytes()[:40])
    _refused(tmp_path, tmp_path / "d", "cannot be read as huggingface")
    _write(path, pa.table({"other": [1]}))
    _refused(tmp_path, tmp_path / "d", "no column of indices")
