"""The walk over a folder of files: the order of its paths, what is left out, and no way out of it.

Each folder is reached through the one that it lies in, which is open, and no link is followed: a folder that is
replaced by a link between being listed and being entered is an error. Where links are to be followed, and where the
system opens no folders (Windows), the way is by path; there, without links, each folder is looked at before and behind.

    root/ ── open ── names, sorted ── a/ ── open, in the open root/ ── names, sorted ── 1.jpg
                                       `─ back by "..", if that is still the folder it came from
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FoundFile", "walk"]

_Identity = tuple[int, int]

# To one link: where two in each folder lead to the next one, paths double at each of forty levels.
_MOST_PATHS: Final = 1000
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_has_folder_descriptors = hasattr(os, "O_DIRECTORY") and (
    {os.open, os.stat} <= os.supports_dir_fd and os.scandir in os.supports_fd
)


class FoundFile(NamedTuple):
    """A file that the walk stands at; of use until the walk goes on.

    Attributes:
        relative: Its path below the folder, with "/" between the parts.
        path: Its whole path.
        folder: Descriptor of the open folder that it is in, None where the way is by path.
        name: Its name in that folder.
    """

    relative: str
    path: str
    folder: int | None
    name: str

    def stat(self, *, follow_links: bool) -> os.stat_result:
        """Look at it, or at what it leads to."""
        if self.folder is None:
            return os.stat(self.path, follow_symlinks=follow_links)  # noqa: PTH116  # paths are text here
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=follow_links)


class _Name(NamedTuple):
    """A name in a folder that is not left out."""

    name: str
    is_folder: bool
    is_link: bool


def walk(
    folder: str, skipped: Counter[str], *, follow_links: bool, links: list[str] | None = None
) -> Iterator[FoundFile]:
    """Yield each regular file in order, and count what is left out.

    Args:
        folder: Where the walk begins; it may be a link.
        skipped: What is left out is counted here.
        follow_links: Whether links are what they lead to.
        links: Takes the paths of the links to folders that are followed.

    Raises:
        SourceError: If a folder is replaced while the walk is in it, a link leads nowhere, or one is reached by more
            than 1,000 paths.
        OSError: If a folder cannot be read.
    """
    place = _WalkedFolder(folder, follow_links=follow_links)
    try:
        # A stack of its own: the depth of folders is not bounded by that of Python's calls.
        levels = [iter(place.names(skipped))]
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                levels.pop()
                if levels:
                    place.leave()
            elif entry.is_folder:
                if entry.is_link:
                    place.count_link(entry.name)
                    if links is not None:
                        links.append(place.path_of(entry.name))
                place.enter(entry.name)
                levels.append(iter(place.names(skipped)))
            else:
                place.look_again()
                yield place.found(entry.name)
    finally:
        place.close()


class _WalkedFolder:
    """The folder that the walk is in: one descriptor at a time, whatever the depth.

    Attributes:
        descriptor: Of the folder, None where the way is by path.
    """

    def __init__(self, folder: str, *, follow_links: bool) -> None:
        self._follows = follow_links
        self._parts: list[str] = []
        self._folder = folder
        self._settle()
        self.descriptor: int | None = None
        if not follow_links and _has_folder_descriptors:
            self.descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _CLOEXEC)
        self._num_followed: Counter[_Identity] = Counter()
        # The identities of this folder and those that it lies in.
        self._above = [self._identity()]

    def _settle(self) -> None:
        """Work out once what the paths of all files here begin with."""
        self._path = os.path.join(self._folder, *self._parts)  # noqa: PTH118  # paths are text here
        self._begin = os.path.join(self._path, "")  # noqa: PTH118
        self._relative_begin = "/".join((*self._parts, ""))

    def path_of(self, name: str) -> str:
        """Return the path of what has a name here."""
        return self._begin + name

    def found(self, name: str) -> FoundFile:
        """Return the file that has a name here."""
        return FoundFile(self._relative_begin + name, self._begin + name, self.descriptor, name)

    def names(self, skipped: Counter[str]) -> list[_Name]:
        """Return the files and folders here, by the order of the paths that begin with them; count what is left out."""
        kept: list[_Name] = []
        is_plain = os.DirEntry.is_file
        with os.scandir(self._path if self.descriptor is None else self.descriptor) as entries:
            for entry in entries:
                # What most are is found out by one question.
                if is_plain(entry, follow_symlinks=False) and not entry.name.startswith("."):
                    kept.append(_Name(entry.name, is_folder=False, is_link=False))
                    continue
                reason = self._reason_to_skip(entry)
                if reason:
                    skipped[reason] += 1
                else:
                    kept.append(_Name(entry.name, entry.is_dir(follow_symlinks=self._follows), _is_link(entry)))
        self.look_again()
        # "a.b" comes before "a/x": a folder is compared with the separator that follows its name.
        return sorted(kept, key=lambda one: os.fsencode(one.name) + b"/" * one.is_folder)

    def enter(self, name: str) -> None:
        """Go into a folder that is here."""
        path = self.path_of(name)
        if self.descriptor is not None:
            self._go(name, path)
        elif not self._follows and _is_link_at(path):
            raise _replaced(path)
        self._parts.append(name)
        self._settle()
        self._above.append(self._identity())

    def count_link(self, name: str) -> None:
        """Raise if one link to a folder is followed too often: links in folders behind links make paths without end."""
        path = self.path_of(name)
        link = _identity(Path(path).lstat())
        self._num_followed[link] += 1
        if self._num_followed[link] > _MOST_PATHS:
            raise SourceError(
                f"{path} is a link that more than {_MOST_PATHS} paths lead to, through other links: name its folder as "
                "a source of its own, or remove links that lead to one place",
                path=path,
            )

    def leave(self) -> None:
        """Go back into the folder that this one lies in."""
        self._above.pop()
        left = self._path
        self._parts.pop()
        self._settle()
        if self.descriptor is not None:
            self._go(os.pardir, left)
            if self._identity() != self._above[-1]:
                raise _replaced(left)
        self.look_again()

    def close(self) -> None:
        """Let go of the folder."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def _go(self, name: str, path: str) -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | _CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except NotADirectoryError:
            raise _replaced(path) from None
        except OSError as error:
            error.filename = path
            raise
        self.close()
        self.descriptor = descriptor

    def look_again(self) -> None:
        """Raise if the way by path leads elsewhere by now."""
        if self.descriptor is None and not self._follows and self._identity() != self._above[-1]:
            raise _replaced(self._path)

    def _identity(self) -> _Identity:
        return _identity(os.fstat(self.descriptor) if self.descriptor is not None else Path(self._path).stat())

    def _reason_to_skip(self, entry: os.DirEntry[str]) -> str | None:
        if entry.name.startswith("."):
            return "hidden name"
        if _is_link(entry):
            # Links could lead out of the folder or round in circles.
            if not self._follows:
                return "symbolic link"
            if _identity(_status_behind(entry)) in self._above:
                return "circular link"
        if not entry.is_file(follow_symlinks=self._follows) and not entry.is_dir(follow_symlinks=self._follows):
            return "special file"
        return None


def _replaced(path: str) -> SourceError:
    return SourceError(
        f"{path} was replaced by something else, or moved, while it was read; nothing outside of the folder is taken: "
        "leave it alone and run this again",
        path=path,
    )


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _is_link(entry: os.DirEntry[str]) -> bool:
    # Junctions are the links of Windows to folders.
    return entry.is_symlink() or (hasattr(entry, "is_junction") and entry.is_junction())


def _is_link_at(path: str) -> bool:
    status = Path(path).lstat()
    is_junction = getattr(status, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
    return stat.S_ISLNK(status.st_mode) or is_junction


def _status_behind(link: os.DirEntry[str]) -> os.stat_result:
    try:
        # Windows gives no identity of an entry itself.
        return Path(link.path).stat()
    except FileNotFoundError:
        where = Path(link.path).readlink()
        raise SourceError(
            f"{link.path} is a link to {where}, which does not exist: mend or remove it, or leave links out",
            path=link.path,
        ) from None
