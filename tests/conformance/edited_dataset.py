"""Applies the edits of a case to a copy of its dataset.

remove | rename | link | folder | fifo | size | offset + hex | text      README.md says what each does
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

from tests.conformance.dataset_editor import text_of

__all__ = ["CASES", "copy_with_edits"]

_HERE: Final = Path(__file__).resolve().parent
CASES: Final[list[dict[str, Any]]] = json.loads((_HERE / "verdicts.json").read_bytes())


def copy_with_edits(case: dict[str, Any], folder: Path) -> None:
    """Make the dataset of a case in a folder that does not exist yet."""
    shutil.copytree(_HERE / "datasets" / case["dataset"], folder)
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
