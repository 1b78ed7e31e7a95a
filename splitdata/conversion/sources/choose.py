"""Chooses the source of records for what a user typed.

Only kind="callable", or a function that is given itself, runs code: no name that comes from data, a folder or a
pattern is ever imported.

    -                       lines of standard input, unless a kind says otherwise
    a folder                its files; the records of its index, if the package splitdataloader wrote it
    a folder                huggingface  if `save_to_disk` of the package datasets wrote it: each row is a sample
    name.jsonl(.gz, ...)    jsonl        also .ndjson, .jsonlines; .gz, .zst, .bz2 and .xz
    name.txt(.gz, ...)      lines        also .text, .log
    name.csv, name.tsv      csv, tsv     also .tab
    name.parquet, .pq       parquet      each row is a sample
    name.arrow, .feather    arrow        each row is a sample
    name.zip                zip          each file in it is a record
    name.tar(.gz, ...)      webdataset   if members in a row share a stem, among the first 64; else tar: files
    name.bin                binaryblob   if name.idx lies beside it, as mlproject and dataset_server write both
    *.jsonl, several names  these files one after another, by the same table; of other names each is a record
    @list.txt               files        each file that the list names is a record, whatever its name
    anything else           an error that asks for the kind
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args

from splitdata._local_path import local_path
from splitdata.conversion.sources.arrow_tables import ArrowSource, ParquetSource, huggingface_kind, open_huggingface
from splitdata.conversion.sources.binary_blob import BinaryBlobSource, is_binary_blob
from splitdata.conversion.sources.csv_rows import CsvFormat, CsvSource
from splitdata.conversion.sources.dataset_source import open_dataset
from splitdata.conversion.sources.file_folder import FolderSource
from splitdata.conversion.sources.file_list import FileListSource, ListedPaths, matching_files, naming_line
from splitdata.conversion.sources.function import FunctionSource
from splitdata.conversion.sources.image_folder import ImageFolderSource, check_classes
from splitdata.conversion.sources.input_file import STANDARD_INPUT, plain_suffix
from splitdata.conversion.sources.legacy_source import LegacySource
from splitdata.conversion.sources.lines import JsonLineSource, LineSource
from splitdata.conversion.sources.prefixed import PrefixedSource
from splitdata.conversion.sources.several import SeveralFolders, several_sources
from splitdata.conversion.sources.tar_files import TarSource
from splitdata.conversion.sources.tfrecord import TFRecordSource, is_named_tfrecord
from splitdata.conversion.sources.webdataset_shard import WebDatasetSource, is_webdataset
from splitdata.conversion.sources.zip_files import ZipSource
from splitdata.dataset.legacy.legacy_directory import is_legacy_directory
from splitdata.dataset.legacy.legacy_files import bins_in
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from splitdata.conversion.sources.source import Record, RecordSource

    RecordFunction: TypeAlias = Callable[..., Iterable[Record]]
    """Called without arguments, or with the number of records to leave out as `start` if it has that parameter."""
    Named: TypeAlias = str | os.PathLike[str] | RecordFunction

__all__ = ["KINDS", "Named", "RecordFunction", "SourceKind", "open_source"]

SourceKind: TypeAlias = Literal[
    "auto",
    "folder",
    "files",
    "list",
    "lines",
    "jsonl",
    "csv",
    "tsv",
    "prefixed",
    "tfrecord",
    "imagefolder",
    "zip",
    "tar",
    "webdataset",
    "parquet",
    "arrow",
    "huggingface",
    "splitdata",
    "splitdataloader",
    "binaryblob",
    "callable",
]

KINDS: Final[tuple[SourceKind, ...]] = get_args(SourceKind)
_KIND_OF_SUFFIX: Final[dict[str, SourceKind]] = {
    ".arrow": "arrow",
    ".csv": "csv",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".jsonlines": "jsonl",
    ".log": "lines",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tab": "tsv",
    ".text": "lines",
    ".tsv": "tsv",
    ".txt": "lines",
    ".zip": "zip",
}
_FUNCTION: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MANIFEST: Final = re.compile(r"manifest\.[0-9]+\.json")
_PATTERN: Final = re.compile(r"[*?[]")
_LIST_MARK: Final = "@"
_NO_SOURCE: Final = "no source was given; several sources are one or more"


def open_source(
    source: Named | Sequence[Named],
    *,
    kind: SourceKind = "auto",
    validate: bool = False,
    column: str | None = None,
    delimiter: str | None = None,
    header: bool = True,
    quotes: bool = True,
    encoding: str = "utf-8",
    from_bins: bool = False,
    prefix_keys: bool = False,
    follow_links: bool = False,
) -> RecordSource:
    """Return the source of records that a text names, or that a function yields.

    Args:
        source: A path, "-" for standard input, a pattern such as "data/*.jsonl", "@list.txt" for the files
            that a list names, or a function that yields records; several of them are read one after another.
        kind: "folder" and "files" take each file as a record, "list" each file that a file names,
            "imagefolder" each picture in a folder for each class, as a sample, "zip" and "tar" each file in an archive,
            "webdataset" a sample of all files of a tar that share a stem, "lines" and "jsonl" each line, "csv" and
            "tsv" each row, "prefixed" reads records that follow their length as u32 little-endian, "tfrecord" the
            payloads of a TFRecord file, "splitdataloader"
            a directory that the package of this name wrote, "binaryblob" the .bin of a BinaryBlob with its .idx
            beside it, "callable" calls a function that yields them: given as "module:function", its module is
            imported, which runs it, so never pass on such a text that you do not trust.
            "auto" decides by what is there and by the name, never imports, and asks where it cannot tell.
        validate: Refuse lines of JSONL that are not JSON.
        column: Of CSV, TSV and tables: the column whose values are the records; None makes a JSON object of
            each row, and of tables a sample. Without a header its number, from 0.
        delimiter: The character between fields, if it is not that of the kind.
        header: Whether the first row names the columns.
        quotes: Whether fields may stand in double quotes.
        encoding: Of CSV and TSV; records are UTF-8 in any case.
        from_bins: Of such a directory also take the records that its index does not list, behind the others,
            and leave out those that are damaged.
        prefix_keys: Of folders: the keys of files begin with the path of their folder, as it is given here.
            Keys of files that are named one by one always do.
        follow_links: Of folders: take what symbolic links lead to as if it were there. Those of files that
            are named one by one are followed in any case.

    Raises:
        FileNotFoundError: If there is no such file, folder or function.
        SourceError: If the kind cannot be told, or what is there does not fit it.
        ValueError: If the kind is unknown, or an option does not go with it.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    form = CsvFormat(column=column, delimiter=delimiter, header=header, quotes=quotes, encoding=encoding)
    is_one = isinstance(source, (str, bytes, os.PathLike)) or callable(source)
    given = [cast("Named", source)] if is_one else list(cast("Sequence[Named]", source))
    if kind == "callable" or (kind == "auto" and given and all(map(callable, given))):
        plain = not (validate or from_bins or prefix_keys or follow_links) and form == CsvFormat()
        return _open_functions(given, has_options=not plain)
    texts = [_text_of(one) for one in given]
    paths = _Paths(texts, is_list=kind == "list")
    if kind == "list":
        kind = "files"
    if kind == "auto":
        kind = _kind_of_several(paths) if paths.are_several else _kind_of(texts[0])
    if validate and kind != "jsonl":
        raise ValueError(f"validate=True is for JSONL, and {paths.name} is read as {kind}")
    if form != CsvFormat(column=column if kind in _TABLES else None) and kind not in ("csv", "tsv"):
        raise ValueError(f"options of CSV and TSV are for these, and {paths.name} is read as {kind}")
    if from_bins and kind != "splitdataloader":
        raise ValueError(f"from_bins=True is for directories of splitdataloader, and {paths.name} is read as {kind}")
    if prefix_keys and kind not in ("folder", "imagefolder", "files"):
        raise ValueError(f"prefix_keys=True is for files with their paths as keys, and {paths.name} is read as {kind}")
    if follow_links and kind not in ("folder", "imagefolder", "files"):
        raise ValueError(f"follow_links=True is for folders, and {paths.name} is read as {kind}")
    if kind == "files":
        return FileListSource(paths, name=paths.name)
    if kind == "folder":
        with naming_line(paths):
            folders = [FolderSource(path, prefix_keys=prefix_keys, follow_links=follow_links) for path in paths]
        return SeveralFolders(folders, name=paths.name) if paths.are_several else folders[0]
    if kind == "imagefolder":
        with naming_line(paths):
            pictures = [ImageFolderSource(path, prefix_keys=prefix_keys, follow_links=follow_links) for path in paths]
        check_classes(pictures)
        return SeveralFolders(pictures, name=paths.name) if paths.are_several else pictures[0]
    with naming_line(paths):
        parts = [
            _open_one(_found(path) if paths.are_found else path, kind, form, validate=validate, from_bins=from_bins)
            for path in paths
        ]
    return several_sources(parts, name=paths.name) if paths.are_several else parts[0]


