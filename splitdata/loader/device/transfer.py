"""Batches of any nesting to the device: every array and tensor in them, nothing else.

    send        {"image": u8 array, "name": ["a", "b"]}
                   | arrays become tensors over the same memory
                   | staged: packed into a pinned buffer         pinned_buffers.py
                   | copied to the device, an event behind it    engines.py
    hand_over   {"image": u8 tensor on the device, "name": ["a", "b"]}

`send` queues and returns; `hand_over`, at the moment when the user gets the batch, orders the user's stream
behind the copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata.loader.device.pinned_buffers import PinnedRing, is_plain, is_stageable
from splitdata.samples.nesting import PLAIN_LEAVES, leaves, map_leaves, name_of_leaf
from splitdata.samples.tensors import tensor_over

if TYPE_CHECKING:
    from splitdata.loader.device.engines import Engine
    from splitdata.loader.device.pinned_buffers import PinnedBuffer

__all__ = ["DeviceTransfer", "SentBatch"]


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A batch on its way: not to be used before `hand_over`."""

    batch: Any
    event: Any
    tensors: tuple[Any, ...]


class DeviceTransfer:
    """Sends batches through one engine. Kept over epochs: it owns the staging buffers.

    Not thread-safe; may move from one thread to another between calls.

    Args:
        engine: From `open_engine`; None leaves batches as they are.
        to_device: A user's own `to_device(batch, device)` in place of what is drawn above. On CUDA it runs with a
            side stream as the current one. It gets the batch as collated, with pinned tensors if `engine.pins`.
            What it raises arrives as it is.
        device_batches: How many batches may be on the device, or on their way there, beside the one in use: 0 or
            more. There is one staging buffer more than that.
        transferred: Called with the host's seconds in each `send` and `hand_over`, and how much of them it computed.

    Raises:
        ValueError: device_batches is negative.
    """

    def __init__(
        self,
        engine: Engine | None,
        *,
        to_device: Callable[[Any, Any], Any] | None = None,
        device_batches: int = 1,
        transferred: Callable[[float, float], None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        if device_batches < 0:
            raise ValueError(
                f"device_batches={device_batches}: 0 sends each batch when it is asked for, 1 and 2 overlap"
            )
        self.device_batches = device_batches
        self._engine = engine
        self._to_device = to_device
        self._ring = PinnedRing(engine, device_batches + 1) if engine is not None and engine.is_staged else None
        self._transferred = transferred
        self._clock = clock
        self._processor = processor

    def send(self, batch: Any) -> SentBatch:
        """Start to move a batch. Its own memory is free again on return, except what is pinned already.

        Raises:
            TypeError: An array of a dtype that torch does not know; names the field.
            Exception: Whatever torch or the user's `to_device` raises.
        """
        begin = self._clock(), self._processor()
        if self._to_device is not None:
            sent = self._send_by_user(batch, self._to_device)
        elif self._engine is not None:
            sent = self._send_by_engine(batch, self._engine)
        else:
            return SentBatch(batch, None, ())
        self._note(begin)
        return sent

    def hand_over(self, sent: SentBatch) -> Any:
        """Return the batch, safe to use on the current stream."""
        if self._engine is not None:
            begin = self._clock(), self._processor()
            self._engine.hand_over(sent.event, sent.tensors)
            self._note(begin)
        return sent.batch

    def _note(self, begin: tuple[float, float]) -> None:
        if self._transferred is not None:
            self._transferred(self._clock() - begin[0], self._processor() - begin[1])

    def _send_by_user(self, batch: Any, to_device: Callable[[Any, Any], Any]) -> SentBatch:
        engine = self._engine
        if engine is None:
            return SentBatch(to_device(batch, None), None, ())
        if engine.pins:
            batch = map_leaves(lambda leaf: _pinned(leaf, engine.torch), _with_tensors(batch))
        with engine.beside_consumer():
            moved = to_device(batch, engine.device)
        return _sent(moved, engine, engine.mark())

    def _send_by_engine(self, batch: Any, engine: Engine) -> SentBatch:
        torch = engine.torch
        # A batch that is sent while the user's inference mode is on may be handed over after it.
        with torch.inference_mode(False), torch.no_grad():
            batch = _with_tensors(batch)
            if self._ring is None:
                return _sent(map_leaves(lambda leaf: _copied(leaf, None, engine), batch), engine, engine.mark())
            with self._ring.buffer_for(leaf for leaf in leaves(batch) if is_stageable(leaf, torch)) as buffer:
                moved = map_leaves(lambda leaf: _copied(leaf, buffer, engine), batch)
            return _sent(moved, engine, buffer.event)


def _with_tensors(batch: Any) -> Any:
    def converted(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        try:
            return tensor_over(leaf)
        except TypeError as error:
            raise TypeError(f"{name_of_leaf('batch', batch, leaf)}: {error}") from None

    return map_leaves(converted, batch)


def _pinned(leaf: Any, torch: Any) -> Any:
    return leaf.pin_memory() if isinstance(leaf, torch.Tensor) and leaf.device.type == "cpu" else leaf


def _copied(leaf: Any, buffer: PinnedBuffer | None, engine: Engine) -> Any:
    # Asking torch costs more than all else here, and a batch may have a string for every sample.
    if type(leaf) in PLAIN_LEAVES or not isinstance(leaf, engine.torch.Tensor):
        return leaf
    if buffer is not None and is_stageable(leaf, engine.torch):
        moved = engine.copy(buffer.fill(leaf, engine))
    elif is_plain(leaf, engine.torch):
        moved = engine.copy(leaf)
    else:
        # Its memory cannot be named to the allocator, see `beside_consumer`.
        with engine.beside_consumer():
            moved = engine.copy(leaf)
    return moved.requires_grad_() if leaf.requires_grad and not moved.requires_grad else moved


def _sent(batch: Any, engine: Engine, event: Any) -> SentBatch:
    on_device = (leaf for leaf in leaves(batch) if is_plain(leaf, engine.torch) and leaf.device == engine.device)
    return SentBatch(batch, event, tuple(on_device))
