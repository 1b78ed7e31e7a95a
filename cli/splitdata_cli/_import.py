"""Functions of the user's own, named on the command line.

"package.module:function" ──import, from the working folder too──> the function
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = ["function_named", "let_import_from_here"]


def let_import_from_here() -> None:
    """Let functions be found in modules of the working folder, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def function_named(name: str) -> Callable[..., Any]:
    """Import a function by "module:function"; both parts may have dots.

    Raises:
        click.ClickException: There is no such module or function, or it cannot be called.
        Exception: What the module raises when it is imported.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise click.ClickException(f"a function is given as module:function, not {name!r}")
    let_import_from_here()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the user's module misses is told by that module's own error.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise click.ClickException(f"there is no module {error.name} to import for {name}") from None
    for part in path.split("."):
        if not hasattr(found, part):
            raise click.ClickException(f"{name}: there is no {part} in {module_name}")
        found = getattr(found, part)
    if not callable(found):
        raise click.ClickException(f"{name} is {type(found).__name__}, not a function")
    function: Callable[..., Any] = found
    return function
