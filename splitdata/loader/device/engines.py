"""Engines that move tensors to a device: one for hosts and simple devices, one for CUDA.

    host thread        fill staging | copy, mark | ...            hand over          use the batch
    side stream                     [copy to device] (event)         |
    consumer's stream  [ work on earlier batches ................ ] waits for event [ work on this batch ]

The host never waits for a copy, except before it fills a staging buffer that the copy still reads. The
consumer's stream waits for the event in hand_over, then its work may read the tensors. They were allocated on
the side stream: record_stream tells the allocator that the consumer's stream uses them too, so that it does not
give their memory to a later copy before that work is done.

torch comes as an argument: this module is imported without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

__all__ = ["CudaEngine", "Engine", "HostEngine"]


class Engine(Protocol):
    """Copies tensors to one device. Belongs to one thread at a time; torch orders what it queues."""

    torch: Any
    device: Any
    pins: bool
    """Whether a user's own `to_device` gets pinned tensors."""
    is_staged: bool
    """Whether tensors in pageable memory go through a buffer of `allocate` first."""

    def allocate(self, size: int) -> Any:
        """Return a staging buffer: a uint8 tensor of `size` bytes that `copy` reads fast."""

    def copy(self, tensor: Any) -> Any:
        """Queue the copy of a tensor to the device, and return where it goes."""

    def mark(self) -> Any:
        """Return an event that is over when everything queued so far is over."""

    def wait(self, event: Any) -> None:
        """Make the host wait until an event is over."""

    def hand_over(self, event: Any, tensors: Iterable[Any]) -> None:
        """Let the consumer's current stream use tensors, after `event` and for as long as it needs."""

    def beside_consumer(self) -> AbstractContextManager[Any]:
        """Return a context in which a user's code queues on the side, after what the consumer has queued so far."""


class HostEngine:
    """The engine of the CPU and of devices without streams: each copy is over when the call returns."""

    is_staged = False

    def __init__(self, torch: Any, device: Any, *, pins: bool) -> None:
        self.torch = torch
        self.device = device
        self.pins = pins

    def allocate(self, size: int) -> Any:
        """Return ordinary memory."""
        return self.torch.empty(size, dtype=self.torch.uint8, device="cpu")

    def copy(self, tensor: Any) -> Any:
        """Return the tensor on the device, pinned if asked for: itself if it is there already."""
        moved = tensor.to(self.device)
        return moved.pin_memory() if self.pins and moved.device.type == "cpu" else moved

    def mark(self) -> Any:
        """Return None: nothing is under way."""
        return None

    def wait(self, event: Any) -> None:
        """Return at once."""

    def hand_over(self, event: Any, tensors: Iterable[Any]) -> None:
        """Do nothing: the tensors are there."""

    def beside_consumer(self) -> AbstractContextManager[Any]:
        """Return an empty context."""
        return nullcontext()


class CudaEngine:
    """The engine of a CUDA device. Everything that it queues goes to one stream of its own."""

    is_staged = True

    def __init__(self, torch: Any, device: Any, *, pins: bool) -> None:
        self.torch = torch
        self.device = device
        self.pins = pins
        self._side = torch.cuda.Stream(device)

    def allocate(self, size: int) -> Any:
        """Return pinned memory."""
        return self.torch.empty(size, dtype=self.torch.uint8, device="cpu", pin_memory=True)

    def copy(self, tensor: Any) -> Any:
        """Queue the copy on the side stream. From pageable memory it is over on return, from pinned it is not."""
        with self.torch.cuda.stream(self._side):
            return tensor.to(self.device, non_blocking=True)

    def mark(self) -> Any:
        """Return a new event on the side stream."""
        return self._side.record_event()

    def wait(self, event: Any) -> None:
        """Make the host wait; other threads run meanwhile."""
        event.synchronize()

    def hand_over(self, event: Any, tensors: Iterable[Any]) -> None:
        """Make the current stream wait, and the allocator remember that it uses the tensors."""
        consumer = self.torch.cuda.current_stream(self.device)
        consumer.wait_event(event)
        for tensor in tensors:
            tensor.record_stream(consumer)

    def beside_consumer(self) -> AbstractContextManager[Any]:
        """Return a context with the side stream as the current one, which waits for the consumer's first.

        What a user's own code returns may hide tensors that nobody can call `record_stream` for. Their memory
        returns to the side stream when the last reference goes, and is not written again before the consumer's
        work that was queued until then is over.
        """
        self._side.wait_stream(self.torch.cuda.current_stream(self.device))
        return self.torch.cuda.stream(self._side)  # type: ignore[no-any-return]
