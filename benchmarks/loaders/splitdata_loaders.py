"""DistributedLoader: in this process, with threads, with processes; every check on, as by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from benchmarks.loaders.base import Batch, Feed, Group, Images, LoaderPeer, to_image
from splitdata import DistributedLoader, OrderOptions, RecordOptions, SplitWriter, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "SplitdataInProcess",
    "SplitdataProcesses",
    "SplitdataThreads",
    "SplitdataViewsInProcess",
    "SplitdataViewsProcesses",
    "SplitdataViewsThreads",
]


class _Feed(Feed):
    def __init__(self, images: Images, group: Group, *, as_views: bool) -> None:
        self._loader = DistributedLoader(
            images.folder / "splitdata",
            batch_size=images.batch_size,
            shuffle="global",
            num_workers=0 if group == "in process" else images.num_workers,
            workers=WorkerOptions(
                kind="thread" if group == "threads" else "process",
                # A fork server is torch's alone.
                start_method=None if images.start_method == "forkserver" else images.start_method,
            ),
            transform=to_image,
            records=RecordOptions(as_views=as_views),
            as_tensors=True,
            # Several passes are one epoch.
            order=OrderOptions(num_steps=images.num_samples // images.batch_size if images.passes > 1 else None),
        )

    def epoch(self) -> Iterator[Batch]:
        return iter(self._loader)

    def close(self) -> None:
        self._loader.close()


class SplitdataInProcess(LoaderPeer):
    """num_workers=0."""

    name = "splitdata, in process"
    package = ""
    group: ClassVar[Group] = "in process"
    reads = "splitdata"
    note = "verifies every record; the transform gets bytes"
    as_views: ClassVar[bool] = False

    def write(self, folder: Path, records: list[bytes]) -> None:
        path = folder / "splitdata"
        # Once for all of them.
        if not path.exists():
            with SplitWriter(path, durability="none") as writer:
                writer.write_many(records)

    def open(self, images: Images) -> Feed:
        return _Feed(images, self.group, as_views=self.as_views)


class SplitdataThreads(SplitdataInProcess):
    """Two threads."""

    name = "splitdata, 2 threads"
    group = "threads"


class SplitdataProcesses(SplitdataInProcess):
    """Two processes."""

    name = "splitdata, 2 processes"
    group = "processes"
    start_methods = ("spawn", "fork")


class SplitdataViewsInProcess(SplitdataInProcess):
    """num_workers=0, and the transform gets views of the map."""

    name = "splitdata as_views, in process"
    note = "verifies every record; as_views=True: the transform gets memoryviews"
    as_views = True


class SplitdataViewsThreads(SplitdataViewsInProcess):
    """Two threads."""

    name = "splitdata as_views, 2 threads"
    group = "threads"


class SplitdataViewsProcesses(SplitdataViewsInProcess):
    """Two processes."""

    name = "splitdata as_views, 2 processes"
    group = "processes"
    start_methods = ("spawn", "fork")
