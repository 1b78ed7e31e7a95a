"""Every decoder of what may come from elsewhere: mutated inputs give a value to look at, or an error of the tree.

valid bytes ──Mutations(seed)──> decoder ──> value: shown, compared, listed
                                        `─> FormatError, StateMismatchError, ...; never KeyError, TokenError, ...
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    DistributedLoader,
    FormatError,
    OrderOptions,
    Rotation,
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    convert,
    decode_sample,
    encode_sample,
)
from splitdata.conversion.conversion_log import ConversionLog
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.loader.cache.cache_entry import EntryCodec, EntryIndex, encode_index
from splitdata.samples.preview import preview
from splitdata.samples.record_codecs import record_codec
from tests.faults.hostile_values import Mutations

NUM_INPUTS = 1000

SAMPLES = (
    {"image": np.zeros((2, 3, 4), np.float32), "label": 7, "text": "größe", "more": [1, 2, 3]},
    {"a": (1.5, None, True, 2**90, b"ab"), "b": {"c": np.array(["x", "yz"]), "d": [0.5]}},
    {"when": datetime(2026, 1, 1, tzinfo=UTC), "day": datetime(2026, 1, 1).date(), "long": timedelta(3, 4, 5)},
    {"struct": np.zeros(3, [("a", "<i4", (2,)), ("b", "<U2"), ("c", [("d", "|S3")])]), "scalar": np.float64(1)},
    {"empty": np.zeros((0, 5), np.int64), "none": np.zeros((3, 0), np.uint8)},
)


def npy(array: np.ndarray[Any, Any], version: tuple[int, int] = (1, 0)) -> bytes:
    output = io.BytesIO()
    np.lib.format.write_array(output, array, version=version)
    return output.getvalue()


NPY = (
    npy(np.zeros((2, 3))),
    npy(np.array(["a", "bc"])),
    npy(np.asfortranarray(np.zeros((4, 2), ">f4")), (2, 0)),
    npy(np.zeros(2, [("a", "<i4"), ("b", "<U2", (2,))])),
    npy(np.zeros((5, 0))),
)
JSON = tuple(json.dumps(value).encode() for value in ({"a": [1, 2.5, None, "x"], "b": {"c": True}}, [[1], [2]], "text"))
KEY = CacheKey(dataset="d", num_records=3, transform="t", code="c", version=None, seed=0, codec=1, epoch=5)
INDEX = EntryIndex(np.arange(3, dtype=np.int64), np.array([1, 2], np.int64))
CODEC = EntryCodec((), copy=False)

DECODERS: dict[str, tuple[tuple[bytes, ...], Callable[[bytes], Any]]] = {
    "sample": (tuple(map(encode_sample, SAMPLES)), decode_sample),
    "sample, copied": (tuple(map(encode_sample, SAMPLES)), lambda data: decode_sample(data, copy=True)),
    "batch": (tuple(map(encode_sample, SAMPLES)), lambda data: record_codec("sample").decode_batch([data, data])),
    "npy": (NPY, record_codec("npy").decode),
    "json": (JSON, record_codec("json").decode),
    "text": (("größe".encode(), b"a"), record_codec("text").decode),
    "cache entry": (tuple(encode_sample((3, sample)) for sample in SAMPLES), lambda data: CODEC.decode(data, 3)),
    "cache index": ((encode_index(INDEX), encode_sample((3, 1))), CODEC.scan),
    "cache key": ((KEY.encode(),), CacheKey.decode),
}


def look_at(value: Any) -> None:  # whatever was decoded
    """Do with a value what people do: show it, and list what is in its arrays."""
    preview(value, 1000)
    for array in arrays_in(value):
        array.copy().tolist()
        repr(array)


def arrays_in(value: Any) -> Iterator[np.ndarray[Any, Any]]:  # whatever was decoded
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from arrays_in(part)


@pytest.mark.parametrize("name", DECODERS)
def test_mutated_bytes_give_a_value_that_can_be_looked_at_or_a_format_error(name: str) -> None:
    valid, decode = DECODERS[name]
    mutations = Mutations(name)
    refused: list[str] = []
    other: list[str] = []
    with warnings.catch_warnings():
        # numpy warns of headers that Python 2 wrote, and Python of odd literals in them.
        warnings.simplefilter("ignore")
        for number in range(NUM_INPUTS):
            data = mutations.of(valid[number % len(valid)])
            try:
                value = decode(data)
            except FormatError as error:
                refused.append(str(error))
            except ValueError as error:
                other.append(str(error))
            else:
                look_at(value)
    for data in valid:
        if name != "batch":
            look_at(decode(data))
    # Most of the bytes of a text may be others; of a sample twice there may be no batch.
    assert len(refused) > (NUM_INPUTS // 100 if name == "text" else NUM_INPUTS // 4)
    assert all(0 < len(message) < 12_000 for message in refused)
    assert name == "batch" or not other


def npy_without_data(shape: tuple[int, ...], descr: object) -> bytes:
    """Return an npy file that has a header and nothing behind it."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def sample_without_data(shape: tuple[int, ...], descr: str) -> bytes:
    """Return a sample that is one array without bytes, of which only the table says how many rows it has."""
    data = bytearray(encode_sample(np.zeros([0] * len(shape), descr)))
    table = b"".join(extent.to_bytes(8, "little") for extent in shape)
    data[-len(table) :] = table
    return bytes(data)