def _open_one(text: str, kind: SourceKind, form: CsvFormat, *, validate: bool, from_bins: bool) -> RecordSource:
    """Return the source of a kind that reads one thing, and gives no keys."""
    if kind == "jsonl":
        return JsonLineSource(text, validate=validate)
    if kind in ("csv", "tsv"):
        return CsvSource(text, form, kind=kind)
    if kind == "splitdataloader":
        return LegacySource(text, from_bins=from_bins)
    if kind in _TABLES:
        return _TABLES[kind](text, form.column)
    if kind not in _OPENERS:
        raise ValueError(f"no source reads one {kind!r} alone")
    return _OPENERS[kind](text)


_TABLES: Final[dict[SourceKind, Callable[[str, str | None], RecordSource]]] = {
    "arrow": ArrowSource,
    "huggingface": open_huggingface,
    "parquet": ParquetSource,
}
_OPENERS: Final[dict[SourceKind, Callable[[str], RecordSource]]] = {
    "binaryblob": BinaryBlobSource,
    "lines": LineSource,
    "prefixed": PrefixedSource,
    "tfrecord": TFRecordSource,
    "splitdata": open_dataset,
    "tar": TarSource,
    "webdataset": WebDatasetSource,
    "zip": ZipSource,
}


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

    def kinds(self) -> set[SourceKind]:
        """Return the kinds of these by their names; what a list names is a file each, whatever its name."""
        kinds: set[SourceKind] = set()
        for group in self._groups:
            kinds |= {"files"} if isinstance(group, ListedPaths) else set(map(_kind_among_several, group))
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


