"""What was written of the parts of a dataset is put together, one part after the other.

Each part may be added twice: an export that was killed meanwhile adds its last one again.

    part 7 of jsonl:  file          ──> behind the bytes of parts 0 to 6
    part 7 of mds:    shards, index ──> shard.00012.mds, ...; their entries in index.json at the end
    part 7 of files:  folder        ──> its files, none over one that is there
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitdata.conversion.sinks.choose_sink import ExportFormat

__all__ = ["Assembly", "assembly_of", "info_of"]

_COPIED_BYTES: Final = 1 << 20


class Assembly(Protocol):
    """Puts parts together."""

    def is_whole(self) -> bool:
        """Say whether what was added before is still there."""

    def add(self, part: Path, info: dict[str, Any]) -> None:
        """Add the next part: what was written, and what `info_of` tells of it."""

    def finish(self) -> None:
        """Write what describes all parts."""


def info_of(to: ExportFormat, part: Path) -> dict[str, Any]:
    """Return what has to be known of a part, as JSON has it."""
    if to == "files":
        return {}
    if to == "webdataset":
        return {"shards": sorted(found.name for found in part.iterdir())}
    if to == "mds":
        return dict(json.loads((part / "index.json").read_text(encoding="utf-8")))
    return {"bytes": part.stat().st_size}


def assembly_of(to: ExportFormat, place: Path, added: Sequence[dict[str, Any]]) -> Assembly:
    """Return what puts parts together at a place, where those of this information have been added already."""
    if to == "files":
        return _FileTree(place, len(added))
    if to in ("webdataset", "mds"):
        return _Shards(place, added, is_mds=to == "mds")
    return _JoinedFile(place, sum(int(info["bytes"]) for info in added))


class _JoinedFile:
    """One file."""

    def __init__(self, place: Path, end: int) -> None:
        self._place = place
        self._end = end

    def is_whole(self) -> bool:
        return not self._end or (self._place.exists() and self._place.stat().st_size >= self._end)

    def add(self, part: Path, info: dict[str, Any]) -> None:
        with self._place.open("ab") as file, part.open("rb") as piece:
            file.truncate(self._end)
            shutil.copyfileobj(piece, file, _COPIED_BYTES)
            file.flush()
            os.fsync(file.fileno())
        self._end += int(info["bytes"])

    def finish(self) -> None:
        # What a killed export has left behind its last part.
        os.truncate(self._place, self._end)


class _Shards:
    """A folder of shards that are numbered."""

    def __init__(self, place: Path, added: Sequence[dict[str, Any]], *, is_mds: bool) -> None:
        self._place = place
        self._is_mds = is_mds
        self._shards: list[Any] = []
        for info in added:
            self._shards += self._renamed(info)

    def _renamed(self, info: dict[str, Any]) -> list[Any]:
        """Return the shards of a part under the names that they have among all."""
        numbered = list(enumerate(info["shards"], len(self._shards)))
        if not self._is_mds:
            return [f"{number:06d}.tar" for number, _ in numbered]
        return [
            shard | {"raw_data": shard["raw_data"] | {"basename": f"shard.{number:05d}.mds"}}
            for number, shard in numbered
        ]

    def _name(self, shard: Any) -> str:
        return str(shard["raw_data"]["basename"] if self._is_mds else shard)

    def is_whole(self) -> bool:
        return all((self._place / self._name(shard)).exists() for shard in self._shards)

    def add(self, part: Path, info: dict[str, Any]) -> None:
        self._place.mkdir(exist_ok=True)
        renamed = self._renamed(info)
        for before, after in zip(info["shards"], renamed, strict=True):
            source, target = part / self._name(before), self._place / self._name(after)
            if source.exists() or not target.exists():
                source.replace(target)
        self._shards += renamed

    def finish(self) -> None:
        if self._is_mds:
            index = {"shards": self._shards, "version": 2}
            (self._place / "index.json").write_text(json.dumps(index, sort_keys=True), encoding="utf-8")


class _FileTree:
    """A folder of files."""

    def __init__(self, place: Path, num_added: int) -> None:
        self._place = place
        self._num_added = num_added

    def is_whole(self) -> bool:
        return not self._num_added or self._place.exists()

    def add(self, part: Path, info: dict[str, Any]) -> None:
        self._place.mkdir(exist_ok=True)
        for folder, names, files in os.walk(part):
            target = self._place / Path(folder).relative_to(part)
            for name in names:
                (target / name).mkdir(exist_ok=True)
            for name in files:
                _move_new(Path(folder, name), target / name)

    def finish(self) -> None:
        """All is there."""


def _move_new(source: Path, target: Path) -> None:
    """Move a file to where there is none, but for itself."""
    try:
        os.link(source, target)
    except FileExistsError:
        if not source.samefile(target):
            raise FileExistsError(errno.EEXIST, "two records have this name", str(target)) from None
    except OSError:
        # A file system without a second name for a file.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "two records have this name", str(target)) from None
        source.rename(target)
        return
    source.unlink()
