"""What the default collation of the two loaders with a dataset class gives, for each kind of field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitdata.compat.dataset_server import DataLoader
from splitdata.compat.nested_lists import as_nested_lists
from splitdata.samples.collate import collate
from tests.stable_ids import stable_id

# Loaded by the tests, not where they are collected: each process that a test forks copies the tables of that memory.
FIELDS: list[tuple[Any, tuple[int, ...], Any]] = [
    (7, (3,), np.int64),
    (0.5, (3,), np.float64),
    (True, (3,), np.bool_),
    (np.float32(2), (3,), np.float32),
    (np.zeros(()), (3,), np.float64),
    (np.zeros((1,)), (3, 1), np.float64),
    (np.zeros((4, 5), np.uint8), (3, 4, 5), np.uint8),
]


@pytest.fixture(autouse=True)
def _torch_is_there() -> None:
    pytest.importorskip("torch")


@pytest.mark.parametrize(("field", "shape", "dtype"), FIELDS, ids=stable_id)
def test_field_of_each_kind_is_batched_along_a_new_first_axis(field: Any, shape: tuple[int, ...], dtype: Any) -> None:
    batched = as_nested_lists(collate([field] * 3))

    assert isinstance(batched, np.ndarray)
    assert (batched.shape, batched.dtype) == (shape, dtype)


# One element of one axis is a label, as datasets for torch give it.
@pytest.mark.parametrize(("shape", "expected"), [((), (3,)), ((1,), (3,)), ((2, 2), (3, 2, 2))])
def test_tensors_stay_tensors_along_a_new_first_axis(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    import torch

    batched = as_nested_lists(collate([torch.ones(shape, dtype=torch.int64)] * 3))

    assert isinstance(batched, torch.Tensor)
    assert (tuple(batched.shape), batched.dtype) == (expected, torch.int64)


def test_nested_tuples_and_lists_become_lists() -> None:
    batch = as_nested_lists(collate([(1, [np.zeros(2), (2.0,)], {"a": (3,)})] * 2))

    assert type(batch) is list
    assert type(batch[1]) is list
    assert type(batch[1][1]) is list
    assert batch[2]["a"][0].tolist() == [3, 3]


@pytest.mark.parametrize(("keeps", "shape"), [(True, (3, 1)), (False, (3,))])
def test_tensor_of_one_element_and_two_axes_keeps_the_inner_one_where_asked(keeps: bool, shape: tuple[int]) -> None:
    import torch

    batch = collate([torch.tensor([[4]])] * 3)

    assert as_nested_lists(batch, keeps_inner_axes=keeps).shape == shape


def test_batch_shares_its_memory_with_what_collate_gave() -> None:
    import torch

    batch = collate([(np.zeros(4), torch.zeros(1))] * 3)
    array, tensor = as_nested_lists(batch)

    assert array is batch[0]
    assert tensor.data_ptr() == batch[1].data_ptr()


class Labelled:
    """Tensors with a label of one element, as datasets for torch give it."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Any:
        import torch

        return torch.full((2,), float(index)), torch.tensor([index])


def test_last_batch_of_one_sample_keeps_its_first_axis() -> None:
    *_, (images, labels) = DataLoader(Labelled, {}, 2, nb_worker=0)

    assert images.shape == (1, 2)
    assert labels.tolist() == [4]


@pytest.mark.parametrize("pin_memory", [False, True])
def test_device_takes_arrays_tensors_and_nested_lists(pin_memory: bool) -> None:
    import torch

    from tests.compat.datasets import Numbered

    for device in ("cpu", torch.device("cpu")):
        loader = DataLoader(Numbered, {"size": 3}, 3, 0, device=device, pin_memory=pin_memory)
        (images, labels) = next(loader)
        assert isinstance(images, torch.Tensor)
        assert isinstance(labels, torch.Tensor)
        assert labels.tolist() == [0, 1, 2]


def test_pinned_memory_without_a_device_makes_tensors_of_arrays() -> None:
    import torch

    from tests.compat.datasets import Numbered

    (images, labels) = next(DataLoader(Numbered, {"size": 3}, 3, 0, pin_memory=True))

    assert isinstance(images, torch.Tensor)
    assert labels.tolist() == [0, 1, 2]


def test_random_state_of_torch_stays() -> None:
    import torch

    before = torch.get_rng_state()
    batches = list(DataLoader(Noisy, {}, 2, 0, shuffle=True))

    assert torch.equal(torch.get_rng_state(), before)
    # And no sample has the draws of another one, as workers have that begin with torch's constant seed.
    assert len(torch.cat(batches).unique()) == 5


class Noisy(Labelled):
    """Draws when it is made and for each sample."""

    def __init__(self) -> None:
        import torch

        torch.rand(1)

    def __getitem__(self, index: int) -> Any:
        import torch

        return torch.rand(1)
