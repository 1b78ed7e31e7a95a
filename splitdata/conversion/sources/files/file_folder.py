"""A folder of files: each regular file below it is a record, in the order of their relative paths.

Paths are compared as bytes, with "/" between their parts, so the order is the same on every file
system. They are the keys of the records in a dataset, on request with the path of the folder before them.
Left out and counted: what is hidden (a name that begins with a dot, and all below it), symbolic links unless
they are to be followed, and all that is neither file nor folder (pipes, sockets, devices). A link to a
folder that it lies in leads round in a circle: it is never followed.

    root/b.jpg  root/a/2.jpg  root/a/1.jpg  ──>  a/1.jpg  a/2.jpg  b.jpg
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from splitdata._local_path import local_path
from splitdata.conversion.sources.files.file_record import FileRecord
from splitdata.conversion.sources.files.folder_walk import FoundFile, walk
from splitdata.conversion.sources.files.many_files import ManyFilesSource
from splitdata.conversion.sources.seek import count_at
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from splitdata.conversion.sources.files.sized_file import SizedFile
    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["FolderSource"]


class FolderSource(ManyFilesSource):
    """The files of a folder and of all folders below it.

    Memory holds the names of the folders on one path, never those of all files.
    """

    kind = "folder"

    def __init__(
        self,
        path: str,
        *,
        prefix_keys: bool = False,
        follow_links: bool = False,
        check: Callable[[str, str, str], None] | None = None,
    ) -> None:
        """Take the folder; it may be a link itself.

        Args:
            path: Of the folder.
            prefix_keys: Put the path, as it is here, before the relative path of each file in its key.
            follow_links: Take what symbolic links lead to, by the path of the link.
            check: Called with the folder, the relative path and the path of each file before it is taken; raises for
                one that must not be.

        Raises:
            FileNotFoundError, NotADirectoryError: If there is none.
        """
        self.path = local_path(path, "the source")
        self.shown = path
        if not stat.S_ISDIR(Path(self.path).stat().st_mode):
            raise NotADirectoryError(20, "this is not a folder", self.path)
        super().__init__()
        self.prefix = f"{path.replace(os.sep, '/').rstrip('/')}/" if prefix_keys else ""
        self._follow_links = follow_links
        self._check = check
        self._num_entries = 0
        # Relative paths of the files of a part.
        self._listed: list[str] | None = None

    @property
    def name(self) -> str:
        """The name of the folder."""
        return Path(self.path).resolve().name

    @property
    def inputs(self) -> list[str]:
        """The path of the folder, and of each that links in it lead to, if they are followed."""
        links: list[str] = []
        if self._follow_links:
            for _ in walk(self.path, Counter(), follow_links=True, links=links):
                pass
        return [self.path, *dict.fromkeys(str(Path(path).resolve()) for path in links)]

    def position(self) -> SourcePosition:
        """Return how many files are done."""
        return {"file": self._num_entries, "record": self._num_given, "bytes": self.bytes_read}

    def keyed_records(
        self, position: SourcePosition | None = None
    ) -> Generator[tuple[str, bytes | SizedFile], None, None]:
        """Yield the key of each file behind a position, and its content."""
        position = position or {}
        self.skipped.clear()
        self.bytes_read = count_at(position, "bytes")
        self._num_entries, self._num_given = count_at(position, "file"), count_at(position, "record")
        for found in islice(self._walk(self.skipped), self._num_entries, None):
            self._num_entries += 1
            with FileRecord(
                found.path,
                position=self._num_given,
                count=self._count,
                follow_links=self._follow_links,
                folder=found.folder,
                name=found.name,
            ) as record:
                if record is None:
                    self.skipped["special file"] += 1
                    continue
                self._num_given += 1
                yield self.prefix + found.relative, record
        if not self._num_given and self._listed is None:
            raise self._holds_nothing()

    def _holds_nothing(self) -> SourceError:
        left_out = ", ".join(f"{what}: {number}" for what, number in self.skipped.items())
        text = f" (left out: {left_out})" if left_out else ""
        return SourceError(f"{self.shown} holds no file to convert{text}", path=self.path)

    def keys(self) -> Iterator[str]:
        """Walk over the files and yield their keys in order, by their bytes; opens none."""
        for found in self._walk(Counter()):
            yield self.prefix + found.relative

    def _statuses(self) -> Iterator[tuple[str, os.stat_result]]:
        for found in self._walk(Counter()):
            yield self.prefix + found.relative, found.stat(follow_links=self._follow_links)

    def _walk(self, skipped: Counter[str]) -> Iterator[FoundFile]:
        if self._listed is not None:
            for name in self._listed:
                yield FoundFile(name, os.path.join(self.path, name), None, name)  # noqa: PTH118  # paths are text here
            return
        for found in walk(self.path, skipped, follow_links=self._follow_links):
            if self._check is not None:
                self._check(self.shown, found.relative, found.path)
            yield found

    def _found(self) -> Iterator[tuple[str, os.stat_result]]:
        self.skipped.clear()
        is_empty = True
        for found in self._walk(self.skipped):
            is_empty = False
            yield found.relative, found.stat(follow_links=self._follow_links)
        if is_empty:
            raise self._holds_nothing()

    def _take(self, found: list[str]) -> None:
        # They were checked when they were found.
        self._listed, self._num_entries, self._check = found, 0, None
