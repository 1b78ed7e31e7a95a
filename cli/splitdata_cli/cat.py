"""`splitdata cat DIR I... --key K`: records by position or key, raw into a pipe or a file, escaped onto a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TypeVar

import click

from splitdata_cli._failure import complain, message_of
from splitdata_cli._pictures import Pictures, pictures_option
from splitdata_cli._render import BytesEscaper, escape, print_line
from splitdata_cli._store import store_option
from splitdata_cli.verify import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata import SampleDataset, SplitDataLoader

__all__ = ["cat"]

_Part = TypeVar("_Part")

# Compressed records are smaller, and reading a range of one decompresses all that is before it.
# Larger ones are read in pieces, each verified before it is written.
_WHOLE_BYTES: Final = 1 << 30
_PIECE_BYTES: Final = 16 << 20
_SHOWN_PIECE_BYTES: Final = 1 << 20
# Records of which the bytes say nothing to a person, and how much is shown instead.
_SHOWN_AS_VALUES: Final = ("sample", "npy")
_SHOWN_CHARS: Final = 1 << 16


# An unknown option may be a negative position; if it is not a number, it fails as one.
@click.command(context_settings={"ignore_unknown_options": True}, short_help="Write records by position or key.")
@click.argument("path", metavar="DIR")
@click.argument("positions", metavar="I...", type=int, nargs=-1)
@click.option("--key", "keys", metavar="K", multiple=True, help="The record with this key; may be given again.")
@store_option
@pictures_option
@click.pass_context
def cat(
    ctx: click.Context, path: str, positions: tuple[int, ...], keys: tuple[str, ...], wants_pictures: bool | None
) -> None:
    """Write the records of the dataset in DIR at the positions I..., then those with the keys K, to standard output.

    Nothing is added between them. On a terminal each is one line, with what does not print escaped, and
    samples as what they hold, pictures as what they are; elsewhere samples are bytes that decode_sample reads.
    Negative positions count from the end: -1 is the last record. A record that is damaged is told and left out, and
    the exit code is 1 then.
    """
    from splitdata import SampleDataset, SplitDataLoader

    if not positions and not keys:
        raise click.UsageError("give positions, or --key")
    with SplitDataLoader(path) as loader:
        # All of them first: nothing is written of a request that cannot be met.
        checked = [_checked(position, len(loader)) for position in positions]
        checked += [_found(loader, key) for key in keys]
        damaged: list[int] = []
        if not sys.stdout.isatty():
            output = sys.stdout.buffer
            encoded = SampleDataset(path) if loader.record_codec == "sample" else None
            for position in checked:
                pieces = _pieces(loader, position) if encoded is None else _alone(encoded, position)
                for piece in _readable(pieces, position, damaged):
                    output.write(piece)
            output.flush()
        else:
            samples = SampleDataset(path) if loader.record_codec in _SHOWN_AS_VALUES else None
            pictures = Pictures(is_wanted=wants_pictures)
            for position in checked:
                _show_record(loader, samples, pictures, position, damaged)
    if damaged:
        ctx.exit(DAMAGED)


def _show_record(
    loader: SplitDataLoader, samples: SampleDataset | None, pictures: Pictures, position: int, damaged: list[int]
) -> None:
    """Show one record on a terminal."""
    is_shown = False
    for text in _readable(_hints(loader, samples, position), position, damaged):
        is_shown = True
        print_line(escape(text))
        records = loader if samples is None else samples
        for line in pictures.of(records, position, int(loader.sizes[position])):
            print_line(line)
    if not is_shown and position not in damaged:
        _show(_readable(_pieces(loader, position), position, damaged))


def _hints(loader: SplitDataLoader, samples: SampleDataset | None, position: int) -> Iterator[str]:
    """Yield what a sample holds, or a picture is; nothing of other bytes."""
    found = loader.hint(position) if samples is None else samples.preview(position, _SHOWN_CHARS)
    if found is not None:
        yield found


def _readable(parts: Iterator[_Part], position: int, damaged: list[int]) -> Iterator[_Part]:
    """Pass on what is read of a record; where that fails, tell why, and note its position."""
    try:
        yield from parts
    except (ValueError, OSError) as error:
        complain(f"error: {message_of(error)}")
        damaged.append(position)


def _checked(position: int, num_records: int) -> int:
    if not -num_records <= position < num_records:
        raise click.UsageError(f"there is no record {position}: the dataset has {num_records} records")
    return position % num_records


def _found(loader: SplitDataLoader, key: str) -> int:
    try:
        return loader.find(key)
    except KeyError:
        raise click.UsageError(f"there is no record with the key {escape(key)}") from None


def _alone(samples: SampleDataset, position: int) -> Iterator[bytes]:
    """Yield a sample with its schema, which elsewhere nobody would know."""
    yield samples.encoded(position)


def _show(pieces: Iterator[bytes | memoryview]) -> None:
    escaper, is_empty = BytesEscaper(), True
    for piece in pieces:
        is_empty = False
        for start in range(0, len(piece), _SHOWN_PIECE_BYTES):
            part = bytes(piece[start : start + _SHOWN_PIECE_BYTES])
            print_line(escaper.escape(part, is_last=False), newline=False)
    # A record that cannot be read has no line.
    if not is_empty:
        print_line(escaper.escape(b"", is_last=True))


def _pieces(loader: SplitDataLoader, position: int) -> Iterator[bytes | memoryview]:
    size = int(loader.sizes[position])
    if size <= _WHOLE_BYTES:
        yield loader.view(position)
        return
    for start in range(0, size, _PIECE_BYTES):
        yield loader.read_range(position, start, start + _PIECE_BYTES)
