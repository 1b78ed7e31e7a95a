"""Bytes that are no sample: an error of the tree or a sample, never a crash, a hang or a huge allocation.

encoded sample ──cut, flipped, forged, random──> decode_sample ──> FormatError, or a value
`─ in a process that may take 1 GiB
"""

from __future__ import annotations

import struct
import sys
import tracemalloc
from contextlib import suppress
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import BadMagicError, FormatError, UnsupportedVersionError, decode_sample, encode_sample
from splitdata.samples import sample_spec
from splitdata.samples.decode_plan import DecodePlanCache
from tests.command import run_python
from tests.samples.drawn import Sample, same, samples

BEGIN: Final = sample_spec.SAMPLE_MAGIC + bytes([sample_spec.SAMPLE_VERSION])
RICH: Final = {
    "image": np.arange(75, dtype=np.uint8).reshape(5, 5, 3),
    "label": 7,
    "boxes": [1.0, 2.0],
    "ids": [1, 2, 3],
    "struct": np.zeros(2, [("a", "<i4"), ("b", "<U2", (2,))]),
    "text": "größe",
    "more": (True, None, 2**80, b"abc", np.float32(1)),
}


def sample_bytes(schema: bytes, *slots: int, payload: bytes = b"") -> bytes:
    """Return the bytes of a sample that is forged."""
    head = BEGIN + struct.pack("<I", len(schema)) + schema
    return head + bytes(-len(head) % 8) + struct.pack(f"<{len(slots)}Q", *slots) + payload


@pytest.fixture(scope="module", autouse=True)
def _torch_is_loaded() -> None:
    """Load torch before memory is counted: a flipped bit may turn an array into a tensor."""
    pytest.importorskip("torch")


def try_decode(data: bytes) -> Sample:
    """Decode what may be damaged: errors of the tree only, and little memory beside what was given."""
    tracemalloc.start()
    try:
        return decode_sample(data)
    except FormatError:
        return FormatError
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000 + 1000 * len(data), peak


def test_sample_cut_anywhere_is_refused() -> None:
    data = encode_sample(RICH)
    for end in range(len(data)):
        with pytest.raises(FormatError):
            decode_sample(data[:end])
    for more in (b"\0", b"\0" * 8, data):
        with pytest.raises(FormatError):
            decode_sample(data + more)


def test_every_flipped_bit_gives_an_error_or_a_sample() -> None:
    data = bytearray(encode_sample(RICH))
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            with suppress(FormatError):
                # What was found can be shown.
                repr(decode_sample(data))
            data[place] ^= 1 << bit
    assert same(decode_sample(bytes(data)), RICH)


@given(samples(), st.data())
def test_damaged_sample_gives_an_error_or_a_sample(sample: Sample, draw: st.DataObject) -> None:
    _damage(sample, draw)


@pytest.mark.soak
@settings(max_examples=100_000)
@given(samples(max_leaves=40), st.data())
def test_many_damaged_samples_give_errors_or_samples(sample: Sample, draw: st.DataObject) -> None:
    _damage(sample, draw)


def _damage(sample: Sample, draw: st.DataObject) -> None:
    data = bytearray(encode_sample(sample))
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(data) - 1))
        piece = draw.draw(
            st.one_of(
                st.binary(min_size=1, max_size=9),
                st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0\0\0\x80"]),
            )
        )
        if draw.draw(st.booleans()):
            data[place : place + len(piece)] = piece
        else:
            data[place:place] = piece
    try_decode(bytes(data))


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_random_schema_gives_an_error_or_a_sample(schema: bytes, rest: bytes) -> None:
    try_decode(sample_bytes(schema, payload=rest))


@given(st.lists(st.integers(0, 40), max_size=30).map(bytes), st.lists(st.integers(0, 20), max_size=10))
def test_likely_schema_gives_an_error_or_a_sample(schema: bytes, slots: list[int]) -> None:
    try_decode(sample_bytes(schema, *slots))


def test_other_bytes_are_named_as_no_sample() -> None:
    with pytest.raises(BadMagicError, match=r"these 20 bytes are no sample: they begin with 80 05 95"):
        decode_sample(b"\x80\x05\x95" + bytes(17))
    with pytest.raises(FormatError):
        decode_sample(b"")


def test_newer_version_is_named() -> None:
    data = bytearray(encode_sample(1))
    data[3] += 1
    with pytest.raises(UnsupportedVersionError, match=r"a sample of version 2; this splitdata reads 1"):
        decode_sample(data)


