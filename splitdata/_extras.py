"""Loads an optional library where it is first needed; a missing one is named with the command that installs it.

No name comes from data: all are written in the library's own code.

    load_extra("h5py", "hdf5", "reading a.h5")  ──>  the module, or
                                                     reading a.h5 needs h5py: pip install 'splitdata[hdf5]'
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["load_extra"]


def load_extra(module: str, extra: str, wanted_by: str) -> Any:
    """Return a module.

    Args:
        module: Its name.
        extra: Of splitdata, which installs it.
        wanted_by: What needs it.

    Raises:
        ModuleNotFoundError: If it is not installed; the message has the command.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        message = f"{wanted_by} needs {package}: pip install 'splitdata[{extra}]'"
        raise ModuleNotFoundError(message, name=package) from error
