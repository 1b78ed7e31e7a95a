"""A folder that is made with all that lead to it, so that their names would survive a loss of power."""

from __future__ import annotations

import os

from splitdata.storage import files

__all__ = ["make_folder"]


def make_folder(folder: str, *, durable: bool) -> bool:
    """Make a directory and its parents, so that their names would survive a loss of power; True if it was not there.

    A link to a directory will do for the dataset as a whole, as it does for a reader.
    """
    if os.path.isdir(folder):
        return False
    parent = os.path.dirname(os.path.abspath(folder))
    # The root is there, whatever a failing system says of it.
    if parent != folder:
        make_folder(parent, durable=durable)
    made = files.make_directory(folder)
    if durable:
        files.sync_directory(parent)
    return made
