"""Shards that MosaicML's MDSWriter wrote become samples of the same values; what is damaged or pickled is refused."""

from __future__ import annotations

import contextlib
import gzip
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SampleDataset, SplitDataError, convert, open_source
from splitdata.conversion.sources.shards.mds_values import mds_encoding
from tests.conversion.sources.held_sources import refused, samples_of
from tests.golden.make_peers import NUM_SAMPLES, mds_sample

GOLDEN = Path(__file__).parents[3] / "golden" / "mosaicml"


def _same(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert (found.dtype, found.shape, found.tolist()) == (wanted.dtype, wanted.shape, wanted.tolist())
    else:
        assert found == wanted


def test_samples_have_the_values_and_types_that_were_written() -> None:
    source = open_source(GOLDEN / "plain")
    samples = samples_of(source)

    assert (source.kind, len(samples), source.name) == ("mds", NUM_SAMPLES, "plain")
    for k, sample in enumerate(samples):
        pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) + k
        wanted = mds_sample(k) | {"money": "1.10", "pixels": pixels}
        pictures = [sample.pop("png"), *sample.pop("pngs")]
        assert len(pictures) == k + 1
        assert all(picture.startswith(b"\x89PNG") for picture in pictures)
        assert set(sample) == set(wanted)
        for name, value in wanted.items():
            _same(sample[name], value)


@pytest.mark.parametrize("name", ["zstd", "gz", "bz2"])
def test_shards_that_are_compressed_as_a_whole_are_read(name: str) -> None:
    samples = samples_of(open_source(GOLDEN / name))

    for k, sample in enumerate(samples):
        for column in ("raw", "text", "number", "any"):
            _same(sample[column], mds_sample(k)[column])
    assert len(samples) == NUM_SAMPLES


def test_shard_that_is_decompressed_beside_its_compressed_file_is_taken(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "gz", tmp_path / "d")
    packed = tmp_path / "d" / "shard.00000.mds.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()

    assert len(samples_of(open_source(tmp_path / "d"))) == NUM_SAMPLES


def test_folder_converts_resumed_and_by_its_index_and_among_others(tmp_path: Path) -> None:
    report = convert(GOLDEN / "plain", tmp_path / "data", resume=True)

    assert (report.kind, report.num_records) == ("mds", NUM_SAMPLES)
    assert SampleDataset(tmp_path / "data")[3]["text"] == "ü3"
    assert list(open_source(GOLDEN / "plain" / "index.json")) == list(open_source(GOLDEN / "plain"))
    assert len(list(open_source([GOLDEN / "zstd", GOLDEN / "gz"]))) == 2 * NUM_SAMPLES


def test_pickled_column_and_unread_compression_are_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path, GOLDEN / "pickled", "column text of the encoding pkl, which is pickled")
    refused(tmp_path, GOLDEN / "br", "compressed with br, which is not read")


