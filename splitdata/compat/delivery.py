"""Delivery: what becomes of a batch on its way from samples in a worker to the loop of one consumer.

There is one way for batches as they are, one for batches that the user encodes, and one where threads decode.

    worker        samples ── collate_fn ──> batch           or bytes, with an encoder of the user's
    ahead         batch ── to_device ──> on the device      or decoded, here or in threads
    handed out    batch ── finish ──> as swift_loader gives it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from splitdata.compat.encoded_batches import DecodeHere, DecodeInThreads, EncodedCollate, move_batch
from splitdata.compat.nested_lists import as_nested_lists

__all__ = ["Decoding", "Delivery"]


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How batches travel that a user's functions encode and decode.

    Attributes:
        encoder: batch -> bytes, in the worker.
        decoder: bytes -> batch.
        num_threads: That decode ahead of the loop; 0: the loop's own does it.
        num_ahead: Batches that threads decode ahead.
    """

    encoder: Callable[[Any], Any]
    decoder: Callable[[bytes], Any]
    num_threads: int
    num_ahead: int


class Delivery:
    """The steps of one way, as options of DistributedLoader and of Epochs.

    Attributes:
        collate_fn: In the worker; None for the default.
        device: Where the loader moves batches; None for nowhere.
        to_device: What moves or decodes them ahead of the loop; None for our own way.
        num_ahead: How many may be ahead.
        finish: What a batch becomes when it is handed out; None where it is right.
    """

    def __init__(
        self,
        collate_fn: Callable[[list[Any]], Any] | None,
        decoding: Decoding | None,
        *,
        device: Any = None,
        to_device: Callable[[Any, Any], Any] | None = None,
        num_on_device: int = 1,
    ) -> None:
        """Choose the steps.

        Args:
            collate_fn: The user's, None for nested lists.
            decoding: None where batches travel through shared memory as they are.
            device: Where batches go at last; None leaves them in memory, and `to_device` out.
            to_device: The user's way there.
            num_on_device: Batches that may be on their way there.
        """
        self.collate_fn = collate_fn
        self.device = device
        self.to_device: Callable[[Any, Any], Any] | None = None
        self.num_ahead = num_on_device
        self.finish: Callable[[Any], Any] | None = None
        self._threads: DecodeInThreads | None = None
        move = to_device or move_batch
        if decoding is not None:
            self.collate_fn = EncodedCollate(collate_fn, decoding.encoder)
        if decoding is not None and decoding.num_threads:
            self.to_device = self._threads = DecodeInThreads(decoding.decoder, decoding.num_threads)
            self.num_ahead = decoding.num_ahead
            # Moved when they are handed out, on the loop's own stream: threads have others.
            self.device = None
            self.finish = lambda ahead: ahead.result() if device is None else move(ahead.result(), device)
        elif decoding is not None:
            self.to_device = DecodeHere(decoding.decoder, move)
        elif to_device is not None and device is not None:
            self.to_device = to_device if collate_fn is not None else _OfNestedLists(to_device)
        elif collate_fn is None:
            self.finish = as_nested_lists

    def close(self) -> None:
        """Let threads end, without waiting for them."""
        if self._threads is not None:
            self._threads.close()


@dataclass(frozen=True)
class _OfNestedLists:
    """A user's `to_device` that gets batches in the form in which they are handed out."""

    to_device: Callable[[Any, Any], Any]

    def __call__(self, batch: Any, device: Any) -> Any:
        return self.to_device(as_nested_lists(batch), device)
