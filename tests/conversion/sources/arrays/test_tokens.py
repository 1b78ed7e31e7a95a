"""Token files become arrays of numbers: documents and sequences of Megatron, blocks of flat files."""

from __future__ import annotations

import gzip
import struct
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from splitdata import SampleDataset, open_source
from splitdata.conversion.sources.arrays import megatron
from splitdata_cli.main import cli
from tests.conversion.sources.held_sources import refused, samples_of

DOCUMENTS = [[[1, 2, 3]], [[4], [5, 6]], [], [[], [7]], [[60000] * 40]]


def _write(path: Path, documents: list[list[list[int]]] = DOCUMENTS, code: int = 8, modes: bool = False) -> Path:
    """Write what IndexedDatasetBuilder of Megatron-LM writes."""
    dtype = np.dtype(megatron._DTYPES[code])
    sequences = [np.array(sequence, dtype) for document in documents for sequence in document]
    lengths = np.array([len(sequence) for sequence in sequences], "<i4")
    places = np.concatenate([[0], np.cumsum(lengths[:-1] * dtype.itemsize)]).astype("<i8")[: len(lengths)]
    bounds = np.cumsum([0, *map(len, documents)]).astype("<i8")
    path.with_suffix(".bin").write_bytes(b"".join(sequence.tobytes() for sequence in sequences))
    header = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, code, len(lengths), len(bounds))
    tail = bytes(len(lengths)) if modes else b""
    path.with_suffix(".idx").write_bytes(header + lengths.tobytes() + places.tobytes() + bounds.tobytes() + tail)
    return path.with_suffix(".bin")


@pytest.mark.parametrize(("code", "modes"), [(code, code % 2 == 0) for code in megatron._DTYPES])
@pytest.mark.parametrize("at_once", [1, 3])
def test_documents_and_sequences_are_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, modes: bool, at_once: int
) -> None:
    monkeypatch.setattr(megatron, "_SEQUENCES_AT_ONCE", at_once)
    small = [[[value % 100 for value in one] for one in document] for document in DOCUMENTS]
    path = _write(tmp_path / "a", small, code, modes)

    source = open_source(path)
    samples = samples_of(source)

    assert source.kind == "megatron"
    assert [one.tolist() for one in samples] == [list(chain(*document)) for document in small]
    assert {one.dtype for one in samples} == {np.dtype(megatron._DTYPES[code])}
    sequences = samples_of(open_source(path.with_suffix(".idx"), kind="megatron-sequences"))
    assert [one.tolist() for one in sequences] == list(chain(*small))


def test_token_files_that_are_cut_or_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a")
    tokens, index = path.read_bytes(), path.with_suffix(".idx").read_bytes()
    path.write_bytes(tokens[:-1])
    refused(tmp_path, path, "index names bytes")
    path.write_bytes(tokens)
    for size in (9, 33, 34, 60, len(index) - 1, len(index) + 3):
        path.with_suffix(".idx").write_bytes(index.ljust(size)[:size])
        refused(tmp_path, path, "truncated|documents need")
    path.with_suffix(".idx").unlink()
    with pytest.raises(FileNotFoundError):
        open_source(path, kind="megatron")


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (9, struct.pack("<Q", 2), "version 2"),
        (17, b"\x09", "data type 9"),
        (18, struct.pack("<Q", 1 << 62), "sequences of"),
        (26, struct.pack("<Q", 1 << 62), "documents need"),
        (34, struct.pack("<i", -1), "names bytes"),
        (34, struct.pack("<i", (1 << 31) - 1), "1 GiB|names bytes"),
        (34 + 6 * 4, struct.pack("<q", -8), "names bytes"),
        (34 + 6 * 4, struct.pack("<q", 1 << 60), "names bytes"),
        (34 + 6 * 12, struct.pack("<q", 1), "leave out sequences"),
        (34 + 6 * 12 + 8, struct.pack("<q", 1 << 40), "has a document of"),
    ],
)
def test_index_that_claims_what_is_not_there_is_refused(tmp_path: Path, place: int, value: bytes, match: str) -> None:
    path = _write(tmp_path / "a")
    index = bytearray(path.with_suffix(".idx").read_bytes())
    index[place : place + len(value)] = value
    path.with_suffix(".idx").write_bytes(index)

    from splitdata import SplitDataError

    refused(tmp_path, path, match, SplitDataError)


@pytest.mark.parametrize("dtype", ["u16", "u32", "i64"])
@pytest.mark.parametrize("name", ["a.bin", "a.bin.gz"])
@pytest.mark.parametrize("count", [0, 8, 9])
def test_flat_tokens_are_cut_into_blocks_of_which_the_last_is_shorter(
    tmp_path: Path, dtype: str, name: str, count: int
) -> None:
    tokens = np.arange(count, dtype=f"<{dtype[0]}{int(dtype[1:]) // 8}")
    content = tokens.tobytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    source = open_source(tmp_path / name, kind="tokens", dtype=dtype, block=4)
    if not content and name == "a.bin":
        assert list(source) == []
        return

    samples = samples_of(source)

    assert [one.tolist() for one in samples] == [tokens[k : k + 4].tolist() for k in range(0, count, 4)]
    assert all(one.dtype == tokens.dtype for one in samples)


@pytest.mark.parametrize(("mark", "version", "dtype"), [(20240520, 1, "<u2"), (20240801, 7, "<u4")])
def test_files_of_llm_c_say_which_type_and_how_many(tmp_path: Path, mark: int, version: int, dtype: str) -> None:
    header = np.zeros(256, "<i4")
    header[:3] = mark, version, 7
    path = tmp_path / "a.bin"
    path.write_bytes(header.tobytes() + np.arange(7, dtype=dtype).tobytes())

    ended = CliRunner().invoke(cli, ["write", str(path), str(tmp_path / "data"), "--from", "tokens", "--block", "3"])

    assert ended.exit_code == 0, ended.stderr
    assert [one.tolist() for one in SampleDataset(tmp_path / "data")] == [[0, 1, 2], [3, 4, 5], [6]]
    path.write_bytes(path.read_bytes()[:-4])
    refused(tmp_path, path, "says that it has 7 tokens", kind="tokens", block=3)
    refused(tmp_path, path, "says that its tokens are", kind="tokens", block=3, dtype="i64")


def test_tokens_without_a_type_of_a_wrong_size_or_without_a_block_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(9))
    refused(tmp_path, path, "say it: dtype='u16'", kind="tokens", block=4)
    refused(tmp_path, path, "no multiple of 2", kind="tokens", block=4, dtype="u16")
    with pytest.raises(ValueError, match="block=1024"):
        open_source(path, kind="tokens", dtype="u16")
    with pytest.raises(ValueError, match="dtype must be one of"):
        open_source(path, kind="tokens", dtype="f16", block=2)
    with pytest.raises(ValueError, match="is for flat files of tokens"):
        open_source(path, kind="lines", block=2)
