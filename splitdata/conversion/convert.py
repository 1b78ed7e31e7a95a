"""Converts a source into a dataset, whole or not at all.

Readers see nothing of a conversion before its one commit at the end, so one that fails leaves no half dataset.

    source ──record by record──> SplitWriter ──end of the source──> one commit ──> ConversionReport
      │                  `─> progress, every 256 records and every MiB
      `─ in random order (shuffle.py) on request; without a writer (dry_run.py) on request;
         with commits on the way, from where an earlier call stood (resumable.py) on request
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import xxhash

from splitdata._place import dataset_place, is_url
from splitdata.conversion.conversion_log import ConversionLog, hash_of, metadata_of, position_in
from splitdata.conversion.dry_run import DryRun
from splitdata.conversion.record_feed import RecordFeed
from splitdata.conversion.resumable import ResumableConversion, bins_of_source
from splitdata.conversion.shuffle import shuffled
from splitdata.conversion.sources.choose import open_source
from splitdata.conversion.sources.records.dataset_source import DatasetSource
from splitdata.conversion.sources.seek import state_of
from splitdata.conversion.sources.source import metadata_in, storable
from splitdata.conversion.steps.failures import FailurePolicy
from splitdata.conversion.steps.stepped_source import stepped
from splitdata.conversion.watch import ConversionProgress, ConversionReport, ConversionWatch
from splitdata.dataset.writer import SplitWriter
from splitdata.order.permutation import derive_key
from splitdata.samples.declared_schema import declared_schema
from splitdata.samples.record_codecs import CODEC_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from splitdata.conversion.sources.choose import Named
    from splitdata.conversion.sources.source import RecordSource, SourcePosition
    from splitdata.conversion.steps.record_steps import StepFunction

__all__ = ["check_apart", "convert", "is_opened", "metadata_for"]

_DEFAULT_LEVEL: Final = 3


def convert(
    source: RecordSource | Named | Sequence[Named],
    dest: str | os.PathLike[str],
    *,
    bins: int | None = None,
    mode: Literal["create", "append", "overwrite"] = "create",
    compression: Literal["zstd"] | None = None,
    compression_level: int = _DEFAULT_LEVEL,
    dictionary: bool = False,
    group: int | None = None,
    durability: Literal["commit", "none"] = "commit",
    metadata: dict[str, Any] | None = None,
    schema: Any = None,  # types in the place of values, or any sample
    reproducible: bool = False,
    limit: int | None = None,
    shuffle: int | None = None,
    dry_run: bool = False,
    resume: bool = False,
    where: StepFunction | str | None = None,
    transform: StepFunction | str | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    quarantine: str | os.PathLike[str] | None = None,
    max_errors: int | None = None,
    workers: int = 1,
    progress: Callable[[ConversionProgress], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    single_writer: bool = False,
) -> ConversionReport:
    """Write all records of a source into a dataset and commit once, at the end.

    Files that are records get their paths as keys: relative to the folder that is read, or as they are
    named. A file that is named twice is an error.

    All or nothing: after any error, and after Ctrl-C, the dataset is as it was before. With `resume` it
    holds what was committed until then, and the same call goes on from there.

    Args:
        source: What `open_source` gave, or takes: a function that yields records, for one.
        dest: The dataset; not inside a folder that is read. Or its URL in an object store, as `SplitWriter` takes it:
            all of it waits in TMPDIR until the one commit.
        bins: As `SplitWriter` takes it, and so are the next four.
        mode: Whether there must be no dataset yet.
        compression: Of each record.
        compression_level: Of zstd.
        dictionary: Compress with what the first records have in common, where that pays.
        group: Records that are stored together, as `SplitWriter` takes it; with `resume` None stores each by itself.
        durability: Whether to wait for the medium.
        metadata: Stored with the dataset, with the codec of the records where they have one. None stores kind and
            name of the source as "source", except when appending, which leaves what is there.
        schema: What each sample must be, as `SplitWriter` takes it. None: the one that a dataset declares which is
            copied as it is.
        reproducible: Equal options and an equal source of equal name give equal files.
        limit: Take only so many records from the front.
        shuffle: Write the records in a random order that this seed and their number alone decide; every
            order is equally likely. About 256 MiB of memory are used for it; what does not fit waits in a
            temporary file beside `dest`, as large as all records uncompressed.
        dry_run: Read the source to its end and report what would be written, but write nothing.
        resume: Commit every 64 MiB and, unless reproducible, every second, with the position in the source;
            begin where there is no dataset, go on where an earlier call was interrupted or killed, and do
            nothing where it was finished. The last commit is read again, and compared with the dataset. Of files
            that are not compressed, and of folders, what comes before it is not read again; what is compressed
            is decompressed again from its beginning, and rows of CSV, and records of functions without a
            parameter `start`, are made again; none is written again. Not for standard input.
        where: Function of one record, or "module:function", which imports the module: whether to take it. Gets bytes,
            or what they hold where the records of the source are of a codec, such as samples.
        transform: Function, given in the same way, of a record that is taken: returns None for no record; a list, or
            an iterator, for many; anything else is one. Bytes are a record as they are, any other value but text is a
            sample; a dataset has one of both. One keeps the key of what it was made from, those of a list get
            "key#0", "key#1" and so on. `limit` counts what comes out.
        on_error: With "skip", records that `where` or `transform` raises for are left out, and counted.
        quarantine: Folder, empty or not there yet: such records are left out too, and each is put there as a file,
            with its number, key and error in another.
        max_errors: At most so many may be left out.
        workers: Processes that read the source in parts and do the steps, while this one numbers, writes and commits;
            the dataset is the same for every number. For files and folders, several at once; one file is cut if it is
            JSONL or text that is not compressed, Parquet, Arrow, zip or a dataset, and read by one process otherwise,
            as are functions and standard input. As many threads of this process compress. Functions must pickle
            (cloudpickle). What is ready before its turn waits in 64 MiB of memory, then beside `dest` in a temporary
            file of 8 GiB at most.
        progress: Called in this thread while records are written.
        storage_options, single_writer: Of the object store, as `SplitWriter` takes them.

    Raises:
        SchemaError: If a sample is not of the schema, naming field and record.
        TooManySkippedError: If more than `max_errors` records failed.
        Exception: What `where` and `transform` raise, with a note that names the record.
        StateMismatchError: If a conversion to resume had another source, which includes its time of change
            unless reproducible, or other options, or gives other records than those of its last commit.
        BlockingIOError: If a conversion to resume is still running.
        SourceError: If the source is damaged, truncated or of another kind.
        DatasetExistsError: If the mode does not allow what is there.
        ValueError, TypeError: If an argument is invalid; or to resume in an object store.
        StoreError: If the store fails.
        OSError: If reading or writing fails.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more records, got {limit}")
    # More than Python counts in a sequence is all of them.
    limit = None if limit is None or limit > sys.maxsize else limit
    if resume and (mode != "create" or shuffle is not None or dry_run):
        raise ValueError("resume goes with neither append, overwrite, shuffle nor dry_run")
    if shuffle is not None:
        derive_key(shuffle)
    dest = dataset_place(dest, "the dataset")
    if resume and is_url(dest):
        raise ValueError(
            f"{dest}: a conversion into an object store is one commit at its end, with nothing to go on from: leave "
            "out resume=True, or write a folder, and `splitdata copy` it"
        )
    source = cast("RecordSource", source) if is_opened(source) else open_source(cast("Named | Sequence[Named]", source))
    check_apart(source, dest, "dataset")
    failures = FailurePolicy(on_error, quarantine, max_errors, may_hold_files=resume)
    if failures.folder:
        check_apart(source, str(failures.folder), "folder for quarantine")
    # A dataset that is added to declares its own, and what a function makes may be anything.
    is_copied = mode != "append" and transform is None
    if schema is None and is_copied and isinstance(source, DatasetSource):
        schema = source.schema
    if where is not None or transform is not None:
        source = stepped(source, where, transform, failures)
    elif failures.skips:
        raise ValueError("on_error, quarantine and max_errors are for what where and transform fail on; give one")
    source = _read_by(workers, source, failures, dest, begun=position_in(dest) if resume else None)
    if mode == "append":
        _check_codec(source, dest, storage_options)
    watch = ConversionWatch(source, progress)
    if dry_run:
        codec = _codec_of(source).get("record_codec")
        trial = DryRun(
            dest,
            mode=mode,
            bins=bins,
            codec=codec if codec in CODEC_NAMES else None,
            storage_options=storage_options,
        )
        return _try_out(watch, dest, trial, limit=limit)
    if metadata is not None:
        metadata = _codec_of(source) | metadata
    elif mode != "append":
        metadata = metadata_for(source, shuffle)
    if shuffle is not None:
        source = shuffled(source, shuffle, folder=_folder_of(dest), limit=limit, tick=watch.report)
        watch.source = source
    output = _Output(
        dest=dest,
        bins=bins,
        compression=compression,
        compression_level=compression_level,
        dictionary=dictionary,
        group=group,
        durability=durability,
        metadata=metadata,
        reproducible=reproducible,
        schema=schema,
        num_threads=workers,
        storage_options=storage_options,
        single_writer=single_writer,
    )
    if resume:
        return _resume(watch, output, limit=limit)
    with output.open(source, mode=mode, bins=bins) as writer:
        with closing(RecordFeed(source, limit=limit)) as feed:
            feed.bind_for(writer)
            feed.write(writer, watch.watched(feed.records))
        positions = writer.commit()
        num_bins = writer.num_bins or 0
    return watch.final_report(dest, positions, num_bins=num_bins)


