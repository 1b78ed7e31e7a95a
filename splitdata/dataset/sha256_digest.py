"""digest: the SHA-256 digest of all records of a dataset, read from first to last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.dataset.reader import SplitDataLoader

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

__all__ = ["digest"]


def digest(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    generation: int | None = None,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> str:
    """Return the SHA-256 digest of all records, 64 hexadecimal digits.

    Equal for equal records in equal order, however they are stored. Unlike the fingerprint it is
    collision-resistant: nobody can make other records that have it. `SplitDataLoader(path, expect_digest=...)`
    checks it at opening.

    Args:
        path: Of the dataset; of several the digest of all, end to end.
        generation: Which manifest; None is the newest.
        num_workers: Threads, None for as many as there are cores, up to 8.
        progress: Called with records done and in all.

    Raises:
        DatasetNotFoundError, ManifestError, UnsupportedVersionError: As for opening.
        FormatError: If a record is damaged or lost.
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(f"num_workers must be 1 or more, got {num_workers}")
    with SplitDataLoader(path, generation=generation) as loader:
        return loader.digest(num_workers=num_workers, progress=progress)
