"""What is held of every source: the same records from each position, and DEST untouched by a refusal."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, cast

import pytest

from splitdata import RecordSource, SplitDataError, SplitDataLoader, convert, decode_sample, open_source
from splitdata.conversion.sources.parts import PartedSource, has_parts
from splitdata.conversion.sources.seek import position_of, records_from

__all__ = ["check_positions", "refused", "samples_of"]


def samples_of(source: RecordSource) -> list[Any]:
    """Return the samples of a source, after it was held against what holds for all."""
    return [decode_sample(record) for record in check_positions(source)]


def check_positions(source: RecordSource) -> list[Any]:
    """Return the records of a source that give the same from wherever an iteration stopped, and in parts."""
    everything = list(source)
    if has_parts(source):
        for size in (1, 100, 1 << 30):
            parts = cast("PartedSource", source).parts(size)
            assert [record for part in parts for record in pickle.loads(pickle.dumps(part))] == everything
    assert source.kind
    assert source.identity()
    assert source.num_bytes
    for first in range(len(everything) + 1):
        records = iter(source)
        assert [next(records) for _ in range(first)] == everything[:first]
        position = position_of(source, first) if first else {}
        records.close()
        assert list(records_from(source, position)) == everything[first:], first
    return everything


def refused(tmp_path: Path, path: Any, match: str, error: type[SplitDataError] | None = None, **options: Any) -> None:
    """Hold that a source is refused by an error of a name, and that a dataset stays as it was."""
    from splitdata import SourceError

    dest = tmp_path / "kept dataset"
    if not dest.exists():
        convert([b"old"].__iter__, dest)
    before = {file: file.stat().st_mtime_ns for file in dest.rglob("*")}
    with pytest.raises(error or SourceError, match=match):
        convert(open_source(path, **options), dest, mode="overwrite")
    assert {file: file.stat().st_mtime_ns for file in dest.rglob("*")} == before
    assert [bytes(record) for record in SplitDataLoader(dest)] == [b"old"]
