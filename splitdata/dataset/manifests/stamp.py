"""The stamp of a commit: which program made it, and when. For people; nothing depends on it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from splitdata._version import __version__

if TYPE_CHECKING:
    from splitdata.format.manifest import Manifest

__all__ = ["restamped", "stamped", "unstamped"]

_WRITER: Final = f"splitdata {__version__}"


def stamped(manifest: Manifest) -> Manifest:
    """Return a manifest that says that it is made here and now, to the second."""
    return replace(manifest, writer=_WRITER, time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))


def unstamped(manifest: Manifest) -> Manifest:
    """Return a manifest that says neither, so that equal records give equal files."""
    return replace(manifest, writer=None, time=None)


def restamped(manifest: Manifest) -> Manifest:
    """Return one that goes on from another, and has a stamp of its own if that had one."""
    return manifest if manifest.time is None else stamped(manifest)
