"""filter_records, sample, rebin: another dataset of the records of one: some of them, or stored in another way.

    dataset ──> DatasetSource: all, or those at some positions ──> convert, which commits as it goes ──> dataset

Records that were deleted are left out. Called again after a kill, each goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from splitdata._place import dataset_place, is_url
from splitdata.conversion.convert import convert
from splitdata.conversion.sources.records.dataset_source import DatasetSource, open_dataset
from splitdata.dataset.describe import describe
from splitdata.dataset.reader import SplitDataLoader
from splitdata.order.hash_sample import hash_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.conversion.steps.record_steps import StepFunction
    from splitdata.conversion.watch import ConversionProgress, ConversionReport

__all__ = ["StoredAs", "copied", "filter_records", "live_positions", "rebin", "sample"]


@dataclass(frozen=True, slots=True)
class StoredAs:
    """How the records of a dataset are stored; of one that was written in several ways, how most of it may be.

    Attributes:
        bins, compression, group: As `SplitWriter` takes them.
        level: Of zstd.
    """

    bins: int | None = None
    compression: Literal["zstd"] | None = None
    level: int = 3
    group: int = 1

    @classmethod
    def like(cls, path: str) -> StoredAs:
        """Return how a dataset is stored, but for a dictionary: what commits as it goes trains none."""
        found = describe(path)
        return cls(
            compression="zstd" if found.stored_bytes < found.raw_bytes else None,
            group=max((one.group for one in found.segments), default=1),
        )


def filter_records(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    where: StepFunction | str,
    *,
    workers: int = 1,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ConversionReport:
    """Write the records of a dataset for which a function says yes into a new one, stored as they are.

    It commits as it goes. Interrupted or killed, the same call goes on; finished, it does nothing.

    Args:
        source: The dataset.
        dest: The new dataset.
        where: Function of one record, or "module:function", which imports the module. Gets bytes, of samples what
            they hold.
        workers: Processes that read and ask.
        dry_run: Only report what would be written.
        progress: Called with bytes read and in all.

    Raises:
        DatasetNotFoundError, ManifestError: As for opening.
        DatasetExistsError: If there is another dataset at `dest`, or anything else.
        StateMismatchError: If an earlier call had another function, or `source` has changed since.
        Exception: What the function raises, with a note that names the record.
    """
    path = dataset_place(source, "the dataset")
    stored = StoredAs.like(path)
    return copied(open_dataset(path), dest, stored, where=where, workers=workers, dry_run=dry_run, progress=progress)


def sample(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    count: int,
    *,
    seed: int = 0,
    workers: int = 1,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ConversionReport:
    """Write so many random records of a dataset into a new one, in their order, each once; all if there are no more.

    Each set of records is equally likely. A smaller sample of one seed is part of a larger one. It commits as it goes,
    as `filter_records` does.

    Args:
        source: The dataset.
        dest: The new dataset.
        count: Of records.
        seed: Another seed gives another sample.
        workers: Processes that read.
        dry_run: Only report what would be written.
        progress: Called with bytes read and in all.

    Raises:
        As `filter_records`; ValueError if the count is negative.
    """
    if count < 0:
        raise ValueError(f"a sample has 0 records or more, got {count}")
    path = dataset_place(source, "the dataset")
    chosen = hash_sample(live_positions(path), count, seed)
    return copied(
        open_dataset(path, chosen), dest, StoredAs.like(path), workers=workers, dry_run=dry_run, progress=progress
    )


def rebin(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    bins: int | None = None,
    compression: Literal["zstd", "none"] | None = None,
    compression_level: int = 3,
    group: int | None = None,
    workers: int = 1,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ConversionReport:
    """Write all records of a dataset into a new one that stores them in another way.

    The fingerprint stays the same if no record was deleted: these are left out, so that those behind them move. It
    commits as it goes, as `filter_records` does; so it trains no dictionary, which `convert` does.

    Args:
        source: The dataset.
        dest: The new dataset.
        bins: How many; None for as many as a writer chooses.
        compression: "zstd" or "none"; None for what it is.
        compression_level: Of zstd.
        group: Records that are stored together, 1 for each by itself; None for as it is.
        workers: Processes that read.
        dry_run: Only report what would be written.
        progress: Called with bytes read and in all.

    Raises:
        As `filter_records`; ValueError if an option is invalid.
    """
    path = dataset_place(source, "the dataset")
    like = StoredAs.like(path)
    codec = like.compression if compression is None else "zstd" if compression == "zstd" else None
    stored = StoredAs(
        bins=bins,
        compression=codec,
        level=compression_level,
        group=like.group if group is None else group,
    )
    return copied(open_dataset(path), dest, stored, workers=workers, dry_run=dry_run, progress=progress)


def copied(
    source: DatasetSource,
    dest: str | os.PathLike[str],
    stored: StoredAs,
    *,
    where: StepFunction | str | None = None,
    workers: int = 1,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ConversionReport:
    """Write what a dataset gives as a source into a new one; see `filter_records`."""

    def show(seen: ConversionProgress) -> None:
        if progress is not None:
            progress(min(seen.source_bytes, source.num_bytes), source.num_bytes)

    return convert(
        source,
        dest,
        bins=stored.bins,
        compression=stored.compression,
        compression_level=stored.level,
        group=stored.group,
        where=where,
        workers=workers,
        # In a store it begins anew: there is nothing of it before its one commit.
        resume=not dry_run and not is_url(dataset_place(dest)),
        dry_run=dry_run,
        progress=show,
    )


def live_positions(path: str) -> NDArray[np.int64]:
    """Return the positions of all records of a dataset that were not deleted, int64, ascending."""
    with SplitDataLoader(path) as loader:
        is_live = np.ones(len(loader), np.bool_)
        if loader.num_deleted:
            is_live[loader.deleted] = False
        return np.flatnonzero(is_live)
