"""Every data type, of every size, at every place of a buffer: what comes out lies as its type needs.

complex128 of torch needs a multiple of 16: an operation on one at a multiple of 8 ends the process.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from splitdata import decode_sample, encode_sample
from splitdata.samples.alignment import place_rightly
from splitdata.samples.decode import SampleDecoder
from splitdata.samples.record_codecs import record_codec
from tests.samples.aligned import NUMPY_DTYPES, TORCH_DTYPES, arrays_of, is_placed, tensors_of

torch: Any = pytest.importorskip("torch")

OFFSETS = (0, 1, 2, 4, 8, 12, 16, 24)
# Of elements: none, one, below and above the 64 bytes from which arrays are aligned to 64.
SIZES = (0, 1, 2, 3, 5, 9, 64)


def at_offset(data: bytes, offset: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return bytes in memory that begins so many bytes behind a multiple of 64."""
    memory = np.zeros(len(data) + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    memory[start : start + len(data)] = np.frombuffer(data, np.uint8)
    return memory[start : start + len(data)]


def read_only(data: bytes, offset: int) -> memoryview:
    return at_offset(data, offset).data.toreadonly()


@pytest.mark.parametrize("buffer", [at_offset, read_only])
@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_array_of_each_data_type_lies_as_it_needs_in_any_buffer(name: str, buffer: Callable[..., Any]) -> None:
    for array in arrays_of(name, SIZES):
        data = encode_sample({"text": "odd", "x": array, "y": [array]})
        for offset in OFFSETS:
            memory = buffer(data, offset)
            for found in (decode_sample(memory), decode_sample(memory, copy=True)):
                for one in (found["x"], found["y"][0]):
                    assert is_placed(one)
                    assert one.dtype == array.dtype
                    assert one.tobytes() == array.tobytes()
            assert decode_sample(memory)["x"].flags.writeable == (buffer is at_offset)


@pytest.mark.parametrize("buffer", [at_offset, read_only])
@pytest.mark.parametrize("name", TORCH_DTYPES)
def test_tensor_of_each_data_type_lies_as_it_needs_in_any_buffer(name: str, buffer: Callable[..., Any]) -> None:
    for tensor in tensors_of(name, SIZES):
        data = encode_sample({"text": "odd", "x": tensor, "y": [tensor]})
        for offset in OFFSETS:
            memory = buffer(data, offset)
            for found in (decode_sample(memory), decode_sample(memory, copy=True)):
                for one in (found["x"], found["y"][0]):
                    assert is_placed(one)
                    assert one.dtype == tensor.dtype
                    # Would end the process where it does not.
                    assert torch.equal(torch.stack([one, one])[1].to(torch.complex128), tensor.to(torch.complex128))


@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_batch_of_each_data_type_lies_as_it_needs(name: str) -> None:
    for array in arrays_of(name, SIZES):
        data = encode_sample({"text": "odd", "x": array})
        for offset in OFFSETS:
            batch = SampleDecoder().decode_batch([at_offset(data, offset).data, at_offset(data, offset).data])
            assert is_placed(batch["x"])
            assert batch["x"][1].tobytes() == array.tobytes()


@pytest.mark.parametrize("name", NUMPY_DTYPES)
def test_npy_file_of_each_data_type_lies_as_it_needs(name: str) -> None:
    codec = record_codec("npy")
    for array in arrays_of(name, SIZES):
        file = io.BytesIO()
        np.save(file, array)
        for offset in OFFSETS:
            found = codec.decode(at_offset(file.getvalue(), offset))
            assert is_placed(found)
            assert found.tobytes() == array.tobytes()


def test_array_that_lies_rightly_is_no_copy() -> None:
    array = np.zeros(5, "c16")

    assert place_rightly(array) is array


def test_what_lies_rightly_is_a_view_and_what_does_not_is_a_copy() -> None:
    data = encode_sample({"a": np.zeros(3, "f4"), "b": np.zeros(3, "c16")})
    buffer = at_offset(data, 0)
    sample = decode_sample(buffer)

    assert np.shares_memory(sample["a"], buffer)
    # 48 bytes, which begin at a multiple of 8; whether of 16 too depends on what stands before.
    assert np.shares_memory(sample["b"], buffer) == (data.index(sample["b"].tobytes(), 60) % 16 == 0)
