"""Tells the kind of a source by what is there and by its name; runs nothing, and reads a few bytes at most.

What holds records of its own is never taken as opaque files: a folder with such a file anywhere in it is refused.

    -                       lines of standard input
    a folder                splitdata, huggingface, splitdataloader, ... by the files that mark it; else folder
    a folder                mds, litdata by the index.json in it; lmdb by data.mdb; zarr by its metadata
    name.jsonl(.gz, ...)    jsonl        also .ndjson, .jsonlines; .gz, .zst, .bz2 and .xz
    name.txt(.gz, ...)      lines        also .text, .log
    name.csv, name.tsv      csv, tsv     also .tab
    name.parquet, .pq       parquet      each row is a sample
    name.arrow, .feather    arrow        each row is a sample
    name.zip                zip          each file in it is a record
    name.tar(.gz, ...)      webdataset   if members in a row share a stem, among the first 64; else tar: files
    name.npy, .npz          npy, npz     each row is a sample
    name.h5, .hdf5          hdf5         also by the first bytes, as npy
    name.arrayrecord        arrayrecord  also .array_record, and -00000-of-00010 behind it
    name.mdb                lmdb         each value is a record
    name.bin                megatron     if name.idx lies beside it, and begins with MMIDIDX
    name.bin                binaryblob   if name.idx lies beside it, as mlproject and dataset_server write both
    anything else           an error that lists the kinds
"""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Final

from splitdata.conversion.sources.archives.webdataset_shard import is_webdataset
from splitdata.conversion.sources.arrays.megatron import MEGATRON_MARK
from splitdata.conversion.sources.files.input_file import STANDARD_INPUT, plain_suffix
from splitdata.conversion.sources.kinds import SOURCE_KINDS, list_kinds
from splitdata.conversion.sources.records.binary_blob import is_binary_blob
from splitdata.conversion.sources.records.tfrecord import is_named_tfrecord
from splitdata.conversion.sources.tables.saved_dataset import huggingface_kind
from splitdata.dataset.legacy.legacy_directory import is_legacy_directory
from splitdata.dataset.legacy.legacy_files import bins_in
from splitdata.errors import SourceError

__all__ = ["check_no_container", "is_named_like_function", "kind_among_several", "kind_of"]

_KIND_OF_SUFFIX: Final = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".jsonlines": "jsonl",
    ".log": "lines",
    ".ndjson": "jsonl",
    ".tab": "tsv",
    ".text": "lines",
    ".tsv": "tsv",
    ".txt": "lines",
}
# Of these each is many records, hardly meant as one record together.
_CONTAINER_OF_SUFFIX: Final = {
    ".arrow": "arrow",
    ".beton": "ffcv",
    ".feather": "arrow",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".mdb": "lmdb",
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tar": "tar",
    ".zip": "zip",
}
# Known, and not read by themselves.
_UNREAD: Final = {
    "ffcv": "is a dataset of FFCV, which is not read",
    "mds shard": "is a shard of MosaicML, which is read with its index.json: name the folder that it lies in",
    "litdata chunk": "is a chunk of LitData, which is read with its index.json: name the folder that it lies in",
    "zipped zarr": "is a Zarr store in a zip: unpack it, and name the folder",
}
# Other names are those of no container, which is told at once for each of millions of files.
_MAYBE_CONTAINER: Final = re.compile(
    r"\.(arrow|beton|bin|feather|h5|hdf5|idx|mdb|mds|np[yz]|parquet|pq|tar|zip)(\.\w+)?$|\.(tfrec|array_?record)|"
    r"(index|zarr)\.json$|\.zarr/",
    re.IGNORECASE,
)
_MDS_SHARD: Final = re.compile(r".*\.mds(\.\w+)?", re.DOTALL | re.IGNORECASE)
_ARRAY_RECORD: Final = re.compile(r".*\.array_?record(-\d+-of-\d+)?", re.DOTALL | re.IGNORECASE)
_CONTAINER_OF_START: Final = {
    b"\x93NUMPY": "npy",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
}
_ZARR_MARKS: Final = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")
# Files by whose names a folder is known as one dataset.
_MARKS: Final = (*_ZARR_MARKS, "index.json", "data.mdb")
_FUNCTION: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MANIFEST: Final = re.compile(r"manifest\.[0-9]+\.json")
_MAX_INDEX_BYTES: Final = 1 << 28


def kind_of(text: str) -> str:
    """Return the kind of the one thing that a text names.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        SourceError: If it cannot be told, or is one that is not read.
    """
    if text == STANDARD_INPUT:
        return "lines"
    path = Path(text)
    # An empty text would be the working folder.
    if text and path.is_dir():
        return _kind_of_folder(path)
    if not (text and path.exists()):
        raise _not_found(text)
    kind = _read_kind(_kind_of_name(text) or _kind_of_content(path), text)
    if kind is None:
        raise SourceError(
            f"{text}: neither its name nor its first bytes tell how to find records in it; say which kind it is, "
            f"'files' for one record: {list_kinds()}",
            path=text,
        )
    return kind


def kind_among_several(path: str) -> str:
    """Return the kind of one of several by its name; "files" where it tells of no records; raises as `kind_of` does."""
    if path == STANDARD_INPUT:
        return "lines"
    if Path(path).is_dir():
        return _kind_of_folder(Path(path))
    if is_named_like_function(path) and not Path(path).exists():
        raise _not_found(path)
    return _read_kind(_kind_of_name(path), path) or "files"


