"""One value of each record, for an order that depends on it: numbers, a field of samples, or what a function says.

    array or list     one for each record of the dataset
    "label"           field of samples
    function          of what the dataset gives for a record

What must be read for it is read once, in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from splitdata._shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splitdata.loader.plan.selection import Selection
    from splitdata.loader.samples.record_source import RecordFetcher

__all__ = ["PerRecord", "classes_of", "field_of", "values_of", "weights_of"]

PerRecord: TypeAlias = "str | Sequence[Any] | NDArray[Any] | Callable[[Any], Any]"

_RECORDS_TOGETHER: Final = 1024


def values_of(
    source: RecordFetcher, records: NDArray[np.int64], measure: Callable[[Any], Any]
) -> Iterator[tuple[int, Any]]:
    """Yield each record's number and what a function says of it.

    Raises:
        Exception: What the dataset or the function raises.
    """
    for begin in range(0, len(records), _RECORDS_TOGETHER):
        some = records[begin : begin + _RECORDS_TOGETHER]
        for record, value in zip(some.tolist(), source.fetch(some), strict=True):
            yield record, measure(value)


def field_of(sample: Any, field: str) -> Any:
    """Return a field of a sample.

    Raises:
        ValueError: It has none of this name.
    """
    try:
        return sample[field]
    except (TypeError, KeyError, IndexError):
        raise ValueError(f"a sample has no field {shown(field)}: {shown(sample)}") from None


def weights_of(source: RecordFetcher, selection: Selection, weights: PerRecord) -> NDArray[np.generic]:
    """Return the weight of each record that takes part, in the order of the selection.

    Raises:
        TypeError, ValueError: If a weight is no number, or there are not as many as records.
        Exception: What the dataset or the function raises.
    """
    return _column(source, selection, weights, "weights")


def classes_of(source: RecordFetcher, selection: Selection, classes: PerRecord) -> NDArray[np.int64]:
    """Return the number of the class of each record that takes part: classes are numbered as their names are sorted.

    Raises:
        TypeError, ValueError: If a class is neither a number nor a text, or there are not as many as records.
        Exception: What the dataset or the function raises.
    """
    column = _column(source, selection, classes, "balanced_by")
    if column.dtype.kind not in "biuSU":
        raise TypeError(f"classes are whole numbers or texts, balanced_by gives {column.dtype}")
    numbers: NDArray[np.int64] = np.unique(column, return_inverse=True)[1].astype(np.int64)
    return numbers


def _column(source: RecordFetcher, selection: Selection, given: PerRecord, name: str) -> NDArray[np.generic]:
    records = selection.all_records()
    if isinstance(given, str):
        field: str = given
        return _array([value for _, value in values_of(source, records, lambda one: field_of(one, field))], name)
    if callable(given):
        return _array([value for _, value in values_of(source, records, given)], name)
    column = _array(given, name)
    if len(column) != len(source.dataset):
        raise ValueError(
            f"{name} must be one value for each of the {len(source.dataset)} records of the dataset, got {len(column)}"
        )
    return column[records]


def _array(values: Any, name: str) -> NDArray[np.generic]:
    column = np.asarray(values)
    if column.ndim != 1:
        raise ValueError(f"{name} must be one value for each record, got an array of shape {column.shape}")
    return column
