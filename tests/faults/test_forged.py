"""Whatever a manifest, an index or a frame says: the library's own errors only, in bounded time and memory.

checksums are repaired, so that each lie reaches the code behind them
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import ManifestError, SplitDataError, SplitDataLoader, SplitWriter, verify
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader
from tests.command import ROOT, run_python
from tests.faults.file_faults import fast_folder
from tests.faults.forging import write_manifest
from tests.faults.small_dataset import FIRST_SEGMENT, RECORDS, Io, segment_folders, write_small


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with fast_folder(tmp_path_factory.mktemp("forged")) as folder:
        write_small(folder / "original")
        yield folder / "original"


@pytest.fixture(scope="module")
def dataset(original: Path) -> Path:
    return Path(shutil.copytree(original, original.with_name("data")))


def body_of(path: Path) -> dict[str, Any]:
    """Return what the manifest says."""
    (manifest,) = path.glob("manifest.*.json")
    body: dict[str, Any] = json.loads(manifest.read_bytes().split(b"\n")[0])
    return body


def use(path: Path) -> None:
    """Open a dataset and do everything that can be done with it, within bounds; only SplitDataError may come out."""
    _attempt(_use, path, "mmap")
    _attempt(_use, path, "pread")


def _use(path: Path, io: Io) -> None:
    with SplitDataLoader(path, io=io, max_record_bytes=1 << 20) as loader:
        count = len(loader)
        assert isinstance(loader.fingerprint, str)
        json.dumps(loader.metadata)
        for position in (place for place in {0, 1, 4, 5, count // 2, count - 1} if 0 <= place < count):
            for read in (loader.__getitem__, loader.view, loader.sizes.__getitem__):
                _attempt(read, position)
            _attempt(loader.__getitems__, [position])
        _attempt(_walk_some, iter(loader))
        _attempt(_walk_some, loader.iterate_binwise())
        if count < 1000:
            _attempt(_walk_some, loader.iterate_binwise(shuffle=True, seed=1))


def _walk_some(records: Iterator[bytes]) -> None:
    for _ in zip(range(20), records, strict=False):
        pass


def _attempt(action: Callable[..., object], *arguments: object) -> None:
    message = ""
    try:
        action(*arguments)
    except SplitDataError as error:
        message = str(error)
    assert len(message) < 2000


NUMBERS = st.one_of(
    st.integers(-2, 12),
    st.sampled_from([2**31, 2**32 - 2, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63)]),
)
# Few bins or millions of them, but no shuffle over them here.
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=True), st.text(max_size=40)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=10), inner, max_size=4)),
    max_leaves=12,
)


@settings(max_examples=300)
@given(value=VALUES)
def test_manifest_of_any_json_is_read_or_refused(dataset: Path, value: object) -> None:
    write_manifest(dataset, json.dumps(value).encode())

    use(dataset)


@settings(max_examples=300)
@given(data=st.binary(max_size=200))
def test_manifest_of_any_bytes_is_refused(dataset: Path, data: bytes) -> None:
    write_manifest(dataset, data)

    with pytest.raises(SplitDataError):
        SplitDataLoader(dataset)


@settings(max_examples=600)
@given(data=st.data())
def test_manifest_with_one_odd_field_is_read_or_refused(dataset: Path, original: Path, data: st.DataObject) -> None:
    body = body_of(original)
    target = data.draw(st.sampled_from([body, *body["segments"]]))
    name = data.draw(st.sampled_from(sorted(target)))
    if data.draw(st.booleans()):
        del target[name]
    else:
        target[name] = data.draw(VALUES)
    write_manifest(dataset, json.dumps(body).encode(), generation=2)

    use(dataset)


LINES = {
    "twice": b'{"format":"splitdata","format":"splitdata"}',
    "nan": b'{"metadata":{"a":NaN}}',
    "infinity": b'{"metadata":{"a":-Infinity}}',
    "huge float": b'{"metadata":{"a":1e999}}',
    "long integer": b'{"metadata":{"a":' + b"9" * 5000 + b"}}",
    "long float": b'{"metadata":{"a":0.' + b"9" * 100_000 + b"}}",
    "million lists": b"[" * 1_000_000,
    "nothing": b"",
    "not utf-8": b'{"format":"\xff"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": "{}".encode("utf-16"),
    "lone surrogate": b'{"format":"splitdata","metadata":{"a":"\\ud800"}}',
}


@pytest.mark.parametrize("name", LINES)
def test_manifest_of_odd_json_is_refused(dataset: Path, name: str) -> None:
    write_manifest(dataset, LINES[name])

    with pytest.raises(ManifestError):
        SplitDataLoader(dataset)


@pytest.mark.parametrize("field", ["metadata", "segments", "generation", "must_understand", "version"])
def test_nesting_of_any_depth_is_read_or_refused(dataset: Path, original: Path, field: str) -> None:
    body = body_of(original)
    for depth in (10, *range(800, 1010, 3), 5000):
        nested = "[" * depth + "]" * depth
        body[field] = "HERE"
        line = json.dumps(body).replace('"HERE"', f'{{"a":{nested}}}' if field == "metadata" else nested)
        write_manifest(dataset, line.encode(), generation=2)
        try:
            SplitDataLoader(dataset).close()
            with SplitWriter(dataset, mode="append", durability="none") as writer:
                writer.write(b"more")
        except SplitDataError:
            continue


CLAIMS = [
    {"records": 2**32 - 2, "bins": 1},
    {"records": 2**32 - 2, "bins": 2**24},
    {"records": 1, "bins": 2**24},
    {"records": 5, "bins": 2**24},
    {"raw_bytes": 2**63 - 1, "stored_bytes": 2**63 - 1},
    {"raw_bytes": 0, "stored_bytes": 0},
    {"records": 1, "raw_bytes": 2**63 - 1, "stored_bytes": 2**63 - 1},
    {"records": 2**32 - 2, "bins": 1, "group": 2, "must_understand": ["groups"]},
    {"records": 2**32 - 2, "bins": 2**24, "group": 65536, "must_understand": ["groups"]},
    {"records": 5, "bins": 1, "group": 65536, "must_understand": ["groups"]},
]

USE = """
import sys
from pathlib import Path
from tests.faults.test_forged import use
from splitdata import verify

