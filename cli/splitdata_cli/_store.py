"""The options of all commands that take URLs: how their object stores are reached, and who else writes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["single_writer_option", "store_option"]

_Function = TypeVar("_Function", bound="Callable[..., object]")


def store_option(function: _Function) -> _Function:
    """Add the option to a command; what it says holds until the command ends, in its worker processes too."""
    return click.option(
        "--store-option",
        multiple=True,
        metavar="NAME=VALUE",
        expose_value=False,
        callback=_take,
        help="Of the object stores of URLs: endpoint, region, timeout, ... Keys are taken from the environment.",
    )(function)


single_writer_option = click.option(
    "--single-writer", is_flag=True, help="Nobody else writes there: for stores without conditional writes."
)


def _take(ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> None:
    pairs = [text.partition("=") for text in texts]
    if not all(name and equals for name, equals, _ in pairs):
        # What was given is not shown: it may be a key.
        raise click.UsageError("--store-option is given as NAME=VALUE")
    if not pairs or ctx.resilient_parsing:
        return
    from splitdata import default_storage_options

    options = {name: _number(value) if name == "timeout" else value for name, _, value in pairs}
    try:
        ctx.with_resource(default_storage_options(options))
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise click.UsageError("--store-option timeout is a number of seconds") from None
