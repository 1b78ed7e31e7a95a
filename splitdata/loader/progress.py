"""How far training has come, and where the next iterator begins.

    a batch is handed out        position moves behind it; behind the last one: (epoch + 1, 0)
    iter()                       a position that was set by hand: from there
                                 an epoch that was broken off:    the next epoch
    resume()                     the rest of the epoch, wherever it is
    load, seek, skip, set_epoch  set the position by hand

Only what was handed to the user counts: an iterator from which nothing was taken changes nothing.
"""

from __future__ import annotations

from splitdata.loader.plan import Plan
from splitdata.loader.runs import Position

__all__ = ["Progress"]


class Progress:
    """The position of one loader.

    Attributes:
        position: Behind the last batch that was handed out, or what was set by hand.
    """

    def __init__(self) -> None:
        self.position = Position()
        self._is_given = False

    def start_of_next(self, plan: Plan) -> Position:
        """Return where `iter()` begins."""
        if self._is_given or not self.position.samples:
            return self.position
        return plan.next_epoch(self.position)

    def hand_out(self, behind: Position) -> None:
        """Note that a batch has reached the user."""
        self.position = behind
        self._is_given = False

    def give(self, position: Position) -> None:
        """Set the position by hand: the next iterator begins there."""
        self.position = position
        self._is_given = True

    def give_epoch(self, start: Position) -> bool:
        """Begin an epoch, unless a position in that very epoch was set by hand: then it is kept.

        Return whether that changed anything.
        """
        # Its beginning is where it was reached, which an endless stream need not have at `start`.
        if self.position.epoch == start.epoch and (self._is_given or not self.position.samples):
            return False
        self.give(start)
        return True
