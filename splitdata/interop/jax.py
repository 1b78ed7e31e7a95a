"""Batches as arrays of JAX, put where a sharding says while the loop computes; torch is not needed.

It is given to the loader: `DistributedLoader(..., workers=WorkerOptions(to_device=PutOn(sharding), device_batches=2))`.

    worker ──numpy──> PutOn ──> jax.Array over the devices of a mesh, two batches ahead of the loop
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

__all__ = ["PutOn"]


@dataclass(frozen=True)
class PutOn:
    """What WorkerOptions(to_device=...) takes: puts each array of a batch on devices; texts stay as they are.

    With several processes the batches of all of them together are one global array: give the loader
    `rank=jax.process_index()` and `world_size=jax.process_count()`. A batch must divide among the devices of its first
    axis: use `tail="drop"`.

    Attributes:
        sharding: A jax.sharding.Sharding, or one device.
    """

    sharding: Any

    def __call__(self, batch: Any, device: object = None) -> Any:
        """Return the batch on its devices; the device of the loader has no part in it."""
        return jax.tree.map(self._put, batch)

    def _put(self, leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        if jax.process_count() > 1 and isinstance(self.sharding, jax.sharding.Sharding):
            return jax.make_array_from_process_local_data(self.sharding, leaf)
        return jax.device_put(leaf, self.sharding)