def is_named_like_function(text: str) -> bool:
    """Say whether a text has the form of module:function."""
    return bool(_FUNCTION.fullmatch(text))


def check_no_container(folder: str, relative: str, path: str) -> None:
    """Raise SourceError if a file below a folder holds records of its own, or is a part of what does."""
    if not _MAYBE_CONTAINER.search(relative):
        return
    *above, name = relative.split("/")
    is_store = [part.lower().endswith(".zarr") for part in above]
    if any(is_store):
        place = "/".join(above[: is_store.index(True) + 1])
    elif _container_of(path):
        place = "/".join(above) if name in _MARKS else relative
    else:
        return
    suffix = Path(place).suffix
    pattern = f"{'**/' if '/' in place else ''}*{suffix}" if suffix else place
    raise SourceError(
        f"{folder} holds {relative}, which has records of its own: name such {'files' if suffix else 'folders'}, "
        f"'{folder}/{pattern}', to convert these; kind='folder' takes each file as a record",
        path=folder,
    )


def _read_kind(kind: str | None, path: str) -> str | None:
    """Return a kind, unless it is one that is not read."""
    if kind is None or kind in SOURCE_KINDS:
        return kind
    why = _UNREAD.get(kind, f"is of the kind {kind}, which is not read")
    how = "folder' takes each file" if Path(path).is_dir() else "files' takes it"
    raise SourceError(f"{path} {why}; kind='{how} as a record", path=path)


def _not_found(text: str) -> FileNotFoundError:
    hint = ""
    if is_named_like_function(text):
        hint = "; if a function is meant, say so, as its module will be imported, which runs it: kind='callable'"
    return FileNotFoundError(errno.ENOENT, f"there is no such file or folder{hint}", text)


def _kind_of_name(path: str) -> str | None:
    """Return the kind of a file by its name, and by what lies beside it."""
    kind = _container_of(path)
    if kind == "tar" and Path(path).is_file() and is_webdataset(path):
        return "webdataset"
    return kind or _KIND_OF_SUFFIX.get(plain_suffix(path))


def _container_of(path: str) -> str | None:
    """Return the kind of a file that holds many records; None for others."""
    suffix, name = plain_suffix(path), os.path.basename(path)  # noqa: PTH119  # paths are text here, of every file
    if name.lower().endswith(".zarr.zip"):
        return "zipped zarr"
    if _MDS_SHARD.fullmatch(name):
        return "mds shard"
    if suffix in _CONTAINER_OF_SUFFIX:
        return _CONTAINER_OF_SUFFIX[suffix]
    if is_named_tfrecord(path):
        return "tfrecord"
    if _ARRAY_RECORD.fullmatch(name):
        return "arrayrecord"
    if suffix in (".bin", ".idx"):
        return _kind_of_pair(path)
    if name == "index.json":
        return _kind_of_index(Path(path))
    return "zarr" if name in _ZARR_MARKS else None


def _kind_of_pair(found: str) -> str | None:
    """Return the kind of a .bin with an .idx beside it, or with the index of LitData."""
    stem = os.path.splitext(found)[0]  # noqa: PTH122  # paths are text here, of every file
    if os.path.isfile(f"{stem}.idx") and os.path.isfile(f"{stem}.bin"):  # noqa: PTH113
        with Path(f"{stem}.idx").open("rb") as file:
            if file.read(len(MEGATRON_MARK)) == MEGATRON_MARK:
                return "megatron"
    path = Path(found)
    if is_binary_blob(path):
        return "binaryblob"
    if path.name.startswith("chunk-") and _kind_of_index(path.parent / "index.json") == "litdata":
        return "litdata chunk"
    return None


def _kind_of_index(path: Path) -> str | None:
    """Return the kind of dataset that an index.json describes."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_INDEX_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return "mds" if isinstance(found.get("shards"), list) else "litdata" if "chunks" in found else None


def _kind_of_content(path: Path) -> str | None:
    """Return the kind of a file by its first bytes; what is no file is not opened."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(16)
    return next((kind for mark, kind in _CONTAINER_OF_START.items() if start.startswith(mark)), None)


def _kind_of_folder(folder: Path) -> str:
    """Return the kind of a folder; the bins and manifests of a dataset are hardly meant as records."""
    marked = _read_kind(_marked_kind(folder), str(folder))
    if marked:
        return marked
    if bins_in(str(folder)):
        raise SourceError(
            f"{folder} holds bins of the package splitdataloader without their index.dat; "
            "kind='splitdataloader' with from_bins=True takes records from the bins, kind='folder' takes each file as "
            "a record",
            path=folder,
        )
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            check_no_container(str(folder), entry.name, entry.path)
        elif _marked_kind(Path(entry.path)):
            raise SourceError(
                f"{folder} holds {entry.name}, which has records of its own: name it, '{folder}/{entry.name}', to "
                "convert these; kind='folder' takes each file as a record",
                path=folder,
            )
    return "folder"


def _marked_kind(folder: Path) -> str | None:
    """Return the kind of a folder that belongs together, by the files that mark it."""
    if (folder / "segments").is_dir() and any(_MANIFEST.fullmatch(name.name) for name in folder.iterdir()):
        return "splitdata"
    if huggingface_kind(folder):
        return "huggingface"
    if is_legacy_directory(str(folder)):
        return "splitdataloader"
    if (folder / "data.mdb").is_file():
        return "lmdb"
    if any((folder / mark).is_file() for mark in _ZARR_MARKS):
        return "zarr"
    return _kind_of_index(folder / "index.json")
