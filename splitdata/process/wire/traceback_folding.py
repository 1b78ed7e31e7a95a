"""Shortens tracebacks to the user's own frames: those of this library are left out where they tell nothing.

    script ── ours ── ours ── transform ── helper ── error       shown: script, transform, helper
    script ── ours ── ours ── ours ── SplitDataError             shown: script; the message says what is wrong
    script ── ours ── ours ── raise ValueError("...")            shown: script; the same, it was said on purpose
    script ── ours ── ours ── another error                      shown as it is: it may be a fault of ours

SPLITDATA_FULL_TRACEBACKS=1 in the environment leaves all of them.
"""

from __future__ import annotations

import linecache
import os
import re
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from splitdata.errors import SplitDataError

__all__ = ["fold_traceback", "folded_text"]

_LIBRARY: Final = str(Path(__file__).parents[2]) + os.sep
_SWITCH: Final = "SPLITDATA_FULL_TRACEBACKS"
# Of a refusal, as that of samples which do not go into one batch; not of what says that the library is wrong.
_REFUSAL: Final = re.compile(r"raise (ValueError|TypeError|RuntimeError)\(")


def _num_left_out(
    files: list[str], innermost: str | None, error_type: type[BaseException] | None, *, from_elsewhere: bool = False
) -> int:
    """Return how many frames, of these files and from the outermost on, reach to the last that is worth showing.

    Args:
        files: Of the frames.
        innermost: The line at which the last frame stands.
        error_type: Of the error that has these frames.
        from_elsewhere: Its cause shows where it was raised.
    """
    if os.environ.get(_SWITCH):
        return 0
    others = [place for place, file in enumerate(files) if not file.startswith(_LIBRARY)]
    if others:
        return others[-1]
    is_said = (
        from_elsewhere
        or (error_type is not None and issubclass(error_type, SplitDataError))
        or _REFUSAL.match(innermost or "") is not None
    )
    return len(files) if is_said else 0


def fold_traceback(error: BaseException, *, from_elsewhere: bool = False) -> None:
    """Take our frames out of the traceback of an error that is about to be raised on.

    Args:
        error: It has come through this library.
        from_elsewhere: Its cause shows where it was raised.
    """
    frames: list[TracebackType] = []
    rest = error.__traceback__
    while rest is not None:
        frames.append(rest)
        rest = rest.tb_next
    files = [frame.tb_frame.f_code.co_filename for frame in frames]
    innermost = linecache.getline(files[-1], frames[-1].tb_lineno).strip() if frames else None
    limit = _num_left_out(files, innermost, type(error), from_elsewhere=from_elsewhere)
    kept = [frame for place, frame in enumerate(frames) if place >= limit or not files[place].startswith(_LIBRARY)]
    for frame, following in zip(kept, [*kept[1:], None], strict=False):
        frame.tb_next = following
    # Past any __setattr__ of its class.
    BaseException.__dict__["__traceback__"].__set__(error, kept[0] if kept else None)


def folded_text(error: BaseException) -> str:
    """Return the traceback of an error as Python prints it, but for our frames; says how many are left out."""
    shown = traceback.TracebackException.from_exception(error)
    num_left_out = _fold(shown)
    text = "".join(shown.format())
    if num_left_out:
        text += f"({num_left_out} frames of splitdata are left out: {_SWITCH}=1 shows them)\n"
    return text


def _fold(shown: traceback.TracebackException) -> int:
    """Fold an error and those that it comes from; return how many frames are left out."""
    files = [frame.filename for frame in shown.stack]
    limit = _num_left_out(files, shown.stack[-1].line if files else None, shown.exc_type)
    kept = [frame for place, frame in enumerate(shown.stack) if place >= limit or not files[place].startswith(_LIBRARY)]
    num_left_out = len(files) - len(kept)
    shown.stack[:] = kept
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            num_left_out += _fold(other)
    return num_left_out
