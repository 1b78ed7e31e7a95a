"""Rows of HDF5 files become samples of the same values; what lies elsewhere, is cut or has no rows is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import convert, open_source
from splitdata.conversion.sources.arrays import array_rows
from tests.conversion.sources.held_sources import refused, samples_of


def test_missing_library_is_an_error_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").touch()
    monkeypatch.setitem(sys.modules, "h5py", None)

    with pytest.raises(ModuleNotFoundError, match=r"needs h5py: pip install 'splitdata\[hdf5\]'"):
        open_source(tmp_path / "a.h5")


ARRAYS = {
    "x": np.arange(42, dtype=np.float32).reshape(14, 3),
    "labels/y": np.arange(14, dtype=np.int16),
    "flags": np.arange(14) % 2 == 0,
    "fields": np.array([(k, k / 2) for k in range(14)], dtype=[("a", "<i4"), ("b", "<f8")]),
}


def _write(path: Path, **more: Any) -> Path:
    h5py: Any = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in ARRAYS.items():
            file.create_dataset(name, data=array, chunks=(4, *array.shape[1:]), compression="gzip")
        file.create_dataset("text", data=[f"ü{k}" for k in range(14)], dtype=h5py.string_dtype())
        file.create_dataset("jpeg", data=[np.arange(k, dtype="u1") for k in range(14)], dtype=h5py.vlen_dtype("u1"))
        for name, value in more.items():
            file[name] = value
    return path


@pytest.mark.parametrize("at_once", [1, 3, 1 << 16])
def test_rows_of_all_data_sets_are_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(array_rows, "_MAX_ROWS", at_once)
    source = open_source(_write(tmp_path / "a.h5"))
    samples = samples_of(source)

    assert (source.kind, len(samples)) == ("hdf5", 14)
    for k, sample in enumerate(samples):
        assert set(sample) == {*ARRAYS, "text", "jpeg"}
        for name, array in ARRAYS.items():
            assert sample[name].dtype == array.dtype
            assert np.array_equal(sample[name], array[k])
        assert sample["text"] == f"ü{k}"
        assert sample["jpeg"].tolist() == list(range(k))
    assert convert(source, tmp_path / "data", resume=True).num_records == 14
    assert [int(one) for one in samples_of(open_source(tmp_path / "a.h5", column="/labels/y"))] == list(range(14))


def test_data_sets_of_different_lengths_are_refused_and_taken_alone(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.h5", other=np.zeros(3), one=7)

    refused(tmp_path, path, r"different numbers of rows: .*other \[3\]")
    refused(tmp_path, path, "has no array 'q'", column="q")
    refused(tmp_path, path, "single value", column="one")
    assert len(list(open_source(path, column="other"))) == 3


def test_values_in_other_files_are_never_read(tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(range(14)))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (14,), "u1", external=[(str(tmp_path / "secret"), 0, 14)])
    refused(tmp_path, tmp_path / "a.h5", "x whose values lie in other files")
    _write(tmp_path / "b.h5")
    layout = h5py.VirtualLayout(shape=(14,), dtype="i2")
    layout[:] = h5py.VirtualSource(tmp_path / "b.h5", "labels/y", shape=(14,))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    refused(tmp_path, tmp_path / "a.h5", "x whose values lie in other files")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(2)
        file["link"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "/x")
        file["soft"] = h5py.SoftLink("/x")
    assert [list(sample) for sample in samples_of(open_source(tmp_path / "a.h5"))] == [["x"], ["x"]]


def test_file_that_is_cut_damaged_or_empty_is_refused(tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    path = _write(tmp_path / "a.h5")
    whole = path.read_bytes()
    for content in (b"", b"x" * 100, whole[:50], whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        refused(tmp_path, path, r"a\.h5 cannot be read as HDF5")
    with h5py.File(path, "w"):
        pass
    refused(tmp_path, path, "holds no array")


def test_references_are_refused(tmp_path: Path) -> None:
    h5py: Any = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(2)
        file["refs"] = np.array([file["x"].ref] * 2, dtype=h5py.ref_dtype)

    refused(tmp_path, tmp_path / "a.h5", "holds Python objects")