def _read_by(
    workers: int, source: RecordSource, failures: FailurePolicy, dest: str, *, begun: SourcePosition | None
) -> RecordSource:
    """Return the source as so many processes read it, from where a conversion to resume stands."""
    if workers < 1:
        raise ValueError(f"workers must be 1 or more processes, got {workers}")
    # At the first use: pools of processes load much that a program which only imports does not need.
    from splitdata.conversion.parallel.parallel_source import in_parallel

    return in_parallel(source, failures, num_workers=workers, folder=_folder_of(dest), begun=begun)


def _folder_of(dest: str) -> str:
    """Return the folder beside the dataset, for what does not fit into memory; of one in a store that of TMPDIR."""
    if is_url(dest):
        # Imported here, as most conversions write to folders.
        import tempfile

        return tempfile.gettempdir()
    return os.path.dirname(os.path.realpath(dest))  # noqa: PTH120  # a path of loops has no `resolve`


def _codec_of(source: RecordSource) -> dict[str, Any]:
    """Return what of the metadata of a source no others may take away: without it samples are bytes of no meaning."""
    codec = metadata_in(source).get("record_codec")
    return {} if codec is None else {"record_codec": codec}


def metadata_for(source: RecordSource, shuffle: int | None) -> dict[str, Any]:
    """Return those of the source, and where the records are from."""
    found: dict[str, Any] = {"kind": source.kind, "name": storable(source.name)}
    if shuffle is not None:
        found["shuffle"] = shuffle
    return metadata_in(source) | {"source": found}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Output:
    """The dataset that a conversion writes, and how; see `convert`."""

    dest: str
    bins: int | None
    compression: Literal["zstd"] | None
    compression_level: int
    dictionary: bool
    group: int | None
    durability: Literal["commit", "none"]
    metadata: dict[str, Any] | None
    reproducible: bool
    schema: Any
    num_threads: int
    storage_options: Mapping[str, Any] | None
    single_writer: bool

    def open(
        self, source: RecordSource, *, mode: Literal["create", "append", "overwrite", "resume"], bins: int | None
    ) -> SplitWriter:
        """Open the dataset for writing."""
        return SplitWriter(
            self.dest,
            bins=bins,
            mode=mode,
            compression=self.compression,
            compression_level=self.compression_level,
            compression_threads=self.num_threads,
            dictionary=self.dictionary,
            group=self.group,
            durability=self.durability,
            metadata=self.metadata,
            reproducible=source.identity() if self.reproducible else False,
            schema=self.schema,
            storage_options=self.storage_options,
            single_writer=self.single_writer,
        )

    def new_log(self, source: RecordSource, *, limit: int | None) -> ConversionLog:
        """Return the log of a resumable conversion that begins: all that its records and files depend on."""
        options = {
            "kind": source.kind,
            "name": storable(source.name),
            "bins": self.bins,
            "compression": self.compression,
            "level": self.compression_level if self.compression else None,
            "dictionary": self.dictionary,
            "limit": limit,
            "reproducible": self.reproducible,
            "hash of metadata": hash_of(self.metadata),
            "hash of schema": None if self.schema is None else xxhash.xxh3_64_hexdigest(declared_schema(self.schema)),
        }
        if self.group is not None:
            options["group"] = self.group
        # Equal sources of equal name, such as copies, give equal files, so their times are left out.
        return ConversionLog(source=state_of(source, with_times=not self.reproducible), options=options)


