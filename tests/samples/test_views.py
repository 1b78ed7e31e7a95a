"""Arrays that are read: views of the buffer, aligned, and as writable as it is.

buffer at a multiple of 64 ──decode_sample──> arrays at multiples of 64, small ones of 8; no byte copied
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import decode_sample, encode_sample
from tests.samples.drawn import Sample, arrays


def aligned_copy(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return bytes in memory that begins at a multiple of 64."""
    memory = np.zeros(len(data) + 64, np.uint8)
    start = -memory.ctypes.data % 64
    memory[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return memory[start : start + len(data)]


@given(st.lists(st.one_of(arrays(), st.text(max_size=9)), max_size=6))
def test_arrays_are_aligned_views_of_the_buffer(values: list[Any]) -> None:
    buffer = aligned_copy(encode_sample({"large": np.zeros(100), "more": values}))
    sample = decode_sample(buffer)
    for array in [sample["large"], *sample["more"]]:
        if isinstance(array, np.ndarray) and array.size:
            # Where it would lie at a multiple of 8 alone it is a copy, of complex128: test_alignment.py.
            assert np.shares_memory(array, buffer) or (array.dtype.str[1:] == "c16" and array.nbytes < 64)
            assert array.ctypes.data % (64 if array.nbytes >= 64 else 8) == 0
            assert array.flags.c_contiguous
            assert array.flags.aligned


@pytest.mark.parametrize("kind", [bytes, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_arrays_on_a_read_only_buffer_are_read_only(kind: Sample) -> None:
    array = decode_sample(kind(encode_sample(np.zeros(3))))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_arrays_on_a_writable_buffer_write_into_it() -> None:
    buffer = bytearray(encode_sample(np.zeros(3)))
    decode_sample(buffer)[1] = 5.0
    assert decode_sample(bytes(buffer)).tolist() == [0.0, 5.0, 0.0]


def test_copy_can_be_written_to_and_leaves_the_buffer_alone() -> None:
    buffer = bytearray(encode_sample({"a": np.zeros(3), "b": np.ones(2)}))
    before = bytes(buffer)
    sample = decode_sample(buffer, copy=True)
    sample["a"][:] = 7
    assert bytes(buffer) == before
    assert sample["b"].tolist() == [1.0, 1.0]


def test_arrays_hold_the_buffer_in_its_place() -> None:
    buffer = bytearray(encode_sample({"a": np.arange(100), "none": np.zeros(0)}))
    sample = decode_sample(memoryview(buffer))
    # To grow, it would have to move.
    with pytest.raises(BufferError):
        buffer.extend(bytes(1 << 20))
    array = sample.pop("a")[::2]
    del sample
    with pytest.raises(BufferError):
        buffer.clear()
    assert array.sum() == 2450
    del array
    buffer.clear()


def test_sample_in_mapped_memory_is_read_in_place_and_holds_it() -> None:
    data = encode_sample(np.arange(50, dtype=np.uint8))
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    array = decode_sample(mapped)
    mapped[len(data) - 1] = 77
    assert array[-1] == 77
    with pytest.raises(BufferError):
        mapped.close()
    del array
    mapped.close()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_buffer_of_any_shape_and_type_is_taken_as_bytes(shape: tuple[int, ...]) -> None:
    data = encode_sample(np.zeros(shape))
    assert decode_sample(np.frombuffer(data, f"V{len(data)}")).shape == shape
    assert (
        decode_sample(np.frombuffer(data + bytes(-len(data) % 8), np.uint8)[: len(data)].reshape(1, -1)).shape == shape
    )


def test_buffer_that_does_not_lie_in_one_piece_is_refused() -> None:
    with pytest.raises(TypeError):
        decode_sample(np.zeros(80, np.uint8)[::2])
    with pytest.raises(TypeError):
        decode_sample("text")  # type: ignore[arg-type]
