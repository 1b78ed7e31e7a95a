"""Batches that a function of the user's makes bytes of in the worker, and another one makes batches of again here.

Without them batches travel as they are, which is faster.

    worker    samples ── collate ── batch_encoder ──> bytes, as an array: through shared memory
    here      array ──> bytes ── batch_decoder, in this thread or several ahead of the loop ──> batch ──> device
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata.compat.nested_lists import as_nested_lists
from splitdata.samples.collate import collate
from splitdata.samples.nesting import map_leaves
from splitdata.samples.tensors import tensor_over

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from numpy.typing import NDArray

__all__ = ["DecodeHere", "DecodeInThreads", "EncodedCollate", "move_batch"]


@dataclass(frozen=True)
class EncodedCollate:
    """The collate function of a worker: samples in, bytes out.

    Attributes:
        collate_fn: The user's; None for nested lists.
        encoder: batch -> bytes.
    """

    collate_fn: Callable[[list[Any]], Any] | None
    encoder: Callable[[Any], Any]

    def __call__(self, samples: list[Any]) -> NDArray[np.uint8]:
        """Return the bytes as an array, which travels through shared memory.

        Raises:
            TypeError: The encoder returned something else than bytes.
            Exception: What it raised.
        """
        batch = as_nested_lists(collate(samples)) if self.collate_fn is None else self.collate_fn(samples)
        encoded = self.encoder(batch)
        if not isinstance(encoded, bytes | bytearray | memoryview):
            raise TypeError(f"batch_encoder must return bytes, it returned {type(encoded).__name__}")
        return np.frombuffer(encoded, np.uint8)


@dataclass(frozen=True)
class DecodeHere:
    """Decodes in the thread of the loop; the `to_device` of a DistributedLoader.

    Attributes:
        decoder: bytes -> batch.
        to_device: (batch, device) -> batch, where there is a device.
    """

    decoder: Callable[[bytes], Any]
    to_device: Callable[[Any, Any], Any]

    def __call__(self, encoded: NDArray[np.uint8], device: Any) -> Any:
        """Return the batch, on its way to the device."""
        batch = self.decoder(encoded.tobytes())
        return batch if device is None else self.to_device(batch, device)


class DecodeInThreads:
    """Decodes in threads of its own, as many batches ahead as a DistributedLoader calls it for.

    Args:
        decoder: bytes -> batch; runs in several threads at once.
        num_threads: Started at the first batch.
    """

    def __init__(self, decoder: Callable[[bytes], Any], num_threads: int) -> None:
        self._decoder = decoder
        self._num_threads = num_threads
        self._threads: ThreadPoolExecutor | None = None

    def __call__(self, encoded: NDArray[np.uint8], _device: Any) -> Future[Any]:
        """Return what will be the batch: for `result`."""
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor

            self._threads = ThreadPoolExecutor(self._num_threads, thread_name_prefix="splitdata-decode")
        return self._threads.submit(self._decode, encoded)

    def _decode(self, encoded: NDArray[np.uint8]) -> Any:
        return self._decoder(encoded.tobytes())

    def close(self) -> None:
        """Let the threads end, without waiting for them."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def move_batch(batch: Any, device: Any) -> Any:
    """Return the batch with each array and tensor in it as a tensor on the device.

    Raises:
        TypeError: torch has no such dtype.
    """

    def moved(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            leaf = tensor_over(leaf)
        is_tensor = isinstance(leaf, getattr(sys.modules.get("torch"), "Tensor", ()))
        return leaf.to(device, non_blocking=True) if is_tensor else leaf

    return map_leaves(moved, batch)
