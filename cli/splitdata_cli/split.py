"""`splitdata split DIR DEST --train 0.9 --val 0.1`: the records of a dataset in several, by hash."""

from __future__ import annotations

import dataclasses

import click

from splitdata_cli._progress import bytes_progress
from splitdata_cli._render import counted, escape, print_json, print_line
from splitdata_cli._store import store_option

__all__ = ["split"]

_SHARE = click.FloatRange(0, 1, min_open=True)


@click.command(short_help="Write the records of a dataset into several.")
@click.argument("path", metavar="DIR")
@click.argument("dest", metavar="DEST")
@click.option("--train", type=_SHARE, help="Share of DEST/train.")
@click.option("--val", type=_SHARE, help="Share of DEST/val.")
@click.option("--test", type=_SHARE, help="Share of DEST/test.")
@click.option("--part", "parts", metavar="NAME=SHARE", multiple=True, help="Share of DEST/NAME; may be given again.")
@click.option("--by-key", is_flag=True, help="By the keys of the records, not by their positions.")
@click.option("--views", is_flag=True, help="Make no copies, but links, with all other records deleted.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another divides otherwise.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that read.")
@click.option("--dry-run", is_flag=True, help="Only tell how many records each part would have.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def split(
    path: str,
    dest: str,
    train: float | None,
    val: float | None,
    test: float | None,
    parts: tuple[str, ...],
    by_key: bool,
    views: bool,
    seed: int,
    workers: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write each record of the dataset in DIR into one of the datasets DEST/train, DEST/val and so on, by its hash.

    A record stays in its part when others are appended to DIR. Killed, call it again: it goes on.
    """
    from splitdata import split as split_dataset

    named = {name: share for name, share in (("train", train), ("val", val), ("test", test)) if share is not None}
    for text in parts:
        name, _, share = text.rpartition("=")
        try:
            named[name] = float(share)
        except ValueError:
            raise click.UsageError(f"--part is given as NAME=SHARE, not {text}") from None
    if not named:
        raise click.UsageError("give the shares: --train 0.9 --val 0.1, or --part NAME=SHARE")
    with bytes_progress("splitting") as progress:
        report = split_dataset(
            path,
            dest,
            named,
            by_key=by_key,
            views=views,
            seed=seed,
            workers=workers,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    for part in report.parts:
        print_line(f"{escape(part.path)}: {counted(part.num_records, 'record')}")
    if report.num_left_out:
        print_line(f"in no part: {counted(report.num_left_out, 'record')}")
