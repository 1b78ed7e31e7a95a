"""`splitdata head DIR`: the first records, a line each; of one that cannot be read, why, and then those behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from splitdata_cli._failure import complain, message_of
from splitdata_cli._pictures import Pictures, pictures_option
from splitdata_cli._records import print_records
from splitdata_cli._render import escape, escape_bytes, print_json
from splitdata_cli._store import store_option
from splitdata_cli.verify import DAMAGED

if TYPE_CHECKING:
    from splitdata import SampleDataset, SplitDataLoader

    Row = tuple[int, int, str | None, str, bool]

__all__ = ["head"]

_PREVIEW_BYTES: Final = 256
_PREVIEW_CHARS: Final = 1000
# Records of which the first bytes say nothing to a person.
_SHOWN_AS_VALUES: Final = ("sample", "npy")
_MORE: Final = "..."


@click.command(short_help="Show the first records.")
@click.argument("path", metavar="DIR")
@click.option("-n", "--number", type=click.IntRange(min=0), default=10, show_default=True, help="How many records.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
@pictures_option
@click.pass_context
def head(ctx: click.Context, path: str, number: int, as_json: bool, wants_pictures: bool | None) -> None:
    """Show the first records of the dataset in DIR: position, size in bytes, key, and how each begins.

    Of samples and arrays it shows what they hold, of pictures what they are. A record that is damaged is told, and the
    exit code is 1 then.
    """
    from splitdata import SampleDataset, SplitDataLoader

    rows: list[Row] = []
    problems: dict[int, str] = {}
    pictures = Pictures(is_wanted=False if as_json else wants_pictures)
    drawn: list[list[str]] = []
    with SplitDataLoader(path) as loader:
        samples = SampleDataset(path) if loader.record_codec in _SHOWN_AS_VALUES else None
        for position in range(min(number, len(loader))):
            try:
                rows.append(_row(loader, samples, position))
                records = loader if samples is None else samples
                drawn.append(list(pictures.of(records, position, int(loader.sizes[position]))))
            except (ValueError, OSError) as error:
                problems[position] = message_of(error)
    if as_json:
        names = ("position", "num_bytes", "key", "preview", "is_whole")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        found += [{"position": position, "problem": problem} for position, problem in problems.items()]
        print_json(sorted(found, key=lambda one: one["position"]))
    else:
        print_records(rows, drawn)
    for problem in problems.values():
        complain(f"error: {problem}")
    if problems:
        ctx.exit(DAMAGED)


def _row(loader: SplitDataLoader, samples: SampleDataset | None, position: int) -> Row:
    key = loader.key(position)
    return position, int(loader.sizes[position]), key, *_preview(loader, samples, position)


def _preview(loader: SplitDataLoader, samples: SampleDataset | None, position: int) -> tuple[str, bool]:
    """Return how a record begins, or what its sample is made of, and whether that is all."""
    if samples is not None:
        text = escape(samples.preview(position, _PREVIEW_CHARS))
        return text, not text.endswith(_MORE)
    if found := loader.hint(position):
        return found, True
    begin, size = loader.read_range(position, 0, _PREVIEW_BYTES), int(loader.sizes[position])
    return escape_bytes(begin), size == len(begin)
