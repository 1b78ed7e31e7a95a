"""write_split_data: writes an iterable of records as a dataset, in one call.

For records that Python already holds or yields; SplitWriter is for all that needs more than one commit.

    records r0 r1 r2 ... ──round robin──> bins 0 1 2 ... splits-1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from splitdata.dataset.writer import SplitWriter
from splitdata.format.compression import DEFAULT_LEVEL

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from splitdata._types import BytesLike, ReadableFile

__all__ = ["write_split_data"]


def write_split_data(
    target_dir: str | os.PathLike[str],
    input_sequence: Iterable[BytesLike | ReadableFile],
    splits: int = 256,
    shuffle: bool = False,
    start_clean: bool = False,
    *,
    mode: Literal["create", "append", "overwrite"] | None = None,
    compression: Literal["zstd"] | None = None,
    compression_level: int = DEFAULT_LEVEL,
    durability: Literal["commit", "none"] = "commit",
    metadata: dict[str, Any] | None = None,
    reproducible: bool | str = False,
) -> range:
    """Write all records of an iterable, record k into bin ``k % splits``; returns their positions.

    Args:
        target_dir: The dataset; made where it does not exist.
        input_sequence: The records.
        splits: Number of bins.
        shuffle: Accepted for old callers. It used to permute the names of the bins, which changes
            nothing that can be read; to shuffle, read with ``iterate_binwise(shuffle=True)``.
        start_clean: Replace the dataset that is there, once the new one is whole: mode="overwrite" in fewer words.
        mode: As `SplitWriter` takes it. None is "create": a second start of the same script is refused, and never
            doubles the data.
        compression: As `SplitWriter` takes it, and so are the following.
        compression_level: Of zstd.
        durability: Whether to wait for the medium.
        metadata: Stored with the dataset.
        reproducible: Derive ids instead of drawing them.

    Raises:
        DatasetExistsError: If the directory holds a dataset that the mode does not add to or replace, or
            anything that is not splitdata's; it is not touched.
        ValueError: If start_clean and mode contradict each other.

    All or nothing: if the iterable raises, none of its records are added.
    """
    del shuffle
    if start_clean and mode not in (None, "overwrite"):
        raise ValueError(
            f"start_clean=True replaces the dataset, which is mode='overwrite', not {mode!r}; give one of both"
        )
    with SplitWriter(
        target_dir,
        bins=splits,
        mode="overwrite" if start_clean else mode or "create",
        compression=compression,
        compression_level=compression_level,
        durability=durability,
        metadata=metadata,
        reproducible=reproducible,
    ) as writer:
        writer.write_many(input_sequence)
        return writer.commit()
