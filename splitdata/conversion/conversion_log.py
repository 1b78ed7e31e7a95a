"""The log that a resumable conversion stores with each commit, by which the next call knows it again.

Records and position are in one manifest, so they agree whenever the call was killed. Where the last commit
began is there too: the next call reads it again, and so proves the position.

    metadata {"conversion": {"source": ..., "options": ..., "position": ..., "records": n, "finished": false,
                             "commit_position": ..., "commit_records": m}}
              commit 1       commit 2       commit 3 (killed here)        the next call reads on behind commit 2
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import xxhash

from splitdata._place import is_url
from splitdata._shown import cut, shown
from splitdata.conversion.sources.seek import is_count
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.reader import SplitDataLoader
from splitdata.errors import DatasetExistsError, DatasetNotFoundError, StateMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from splitdata.conversion.sources.source import Record, SourcePosition

__all__ = ["CommitPace", "ConversionLog", "hash_of", "metadata_of", "position_in"]

_KEY: Final = "conversion"
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "source": dict,
    "options": dict,
    "position": (dict, type(None)),
    "records": int,
    "finished": bool,
    "commit_position": (dict, type(None)),
    "commit_records": int,
}
_MAX_SHOWN: Final = 20
_COMMIT_BYTES: Final = 64 << 20
_COMMIT_SECONDS: Final = 1.0
# What a record takes beside its payload, so that empty ones are committed too.
_RECORD_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionLog:
    """The log of a conversion: its source, its options, and how far it has come.

    Attributes:
        source: What tells the source from a changed one.
        options: What the records and files depend on.
        position: Behind the last committed record in the source, None before the first commit of records.
        num_records: Committed records.
        is_finished: Whether they are all.
        commit_position: Where the last commit of records began, None at the beginning of the source.
        commit_records: Committed records before it.
    """

    source: dict[str, Any]
    options: dict[str, Any]
    position: SourcePosition | None = None
    num_records: int = 0
    is_finished: bool = False
    commit_position: SourcePosition | None = None
    commit_records: int = 0

    def at(self, position: SourcePosition, num_records: int) -> ConversionLog:
        """Return this, moved on."""
        moved = replace(self, position=position, num_records=num_records)
        if num_records == self.num_records:
            return moved
        return replace(moved, commit_position=self.position, commit_records=self.num_records)

    def finished(self) -> ConversionLog:
        """Return this, with nothing left to do."""
        return replace(self, is_finished=True)

    def to_metadata(self) -> dict[str, Any]:
        """Return what is stored as the dataset's metadata."""
        return {
            _KEY: {
                "source": self.source,
                "options": self.options,
                "position": self.position,
                "records": self.num_records,
                "finished": self.is_finished,
                "commit_position": self.commit_position,
                "commit_records": self.commit_records,
            }
        }

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any], dest: str) -> ConversionLog:
        """Read what an earlier call has stored; `dest` is shown in errors.

        Raises:
            DatasetExistsError: If the dataset was not written by a resumable conversion.
            StateMismatchError: If its state cannot be understood.
        """
        if _KEY not in metadata:
            raise DatasetExistsError(
                f"{dest} is a dataset that no resumable conversion has begun, so none can go on with it; "
                "choose another place, or append to it or overwrite it without resuming",
                path=dest,
            )
        stored = metadata[_KEY]
        if not _is_log(stored):
            raise StateMismatchError(
                f"the state of the conversion in {dest} is not as this splitdata writes it; nothing was changed, "
                "convert anew with mode='overwrite'"
            )
        return cls(
            source=stored["source"],
            options=stored["options"],
            position=stored["position"],
            num_records=stored["records"],
            is_finished=stored["finished"],
            commit_position=stored["commit_position"],
            commit_records=stored["commit_records"],
        )

    def check_same(self, earlier: ConversionLog, dest: str) -> None:
        """Raise `StateMismatchError`, which says both sides, if an earlier call had another source or other options."""
        differences = [
            f"{cut(name)} was {_setting(then, name)}, is {_setting(now, name)}"
            for then, now in ((earlier.options, self.options), (earlier.source, self.source))
            for name in {**then, **now}
            if then.get(name) != now.get(name)
        ]
        if differences:
            left = len(differences) - _MAX_SHOWN
            more = f"; and {left} more" if left > 0 else ""
            state = "finished" if earlier.is_finished else "begun"
            raise StateMismatchError(
                f"the conversion in {dest} was {state} with another source or other options: "
                f"{'; '.join(differences[:_MAX_SHOWN])}{more}; nothing was changed: take the same again, or another "
                "place"
            )


def _setting(values: dict[str, Any], name: str) -> str:
    return "not set" if values.get(name) is None else shown(values[name])


def _is_log(stored: Any) -> bool:  # any JSON
    """Say whether a value is the state of a conversion, whose numbers agree with each other."""
    if not isinstance(stored, dict) or not _TYPES.keys() <= stored.keys():
        return False
    if any(not isinstance(stored[key], kind) for key, kind in _TYPES.items()):
        return False
    done, before = stored["records"], stored["commit_records"]
    if not is_count(done) or not is_count(before) or (done <= before if done else before):
        return False
    # A finished conversion may have found no records, and has a position nevertheless.
    return bool(done) == (stored["position"] is not None) or (stored["finished"] and not done)


def metadata_of(
    dest: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], int] | None:
    """Return the metadata of a dataset and its number of records, None if there is none yet.

    Args:
        dest: The dataset, in a folder or a store.
        storage_options: Of the store.
    """
    try:
        if is_url(os.fspath(dest)):
            with SplitDataLoader(dest, storage_options=storage_options) as there:
                return there.metadata, len(there)
        manifest = DatasetDirectory(dest).newest()
    except DatasetNotFoundError:
        return None
    return manifest.metadata, manifest.num_records


def position_in(dest: str) -> SourcePosition | None:
    """Return where the conversion in a directory stands; None where none has been begun, or it cannot be understood."""
    metadata, _ = metadata_of(dest) or ({}, 0)
    stored = metadata.get(_KEY)
    position = stored.get("position") if isinstance(stored, dict) else None
    return position if isinstance(position, dict) else None


def hash_of(metadata: dict[str, Any] | None) -> str:
    """Return 16 hex digits that tell a user's metadata from others."""
    return xxhash.xxh3_64_hexdigest(json.dumps(metadata or {}).encode())


class CommitPace:
    """Says when the next commit is due: after 64 MiB, or a second, whichever comes first."""

    def __init__(self, count_bytes: Callable[[], int], *, by_time: bool, multiple: int = 1) -> None:
        """Begin now; without time the same records give the same commits.

        Args:
            count_bytes: Says how many bytes of records have gone by.
            by_time: Whether a second counts.
            multiple: Records of a group: a commit in the middle of one would end the segment.
        """
        self.is_due = False
        self._multiple = multiple
        self._count_bytes = count_bytes
        self._by_time = by_time
        self._start = 0
        self._deadline = 0.0
        self.restart()

    def restart(self) -> None:
        """Count from a commit on."""
        self.is_due = False
        self._start = self._count_bytes()
        self._deadline = time.monotonic() + _COMMIT_SECONDS

    def until_due(self, records: Iterable[Record]) -> Generator[Record, None, None]:
        """Pass records on until a commit is due, then leave the rest where they are."""
        for number, record in enumerate(records, 1):
            yield record
            # A file has been read to its end by now.
            size = self._count_bytes() - self._start + number * _RECORD_BYTES
            if number % self._multiple:
                continue
            if size >= _COMMIT_BYTES or (self._by_time and time.monotonic() >= self._deadline):
                self.is_due = True
                return
