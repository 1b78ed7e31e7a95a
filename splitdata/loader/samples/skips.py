"""Records that were replaced with on_error="skip": listed, logged, and held against a budget for each epoch.

Counted by the loader alone, whichever workers met them, so that the count is exact. It is not part of a state, which is
the same on every rank: after a state was loaded an epoch is counted from there, with the budget of a whole one.

    a batch is about to be handed out, with what was replaced in it
        | too many of this epoch, on this rank?       TooManySkippedError: the batch is not handed out
        v
    counted, the last thousand listed, the first ten logged
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata._shown import one_line
from splitdata.errors import TooManySkippedError

if TYPE_CHECKING:
    from splitdata.loader.plan.steps import SkippedRecord

__all__ = ["Skip", "SkipLog"]

_log = logging.getLogger("splitdata")

# So many replaced records are listed; all are counted.
_MAX_LISTED: Final = 1000
# Beyond, one bad disk would fill the log.
_MAX_LOGGED: Final = 10
# Named in an error.
_MAX_SHOWN: Final = 5


@dataclass(frozen=True)
class Skip:
    """Bad records are replaced and counted, as with on_error="skip", up to a budget.

        DistributedLoader(path, records=RecordOptions(on_error=Skip(max_records=100)))

    Attributes:
        max_records: How many records may be replaced in an epoch, on this rank. An int is a number, a float a share of
            this rank's records (of those made, with rotation); 1.0 sets no limit. One more is TooManySkippedError.
            Counted anew after a state was loaded.

    Raises:
        TypeError, ValueError: The budget is not a number, or out of range.
    """

    max_records: float = 0.5

    def __post_init__(self) -> None:
        budget: object = self.max_records
        if isinstance(budget, bool) or not isinstance(budget, (int, float, np.integer, np.floating)):
            raise TypeError(f"max_records must be a number of records, or a share of them as a float, got {budget!r}")
        is_share = isinstance(budget, (float, np.floating))
        if not (0 <= budget <= 1 if is_share else budget >= 0):
            raise ValueError(f"max_records must be an int of 0 or more, or a float from 0.0 to 1.0, got {budget!r}")
        object.__setattr__(self, "max_records", float(budget) if is_share else int(budget))


class SkipLog:
    """The replaced records of one loader.

    Args:
        skip: The budget of an epoch.

    Attributes:
        listed: The last thousand.
    """

    def __init__(self, skip: Skip) -> None:
        self._max_records = skip.max_records
        self.listed: list[SkippedRecord] = []
        self.forget()

    def forget(self) -> None:
        """Count anew from the next iterator on."""
        self._epoch: int | None = None
        self._count = 0
        self._num_records: int | None = None
        self._first: list[SkippedRecord] = []
        self._last: Sequence[SkippedRecord] = ()

    def begin(self, epoch: int, rank: int, num_records: Callable[[], int]) -> None:
        """Note that an iterator begins; what was counted of this epoch counts on.

        Args:
            epoch: Its epoch.
            rank: For messages.
            num_records: Returns how many records this rank has in the whole epoch; asked when it matters.
        """
        if epoch != self._epoch:
            self.forget()
        self._epoch = epoch
        self._rank = rank
        self._ask = num_records

    def note(self, skipped: Sequence[SkippedRecord]) -> None:
        """Take what was replaced in a batch that is about to be handed out.

        Raises:
            TooManySkippedError: More than the budget; nothing of this batch is noted.
        """
        if skipped == self._last:
            # The same batch, made again after Ctrl-C.
            return
        first = (self._first + list(skipped))[:_MAX_SHOWN]
        count = self._count + len(skipped)
        allowed = self._allowed()
        if count > allowed:
            raise TooManySkippedError(self._complaint(count, allowed, first), num_skipped=count)
        self._count, self._first, self._last = count, first, skipped
        self._write(skipped)
        self.listed = (self.listed + list(skipped))[-_MAX_LISTED:]

    def _allowed(self) -> int:
        if isinstance(self._max_records, int):
            return self._max_records
        if self._num_records is None:
            self._num_records = self._ask()
        # As it is written in decimals: 0.29 of 100 are 29.
        return int(Fraction(repr(self._max_records)) * self._num_records)

    def _complaint(self, count: int, allowed: int, first: Sequence[SkippedRecord]) -> str:
        shown = "; ".join(f"record {one.record} ({one.error})" for one in first) + (
            f"; and {count - len(first)} more" if count > len(first) else ""
        )
        of = "" if self._num_records is None else f" of {self._num_records}"
        return (
            f"{count} records of epoch {self._epoch} could not be read or transformed on rank {self._rank}, and "
            f"Skip(max_records={self._max_records}) allows {allowed}{of}: {shown}. Mend them, or leave them out with "
            "RecordOptions(subset=...); to go on without them, load the present state into a loader with a larger "
            "max_records"
        )

    def _write(self, skipped: Sequence[SkippedRecord]) -> None:
        for one in skipped[: max(0, _MAX_LOGGED - len(self.listed))]:
            _log.warning(
                "record %d was replaced by record %d at position %d of epoch %d: %s",
                one.record,
                one.replacement,
                one.position,
                one.epoch,
                one_line(one.error),
            )
        if len(self.listed) < _MAX_LOGGED <= len(self.listed) + len(skipped):
            _log.warning("further records that are replaced are not logged: they are counted in stats(), see `skipped`")
