"""Decides whether code may draw from a global generator: only then are these set for each sample.

Setting them costs time for each sample. Code that is not understood may draw.

    does not:  no code of the user's; functions and containers of the interpreter; a plain function over our records
               that reaches nothing but numbers, numpy, and methods of plain data
    may:       all else: classes, instances, libraries, what imports
    as its own:  a transform of ours says by `user_code` what of the user's it calls, None if nothing
"""

from __future__ import annotations

import functools
import sys
import types
from typing import Any, Final

import numpy as np

from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.sample_dataset import SampleDataset
from splitdata.loader.samples.mixture import Mixture

__all__ = ["may_draw", "transform_may_draw"]


# What draws from no global generator: our readers and containers.
_NEVER_DRAWS: Final = (type(None), SplitDataLoader, SampleDataset, list, tuple, range, bytes, str)

_NUMBERS: Final = (type(None), bool, int, float, complex, bytes, str, type(Ellipsis), slice, range, np.dtype)
# Of what functions of the user get from our readers; `rng` is a Generator. A tensor's multinomial draws.
_PLAIN_TYPES: Final = (bytes, str, int, float, complex, list, tuple, dict, set, memoryview, np.ndarray)
_BUILTINS: Final = frozenset(
    {"abs", "all", "any", "bool", "bytearray", "bytes", "complex", "dict", "divmod", "enumerate", "filter", "float"}
    | {"frozenset", "int", "isinstance", "iter", "len", "list", "map", "max", "memoryview", "min", "next", "ord"}
    | {"pow", "range", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "zip"}
    | {"Exception", "IndexError", "KeyError", "TypeError", "ValueError"}
)
_MODULES: Final = ("numpy", "numpy.linalg", "numpy.fft", "math", "json", "struct", "zlib")
# These may run what a file says.
_NOT_OF_MODULES: Final = frozenset({"load", "loads"})


def may_draw(code: Any) -> bool:
    """Tell whether a transform, a dataset or a collate function may draw from global generators.

    False only where it certainly does not: no such thing, our readers, functions and containers of the interpreter.
    Compiled functions of libraries may: torch.bernoulli does, and np.random.permutation.
    """
    if isinstance(code, type):
        return code.__module__ != "builtins"
    if isinstance(code, types.MethodDescriptorType):
        return code.__objclass__.__module__ != "builtins"
    if isinstance(code, types.BuiltinFunctionType):
        owner = code.__self__
        return not (isinstance(owner, types.ModuleType) and owner.__name__ in sys.stdlib_module_names)
    if type(code) is Mixture:
        return any(map(may_draw, code.given))
    return type(code) not in _NEVER_DRAWS


def transform_may_draw(transform: Any, dataset: Any) -> bool:
    """Tell the same of the transform of a dataset, which may be a function that need only be looked through.

    That is so where all that it gets is known: records and samples of our readers. What its names stand for is taken
    to stay. Costs about a tenth of a millisecond.
    """
    if hasattr(type(transform), "user_code"):
        return transform_may_draw(transform.user_code, dataset)
    if type(transform) is not types.FunctionType or not _gives_plain_data(dataset):
        return may_draw(transform)
    return not _is_harmless(transform, set())


def _gives_plain_data(dataset: Any) -> bool:
    if type(dataset) is SampleDataset:
        # Others have methods of the user's.
        return not dataset.types
    if type(dataset) is Mixture:
        return all(map(_gives_plain_data, dataset.given))
    return type(dataset) in (SplitDataLoader, range)


def _is_harmless(function: types.FunctionType, seen: set[int]) -> bool:
    """Say whether all that a function can reach is known not to draw."""
    # At the first use: what finds modules loads twenty of the standard library.
    from splitdata.process.identity.code_modules import attribute_names, escaping_names, imports_while_it_runs

    if id(function) in seen:
        return True
    seen.add(id(function))
    code = function.__code__
    if imports_while_it_runs(code):
        return False
    values = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    try:
        values += [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:
        return False
    names, space = set(_methods()), function.__globals__
    for first, *attributes in escaping_names(code):
        names.add(first)
        if first not in space:
            harmless = first in _BUILTINS
        elif isinstance(space[first], types.ModuleType):
            names.update(attributes)
            harmless = _is_harmless_path(space[first], attributes)
        else:
            harmless = _is_harmless_value(space[first], seen)
        if not harmless:
            return False
    return attribute_names(code) <= names and all(_is_harmless_value(value, seen) for value in values)


def _is_harmless_path(module: types.ModuleType, attributes: list[str]) -> bool:
    """Say whether code that asks a module for this gets, in the end, what does not draw; not the module itself."""
    value: Any = module
    for name in attributes:
        if not isinstance(value, types.ModuleType):
            return name in _methods()
        if value.__name__ not in _MODULES or name.startswith("_") or name in _NOT_OF_MODULES:
            return False
        value = getattr(value, name, module)
    return not isinstance(value, types.ModuleType)


def _is_harmless_value(value: Any, seen: set[int]) -> bool:
    if type(value) is types.FunctionType:
        return _is_harmless(value, seen)
    if isinstance(value, np.ndarray):
        return type(value) is np.ndarray and not value.dtype.hasobject
    if isinstance(value, type):
        of_numpy = issubclass(value, np.generic) and value.__module__ == "numpy"
        return of_numpy or (value.__module__ == "builtins" and value.__name__ in _BUILTINS)
    return type(value) in _NUMBERS or (isinstance(value, np.generic) and type(value).__module__ == "numpy")


@functools.cache
def _methods() -> frozenset[str]:
    """Return what code may ask plain data for, and `rng`; numpy loads its generators only on use."""
    names = {name for one in (*_PLAIN_TYPES, np.random.Generator) for name in dir(one)}
    return frozenset(name for name in names if not name.startswith("_")) - {"multinomial"}
