"""Makes a batch by whole columns, where nothing looks at its samples one by one: several times as fast.

It is what samples that are made one by one would be collated to. Where that cannot be, or fails, they are: so there is
one place that words errors and replaces bad records.

    SampleDataset.gather ──> columns of all fields ──on_columns of the transform──> batch
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata.samples.collate import with_tensors

if TYPE_CHECKING:
    from splitdata.loader.plan.steps import Part
    from splitdata.loader.samples.record_source import RecordFetcher
    from splitdata.loader.samples.sample_maker import Transform
    from splitdata.samples.collate import Allocate

__all__ = ["ColumnMaker", "open_columns"]


def open_columns(
    source: RecordFetcher, transform: Transform | None, *, as_tensors: bool, allocate: Allocate
) -> ColumnMaker | None:
    """Return what makes batches of columns; None where samples must be made one by one.

    Args:
        source: Of the samples: our own reader of them.
        transform: None, or one of ours that says by `on_columns` what it does to a batch.
        as_tensors: Turn arrays into tensors.
        allocate: Makes arrays, as `collate` is given it.
    """
    on_columns = None
    if transform is not None:
        on_columns = getattr(transform, "on_columns", None) if hasattr(type(transform), "on_columns") else None
        if on_columns is None:
            return None
    return ColumnMaker(source, on_columns, as_tensors, allocate) if source.gathers else None


class ColumnMaker:
    """Makes batches of columns; one for each worker."""

    def __init__(
        self, source: RecordFetcher, on_columns: Callable[[Any], Any] | None, as_tensors: bool, allocate: Allocate
    ) -> None:
        self._source = source
        self._on_columns = on_columns
        self._as_tensors = as_tensors
        self._allocate = allocate

    def make(self, parts: Sequence[Part]) -> Any | None:
        """Return the batch of these parts; None if samples must be made one by one, which also tells why."""
        records = parts[0].records if len(parts) == 1 else np.concatenate([part.records for part in parts])
        try:
            batch = self._source.gather(records, self._allocate)
            if self._on_columns is not None:
                batch = self._on_columns(batch)
            return with_tensors(batch) if self._as_tensors else batch
        except Exception:
            # Also of one bad record, which may be replaced.
            return None
