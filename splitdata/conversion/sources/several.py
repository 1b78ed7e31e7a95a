"""Several sources read one after another as one.

Keys must differ over all of them; that is checked before the first record is read.

    a.jsonl  b.jsonl.gz  c.jsonl     ──>   records of a, records of b, records of c
             ^ an error in here names this file; its position counts from the first record of all

    part1/cat/1.jpg  part2/cat/2.jpg ──>   keys cat/1.jpg, cat/2.jpg: as of each folder alone
    part1/cat/1.jpg  part2/cat/1.jpg ──>   an error that names both, before the first record is read
"""

from __future__ import annotations

import json
import os
from collections import Counter
from heapq import merge
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar, cast

import xxhash

from splitdata.conversion.sources.parts import has_parts
from splitdata.conversion.sources.sample_source import bind_source
from splitdata.conversion.sources.seek import count_at, counts_at, position_at, position_of, records_from, state_of
from splitdata.conversion.sources.source import KeyedSource, metadata_in
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from splitdata.conversion.sources.files.file_folder import FolderSource
    from splitdata.conversion.sources.parts import PartedSource
    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition
    from splitdata.dataset.manifests.stated_schema import SampleEncoder

__all__ = ["SeveralFolders", "SeveralKeyedSources", "SeveralSources", "several_sources"]

_Given = TypeVar("_Given")


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
        self._num_finished = 0
        self._num_before = 0
        self._num_given = 0

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
        """The things that the newest iteration left out so far."""
        return self._finished_skipped + Counter(self._current.skipped if self._current else {})

    @property
    def metadata(self) -> dict[str, Any]:
        """What all of them say alike of their records.

        Raises:
            SourceError: If the records of one are of another codec than those of the first.
        """
        first, *others = map(metadata_in, self._parts)
        for part, other in zip(self._parts[1:], others, strict=True):
            if first.get("record_codec") != other.get("record_codec"):
                raise SourceError(
                    f"the records of {self._parts[0].name} are of the codec {first.get('record_codec')}, those of "
                    f"{part.name} of {other.get('record_codec')}: convert them into two datasets",
                    path=part.inputs[0],
                )
        return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}

    def bind_with(self, encoder: SampleEncoder | None) -> bool:
        """Let each give samples that are bound from now on, as `BindingSource` says, if all can."""
        if all([bind_source(part, encoder) for part in self._parts]):
            return True
        for part in self._parts:
            bind_source(part, None)
        return False

    def identity(self) -> str:
        """Return kind and a hash of the identities of all of them, in their order."""
        names = xxhash.xxh3_128()
        for part in self._parts:
            names.update(part.identity().encode("utf-8", "surrogateescape") + b"\0")
        return f"{self.kind} {names.hexdigest()}"

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records of each source in turn; raises as they do."""
        return self.records_from({})

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return how many sources there are, their size, and a hash of the state of each."""
        states = xxhash.xxh3_128()
        for part in self._parts:
            state = {"name": part.name} | state_of(part, with_times=with_times)
            states.update(json.dumps(state, sort_keys=True).encode() + b"\0")
        return {"sources": len(self._parts), "bytes": self.num_bytes, "hash of their states": states.hexdigest()}

    def position(self) -> SourcePosition:
        """Return which source is being read, how much came before it, and the position in it."""
        position: SourcePosition = {
            "source": self._num_finished,
            "bytes": self._finished_bytes,
            "skipped": dict(self._finished_skipped),
            "record": self._num_before,
        }
        if self._current:
            position["records in source"] = self._num_given - self._num_before
            position["in source"] = position_of(self._current, self._num_given - self._num_before)
        return position

    @property
    def has_parts(self) -> bool:
        """Whether all of them can be read in parts."""
        return all(map(has_parts, self._parts))

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the parts of each."""
        self._finished_skipped.clear()
        for part in self._parts:
            yield from cast("PartedSource", part).parts(max_bytes)
            self._finished_skipped.update(part.skipped)

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Yield the records behind a position; sources that are done are not opened."""
        return self._given_by(records_from, position)

    def _given_by(
        self, read: Callable[[Any, SourcePosition], Iterable[_Given]], position: SourcePosition
    ) -> Generator[_Given, None, None]:
        """Yield what `read` gives of each source behind a position."""
        self._num_finished = count_at(position, "source")
        self._finished_bytes = count_at(position, "bytes")
        self._finished_skipped.clear()
        self._finished_skipped.update(counts_at(position, "skipped"))
        self._num_given = count_at(position, "record")
        inner = position_at(position, "in source")
        already = count_at(position, "records in source")
        for part in self._parts[self._num_finished :]:
            self._current = part
            self._num_before, self._num_given = self._num_given, self._num_given + already
            try:
                for given in read(part, inner):
                    self._num_given += 1
                    yield given
            except SourceError as error:
                if error.position is not None:
                    error.position += self._num_before
                raise
            inner, already = {}, 0
            self._current = None
            self._num_finished += 1
            self._num_before = self._num_given
            self._finished_bytes += part.bytes_read
            self._finished_skipped.update(part.skipped)


class SeveralKeyedSources(SeveralSources):
    """Sources whose records have keys, end to end; the writer refuses a key that two of them give."""

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str | None, Record], None, None]:
        """Yield the key of each record behind a position, and the record."""
        yield from self._given_by(_keyed_records, position or {})


def several_sources(parts: Sequence[RecordSource], *, name: str) -> SeveralSources:
    """Return sources of the same kind as one, with keys if all have them."""
    kind = SeveralKeyedSources if all(isinstance(part, KeyedSource) for part in parts) else SeveralSources
    return kind(parts, name=name)


class SeveralFolders(SeveralSources):
    """Folders of files, end to end; each file keeps the key that it has in its folder alone."""

    def __init__(self, parts: Sequence[FolderSource], *, name: str) -> None:
        """Take one or more folders, and what to call them together."""
        super().__init__(parts, name=name)
        self._folders = parts

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the parts of each folder; raises as `keyed_records` does."""
        self._check_keys()
        yield from super().parts(max_bytes)

    def records_from(self, position: SourcePosition) -> Generator[Record, None, None]:
        """Yield the records behind a position; raises as `keyed_records` does."""
        for _, record in self.keyed_records(position):
            yield record

    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[str, Record], None, None]:
        """Yield the key of each file behind a position, and its content.

        Raises:
            SourceError: Before anything is read, if two folders hold files of the same key.
        """
        self._check_keys()
        yield from self._given_by(_keyed_records, position or {})

    def _check_keys(self) -> None:
        # Each folder gives its keys in order, so equal ones meet, and none is held.
        before, holder = None, ""
        keys = [zip(folder.keys(), repeat(folder.shown)) for folder in self._folders]
        for key, path in merge(*keys, key=lambda pair: os.fsencode(pair[0])):
            if key == before:
                raise SourceError(
                    f"{holder} and {path} both hold {key}, and two records cannot have the same key; "
                    "prefix_keys=True puts the path of its folder before each key, and each folder can be named once",
                    path=path,
                )
            before, holder = key, path


def _keyed_records(source: KeyedSource, position: SourcePosition) -> Iterable[tuple[Any, Record]]:
    return source.keyed_records(position)
