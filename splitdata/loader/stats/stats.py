"""LoaderStats, as a user gets it: the numbers, what they mean, and how they look."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from splitdata.loader.stats.figures import LoaderFigures
from splitdata.loader.stats.stats_text import html_of, text_of
from splitdata.loader.stats.verdict import verdict_of

__all__ = ["LoaderStats"]


@dataclass(frozen=True, slots=True)
class LoaderStats(LoaderFigures):
    """The figures of a loader, since its start or in one epoch. Times are in seconds, sizes in bytes.

    Counted is what was handed to the training loop; workers are ahead of that. Time passes only while an iterator
    of the loader is in use, not between epochs.
    """

    @property
    def verdict(self) -> str:
        """One sentence or two: whether training is held back, by what, what would help, and by how much."""
        return verdict_of(self)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as a dict of JSON values, rates and verdict included."""
        derived = (
            "batches_per_second",
            "samples_per_second",
            "bytes_per_second",
            "waiting_share",
            "fill_ratio",
            "verdict",
        )
        tuples = {
            "workers": [worker._asdict() for worker in self.workers],
            "cache": None if self.cache is None else self.cache._asdict(),
        }
        return dataclasses.asdict(self) | tuples | {name: getattr(self, name) for name in derived}

    def __str__(self) -> str:
        """The verdict, then a table."""
        return text_of(self)

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        return html_of(self)
