"""The loaders that are measured, and how each is found; one that is not installed is reported, never fatal.

A module of this folder holds one library's loaders and imports its package at the top, so loading it
tells whether the package is there and works.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.loaders.base import LoaderPeer

__all__ = ["NAMES", "load"]

# Name on the command line, module, classes; in the order of the tables.
_LOADERS: Final = {
    "splitdata": ("splitdata_loaders", ("SplitdataInProcess", "SplitdataThreads", "SplitdataProcesses")),
    "splitdata-views": (
        "splitdata_loaders",
        ("SplitdataViewsInProcess", "SplitdataViewsThreads", "SplitdataViewsProcesses"),
    ),
    "torch": ("torch_loaders", ("TorchInProcess", "TorchWorkers")),
    "torch-on-splitdata": ("torch_on_splitdata", ("TorchInProcessOnSplitdata", "TorchWorkersOnSplitdata")),
    "torchdata": ("torchdata_loader", ("TorchdataWorkers",)),
    "spdl": ("spdl_loader", ("SpdlThreads",)),
    "grain": ("grain_loader", ("GrainThreads", "GrainProcesses")),
    "litdata": ("litdata_loader", ("LitdataWorkers",)),
    "mosaicml-streaming": ("mosaicml_loader", ("MosaicmlWorkers",)),
}

NAMES: Final = tuple(_LOADERS)


def load(names: Iterable[str]) -> tuple[list[LoaderPeer], dict[str, str]]:
    """Return the loaders that work here, and for each other library the reason why it does not."""
    found: list[LoaderPeer] = []
    missing: dict[str, str] = {}
    for name in names:
        module_name, kinds = _LOADERS[name]
        try:
            module = importlib.import_module(f"benchmarks.loaders.{module_name}")
            found += [getattr(module, kind)() for kind in kinds]
        except Exception as error:  # whatever a foreign package does when it is imported
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return found, missing
