"""How long a failing store is asked again: pauses that grow, with jitter, up to a limit of time.

    call ── fails ──> 0.1 s ──> call ── fails ──> 0.2 s ──> ...  up to 5 s each ──> StoreError, with the last error
      `─ says no: not there, there already, not allowed ──> that error, at once

Pauses are cut at random, so that programs that failed together do not come back together.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from splitdata.errors import StoreError

__all__ = ["FINAL_ERRORS", "Patience", "plain_error"]

_Answer = TypeVar("_Answer")

FINAL_ERRORS: Final = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    NotImplementedError,
    ModuleNotFoundError,
    TypeError,
    ValueError,
)
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
# Of the system: programs that were thrown off together must not come back together. Nobody's generator is touched.
_jitter: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of one call to a store, with all its repetitions.

    Attributes:
        seconds: No repetition begins later than this behind the first call. 0: there is none, and what is raised says
            all, as of a folder.
        call_seconds: The most that one call may take, which the adapter of the store sees to.
    """

    seconds: float = 60.0
    call_seconds: float = 20.0

    @property
    def longest(self) -> float:
        """How long a call may take with all that belongs to it, in seconds: longer is a store that never answers."""
        return self.seconds + self.call_seconds + _LONGEST_PAUSE

    def call(self, what: str, function: Callable[[], _Answer]) -> _Answer:
        """Return what a function returns, called again while it fails.

        Args:
            what: It does, for the message: "reading s3://bucket/x".
            function: May be called any number of times.

        Raises:
            FileNotFoundError, FileExistsError, PermissionError, ...: What is final, as it was raised.
            StoreError: When the time is up; without any, what was raised.
        """
        begin = time.monotonic()
        pause, num_calls = _FIRST_PAUSE, 0
        while True:
            num_calls += 1
            try:
                return function()
            except FINAL_ERRORS:
                raise
            except Exception as error:  # of any store
                if not self.seconds:
                    raise
                left = begin + self.seconds - time.monotonic()
                if left <= 0:
                    raise StoreError(
                        f"{what} failed {num_calls} times in {time.monotonic() - begin:.0f} s, the last time with "
                        f"{plain_error(error)}; check the network and the store, then go on where this stopped"
                    ) from None
                # From half of the pause to all of it.
                time.sleep(min(left, pause * (0.5 + 0.5 * _jitter.random())))
                pause = min(2 * pause, _LONGEST_PAUSE)


def plain_error(error: BaseException) -> str:
    """Return an error as a part of a message: its type, and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
