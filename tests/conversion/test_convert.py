"""convert: a source becomes a dataset whole, or the dataset stays as it was."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import splitdata
from splitdata import (
    ConversionProgress,
    DatasetExistsError,
    RecordSource,
    SampleDataset,
    SourceError,
    SplitDataLoader,
    convert,
    open_source,
)


class MadeSource:
    """A source of given records, which may end in an error."""

    kind = "made"
    name = "made"
    num_bytes = None
    bytes_read = 0

    def __init__(self, records: list[object], error: BaseException | None = None) -> None:
        self.skipped: dict[str, int] = {}
        self.inputs: list[str] = []
        self.is_closed = False
        self._records = records
        self._error = error

    def identity(self) -> str:
        return "made"

    def __iter__(self) -> Generator[bytes, None, None]:
        try:
            yield from self._records  # type: ignore[misc]  # whatever the test wants to pass for a record
            if self._error:
                raise self._error
        finally:
            self.is_closed = True


def text_file(folder: Path, count: int = 100) -> Path:
    path = folder / "a.txt"
    path.write_bytes(b"".join(b"line %d\n" % number for number in range(count)))
    return path


def test_folder_becomes_a_dataset_in_the_order_of_its_paths(tmp_path: Path) -> None:
    root = tmp_path / "root"
    large = os.urandom(3 << 20)
    for name, data in {"b/x": b"1", "a": b"", "c": large, ".h": b"0"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)

    report = convert(root, tmp_path / "data", bins=2)

    assert list(SplitDataLoader(tmp_path / "data")) == [b"", b"1", large]
    assert report.kind == "folder"
    assert report.positions == range(3)
    assert report.num_records == 3
    assert report.num_bytes == 1 + len(large)
    assert report.skipped == {"hidden name": 1}


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_file_of_many_blocks_becomes_one_record(tmp_path: Path, compression: None) -> None:
    data = os.urandom(1 << 20) * 18 + b"end"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "large").write_bytes(data)
    seen: list[ConversionProgress] = []

    report = convert(tmp_path / "root", tmp_path / "data", compression=compression, progress=seen.append)

    assert SplitDataLoader(tmp_path / "data")[0] == data
    assert report.num_bytes == len(data)
    # Not only at its end: a record may take minutes.
    assert sum(progress.num_records == 0 for progress in seen) >= 3
    assert seen[-1] == ConversionProgress(1, len(data), len(data))


def test_progress_rises_to_what_the_report_says(tmp_path: Path) -> None:
    path = text_file(tmp_path, 10_000)
    seen: list[ConversionProgress] = []

    report = convert(path, tmp_path / "data", progress=seen.append)

    counts = [progress.num_records for progress in seen]
    assert counts == sorted(counts)
    assert len(counts) > 10
    assert seen[-1] == ConversionProgress(report.num_records, report.num_bytes, path.stat().st_size)


def test_limit_takes_records_from_the_front(tmp_path: Path) -> None:
    report = convert(text_file(tmp_path), tmp_path / "data", limit=3)

    assert report.positions == range(3)
    assert list(SplitDataLoader(tmp_path / "data")) == [b"line 0", b"line 1", b"line 2"]
    assert convert(text_file(tmp_path), tmp_path / "more", limit=1000).num_records == 100


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused(tmp_path: Path, limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be 1 or more"):
        convert(text_file(tmp_path), tmp_path / "data", limit=limit)
    assert not (tmp_path / "data").exists()


def test_empty_file_becomes_an_empty_dataset(tmp_path: Path) -> None:
    report = convert(text_file(tmp_path, 0), tmp_path / "data")

    assert report.num_records == 0
    assert len(SplitDataLoader(tmp_path / "data")) == 0


def test_append_adds_behind_and_keeps_the_metadata(tmp_path: Path) -> None:
    path = text_file(tmp_path, 2)
    convert(path, tmp_path / "data")
    (tmp_path / "b.jsonl").write_bytes(b"{}\n")

    report = convert(tmp_path / "b.jsonl", tmp_path / "data", mode="append")

    loader = SplitDataLoader(tmp_path / "data")
    assert report.positions == range(2, 3)
    assert list(loader) == [b"line 0", b"line 1", b"{}"]
    assert loader.metadata == {"source": {"kind": "lines", "name": "a.txt"}}


def test_overwrite_replaces_what_was_there(tmp_path: Path) -> None:
    convert(text_file(tmp_path, 5), tmp_path / "data")
    with pytest.raises(DatasetExistsError):
        convert(text_file(tmp_path, 1), tmp_path / "data")
    convert(text_file(tmp_path, 1), tmp_path / "data", mode="overwrite", metadata={"own": 1})

    loader = SplitDataLoader(tmp_path / "data")
    assert list(loader) == [b"line 0"]
    assert loader.metadata == {"own": 1}


@pytest.mark.parametrize("error", [SourceError("cut off"), OSError(5, "disk"), KeyboardInterrupt(), LookupError("x")])
@pytest.mark.parametrize("mode", ["create", "append", "overwrite"])
def test_error_of_the_source_leaves_the_dataset_as_it_was(tmp_path: Path, mode: str, error: BaseException) -> None:
    if mode != "create":
        convert(text_file(tmp_path, 3), tmp_path / "data")
    source = MadeSource([b"x" * 1000] * 20_000, error)

    with pytest.raises(type(error)):
        convert(source, tmp_path / "data", mode=mode)  # type: ignore[arg-type]  # one of the three

    assert source.is_closed
    if mode == "create":
        assert not (tmp_path / "data").exists()
    else:
        assert list(SplitDataLoader(tmp_path / "data")) == [b"line 0", b"line 1", b"line 2"]
        assert splitdata.verify(tmp_path / "data").is_intact


def test_record_that_is_none_commits_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        convert(MadeSource([b"a", 7]), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_truncated_input_commits_nothing(tmp_path: Path) -> None:
    import gzip

    whole = gzip.compress(b"".join(b"line %d\n" % number for number in range(100_000)))
    (tmp_path / "a.txt.gz").write_bytes(whole[:-5])

    with pytest.raises(SourceError, match="truncated"):
        convert(tmp_path / "a.txt.gz", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("dest", ["root", "root/data", "root/a/../data", "link/data"])
def test_dataset_inside_of_what_is_read_is_refused(tmp_path: Path, dest: str) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "root" / "file").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "root", target_is_directory=True)

    with pytest.raises(ValueError, match="would lie inside the source"):
        convert(tmp_path / "root", tmp_path / dest)
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["a", "file"]


def test_reproducible_conversions_give_equal_files(tmp_path: Path) -> None:
    for place in ("one", "two"):
        (tmp_path / place / "root" / "d").mkdir(parents=True)
        (tmp_path / place / "root" / "d" / "b").write_bytes(b"1")
        (tmp_path / place / "root" / "a").write_bytes(b"2")
        convert(tmp_path / place / "root", tmp_path / place / "data", reproducible=True, bins=2)
    convert(tmp_path / "one" / "root", tmp_path / "other", bins=2)

    assert files_of(tmp_path / "one" / "data") == files_of(tmp_path / "two" / "data")
    assert files_of(tmp_path / "one" / "data") != files_of(tmp_path / "other")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_options_reach_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes((b"abc" * 1000 + b"\n") * 50)
    convert(open_source(path), tmp_path / "data", bins=3, compression="zstd", compression_level=9, durability="none")

    described = splitdata.describe(tmp_path / "data")
    assert described.num_bins == 3
    assert described.stored_bytes < described.raw_bytes / 10


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"shuffle": 1}, {"transform": dict}, {"group": 2}])
@pytest.mark.parametrize("mode", ["create", "append"])
def test_samples_stay_samples_where_metadata_are_given(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    if mode == "append" and "resume" in options:
        pytest.skip("resume goes without append")
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n')

    def source() -> RecordSource:
        return open_source(tmp_path / "a.jsonl", typed=True)

    if mode == "append":
        convert(source(), tmp_path / "data", metadata={"first": 1})
    convert(source(), tmp_path / "data", mode=mode, metadata={"own": 1}, **options)  # type: ignore[arg-type]  # of a list

    samples = SampleDataset(tmp_path / "data")
    assert sorted(sample["a"] for sample in samples) == ([1, 1, 2, 2] if mode == "append" else [1, 2])
    assert samples.records.metadata.items() >= {"own": 1, "record_codec": "sample"}.items()
