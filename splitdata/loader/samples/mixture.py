"""Mixture: several datasets as one, each with its share of the samples.

To a loader it is a dataset, whose records are those of all sources end to end, and whose order has the shares.

    Mixture({"web": ("data/web", 0.7), "code": (code, 0.2), "math": ("data/math", 0.1)})
      record number    0 ... |web| - 1 | |web| ... |         number -> source, number in it -> its dataset
      order            shares, schedule, lengths ──> splitdata/order/mixture_order.py
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash

from splitdata._shown import shown
from splitdata.loader.samples.record_source import DatasetLike, RecordFetcher
from splitdata.order.blend import Blend, Stage, shares_of
from splitdata.order.counts import checked_count
from splitdata.order.mixture_order import MixedSource, Mixing, Until, epoch_length
from splitdata.order.positions import are_several, checked_position, checked_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Mixture"]

Weights: TypeAlias = Mapping[str, float]


class Mixture:
    """Mixes datasets in exact shares; give it to a DistributedLoader in the place of a dataset.

        mixture = Mixture({"web": ("data/web", 0.7), "code": ("data/code", 0.3)})
        loader = DistributedLoader(mixture, batch_size=64, shuffle="global", order=OrderOptions(num_steps=1000))

    At every position of the stream each source has been used as often as its share says, less than two samples apart.
    Each is read in an order of its own, of the kind that the loader's `shuffle` names, and when it ends from its
    beginning in another one. Resuming, ranks, batches, workers and caches are as with any dataset.

    It reads as one dataset does: `mixture[i]`, `len(mixture)`; records are numbered end to end, in the order of the
    sources. Opens each source once; safe to share between threads if they are; pickles as what it was made from.

    Attributes:
        names: Of the sources.
        fetchers: Of their records, in the same order.
    """

    def __init__(
        self,
        sources: Mapping[str, tuple[DatasetLike, float]],
        *,
        schedule: Sequence[tuple[int, Weights]] = (),
        until: Until = "first",
        period: int | None = None,
        with_source: bool = False,
    ) -> None:
        """Open the sources.

        Args:
            sources: Name -> dataset, as DistributedLoader takes it, and its weight: 0 or more. Integers are shares of a
                period; others are rounded to shares of the smallest period that has them exactly, or of 65,536.
            schedule: Further weights, each with the position from which on they hold, counted in samples of all ranks
                since the beginning of training. Names that are left out have 0. What lies ahead of a state may be
                changed when it is loaded; what lies behind it must be as it was.
            until: Where an epoch ends: with the sample before the first that repeats ("first"), when each source was
                used once ("last"), or after so many samples. The next epoch goes on behind it. With `num_steps` of
                OrderOptions epochs are as long as that says.
            period: Sum of the shares. With the samples of a step on all ranks, each step has exact counts.
            with_source: Give (record, number of its source) in place of the record.

        Raises:
            TypeError, ValueError: If an argument is invalid: no source, a positive weight that would get no sample in a
                period, a source without records that has a weight.
        """
        given: object = sources
        if not isinstance(given, Mapping) or not all(map(_is_source, given.items())):
            raise TypeError(f'sources are {{"name": (dataset, weight), ...}}, got {shown(sources)}')
        self.names = tuple(sources)
        self._with_source = with_source
        self.fetchers = [RecordFetcher(dataset) for dataset, _ in sources.values()]
        facts = [fetcher.facts() for fetcher in self.fetchers]
        self._fingerprints = [one.fingerprint for one in facts]
        self._num_records = [one.num_records for one in facts]
        self._stops = np.cumsum(self._num_records, dtype=np.int64)
        first = {name: weight for name, (_, weight) in sources.items()}
        self._blend = Blend([self._stage(0, first, period), *(self._stage(*stage, period) for stage in schedule)])
        self.epoch_length = epoch_length(self._blend, self._num_records, until)

    def _stage(self, start: int, weights: Weights, period: int | None) -> Stage:
        start = checked_count("the start of a stage", start, 0)
        unknown = set(weights) - set(self.names)
        if unknown:
            raise ValueError(f"the stage at {start} names {shown(min(unknown))}, the sources are {shown(self.names)}")
        stage = Stage(start, shares_of([weights.get(name, 0) for name in self.names], period))
        for name, share, count in zip(self.names, stage.shares, self._num_records, strict=True):
            if share and not count:
                raise ValueError(f"source {shown(name)} has no records, and a weight of {weights[name]!r}")
        return stage

    # -- as a dataset ------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self._stops[-1])

    def __getitem__(self, index: Any) -> Any:
        """Return one record; for a slice, integers or a mask a list of records, in the order asked."""
        if are_several(index):
            return self.__getitems__(index)
        return self.__getitems__([checked_position(index, len(self))])[0]

    def __getitems__(self, indexes: Sequence[int] | NDArray[np.int64] | slice) -> list[Any]:
        """Return these records, in this order; those of each source are one call of it.

        Raises:
            IndexError: There is no such record.
            Exception: What a source raises.
        """
        numbers, sources, places = self._places(indexes)
        found: list[Any] = [None] * len(numbers)
        for source in np.unique(sources).tolist():
            here = np.flatnonzero(sources == source)
            records = self.fetchers[source].fetch(places[here])
            for place, record in zip(here.tolist(), records, strict=True):
                found[place] = (record, source) if self._with_source else record
        return found

    def key(self, index: int) -> str | None:
        """Return the key of a record, None for none."""
        _, sources, places = self._places([index])
        fetcher: RecordFetcher = self.fetchers[sources[0]]
        return fetcher.key_of(int(places[0]))

    def read_ahead(self, indexes: NDArray[np.int64]) -> None:
        """Ask the sources to bring records into memory."""
        _, sources, places = self._places(indexes)
        for source in np.unique(sources).tolist():
            self.fetchers[source].read_ahead(places[sources == source])

    def _places(self, indexes: Any) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.int64]]:
        """Return numbers that are not negative, the source of each, and its number in that."""
        numbers = checked_positions(indexes, len(self), name="records of the mixture")
        sources = np.searchsorted(self._stops, numbers, "right")
        return numbers, sources, numbers - (self._stops - self._num_records)[sources]

    def records_beside(self, index: int) -> range:
        """Return the numbers of all records of the source that a record is of."""
        source = int(np.searchsorted(self._stops, index, "right"))
        stop = int(self._stops[source])
        return range(stop - self._num_records[source], stop)

    @property
    def fingerprint(self) -> str:
        """Text that names what all sources hold."""
        parts = zip(self.names, self._fingerprints, self._num_records, strict=True)
        text = "\x00".join(itertools.chain.from_iterable((name, mark, str(count)) for name, mark, count in parts))
        return f"mixture {xxhash.xxh3_64_hexdigest(f'{text} {self._with_source}'.encode())}"

    # -- as a loader asks --------------------------------------------------------------------

    @property
    def given(self) -> list[Any]:
        """The datasets as they were given."""
        return [fetcher.given for fetcher in self.fetchers]

    def mixing(self, *, by_bins: bool) -> Mixing:
        """Return what decides the order.

        Raises:
            ValueError: A source has no bins, and they are asked for.
        """
        bins = [fetcher.bins() if by_bins else None for fetcher in self.fetchers]
        sources = map(MixedSource, self.names, self._num_records, bins)
        return Mixing(self._blend, tuple(sources), self.epoch_length)

    def past(self, position: int) -> dict[str, Any]:
        """Return what the samples before a position of the stream depend on: JSON, sources and a digest of the stages.

        Two mixtures with the same past have the same samples before the position; what follows may differ.
        """
        stages = self._blend.before(position)
        used = [any(stage.shares[source] for stage in stages) for source in range(len(self.names))]
        last = max(np.flatnonzero(used).tolist(), default=-1) + 1
        sources = {
            name: [self._fingerprints[number], self._num_records[number]]
            for number, name in enumerate(self.names[:last])
            if used[number]
        }
        shares = [[stage.start, *stage.shares[:last]] for stage in stages]
        # Records are numbered through: sources that came in between would move them.
        text = repr((shares, self._num_records[:last]))
        return {"sources": sources, "stages": xxhash.xxh3_64_hexdigest(text.encode())}

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples of training each source has."""
        counts = self._blend.counts(checked_count("num_samples", num_samples, 0)).tolist()
        return dict(zip(self.names, counts, strict=True))

    @property
    def shares(self) -> tuple[tuple[int, ...], ...]:
        """The integer shares of the sources in each stage."""
        return tuple(stage.shares for stage in self._blend.stages)

    def first_repeat(self, name: str) -> int | None:
        """Return the position in the stream of the first sample that a source gives again, None where there is none."""
        source = self.names.index(name)
        end = self._blend.position_of(source, self._num_records[source] + 1)
        return None if end is None else end - 1

    def passes(self, num_samples: int) -> dict[str, float]:
        """Return how often each source was read in that time: 1.5 is once, and half of it again."""
        counts = self.counts(num_samples)
        return {name: counts[name] / max(1, count) for name, count in zip(self.names, self._num_records, strict=True)}


def _is_source(item: tuple[object, object]) -> bool:
    name, source = item
    return isinstance(name, str) and isinstance(source, tuple) and len(source) == 2
