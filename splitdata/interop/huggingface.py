"""Datasets of Hugging Face's package `datasets`, by way of Arrow.

    SampleDataset ──to_arrow──> Table ──> datasets.Dataset          not copied again
    datasets.Dataset ──batches of Arrow──> rows ──> SplitWriter     types kept, as `splitdata write` of a Parquet file

To train on one as it is, give it to DistributedLoader: it is a map-style dataset.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import datasets

from splitdata.conversion.sources.tables.arrow_values import rows_of
from splitdata.dataset.writer import SplitWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitdata.dataset.sample_dataset import SampleDataset

__all__ = ["from_hf_dataset", "to_hf_dataset"]


def to_hf_dataset(dataset: SampleDataset, columns: Sequence[str] | None = None) -> Any:
    """Return samples as a datasets.Dataset in memory; arguments and errors as of `SampleDataset.to_arrow`."""
    return datasets.Dataset(datasets.table.InMemoryTable(dataset.to_arrow(columns)))


def from_hf_dataset(
    dataset: Any, path: str | os.PathLike[str], *, mode: Literal["create", "append", "overwrite"] = "create"
) -> range:
    """Write the rows of a datasets.Dataset as samples, in their order; return their positions.

    Pictures and sounds stay the bytes that they are, as {"bytes": ..., "path": ...}: see `decode_image`.

    Raises:
        TypeError: It is no datasets.Dataset, but a DatasetDict, for example: name a split.
        SourceError: A column is of a type that samples do not have.
        DatasetExistsError: As `SplitWriter` raises it.
    """
    if not isinstance(dataset, datasets.Dataset):
        raise TypeError(f"from_hf_dataset takes a datasets.Dataset, one split, got {type(dataset).__name__}")
    with SplitWriter(path, mode=mode) as writer:
        for table in dataset.with_format("arrow").iter(batch_size=1000):
            for batch in table.to_batches():
                writer.write_samples(rows_of(batch))
        return writer.commit()
