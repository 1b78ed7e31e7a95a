"""The paths that match a pattern, each folder below `**` visited once.

The way of Python's own `**` through links is as long as there are paths, which links that lead round in circles, or
twice to one place at each of forty levels, make endless.

    data/**/*.jpg     data/  data/a/  data/a/b/      *.jpg in each
                      data/a/link -> /other          *.jpg in /other and below, by the path of the link
                      data/a/link -> data            been there: nothing
"""

from __future__ import annotations

import glob
import os
import re
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["paths_like"]

_SEPARATOR: Final = r"[/\\]" if os.sep == "\\" else "/"
_TWO_STARS: Final = re.compile(rf"(?:^|(?<={_SEPARATOR}))\*\*(?:{_SEPARATOR}+|$)")


def paths_like(pattern: str) -> Iterator[str]:
    """Yield the paths that match a pattern, in no order; with several `**` in it, some may come more than once.

    `*`, `?` and `[a-z]` stand for parts of a name that does not begin with a dot, `**` for any folders. What cannot
    be read does not match.
    """
    found = _TWO_STARS.search(pattern)
    if not found:
        # The method of Path takes no absolute pattern.
        yield from glob.iglob(pattern)  # noqa: PTH207
        return
    above = pattern[: found.start()]
    # At its end it stands for all that is in them.
    below = "*" if pattern.endswith("**") and found.end() == len(pattern) else pattern[found.end() :]
    for top in glob.iglob(above) if above else [""]:  # noqa: PTH207
        for folder in _folders_from(top):
            yield from paths_like(glob.escape(folder) + below)


def _folders_from(top: str) -> Iterator[str]:
    """Yield a folder and those below it, each with a separator at its end; those behind links last, and none twice."""
    seen: set[tuple[int, int]] = set()
    folders, behind_links = [top], deque[str]()
    while folders or behind_links:
        folder = folders.pop() if folders else behind_links.popleft()
        names: list[tuple[str, bool]] = []
        with suppress(OSError):
            status = os.stat(folder or os.curdir)  # noqa: PTH116  # paths are text here
            identity = status.st_dev, status.st_ino
            if identity in seen:
                continue
            seen.add(identity)
            with os.scandir(folder or os.curdir) as entries:
                names = sorted((entry.name, entry.is_symlink()) for entry in entries if _is_shown_folder(entry))
        yield folder
        for name, is_link in names:
            (behind_links if is_link else folders).append(f"{folder}{name}{os.sep}")


def _is_shown_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        return not entry.name.startswith(".") and entry.is_dir()
    return False