def _resume(watch: ConversionWatch, output: _Output, *, limit: int | None) -> ConversionReport:
    """Begin a conversion that can be resumed, or go on with one; nothing where it was finished."""
    source, dest = watch.source, output.dest
    log = output.new_log(source, limit=limit)
    conversion = ResumableConversion(
        source, dest, log, limit=limit, by_time=not output.reproducible, group=output.group or 1
    )
    if conversion.is_finished:
        return watch.resumed_report(dest, conversion.finished_run())
    with output.open(source, mode="resume", bins=output.bins or bins_of_source(source)) as writer:
        return watch.resumed_report(dest, conversion.convert(writer, watch.watched, lambda: watch.num_bytes))


def _try_out(watch: ConversionWatch, dest: str, trial: DryRun, *, limit: int | None) -> ConversionReport:
    """Read a source to its end, and report what would be written."""
    with closing(RecordFeed(watch.source, limit=limit)) as feed:
        trial.take(watch.watched(feed.records), feed.next_key)
    report = watch.final_report(dest, trial.positions, num_bins=trial.num_bins)
    return replace(report, is_dry_run=True, first_records=tuple(trial.first))


def is_opened(source: object) -> bool:
    """Say whether this is a source already; a class of sources is not a source."""
    return hasattr(source, "identity") and not isinstance(source, type)


def check_apart(source: RecordSource, dest: str, what: str) -> None:
    """Raise if what is written would lie within what is read, and so be read itself."""
    if is_url(dest):
        return
    target = Path(os.path.realpath(dest))
    for path in source.inputs:
        # A loop of links is an error of who reads it, which names it.
        if target.is_relative_to(os.path.realpath(path)):
            raise ValueError(f"the {what} {dest} would lie inside the source {path}; choose a place outside of it")


def _check_codec(source: RecordSource, dest: str, storage_options: Mapping[str, Any] | None) -> None:
    """Raise if plain records would be added to samples, which could then not be read as such."""
    metadata, _ = metadata_of(dest, storage_options) or ({}, 0)
    # A function may well encode its samples by itself.
    if (
        metadata.get("record_codec") == "sample" != metadata_in(source).get("record_codec")
        and source.kind != "callable"
    ):
        raise ValueError(f"{dest} holds samples, and the records of {source.name} are not; choose another place")
