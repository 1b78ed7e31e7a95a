"""The program `splitdata`: its commands, one module each.

The library is loaded by the command that runs, not here: `--help` and `--version` answer at once.

    splitdata write SOURCE DEST     files, lines, JSONL, a pipe, a function -> dataset
    splitdata info DIR              what a dataset is
    splitdata head DIR              its first records
    splitdata cat DIR I...          records by position
    splitdata export DIR DEST       records in another format
    splitdata extract DIR I... F    records as files in a folder
    splitdata verify DIR            every byte of it against its checksums
    splitdata repair DIR            damaged indexes, headers and manifests made again
    splitdata merge A B... DEST     datasets end to end in a new one
    splitdata append A... DEST      datasets behind the records of another
    splitdata copy A B              a dataset as it is, between folders and object stores
    splitdata diff A B              records added, removed, changed, moved
    splitdata filter DIR DEST       the records that a function says yes to
    splitdata sample DIR DEST       random records
    splitdata rebin DIR DEST        all records, stored in another way
    splitdata split DIR DEST        each record in one of several, by hash
    splitdata delete DIR I...       records marked as deleted
    splitdata compact DIR           their bytes erased
    splitdata schema DIR            what its samples are
    splitdata digest DIR            SHA-256 of all records
    splitdata bench DIR             how fast training is fed from it
    splitdata mix DIR:WEIGHT...     what a mixture of datasets will do
    splitdata plan DIR              what an epoch will be for every rank
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from splitdata_cli._failure import OneLineGroup
from splitdata_cli._render import print_line
from splitdata_cli.append import append
from splitdata_cli.bench import bench
from splitdata_cli.cat import cat
from splitdata_cli.commit import commit
from splitdata_cli.compact import compact
from splitdata_cli.copy import copy
from splitdata_cli.delete import delete
from splitdata_cli.diff import diff
from splitdata_cli.digest import digest
from splitdata_cli.export import export
from splitdata_cli.extract import extract
from splitdata_cli.filter import filter_command
from splitdata_cli.head import head
from splitdata_cli.info import info
from splitdata_cli.merge import merge
from splitdata_cli.mix import mix
from splitdata_cli.plan import plan
from splitdata_cli.rebin import rebin
from splitdata_cli.repair import repair
from splitdata_cli.sample import sample
from splitdata_cli.schema import schema
from splitdata_cli.split import split
from splitdata_cli.verify import verify
from splitdata_cli.write import write

__all__ = ["cli", "main"]


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print_line(f"splitdata {_version()}")
        ctx.exit()


def _version() -> str:
    """Return the version of the library without loading it: that one module imports nothing."""
    found = importlib.util.find_spec("splitdata")
    if found is None or found.origin is None:
        return "(the library splitdata is not installed)"
    spec = importlib.util.spec_from_file_location("_version_of_splitdata", Path(found.origin).with_name("_version.py"))
    if spec is None or spec.loader is None:
        return "of unknown number"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    version: str = module.__version__
    return version


@click.group(
    cls=OneLineGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option("--traceback", is_flag=True, help="Show the whole traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, traceback: bool) -> None:
    """Datasets of byte records in a few bin files beside a mapped index.

    Exit codes: 0 done; 1 damage found, or left by repair, or a difference; 2 wrong input or a failing disk, told in one
    line.
    """
    # Looked at where an error arrives.
    del traceback
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (
    *(write, info, schema, head, cat, export, extract),
    *(verify, repair, delete, compact, merge, append, commit, copy, diff),
    *(filter_command, sample, rebin, split, digest, bench, mix, plan),
):
    cli.add_command(command)


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="splitdata")
