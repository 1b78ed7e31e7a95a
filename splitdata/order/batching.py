"""How the samples of a window are cut into batches of like length: by a budget, or by buckets.

    samples of a window ──> sorted by length, or by bucket
                            cut where a batch is full        TokenBudget: count * longest, or the sum, within a budget
                                                             Buckets: batch_size samples of one bucket

packs.py cuts them into packs; windowed_batches.py finds the batches of an epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batching", "Buckets", "Cut", "Length", "TokenBudget", "check_longest"]

Length: TypeAlias = "str | Sequence[int] | NDArray[np.integer] | Callable[..., int] | None"


class Cut(NamedTuple):
    """One batch.

    Attributes:
        positions: Of its samples, int64[n].
        lengths: Of its samples, int64[n].
        span: Where samples are split: how many elements of the first one earlier batches have, and how many elements
            of all of them, laid end to end, this one has. None: all samples are whole.
    """

    positions: NDArray[np.int64]
    lengths: NDArray[np.int64]
    span: tuple[int, int] | None = None

    @property
    def num_elements(self) -> int:
        """Elements of the batch, without padding."""
        return int(self.lengths.sum()) if self.span is None else self.span[1]


@dataclass(frozen=True, kw_only=True)
class Batching(ABC):
    """What batches by length have in common.

    Attributes:
        window: Samples among which those of like length are looked for: more means less padding and less mixing.
        length: Of each record: None for its bytes as the index says them; the name of a field of samples, which is a
            number, or whose first axis or text is measured; one number for each record of the dataset; or a function
            of a record, which is called for each of them once, when the loader is first used.
    """

    window: int = 8192
    length: Length = None

    def __post_init__(self) -> None:
        """Check the window."""
        object.__setattr__(self, "window", checked_count("window", self.window, 1))

    @abstractmethod
    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Sort the samples of a window, and cut them: return their order, and where each batch ends in it.

        Raises:
            ValueError: If a sample fits into no batch.
        """

    @property
    def grain(self) -> int:
        """What `cut` counts in: batches are not divided inside of so many, where that can be avoided."""
        return 1

    def divide(self, positions: NDArray[np.int64], lengths: NDArray[np.int64], ends: list[int]) -> list[Cut]:
        """Return the batches of samples in the order of `cut`, that end where it says."""
        return list(map(Cut, np.split(positions, ends[:-1]), np.split(lengths, ends[:-1])))

    @abstractmethod
    def room(self, cut: Cut) -> int:
        """Return how many elements a batch takes with its padding, in the unit of the lengths."""

    @abstractmethod
    def name(self) -> str:
        """Return text that names all but the lengths, for a state."""


@dataclass(frozen=True, kw_only=True)
class Buckets(Batching):
    """Batches of `batch_size` samples of one bucket of lengths; in each window a bucket's last batch may be smaller.

    Attributes:
        boundaries: Ascending; a sample longer than one, and not longer than the next, is in the bucket between.
    """

    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the boundaries.

        Raises:
            TypeError, ValueError: If they are invalid.
        """
        super().__post_init__()
        boundaries = tuple(checked_count("a boundary of buckets", one, 0) for one in self.boundaries)
        if not boundaries or list(boundaries) != sorted(set(boundaries)):
            raise ValueError(f"boundaries must be one number or more, ascending, got {self.boundaries}")
        object.__setattr__(self, "boundaries", boundaries)

    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Sort by bucket, and cut each bucket every `batch_size` samples."""
        buckets = np.searchsorted(self.boundaries, lengths, "left")
        order = np.argsort(buckets, kind="stable")
        ends: list[int] = []
        begin = 0
        for count in np.bincount(buckets).tolist():
            ends += [*range(begin + batch_size, begin + count, batch_size), begin + count] if count else []
            begin += count
        return order, ends

    def room(self, cut: Cut) -> int:
        """Return what samples take that are padded to the longest of them."""
        return len(cut.lengths) * int(cut.lengths.max(initial=0))

    def name(self) -> str:
        """Return text that names all but the lengths."""
        return f"buckets of {list(self.boundaries)} in windows of {self.window}"


@dataclass(frozen=True, kw_only=True)
class TokenBudget(Batching):
    """Batches of as many samples as fit a budget; `batch_size`, where it is not 1, is the most of them.

    Attributes:
        max_tokens: The budget of each rank's batch, in the unit of the lengths.
        cost: "padded": samples times the longest of them. "sum": the lengths together.
    """

    max_tokens: int
    cost: Literal["padded", "sum"] = "padded"

    def __post_init__(self) -> None:
        """Check the budget.

        Raises:
            TypeError, ValueError: If it is invalid.
        """
        super().__post_init__()
        object.__setattr__(self, "max_tokens", checked_count("max_tokens", self.max_tokens, 1))
        if self.cost not in ("padded", "sum"):
            raise ValueError(f'cost must be "padded" or "sum", got {self.cost!r}')

    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Sort by length, and fill batches from the shortest on."""
        check_longest(lengths, self.max_tokens, "max_tokens")
        order = np.argsort(lengths, kind="stable")
        ascending = lengths[order]
        sums = np.concatenate([[0], np.cumsum(ascending)])
        most = len(lengths) if batch_size == 1 else batch_size
        ends: list[int] = []
        begin = 0
        while begin < len(ascending):
            stop = min(len(ascending), begin + most)
            if self.cost == "sum":
                end = int(np.searchsorted(sums, sums[begin] + self.max_tokens, "right")) - 1
            else:
                end = self._last_padded(ascending, begin, stop)
            ends.append(begin := max(begin + 1, min(end, stop)))
        return order, ends

    def _last_padded(self, ascending: NDArray[np.int64], begin: int, stop: int) -> int:
        """Return the largest end so that (end - begin) * ascending[end - 1] is within the budget; both factors grow."""
        low, high = begin + 1, stop
        while low < high:
            middle = (low + high + 1) // 2
            if (middle - begin) * int(ascending[middle - 1]) <= self.max_tokens:
                low = middle
            else:
                high = middle - 1
        return low

    def room(self, cut: Cut) -> int:
        """Return what samples take that are padded to the longest of them; of their sum the whole budget."""
        return self.max_tokens if self.cost == "sum" else len(cut.lengths) * int(cut.lengths.max(initial=0))

    def name(self) -> str:
        """Return text that names all but the lengths."""
        return f"{self.max_tokens} tokens, {self.cost}, in windows of {self.window}"


def check_longest(lengths: NDArray[np.int64], most: int, name: str) -> None:
    """Refuse samples that fit into no batch.

    Raises:
        ValueError: Saying how many there are.
    """
    if (longest := int(lengths.max(initial=0))) > most:
        raise ValueError(
            f"{int(np.count_nonzero(lengths > most))} samples of a window of {len(lengths)} are longer than {name}, "
            f"{most}; the longest has {longest}: raise it, or leave them out by a subset"
        )
