"""The progress of training: how far it has come, and where the next iterator begins.

Only what was handed to the user counts: an iterator from which nothing was taken changes nothing. A position is kept
with the steps in which it was reached, as it was loaded, and becomes one of a plan when there is one: ranks may be
known only later, or be others when it is unpickled.

    a batch is handed out        position moves behind it; behind the last one: (epoch + 1, 0)
    iter()                       a position that was set by hand: from there
                                 an epoch that was broken off:    the next epoch
    resume()                     the rest of the epoch, wherever it is
    load, seek, skip, set_epoch  set the position by hand
"""

from __future__ import annotations

from splitdata.loader.plan.plan import Plan
from splitdata.loader.plan.steps import Position, StepShape

__all__ = ["EpochProgress"]


class EpochProgress:
    """The position of one loader.

    Attributes:
        position: Behind the last batch that was handed out, or what was set by hand.
        shape: In what steps it was reached; None at the very beginning.
    """

    def __init__(self) -> None:
        self.position = Position()
        self.shape: StepShape | None = None
        self._is_given = False

    def position_in(self, plan: Plan) -> Position:
        """Return the position as one of a plan.

        Raises:
            StateMismatchError: It cannot be one.
        """
        return self.position if self.shape is None else plan.adopt(self.position, self.shape)

    def start_of_next(self, plan: Plan) -> Position:
        """Return where `iter()` begins; errors as of `position_in`."""
        if self._is_given or not self.position.samples or self.shape is None:
            return self.position_in(plan)
        return plan.next_epoch(self.position, self.shape)

    def hand_out(self, position: Position, shape: StepShape) -> None:
        """Note that a batch has reached the user."""
        self.position = position
        self.shape = shape
        self._is_given = False

    def give(self, position: Position, shape: StepShape | None) -> None:
        """Set the position by hand: the next iterator begins there."""
        self.position = position
        self.shape = shape
        self._is_given = True

    def give_epoch(self, start: Position, shape: StepShape | None) -> bool:
        """Begin an epoch, unless a position in that very epoch was set by hand: then it is kept.

        Return whether that changed anything.
        """
        # Its beginning is where it was reached, which an endless stream need not have at `start`.
        if self.position.epoch == start.epoch and (self._is_given or not self.position.samples):
            return False
        self.give(start, shape)
        return True