@pytest.mark.parametrize(
    "schema",
    [
        b"\x0f",
        bytes([sample_spec.KIND_DICT]) + b"\1\0\0\0\x07\0",
        bytes([sample_spec.KIND_ARRAY, 0]) + b"\4<f16",
        bytes([sample_spec.KIND_TENSOR, 0]) + b"\4int4",
    ],
)
def test_what_a_later_version_may_know_is_named_as_that(schema: bytes) -> None:
    with pytest.raises(UnsupportedVersionError, match="a newer splitdata may know it"):
        decode_sample(sample_bytes(schema))


HUGE: Final = 2**63
ARRAY: Final = bytes([sample_spec.KIND_ARRAY])
U1: Final = b"\x03|u1"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (BEGIN + b"\xff\xff\xff\xff", "has a schema of 4294967295 bytes, the limit"),
        (sample_bytes(b"\0" * (1 + sample_spec.MAX_SCHEMA_BYTES)), "the limit is 1048576"),
        (sample_bytes(bytes([sample_spec.KIND_LIST]) + b"\xff\xff\xff\xff"), "holds 4294967295 parts in 0 bytes"),
        (sample_bytes(bytes([sample_spec.KIND_DICT]) + b"\1\0\0\0\0\xff\xff\xff\xff"), "in the middle of a part"),
        (sample_bytes(bytes([sample_spec.KIND_TUPLE, 1, 0, 0, 0]) * 66), "nested more than 64 levels"),
        (sample_bytes(b"\0\0"), "has 1 bytes behind its end"),
        (sample_bytes(b"\x0f"), "a part of kind 15, which is unknown"),
        (
            sample_bytes(bytes([sample_spec.KIND_LIST, 4, 0, 0, 0]) + bytes([sample_spec.KIND_INT]) * 4, 1),
            "more than the 1 slots",
        ),
        (sample_bytes(bytes([sample_spec.KIND_BOOL]), 2), "are no sample"),
        (sample_bytes(bytes([sample_spec.KIND_TEXT]), 1, payload=b"\xff"), "are no sample"),
        (sample_bytes(bytes([sample_spec.KIND_TEXT]), HUGE), f"a sample of {HUGE + 24} bytes has 24 here"),
        (sample_bytes(bytes([sample_spec.KIND_DATE]), 0), "are no sample"),
        (sample_bytes(bytes([sample_spec.KIND_DATETIME]), 1 << 62, 0), "are no sample"),
        (sample_bytes(bytes([sample_spec.KIND_DATETIME]), 0, 2), "fold 2"),
        (sample_bytes(bytes([sample_spec.KIND_DATETIME_OFFSET]), 0, 0, 0, 1 << 60), "are no sample"),
        (
            sample_bytes(bytes([sample_spec.KIND_DATETIME_ZONE]), 3, 0, 0, 0, payload=b"../"),
            "time zone whose key is invalid",
        ),
        (
            sample_bytes(bytes([sample_spec.KIND_DATETIME_ZONE]), 4, 0, 0, 0, payload=b"/etc"),
            "time zone whose key is invalid",
        ),
        (sample_bytes(bytes([sample_spec.KIND_DATETIME_ZONE]), 3, 0, 0, 86_400_000_000, payload=b"UTC"), "east of UTC"),
        (sample_bytes(bytes([sample_spec.KIND_DATETIME_ZONE]), 3, 0, 0, HUGE, payload=b"UTC"), "east of UTC"),
        (sample_bytes(ARRAY + b"\x02" + U1, HUGE, 0), "larger than there can be one"),
        (sample_bytes(ARRAY + b"\x02" + U1, 2**32, 2**32), "larger than there can be one"),
        (sample_bytes(ARRAY + b"\x01" + b"\x03<i8", 2**60), "larger than there can be one"),
        (sample_bytes(ARRAY + b"\x41" + U1), "an array of 65 dimensions"),
        (sample_bytes(ARRAY + b"\x00" + b"\x03|O8"), r"data type '\|O8', which is unknown"),
        (sample_bytes(ARRAY + b"\x00" + b"\x03<U0"), r"data type '<U0', which is unknown"),
        (sample_bytes(ARRAY + b"\x00" + b"\x0a<U99999999"), r"."),
        (sample_bytes(ARRAY + b"\x00" + b"\x0b|S999999999"), r"."),
        (sample_bytes(ARRAY + b"\x00" + b"\x0c|V9999999999"), r"data type '\|V9999999999': "),
        (sample_bytes(ARRAY + b"\0\3<U1", payload=b"\0\0\x11\0"), "the code point 0x110000"),
        (sample_bytes(ARRAY + b"\0\3>U1", payload=b"\0\x11\0\0"), "the code point 0x110000"),
        (sample_bytes(bytes([sample_spec.KIND_SCALAR]) + b"\3<U1", payload=b"\xff" * 4), "the code point 0xffffffff"),
        (sample_bytes(ARRAY + b"\x00" + b"\x04f8,i"), "which is unknown"),
        (sample_bytes(ARRAY + b"\x00\0\0" + bytes(8)), "a data type of 0 bytes"),
        (sample_bytes(ARRAY + b"\x00" + (b"\0\4\0\0\0\1\0\0\0" + bytes(9)) * 9), "more than 8 levels"),
        (sample_bytes(bytes([sample_spec.KIND_TENSOR, 0]) + b"\x03<U1"), "a tensor of the data type '<U1'"),
        (sample_bytes(bytes([sample_spec.KIND_DICT]) + b"\2\0\0\0" + b"\0\1\0\0\0a\0" * 2), "one key twice"),
        (sample_bytes(bytes([sample_spec.KIND_DICT]) + b"\1\0\0\0\x07\0"), "a key of kind 7"),
    ],
)
def test_forged_sample_is_refused_for_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decode_sample(data)
    # A second time the schema may come from the cache.
    with pytest.raises(FormatError, match=message):
        decode_sample(data)


