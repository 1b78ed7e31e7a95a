"""split: the records of a dataset in several, for training and validation, say; which goes where never changes.

    record i, or its key ──hash──> [0, 1)    train 0 .. 0.9 | val 0.9 .. 1      order/hash_split.py
    DEST/train  DEST/val     copies, or views: links, with the records of the others deleted

A record that is appended later goes where its hash says, and no other one moves.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash

from splitdata._local_path import local_path
from splitdata._place import dataset_place
from splitdata._shown import shown
from splitdata.conversion.derive import StoredAs, copied, live_positions
from splitdata.conversion.sources.records.dataset_source import open_dataset
from splitdata.dataset.merging.view import write_view
from splitdata.dataset.reader import SplitDataLoader
from splitdata.errors import DatasetExistsError
from splitdata.order.hash_split import HashSplit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SplitPart", "SplitReport", "split"]

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_KEYS_AT_ONCE: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPart:
    """One of the datasets that a split makes.

    Attributes:
        name: Of the part.
        path: Of its dataset.
        num_records: Records that it has.
    """

    name: str
    path: str
    num_records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """The report of `split`.

    Attributes:
        path: The dataset that was split.
        parts: In the order in which they were given.
        num_left_out: Records of no part, as the shares do not add up to 1.
        is_dry_run: Whether nothing was written.
    """

    path: str
    parts: tuple[SplitPart, ...]
    num_left_out: int
    is_dry_run: bool


def split(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    shares: Mapping[str, float],
    *,
    by_key: bool = False,
    views: bool = False,
    seed: int = 0,
    workers: int = 1,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SplitReport:
    """Write each record of a dataset into one of several, `dest`/name, by a hash of its position or of its key.

    A record stays in its part when others are appended, and, by key, wherever it stands: so are two records of one key
    in one part. Shares are met as by drawing. Interrupted or killed, the same call goes on; finished, it does nothing.

    Args:
        source: The dataset.
        dest: A folder, made if it is not there.
        shares: Of each part by its name, above 0, together 1 at most. Parts of the same seed and the same shares in the
            same order have the same records.
        by_key: By the key of each record, which all must have.
        views: Make no copies: a view has links to all files of the dataset, and the records of the other parts are
            deleted in it. Positions are those of the dataset; walks and loaders leave the others out with
            `skip_deleted=True`.
        seed: Another seed divides otherwise.
        workers: Processes that read, for copies.
        dry_run: Only report how many records each part would have.
        progress: Called with bytes done and in all, for each part from the beginning.

    Raises:
        DatasetNotFoundError, ManifestError: As for opening.
        DatasetExistsError: If `dest` is a dataset, or that of a part holds something else.
        StateMismatchError: If an earlier call had other options, or `source` has changed since.
        ValueError: If the shares or names are invalid, or a record has no key.
    """
    path = dataset_place(source, "the dataset")
    folder = local_path(dest, "the folder of the parts")
    splits = _splits(shares, seed)
    live = live_positions(path)
    chosen = _by_key(path, live, splits) if by_key else _by_position(live, splits)
    if any(Path(folder).glob("manifest.*")):
        raise DatasetExistsError(f"{folder} is a dataset; choose a folder for those of the parts", path=folder)
    parts = [
        SplitPart(name=name, path=str(Path(folder, name)), num_records=len(positions))
        for name, positions in chosen.items()
    ]
    if not dry_run:
        for part in parts:
            if views:
                write_view(path, part.path, chosen[part.name], progress=progress)
            else:
                opened = open_dataset(path, chosen[part.name])
                copied(opened, part.path, StoredAs.like(path), workers=workers, progress=progress)
    num_taken = sum(part.num_records for part in parts)
    return SplitReport(path=path, parts=tuple(parts), num_left_out=len(live) - num_taken, is_dry_run=dry_run)


def _splits(shares: Mapping[str, float], seed: int) -> dict[str, HashSplit]:
    """Return the range of each part, one behind the other."""
    for name, share in shares.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{shown(name)} cannot be the name of a part: letters, digits, _, - and . are allowed")
        if not 0 < share <= 1:
            raise ValueError(f"the share of {name} must be above 0, and 1 at most, got {share}")
    if not shares:
        raise ValueError("give at least one part, with its share")
    ends = [0.0, *accumulate(shares.values())]
    if ends[-1] > 1 and not math.isclose(ends[-1], 1):
        raise ValueError(f"the shares add up to {ends[-1]:.6g}, which is more than 1")
    # Sums of decimal fractions are a little off.
    if math.isclose(ends[-1], 1):
        ends[-1] = 1.0
    return {name: HashSplit(start, stop, seed) for name, (start, stop) in zip(shares, pairwise(ends), strict=True)}


def _by_position(live: NDArray[np.int64], splits: dict[str, HashSplit]) -> dict[str, NDArray[np.int64]]:
    count = int(live[-1]) + 1 if len(live) else 0
    return {name: np.intersect1d(one.records(count), live, assume_unique=True) for name, one in splits.items()}


def _by_key(path: str, live: NDArray[np.int64], splits: dict[str, HashSplit]) -> dict[str, NDArray[np.int64]]:
    hashes = np.empty(len(live), np.uint64)
    with SplitDataLoader(path) as loader:
        for start in range(0, len(live), _KEYS_AT_ONCE):
            positions = live[start : start + _KEYS_AT_ONCE]
            for place, key in enumerate(loader.keys_of(positions), start):
                if key is None:
                    raise ValueError(f"record {live[place]} of {path} has no key, by which it would be split")
                hashes[place] = xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"))
    return {name: live[one.takes(hashes)] for name, one in splits.items()}
