"""The peers, and how each is found; one that is not installed is reported, never fatal.

A module of this folder holds one peer and imports its package at the top, so loading it tells
whether the package is there and works.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.peers.base import Peer

__all__ = ["NAMES", "load"]

# Name, module, class; in the order of the tables.
_PEERS: Final = {
    "splitdata": ("splitdata_peer", "Splitdata"),
    "splitdata-unverified": ("splitdata_peer", "SplitdataUnverified"),
    "splitdata-loader": ("splitdata_loader_peer", "LoaderGlobal"),
    "splitdata-loader-bins": ("splitdata_loader_peer", "LoaderBins"),
    "bare-file": ("bare_file", "BareFile"),
    "numpy-rows": ("bare_file", "NumpyRows"),
    "lmdb": ("lmdb_peer", "Lmdb"),
    "splitdataloader": ("splitdataloader_peer", "Splitdataloader"),
    "array_record": ("array_record_peer", "ArrayRecord"),
    "mosaicml-streaming": ("mosaicml_peer", "MosaicmlStreaming"),
    "litdata": ("litdata_peer", "Litdata"),
    "webdataset": ("webdataset_peer", "Webdataset"),
    "datasets": ("huggingface_peer", "HuggingfaceDatasets"),
    "lance": ("lance_peer", "Lance"),
    "h5py": ("hdf5_peer", "Hdf5"),
}

NAMES: Final = tuple(_PEERS)


def load(names: Iterable[str]) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that work here, and for each other one the reason why it does not."""
    peers: list[Peer] = []
    missing: dict[str, str] = {}
    for name in names:
        module, kind = _PEERS[name]
        try:
            peers.append(getattr(importlib.import_module(f"benchmarks.peers.{module}"), kind)())
        except Exception as error:  # whatever a foreign package does when it is imported
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return peers, missing
