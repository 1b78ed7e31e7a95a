"""DistributedLoader: in this process, with threads, with processes; every check on, as by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from benchmarks.loaders.base import Batch, Feed, Images, LoaderPeer, to_image
from splitdata import SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SplitdataInProcess", "SplitdataProcesses", "SplitdataThreads"]


class _Feed(Feed):
    def __init__(self, images: Images, num_workers: int, kind: Literal["process", "thread"]) -> None:
        self._loader = DistributedLoader(
            images.folder / "splitdata",
            batch_size=images.batch_size,
            shuffle="global",
            num_workers=num_workers,
            worker_kind=kind,
            start_method=images.start_method,
            transform=to_image,
            as_tensors=True,
            # Several passes are one epoch.
            num_steps=images.num_samples // images.batch_size if images.passes > 1 else None,
        )

    def epoch(self) -> Iterator[Batch]:
        return iter(self._loader)

    def close(self) -> None:
        self._loader.close()


class SplitdataInProcess(LoaderPeer):
    """num_workers=0."""

    name = "splitdata, in process"
    package = ""
    group = "in process"
    reads = "splitdata"
    note = "verifies every record"
    kind: ClassVar[Literal["process", "thread"]] = "process"

    def write(self, folder: Path, records: list[bytes]) -> None:
        # Once for all three.
        if self.group != "in process":
            return
        with SplitWriter(folder / "splitdata", durability="none") as writer:
            writer.write_many(records)

    def open(self, images: Images) -> Feed:
        return _Feed(images, 0 if self.group == "in process" else images.num_workers, self.kind)


class SplitdataThreads(SplitdataInProcess):
    """Two threads."""

    name = "splitdata, 2 threads"
    group = "threads"
    kind = "thread"


class SplitdataProcesses(SplitdataInProcess):
    """Two processes."""

    name = "splitdata, 2 processes"
    group = "processes"
    start_methods = ("spawn", "forkserver", "fork")
