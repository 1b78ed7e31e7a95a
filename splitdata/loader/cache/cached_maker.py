"""Samples from the cache, or made and put there: in the place of SampleMaker, for a loader that has a cache.

Each sample is kept as soon as it is made, not when its batch is whole.

    Part(epoch, positions, records)
    read     all from the store ── decode ──> samples
    missing  SampleMaker, one by one, with the randomness of the generation's first epoch ── encode ──> store
             a replacement of a bad record, and what takes no place in the store, is used and not kept
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.errors import FormatError
from splitdata.loader.plan.steps import CacheStats, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.cache.cache_entry import EntryCodec
    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.cache.disk_store import DiskStore
    from splitdata.loader.plan.steps import SkippedRecord
    from splitdata.loader.samples.record_source import RecordFetcher
    from splitdata.loader.samples.sample_maker import SampleMaker

__all__ = ["CachedRecords", "CachedSampleMaker"]


class _Missing:
    """Stands for a sample that is not in the store."""


_MISSING: Final = _Missing()


class CachedSampleMaker:
    """Makes samples, each once in a generation; one for each worker. Not thread-safe.

    Attributes:
        store: Where samples are kept.
        clock: What each stage took since `begin`.
        skipped: Records replaced since `begin`.
    """

    def __init__(
        self, maker: SampleMaker, store: DiskStore, codec: EntryCodec, options: Cache, *, one_by_one: bool
    ) -> None:
        """Take what makes samples, and where they are kept; `one_by_one` reads a record when its turn comes."""
        self._maker = maker
        self.store = store
        self.clock = maker.clock
        self._codec = codec
        self._options = options
        self._one_by_one = one_by_one
        self._num_damaged = 0
        self._num_bytes_kept = 0
        self.begin()

    @property
    def skipped(self) -> list[SkippedRecord]:
        """Records replaced since `begin`."""
        return self._maker.skipped

    def begin(self) -> None:
        """Start to count anew."""
        self._maker.begin()
        self._hits = self._misses = self._bytes_read = 0

    def counts(self) -> CacheStats:
        """Return what was counted since `begin`; of damaged entries and kept bytes those since the last call."""
        store = self.store
        damaged, self._num_damaged = store.num_damaged - self._num_damaged, store.num_damaged
        kept, self._num_bytes_kept = store.num_bytes_kept - self._num_bytes_kept, store.num_bytes_kept
        return CacheStats(self._hits, self._misses, damaged, self._bytes_read, kept, store.problem)

    def make(self, part: Part) -> list[Any]:
        """Return the samples of a part, in its order.

        Raises:
            Exception: What the dataset or the transform raised, with a note that names the record.
            CacheError: A sample cannot be kept; names the part of it.
        """
        self.clock.mark()
        self.store.begin(part.epoch)
        samples = self._read(part.records)
        self.clock.lap("cache")
        missing = [place for place, sample in enumerate(samples) if sample is _MISSING]
        if missing:
            self._make_missing(part, samples, missing)
        return samples

    def commit(self) -> None:
        """Let others see what was made."""
        self.store.commit()

    def close(self) -> None:
        """Commit, and release the store."""
        self.store.close()

    def _read(self, records: NDArray[np.int64]) -> list[Any]:
        samples: list[Any] = []
        for record, data in zip(records.tolist(), self.store.read(records), strict=True):
            sample: Any = _MISSING
            if data is not None:
                try:
                    sample = self._codec.decode(data, record)
                except FormatError:
                    self.store.discard(record)
                else:
                    self._hits += 1
                    self._bytes_read += len(data)
            samples.append(sample)
        return samples

    def _make_missing(self, part: Part, samples: list[Any], missing: list[int]) -> None:
        """Fill in the samples at some places."""
        places = np.array(missing)
        rest = Part(part.epoch, part.positions[places], part.records[places])
        epoch = self._options.first_epoch(part.epoch)
        # A sampler may name a record twice: then the entries of this call are held until its end.
        is_repeating = len(np.unique(rest.records)) < len(missing)
        made: dict[int, bytes] = {}
        clock = self.clock
        fetched = self._maker.fetch(rest, one_by_one=self._one_by_one)
        clock.lap("read")
        for place, position, record, value in zip(
            missing, rest.positions.tolist(), rest.records.tolist(), fetched, strict=True
        ):
            if record in made:
                samples[place] = self._codec.decode(made[record], record)
                self._hits += 1
                clock.lap("cache")
                continue
            self._misses += 1
            samples[place], used = self._maker.make_one(part.epoch, position, record, value, random_epoch=epoch)
            clock.lap("transform")
            if used == record:
                data = self._keep(record, samples[place])
                if is_repeating:
                    made[record] = data
            clock.lap("cache")

    def _keep(self, record: int, sample: Any) -> bytes:
        data = self._codec.encode(record, sample)
        if self.store.problem is None:
            self.store.add(record, data)
        return data


class CachedRecords:
    """The entries that reading ahead asks for, or records of the dataset where entries are missing."""

    def __init__(self, source: RecordFetcher, store: DiskStore) -> None:
        self._source = source
        self._store = store

    def read_ahead(self, records: NDArray[np.int64]) -> None:
        """Ask for what will be read and is not in memory; returns at once."""
        unknown = self._store.unknown(records)
        if len(unknown):
            self._source.read_ahead(unknown)
        if len(unknown) < len(records):
            self._store.read_ahead(records)
