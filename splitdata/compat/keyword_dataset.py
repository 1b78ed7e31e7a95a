"""A dataset as the older loaders take it: a class, and the keyword arguments to make one with.

Workers get the class and the arguments, never the dataset.

    KeywordDataset(Photos, {"folder": "data"})      pickles as class and arguments
        here          made once, when it is first needed; the user's global random state stays
        in a worker   made once, and asked for the samples of a batch together: then the global generators
                      are set once a batch and not for each sample, of which a small one is read in less time
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from splitdata.loader.samples.error_notes import add_note
from splitdata.loader.samples.global_random import GlobalRandom
from splitdata.loader.samples.record_source import SourceFacts
from splitdata.process.identity.code_identity import code_identity

__all__ = ["KeywordDataset"]


class KeywordDataset:
    """Makes a dataset when it is called, in each process once: a factory for DistributedLoader.

    Raises:
        TypeError: The class cannot be called, or the arguments are no dict with names as keys.
    """

    def __init__(
        self,
        dataset_class: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        argument: str,
        reads_together: bool = True,
    ) -> None:
        """Note what to make; nothing is made yet.

        Args:
            dataset_class: The class, or a function that returns a dataset.
            arguments: For it.
            argument: How messages call the arguments.
            reads_together: What a sample draws may depend on its batch. Not where samples are kept and used again.
        """
        if not callable(dataset_class):
            raise TypeError(
                f"dataset_class must be a class or a function, not an object of {type(dataset_class).__name__}: give "
                f"what makes the dataset, and its arguments as {argument}"
            )
        # What callers without a type checker may pass.
        given: object = arguments
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise TypeError(f"{argument} must be a dict of keyword arguments for dataset_class, got {given!r:.200}")
        self._class = dataset_class
        self._arguments = dict(arguments)
        self._reads_together = reads_together
        self._made: Any = None
        # How messages and states call the dataset.
        self.__qualname__ = getattr(dataset_class, "__qualname__", type(dataset_class).__qualname__)

    def __call__(self) -> Any:
        """Return what a loader reads in this process."""
        dataset = self.dataset
        # What is no dataset is refused by the loader, under its own name.
        is_plain = all(hasattr(type(dataset), name) for name in ("__len__", "__getitem__"))
        if not is_plain or not self._reads_together or hasattr(dataset, "__getitems__"):
            return dataset
        return _TogetherDataset(dataset)

    @property
    def dataset(self) -> Any:
        """The dataset of this process."""
        if self._made is None:
            with GlobalRandom(0, puts_back=True).borrowed():
                self._made = self._class(**self._arguments)
        return self._made

    def __len__(self) -> int:
        """Return its length.

        Raises:
            TypeError: It has none, or no samples by number.
        """
        return SourceFacts(self.dataset).num_records

    def identity(self) -> str:
        """Return text that is another one for another class, other code of it or other arguments.

        Raises:
            TypeError: Part of them does not tell what it does, as an open file; names it.
        """
        return code_identity(functools.partial(self._class, **self._arguments), name="dataset_class")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_made": None}


class _TogetherDataset:
    """A dataset without `__getitems__`, with it."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return self._dataset[index]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        dataset, samples = self._dataset, []
        try:
            for index in indices:
                samples.append(dataset[index])  # noqa: PERF401  # what is there tells which one failed
        except Exception as error:
            add_note(error, f"raised by sample {indices[len(samples)]} of {type(dataset).__qualname__}")
            raise
        return samples
