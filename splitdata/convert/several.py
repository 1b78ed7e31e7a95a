"""Several sources read one after another as one.

a.jsonl  b.jsonl.gz  c.jsonl     ──>   records of a, records of b, records of c
^ an error in here names this file; its position counts from the first record of all
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from splitdata.convert.source import Record, RecordSource

__all__ = ["SeveralSources"]


class SeveralSources:
    """Sources of one kind, end to end; one of them is open at a time."""

    def __init__(self, parts: Sequence[RecordSource], *, name: str) -> None:
        """Take one or more sources of the same kind, and what to call them together."""
        self.name = name
        self.kind = parts[0].kind
        self._parts = parts
        self._finished_bytes = 0
        self._finished_skipped: Counter[str] = Counter()
        self._current: RecordSource | None = None

    @property
    def inputs(self) -> list[str]:
        """The paths of all of them."""
        return [path for part in self._parts for path in part.inputs]

    @property
    def num_bytes(self) -> int | None:
        """Bytes of all of them together, None where one does not tell."""
        sizes = [part.num_bytes for part in self._parts]
        known = [size for size in sizes if size is not None]
        return sum(known) if len(known) == len(sizes) else None

    @property
    def bytes_read(self) -> int:
        """Bytes read so far by the newest iteration."""
        return self._finished_bytes + (self._current.bytes_read if self._current else 0)

    @property
    def skipped(self) -> Mapping[str, int]:
        """What the newest iteration left out so far."""
        return self._finished_skipped + Counter(self._current.skipped if self._current else {})

    def identity(self) -> str:
        """Return kind and a hash of the identities of all of them, in their order."""
        names = hashlib.sha256()
        for part in self._parts:
            names.update(part.identity().encode("utf-8", "surrogateescape") + b"\0")
        return f"{self.kind} {names.hexdigest()}"

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records of each source in turn; raises as they do."""
        self._finished_bytes = 0
        self._finished_skipped.clear()
        position = 0
        for part in self._parts:
            self._current = part
            before = position
            try:
                for record in part:
                    yield record
                    position += 1
            except SourceError as error:
                if error.position is not None:
                    error.position += before
                raise
            self._current = None
            self._finished_bytes += part.bytes_read
            self._finished_skipped.update(part.skipped)