@pytest.mark.parametrize("shape", [(2**40, 0), (2**20 + 1, 0), (2**11, 2**11, 0, 5), (2**62, 0, 2**62)])
def test_rows_without_bytes_are_bounded(shape: tuple[int, ...]) -> None:
    for data, decode in (
        (npy_without_data(shape, "<f4"), record_codec("npy").decode),
        (sample_without_data(shape, "<f4"), decode_sample),
    ):
        with pytest.raises(FormatError, match=r"the limit is 1048576|larger than there|no npy file"):
            decode(data)
    if shape[0] < 2**62:
        for encode in (encode_sample, record_codec("npy").encode):
            with pytest.raises(ValueError, match="the limit is 1048576"):
                encode(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(2**20, 0), (0, 2**40), (0, 224, 224, 3), (3, 0)])
def test_empty_arrays_of_few_rows_are_what_they_were(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape, np.float32)
    for decoded in (decode_sample(encode_sample(array)), record_codec("npy").decode(npy(array))):
        assert (decoded.shape, decoded.dtype) == (shape, np.float32)


@pytest.mark.parametrize(
    ("shape", "descr"),
    [
        ((2**40,), "|S0"),
        ((2**40,), "|V0"),
        ((2**40,), "<U0"),
        ((1,), [("a", "<f4", (2**30, 0)), ("b", "|u1")]),
        ((1,), [("a", [("b", "|u1", (2**30, 0)), ("c", "|u1")])]),
    ],
)
def test_elements_of_npy_without_bytes_are_bounded(shape: tuple[int, ...], descr: object) -> None:
    with pytest.raises(FormatError, match="the limit is 1048576"):
        record_codec("npy").decode(npy_without_data(shape, descr))


@pytest.mark.parametrize(
    "text",
    [b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"9" * 5000, b"[" * 100_000],
    ids=["NaN", "Infinity", "-Infinity", "long", "deep"],
)
def test_what_is_no_json_is_a_format_error_also_where_python_takes_it(text: bytes) -> None:
    with pytest.raises(FormatError, match="these bytes are no JSON"):
        record_codec("json").decode(text)


@pytest.mark.parametrize("record", [2**63, -1, 2**100, np.arange(3), 1.0, True, None, [3], "3", np.int64(3)])
def test_entry_of_what_is_no_record_is_none(record: object) -> None:
    data = encode_sample((record, "sample"))

    for decode in (CODEC.scan, lambda data: CODEC.decode(data, 3)):
        with pytest.raises(FormatError, match="this is no entry"):
            decode(data)


# -- states and logs -----------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> SplitDataLoader:
    with SplitWriter(tmp_path / "data", bins=3) as writer:
        writer.write_many(b"%d" % number for number in range(40))
    return SplitDataLoader(tmp_path / "data")


STATES: dict[str, dict[str, Any]] = {
    "plain": {"batch_size": 4},
    "bins": {"batch_size": 2, "shuffle": "bins"},
    "steps": {"batch_size": 4, "order": OrderOptions(num_steps=7)},
    "rotation": {"batch_size": 4, "rotation": Rotation(2, 4)},
}


@pytest.mark.parametrize("name", STATES)
def test_mutated_state_is_refused_or_leads_to_a_batch(dataset: SplitDataLoader, name: str) -> None:
    mutations = Mutations(name)
    loader = DistributedLoader(dataset, rank=0, world_size=1, **STATES[name])
    next(iter(loader))
    state = loader.state_dict()
    refused: list[str] = []
    for _ in range(NUM_INPUTS):
        changed = mutations.json(state)
        try:
            loader.load_state_dict(changed)
        except StateMismatchError as error:
            refused.append(str(error))
        else:
            next(loader.resume(), None)
    assert len(refused) > NUM_INPUTS // 2
    assert max(map(len, refused)) < 5000


@pytest.mark.parametrize("lanes", [2**20 + 1, 10**8, 2**63, 10**5000], ids=["more", "10^8", "2^63", "10^5000"])
def test_lanes_and_ranks_of_a_state_are_bounded_as_the_options_are(dataset: SplitDataLoader, lanes: int) -> None:
    loader = DistributedLoader(dataset, shuffle="bins", rank=0, world_size=1)
    for name in ("lanes", "world_size"):
        with pytest.raises(
            StateMismatchError, match=f"the state is damaged: {name} is .*, not a number of 1 to 1048576"
        ):
            loader.load_state_dict(loader.state_dict() | {name: lanes})
    if lanes < 10**30:
        with pytest.raises(ValueError, match="lanes must be 1048576 or fewer"):
            OrderOptions(lanes=lanes)
        with pytest.raises(ValueError, match="world_size must be 1 to 1048576"):
            len(DistributedLoader(dataset, rank=0, world_size=lanes))


def test_mutated_log_of_a_conversion_is_refused_or_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n")
    convert(tmp_path / "a.txt", tmp_path / "data", resume=True)
    with SplitDataLoader(tmp_path / "data") as loader:
        metadata = loader.metadata
    log = ConversionLog.from_metadata(metadata, "DIR")
    mutations = Mutations("log")
    refused: list[str] = []
    for _ in range(NUM_INPUTS):
        changed = mutations.json(metadata)
        if not isinstance(changed, dict):
            continue
        try:
            log.check_same(ConversionLog.from_metadata(changed, "DIR"), "DIR")
        except SplitDataError as error:
            refused.append(str(error))
    assert len(refused) > NUM_INPUTS // 4
    assert max(map(len, refused)) < 3000
