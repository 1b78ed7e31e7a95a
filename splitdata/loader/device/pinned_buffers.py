"""Reused memory that a device copies from: a batch's tensors packed into one of a few buffers.

Pinning memory costs more than filling it, so buffers are kept for as long as the loader.

    batch k     buffer k mod n        [ image ......... | label | box ... |          ]   grows to the largest batch
                                        256-byte places                              event behind the copies
    batch k+n   the same one, filled only after the host has waited for that event
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitdata.loader.device.engines import Engine

__all__ = ["PinnedBuffer", "PinnedRing", "is_plain", "is_stageable"]


# Every dtype may be viewed there, and no two tensors share what the device reads at once.
_ALIGNMENT = 256


class PinnedBuffer:
    """One buffer of the ring, for one batch at a time."""

    def __init__(self) -> None:
        self.memory: Any = None
        self.event: Any = None
        self._used = 0

    def empty(self, engine: Engine, size: int) -> None:
        """Make room for `size` bytes, once the copies from here are over."""
        if self.event is not None:
            engine.wait(self.event)
            self.event = None
        if self.memory is None or len(self.memory) < size:
            # The old one goes first; some room more, so that batches of varying size do not pin again and again.
            self.memory = None
            self.memory = engine.allocate(size + size // 4)
        self._used = 0

    def fill(self, tensor: Any, engine: Engine) -> Any:
        """Copy a tensor into the buffer, and return it there, with its strides if it lies densely in any order."""
        size = tensor.numel() * tensor.element_size()
        flat = self.memory[self._used : self._used + size].view(tensor.dtype)
        self._used += _place_size(tensor)
        if tensor.is_contiguous():
            staged = flat.view(tensor.shape)
        else:
            # A tensor without memory has the strides that torch would give to a copy.
            strides = engine.torch.empty_like(tensor, device="meta").stride()
            staged = flat.as_strided(tensor.shape, strides)
        return staged.copy_(tensor)


class PinnedRing:
    """Takes its buffers in turn."""

    def __init__(self, engine: Engine, num_buffers: int) -> None:
        self._engine = engine
        self._buffers = [PinnedBuffer() for _ in range(num_buffers)]
        self._next = 0

    @contextmanager
    def buffer_for(self, tensors: Iterable[Any]) -> Iterator[PinnedBuffer]:
        """Lend the next buffer, with room for these tensors.

        Waits until the copies from it are over. All copies from it are queued within the `with`, behind which its
        `event` is set.
        """
        buffer = self._buffers[self._next]
        self._next = (self._next + 1) % len(self._buffers)
        buffer.empty(self._engine, sum(_place_size(tensor) for tensor in tensors))
        try:
            yield buffer
        finally:
            # Also after an error: some of the copies may be under way.
            buffer.event = self._engine.mark()


def is_plain(leaf: Any, torch: Any) -> bool:
    """Whether a leaf is a tensor that is one piece of memory with strides, and nothing more."""
    return type(leaf) is torch.Tensor and leaf.layout is torch.strided and not (leaf.is_nested or leaf.is_quantized)


def is_stageable(leaf: Any, torch: Any) -> bool:
    """Whether a leaf is a tensor whose bytes can go through a buffer, and gain by it."""
    return (
        is_plain(leaf, torch)
        and leaf.device.type == "cpu"
        and leaf.numel() > 0
        and not (leaf.is_conj() or leaf.is_neg() or leaf.is_pinned())
    )


def _place_size(tensor: Any) -> int:
    size: int = tensor.numel() * tensor.element_size()
    return -(-size // _ALIGNMENT) * _ALIGNMENT
