"""One conversion shared by many processes: each writes its units as parts, then one commit lists them all.

    write_shard(source, dest, (0, 3))   units 0, 3, 6 ...  ─┐
    write_shard(source, dest, (1, 3))   units 1, 4, 7 ...  ─┼─ parts ──> commit_shards(dest): all there? one commit
    write_shard(source, dest, (2, 3))   units 2, 5, 8 ...  ─┘

Units do not depend on how many processes share them, so the dataset is the same for every number, and a part that two
of them have written counts once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from splitdata._local_path import local_path
from splitdata._shown import shown
from splitdata.conversion.conversion_log import metadata_of
from splitdata.conversion.convert import check_apart, is_opened, metadata_for
from splitdata.conversion.sources.choose import open_source
from splitdata.conversion.sources.records.dataset_source import DatasetSource
from splitdata.conversion.steps.failures import FailurePolicy
from splitdata.conversion.steps.stepped_source import stepped
from splitdata.conversion.watch import ConversionProgress
from splitdata.conversion.work_units import UnitOptions, WorkUnits, unit_of
from splitdata.dataset.parts.commit_parts import commit_parts, part_names, waiting_parts
from splitdata.errors import DatasetExistsError, DatasetNotFoundError, UnfinishedError

if TYPE_CHECKING:
    import os

    from splitdata.conversion.sources.choose import Named
    from splitdata.conversion.sources.source import RecordSource
    from splitdata.conversion.steps.record_steps import StepFunction
    from splitdata.conversion.work_units import UnitReport
    from splitdata.dataset.parts.commit_parts import PartsReport

__all__ = ["ShardReport", "commit_shards", "opened_units", "unfinished_units", "write_shard"]

_DEFAULT_LEVEL: Final = 3
_MOST_NAMED: Final = 10
_JOB: Final = re.compile(r"[0-9a-f]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """The report of `write_shard`.

    Attributes:
        path: The dataset, as an absolute path.
        kind: How the source was read.
        job: The conversion: 32 hex digits, the same in all of its processes.
        num_units: Of the whole conversion.
        num_written: Units that this call has written.
        num_finished: Units of this process that were written before.
        num_records: Written by this call.
        num_bytes: Of these.
        skipped: What the source left out in them: what each thing is, and how many there were.
    """

    path: str
    kind: str
    job: str
    num_units: int
    num_written: int
    num_finished: int
    num_records: int
    num_bytes: int
    skipped: Mapping[str, int] = field(default_factory=dict)


def write_shard(
    source: RecordSource | Named | Sequence[Named],
    dest: str | os.PathLike[str],
    shard: tuple[int, int],
    *,
    bins: int | None = None,
    append: bool = False,
    compression: Literal["zstd"] | None = None,
    compression_level: int = _DEFAULT_LEVEL,
    dictionary: bool = False,
    group: int | None = None,
    durability: Literal["commit", "none"] = "commit",
    metadata: dict[str, Any] | None = None,
    schema: Any = None,  # types in the place of values, or any sample
    reproducible: bool = False,
    resume: bool = False,
    where: StepFunction | str | None = None,
    transform: StepFunction | str | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    progress: Callable[[ConversionProgress], None] | None = None,
) -> ShardReport:
    """Write this process's share of a conversion, as parts of a dataset that `commit_shards` makes visible.

    The source is cut into units of 256 MiB or more: pieces of folders, lists, lines, tables and datasets as `convert`
    cuts them for its workers; each other file is one; what cannot be cut is one unit. Process `i` of `n` writes the
    units whose numbers leave the rest `i` when divided by `n`. All processes must see the same source, unchanged, and
    be called alike; `dest` is a folder that they share. Each unit becomes one segment. Records and their order are
    those of `convert` with the same arguments, whatever `n` is; with `reproducible` so are all files for every `n`.

    Args:
        source: As `convert` takes it; not standard input.
        dest: The dataset; not inside a folder that is read.
        shard: Number of this process, from 0, and how many there are.
        bins: Of each unit. None: so many that the dataset has about 64, or one for each unit.
        append: Add to a dataset that exists.
        compression: As `convert` takes it, and so are all others that are not named here.
        compression_level: Of zstd.
        dictionary: For each unit one.
        group: Records that are stored together.
        durability: Whether to wait for the medium.
        metadata: The commit adds them to the dataset's.
        schema: What each sample must be.
        reproducible: Equal options and an equal source of equal name give equal files; commit with it, too.
        resume: Leave out units that are written, by whichever process: a job that was killed is called again.
        where: Which records to take.
        transform: What becomes of them.
        on_error: With "skip" records that these fail on are left out, and counted.
        progress: Called in this thread; numbers are of this process.

    Raises:
        DatasetExistsError: If there is a dataset, or units of this process are written, and neither `append` nor
            `resume` says that this is right.
        ValueError: If `shard` is invalid.
        What `convert` raises, with a note that names the unit.
    """
    index, count = _checked_shard(shard)
    units = opened_units(
        source,
        dest,
        bins=bins,
        append=append,
        compression=compression,
        compression_level=compression_level,
        dictionary=dictionary,
        group=group,
        durability=durability,
        metadata=metadata,
        schema=schema,
        reproducible=reproducible,
        where=where,
        transform=transform,
        on_error=on_error,
    )
    wanted = unfinished_units(units, resume=resume, numbers=range(index, units.count, count))
    tally = _Tally(progress)
    for unit in islice(units, index, None, count):
        if unit.part in wanted:
            tally.add(unit.write(tally.of_unit))
    return ShardReport(
        path=units.options.dest,
        kind=units.kind,
        job=units.job,
        num_units=units.count,
        num_written=tally.num_units,
        num_finished=len(range(index, units.count, count)) - tally.num_units,
        num_records=tally.num_records,
        num_bytes=tally.num_bytes,
        skipped=dict(tally.skipped),
    )


def opened_units(
    source: RecordSource | Named | Sequence[Named],
    dest: str | os.PathLike[str],
    *,
    bins: int | None,
    append: bool,
    compression: Literal["zstd"] | None,
    compression_level: int,
    dictionary: bool,
    group: int | None,
    durability: Literal["commit", "none"],
    metadata: dict[str, Any] | None,
    schema: Any,  # as `convert` takes it
    reproducible: bool,
    where: StepFunction | str | None,
    transform: StepFunction | str | None,
    on_error: Literal["raise", "skip"],
) -> WorkUnits:
    """Cut a conversion into its units, once it is clear that they may be written there; see `write_shard`."""
    dest = local_path(dest, "the dataset")
    opened = cast("RecordSource", source) if is_opened(source) else open_source(cast("Named | Sequence[Named]", source))
    check_apart(opened, dest, "dataset")
    if schema is None and transform is None and not append and isinstance(opened, DatasetSource):
        schema = opened.schema
    stated = metadata if metadata is not None else {} if append else metadata_for(opened, None)
    skips = FailurePolicy(on_error).skips
    if where is not None or transform is not None:
        opened = stepped(opened, where, transform, FailurePolicy(on_error))
    elif skips:
        raise ValueError("on_error is for what where and transform fail on; give one")
    options = UnitOptions(
        dest=dest,
        bins=bins,
        compression=compression,
        compression_level=compression_level,
        dictionary=dictionary,
        group=group,
        durability=durability,
        metadata=stated,
        schema=schema,
        reproducible=reproducible,
    )
    units = WorkUnits(opened, options, skips=skips)
    if not append and metadata_of(dest) is not None and not _is_of(part_names(dest), units.job):
        raise DatasetExistsError(
            f"{dest} is a splitdata dataset; append=True adds to it, or choose another place", path=dest
        )
    return units


def unfinished_units(units: WorkUnits, *, resume: bool, numbers: range) -> set[str]:
    """Return the names of those units of some numbers that are to be written.

    Raises:
        DatasetExistsError: If some are written already, and this is not a call that goes on.
    """
    wanted = {units.part(number) for number in numbers}
    written = wanted & part_names(units.options.dest)
    if written and not resume:
        raise DatasetExistsError(
            f"{len(written)} of {len(wanted)} units of this conversion are written in {units.options.dest}; "
            "resume=True writes the others",
            path=units.options.dest,
        )
    return wanted - written


def commit_shards(dest: str | os.PathLike[str], *, job: str | None = None, reproducible: bool = False) -> PartsReport:
    """Make visible what all processes of a conversion have written with `write_shard`, in one commit.

    Called again it does nothing.

    Args:
        dest: The dataset.
        job: Which conversion, by the first of its 32 digits; needed where units of several wait.
        reproducible: As for `write_shard`.

    Raises:
        UnfinishedError: If units are missing; it names them. Nothing was changed.
        DatasetNotFoundError: If no conversion was begun there.
        ValueError: If several wait, or none is called so.
        What `commit_parts` raises.
    """
    dest = local_path(dest, "the dataset")
    waiting: defaultdict[tuple[str, int], dict[int, dict[str, Any]]] = defaultdict(dict)
    for descriptor in waiting_parts(dest):
        if found := unit_of(descriptor["part"]):
            # Of several attempts the first by its segment: all hold the same.
            waiting[found[0], found[2]].setdefault(found[1], descriptor)
    committed = {found[0] for one in part_names(dest) if (found := unit_of(one))} if Path(dest).is_dir() else set()
    if job is not None:
        if not _JOB.fullmatch(job):
            raise ValueError(f"job must be up to 32 hexadecimal digits, got {shown(job)}")
        waiting = defaultdict(dict, {key: units for key, units in waiting.items() if key[0].startswith(job)})
        committed = {one for one in committed if one.startswith(job)}
    if len(waiting) > 1:
        told = "; ".join(f"{name}: {len(units)} of {count} units" for (name, count), units in waiting.items())
        raise ValueError(
            f"units of {len(waiting)} conversions wait in {dest}: {told}. Processes of one conversion must see "
            "the same source and be called alike; if these are several, say which by job=DIGITS"
        )
    if not waiting:
        if committed:
            return commit_parts(dest, [], reproducible=reproducible)
        raise DatasetNotFoundError(
            f"no units {'of that conversion ' if job else ''}wait in {dest}: `splitdata write SOURCE {dest} --shard "
            "I/N` writes them",
            path=dest,
        )
    (((_, count), units),) = waiting.items()
    missing = [number for number in range(count) if number not in units]
    if missing:
        named = ", ".join(map(str, missing[:_MOST_NAMED])) + (", ..." if len(missing) > _MOST_NAMED else "")
        raise UnfinishedError(
            f"{len(missing)} of {count} units are not written in {dest}: {named}; nothing was committed: run the "
            "shards that are missing, or any number of them with resume=True",
            numbers=tuple(missing[:_MOST_NAMED]),
        )
    return commit_parts(dest, [units[number] for number in range(count)], reproducible=reproducible)


def _is_of(names: set[str], job: str) -> bool:
    return any(found is not None and found[0] == job for found in map(unit_of, names))


def _checked_shard(shard: tuple[int, int]) -> tuple[int, int]:
    index, count = shard
    if type(index) is not int or type(count) is not int or not 0 <= index < count:
        raise ValueError(f"shard must be a number from 0 and how many there are, such as (0, 8), got {shard!r}")
    return index, count


class _Tally:
    """Adds up what the units of one process are."""

    def __init__(self, progress: Callable[[ConversionProgress], None] | None) -> None:
        self.num_units = 0
        self.num_records = 0
        self.num_bytes = 0
        self.skipped: Counter[str] = Counter()
        self._progress = progress
        self._source_bytes = 0
        self._newest = 0

    def of_unit(self, at: ConversionProgress) -> None:
        """Tell how far it has come, given the progress of one unit."""
        self._newest = at.source_bytes
        if self._progress is not None:
            self._progress(
                ConversionProgress(
                    self.num_records + at.num_records,
                    self.num_bytes + at.num_bytes,
                    self._source_bytes + at.source_bytes,
                )
            )

    def add(self, report: UnitReport) -> None:
        """Count a unit that is done."""
        self.num_units += 1
        self.num_records += report.descriptor["records"]
        self.num_bytes += report.num_bytes
        self.skipped.update(report.skipped)
        self._source_bytes += self._newest
