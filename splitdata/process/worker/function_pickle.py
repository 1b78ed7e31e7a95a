"""Sends a function to its worker, and lets instances of classes of `__main__` come back as the user's own.

    consumer                                            worker
    pack_call(function, args, kwargs) --> bytes --> unpack_call --> function, args, kwargs

The worker never imports the user's script. Functions, lambdas, closures and classes of `__main__` travel
by value (cloudpickle), everything that can be imported by name. A class that travelled by value is put
back under its name into the worker's own `__main__`: its instances then pickle by name, and in the
consumer that name is the user's own class, so `isinstance` holds.

In a process that multiprocessing has spawned, as it does for each rank of a job, the script is the module
`__mp_main__`: that one travels by value too, and stands for `__main__` in the worker.

    consumer                                            worker
    pack_call(function, args, kwargs) --> bytes --> unpack_call --> function, args, kwargs
"""

from __future__ import annotations

import io
import pickle
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["pack_call", "unpack_call"]

_SPAWNED_MAIN = "__mp_main__"
# An object that is packed may pack something itself.
_registry_lock = threading.RLock()


def pack_call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Pickle a call.

    Raises:
        TypeError: Part of it cannot be sent; the message names that part.
    """
    try:
        return _dumps((function, args, dict(kwargs)))
    except Exception as error:
        from splitdata.process.wire.unpicklable import find_unpicklable

        name = getattr(function, "__qualname__", None) or repr(function)
        candidates: list[tuple[str, Any]] = [(f"function {name}", function)]
        candidates += [(f"args[{place}]", value) for place, value in enumerate(args)]
        candidates += [(f"kwargs[{key!r}]", value) for key, value in kwargs.items()]
        for path, value in candidates:
            try:
                _dumps(value)
            except Exception:
                path, part = find_unpicklable(value, path, _dumps)
                raise TypeError(
                    f"cannot send {path} to a worker process: {type(part).__module__}.{type(part).__qualname__} "
                    f"cannot be pickled ({error}). Make it in the worker, by the function that uses it, or use "
                    "start_method='fork'. No process was started."
                ) from error
        raise


def _dumps(value: Any) -> bytes:
    import cloudpickle

    main = sys.modules.get(_SPAWNED_MAIN)
    if main is None:
        return bytes(cloudpickle.dumps(value))
    # The registry is cloudpickle's own, for the whole process: what it held before, it holds after.
    with _registry_lock:
        is_ours = _SPAWNED_MAIN not in cloudpickle.list_registry_pickle_by_value()
        cloudpickle.register_pickle_by_value(main)
        try:
            return bytes(cloudpickle.dumps(value))
        finally:
            if is_ours:
                cloudpickle.unregister_pickle_by_value(main)


class _CallUnpickler(pickle.Unpickler):
    """Takes note of the classes that cloudpickle makes."""

    def find_class(self, module: str, name: str) -> Any:
        """Import by name; let the makers of classes show what they make."""
        try:
            found = super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise _not_importable(f"{name!r} of module {module!r}", module, error) from error
        if module == "cloudpickle.cloudpickle" and name.startswith("_make_skeleton_"):

            def make(*args: Any) -> Any:
                return _put_into_main(found(*args))

            return make
        return found


def _put_into_main(cls: Any) -> Any:
    main = sys.modules["__main__"]
    name = cls.__qualname__
    if cls.__module__ in ("__main__", _SPAWNED_MAIN) and "." not in name and not hasattr(main, name):
        setattr(main, name, cls)
        sys.modules.setdefault(cls.__module__, main)
    return cls


def unpack_call(packed: bytes | memoryview) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Rebuild a call in the worker. Only bytes that this process's own parent sent may come here.

    Raises:
        ModuleNotFoundError: Something that it names cannot be imported here; says what, and the ways out.
    """
    try:
        call: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] = _CallUnpickler(io.BytesIO(packed)).load()
    except ModuleNotFoundError as error:
        if error.__cause__ is not None:
            # It says so already.
            raise
        # For a function that travelled by value, cloudpickle imports the modules that it names.
        raise _not_importable(f"module {error.name!r}", error.name, error) from error
    return call


def _not_importable(what: str, module: str | None, error: Exception) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"a worker process could not import {what}, which the function or data that it was sent need "
        f"({type(error).__name__}: {error}). Workers import by name from sys.path: a module that was made at run time "
        "or loaded by its path exists in this program alone. Put its folder on sys.path; or write what is sent into "
        "the script or notebook itself, whose functions travel by value; or call "
        "cloudpickle.register_pickle_by_value(module) first; or use threads, or start_method='fork'.",
        name=module,
    )
