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
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from splitdata.errors import TooManySkippedError

if TYPE_CHECKING:
    from splitdata.loader.plan.steps import SkippedRecord

__all__ = ["SkipLog"]

_log = logging.getLogger("splitdata")

# So many replaced records are listed; all are counted.
_MAX_LISTED: Final = 1000
# Beyond, one bad disk would fill the log.
_MAX_LOGGED: Final = 10
# Named in an error.
_MAX_SHOWN: Final = 5
_DEFAULT_SHARE: Final = 0.5


class SkipLog:
    """The replaced records of one loader.

    Args:
        max_skipped: A number of records, or a share of this rank's in an epoch as a float; None for half of them.

    Attributes:
        listed: The last thousand.
    """

    def __init__(self, max_skipped: float | None) -> None:
        self._max_skipped = _DEFAULT_SHARE if max_skipped is None else max_skipped
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
        if isinstance(self._max_skipped, int):
            return self._max_skipped
        if self._num_records is None:
            self._num_records = self._ask()
        # Counted in decimals: 0.29 of 100 are 29.
        return int(Fraction(repr(self._max_skipped)) * self._num_records)

    def _complaint(self, count: int, allowed: int, first: Sequence[SkippedRecord]) -> str:
        shown = "; ".join(f"record {one.record} ({one.error})" for one in first) + (
            f"; and {count - len(first)} more" if count > len(first) else ""
        )
        of = "" if self._num_records is None else f" of {self._num_records}"
        return (
            f"{count} records of epoch {self._epoch} could not be read or transformed on rank {self._rank}, and "
            f"max_skipped={self._max_skipped} allows {allowed}{of}: {shown}. Mend them, or leave them out with "
            "subset=; to go on without them, load the present state into a loader with a larger max_skipped"
        )

    def _write(self, skipped: Sequence[SkippedRecord]) -> None:
        for one in skipped[: max(0, _MAX_LOGGED - len(self.listed))]:
            _log.warning(
                "record %d was replaced by record %d at position %d of epoch %d: %s",
                one.record,
                one.replacement,
                one.position,
                one.epoch,
                one.error,
            )
        if len(self.listed) < _MAX_LOGGED <= len(self.listed) + len(skipped):
            _log.warning("further records that are replaced are not logged: they are counted in stats(), see `skipped`")
