"""Totals over consecutive records: how many, their bytes, and their digest; a commit adds them to the manifest.

Two totals joined are those of all the records written at once, so a segment knows its own without reading it again.

    committed | pending  ──joined──>  both, as if there had been one commit
"""

from __future__ import annotations

from dataclasses import dataclass

from splitdata.format.digest import EMPTY_DIGEST, join_digests

__all__ = ["Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Numbers of consecutive records, which add up."""

    num_records: int = 0
    digest: int = EMPTY_DIGEST
    stored_bytes: int = 0
    raw_bytes: int = 0
    max_raw_bytes: int = 0

    def joined(self, other: Totals) -> Totals:
        """Return the numbers of these and of others behind them."""
        return Totals(
            self.num_records + other.num_records,
            join_digests(self.digest, other.digest, other.num_records),
            self.stored_bytes + other.stored_bytes,
            self.raw_bytes + other.raw_bytes,
            max(self.max_raw_bytes, other.max_raw_bytes),
        )
