"""Chooses the source of records for what a user typed.

Only kind="callable", or a function that is given itself, runs code: no name that comes from data, a folder or a
pattern is ever imported. recognise.py tells the kind where none is said.

    one path                        its source
    *.jsonl, several names          these files one after another, by the same table; of other names each is a record
    @list.txt                       files: each file that the list names is a record, whatever its name
    a function                      what it yields
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from splitdata._local_path import local_path
from splitdata.conversion.sources.files.file_folder import FolderSource
from splitdata.conversion.sources.files.file_list import FileListSource, ListedPaths, matching_files, naming_line
from splitdata.conversion.sources.files.image_folder import ImageFolderSource, check_classes
from splitdata.conversion.sources.files.input_file import STANDARD_INPUT
from splitdata.conversion.sources.function import FunctionSource
from splitdata.conversion.sources.kinds import csv_format, list_kinds, open_kind, source_kinds, typed_sources
from splitdata.conversion.sources.options import SourceOptions
from splitdata.conversion.sources.recognise import check_no_container, kind_among_several, kind_of
from splitdata.conversion.sources.several import SeveralFolders, several_sources
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from splitdata.conversion.sources.source import Record, RecordSource

    RecordFunction: TypeAlias = Callable[..., Iterable[Record]]
    """Called without arguments, or with the number of records to leave out as `start` if it has that parameter."""
    Named: TypeAlias = str | os.PathLike[str] | RecordFunction

__all__ = ["Named", "RecordFunction", "open_source"]

_PATTERN: Final = re.compile(r"[*?[]")
_LIST_MARK: Final = "@"
_NO_SOURCE: Final = "no source was given; several sources are one or more"


def open_source(
    source: Named | Sequence[Named],
    *,
    kind: str = "auto",
    validate: bool = False,
    column: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    quotes: bool = True,
    encoding: str = "utf-8",
    from_bins: bool = False,
    typed: bool = False,
    types: Mapping[str, str] | None = None,
    dtype: str | None = None,
    block: int | None = None,
    prefix_keys: bool = False,
    follow_links: bool = False,
) -> RecordSource:
    """Return the source of records that a text names, or that a function yields.

    Args:
        source: A path, "-" for standard input, a pattern such as "data/*.jsonl", "@list.txt" for the files
            that a list names, or a function that yields records; several of them are read one after another.
        kind: One of `source_kinds()`; docs/convert.md has what each is and gives. "folder" and "files" take each file
            as a record. "callable" calls a function that yields records: given as "module:function", its module is
            imported, which runs it, so never pass on such a text that you do not trust. "auto" decides by what is
            there and by the name, never imports, and asks where it cannot tell.
        validate: Refuse lines of JSONL that are not JSON.
        column: Of CSV, TSV and tables: the column whose values are the records; None makes a JSON object of
            each row, and of tables a sample. Without a header its number, from 0. Of several arrays: the one whose
            rows alone are the samples.
        delimiter: The character between fields, if it is not that of the kind.
        header: Whether the first row names the columns.
        quotes: Whether fields may stand in double quotes.
        encoding: Of CSV and TSV; records are UTF-8 in any case.
        from_bins: Of such a directory also take the records that its index does not list, behind the others,
            and leave out those that are damaged.
        typed: Of JSONL, CSV, TSV and TFRecord: the records are samples. Of CSV and TSV the types of the columns are
            told by the first 1,000 rows of the first file, and a later value of another type is an error.
        types: Of fields of JSONL and columns of CSV, by their names: "int", "float", "bool", "str", "json", a data type
            of numpy, or an array of one, as "float32[]". Columns that are left out are text. Means `typed` as well.
        dtype: Of flat files of tokens: "u16" or "u32", for instance; None where the file says it, as llm.c's do.
        block: Of such files: the number of tokens that are a sample.
        prefix_keys: Of folders: the keys of files begin with the path of their folder, as it is given here.
            Keys of files that are named one by one always do.
        follow_links: Of folders: take what symbolic links lead to as if it were there. Those of files that
            are named one by one are followed in any case.

    Raises:
        FileNotFoundError: If there is no such file, folder or function.
        SourceError: If the kind cannot be told, or what is there does not fit it.
        ValueError: If the kind is unknown, or an option does not go with it.
    """
    if kind not in source_kinds():
        raise ValueError(f"kind must be one of {', '.join(map(repr, source_kinds()))}, got {kind!r}")
    options = SourceOptions(
        validate=validate,
        column=column,
        delimiter=delimiter,
        header=header,
        quotes=quotes,
        encoding=encoding,
        from_bins=from_bins,
        typed=typed,
        types=types,
        dtype=dtype,
        block=block,
        prefix_keys=prefix_keys,
        follow_links=follow_links,
    )
    csv_format(options)
    is_one = isinstance(source, (str, bytes, os.PathLike)) or callable(source)
    given = [cast("Named", source)] if is_one else list(cast("Sequence[Named]", source))
    if kind == "callable" or (kind == "auto" and given and all(map(callable, given))):
        return _open_functions(given, has_options=bool(options.given))
    texts = [_text_of(one) for one in given]
    paths = _Paths(texts, is_list=kind == "list")
    is_said = kind != "auto"
    if kind == "list":
        kind = "files"
    if kind == "auto":
        kind = _kind_of_several(paths) if paths.are_several else kind_of(texts[0])
    options.check_for(kind, paths.name)
    with naming_line(paths):
        return _open(paths, kind, options, is_said=is_said)


def _open(paths: _Paths, kind: str, options: SourceOptions, *, is_said: bool) -> RecordSource:
    """Return the source of paths that are of one kind; `is_said` if it was not guessed."""
    if kind == "files":
        return FileListSource(paths, name=paths.name)
    if kind == "imagefolder":
        pictures = [
            ImageFolderSource(path, prefix_keys=options.prefix_keys, follow_links=options.follow_links)
            for path in paths
        ]
        check_classes(pictures)
        return SeveralFolders(pictures, name=paths.name) if paths.are_several else pictures[0]
    if kind == "folder":
        folders = [
            FolderSource(
                path,
                prefix_keys=options.prefix_keys,
                follow_links=options.follow_links,
                check=None if is_said else check_no_container,
            )
            for path in paths
        ]
        return SeveralFolders(folders, name=paths.name) if paths.are_several else folders[0]
    parts = [open_kind(_found(path) if paths.are_found else path, kind, options) for path in paths]
    if options.typed or options.types:
        parts = typed_sources(parts, kind, options)
    return several_sources(parts, name=paths.name) if paths.are_several else parts[0]


def _found(path: str) -> str:
    """Return how to open what a pattern or a list brings along; raise for what could let the open wait for ever."""
    status = Path(local_path(path, "the source")).stat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise SourceError(
            f"{path} is no file but a pipe or a device, which is read only where it is named by itself; leave it out",
            path=path,
        )
    return os.path.join(os.curdir, path) if path == STANDARD_INPUT else path  # noqa: PTH118  # paths are text here


def _open_functions(given: Sequence[Named], *, has_options: bool) -> RecordSource:
    """Return the source of functions, which are taken as they are named: nothing is a pattern or a list here."""
    if not given:
        raise ValueError(_NO_SOURCE)
    if has_options:
        raise ValueError("options of files and folders are for these, and this is read as callable")
    parts = [FunctionSource(one if callable(one) else os.fspath(one)) for one in given]
    return several_sources(parts, name=f"{parts[0].name} and {len(parts) - 1} more") if len(parts) > 1 else parts[0]


def _text_of(source: Any) -> str:  # what callers without a type checker pass
    """Return what names a source as text, with `~` expanded as by a shell; raises as `local_path` does."""
    if callable(source):
        raise TypeError(f"{source!r} is a function, and the other sources, or the kind, are not")
    text: str = os.fspath(source)
    if not isinstance(text, str):
        local_path(text, "the source")
    if text == STANDARD_INPUT:
        return text
    mark = _LIST_MARK if text.startswith(f"{_LIST_MARK}~") else ""
    place = local_path(text[len(mark) :], "the source")
    # Relative paths stay relative: paths as they are named are keys.
    return mark + place if text.startswith("~", len(mark)) else text


class _Paths:
    """The paths for which texts stand: themselves, what matches a pattern, what a list names; in this order."""

    def __init__(self, texts: Sequence[str], *, is_list: bool) -> None:
        if not texts:
            raise ValueError(_NO_SOURCE)
        if sum(text.removeprefix(_LIST_MARK) == STANDARD_INPUT for text in texts) > 1:
            raise ValueError("standard input is named more than once, and can be read only once")
        self._groups = [_paths_of(text, is_list=is_list) for text in texts]
        more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
        self.name = _name_of(texts[0]) + more
        self._texts = texts
        self._listed: ListedPaths | None = None
        # Whether the path that was given last is one that nobody typed.
        self.are_found = False
        self.are_several = len(texts) > 1 or self._groups[0] != [texts[0]]

    def kinds(self) -> set[str]:
        """Return the kinds of these by their names; what a list names is a file each, whatever its name."""
        kinds: set[str] = set()
        for group in self._groups:
            kinds |= {"files"} if isinstance(group, ListedPaths) else set(map(kind_among_several, group))
        return kinds

    def where(self) -> str:
        """Return where the path that was given last is listed; nothing if it is in no list."""
        return self._listed.where() if self._listed else ""

    def __iter__(self) -> Iterator[str]:
        is_empty = True
        for text, group in zip(self._texts, self._groups, strict=True):
            self._listed = group if isinstance(group, ListedPaths) else None
            self.are_found = group != [text]
            for path in group:
                is_empty = False
                yield path
        if is_empty:
            raise SourceError(f"{self.name} names no file to convert", path=self.name)


def _name_of(text: str) -> str:
    return text if text == STANDARD_INPUT else Path(text.removeprefix(_LIST_MARK)).name


def _paths_of(text: str, *, is_list: bool) -> Iterable[str]:
    """Return the paths for which one text stands; what exists by that very name stands for itself."""
    if is_list:
        return ListedPaths(text.removeprefix(_LIST_MARK))
    if text == STANDARD_INPUT or os.path.lexists(text):
        return [text]
    if text.startswith(_LIST_MARK) and len(text) > 1:
        return ListedPaths(text.removeprefix(_LIST_MARK))
    if not _PATTERN.search(text):
        return [text]
    found = matching_files(text)
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no file matches this pattern", text)
    return found


def _kind_of_several(paths: _Paths) -> str:
    """Return the kind of files that are read together: by their names if these agree, else each is a record."""
    kinds = paths.kinds()
    if len(kinds) > 1:
        raise SourceError(
            f"{paths.name}: these are of several kinds by their names ({', '.join(sorted(kinds))}); "
            f"say which kind they are, 'files' takes each as a record: {list_kinds()}",
            path=paths.name,
        )
    return kinds.pop()
