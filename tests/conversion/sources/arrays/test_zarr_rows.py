"""Rows of Zarr stores become samples of the same values; what is pickled or coded by the unknown is never opened."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SourceError, convert, open_source
from splitdata.conversion.sources.arrays import array_rows
from splitdata.conversion.sources.arrays.zarr_rows import _check_codecs
from tests.conversion.sources.held_sources import refused, samples_of


def test_missing_library_is_an_error_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zarr.json").touch()
    monkeypatch.setitem(sys.modules, "zarr", None)

    with pytest.raises(ModuleNotFoundError, match=r"needs zarr: pip install 'splitdata\[zarr\]'"):
        open_source(tmp_path)


X, Y = np.arange(42, dtype=np.float32).reshape(14, 3), np.arange(14, dtype=np.int16)


def _write(path: Path, version: int) -> Path:
    zarr: Any = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    group.create_array("x", data=X, chunks=(4, 2))
    group.create_group("labels").create_array("y", data=Y, chunks=(5,))
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("at_once", [1, 3, 1 << 16])
def test_rows_of_all_arrays_are_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, at_once: int
) -> None:
    monkeypatch.setattr(array_rows, "_MAX_ROWS", at_once)
    source = open_source(_write(tmp_path / "a.zarr", version))
    samples = samples_of(source)

    assert (source.kind, source.name, len(samples)) == ("zarr", "a.zarr", 14)
    for k, sample in enumerate(samples):
        assert set(sample) == {"x", "labels/y"}
        assert np.array_equal(sample["x"], X[k])
        assert (sample["labels/y"], sample["labels/y"].dtype) == (k, np.int16)
    assert convert(source, tmp_path / "data", resume=True).num_records == 14
    assert len(samples_of(open_source(tmp_path / "a.zarr", column="labels/y"))) == 14


@pytest.mark.parametrize("version", [2, 3])
def test_array_alone_gives_its_rows(tmp_path: Path, version: int) -> None:
    zarr: Any = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "a"), data=X, chunks=(4, 3), zarr_format=version)

    assert np.array_equal(samples_of(open_source(tmp_path / "a")), X)


def test_damaged_or_empty_store_is_refused(tmp_path: Path) -> None:
    zarr: Any = pytest.importorskip("zarr")
    path = _write(tmp_path / "a.zarr", 3)
    chunk = path / "x" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-3])
    refused(tmp_path, path, "cannot be read as Zarr")
    (path / "x" / "zarr.json").write_text("{")
    refused(tmp_path, path, "metadata in zarr.json that are damaged")
    zarr.open_group(str(tmp_path / "b.zarr"), mode="w")
    refused(tmp_path, tmp_path / "b.zarr", "holds no array")


@pytest.mark.parametrize(
    "metadata",
    [
        {"filters": [{"id": "pickle", "protocol": 5}]},
        {"compressor": {"id": "nothing_known"}},
        {"codecs": [{"name": "numcodecs.pickle"}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}]},
        {"metadata": {"x/.zarray": {"filters": [{"id": "pickle"}]}}},
        {"codecs": ["evil"]},
        {"codecs": [7]},
        {"filters": {"id": ["pickle"]}},
    ],
)
@pytest.mark.parametrize("name", [".zarray", ".zmetadata", "zarr.json", "x/y/.zarray"])
def test_codec_that_is_not_known_is_refused_before_the_library_sees_it(
    tmp_path: Path, metadata: dict[str, Any], name: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(json.dumps(metadata))

    with pytest.raises(SourceError, match="is coded by"):
        _check_codecs(tmp_path)


def test_link_in_a_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("/etc")

    with pytest.raises(SourceError, match="symbolic link x"):
        _check_codecs(tmp_path)