path = Path(sys.argv[1])
use(path)
verify(path, num_workers=1)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux reports it")
@pytest.mark.time_limit(30)
@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_manifest_with_huge_claims_costs_no_memory(dataset: Path, original: Path, claim: dict[str, int]) -> None:
    body = body_of(original)
    body["segments"][0].update(claim)
    write_manifest(dataset, json.dumps(body).encode(), generation=2)
    ended = run_python("-c", USE, dataset, cwd=ROOT)

    assert ended.returncode == 0, ended.stderr
    # Of which a reader spends 256 MiB on the places of 2**24 bins, where as many records are claimed.
    assert int(ended.stdout) < 400 << 20


def test_many_segments_are_opened_or_refused(dataset: Path, original: Path) -> None:
    body = body_of(original)
    first = body["segments"][0]
    body["segments"] = [{**first, "id": f"{number:032x}"} for number in range(10_000)]
    write_manifest(dataset, json.dumps(body).encode(), generation=2)

    use(dataset)


EXTREMES = [0, 1, 2, 3, 63, 64, 2**24, 2**31, 2**32 - 1]
PLACES = [0, 1, 8, 9, 2**37, 2**40 - 1, 2**40, 2**40 + 8, 2**63, 2**64 - 1]


def test_index_entry_of_any_extremes_is_an_error_or_right(original: Path) -> None:
    path = Path(shutil.copytree(original, original.with_name("entries")))
    index = segment_folders(path)[0] / "index"
    whole = index.read_bytes()
    for place, stored, raw in product(PLACES, EXTREMES, EXTREMES):
        entry = place.to_bytes(8, "little") + stored.to_bytes(4, "little") + raw.to_bytes(4, "little")
        index.write_bytes(whole[:128] + entry + whole[144:])
        modes: tuple[Io, ...] = ("mmap", "pread")
        for checked, io in product((True, False), modes):
            with SplitDataLoader(path, verify=checked, io=io) as loader:
                for read in (loader.__getitem__, loader.view):
                    with suppress(SplitDataError):
                        assert read(0) == RECORDS[0]
                with suppress(SplitDataError):
                    assert loader[[0, 2]] == [RECORDS[0], RECORDS[2]]
                assert loader[2] == RECORDS[2]


