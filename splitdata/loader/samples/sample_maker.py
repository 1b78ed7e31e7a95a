"""Makes samples from record numbers: fetches records, transforms them, and replaces those that fail if asked to.

A replacement is computed from numbers alone, so that it is the same whichever worker meets the bad record.

    Part(epoch, positions, records)
       fetch   all at once ──────── failed? with on_error="skip": one by one
       transform each, with its own generator, and the global ones set for it
          failed?  "raise": the error, with a note that names the record
                   "skip":  another record takes this place, computed from (seed, epoch, position, attempt);
                            nothing else shifts
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np

from splitdata._shown import shown
from splitdata.errors import TooManySkippedError
from splitdata.loader.plan.steps import Part, SkippedRecord
from splitdata.loader.samples.draws import may_draw, transform_may_draw
from splitdata.loader.samples.error_notes import add_note
from splitdata.loader.samples.global_random import GlobalRandom
from splitdata.loader.samples.mixture import Mixture
from splitdata.loader.samples.sample_rng import sample_generator, wants_generator
from splitdata.loader.stats.stage_clock import StageClock
from splitdata.order.permutation import derive_key

if TYPE_CHECKING:
    from splitdata.loader.plan.selection import Selection
    from splitdata.loader.samples.record_source import RecordFetcher

__all__ = ["ErrorPolicy", "SampleMaker", "Transform"]

Transform: TypeAlias = Callable[..., Any]
ErrorPolicy = Literal["raise", "skip"]

# So many bad records in a row are not an accident.
_MAX_ATTEMPTS: Final = 100

# What the global generators are set for; rng has a purpose of its own, so that its draws are its own.
_READING: Final = "global generators, reading"
_TRANSFORM: Final = "global generators, transform"


class SampleMaker:
    """Makes samples; one for each worker. Not thread-safe.

    Attributes:
        clock: What each stage took since `begin`.
        skipped: Records replaced since `begin`.
    """

    def __init__(
        self,
        source: RecordFetcher,
        transform: Transform | None,
        *,
        seed: int,
        on_error: ErrorPolicy,
        selection: Selection,
        by_position: bool = False,
        clock: StageClock | None = None,
        global_random: GlobalRandom | None = None,
    ) -> None:
        self.clock = clock or StageClock()
        self._source = source
        self._random_of_source = global_random if may_draw(source.given) else None
        self._random_of_transform = global_random if transform_may_draw(transform, source.given) else None
        self._transform = transform
        self._wants_generator = transform is not None and wants_generator(transform)
        self._seed = seed
        self._skips = on_error == "skip"
        self._selection = selection
        self._by_position = by_position
        self.begin()

    def begin(self) -> None:
        """Start to count anew."""
        self.clock.begin()
        self.skipped: list[SkippedRecord] = []

    def make(self, part: Part) -> list[Any]:
        """Return the samples of a part, in its order.

        Raises:
            Exception: What the dataset or the transform raised, with a note that names the record.
        """
        self.clock.mark()
        fetched = self.fetch(part)
        self.clock.lap("read")
        samples = self._transform_all(part, fetched)
        self.clock.lap("transform")
        return samples

    def fetch(self, part: Part, *, one_by_one: bool = False) -> Sequence[Any]:
        """Return the records of a part, for `make_one`; `one_by_one` leaves reading them to that.

        Raises:
            Exception: What the dataset raised, with a note that names the records.
        """
        if one_by_one:
            return [_UNREAD] * len(part.records)
        try:
            if self._random_of_source is None:
                return self._source.fetch(part.records)
            return self._fetch_seeded(part, self._random_of_source)
        except Exception as error:
            if not self._skips:
                add_note(error, self._reading_note(part.epoch, part.records.tolist()))
                raise
        # One of them is bad: which, shows when each is fetched by itself.
        return [_UNREAD] * len(part.records)

    def _fetch_seeded(self, part: Part, random: GlobalRandom) -> Sequence[Any]:
        if len(part.records) and self._source.fetches_together:
            random.set(part.epoch, int(part.records[0]), _READING)
            return self._source.fetch(part.records)
        return [self._read_one(part.epoch, record) for record in part.records.tolist()]

    def _read_one(self, epoch: int, record: int) -> Any:
        if self._random_of_source is not None:
            self._random_of_source.set(epoch, record, _READING)
        return self._source.fetch_one(record)

    def _transform_all(self, part: Part, fetched: Sequence[Any]) -> list[Any]:
        transform = self._transform
        if transform is None and fetched and fetched[0] is not _UNREAD:
            return list(fetched)
        numbers = part.records.tolist()
        if transform is not None and not self._skips:
            return self._transform_or_raise(transform, part, fetched, numbers)
        return [
            self._make_or_replace(part.epoch, position, record, value, random_epoch)[0]
            for position, record, value, random_epoch in zip(
                part.positions.tolist(), numbers, fetched, self._random_epochs(part), strict=True
            )
        ]

    @cached_property
    def _mixture(self) -> Mixture | None:
        dataset = self._source.dataset
        return dataset if isinstance(dataset, Mixture) else None

    def _random_epochs(self, part: Part) -> list[int]:
        """Return what keys the randomness of each sample, beside seed and record.

        Where a record may come several times in an epoch, its position in the stream tells them apart.
        """
        return part.positions.tolist() if self._by_position else [part.epoch] * len(part.records)

    def _transform_or_raise(
        self, transform: Transform, part: Part, fetched: Sequence[Any], numbers: Sequence[int]
    ) -> list[Any]:
        samples: list[Any] = []
        try:
            if self._random_of_transform is None and not self._wants_generator:
                # Nothing is made for a sample: two calls less for each.
                for value in fetched:
                    samples.append(transform(value))  # noqa: PERF401  # what is there tells which one failed
            else:
                for random_epoch, record, value in zip(self._random_epochs(part), numbers, fetched, strict=True):
                    samples.append(self._apply(transform, random_epoch, record, value))
        except Exception as error:
            # The number of results tells which record failed.
            self._add_transform_notes(error, numbers[len(samples)], part.epoch)
            raise
        return samples

    def make_one(self, epoch: int, position: int, record: int, value: Any, *, random_epoch: int) -> tuple[Any, int]:
        """Return one sample, and the record that it is of: another one, where that was replaced.

        Args:
            epoch, position: Where it belongs.
            record: Of the dataset.
            value: What `fetch` returned for it.
            random_epoch: Whose randomness the transform gets.

        Raises:
            Exception: What the dataset or the transform raised, with a note that names the record.
        """
        if self._skips:
            return self._make_or_replace(epoch, position, record, value, random_epoch)
        if value is _UNREAD:
            try:
                value = self._fetch_one(random_epoch, record)
            except Exception as error:
                add_note(error, self._reading_note(epoch, [record]))
                raise
        return self._transform_one(random_epoch, record, value), record

    def _fetch_one(self, epoch: int, record: int) -> Any:
        self.clock.lap("transform")
        try:
            return self._read_one(epoch, record)
        finally:
            self.clock.lap("read")

    def _transform_one(self, epoch: int, record: int, value: Any) -> Any:
        if self._transform is None:
            return value
        try:
            return self._apply(self._transform, epoch, record, value)
        except Exception as error:
            self._add_transform_notes(error, record, epoch)
            raise

    def _add_transform_notes(self, error: Exception, record: int, epoch: int) -> None:
        add_note(error, self._transform_note(record, epoch))
        if isinstance(error, ValueError) and "read-only" in str(error) and self._source.gives_read_only_arrays:
            add_note(
                error,
                "the arrays of samples show the record itself and are read-only: copy what is changed, or give the "
                "loader SampleDataset(path, copy=True)",
            )

    def _apply(self, transform: Transform, epoch: int, record: int, value: Any) -> Any:
        random = self._random_of_transform
        if random is None:
            return self._call(transform, epoch, record, value)
        random.set(epoch, record, _TRANSFORM)
        sample = self._call(transform, epoch, record, value)
        if random.is_torch_new:
            # It has loaded torch itself, and may have drawn from it: this once it is called again, now that it is set.
            value = self._read_one(epoch, record)
            random.set(epoch, record, _TRANSFORM)
            sample = self._call(transform, epoch, record, value)
        return sample

    def _call(self, transform: Transform, epoch: int, record: int, value: Any) -> Any:
        if self._wants_generator:
            return transform(value, rng=sample_generator(self._seed, epoch, record))
        return transform(value)

    def _make_or_replace(
        self, epoch: int, position: int, record: int, value: Any, random_epoch: int
    ) -> tuple[Any, int]:
        bad, num_tried = record, 0
        while True:
            try:
                if value is _UNREAD:
                    value = self._fetch_one(random_epoch, record)
                sample = self._transform_one(random_epoch, record, value)
            except Exception as error:
                # It is not kept: it knows this frame, and the frame would know it.
                if num_tried == 0:
                    self.skipped.append(SkippedRecord(bad, epoch, position, -1, f"{type(error).__name__}: {error}"))
                num_tried += 1
                if num_tried == _MAX_ATTEMPTS:
                    raise TooManySkippedError(
                        f"position {position} of epoch {epoch}: record {bad} and {_MAX_ATTEMPTS - 1} others tried in "
                        "its place all failed. This is no single bad record: look at the error above.",
                        num_skipped=len(self.skipped),
                    ) from error
                record = self._replacement(epoch, position, num_tried - 1, bad)
                value = _UNREAD
            else:
                if num_tried:
                    self.skipped[-1] = self.skipped[-1]._replace(replacement=record)
                return sample, record

    def _transform_note(self, record: int, epoch: int) -> str:
        return f"raised by the transform of record {self._named(record)} in epoch {epoch}"

    def _reading_note(self, epoch: int, records: list[int]) -> str:
        what = f"record {self._named(records[0])} was" if len(records) == 1 else f"records {_listed(records)} were"
        return f"raised while {what} read for epoch {epoch}; RecordOptions(on_error='skip') would replace bad records"

    def _named(self, record: int) -> str:
        key = self._source.key_of(record)
        return str(record) if key is None else f"{record} (key {shown(key)})"

    def _replacement(self, epoch: int, position: int, attempt: int, bad: int) -> int:
        if not len(self._selection):
            raise TooManySkippedError(
                f"position {position} of epoch {epoch} needs another record, and the sampler gave none in epoch 0 "
                "to choose from",
                num_skipped=len(self.skipped),
            )
        key = derive_key(self._seed, epoch, position, attempt, "replacement")
        if self._mixture is not None:
            # Of the same source: shares stay exact.
            records = self._mixture.records_beside(bad)
            return records[key % len(records)]
        place = np.array([key % len(self._selection)], np.int64)
        return int(self._selection.records(place)[0])


class _Unread:
    """Stands for a record that was not, or could not be, fetched with the others."""


_UNREAD: Final = _Unread()


def _listed(records: list[int]) -> str:
    return ", ".join(map(str, records[:8])) + (", ..." if len(records) > 8 else "")