def _kind_of_several(paths: _Paths) -> SourceKind:
    """Return the kind of files that are read together: by their names if these agree, else each is a record."""
    kinds = paths.kinds()
    if len(kinds) > 1:
        raise SourceError(
            f"{paths.name}: these are of several kinds by their names ({', '.join(sorted(kinds))}); "
            "say which kind they are: kind='files' takes each as a record",
            path=paths.name,
        )
    return kinds.pop()


def _kind_among_several(path: str) -> SourceKind:
    if path == STANDARD_INPUT:
        return "lines"
    if Path(path).is_dir():
        return _kind_of_folder(Path(path))
    if _FUNCTION.fullmatch(path) and not Path(path).exists():
        raise _not_found(path)
    if _is_tar(path) and Path(path).is_file():
        return "webdataset" if is_webdataset(path) else "tar"
    if is_named_tfrecord(path):
        return "tfrecord"
    return "binaryblob" if is_binary_blob(Path(path)) else _KIND_OF_SUFFIX.get(plain_suffix(path), "files")


def _is_tar(path: str) -> bool:
    """Say whether a name is that of a tar archive, plain or compressed."""
    return plain_suffix(path) == ".tar"


def _kind_of(text: str) -> SourceKind:
    if text == STANDARD_INPUT:
        return "lines"
    path = Path(text)
    # An empty text would be the working folder.
    if text and path.is_dir():
        return _kind_of_folder(path)
    if text and path.exists():
        return _kind_of_file(text)
    raise _not_found(text)


def _not_found(text: str) -> FileNotFoundError:
    hint = ""
    if _FUNCTION.fullmatch(text):
        hint = "; if a function is meant, say so, as its module will be imported, which runs it: kind='callable'"
    return FileNotFoundError(errno.ENOENT, f"there is no such file or folder{hint}", text)


def _kind_of_file(text: str) -> SourceKind:
    suffix = plain_suffix(text)
    if _is_tar(text):
        return "webdataset" if is_webdataset(text) else "tar"
    if suffix in _KIND_OF_SUFFIX:
        return _KIND_OF_SUFFIX[suffix]
    if is_named_tfrecord(text):
        return "tfrecord"
    if is_binary_blob(Path(text)):
        return "binaryblob"
    raise SourceError(
        f"{text}: its name does not tell how to find records in it; "
        "say which kind it is: kind='lines', 'jsonl', 'csv', 'tsv', 'prefixed', or 'files' for one record",
        path=text,
    )


def _kind_of_folder(folder: Path) -> SourceKind:
    """Return the kind of a folder; the bins and manifests of a dataset are hardly meant as records."""
    if (folder / "segments").is_dir() and any(_MANIFEST.fullmatch(name.name) for name in folder.iterdir()):
        return "splitdata"
    if huggingface_kind(folder):
        return "huggingface"
    if is_legacy_directory(str(folder)):
        return "splitdataloader"
    if bins_in(str(folder)):
        raise SourceError(
            f"{folder} holds bins of the package splitdataloader without their index.dat; "
            "kind='splitdataloader' with from_bins=True takes records from the bins, kind='folder' takes each file as "
            "a record",
            path=folder,
        )
    if is_binary_blob(next(folder.glob("*.bin"), folder)):
        raise SourceError(
            f"{folder} holds files of a BinaryBlob: name them, '{folder}/*.bin', to convert their values; "
            "kind='folder' takes each file as a record",
            path=folder,
        )
    container = next((name for name in folder.iterdir() if _is_container(name)), None)
    if container:
        raise SourceError(
            f"{folder} holds {container.name}, which has records of its own: name such files, "
            f"'{folder}/*{container.suffix}', to convert these; kind='folder' takes each file as a record",
            path=folder,
        )
    return "folder"


def _is_container(path: Path) -> bool:
    """Say whether a file is one of many records by its name, which are hardly meant as one record together."""
    named = (
        _is_tar(path.name)
        or is_named_tfrecord(path.name)
        or _KIND_OF_SUFFIX.get(plain_suffix(path.name)) in (*_TABLES, "zip")
    )
    return named and not path.name.startswith(".") and path.is_file()
