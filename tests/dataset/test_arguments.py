"""What is said of arguments that cannot be right: which, what is wanted, what was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import pytest

from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.writer import SplitWriter
from splitdata.errors import DatasetExistsError

# What no argument may be.
Anything: TypeAlias = Any


def test_reader_refuses_what_is_neither_a_path_nor_paths(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write(b"never taken for a path")
    given: list[tuple[Any, str]] = [
        (None, "NoneType"),
        (5, "int"),
        (SplitDataLoader(tmp_path / "d"), "SplitDataLoader"),
    ]
    for path, name in given:
        with pytest.raises(TypeError, match=f"path must be a path or a list of paths, got {name}"):
            SplitDataLoader(path)

    assert len(SplitDataLoader([tmp_path / "d"] * 2)) == 2


def test_writer_names_the_file_that_stands_in_its_way(tmp_path: Path) -> None:
    (tmp_path / "table.csv").touch()
    for below in ("", "/d", "/d/e"):
        with pytest.raises(DatasetExistsError, match=r"table\.csv is a file; a dataset is a directory"):
            SplitWriter(f"{tmp_path}/table.csv{below}")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (5, "metadata must be a dict with text keys"),
        ([("a", 1)], "metadata must be a dict with text keys"),
        ({1: 2}, "metadata must be a dict with text keys"),
        ({"a": {1, 2}}, "metadata must be values of JSON: Object of type set is not JSON serializable"),
        ({"a": float("nan")}, "metadata must be values of JSON: Out of range"),
    ],
)
def test_metadata_that_are_no_json_are_named(metadata: Anything, said: str, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        SplitWriter(tmp_path / "d", metadata=metadata)

    assert not (tmp_path / "d").exists()