def test_entry_that_leads_to_a_bin_that_is_none_is_refused_by_every_way_to_read(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_many([b"%02d" % number for number in range(40)])
    index = segment_folders(tmp_path / "data")[0] / "index"
    whole = index.read_bytes()
    place = int.from_bytes(whole[144:152], "little")
    for bin_index in (1, 0x7FFFFF, 0xFFFFFE, 0xFFFFFF):
        index.write_bytes(whole[:144] + (place | bin_index << 40).to_bytes(8, "little") + whole[152:])
        with SplitDataLoader(tmp_path / "data") as loader:
            ways: list[Callable[[], object]] = [
                lambda: loader[1],
                lambda: loader[[1] * 20],
                lambda: loader.gather([1] * 20),
                lambda: loader.views([1] * 20),
                lambda: loader.read_range(1, 0, 1),
                lambda: list(loader.iterate_binwise()),
            ]
            for read in ways:
                with pytest.raises(SplitDataError, match=f"leads to bin {bin_index}"):
                    read()


def test_empty_record_with_a_wrong_checksum_is_refused_by_every_way_to_read(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_many([b""] * 20)
    file = segment_folders(tmp_path / "data")[0] / "000000.bin"
    frames = bytearray(file.read_bytes())
    frames[64 + 32 + 8] ^= 1
    file.write_bytes(frames)

    with SplitDataLoader(tmp_path / "data") as loader:
        for read in (lambda: loader[1], lambda: loader[[1] * 20], lambda: loader.read_range(1, 0, 5)):
            with pytest.raises(SplitDataError, match="record 1 does not match its checksum"):
                read()
        assert loader.read_range(0, 0, 5) == b""


def test_forged_frame_with_its_entry_is_only_ever_refused(original: Path) -> None:
    path = Path(shutil.copytree(original, original.with_name("frames")))
    folder = segment_folders(path)[0]
    index, file = folder / "index", folder / "000000.bin"
    entries, frames = index.read_bytes(), file.read_bytes()
    kinds, codecs, keys = (0, 1, 2, 4, 255), (0, 1, 2, 255), (0, 1, 65535)
    lengths = [(0, 0), (5, 5), (5, 6), (6, 5), (2**31, 2**31), (2**32 - 1, 2**32 - 1), (40, 2**32 - 1), (1 << 24,) * 2]
    for kind, codec, key, (stored, raw) in product(kinds, codecs, keys, lengths):
        header = FrameHeader(
            sequence=0, stored_length=stored, raw_length=raw, payload_hash=0, kind=kind, codec=codec, key_length=key
        )
        packed = header.pack(bin_salt(folder.name, 0), spec.BIN_HEADER_BYTES)
        file.write_bytes(frames[:64] + packed + frames[64 + len(packed) :])
        index.write_bytes(entries[:136] + packed[24:32] + entries[144:])
        for checked in (True, False):
            with SplitDataLoader(path, verify=checked, max_record_bytes=1 << 20) as loader:
                _attempt(loader.__getitem__, 0)
                _attempt(loader.view, 0)
                _attempt(loader.read_range, 0, 0, 2**62)
                _attempt(list, loader)
                _attempt(list, loader.iterate_binwise())
        assert not verify(path, num_workers=1).is_intact


@settings(max_examples=200)
@given(
    position=st.integers(0, FIRST_SEGMENT - 1),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    name=st.sampled_from(["index", "000000.bin", "000001.bin"]),
)
def test_any_changed_bytes_are_an_error_or_cost_nothing(
    dataset: Path, original: Path, position: int, changes: list[tuple[int, int]], name: str
) -> None:
    shutil.rmtree(dataset)
    shutil.copytree(original, dataset)
    file = segment_folders(dataset)[0] / name
    data = bytearray(file.read_bytes())
    for offset, byte in changes:
        data[offset % len(data)] = byte
    file.write_bytes(data)
    with SplitDataLoader(dataset) as loader:
        try:
            assert loader[position] == RECORDS[position]
        except SplitDataError:
            assert not verify(dataset, num_workers=1).is_intact


def test_hash_of_nothing_is_not_taken_for_a_missing_one() -> None:
    assert hash64(b"") != 0
