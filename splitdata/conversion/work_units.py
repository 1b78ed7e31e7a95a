"""Cuts a conversion into units before anything is written: equal on every machine, by the source and the options alone.

Each unit becomes one part of the dataset, whose name says which conversion it belongs to, and how many units that has.

    source ──parts of 256 MiB or more──> unit 0 | unit 1 | unit 2 | ...
    hash of source and options ──> "<32 hex>/000001/000064"         whoever writes unit 1 of 64 gives it this name
"""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import xxhash

from splitdata.conversion.conversion_log import hash_of
from splitdata.conversion.record_feed import RecordFeed
from splitdata.conversion.sources.parts import has_parts
from splitdata.conversion.sources.seek import state_of
from splitdata.conversion.sources.source import metadata_in, storable
from splitdata.conversion.steps.failures import FailurePolicy
from splitdata.conversion.steps.stepped_source import SteppedSource
from splitdata.conversion.watch import ConversionWatch
from splitdata.dataset.part_writer import open_part
from splitdata.errors import SourceError
from splitdata.samples.declared_schema import declared_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from splitdata.conversion.sources.parts import PartedSource
    from splitdata.conversion.sources.source import RecordSource
    from splitdata.conversion.watch import ConversionProgress

__all__ = ["UnitOptions", "UnitReport", "WorkUnit", "WorkUnits", "unit_of"]

UNIT_BYTES: Final = 256 << 20
# More units than this are made larger: each will be a segment.
_MOST_UNITS: Final = 4096
# Where there are fewer units, each has several bins, so that the dataset has about so many.
_BINS: Final = 64
_NAME: Final = re.compile(r"([0-9a-f]{32})/([0-9]{6,9})/([0-9]{6,9})")


def unit_of(part: str) -> tuple[str, int, int] | None:
    """Return the conversion, the number of the unit, and how many there are, by the name of a part; None if no unit's.

    Names of the units of one conversion are sorted as their numbers are.
    """
    match = _NAME.fullmatch(part)
    if match is None:
        return None
    number, count = int(match[2]), int(match[3])
    return (match[1], number, count) if number < count else None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitOptions:
    """How the units of a conversion are written; as `convert` takes them."""

    dest: str
    bins: int | None
    compression: Literal["zstd"] | None
    compression_level: int
    dictionary: bool
    group: int | None
    durability: Literal["commit", "none"]
    metadata: dict[str, Any]
    schema: Any
    reproducible: bool

    def told(self) -> dict[str, Any]:
        """Return what records and files depend on, as JSON."""
        return {
            "bins": self.bins,
            "compression": self.compression,
            "level": self.compression_level if self.compression else None,
            "dictionary": self.dictionary,
            "group": self.group,
            "reproducible": self.reproducible,
            "hash of metadata": hash_of(self.metadata),
            "hash of schema": None if self.schema is None else xxhash.xxh3_64_hexdigest(declared_schema(self.schema)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport:
    """What writing one unit has made.

    Attributes:
        descriptor: Of the part.
        num_bytes: Of its records.
        skipped: What the source left out, with the number of each.
    """

    descriptor: dict[str, Any]
    num_bytes: int
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkUnit:
    """One unit: it can be sent to any machine that sees source and dataset.

    Attributes:
        part: Name of its part.
        source: What it reads, steps and all.
        options: How it is written.
        num_bins: Of its segment; None where its records decide.
    """

    part: str
    source: RecordSource
    options: UnitOptions
    num_bins: int | None

    @property
    def num_bytes(self) -> int | None:
        """Bytes that it will read, None where that is unknown."""
        return self.source.num_bytes

    def write(self, progress: Callable[[ConversionProgress], None] | None = None) -> UnitReport:
        """Write the unit as a part, whoever else has done so.

        Args:
            progress: As `convert` takes it, for this unit alone.

        Raises:
            What `convert` raises for a source and its steps, with a note that names the unit.
        """
        options = self.options
        watch = ConversionWatch(self.source, progress)
        try:
            with (
                open_part(
                    options.dest,
                    self.part,
                    bins=self.num_bins,
                    compression=options.compression,
                    compression_level=options.compression_level,
                    dictionary=options.dictionary,
                    durability=options.durability,
                    metadata=options.metadata,
                    reproducible=options.reproducible,
                    group=options.group,
                    schema=options.schema,
                ) as writer,
                closing(RecordFeed(self.source)) as feed,
            ):
                feed.bind_for(writer)
                feed.write(writer, watch.watched(feed.records))
        except Exception as error:
            error.add_note(f"in work unit {self.part}, whose records are numbered from its beginning")
            raise
        watch.report()
        return UnitReport(descriptor=writer.descriptor, num_bytes=watch.num_bytes, skipped=dict(self.source.skipped))


class WorkUnits:
    """All units of a conversion.

    Attributes:
        kind: How the source is read.
        options: How units are written; their metadata name the codec of the records, if they have one.
        job: 32 hex digits, equal for equal source, options and cut; empty while they are counted.
        count: How many units there are.
    """

    def __init__(self, source: RecordSource, options: UnitOptions, *, skips: bool = False) -> None:
        """Cut a source; costs a walk over its files, and reads no more of them than that needs.

        Args:
            source: What is read, steps and all.
            options: How it is written.
            skips: Records that the steps fail on are left out.

        Raises:
            SourceError: If it can be read only once, as standard input.
            OSError: If it cannot be read.
        """
        try:
            state = state_of(source, with_times=not options.reproducible)
        except ValueError:
            raise SourceError("standard input can be read by one process only: write it without shards") from None
        self._failures: Literal["raise", "skip"] = "skip" if skips else "raise"
        self._max_bytes = max(UNIT_BYTES, (source.num_bytes or 0) // _MOST_UNITS)
        self._source, self._steps = source, None
        if isinstance(source, SteppedSource):
            self._source = source.source
            with closing(self._pieces()) as pieces:
                self._steps = source.settled_by(pieces, FailurePolicy(self._failures)).settled_steps()
        self.options = options
        self.kind = source.kind
        self.job, self.count = "", 0
        codec: str | None = None
        for unit in self:
            codec = metadata_in(unit.source).get("record_codec")
            self.count += 1
        if codec is not None:
            self.options = replace(options, metadata={"record_codec": codec} | options.metadata)
        told = {
            "state": state,
            "kind": source.kind,
            "name": storable(source.name),
            "options": self.options.told(),
            "on error": self._failures,
            "bytes of a unit": self._max_bytes,
            "units": self.count,
        }
        self.job = xxhash.xxh3_128_hexdigest(json.dumps(told, sort_keys=True).encode())

    def __iter__(self) -> Iterator[WorkUnit]:
        """Yield the units in their order."""
        num_bins = self.options.bins or (max(1, _BINS // self.count) if self.count > 1 else None)
        with closing(self._pieces()) as pieces:
            for number, piece in enumerate(pieces):
                if self._steps is not None:
                    piece = SteppedSource(piece, self._steps, FailurePolicy(self._failures))
                yield WorkUnit(part=self.part(number), source=piece, options=self.options, num_bins=num_bins)

    def part(self, number: int) -> str:
        """Return the name of the part that a unit becomes."""
        return f"{self.job}/{number:06d}/{self.count:06d}"

    def _pieces(self) -> Generator[RecordSource, None, None]:
        if not has_parts(self._source):
            yield self._source
            return
        with closing(cast("PartedSource", self._source).parts(self._max_bytes)) as pieces:
            yield from pieces
