"""A loader as the source of a pipeline of torchdata.nodes.

The nodes behind it keep its state with what they keep of their own.

    LoaderNode(loader) ──batches──> Mapper, Prefetcher, ... ──> torchdata.nodes.Loader
                                    the state of the pipeline holds the loader's, at any batch
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torchdata.nodes import BaseNode

if TYPE_CHECKING:
    from splitdata.loader.distributed_loader import DistributedLoader

__all__ = ["LoaderNode"]


class LoaderNode(BaseNode[Any]):
    """Yields the batches of one epoch after the other.

    Its state is that of the loader: small, the same on every rank, exact at another world size. A node behind it that
    works ahead, as Prefetcher does, keeps the states of the batches that it has not handed out.

    Attributes:
        loader: Whose batches these are.
    """

    def __init__(self, loader: DistributedLoader) -> None:
        super().__init__()
        self.loader = loader
        self._batches: Iterator[Any] = iter(())

    def reset(self, initial_state: dict[str, Any] | None = None) -> None:
        """Begin the next epoch, or go on where a state was taken."""
        super().reset(initial_state)
        if initial_state is not None:
            self.loader.load_state_dict(initial_state)
        self._batches = iter(self.loader)

    def next(self) -> Any:
        """Return the next batch of the epoch."""
        return next(self._batches)

    def get_state(self) -> dict[str, Any]:
        """Return where the loader stands."""
        return self.loader.state_dict()
