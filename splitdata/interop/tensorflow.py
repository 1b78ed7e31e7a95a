"""A loader as a tf.data.Dataset of its batches.

What TensorFlow must know beforehand comes from a look at the first batch, which changes nothing.

    loader.peek() ──> signature: dtype and shape of each array, the number of samples left open
    iter(dataset) ──> iter(loader): one epoch, and the next one for the next
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow

if TYPE_CHECKING:
    from splitdata.loader.distributed_loader import DistributedLoader

__all__ = ["to_tf_dataset"]


def to_tf_dataset(loader: DistributedLoader) -> Any:
    """Return a loader as a tf.data.Dataset; texts and bytes are strings of TensorFlow's.

    The loader's state counts the batches that TensorFlow has taken: with a `prefetch` behind this, more than trained.
    Let the loader work ahead instead (`num_workers`).

    Raises:
        TypeError: A batch holds what TensorFlow has no tensor for.
        ValueError: The loader has no batches.
    """
    signature = _map(_spec, loader.peek())

    def batches() -> Iterator[Any]:
        for batch in loader:
            yield _map(_plain, batch)

    dataset = tensorflow.data.Dataset.from_generator(batches, output_signature=signature)
    options = tensorflow.data.Options()
    # It would take batches ahead of training, which the state of the loader would count.
    options.experimental_optimization.inject_prefetch = False
    return dataset.with_options(options)


def _map(change: Any, batch: Any) -> Any:
    """Change the leaves of a batch; lists of texts are leaves, others become tuples, as TensorFlow takes lists."""
    if isinstance(batch, Mapping):
        return {name: _map(change, value) for name, value in batch.items()}
    if isinstance(batch, list) and all(isinstance(value, (str, bytes)) for value in batch):
        return change(np.array(batch, object))
    if isinstance(batch, (list, tuple)):
        return tuple(_map(change, value) for value in batch)
    return change(batch)


def _plain(leaf: Any) -> Any:
    return leaf.numpy() if hasattr(leaf, "numpy") else leaf


def _spec(leaf: Any) -> Any:
    array = np.asarray(_plain(leaf))
    kind = tensorflow.string if array.dtype.kind in "OSU" else array.dtype
    try:
        return tensorflow.TensorSpec((None, *array.shape[1:]), kind)
    except TypeError:
        raise TypeError(
            f"a batch holds {type(leaf).__name__} of {array.dtype}, which TensorFlow does not have"
        ) from None
