"""The length of each record, for batches by length: from the index, a field of samples, numbers, or a function.

    None          bytes, as the index says them: nothing is read
    "tokens"      field of samples: a number, or the size of its first axis, of its text or bytes
    numbers       one for each record of the dataset
    function      of what the dataset gives for a record

What must be read for it is read once, in this process; 8 bytes a record are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata._shown import shown
from splitdata.loader.samples.mixture import Mixture
from splitdata.loader.samples.record_values import field_of, values_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.loader.samples.record_source import RecordFetcher
    from splitdata.order.batching import Length

__all__ = ["record_lengths"]


def record_lengths(source: RecordFetcher, length: Length) -> NDArray[np.int64]:
    """Return the length of each record of a dataset, int64[n].

    Raises:
        TypeError, ValueError: If a length is no integer of 0 or more, there are not as many as records, or the dataset
            knows none by itself.
        Exception: What the dataset or the function raises.
    """
    if length is None:
        return _sizes(source.dataset, source.name)
    if isinstance(length, str):
        return _measured(source, lambda sample: _length_of(sample, length))
    if callable(length):
        return _measured(source, length)
    lengths = np.asarray(length)
    if lengths.dtype.kind not in "iu" or lengths.shape != (len(source.dataset),):
        raise ValueError(
            f"length must be one integer for each of the {len(source.dataset)} records, got {lengths.dtype} of shape "
            f"{lengths.shape}"
        )
    return _checked(lengths.astype(np.int64))


def _sizes(dataset: Any, name: str) -> NDArray[np.int64]:
    if isinstance(dataset, Mixture):
        parts = [_sizes(fetcher.dataset, fetcher.name) for fetcher in dataset.fetchers]
        return np.concatenate(parts)
    sizes = getattr(getattr(dataset, "records", dataset), "sizes", None)
    if sizes is None:
        raise TypeError(
            f"batches by length need to know the length of each record, and {name} has no `sizes`: give `length`, the "
            "name of a field, numbers or a function"
        )
    return np.asarray(sizes, np.int64)


def _measured(source: RecordFetcher, measure: Callable[[Any], Any]) -> NDArray[np.int64]:
    lengths = np.empty(len(source.dataset), np.int64)
    for record, found in values_of(source, np.arange(len(lengths)), measure):
        if isinstance(found, bool) or not isinstance(found, (int, np.integer)):
            raise TypeError(f"the length of record {record} must be an integer, got {shown(found)}")
        lengths[record] = found
    return _checked(lengths)


def _length_of(sample: Any, field: str) -> int:
    value = field_of(sample, field)
    if isinstance(value, (int, np.integer)):
        return int(value)
    shape = getattr(value, "shape", None)
    if shape == ():
        return int(value)
    return len(value)


def _checked(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(lengths) and lengths.min() < 0:
        raise ValueError(f"the length of record {int(lengths.argmin())} is {int(lengths.min())}: it must be 0 or more")
    return lengths
