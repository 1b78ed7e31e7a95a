"""Chunks that LitData wrote become samples of the same values; what is damaged or pickled is refused."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SampleDataset, SplitDataError, convert, open_source
from splitdata.conversion.sources.shards.litdata_values import leaf_reader, tree_builder
from tests.conversion.sources.held_sources import refused, samples_of
from tests.golden.make_peers import NUM_SAMPLES, litdata_sample

GOLDEN = Path(__file__).parents[3] / "golden" / "litdata"


@pytest.mark.parametrize("name", ["tree", "chunk", "batch", "sample"])
def test_items_have_the_values_and_types_that_were_written(name: str) -> None:
    source = open_source(GOLDEN / name)
    samples = samples_of(source)

    assert (source.kind, len(samples)) == ("litdata", NUM_SAMPLES)
    for k, sample in enumerate(samples):
        wanted = litdata_sample(k)
        assert list(sample) == list(wanted)
        for field, value in wanted.items():
            assert type(sample[field]) is type(value)
            if isinstance(value, np.ndarray):
                assert sample[field].dtype == value.dtype
                assert np.array_equal(sample[field], value)
            else:
                assert sample[field] == value


def test_tokens_and_single_values_are_read(tmp_path: Path) -> None:
    assert [one.tolist() for one in samples_of(open_source(GOLDEN / "tokens"))] == [
        list(range(k, k + 4)) for k in range(NUM_SAMPLES)
    ]
    assert samples_of(open_source(GOLDEN / "alone")) == list(range(NUM_SAMPLES))
    assert convert(GOLDEN / "tree", tmp_path / "data", resume=True).kind == "litdata"
    assert SampleDataset(tmp_path / "data")[4]["pair"] == (4, {"q": 4})


def test_pickled_leaf_is_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path, GOLDEN / "pickled", "leaf 1 of the format pickle, which is pickled")


def _copy(tmp_path: Path, name: str, change: Callable[[dict[str, Any]], object] = lambda index: None) -> Path:
    folder = tmp_path / "litdata"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(GOLDEN / name, folder)
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda i: i["chunks"][0].update(filename="../x"), "no name of a file in its folder"),
        (lambda i: i["chunks"][0].update(chunk_size=4), "its index says 4"),
        (lambda i: i["chunks"][0].update(chunk_size=1 << 40), "are the limit"),
        (lambda i: i["chunks"][0].update(chunk_size=None), "'chunk_size' is None"),
        (lambda i: i.update(chunks=[]), "has no chunks"),
        (lambda i: i["config"].update(encryption="fernet"), "is encrypted"),
        (lambda i: i["config"].update(compression="lz4"), "compressed with lz4"),
        (lambda i: i["config"].update(compression="zstd", compression_level="all"), "compression_level"),
        (lambda i: i["config"].update(compression="zstd", compression_level="batch"), "no chunk that zstd"),
        (lambda i: i["config"].update(compression="zstd", compression_level="chunk"), "zstd"),
        (lambda i: i["config"].update(compression="zstd", compression_level="sample"), "zstd"),
        (lambda i: i["config"].update(item_loader="ParquetLoader"), "ParquetLoader of LitData"),
        (lambda i: i["config"].update(item_loader="TokensLoader"), "leaves"),
        (lambda i: i["config"]["data_format"].pop(), "leaves"),
        (lambda i: i["config"]["data_format"].__setitem__(0, "graph"), "graph, which is not read"),
        (lambda i: i["config"]["data_format"].__setitem__(0, "no_header_numpy:14"), "data type 14"),
        (lambda i: i["config"]["data_format"].__setitem__(0, "no_header_tensor:x"), "no_header_tensor:x"),
        (lambda i: i["config"].update(data_spec="x"), "data_spec"),
        (lambda i: i["config"].update(data_spec=None), "'data_spec' is None"),
    ],
)
def test_index_that_claims_what_is_not_there_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], match: str
) -> None:
    refused(tmp_path, _copy(tmp_path, "tree", change), match)


@pytest.mark.parametrize(
    "spec",
    [
        "[1, {}]",
        "[2, null]",
        "[1, 7]",
        "[" * 50_000,
        '[1, {"type": "builtins.set", "context": "null", "children_spec": []}]',
        '[1, {"type": "builtins.dict", "context": "[[]]", "children_spec": []}]',
        '[1, {"type": "builtins.dict", "context": "[1]", "children_spec": []}]',
        '[1, {"type": "builtins.dict", "context": "x", "children_spec": []}]',
    ],
)
def test_tree_that_is_none_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"tree|dict|container|JSON|Expecting"):
        tree_builder(spec)


@pytest.mark.parametrize("name", ["tree", "chunk", "batch", "sample", "tokens"])
def test_flipped_or_missing_bytes_are_refused_or_values_and_never_more(tmp_path: Path, name: str) -> None:
    folder = _copy(tmp_path, name)
    path = next(folder.glob("chunk-0-0*"))
    whole = path.read_bytes()
    for place in [*range(0, 100, 3), *range(100, len(whole), 23)]:
        content = bytearray(whole)
        content[place % len(whole)] ^= 0x91
        path.write_bytes(content)
        try:
            assert len(list(open_source(folder))) == NUM_SAMPLES
        except SplitDataError as error:
            assert path.name in str(error)  # noqa: PT017  # some bytes are values, which nothing proves
    for size in (0, 3, 7, 16, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(tmp_path, folder, path.name)


@pytest.mark.parametrize("data", [b"", b"\xff" * 7, b"\0\0\0\x12\xff\xff\xff\xff", b"\x0b\0\0\0\1\0\0\0\5\0\0\0ab"])
def test_bytes_that_are_no_value_of_any_format_raise_nothing_but_value_error(data: bytes) -> None:
    for name in ("bool", "int", "float", "json", "pil", "jpeg_array", "tensor", "numpy"):
        reader = leaf_reader(name)
        assert reader is not None
        with contextlib.suppress(ValueError):
            reader(data)
