"""The layout of the package splitdataloader 0.0.1, which is read here and never written.

All little-endian; no header, no version, no checksum. Its writer flushed bins after each record, but
the index only now and then: a kill leaves records in bins that the index does not list, or 1 to 11
bytes of an entry. At 4 GiB of a bin it failed after 4 bytes of the entry.

    index.dat       | u32 bin | u32 position | u32 length | ...       12 bytes a record, in write order
    bin%08d.dat     | u32 length | payload | u32 length | ...         position is that of the length
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

__all__ = ["ENTRY_BYTES", "ENTRY_DTYPE", "INDEX_NAME", "PREFIX_BYTES", "bin_name", "bin_number"]

INDEX_NAME: Final = "index.dat"
"""Beside the bins."""

ENTRY_BYTES: Final = 12
"""Of the index, for each record."""

PREFIX_BYTES: Final = 4
"""Before each payload: its length."""

ENTRY_DTYPE: Final = np.dtype([("bin", "<u4"), ("position", "<u4"), ("length", "<u4")])
"""One entry of the index."""

_BIN_NAME: Final = re.compile(r"bin(\d{8}|[1-9]\d{8,9})\.dat")


def bin_name(number: int) -> str:
    """Return the name of the file of a bin."""
    return f"bin{number:08d}.dat"


def bin_number(name: str) -> int | None:
    """Return the number of the bin whose file has this name, None if it is not such a name."""
    match = _BIN_NAME.fullmatch(name)
    return int(match[1]) if match and match[1].isascii() else None
