"""The kind of shuffle that a command is given by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from splitdata import Window

__all__ = ["shuffle_named"]


def shuffle_named(name: str, option: str) -> Literal[False, "global", "bins"] | Window:
    """Return the kind of shuffle that an option names: none, global, bins or window:SIZE.

    Raises:
        click.BadParameter: It names none.
    """
    from splitdata import Window

    kind, _, size = name.partition(":")
    if kind == "window" and size.isdecimal() and int(size):
        return Window(int(size))
    if name == "none":
        return False
    if name == "global":
        return "global"
    if name == "bins":
        return "bins"
    raise click.BadParameter(f"{name!r} is not one of none, global, bins and window:SIZE", param_hint=option)
