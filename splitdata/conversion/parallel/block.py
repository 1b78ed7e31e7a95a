"""A block: some records of one part on their way from the worker that made them to the process that writes them.

A record may be larger than a block: then it is the last one here, and its rest comes first in the next blocks.

    lengths   3, 5, 9000          payload   aaabbbbbccccc...           the last one is not all here
    next      4                             ...cccccdddd               what is left of it, then records of its own
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Block", "FailedHere"]


@dataclass(frozen=True, slots=True)
class FailedHere:
    """A record of the source that a step failed on.

    Attributes:
        at: So many records of the block come before it.
        number: Of the record in its part, before the steps.
        key: It has.
        record: Its bytes.
        error: The exception, packed for its way between processes.
    """

    at: int
    number: int
    key: str | None
    record: bytes
    error: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Records of one part that follow each other.

    Attributes:
        part: Number of the part.
        lengths: Of each record that begins here.
        keys: Of these, None if none has one.
        payload: Their bytes, behind what is left of the record before.
        failed: Records of the source that gave none.
        num_inputs: Records of the part that were taken so far.
        bytes_read: Of the part so far.
        skipped: What the part left out so far.
        is_last: The part has ended.
        error: It has ended by this exception, packed.
    """

    part: int
    lengths: NDArray[np.int64]
    keys: list[str | None] | None
    payload: NDArray[np.uint8]
    failed: list[FailedHere] = field(default_factory=list)
    num_inputs: int = 0
    bytes_read: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    is_last: bool = False
    error: bytes | None = None

    @property
    def num_bytes(self) -> int:
        """What it takes in memory, about."""
        return self.payload.nbytes + self.lengths.nbytes + sum(len(one.record) for one in self.failed) + 1024

    def taken_apart(self, left: int) -> tuple[bytes, list[bytes], bytes | None]:
        """Return what continues a record before, whole records, and how the last one begins; None if all are whole.

        Args:
            left: Bytes that were missing of the record before.
        """
        data = self.payload.tobytes()
        start = min(left, len(data))
        bounds: list[int] = (start + np.concatenate(([0], np.cumsum(self.lengths)))).tolist()
        is_cut = bounds[-1] > len(data)
        whole = bounds[:-1] if is_cut else bounds
        records = [data[begin:end] for begin, end in pairwise(whole)]
        return data[:start], records, data[whole[-1] :] if is_cut else None

    @classmethod
    def of(cls, part: int, lengths: list[int], keys: list[str | None], pieces: list[Any], **told: Any) -> Block:
        """Make one of records and pieces of records; `told` are the other attributes."""
        return cls(
            part=part,
            lengths=np.array(lengths, np.int64),
            keys=keys if any(key is not None for key in keys) else None,
            payload=np.frombuffer(b"".join(pieces), np.uint8),
            **told,
        )
