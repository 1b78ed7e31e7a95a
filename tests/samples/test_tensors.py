"""Tensors of torch in samples: back as tensors, as arrays where there is no torch.

tensor ──encode_sample──> bytes ──decode_sample──> tensor
                              `─ without torch ──> array; bfloat16 as its bits, with a warning
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitdata import decode_sample, encode_sample
from splitdata.samples import sample_spec, tensors
from splitdata.samples.decode import SampleDecoder
from tests.command import run_python
from tests.samples.drawn import Sample

torch: Any = pytest.importorskip("torch")

DTYPES = [
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", *sample_spec.TENSOR_BITS),
]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (0, 2), (2, 3, 4)])
def test_tensor_of_each_data_type_comes_back_as_it_was(name: str, shape: tuple[int, ...]) -> None:
    size = torch.empty((), dtype=getattr(torch, name)).element_size()
    data = np.random.default_rng(1).integers(0, 2, max(1, np.prod(shape, dtype=int)) * size, np.uint8)
    tensor = torch.from_numpy(data).view(getattr(torch, name))[: np.prod(shape, dtype=int)].reshape(shape)
    sample = {"x": tensor, "y": [tensor.clone()]}
    for found in (decode_sample(encode_sample(sample)), decode_sample(encode_sample(sample), copy=True)):
        for one in (found["x"], found["y"][0]):
            assert type(one) is torch.Tensor
            assert (one.dtype, one.shape) == (tensor.dtype, tensor.shape)
            assert one.contiguous().view(-1).view(torch.uint8).tolist() == tensor.view(-1).view(torch.uint8).tolist()


def test_tensor_in_any_memory_layout_comes_back_in_order() -> None:
    whole = torch.arange(24).reshape(4, 6)
    for tensor in (whole.T, whole[::2, 1::2], whole.expand(2, 4, 6), whole.to(torch.complex64).conj()):
        found = decode_sample(encode_sample(tensor))
        assert found.is_contiguous()
        assert torch.equal(found, tensor.resolve_conj())


def test_tensor_can_be_written_to_without_touching_the_record() -> None:
    data = encode_sample(torch.zeros(3))
    decode_sample(data)[0] = 5
    assert decode_sample(data).tolist() == [0, 0, 0]


def test_tensor_on_a_writable_buffer_is_a_view_of_it() -> None:
    buffer = bytearray(encode_sample(torch.zeros(3)))
    decode_sample(buffer)[0] = 5
    assert decode_sample(buffer).tolist() == [5, 0, 0]
    decode_sample(buffer, copy=True)[0] = 6
    assert decode_sample(buffer).tolist() == [5, 0, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.zeros(2, requires_grad=True), r"requires a gradient, which is not stored; detach\(\) it"),
        (lambda: torch.zeros(2, device="meta"), "is on meta; move it to the CPU first"),
        (lambda: torch.eye(3).to_sparse(), "of layout torch.sparse_coo; only dense ones are stored"),
    ],
)
def test_tensor_that_would_lose_something_is_refused(make: Sample, message: str) -> None:
    with pytest.raises(ValueError, match=r'^sample\["x"\]: .*' + message):
        encode_sample({"x": make()})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.nn.Parameter(torch.zeros(2), requires_grad=False), "Parameter is nothing that a sample can"),
        (lambda: torch.zeros(2, dtype=torch.complex32), "is a tensor that cannot be stored"),
        (lambda: torch.float32, "torch.dtype is nothing that a sample can hold"),
    ],
)
@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_tensor_of_a_kind_that_is_not_stored_is_refused(make: Sample, message: str) -> None:
    with pytest.raises(TypeError, match=r'^sample\["x"\]: .*' + message):
        encode_sample({"x": make()})


def test_without_torch_tensors_come_as_arrays_and_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    data = encode_sample({"a": tensor, "b": tensor.bfloat16(), "c": tensor.bfloat16()})
    monkeypatch.setattr(tensors, "has_torch", lambda: False)
    decoder = SampleDecoder()
    with pytest.warns(
        UserWarning, match="torch is not installed: tensors of bfloat16 come as arrays of their bits, uint16"
    ):
        found = decoder.decode(data)
    assert np.array_equal(found["a"], tensor.numpy())
    assert found["b"].dtype == np.uint16
    assert np.array_equal(found["b"].astype(np.uint32) << 16, tensor.numpy().view(np.uint32))
    # Said once for each structure, not for each sample.
    decoder.decode(data)


CHILD = """
import sys
import numpy as np
from splitdata import decode_sample, encode_sample
encode_sample({"a": np.zeros(3)})
decode_sample(encode_sample({"a": np.zeros(3), "b": "text"}))
assert "torch" not in sys.modules
tensor = decode_sample(bytes.fromhex(sys.argv[1]))
assert "torch" in sys.modules
print(tensor.tolist())
"""


@pytest.mark.slow
def test_torch_is_loaded_when_a_stored_tensor_is_read_and_not_before() -> None:
    ended = run_python("-c", CHILD, encode_sample(torch.arange(3)).hex())
    assert (ended.returncode, ended.stdout) == (0, "[0, 1, 2]\n"), ended.stderr
