"""What every loader offers to the harness: shuffled batches of images, epoch after epoch.

    LoaderPeer.write(folder, records)           files of its own format, where it has one
    LoaderPeer.open(images, options) ──> Feed   made as its users make it, nothing measured yet
    Feed.epoch() ──> batches                    uint8 tensors [64, 224, 224, 3]
    Feed.close()                                ends whatever runs

A process that a loader starts imports its module and this one, so neither imports more than it needs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["IMAGE_BYTES", "IMAGE_SHAPE", "Batch", "Feed", "Group", "Images", "LoaderPeer", "StartMethod", "to_image"]

# A torch.Tensor, in libraries without types.
Batch: TypeAlias = Any
StartMethod = Literal["spawn", "forkserver", "fork"]
Group = Literal["in process", "threads", "processes"]

IMAGE_SHAPE: Final = (224, 224, 3)
IMAGE_BYTES: Final = 150_528


def to_image(record: bytes | memoryview) -> NDArray[np.uint8]:
    """Return a record as an image, without a copy: the transform of all loaders."""
    return np.frombuffer(record, np.uint8).reshape(IMAGE_SHAPE)


@dataclass(frozen=True, slots=True)
class Images:
    """The data, and what is wanted of it.

    Attributes:
        folder: Holds `bare`, the records end to end, and the files of each format under its name.
        num_records: Of the files.
        passes: An epoch takes each record so many times.
        batch_size: Images of a batch.
        num_workers: Threads or processes, for loaders that have some.
        start_method: How processes are started, None for the default of the library.
    """

    folder: Path
    num_records: int
    passes: int
    batch_size: int = 64
    num_workers: int = 2
    start_method: StartMethod | None = None

    @property
    def num_samples(self) -> int:
        """Of an epoch."""
        return self.num_records * self.passes


class Feed(ABC):
    """A loader that was made, and may be iterated again and again."""

    @abstractmethod
    def epoch(self) -> Iterator[Batch]:
        """Begin an epoch; what the user's `iter()` does."""

    @abstractmethod
    def close(self) -> None:
        """End what runs."""


class LoaderPeer(ABC):
    """A way to load batches.

    Attributes:
        name: In tables and on the command line.
        package: What is installed for it; its version is stamped.
        group: "in process", "threads" or "processes": with which of ours it is to be compared.
        reads: Whose files it reads: "bare", "splitdata", or its own.
        note: What a reader of the table must know of its figures.
        start_methods: Of its processes; empty where it starts none, or does not let choose.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    group: ClassVar[Group]
    reads: ClassVar[str] = "bare"
    note: ClassVar[str] = ""
    start_methods: ClassVar[tuple[StartMethod, ...]] = ()

    def write(self, folder: Path, records: list[bytes]) -> None:  # noqa: B027  # most read files that are there
        """Write the files named `reads`, unless others have them."""

    @abstractmethod
    def open(self, images: Images) -> Feed:
        """Make the loader."""
