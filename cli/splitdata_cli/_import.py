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


def function_named(name: str, option: str) -> Callable[..., Any]:
    """Import the function that an option names as "module:function"; both parts may have dots.

    Raises:
        click.BadParameter: There is no such module or function, or it cannot be called.
        Exception: What the module raises when it is imported.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise click.BadParameter(f"a function is given as module:function, not {name!r}", param_hint=option)
    let_import_from_here()
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that the user's module misses is told by that module's own error.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise click.BadParameter(f"there is no module {error.name} to import for {name}", param_hint=option) from None
    for part in path.split("."):
        if not hasattr(found, part):
            raise click.BadParameter(f"{name}: there is no {part} in {module_name}", param_hint=option)
        found = getattr(found, part)
    if not callable(found):
        raise click.BadParameter(f"{name} is {type(found).__name__}, not a function", param_hint=option)
    function: Callable[..., Any] = found
    return function
