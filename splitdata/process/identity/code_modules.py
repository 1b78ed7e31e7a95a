"""Finds the module that code comes from, and the names that it uses there.

What is installed counts by its version; modules of the user's are looked into.

    global_names, attribute_names     names in code, that of functions inside of it included
    escaping_names                    those of them that are used as a whole, not only by an attribute
    release_of                        "numpy.random" -> "2.3.1"; None for a module of the user's
    name_installed                    the name by which a package has an object
    imported_modules                  what a function imports while it runs, found without importing it
"""

from __future__ import annotations

import dis
import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, Final, NamedTuple

from splitdata._version import __version__

__all__ = [
    "ImportedModule",
    "UsedModule",
    "attribute_names",
    "escaping_names",
    "global_names",
    "imported_modules",
    "imports_while_it_runs",
    "name_installed",
    "release_of",
    "source_of",
]


_READS_GLOBAL: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_OF_ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR"})
_PYTHON: Final = "Python {}.{}".format(*sys.version_info)
_INSTALLED: Final = ("site-packages", "dist-packages")
_OWN: Final = "splitdata"
_MAINS: Final = ("__main__", "__mp_main__")


class UsedModule(NamedTuple):
    """A module, as code uses it that names these attributes."""

    module: types.ModuleType
    attributes: frozenset[str]


@dataclass(frozen=True)
class ImportedModule:
    """A module that is imported while a function runs: it may not be there yet.

    Attributes:
        name: Its full name.
        release: Of what is installed, None for a module of the user's.
        code: Of the user's.
        space: What imports in it are relative to.
    """

    name: str
    release: str | None
    code: types.CodeType | None = field(compare=False)
    space: Mapping[str, Any] = field(compare=False)


# -- names in code -------------------------------------------------------------------------------


def _with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _with_inner(constant)


def global_names(code: types.CodeType) -> set[str]:
    """Return the names that code reads from its module, or from the builtins."""
    return {
        instruction.argval
        for one in _with_inner(code)
        for instruction in dis.get_instructions(one)
        if instruction.opname in _READS_GLOBAL
    }


def escaping_names(code: types.CodeType) -> set[tuple[str, ...]]:
    """Return the global names, with attributes, whose objects code hands on: to a call, a name of its own, ..."""
    names: set[tuple[str, ...]] = set()
    for one in _with_inner(code):
        instructions = [each for each in dis.get_instructions(one) if each.opname != "EXTENDED_ARG"]
        for place, instruction in enumerate(instructions):
            if instruction.opname in _READS_GLOBAL:
                behind = takewhile(lambda each: each.opname in _OF_ATTRIBUTES, instructions[place + 1 :])
                names.add((instruction.argval, *(each.argval for each in behind)))
    return names


def attribute_names(code: types.CodeType) -> frozenset[str]:
    """Return all names that code may ask an object for."""
    return frozenset(name for one in _with_inner(code) for name in one.co_names)


def imports_while_it_runs(code: types.CodeType) -> bool:
    """Tell whether code imports anything."""
    return any(each.opname.startswith("IMPORT") for one in _with_inner(code) for each in dis.get_instructions(one))


# -- where modules come from ---------------------------------------------------------------------


def release_of(module: str) -> str | None:
    """Return the version of the installed package that a module belongs to, None for the user's own code.

    An installed package that does not tell its version is taken for the user's: its code is looked at.
    """
    top = module.partition(".")[0]
    return None if top in _MAINS else _release_of_top(top)


@functools.cache
def _release_of_top(top: str) -> str | None:
    file = getattr(sys.modules.get(top), "__file__", None) or _origin_of(top)
    if not isinstance(file, str) or top in sys.builtin_module_names:
        return _PYTHON if top in sys.stdlib_module_names else None
    is_installed = any(f"/{folder}/" in file.replace("\\", "/") for folder in _INSTALLED)
    if not is_installed and top != _OWN:
        return _PYTHON if file.startswith((sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))) else None
    if top == _OWN:
        return f"{_OWN} {__version__}"
    # Not the `__version__` of a module: that is not there before it was imported.
    try:
        return f"{top} {importlib.metadata.version(top)}"
    except importlib.metadata.PackageNotFoundError:
        names = sorted(set(_distributions().get(top, ())))
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names) or None


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    """Return the distributions that each package comes with: "PIL" from "pillow"; reads their lists of files."""
    return importlib.metadata.packages_distributions()


def _origin_of(top: str) -> str | None:
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def name_installed(value: Any, module: str | None, qualname: str) -> tuple[str, ...] | None:
    """Return module, name and version by which an installed package has an object; None if it has it nowhere."""
    found: Any = sys.modules.get(module or "")
    if found is None or module is None or (release := release_of(module)) is None:
        return None
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return (module, qualname, release) if found is value else None


def source_of(module: types.ModuleType) -> types.CodeType | None:
    """Return the code of a whole module of the user's, None where it has no source."""
    spec = module.__spec__
    return None if spec is None else _code_of(spec)


def _code_of(spec: importlib.machinery.ModuleSpec) -> types.CodeType | None:
    get_code = getattr(spec.loader, "get_code", None)
    try:
        code = None if get_code is None else get_code(spec.name)
    except (ImportError, OSError, SyntaxError):
        return None
    return code if isinstance(code, types.CodeType) else None


# -- imports inside functions --------------------------------------------------------------------


def imported_modules(code: types.CodeType, space: Mapping[str, Any]) -> list[ImportedModule]:
    """Return what code imports by itself, in the order of names; what cannot be found is left out.

    Args:
        code: Of a function, or of a module.
        space: The globals that relative imports go by.
    """
    names: set[str] = set()
    for one in _with_inner(code):
        instructions = list(dis.get_instructions(one))
        for place, instruction in enumerate(instructions):
            if instruction.opname == "IMPORT_NAME":
                level, listed = instructions[place - 2].argval, instructions[place - 1].argval
                names.update(_full_names(instruction.argval, level, listed or (), space))
    found = map(_find, sorted(names))
    return [module for module in found if module is not None]


def _full_names(name: str, level: int, listed: tuple[str, ...], space: Mapping[str, Any]) -> Iterator[str]:
    if level:
        package = space.get("__package__") or ""
        try:
            name = importlib.util.resolve_name("." * level + name, package)
        except ImportError:
            return
    parts = name.split(".")
    # Importing a module imports all packages around it too, and a listed name may itself be a module.
    yield from (".".join(parts[: place + 1]) for place in range(len(parts)))
    yield from (f"{name}.{one}" for one in listed)


def _find(name: str) -> ImportedModule | None:
    release = release_of(name)
    if release is not None:
        return ImportedModule(name, release, None, {})
    top, *rest = name.split(".")
    path: Any = None
    spec: importlib.machinery.ModuleSpec | None = None
    full = ""
    for part in (top, *rest):
        full = f"{full}.{part}" if full else part
        # Unlike importlib.util.find_spec this runs nothing.
        spec = next((found for found in _specs(full, path)), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    code = None if spec is None else _code_of(spec)
    if code is None and spec is not None and path is not None:
        # A package without a file of its own.
        return None
    space = {"__package__": name if path is not None else name.rpartition(".")[0]}
    return ImportedModule(name, None, code, space)


def _specs(name: str, path: Any) -> Iterator[importlib.machinery.ModuleSpec]:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = None if find is None else find(name, path)
        if spec is not None:
            yield spec
