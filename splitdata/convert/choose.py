"""From what a user typed to a source of records.

-                       lines of standard input, unless a kind says otherwise
a folder                folder
name.jsonl(.gz, .zst)   jsonl        also .ndjson, .jsonlines
name.txt(.gz, .zst)     lines        also .text, .log
module:function         callable     where no file has that name
anything else           an error that asks for the kind
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from splitdata.convert.folder import FolderSource
from splitdata.convert.function import FunctionSource
from splitdata.convert.input_file import STANDARD_INPUT, plain_suffix
from splitdata.convert.lines import JsonLineSource, LineSource
from splitdata.convert.prefixed import PrefixedSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from splitdata.convert.source import RecordSource

__all__ = ["KINDS", "SourceKind", "open_source"]

SourceKind: TypeAlias = Literal["auto", "folder", "lines", "jsonl", "prefixed", "callable"]

KINDS: Final[tuple[SourceKind, ...]] = ("auto", "folder", "lines", "jsonl", "prefixed", "callable")
_KIND_OF_SUFFIX: Final[dict[str, SourceKind]] = {
    ".jsonl": "jsonl",
    ".jsonlines": "jsonl",
    ".ndjson": "jsonl",
    ".log": "lines",
    ".text": "lines",
    ".txt": "lines",
}
_FUNCTION: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MANIFEST: Final = re.compile(r"manifest\.[0-9]+\.json")


def open_source(text: str | os.PathLike[str], *, kind: SourceKind = "auto", validate: bool = False) -> RecordSource:
    """Return the source of records that a text names.

    Args:
        text: A path, "-" for standard input, or "module:function". Such a module is imported, which
            runs it: never pass on text that you do not trust.
        kind: "folder" takes each file as a record, "lines" and "jsonl" each line, "prefixed" reads
            records that follow their length as u32 little-endian, "callable" calls a function that
            yields them. "auto" decides by what is there and by the name, and asks where it cannot tell.
        validate: Refuse lines of JSONL that are not JSON.

    Raises:
        FileNotFoundError: If there is no such file, folder or function.
        SourceError: If the kind cannot be told, or what is there does not fit it.
        ValueError: If the kind is unknown, or does not go with `validate`.
    """
    text = os.fspath(text)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
    if kind == "auto":
        kind = _kind_of(text)
    if validate and kind != "jsonl":
        raise ValueError(f"validate is for JSONL, and {text} is read as {kind}")
    if kind == "folder":
        return FolderSource(text)
    if kind == "lines":
        return LineSource(text)
    if kind == "jsonl":
        return JsonLineSource(text, validate=validate)
    if kind == "prefixed":
        return PrefixedSource(text)
    return FunctionSource(text)


def _kind_of(text: str) -> SourceKind:
    if text == STANDARD_INPUT:
        return "lines"
    path = Path(text)
    # An empty text would be the working folder.
    if text and path.is_dir():
        _check_no_dataset(path)
        return "folder"
    if text and path.exists():
        return _kind_of_file(text)
    if _FUNCTION.fullmatch(text):
        return "callable"
    raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", text)


def _kind_of_file(text: str) -> SourceKind:
    suffix = plain_suffix(text)
    if suffix in _KIND_OF_SUFFIX:
        return _KIND_OF_SUFFIX[suffix]
    raise SourceError(
        f"{text}: its name does not tell how to find records in it; "
        "say which kind it is (kind=, --from): lines, jsonl or prefixed",
        path=text,
    )


def _check_no_dataset(folder: Path) -> None:
    """Raise for a folder that is a dataset: its bins and manifests are hardly the records meant."""
    if (folder / "segments").is_dir() and any(_MANIFEST.fullmatch(name.name) for name in folder.iterdir()):
        raise SourceError(
            f"{folder} is a splitdata dataset already; "
            "to store its files as records, say that its kind is folder (kind=, --from)",
            path=folder,
        )