def test_structure_with_fields_outside_of_its_element_is_refused() -> None:
    good = encode_sample(np.zeros(3, [("a", "<i4"), ("b", "<i4")]))
    offset = good.index(b"\x08\0\0\0\x02\0\0\0") + 8
    forged = good[:offset] + b"\xf0\0\0\0" + good[offset + 4 :]
    with pytest.raises(FormatError, match="structured data type that cannot be"):
        decode_sample(forged)


def test_schema_of_many_parts_costs_no_more_than_the_slots_that_follow_it() -> None:
    schema = bytes([sample_spec.KIND_LIST]) + struct.pack("<I", 900_000) + bytes([sample_spec.KIND_BOOL]) * 900_000
    tracemalloc.start()
    with pytest.raises(FormatError, match="more than the 10 slots"):
        decode_sample(sample_bytes(schema, *range(10)))
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


def test_ever_new_schemas_do_not_fill_the_memory() -> None:
    cache: DecodePlanCache[int] = DecodePlanCache()
    schemas = [f"{number:0100}".encode() for number in range(10_000)]
    for number, schema in enumerate(schemas):
        cache.keep(schema, number)
        assert cache.get(schema) == number
    assert 0 < sum(len(schema) for schema in schemas if cache.get(schema) is not None) < 200_000
    cache.keep(bytes(1 << 19), 0)
    assert cache.get(bytes(1 << 19)) is None


def test_samples_of_ever_new_schemas_are_read() -> None:
    for number in range(500):
        sample = {f"key {number}": number, "text": "x" * (number % 50), "numbers": [1] * number}
        assert decode_sample(encode_sample(sample)) == sample


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's memory are Linux's")
def test_claims_of_huge_sizes_are_refused_in_little_memory() -> None:
    code = """
import resource, struct
from splitdata import FormatError, decode_sample
import numpy
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
texts = [(b"\\x05", 1), (b"\\x06", 1), (b"\\x03", 1), (b"\\x15", 1)]
for schema, slots in [*texts, (b"\\x20\\x02\\x03|u1", 2), (b"\\x20\\x01\\x0b|S999999999", 1)]:
    for claim in (1 << 33, (1 << 62) + 1, (1 << 64) - 1):
        head = b"\\x8dSM\\1" + struct.pack("<I", len(schema)) + schema
        data = head + bytes(-len(head) % 8) + struct.pack("<Q", claim) * slots
        try:
            decode_sample(data)
        except FormatError:
            continue
        raise SystemExit(f"{schema} {claim}")
print("refused")
"""
    ended = run_python("-c", code)
    assert (ended.returncode, ended.stdout) == (0, "refused\n"), ended.stderr
