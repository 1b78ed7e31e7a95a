"""Tensors: no copy, writable, every dtype; torch is loaded only where the user has it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.batch_pickle import BatchPickler
from splitdata.process.wire.channel_options import StartMethod
from tests.command import ROOT, run_python
from tests.process.test_memory import is_shared
from tests.process.wire.test_batch_pickle import round_trip

torch = pytest.importorskip("torch")

METHODS: list[StartMethod] = ["spawn", "fork"]
DTYPES = [
    "float64", "float32", "float16", "bfloat16", "complex64", "complex128", "int64", "int32", "int16", "int8", "uint8",
    "bool", "float8_e4m3fn", "uint16", "uint32", "uint64",
]  # fmt: skip


def generate(n: int) -> Iterator[dict[str, Any]]:
    import torch

    for number in range(n):
        yield {"x": torch.full((64, 1000), number, dtype=torch.float32), "y": torch.tensor(number)}


@pytest.mark.parametrize("method", METHODS)
def test_tensors_arrive_in_shared_memory_and_writable(method: StartMethod) -> None:
    for number, batch in enumerate(MpQItr.options(start_method=method)(generate, 20)):
        assert is_shared(batch["x"].numpy())
        assert (batch["x"] == number).all()
        assert batch["y"].item() == number
        batch["x"] += 1
        assert (batch["x"] == number + 1).all()


def test_tensor_keeps_its_slot_through_views() -> None:
    running = iter(MpQItr.options(start_method="fork", max_bytes=2 << 20)(generate, 60))
    row = next(running)["x"][3].view(10, 100).t()
    for number, batch in enumerate(running, start=1):
        assert (batch["x"] == number).all()
        assert (row == 0).all()


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("size", [3, 40_000])
def test_tensor_of_every_dtype_arrives_equal(name: str, size: int) -> None:
    dtype = getattr(torch, name)
    tensor = torch.arange(size).remainder(2).to(dtype)
    again = round_trip({"x": tensor})["x"]

    assert again.dtype == dtype
    assert bytes(again.view(torch.uint8).numpy()) == bytes(tensor.view(torch.uint8).numpy())


LAYOUTS: dict[str, Any] = {
    "contiguous": lambda: torch.arange(60_000.0).reshape(300, 200),
    "transposed": lambda: torch.arange(60_000.0).reshape(300, 200).t(),
    "channels last": lambda: torch.rand(4, 3, 50, 50).to(memory_format=torch.channels_last),
    "every second": lambda: torch.arange(60_000.0)[::2],
    "expanded": lambda: torch.arange(300.0).expand(100, 300),
    "empty": lambda: torch.empty(3, 0, 2),
    "no dimensions": lambda: torch.tensor(3.5),
    "leaf that requires grad": lambda: torch.rand(5000, requires_grad=True),
    "result that requires grad": lambda: torch.rand(5000, requires_grad=True) * 2,
    "conjugate": lambda: torch.rand(5000, dtype=torch.complex64).conj(),
    "sparse": lambda: torch.eye(100).to_sparse(),
    "from numpy": lambda: torch.from_numpy(__import__("numpy").arange(9000)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_tensor_of_every_layout_arrives_equal(name: str) -> None:
    tensor = LAYOUTS[name]()
    again = round_trip([tensor])[0]

    assert again.layout == tensor.layout
    assert again.shape == tensor.shape
    assert torch.equal(again.detach().to_dense(), tensor.detach().to_dense())
    assert again.requires_grad == tensor.requires_grad
    if name in {"transposed", "channels last"}:
        assert again.stride() == tensor.stride()


def test_subclass_of_tensor_keeps_its_type() -> None:
    again = round_trip(torch.nn.Parameter(torch.rand(9000)))

    assert type(again) is torch.nn.Parameter


def test_dense_tensor_is_left_out_of_the_pickle_without_a_copy() -> None:
    tensor = torch.rand(4, 3, 64, 64).to(memory_format=torch.channels_last)
    pickled, buffers = BatchPickler().dump(tensor)

    assert len(pickled) < 500
    assert buffers[0].nbytes == tensor.nbytes


def test_torch_is_not_imported_for_those_who_do_not_use_it() -> None:
    source = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom splitdata.process.mpqitr import MpQItr\n"
        "from tests.process.generators import mixed\n"
        "def generate():\n    yield from mixed(3, 30_000)\n    yield 'torch' in sys.modules\n"
        "print(list(MpQItr(generate))[-1], 'torch' in sys.modules)\n"
    )

    assert run_python("-c", source).stdout == "False False\n"


def test_consumer_without_torch_gets_it_with_the_first_tensor() -> None:
    # Importing this module would import torch, so the function is written out.
    source = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom splitdata.process.mpqitr import MpQItr\n"
        "def generate():\n    import torch\n    yield torch.full((5,), 7.0), torch.full((9000,), 7.0)\n"
        "running = iter(MpQItr(generate))\nbefore = 'torch' in sys.modules\n"
        "small, large = next(running)\nprint(before, float(small.sum()), float(large.sum()))\n"
    )
    ended = run_python("-c", source)

    assert (ended.stdout, ended.stderr) == ("False 35.0 63000.0\n", "")


@pytest.mark.parametrize("method", METHODS)
def test_generator_may_use_a_data_loader_with_processes(method: StartMethod) -> None:
    def loading() -> Iterator[Any]:
        from torch.utils.data import DataLoader

        yield from DataLoader(list(range(40)), batch_size=10, num_workers=2)

    received = list(MpQItr.options(start_method=method)(loading))

    assert torch.cat(received).tolist() == list(range(40))
    assert "torch" in sys.modules


def test_tensor_of_one_element_travels_whatever_its_stride() -> None:
    row = torch.arange(10.0)
    for tensor in (row[5::10], row.view(2, 5)[1:, 1:2].T, row.view(2, 5)[1:, 1:2], row[3:4].to(torch.float8_e5m2)):
        found = round_trip(tensor)
        assert found.shape == tensor.shape
        assert torch.equal(found.to(torch.float64), tensor.to(torch.float64))


def test_nested_tensor_travels_as_torch_sends_it() -> None:
    # torch warns the first time that it is a prototype.
    with warnings.catch_warnings(action="ignore"):
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])

    assert [part.tolist() for part in round_trip(nested).unbind()] == [[1.0] * 2, [1.0] * 3]
