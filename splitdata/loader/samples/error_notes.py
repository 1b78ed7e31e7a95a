"""Notes on exceptions of the user's code: which record, which step, on any kind of exception.

The exception keeps its type, so the user's own `except` still catches it.

    error ──> error.__notes__ grows ──> printed behind the traceback, here and where the error arrives from a worker
"""

from __future__ import annotations

from contextlib import suppress

__all__ = ["add_note"]


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an error, also to one whose class lets no attribute be set; never raises.

    A frozen dataclass is such a class: its own `add_note` would put another error in the place of this one.
    """
    with suppress(Exception):
        vars(error).setdefault("__notes__", []).append(note)
