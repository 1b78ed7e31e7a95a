"""A loader for code that insists on torch's own classes; where a loop takes any iterable, give it the loader itself.

Neither works with torch's workers: the loader has its own.

    as_dataloader(loader)     a DataLoader of one number a batch: the trainers of Hugging Face skip the numbers of
                              steps that are done, and the loader makes none of their batches
    as_iterable(loader)       an IterableDataset of batches, whose state torchdata's StatefulDataLoader keeps

    sampler: 0 1 2 3 4 ...  ──skip_first_batches(3)──>  3 4 ...  ──LoaderSteps──>  loader.skip(3), next(batches)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

if TYPE_CHECKING:
    from splitdata.loader.distributed_loader import DistributedLoader

__all__ = ["LoaderIterable", "LoaderSteps", "StepSampler", "TorchLoader", "as_dataloader", "as_iterable"]


def as_dataloader(loader: DistributedLoader) -> TorchLoader:
    """Return a loader as a DataLoader of torch's, with the same batches, for code that asks for one by its class.

    `accelerate.skip_first_batches`, and so Trainer's `resume_from_checkpoint`, goes on behind steps without making
    their batches. It already is this rank's share: nothing may divide it among ranks once more.
    """
    return TorchLoader(loader)


def as_iterable(loader: DistributedLoader) -> LoaderIterable:
    """Return a loader as an IterableDataset of its batches, for a DataLoader with `batch_size=None`.

    It already is this rank's share: nothing may divide it among ranks once more, as accelerate would.
    """
    return LoaderIterable(loader)


def _refuse_workers(call: str) -> None:
    info = get_worker_info()
    if info is not None:
        raise ValueError(
            f"{call} is in one of {info.num_workers} workers of torch's DataLoader, and each would give all batches: "
            "use num_workers=0 there, and DistributedLoader(num_workers=...) for workers"
        )


class LoaderIterable(IterableDataset[Any]):
    """What `as_iterable` returns: each `iter()` is one of the loader.

    Attributes:
        loader: Whose batches these are.
    """

    def __init__(self, loader: DistributedLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        """Return the batches of this rank in a whole epoch."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator as the loader does.

        Raises:
            ValueError: In a worker of torch's, which would repeat what each other one does.
        """
        _refuse_workers("as_iterable(loader)")
        return iter(self.loader)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the loader go on where a state was taken; errors as of DistributedLoader."""
        self.loader.load_state_dict(state)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin this epoch, or stay in it where a state was loaded."""
        self.loader.set_epoch(epoch)


class StepSampler:
    """Numbers the batches that an `iter()` of the loader gives, from 0 on; each alone, as a batch of numbers."""

    def __init__(self, steps: LoaderSteps) -> None:
        self._steps = steps

    def __len__(self) -> int:
        """Return the batches of this rank in a whole epoch."""
        return len(self._steps.loader)

    def __iter__(self) -> Iterator[list[int]]:
        """Begin what `iter()` of the loader begins."""
        self._steps.begin()
        for step in range(len(self)):
            yield [step]

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin this epoch."""
        self._steps.loader.set_epoch(epoch)


class LoaderSteps(Dataset[Any]):
    """Gives the batches that a StepSampler asks for; those that it leaves out are not made.

    Attributes:
        loader: Whose batches these are.
    """

    def __init__(self, loader: DistributedLoader) -> None:
        self.loader = loader
        self._batches: Iterator[Any] | None = None
        self._next = 0

    def __len__(self) -> int:
        """Return the records of the loader's dataset: trainers tell how many examples they train on."""
        return len(self.loader.dataset)

    def begin(self) -> None:
        """Begin anew: the next number is 0."""
        self._batches = None
        self._next = 0

    def __getitems__(self, steps: Sequence[int]) -> list[Any]:
        """Return one batch. Those before the first that is asked for are left out, none behind it.

        Raises:
            ValueError: In a worker of torch's, or a batch is left out, as by code that divides them among ranks.
            StopIteration: The epoch is over: a loader that was resumed inside of it has fewer than its length.
        """
        _refuse_workers("as_dataloader(loader)")
        (step,) = steps
        if self._batches is None:
            self._batches = self._behind(step)
        elif step != self._next:
            raise ValueError(
                f"batch {step} of as_dataloader(loader) is asked for behind batch {self._next - 1}: something divides "
                "among ranks what is the share of one already; give accelerate's prepare the DistributedLoader"
            )
        self._next = step + 1
        return [next(self._batches)]

    def _behind(self, num_batches: int) -> Iterator[Any]:
        """Begin what `iter()` of the loader begins, behind so many batches of it."""
        batches = iter(self.loader)
        if not num_batches:
            return batches
        if batches.epoch != self.loader.position[0]:
            # The last epoch was broken off, and the loader stands where, until a batch of this one is handed out.
            self.loader.set_epoch(batches.epoch)
        self.loader.skip(num_batches)
        return iter(self.loader)


def _only(batches: list[Any]) -> Any:
    (batch,) = batches
    return batch


class TorchLoader(DataLoader[Any]):
    """What `as_dataloader` returns.

    Attributes:
        loader: Whose batches these are.
    """

    def __init__(self, loader: DistributedLoader) -> None:
        self.loader = loader
        steps = LoaderSteps(loader)
        super().__init__(steps, batch_sampler=StepSampler(steps), collate_fn=_only)

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin this epoch, or stay in it where a state was loaded."""
        self.loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the loader go on where a state was taken; errors as of DistributedLoader."""
        self.loader.load_state_dict(state)
