"""The journal of an export that can be resumed: of which dataset it is, and which parts have been added.

A line is written whole or does not count: what is killed while it writes one has not written it.

    {"export": {...}}                                    what is exported, and how
    {"ready": 0, "records": 500, "info": {...}}          part 0 lies beside; it is added next
    {"added": 0}                                         it has been; parts/0 is not needed any more
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from splitdata._shown import shown
from splitdata.errors import StateMismatchError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ExportJournal"]

_NAME: Final = "journal"


class ExportJournal:
    """What an export has done; all of it is in memory too.

    Attributes:
        parts: What was said of each part that is ready, in their order.
        num_added: How many of these have been added.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Read what an earlier export has left in a folder, or begin a new one there.

        Raises:
            StateMismatchError: If it was another export.
        """
        self.parts: list[dict[str, Any]] = []
        self.num_added = 0
        folder.mkdir(exist_ok=True)
        self._path = path = folder / _NAME
        self._head = _line({"export": identity})
        end = self._read(path, identity) if path.exists() else 0
        if end:
            os.truncate(path, end)
        else:
            path.write_bytes(b"")
            self._write(self._head)

    def _read(self, path: Path, identity: dict[str, Any]) -> int:
        """Take what the lines say; returns where the last whole one ends."""
        end = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                said = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            if "export" in said:
                _check_same(said["export"], identity, path)
            elif "ready" in said:
                self.parts.append(said)
            else:
                self.num_added = int(said["added"]) + 1
            end += len(line)
        return end

    def ready(self, number: int, num_records: int, info: dict[str, Any]) -> None:
        """Note that a part lies beside, whole."""
        said = {"ready": number, "records": num_records, "info": info}
        self.parts.append(said)
        self._write(_line(said))

    def added(self) -> None:
        """Note that the next part has been added."""
        self._write(_line({"added": self.num_added}))
        self.num_added += 1

    def begin_again(self) -> None:
        """Forget all parts."""
        self.parts.clear()
        self.num_added = 0
        os.truncate(self._path, len(self._head))

    def _write(self, line: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(line)
            os.fsync(file.fileno())


def _line(said: dict[str, Any]) -> bytes:
    return json.dumps(said, sort_keys=True).encode() + b"\n"


def _check_same(before: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    differences = [
        f"{name} was {shown(before.get(name))}, and is {shown(now.get(name))}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise StateMismatchError(
            f"the export that was begun in {path.parent} is another one: {'; '.join(differences)}; nothing was "
            "changed: give the same again, or export without resuming, which begins anew"
        )
