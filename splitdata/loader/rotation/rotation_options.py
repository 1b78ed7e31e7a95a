"""Rotation: the options for using each sample several times."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from splitdata._local_path import local_path
from splitdata.order.counts import checked_count

__all__ = ["Medium", "Rotation"]

Medium: TypeAlias = Literal["memory", "disk"]


@dataclass(frozen=True)
class Rotation:
    """Makes each sample once and uses it several times, soon after: for transforms that training waits for.

    An epoch becomes `times` as long. In each of the order's lanes samples are made in groups of `size`; the uses
    of a group are mixed with each other and follow each other, so that the next group can be made meanwhile. A
    rank holds at most two groups of each lane that it reads (a batch that needs more than two at once gets
    them): `2 * size * lanes / world_size` samples of the size that the transform returns, in the loader's process.

    Attributes:
        times: How often each sample is used in an epoch.
        size: Samples of a group, at most. The more, the further the uses of a sample lie apart.
        medium: Where samples are kept. On disk it is a file that has no name, so it goes with the process however
            that ends. What does not fit there is kept in memory, with a warning.
        path: Folder for the file, made if there is none; absolute from here on. None: the system's folder for
            temporary files.

    Raises:
        TypeError, ValueError: An attribute of a wrong kind or out of range, or `path` without medium="disk".
    """

    times: int = 3
    size: int = 10_000
    medium: Medium = "memory"
    path: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        # Ints of numpy become plain ones: both go into states, which are JSON.
        object.__setattr__(self, "times", checked_count("times", self.times, 1))
        object.__setattr__(self, "size", checked_count("size", self.size, 1))
        if self.medium not in get_args(Medium):
            raise ValueError(f"medium must be 'memory' or 'disk', got {self.medium!r}")
        if self.path is not None:
            if self.medium != "disk":
                raise ValueError(f"path={self.path!r} needs medium='disk': in memory there are no files")
            object.__setattr__(self, "path", local_path(self.path))
