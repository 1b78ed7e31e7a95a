"""Takes an object apart, as far as its parts decide what it does: one step of `code_identity`.

    function        its code, defaults, closure, and what its global names stand for now
    code            bytecode, constants, names; no file, no line
    class           its bases and what is in it
    instance        what it would pickle as; a partial, a property, a bound method: its parts
    what an installed package or Python has under a name       that name, and the version

Global names of other modules of the user's are followed too, as far as code names them.
"""

from __future__ import annotations

import copyreg
import functools
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeGuard

import numpy as np

from splitdata.process.identity.code_data import (
    Named,
    Parts,
    Unidentifiable,
    by_name,
    digest_of,
    of_array,
    of_bytes,
    of_mapping,
    of_sequence,
    of_set,
    of_slice,
    of_tensor,
)
from splitdata.process.identity.code_modules import (
    ImportedModule,
    UsedModule,
    attribute_names,
    escaping_names,
    global_names,
    imported_modules,
    name_installed,
    release_of,
    source_of,
)

__all__ = ["key_of", "parts_of"]


# Made by Python, by pickling, or for people: nothing that a class does depends on them.
_NO_BEHAVIOUR: Final = frozenset(
    {"__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__"}
    | {"__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__type_params__"}
    | {"__orig_bases__", "__parameters__", "__dataclass_fields__", "__dataclass_params__"}
    | {"__slotnames__", "__abstractmethods__", "_abc_impl"}
)
_BY_NAME: Final = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
_HEAP_TYPE: Final = 1 << 9
_LRU_CACHE: Final = type(functools.lru_cache(lambda: None))
# Whichever object holds them, the result does not depend on it.
_LOCKS: Final = frozenset({("_thread", "lock"), ("_thread", "RLock"), ("_thread", "_local")})
_WEAK: Final = (weakref.ReferenceType, weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)
# Hidden generators, and the machine's own: their state is nothing that a function holds.
_GLOBAL_STATE: Final = (
    ("random", "_inst"),
    ("numpy.random.mtrand", "_rand"),
    ("torch", "default_generator"),
    ("os", "environ"),
    ("os", "environb"),
)


def key_of(value: Any) -> object:
    """Return what tells an object from others that are alive."""
    return value if type(value) in (UsedModule, ImportedModule) else id(value)


