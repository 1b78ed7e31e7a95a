"""Applies the edits of a case to a copy of its dataset.

remove | rename | link | folder | fifo | size | offset + hex | text      README.md says what each does
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

from tests.conformance.odd_manifests import text_of

__all__ = ["CONFORMANCE", "copy_with_edits"]

CONFORMANCE: Final = Path(__file__).resolve().parent


def copy_with_edits(case: dict[str, Any], folder: Path) -> None:
    """Make the dataset of a case in a folder that does not exist yet."""
    shutil.copytree(CONFORMANCE / "datasets" / case["dataset"], folder)
    for edit in case.get("edits", ()):
        _apply(edit, folder)


def _apply(edit: dict[str, Any], folder: Path) -> None:
    path = folder / edit["file"]
    if "rename" in edit:
        path.rename(folder / edit["rename"])
        return
    if "remove" in edit or {"link", "folder", "fifo"} & edit.keys():
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if "link" in edit:
        path.symlink_to(edit["link"])
    elif "folder" in edit:
        path.mkdir()
    elif "fifo" in edit:
        os.mkfifo(path)
    elif "text" in edit:
        path.write_text(text_of(edit["text"]), "utf-8", newline="")
    elif "size" in edit:
        path.touch()
        os.truncate(path, edit["size"])
    elif "hex" in edit:
        with path.open("r+b") as file:
            file.seek(edit["offset"])
            file.write(bytes.fromhex(edit["hex"]))
