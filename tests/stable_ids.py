"""Names of parameters that are the same in every process, so that several can share the tests."""

from __future__ import annotations

import re

__all__ = ["stable_id"]


def stable_id(value: object) -> str:
    """Return the text of a value without the addresses of objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
