"""Sources of samples bind them to the schemas of the writer: the same files, and nothing of it stays."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import convert, encode_sample, open_source
from splitdata.conversion import record_feed
from splitdata.conversion.sources.sample_source import bind_source
from splitdata.conversion.sources.several import several_sources
from splitdata.errors import FormatError
from splitdata.samples.schema_table import SchemaTable
from tests.dataset.record_kinds import tree_of


def _jsonl(folder: Path) -> Any:
    (folder / "a.jsonl").write_text("".join(f'{{"a": {number}, "b": [{number % 3}]}}\n' for number in range(50)))
    return open_source(folder / "a.jsonl", typed=True)


def _typed(folder: Path) -> Any:
    (folder / "b.jsonl").write_text('{"a": 1, "b": [1, 2]}\n{"a": 2, "b": []}\n')
    return open_source(folder / "b.jsonl", types={"b": "float32[]"})


def _csv(folder: Path) -> Any:
    (folder / "a.csv").write_text("id,text\n1,x\n2,\n")
    return open_source(folder / "a.csv", typed=True)


def _npy(folder: Path) -> Any:
    np.save(folder / "a.npy", np.arange(24.0).reshape(6, 4))
    return open_source(folder / "a.npy")


def _parquet(folder: Path) -> Any:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"id": [1, 2, 3], "x": [[1.5], None, []]}), folder / "a.parquet")
    return open_source(folder / "a.parquet")


def _tar(folder: Path) -> Any:
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name in ("1.jpg", "1.cls", "2.jpg", "2.cls"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return open_source(folder / "a.tar")


def _pictures(folder: Path) -> Any:
    for name in ("cat/1.png", "dog/2.png"):
        place = folder / "pictures" / name
        place.parent.mkdir(parents=True)
        place.write_bytes(name.encode())
    return open_source(folder / "pictures", kind="imagefolder")


def _several(folder: Path) -> Any:
    for name in "pq":
        (folder / f"{name}.jsonl").write_text('{"a": 1}\n[2]\n')
    return open_source([folder / "p.jsonl", folder / "q.jsonl"], typed=True)


@pytest.mark.parametrize("make", [_jsonl, _typed, _csv, _npy, _parquet, _tar, _pictures, _several])
def test_source_that_binds_its_samples_writes_what_the_writer_would(
    make: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path)
    alone = list(source)
    convert(source, tmp_path / "bound", reproducible=True, metadata={})
    assert list(source) == alone
    assert bind_source(source, SchemaTable())
    assert all(record != sample for record, sample in zip(source, alone, strict=True))
    bind_source(source, None)

    monkeypatch.setattr(record_feed, "bind_source", lambda *_: False)
    convert(source, tmp_path / "data", reproducible=True, metadata={})

    files = [tree_of(tmp_path / name) for name in ("bound", "data")]
    assert {name: data for name, data in files[0].items() if "segments" in name} == {
        name: data for name, data in files[1].items() if "segments" in name
    }


class _Foreign:
    """A source of samples that some package brings, and that binds nothing."""

    kind, name, num_bytes, bytes_read = "jsonl", "foreign", None, 0
    inputs: list[str] = []  # noqa: RUF012
    metadata = {"record_codec": "sample"}  # noqa: RUF012
    skipped: dict[str, int] = {}  # noqa: RUF012

    def __init__(self, records: list[bytes]) -> None:
        self._records = records

    def identity(self) -> str:
        return "foreign"

    def __iter__(self) -> Iterator[bytes]:
        return (record for record in self._records)


def test_samples_of_a_source_that_binds_nothing_are_still_looked_at(tmp_path: Path) -> None:
    sample = encode_sample({"a": 1})
    foreign: Any = _Foreign([sample])
    both = several_sources([_jsonl(tmp_path), foreign], name="both")
    assert not bind_source(both, SchemaTable())

    assert convert(both, tmp_path / "data").num_records == 51
    foreign = _Foreign([sample, b"no sample at all"])
    with pytest.raises(FormatError):
        convert(several_sources([_jsonl(tmp_path), foreign], name="both"), tmp_path / "other")