def parts_of(value: Any) -> Parts:
    """Take an object apart.

    Raises:
        Unidentifiable: It does not tell what it will do.
    """
    special = _PARTS.get(type(value))
    if special is not None:
        return special(value)
    if isinstance(value, type):
        return _class(value)
    if isinstance(value, _BY_NAME):
        return Parts(digest_of("descriptor", value.__name__), [(".__objclass__", value.__objclass__)])
    if isinstance(value, (np.ndarray, np.generic)) and type(value).__module__ == "numpy":
        return of_array(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return of_tensor(value)
    if isinstance(value, _WEAK) or (type(value).__module__, type(value).__name__) in _LOCKS:
        return Parts(digest_of("kind", type(value).__name__))
    return _instance(value)


def _attributes(value: Any) -> list[Named]:
    return by_name(value.__dict__.keys() - _NO_BEHAVIOUR, value.__dict__)


# -- code ----------------------------------------------------------------------------------------


def _code(value: types.CodeType) -> Parts:
    numbers = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
    token = digest_of("code", repr(numbers), value.co_code, getattr(value, "co_exceptiontable", b""))
    names = (value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars)
    return Parts(token, [("", names), (" constants", value.co_consts)])


def _function(value: types.FunctionType) -> Parts:
    installed = name_installed(value, value.__module__, value.__qualname__)
    if installed is not None:
        return Parts(digest_of("installed", *installed))
    children: list[Named] = [("", value.__code__), (" defaults", value.__defaults__)]
    children.append((" defaults", value.__kwdefaults__))
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
        try:
            children.append((f" > {name}", cell.cell_contents))
        except ValueError:
            # It is not bound yet.
            children.append(("", Ellipsis))
    children += _attributes(value)
    home = str(value.__globals__.get("__name__"))
    release = release_of(home)
    if release is not None:
        # Made by a function of a package: what that function names belongs to the package.
        return Parts(digest_of("made by", home, release), children)
    return Parts(digest_of("function"), children + _globals(value))


def _globals(value: types.FunctionType) -> list[Named]:
    """Return what the global names of a function stand for, and what it imports while it runs."""
    space, builtins = value.__globals__, vars(sys.modules["builtins"])
    attributes = attribute_names(value.__code__)
    children: list[Named] = []
    for name in sorted(global_names(value.__code__)):
        if name in space:
            one = space[name]
            children += [("", name), (f" > {name}", UsedModule(one, attributes) if _is_module(one) else one)]
        else:
            children.append(("", f"builtin {name}" if name in builtins else f"nothing {name}"))
    for first, *names in sorted(escaping_names(value.__code__)):
        one = space.get(first)
        for name in names:
            one = vars(one).get(name) if _is_module(one) else None
        if _is_module(one):
            # Code that gets it may use anything in it.
            children.append((f" > {one.__name__}", one))
    for module in imported_modules(value.__code__, space):
        children.append((f" > import {module.name}", module))
    return children


def _is_module(value: Any) -> TypeGuard[types.ModuleType]:
    return isinstance(value, types.ModuleType)


def _used_module(value: UsedModule) -> Parts:
    """Take a module apart as far as some code may name what is in it."""
    module = value.module
    release = release_of(module.__name__)
    if release is not None:
        return Parts(digest_of("module", module.__name__, release))
    space = vars(module)
    children: list[Named] = []
    # An attribute that is loaded on demand is found where its loader says.
    for name in sorted((value.attributes | {"__getattr__"}) & space.keys()):
        one = space[name]
        children += [("", name), (f".{name}", UsedModule(one, value.attributes) if _is_module(one) else one)]
    return Parts(digest_of("part of a module"), children)


def _imported_module(value: ImportedModule) -> Parts:
    if value.release is not None:
        return Parts(digest_of("module", value.name, value.release))
    if value.code is None:
        raise Unidentifiable("its source is not there")
    modules = imported_modules(value.code, value.space)
    return Parts(digest_of("imported module"), [("", value.code), *((f" > import {one.name}", one) for one in modules)])


def _module(value: types.ModuleType) -> Parts:
    release = release_of(value.__name__)
    if release is not None:
        return Parts(digest_of("module", value.__name__, release))
    source = source_of(value)
    if source is None:
        raise Unidentifiable("a module that has no source")
    modules = imported_modules(source, vars(value))
    return Parts(digest_of("whole module"), [("", source), *((f" > import {one.name}", one) for one in modules)])


def _class(value: type) -> Parts:
    module, name = str(value.__module__), value.__qualname__
    installed = name_installed(value, module, name)
    if installed is not None:
        return Parts(digest_of("installed", *installed))
    if not value.__flags__ & _HEAP_TYPE:
        release = release_of(module)
        if release is None:
            raise Unidentifiable("it is compiled")
        return Parts(digest_of("compiled", module, name, release))
    space = dict(vars(value))
    names = space.keys() - _NO_BEHAVIOUR
    children = [(".__bases__", value.__bases__), (" metaclass", type(value)), *by_name(names, space)]
    return Parts(digest_of("class", value.__name__), children)


# -- what is called ------------------------------------------------------------------------------


def _method(value: types.MethodType) -> Parts:
    installed = name_installed(value, value.__func__.__module__, getattr(value.__func__, "__name__", ""))
    if installed is not None:
        return Parts(digest_of("installed", *installed))
    return Parts(digest_of("method"), [("", value.__func__), (".__self__", value.__self__)])


def _builtin(value: types.BuiltinFunctionType | types.MethodWrapperType) -> Parts:
    owner = value.__self__
    if owner is None or _is_module(owner):
        module = owner.__name__ if _is_module(owner) else str(value.__module__)
        release = release_of(module)
        if release is None:
            raise Unidentifiable("it is compiled")
        return Parts(digest_of("builtin", module, value.__qualname__, release))
    if (state := _global_state(owner)) is not None:
        return Parts(digest_of("state of", *state, value.__name__))
    return Parts(digest_of("builtin", value.__name__), [(".__self__", owner)])


def _global_state(owner: Any) -> tuple[str, str] | None:
    """Return module and name of an object that is known by these, whatever is in it."""
    for module, name in _GLOBAL_STATE:
        if module in sys.modules and getattr(sys.modules[module], name, None) is owner:
            return module, name
    return None


def _partial(value: functools.partial[Any]) -> Parts:
    children: list[Named] = [(".func", value.func), (".args", value.args)]
    children += by_name(value.keywords, value.keywords)
    return Parts(digest_of("partial", str(len(value.keywords))), children + _attributes(value))


def _lru_cache(value: Any) -> Parts:
    installed = name_installed(value, value.__module__, value.__qualname__)
    if installed is not None:
        return Parts(digest_of("installed", *installed))
    return Parts(digest_of("lru_cache", repr(value.cache_parameters())), _attributes(value))


def _property(value: property) -> Parts:
    return Parts(digest_of("property"), [(f".{name}", getattr(value, name)) for name in ("fget", "fset", "fdel")])


def _wrapping(value: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> Parts:
    return Parts(digest_of(type(value).__name__), [("", value.__func__)])


def _cached_property(value: functools.cached_property[Any]) -> Parts:
    return Parts(digest_of("cached_property"), [("", value.func)])


# -- data ----------------------------------------------------------------------------------------


def _instance(value: Any) -> Parts:
    state_of = _global_state(value)
    if state_of is not None:
        return Parts(digest_of("state of", *state_of))
    reduced = _reduced(value)
    if isinstance(reduced, str):
        if isinstance(value, np.ufunc) and not _is_installed(value, reduced):
            raise Unidentifiable("numpy hides the function in it")
        module = str(getattr(value, "__module__", type(value).__module__))
        release = release_of(module) or release_of(type(value).__module__)
        if release is None:
            raise Unidentifiable("it pickles as a name only")
        return Parts(digest_of("name", module, reduced, release))
    make, args, *rest = reduced
    children: list[Named] = [("", make), ("", args)]
    state, items, pairs = [*rest, None, None, None][:3]
    is_plain = type(state) is dict and all(type(name) is str for name in state)
    children += by_name(state, state) if is_plain else [(" state", state)]
    for name, more in (("[]", items), ("[]", pairs)):
        children.append((name, None if more is None else list(more)))
    return Parts(digest_of("instance"), children)


def _is_installed(value: Any, name: str) -> bool:
    """Tell whether any installed package has an object under its name."""
    having = [module for module, one in list(sys.modules.items()) if getattr(one, "__dict__", {}).get(name) is value]
    return any(release_of(module) is not None for module in having)


def _reduced(value: Any) -> str | tuple[Any, ...]:
    """Return what an object pickles as, one level deep."""
    known: Callable[[Any], Any] | None = copyreg.dispatch_table.get(type(value))
    try:
        reduced: str | tuple[Any, ...] = known(value) if known is not None else value.__reduce_ex__(4)
    except Exception as error:
        raise Unidentifiable(f"{type(error).__name__}: {error}") from None
    return reduced


_PARTS: Final[dict[type, Callable[[Any], Parts]]] = {
    tuple: of_sequence,
    list: of_sequence,
    dict: of_mapping,
    types.MappingProxyType: lambda value: of_mapping(dict(value)),
    set: of_set,
    frozenset: of_set,
    bytearray: of_bytes,
    memoryview: of_bytes,
    slice: of_slice,
    types.CodeType: _code,
    types.FunctionType: _function,
    types.MethodType: _method,
    types.BuiltinFunctionType: _builtin,
    types.MethodWrapperType: _builtin,
    types.ModuleType: _module,
    UsedModule: _used_module,
    ImportedModule: _imported_module,
    functools.partial: _partial,
    _LRU_CACHE: _lru_cache,
    property: _property,
    staticmethod: _wrapping,
    classmethod: _wrapping,
    functools.cached_property: _cached_property,
}
