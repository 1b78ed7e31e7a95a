"""Transfer on a real GPU whose work is kept late, so that a race has time to show: skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata.loader.device.device import open_engine, resolve_device
from splitdata.loader.device.device_prefetcher import DevicePrefetcher
from splitdata.loader.device.transfer import DeviceTransfer

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]

# Batches.
Anything: TypeAlias = Any

NUM_BATCHES = 200


def batches() -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield batches of varying size whose memory is overwritten as soon as the next one is asked for."""
    for number in range(NUM_BATCHES):
        batch = {"image": np.full((64 + number % 7, 10_000), number, np.float32), "label": np.full(64, number)}
        yield number, batch
        batch["image"][:] = -1
        batch["label"][:] = -1


def sums_of(feed: DevicePrefetcher[int]) -> list[Anything]:
    """Return the sums of every batch, computed late on the current stream, and keep no batch."""
    sums = []
    for _, batch in feed:
        # The host is many batches ahead of this work, and drops each batch before the work has begun.
        torch.cuda._sleep(2_000_000)
        sums.append(torch.stack([batch["image"].double().mean(), batch["label"].double().mean()]))
        del batch
    torch.cuda.synchronize()
    return [each.tolist() for each in sums]


@pytest.mark.parametrize("device_batches", [0, 1, 2])
def test_late_work_sees_the_bytes_of_its_own_batch(device_batches: int) -> None:
    transfer = DeviceTransfer(open_engine("cuda"), device_batches=device_batches)
    for _ in range(2):
        assert sums_of(DevicePrefetcher(batches(), transfer)) == [[float(n)] * 2 for n in range(NUM_BATCHES)]


def test_late_work_on_another_stream_sees_the_bytes_of_its_own_batch() -> None:
    with torch.cuda.stream(torch.cuda.Stream()):
        feed = DevicePrefetcher(batches(), DeviceTransfer(open_engine("cuda"), device_batches=2))
        assert sums_of(feed) == [[float(n)] * 2 for n in range(NUM_BATCHES)]


class Hidden:
    """Hides a tensor from whoever looks for tensors to record."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch


@pytest.mark.parametrize("pin_memory", [False, True])
def test_late_work_on_tensors_hidden_by_to_device_sees_the_bytes_of_its_own_batch(pin_memory: bool) -> None:
    def to_device(batch: dict[str, Any], device: Anything) -> Hidden:
        assert all(torch.as_tensor(value).is_pinned() == pin_memory for value in batch.values())
        return Hidden({key: torch.as_tensor(value).to(device, non_blocking=True) for key, value in batch.items()})

    engine = open_engine("cuda", pin_memory=pin_memory)
    hidden = DevicePrefetcher(batches(), DeviceTransfer(engine, to_device=to_device, device_batches=2))
    shown: Any = ((token, moved.batch) for token, moved in hidden)

    assert sums_of(shown) == [[float(n)] * 2 for n in range(NUM_BATCHES)]


def test_batches_lie_on_the_current_device_with_their_strides() -> None:
    image = torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last)
    feed = DevicePrefetcher(iter([(0, [image, torch.eye(3).to_sparse(), "a"])]), DeviceTransfer(open_engine("cuda")))
    [(_, [moved, sparse, name])] = list(feed)

    assert moved.device == sparse.device == resolve_device("cuda")
    assert moved.device.index == torch.cuda.current_device()
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved.cpu(), image)
    assert torch.equal(sparse.to_dense().cpu(), torch.eye(3))
    assert name == "a"


def test_pinned_batches_without_a_device_stay_on_the_host() -> None:
    feed = DevicePrefetcher(batches(), DeviceTransfer(open_engine(None, pin_memory=True)))
    number, batch = next(feed)

    assert batch["image"].is_pinned()
    assert batch["label"].tolist() == [number] * 64


def test_memory_of_the_device_does_not_grow_over_epochs() -> None:
    transfer = DeviceTransfer(open_engine("cuda"), device_batches=2)
    reserved = []
    for _ in range(4):
        for _, batch in DevicePrefetcher(batches(), transfer):
            torch.cuda.synchronize()
            del batch
        reserved.append(torch.cuda.memory_reserved())

    assert reserved[-1] == reserved[0]


def test_number_of_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="this process sees"):
        resolve_device(f"cuda:{torch.cuda.device_count()}")
