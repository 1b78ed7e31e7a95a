"""The index.json of a folder of shards: read in bounds, and every value proven to be of its type.

What an index names lies in its own folder, or below it: names that lead elsewhere are refused.

    {"shards": [{"raw_data": {"basename": "shard.00000.mds", ...}, ...}]}  ──>  values, or an error that names them
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from splitdata._local_path import local_path
from splitdata._shown import shown
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IndexFile"]

_MAX_BYTES: Final = 1 << 28
_INDEX: Final = "index.json"

_Value = TypeVar("_Value")


class IndexFile:
    """An index.json.

    Attributes:
        folder: The folder that it lies in, as it was named.
        content: What it says.
    """

    def __init__(self, path: str) -> None:
        """Read the index of a folder, or one that is named itself.

        Raises:
            SourceError: If it is damaged or has more than 256 MiB.
            OSError: If it cannot be read.
        """
        named = Path(local_path(path, "the source"))
        file = named if named.name == _INDEX and not named.is_dir() else named / _INDEX
        self.folder = path if file != named else str(Path(path).parent)
        self.name = file.resolve().parent.name
        self._shown = str(file)
        with file.open("rb") as opened:
            text = opened.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise self.damaged(f"it has more than {_MAX_BYTES} bytes")
        try:
            content = json.loads(text.decode())
        except (ValueError, RecursionError) as error:
            raise self.damaged(str(error)) from None
        if not isinstance(content, dict):
            raise self.damaged("it is no object")
        self.content: dict[str, Any] = content

    def value(self, where: Mapping[str, Any], name: str, kind: type[_Value]) -> _Value:
        """Return a value of a type, of 0 or more if it is a number; SourceError if it is none."""
        found = where.get(name)
        if type(found) is not kind or (isinstance(found, int) and not 0 <= found < 1 << 63):
            raise self.damaged(f"{name!r} is {shown(found)}")
        return found

    def objects(self, where: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
        """Return a list of objects."""
        found = self.value(where, name, list)
        if not all(isinstance(one, dict) for one in found):
            raise self.damaged(f"{name!r} holds something else than objects")
        return found

    def texts(self, where: Mapping[str, Any], name: str) -> list[str]:
        """Return a list of texts."""
        found = self.value(where, name, list)
        if not all(isinstance(one, str) for one in found):
            raise self.damaged(f"{name!r} holds something else than texts")
        return found

    def path_of(self, where: Mapping[str, Any], name: str) -> str:
        """Return the path of a file that it names, in its folder or below."""
        found = self.value(where, name, str)
        if not found or set(found) & set("\\\0:") or any(part in ("", ".", "..") for part in found.split("/")):
            raise self.damaged(f"{name!r} is {shown(found)}, which is no name of a file in its folder")
        return f"{self.folder}/{found}"

    def damaged(self, why: str) -> SourceError:
        """Return an error that says why it is not taken."""
        return SourceError(f"{self._shown} is damaged: {why}", path=self._shown)
