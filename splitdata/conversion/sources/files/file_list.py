"""Files that are named one by one: each is a record, in the order of their names in the list.

Links are followed: a file that is named is meant. The paths, as they are named, are the keys of the
records in a dataset, where no key may come twice.

    a/2.jpg⏎a/1.jpg⏎        @list.txt: a path a line        a/2.jpg  a/1.jpg
    "a/*.jpg"               a pattern: paths sorted          a/1.jpg  a/2.jpg
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from splitdata._local_path import local_path
from splitdata.conversion.sources.files.file_record import FileRecord
from splitdata.conversion.sources.files.input_file import STANDARD_INPUT
from splitdata.conversion.sources.files.many_files import ManyFilesSource
from splitdata.conversion.sources.pattern import paths_like
from splitdata.conversion.sources.seek import count_at
from splitdata.conversion.sources.text.lines import LineSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from splitdata.conversion.sources.files.sized_file import SizedFile
    from splitdata.conversion.sources.source import SourcePosition

__all__ = ["FileListSource", "ListedPaths", "NamedPaths", "matching_files", "naming_line"]

# No system takes longer ones: Windows has 32,767 characters.
_MAX_PATH_BYTES: Final = 4096 if os.name == "posix" else 128 << 10


def matching_files(pattern: str) -> list[str]:
    """Return the files that match a pattern, sorted as a folder's files are; folders are left out."""
    found = [path for path in dict.fromkeys(paths_like(pattern)) if not Path(path).is_dir()]
    return sorted(found, key=lambda path: os.fsencode(_with_slashes(path)))


def _with_slashes(path: str) -> str:
    return path.replace(os.sep, "/") if os.sep != "/" else path


class ListedPaths:
    """The paths in a file, one a line, blank lines left out; read again each time they are iterated.

    From standard input they are read once, and held.
    """

    def __init__(self, path: str) -> None:
        """Take the path of the list, "-" for standard input; raises as `InputFile` does."""
        self._lines = LineSource(path, max_bytes=_MAX_PATH_BYTES)
        self._held: list[tuple[int, str]] | None = None
        self._line = 0
        self._is_standard_input = path == STANDARD_INPUT

    @property
    def name(self) -> str:
        """The name of the list."""
        return self._lines.name

    def where(self) -> str:
        """Return where the path that was given last stands in the list."""
        return f"line {self._line} of {self.name}"

    def __iter__(self) -> Iterator[str]:
        """Yield the paths; relative ones count from the working folder."""
        lines: Iterable[tuple[int, str]] = self._read()
        if self._is_standard_input:
            self._held = list(lines) if self._held is None else self._held
            lines = self._held
        for self._line, path in lines:
            yield path

    def _read(self) -> Iterator[tuple[int, str]]:
        for number, line in enumerate(self._lines, 1):
            if line and not line.isspace():
                if b"\0" in line:
                    raise SourceError(
                        f"{self.name} is no list of paths, one a line: line {number} holds zero bytes",
                        path=self.name,
                    )
                yield number, os.fsdecode(line)


class NamedPaths(Protocol):
    """Paths that know which of them is listed where."""

    def __iter__(self) -> Iterator[str]:
        """Yield the paths, each time anew."""

    def where(self) -> str:
        """Return where the path that was given last is listed; nothing if it is in no list."""


@contextmanager
def naming_line(paths: NamedPaths) -> Iterator[None]:
    """Let errors about files tell the line of the list that names them."""
    try:
        yield
    except OSError as error:
        if error.strerror and (where := paths.where()):
            error.strerror = f"{error.strerror}, named in {where}"
        raise


class _FoundPaths:
    """Some of the paths of a list, and where each is listed."""

    def __init__(self, found: list[tuple[str, str]]) -> None:
        self._found = found
        self._where = ""

    def where(self) -> str:
        return self._where

    def __iter__(self) -> Iterator[str]:
        for path, where in self._found:
            self._where = where
            yield path


class FileListSource(ManyFilesSource):
    """Files as records, in the order in which they are named; memory holds no name but that of one."""

    kind = "files"

    def __init__(self, paths: NamedPaths, *, name: str) -> None:
        """Take paths, and what to call them together."""
        super().__init__()
        self.name = name
        self._paths = paths
        # Relative paths count from here, also if the working folder changes before they are read.
        self._folder = os.getcwd()  # noqa: PTH109  # paths are text here

    @property
    def inputs(self) -> list[str]:
        """Nothing: a dataset, which is a folder, cannot lie inside of a file."""
        return []

    def position(self) -> SourcePosition:
        """Return how many files are done."""
        return {"record": self._num_given, "bytes": self.bytes_read}

    def keyed_records(
        self, position: SourcePosition | None = None
    ) -> Generator[tuple[str, bytes | SizedFile], None, None]:
        """Yield each path behind a position as it is named, its parts separated by "/", and the file's content."""
        position = position or {}
        self.bytes_read = count_at(position, "bytes")
        self._num_given = count_at(position, "record")
        for path in islice(self._paths, self._num_given, None):
            with (
                naming_line(self._paths),
                FileRecord(self._place_of(path), position=self._num_given, count=self._count) as record,
            ):
                if record is None:
                    raise SourceError(
                        f"{path}, named in {self._where()}, is no file but a folder or a device; leave it out there",
                        path=path,
                        position=self._num_given,
                    )
                self._num_given += 1
                yield _with_slashes(path), record
        if not self._num_given:
            raise SourceError(f"{self.name} names no file to convert", path=self.name)

    def _where(self) -> str:
        return self._paths.where() or self.name

    def _place_of(self, path: str) -> str:
        place = local_path(path, f"the path in {self._where()}")
        return place if path.startswith("~") else os.path.join(self._folder, path)  # noqa: PTH118  # as above

    def _found(self) -> Iterator[tuple[tuple[str, str], os.stat_result]]:
        is_empty = True
        with naming_line(self._paths):
            for path in self._paths:
                is_empty = False
                yield (path, self._paths.where()), Path(self._place_of(path)).stat()
        if is_empty:
            raise SourceError(f"{self.name} names no file to convert", path=self.name)

    def _take(self, found: list[tuple[str, str]]) -> None:
        self._paths = _FoundPaths(found)

    def _statuses(self) -> Iterator[tuple[str, os.stat_result]]:
        with naming_line(self._paths):
            for path in self._paths:
                yield _with_slashes(path), Path(self._place_of(path)).stat()
