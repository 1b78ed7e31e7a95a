"""Reading on where an earlier reading stood, and telling whether the source is still the same.

A source that cannot do it is read again from its beginning, and its first records are dropped.
What was stored comes back from a file that anyone may have changed: it is taken apart here, and proven by resume_proof.

    records ──r0 r1 r2──> position() ──stored as JSON──> records_from(position) ──r3 r4──>
    state() ──stored as JSON──> compared with state() of the source as it is now
"""

from __future__ import annotations

from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from splitdata.errors import StateMismatchError

if TYPE_CHECKING:
    from collections.abc import Generator

    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition

__all__ = [
    "DescribedSource",
    "SeekableSource",
    "count_at",
    "counts_at",
    "is_count",
    "num_records_at",
    "position_at",
    "position_of",
    "records_from",
    "state_of",
]

_MAX_COUNT: Final = (1 << 63) - 1


@runtime_checkable
class DescribedSource(Protocol):
    """A source of records that can tell whether it has changed."""

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells this source from a changed one, found out without reading all of it.

        Args:
            with_times: Also when it was changed; without, copies of a source are equal.

        Raises:
            ValueError: If it cannot be read a second time.
        """


@runtime_checkable
class SeekableSource(Protocol):
    """A source of records that need not be read again from its beginning."""

    def position(self) -> SourcePosition:
        """Return where the newest iteration stands, which is behind the record that it gave last."""

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Iterate over the records behind a position; `skipped` and `bytes_read` count what is before it too."""


def state_of(source: RecordSource, *, with_times: bool) -> dict[str, Any]:
    """Return what tells a source from a changed one; of a source that cannot say, its identity."""
    if isinstance(source, DescribedSource):
        return source.state(with_times=with_times)
    return {"identity": source.identity()}


def position_of(source: RecordSource, num_records: int) -> SourcePosition:
    """Return where the newest iteration stands, after so many records since the beginning of the source."""
    return source.position() if isinstance(source, SeekableSource) else {"record": num_records}


def records_from(source: RecordSource, position: SourcePosition | None) -> Generator[Record, None, None]:
    """Iterate over the records behind a position, None for all; what cannot seek reads and drops those before it."""
    if not position:
        return iter(source)
    if isinstance(source, SeekableSource):
        return source.records_from(position)
    return _behind(source, count_at(position, "record"))


def _behind(source: RecordSource, num_records: int) -> Generator[Record, None, None]:
    with closing(iter(source)) as records:
        yield from islice(records, num_records, None)


def is_count(value: object) -> bool:
    """Say whether a value that was stored can be a number of records or bytes."""
    return type(value) is int and 0 <= value <= _MAX_COUNT


def count_at(position: SourcePosition, name: str) -> int:
    """Return a number that a position holds, 0 where it is left out.

    Raises:
        StateMismatchError: If it is invalid.
    """
    value = position.get(name, 0)
    if not is_count(value):
        raise _no_position(name)
    count: int = value
    return count


def counts_at(position: SourcePosition, name: str) -> dict[str, int]:
    """Return the numbers by name that a position holds; raises as `count_at` does."""
    values = position.get(name, {})
    if not isinstance(values, dict) or not all(map(is_count, values.values())):
        raise _no_position(name)
    return values


def position_at(position: SourcePosition, name: str) -> SourcePosition:
    """Return the position that another one holds; raises as `count_at` does."""
    value = position.get(name, {})
    if not isinstance(value, dict):
        raise _no_position(name)
    return value


def num_records_at(position: SourcePosition | None) -> int:
    """Return how many records a position says are before it, None being the beginning; raises as `count_at` does."""
    if not position:
        return 0
    if "line" in position:
        return count_at(position, "line") - sum(counts_at(position, "skipped").values())
    inside = count_at(position, "records in source")
    if "in source" in position and num_records_at(position_at(position, "in source")) != inside:
        raise _no_position("in source")
    return count_at(position, "record") + inside


def _no_position(name: str) -> StateMismatchError:
    return StateMismatchError(
        f"the position of a conversion to resume is not as this splitdata writes it: {name!r} is invalid; nothing was "
        "changed, convert anew with mode='overwrite'"
    )