def _copy(tmp_path: Path, change: Callable[[dict[str, Any]], object] = lambda shard: None) -> Path:
    """Copy the plain shards, with another index."""
    folder = tmp_path / "mds"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(GOLDEN / "plain", folder)
    index = json.loads((folder / "index.json").read_text())
    for shard in index["shards"]:
        change(shard)
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def _without_hashes(shard: dict[str, Any]) -> None:
    shard["raw_data"]["hashes"] = {}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda s: s["raw_data"].update(basename="../x.mds"), "no name of a file in its folder"),
        (lambda s: s["raw_data"].update(basename="/etc/passwd"), "no name of a file in its folder"),
        (lambda s: s["raw_data"].update(basename=""), "no name of a file in its folder"),
        (lambda s: s["raw_data"].update(bytes=1 << 62), "and its index says"),
        (lambda s: s["raw_data"].update(bytes=-1), "'bytes' is -1"),
        (lambda s: s["raw_data"].update(hashes={"sha1": "0" * 40}), "has the sha1"),
        (lambda s: s["raw_data"].update(hashes={"xxh3_64": "0" * 16}), "has the xxh3_64"),
        (lambda s: s["raw_data"].update(hashes={"nothing": ""}), "not known here"),
        (lambda s: s["raw_data"].update(hashes={"shake_128": ""}), "not known here"),
        (lambda s: s.update(samples=1 << 40), "are the limit for one file"),
        (lambda s: s.update(samples=1 << 26), "ends within its table"),
        (lambda s: s.update(samples=2), "its index says 2"),
        (lambda s: s.update(samples=True), "'samples' is True"),
        (lambda s: s.update(version=3), "version 3, are not read"),
        (lambda s: s.update(format="json"), "format json"),
        (lambda s: s["column_names"].pop(), "one name, encoding and size"),
        (lambda s: s["column_names"].__setitem__(0, s["column_names"][1]), "one name, encoding and size"),
        (lambda s: s["column_encodings"].__setitem__(0, "nonsense"), "encoding nonsense, which is not read"),
        (lambda s: s["column_encodings"].__setitem__(0, "ndarray:object"), "no data type"),
        (lambda s: s["column_encodings"].__setitem__(0, "ndarray:int32:0"), "no shape"),
        (lambda s: s["column_encodings"].__setitem__(0, "ndarray:int32:x"), "damaged: column"),
        (lambda s: s["column_encodings"].__setitem__(0, "int64"), "and not 8"),
        (lambda s: s["column_encodings"].__setitem__(0, 7), "something else than texts"),
    ],
)
def test_index_that_claims_what_is_not_there_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], match: str
) -> None:
    refused(tmp_path, _copy(tmp_path, change), match)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"shards": []}', '{"shards": [1]}', '{"shards": {}}', "[" * 100_000, "\xff"]
)
def test_index_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    folder = _copy(tmp_path)
    (folder / "index.json").write_bytes(text.encode("latin-1"))

    refused(tmp_path, folder, "index.json", kind="mds")


def test_missing_shard_is_named(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    (folder / "shard.00001.mds").unlink()

    with pytest.raises(FileNotFoundError, match=r"shard\.00001\.mds"):
        open_source(folder)


def test_every_flipped_byte_is_refused_where_there_are_hashes(tmp_path: Path) -> None:
    folder = _copy(tmp_path)
    whole = (folder / "shard.00000.mds").read_bytes()
    for place in range(0, len(whole), 97):
        (folder / "shard.00000.mds").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SplitDataError, match=r"shard\.00000\.mds has the sha1"):
            list(open_source(folder))


def test_every_flipped_or_missing_byte_without_hashes_is_refused_or_a_value(tmp_path: Path) -> None:
    folder = _copy(tmp_path, _without_hashes)
    path = folder / "shard.00000.mds"
    whole = path.read_bytes()
    num_refused = 0
    for place in [*range(24), *range(500, len(whole), 5)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x81]) + whole[place + 1 :])
        try:
            assert len(list(open_source(folder))) == NUM_SAMPLES
        except SplitDataError as error:
            assert "shard.00000.mds" in str(error)  # noqa: PT017  # some bytes are values, which nothing proves
            num_refused += 1
    assert num_refused > 50
    for size in (0, 3, 4, 23, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(tmp_path, folder, "was truncated, or replaced")


@pytest.mark.parametrize("name", ["zstd", "gz", "bz2"])
def test_compressed_shard_that_is_shorter_inside_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "d"
    shutil.copytree(GOLDEN / name, folder)
    index = json.loads((folder / "index.json").read_text())
    shard = index["shards"][0]
    path = folder / shard["zip_data"]["basename"]
    path.write_bytes(path.read_bytes()[:-20])
    shard["zip_data"].update(bytes=path.stat().st_size, hashes={})
    (folder / "index.json").write_text(json.dumps(index))

    refused(tmp_path, folder, r"truncated|damaged")


@pytest.mark.parametrize("data", [b"", b"\x42", b"\x08", b"\x08\xff", b"\x41\x07", b"\xff" * 9, pickle.dumps([1])])
def test_bytes_that_are_no_value_of_any_encoding_raise_nothing_but_value_error(data: bytes) -> None:
    names = ["ndarray", "ndarray:int32", "ndarray:int32:2", "pil", "list[pil]", "list[png]", "jpeg_array", "json"]
    for name in [*names, "str", "int", "uint16", "float64", "str_int", "str_float"]:
        encoding = mds_encoding(name)
        assert encoding is not None
        with contextlib.suppress(ValueError):
            encoding.decode(data + b"\xff\xfe")
