"""Cache: what a person chooses about keeping transformed samples, and which epochs share them.

Only the transform's randomness is shared: each epoch has an order of its own.

    refresh_every=5     epochs 0..4 share a generation, whose samples have the randomness of epoch 0,
                        epochs 5..9 the next, with that of epoch 5
    None                all epochs share the one of epoch 0
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from splitdata._local_path import local_path
from splitdata.samples.decode import SampleDecoder

__all__ = ["Cache"]

_MAX_VERSION: Final = 1000


@dataclass(frozen=True)
class Cache:
    """Transformed samples are kept, and read again in later epochs instead of being computed.

        DistributedLoader(..., cache=Cache("/scratch/cache", refresh_every=5, version="crop-224"))

    What is there is read, what is not is computed and kept, so that the first epoch fills the cache. One folder
    may serve all workers and ranks of a machine, and several runs, also at the same time, all of one user: it is made
    with mode 700, and one that other users could have written to is refused with CacheError. The order of an epoch
    is that without a cache. Samples must fit `encode_sample`; they come back equal, arrays writable.

    Samples are kept by the dataset's fingerprint, the transform with its arguments and all code of yours that it
    reaches (or the `version` that is given in its place), the loader's seed and the epoch that they are of: with
    another of these, what is there is discarded.

    Args:
        path: A folder of the cache's own, best on a local disk, or in a file system of memory; made if there is
            none, absolute from here on.
        refresh_every: Epochs that share the same samples. None, or infinity: all.
        version: Names what the transform does: its code is not looked at then. Needed where the dataset has no
            `fingerprint`, or the transform holds what does not tell what it does, as an open file.
        max_bytes: Of the folder. None: all but a hundredth of the disk.
        compression: "zstd" compresses each sample where that makes it smaller.
        types: Namedtuples and dataclasses that samples have in them, to come back as such.

    Raises:
        TypeError, ValueError: A field of a wrong type, out of range, or a path that cannot be a folder's.
    """

    path: str | os.PathLike[str]
    refresh_every: int | float | None = None
    version: str | None = None
    max_bytes: int | None = None
    compression: Literal["zstd"] | None = None
    types: tuple[type, ...] = ()

    def __post_init__(self) -> None:
        if self.compression not in (None, "zstd"):
            raise ValueError(f"compression must be None or 'zstd', got {self.compression!r}")
        # The workers' present folder may be another one.
        object.__setattr__(self, "path", local_path(self.path))
        if isinstance(self.refresh_every, float) and math.isinf(self.refresh_every) and self.refresh_every > 0:
            object.__setattr__(self, "refresh_every", None)
        for name in ("refresh_every", "max_bytes"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
                raise TypeError(f"{name} must be an int or None, got {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        if self.version is not None and not isinstance(self.version, str):
            raise TypeError(f"version must be a str, got {self.version!r}")
        if self.version is not None and not 0 < len(self.version) <= _MAX_VERSION:
            raise ValueError(f"version must have 1 to {_MAX_VERSION} characters, got {len(self.version)}")
        object.__setattr__(self, "types", tuple(self.types))
        # Validates the classes; two of one name are refused.
        SampleDecoder(self.types)

    def first_epoch(self, epoch: int) -> int:
        """Return the first of the epochs that share samples with this one: theirs is its randomness."""
        return epoch - epoch % int(self.refresh_every) if self.refresh_every is not None else 0
