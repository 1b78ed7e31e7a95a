"""Rows of npy and npz files become arrays of the same values and types; nothing is unpickled, and damage has a name."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import RecordTooLargeError, SampleDataset, convert, open_source
from splitdata.conversion.sources.arrays import array_rows
from tests.conversion.sources.held_sources import refused, samples_of

ARRAYS: dict[str, Any] = {
    "floats": np.arange(60, dtype=np.float32).reshape(10, 3, 2),
    "columns": np.asfortranarray(np.arange(60, dtype=np.int16).reshape(10, 3, 2)),
    "scalars": np.arange(5, dtype=np.uint64),
    "big endian": np.arange(6, dtype=">i4").reshape(3, 2),
    "texts": np.array(["a", "äöü", ""]),
    "bytes": np.array([b"a", b"", b"xyz"]),
    "times": np.array([0, 1], "M8[ns]"),
    "fields": np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "<i4"), ("b", "<f8")]),
    "no columns": np.zeros((4, 0)),
    "no rows": np.zeros((0, 4)),
    "flags": np.array([[True], [False]]),
}


def _same(found: list[Any], array: Any) -> None:
    assert len(found) == len(array)
    for one, row in zip(found, array, strict=True):
        found_type, wanted = np.asarray(one).dtype.newbyteorder("="), array.dtype.newbyteorder("=")
        # A text that stands alone is as long as it is.
        assert found_type == wanted or wanted.kind == found_type.kind in "US"
        assert np.array_equal(one, row)
        assert np.shape(one) == array.shape[1:]


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("ending", ["npy", "npy.gz"])
def test_rows_are_arrays_of_the_same_values_and_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ending: str
) -> None:
    monkeypatch.setattr(array_rows, "_MAX_ROWS", 3)
    buffer = io.BytesIO()
    np.save(buffer, ARRAYS[name])
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(buffer.getvalue()) if ending == "npy.gz" else buffer.getvalue())

    source = open_source(path)

    assert source.kind == "npy"
    _same(samples_of(source), ARRAYS[name])


def test_rows_become_a_dataset_resumed_or_not(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ARRAYS["floats"])
    np.save(tmp_path / "b.npy", ARRAYS["floats"] + 100)

    convert([tmp_path / "a.npy", tmp_path / "b.npy"], tmp_path / "data", resume=True)

    assert convert(str(tmp_path / "*.npy"), tmp_path / "plain").kind == "npy"
    for dest in ("data", "plain"):
        assert np.array_equal(SampleDataset(tmp_path / dest)[13], ARRAYS["floats"][3] + 100)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("at_once", [3, 1 << 16])
def test_rows_of_all_arrays_are_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Any, at_once: int
) -> None:
    monkeypatch.setattr(array_rows, "_MAX_ROWS", at_once)
    arrays = {name: ARRAYS[name] for name in ("floats", "columns")} | {"labels": np.arange(10)}
    save(tmp_path / "a.npz", **arrays)

    samples = samples_of(open_source(tmp_path / "a.npz"))

    for name, array in arrays.items():
        _same([sample[name] for sample in samples], array)
    _same(samples_of(open_source(tmp_path / "a.npz", column="columns")), arrays["columns"])


def test_arrays_of_different_lengths_are_refused_with_their_shapes_and_taken_alone(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.zeros(4), z=np.float64(1))

    refused(tmp_path, tmp_path / "a.npz", "single value")
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 2)), y=np.zeros(4))
    refused(tmp_path, tmp_path / "a.npz", r"different numbers of rows: x \[3, 2\], y \[4\]; take one with column=NAME")
    refused(tmp_path, tmp_path / "a.npz", "no array 'q'; it has x, y", column="q")
    assert len(list(open_source(tmp_path / "a.npz", column="y"))) == 4


@pytest.mark.parametrize("name", ["floats", "columns", "no rows"])
@pytest.mark.parametrize("ending", ["npy", "npy.gz"])
def test_file_that_is_cut_or_goes_on_is_refused(tmp_path: Path, name: str, ending: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, ARRAYS[name])
    whole, pack = buffer.getvalue(), gzip.compress if ending == "npy.gz" else bytes
    path = tmp_path / f"a.{ending}"
    for content in [b"", *(whole[:size] for size in (1, 9, 100, len(whole) - 1)), whole + b"x", whole + whole]:
        path.write_bytes(pack(content))
        refused(tmp_path, path, "no npy file|needs|goes on behind")


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    objects = np.array([{"a": 1}, None], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", x=objects)

    refused(tmp_path, tmp_path / "a.npy", "Python objects")
    refused(tmp_path, tmp_path / "a.npz", "its array x: .*Python objects")


def _with_header(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "shape", ["(9223372036854775808, 4)", "(-1,)", "(1099511627776, 0)", "(1099511627776,)", "()", "'no shape'"]
)
@pytest.mark.parametrize("descr", ["<f4", "|S0", "|V0", "|O"])
def test_header_that_claims_what_is_not_there_allocates_nothing(tmp_path: Path, shape: str, descr: str) -> None:
    header = _with_header(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}")
    (tmp_path / "a.npy").write_bytes(header)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header)

    for name in ("a.npy", "a.npz"):
        refused(tmp_path, tmp_path / name, "a.np")


def test_row_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        file.write(_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 536870912)}"))
        file.truncate(128 + (1 << 31))

    refused(tmp_path, tmp_path / "a.npy", "rows of 2147483648 bytes", RecordTooLargeError)


def test_npz_with_a_flipped_byte_or_cut_off_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(400, dtype="u1"))
    whole = (tmp_path / "a.npz").read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 1
    for content in (b"", bytes(damaged), whole[:50], whole[:-30], b"PK\3\4" + bytes(100)):
        (tmp_path / "a.npz").write_bytes(content)
        refused(tmp_path, tmp_path / "a.npz", "no npz file that can be read|holds no array")


def test_array_that_samples_do_not_hold_is_refused_by_its_record(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3, np.longdouble))

    refused(tmp_path, tmp_path / "a.npy", r"record 0 of .*a\.npy cannot be stored as a sample: .*float128")
