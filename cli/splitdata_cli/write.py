"""`splitdata write SOURCE DEST`: any source of records becomes a dataset, whole or not at all."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from splitdata_cli._import import function_named, working_folder_on_path
from splitdata_cli._progress import bytes_progress, write_progress
from splitdata_cli._records import print_records
from splitdata_cli._render import escape, print_json, print_line
from splitdata_cli._shard import shard_named, show_units, unit_writer
from splitdata_cli._store import single_writer_option, store_option
from splitdata_cli._write_report import as_dict, first_rows, summary
from splitdata_cli.verify import DAMAGED, report_as_dict, show_report

if TYPE_CHECKING:
    from splitdata import VerifyReport

__all__ = ["write"]

Mode = Literal["create", "append", "overwrite"]


class _KindName(click.ParamType[str]):
    """A kind of source; the names are asked for when one is given, as packages may bring their own."""

    name = "kind"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        from splitdata import source_kinds

        return f"[{'|'.join(source_kinds())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from splitdata import source_kinds

        if value not in source_kinds():
            self.fail(f"{value!r} is none of {', '.join(source_kinds())}", param, ctx)
        return value


@click.command(short_help="Convert files, lines or records into a dataset.")
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("dest")
@click.option("--bins", type=click.IntRange(min=1), help="Bin files. Default: 1 up to 64 MiB of records, 64 for more.")
@click.option(
    "--from",
    "kind",
    type=_KindName(),
    default="auto",
    show_default=True,
    help="How to find records in the source.",
)
@click.option("--compression", type=click.Choice(["none", "zstd"]), default="none", show_default=True)
@click.option("--level", type=click.IntRange(-100, 22), help="Of zstd. Default: 3.")
@click.option("--dictionary", is_flag=True, help="With zstd: use what small records have in common, if that pays.")
@click.option(
    "--group",
    type=click.IntRange(1, 65536),
    help="Records that are stored together, a power of two. Default: small ones in groups; with --resume 1.",
)
@click.option("--append", is_flag=True, help="Add to the dataset in DEST.")
@click.option(
    "--overwrite", is_flag=True, help="Replace the dataset in DEST, at the end; nothing else is ever replaced."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Commit on the way, and go on where an earlier call of the same kind was interrupted or killed.",
)
@click.option(
    "--schema",
    metavar="FILE_OR_JSON",
    help="""What each sample must be, as {"image": "uint8[?,?,3]", "label": "int"}; one that is not is an error.""",
)
@click.option("--where", metavar="MODULE:FUNCTION", help="Take only records that this function of each says yes to.")
@click.option(
    "--transform",
    metavar="MODULE:FUNCTION",
    help="Write what this function makes of each record or sample: None, one, or a list of many.",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="Whether to leave out, and count, records that these functions fail on.",
)
@click.option("--quarantine", metavar="FOLDER", help="Leave them out, and put each there as a file.")
@click.option("--max-errors", type=click.IntRange(min=0), help="Leave out so many at most.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that read parts of the source and run --where and --transform; DEST is the same for every number.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Write the share of process I of N, from 0, for `splitdata commit`; env: as SLURM (--array) or torchrun say.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="ray: write units as tasks of a Ray cluster, and commit them.",
)
@click.option("--address", help="Of the Ray cluster. Default: that of RAY_ADDRESS, or one on this machine.")
@click.option("--limit", type=click.IntRange(min=1), help="Take only so many records from the front.")
@click.option(
    "--shuffle",
    type=click.IntRange(min=0),
    metavar="SEED",
    help="Write in a random order that SEED alone decides; needs room beside DEST for all records once more.",
)
@click.option("--reproducible", is_flag=True, help="Equal sources and options give equal files, byte by byte.")
@click.option(
    "--durability",
    type=click.Choice(["commit", "none"]),
    default="commit",
    show_default=True,
    help="Whether to wait until the disk has it all.",
)
@click.option("--validate", is_flag=True, help="Refuse lines of JSONL that are not JSON.")
@click.option("--column", help="Take one column of CSV, TSV or a table by its name, as it is, instead of whole rows.")
@click.option("--delimiter", help="Between the fields of CSV or TSV.")
@click.option("--no-header", is_flag=True, help="The first row of CSV or TSV is a record; columns have numbers from 0.")
@click.option("--no-quotes", is_flag=True, help="Quotes mean nothing in this CSV or TSV.")
@click.option("--encoding", default="utf-8", show_default=True, help="Of CSV or TSV; records are UTF-8 always.")
@click.option(
    "--from-bins",
    is_flag=True,
    help="Of a directory of splitdataloader, take what its index does not list too, and leave out what is damaged.",
)
@click.option("--typed", is_flag=True, help="Of JSONL, CSV, TSV and TFRecord: records are samples with types.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="NAME=TYPE",
    help="Type of a field of JSONL or a column of CSV: int, float, bool, str, json, float32, float32[], ...",
)
@click.option("--dtype", help="Type of the tokens in a flat file, such as u16 or u32.")
@click.option("--block", type=click.IntRange(min=1), help="Of a flat file of tokens: how many are a sample.")
@click.option("--follow-links", is_flag=True, help="Of folders: take what symbolic links lead to, by the link's path.")
@click.option(
    "--prefix-keys",
    is_flag=True,
    help="Of folders: keys begin with SOURCE as it is named; several folders may then hold files of the same name.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Read SOURCE to its end, tell what would be written, show the first records; write nothing.",
)
@single_writer_option
@click.option("--verify", is_flag=True, help="Read DEST back at the end; exit code 1 if it is damaged.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
@click.pass_context
def write(
    ctx: click.Context,
    sources: tuple[str, ...],
    dest: str,
    bins: int | None,
    kind: str,
    compression: Literal["none", "zstd"],
    level: int | None,
    dictionary: bool,
    group: int | None,
    append: bool,
    overwrite: bool,
    resume: bool,
    schema: str | None,
    where: str | None,
    transform: str | None,
    on_error: Literal["raise", "skip"],
    quarantine: str | None,
    max_errors: int | None,
    workers: int,
    shard: str | None,
    engine: Literal["local", "ray"],
    address: str | None,
    limit: int | None,
    shuffle: int | None,
    reproducible: bool,
    durability: Literal["commit", "none"],
    validate: bool,
    column: str | None,
    delimiter: str | None,
    no_header: bool,
    no_quotes: bool,
    encoding: str,
    from_bins: bool,
    typed: bool,
    types: tuple[str, ...],
    dtype: str | None,
    block: int | None,
    follow_links: bool,
    prefix_keys: bool,
    dry_run: bool,
    single_writer: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Convert SOURCE into the dataset DEST.

    SOURCE is a folder (each file is a record; hidden files are left out, and links without --follow-links), a zip or
    tar archive of files, WebDataset shards (a sample for each stem), Parquet, Arrow and Feather files and folders of
    save_to_disk (a sample for each row), a folder of MosaicML's MDSWriter or of LitData (a sample for each of theirs),
    an npy, npz, HDF5 or Zarr of arrays (a sample for each row), token files of Megatron or flat ones with --from tokens
    (a sample for each document or block), an LMDB (each value is a record, with its key), a TFRecord or ArrayRecord
    file (each payload is a record), a BinaryBlob, a directory of splitdataloader 0.0.1, another dataset, a text or
    JSONL file (each line is a record), a CSV or TSV file (each row is a record, as a JSON object), - for standard
    input (lines, or with --from prefixed records that follow their length as u32 little-endian), or with --from
    callable a Python function that yields bytes, as module:function: this imports the module, which runs it. Files may
    be plain, .gz, .zst, .bz2 or .xz. What holds records of its own is never taken as files unless --from says so.

    With --from imagefolder SOURCE is a folder with a folder of pictures for each class: samples with the bytes of the
    picture as `image`, the `label`, and the `path`; the metadata have the class_names in the order of their labels.

    Files keep their paths as keys: in a folder relative to it, else as they are named.

    --where and --transform import the functions that they name, which runs their modules. They get the bytes of a
    record, or the sample. --transform gives bytes or a sample, None for no record, or a list of several.

    Several sources, and those that a pattern such as "data/*.jsonl" matches, are read one after another, with the
    same records and keys as each alone.
    Of files whose names tell of no lines or rows, each is a record, and so is each that @LIST names, a
    path a line.

    All or nothing: after an error or Ctrl-C, DEST is as it was before. With --resume it keeps what came until then,
    at most 64 MiB or a second less; the same command goes on from there, and does nothing once all is done. Its last
    commit is read again, which proves where it stands; what comes before that is not, if it is not compressed, CSV,
    or made by a function without a parameter `start`.

    DEST may be the URL of an object store (s3://, gs://, az://). All of it waits in TMPDIR until its one commit, so
    --resume, --shard and --engine ray are for folders, and `splitdata copy` brings a folder into a store.

    With --shard I/N this process writes its share alone, in units of about 256 MiB, for which all N processes see the
    same SOURCE and are called alike; `splitdata commit DEST` makes all of them visible in the order of SOURCE. With
    --engine ray the units are tasks of a Ray cluster, and are committed at the end. --resume leaves out units that are
    written.
    """
    from splitdata import convert, open_source, source_kinds

    if append and overwrite:
        raise click.UsageError("--append and --overwrite exclude each other")
    if resume and ((append and shard is None and engine == "local") or overwrite or shuffle is not None or dry_run):
        raise click.UsageError("--resume goes with neither --append, --overwrite, --shuffle nor --dry-run")
    if level is not None and compression == "none":
        raise click.UsageError("--level is for --compression zstd")
    if dictionary and compression == "none":
        raise click.UsageError("--dictionary is for --compression zstd")
    share = None if shard is None else shard_named(shard)
    if address is not None and engine != "ray":
        raise click.UsageError("--address is for --engine ray")
    if share and engine == "ray":
        raise click.UsageError("--shard is for processes that you start, --engine ray starts its own")
    in_units = share is not None or engine == "ray"
    if in_units and (overwrite or shuffle is not None or dry_run or limit or verify or quarantine or workers > 1):
        raise click.UsageError(
            "--shard and --engine ray go with neither --overwrite, --shuffle, --dry-run, --limit, --verify, "
            "--quarantine nor --workers"
        )
    if in_units and max_errors is not None:
        raise click.UsageError("--max-errors counts in one process, and --shard and --engine ray are for several")
    if dry_run and verify:
        raise click.UsageError("--dry-run writes nothing to --verify")
    mode: Mode = "append" if append else "overwrite" if overwrite else "create"
    # Code runs only on request: a name that comes from a folder or a pattern never runs any.
    if kind == "callable" or where or transform:
        if engine == "ray":
            # Before a folder of that name in the working folder can be taken for it.
            _load_ray()
        # Workers import the functions too.
        ctx.with_resource(working_folder_on_path())
    steps = [
        None if named is None else function_named(named, option)
        for named, option in ((where, "--where"), (transform, "--transform"))
    ]
    opened = open_source(
        sources[0] if len(sources) == 1 else sources,
        kind=kind,
        validate=validate,
        column=column,
        # A character that a shell cannot type easily.
        delimiter="\t" if delimiter == r"\t" else delimiter,
        header=not no_header,
        quotes=not no_quotes,
        encoding=encoding,
        from_bins=from_bins,
        typed=typed,
        types=_types_of(types),
        dtype=dtype,
        block=block,
        prefix_keys=prefix_keys,
        follow_links=follow_links,
    )
    if kind == "auto" and not as_json and (reason := source_kinds().get(opened.kind)):
        notice = f"{escape(opened.name)} is read as {opened.kind}: {reason}; --from says otherwise"
        click.echo(notice, err=True)
    started = time.monotonic()
    if in_units:
        with write_progress(opened, None, is_shuffled=False) as progress:
            written = unit_writer(share, address)(
                opened,
                dest,
                bins=bins,
                append=append,
                compression=None if compression == "none" else compression,
                compression_level=3 if level is None else level,
                dictionary=dictionary,
                group=group,
                durability=durability,
                schema=_schema_in(schema),
                reproducible=reproducible,
                resume=resume,
                where=steps[0],
                transform=steps[1],
                on_error=on_error,
                progress=progress,
            )
        show_units(written, dest, share, time.monotonic() - started, as_json=as_json)
        return
    with write_progress(opened, limit, is_shuffled=shuffle is not None and not dry_run) as progress:
        report = convert(
            opened,
            dest,
            bins=bins,
            mode=mode,
            compression=None if compression == "none" else compression,
            compression_level=3 if level is None else level,
            dictionary=dictionary,
            group=group,
            durability=durability,
            reproducible=reproducible,
            limit=limit,
            shuffle=shuffle,
            dry_run=dry_run,
            resume=resume,
            schema=_schema_in(schema),
            where=steps[0],
            transform=steps[1],
            on_error=on_error,
            quarantine=quarantine,
            max_errors=max_errors,
            workers=workers,
            progress=progress,
            single_writer=single_writer,
        )
    seconds = time.monotonic() - started
    if not as_json:
        print_line(summary(report, dest, seconds))
        print_records(first_rows(report))
    verified = _verified(dest) if verify else None
    if as_json:
        print_json(as_dict(report, seconds) | ({"verified": report_as_dict(*verified)} if verified else {}))
    elif verified:
        show_report(verified[0], dest, verified[1])
    if verified and not verified[0].is_intact:
        ctx.exit(DAMAGED)


def _schema_in(given: str | None) -> Any:  # JSON
    """Return the schema that is given as JSON, or in a file."""
    if given is None:
        return None
    try:
        text = given if given.lstrip()[:1] in ("{", "[", '"') else Path(given).read_text(encoding="utf-8")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--schema is no JSON: {error}") from None


def _verified(dest: str) -> tuple[VerifyReport, float]:
    """Verify what was written; returns the seconds that it took, too."""
    from splitdata import verify

    started = time.monotonic()
    with bytes_progress("verifying") as progress:
        report = verify(dest, progress=progress)
    return report, time.monotonic() - started


def _load_ray() -> None:
    try:
        importlib.import_module("ray")
    except ModuleNotFoundError:
        raise click.UsageError("--engine ray needs ray: pip install 'splitdata[ray]'") from None


def _types_of(texts: tuple[str, ...]) -> dict[str, str] | None:
    """Return the types that are given as NAME=TYPE; None if there are none."""
    pairs = [text.rpartition("=") for text in texts]
    if not all(name and kind for name, _, kind in pairs):
        raise click.UsageError("--type is given as NAME=TYPE")
    return {name: kind for name, _, kind in pairs} or None
