"""Functions of the user's own, named on the command line.

Nothing else on the command line imports anything: the working folder may be full of files that others have named.
Even here it is searched last, only while a function of it is used, and after all that this program loads by itself.

    "package.module:function" ──import, from the working folder too──> the function
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

__all__ = ["function_named", "working_folder_on_path"]

# What this program and the library load only where it is needed, but for torch, which takes seconds.
_LOADED_LATER: Final = (
    *("bz2", "cloudpickle", "concurrent.futures", "ctypes", "fcntl", "html", "inspect", "lzma", "msvcrt", "orjson"),
    *("multiprocessing.connection", "resource", "select", "shutil", "tempfile", "tqdm", "zoneinfo"),
)


@contextlib.contextmanager
def working_folder_on_path() -> Iterator[None]:
    """Let modules be found in the working folder while the block runs, behind all other places."""
    here = str(Path.cwd())
    if here in sys.path or "" in sys.path:
        yield
        return
    _load_own_modules()
    sys.path.append(here)
    try:
        yield
    finally:
        # The imported module may have added folders of its own, or have removed this one.
        with contextlib.suppress(ValueError):
            sys.path.reverse()
            sys.path.remove(here)
        sys.path.reverse()


def _load_own_modules() -> None:
    """Load what this program would load later, as long as no module of the user's can be taken for it."""
    library = importlib.import_module("splitdata")
    names = [found.name for found in pkgutil.walk_packages(library.__path__, "splitdata.")]
    # Adapters load the frameworks that they are for: no command uses them.
    own = [name for name in names if not name.startswith("splitdata.interop")]
    for name in (*own, *_LOADED_LATER):
        try:
            importlib.import_module(name)
        except ImportError:
            # A module of another system, or an optional one that is not installed: None keeps it missing.
            if name in _LOADED_LATER:
                sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def function_named(name: str, option: str) -> Callable[..., Any]:
    """Import the function that an option names as "module:function"; both parts may have dots.

    Raises:
        click.BadParameter: If the module or function does not exist, or cannot be called.
        Exception: What the module raises when it is imported.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise click.BadParameter(f"a function is given as module:function, not {name!r}", param_hint=option)
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
