"""Both paths of reading and writing, the compiled one and that of Python, for tests that hold one against the other.

Where the compiled file is not built (no compiler, SPLITDATA_PURE=1) what needs it is skipped; with SPLITDATA_PURE=0
that is an error instead.
"""

from __future__ import annotations

import pytest

from splitdata import _compiled
from splitdata._compiled import speedups
from splitdata.dataset.segments.cold_reads import ColdReads

__all__ = ["PATHS", "needs_compiled", "take_path"]

PATHS = ("compiled", "python")

needs_compiled = pytest.mark.skipif(speedups() is None, reason="the compiled path is not built")

_AS_FOUND = speedups()


def take_path(patch: pytest.MonkeyPatch, name: str) -> None:
    """Have datasets that are opened from now on read and written by one path.

    The compiled one is asked for every batch: otherwise a slow machine would have the next one looked at.
    """
    patch.setattr(_compiled, "_found", [_AS_FOUND if name == "compiled" else None])
    if name == "compiled":
        patch.setattr(ColdReads, "expects_warm", lambda *_: True)
