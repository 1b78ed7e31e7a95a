"""Folders that MosaicML's MDSWriter wrote: each sample of each shard, its columns with their types.

Where the index gives hashes, a shard is read once for these before its first sample is taken.

    index.json ──> shard.00000.mds(.zstd, .gz, .bz2) ──hashes, decompressed──> u32 n, offsets, | sample | sample | ...
                       sample: u32 size of each column whose size is not fixed, then the columns
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from splitdata.conversion.sources.files.decompress import bunzip2, gunzip, unzstd
from splitdata.conversion.sources.files.hashed_file import check_hashes
from splitdata.conversion.sources.numbered import NumberedFileSource
from splitdata.conversion.sources.several import SeveralSources
from splitdata.conversion.sources.shards.index_json import IndexFile
from splitdata.conversion.sources.shards.mds_values import mds_encoding
from splitdata.conversion.sources.shards.offset_shard import shard_items
from splitdata.conversion.sources.text.column_values import read_numbers
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from splitdata.conversion.sources.shards.mds_values import MdsEncoding
    from splitdata.conversion.sources.source import RecordSource

__all__ = ["open_mds"]

_DECOMPRESSORS: Final = {"zstd": unzstd, "gz": gunzip, "bz2": bunzip2}
_VERSION: Final = 2


class _Columns(NamedTuple):
    """Names of the columns of a shard and of their encodings, in their order."""

    names: list[str]
    encodings: list[str]


class _StoredFile(NamedTuple):
    """A file of a shard: raw, or compressed as a whole.

    Attributes:
        num_bytes: That the index says it has.
        hashes: That the index gives of it, by algorithm.
        decompress: None if it is raw.
    """

    path: str
    num_bytes: int
    hashes: dict[str, Any]
    decompress: Callable[[Iterable[bytes], str], Iterator[bytes]] | None


class MdsShard(NumberedFileSource):
    """The samples of one shard."""

    kind = "mds"

    def __init__(self, file: _StoredFile, columns: _Columns, *, num_samples: int, raw_bytes: int) -> None:
        """Take what the index says of it.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        super().__init__(file.path)
        self._file = file
        self._columns = columns
        self._num_samples = num_samples
        self._raw_bytes = raw_bytes

    @property
    def bytes_read(self) -> int:
        """Bytes of the shard read so far, for its samples."""
        return self._input.bytes_read

    def _samples(self, first: int) -> Iterator[dict[str, Any]]:
        with self._named():
            if self.num_bytes != self._file.num_bytes:
                raise SourceError(
                    f"has {self.num_bytes} bytes, and its index says {self._file.num_bytes}: it was truncated, or "
                    "replaced"
                )
            check_hashes(self._input.stored(), self._file.hashes)
            items = shard_items(
                self._blocks,
                num_items=self._num_samples,
                size=self._raw_bytes,
                first=first,
                can_seek=self._file.decompress is None,
            )
            # Made where it is read: a shard may be sent to another process, and what decodes may not.
            encodings = [cast("MdsEncoding", mds_encoding(encoding)) for encoding in self._columns.encodings]
            for number, item in enumerate(items, first):
                yield self._decode(item, number, encodings)

    def _blocks(self, start: int) -> Iterator[bytes]:
        stored = self._input.stored(start)
        return stored if self._file.decompress is None else self._file.decompress(stored, self._input.shown)

    def _decode(self, item: bytes, number: int, encodings: list[MdsEncoding]) -> dict[str, Any]:
        """Return the columns of a sample, by their names."""
        names = self._columns.names
        name = names[0] if names else ""
        try:
            num_sizes = sum(encoding.size is None for encoding in encodings)
            sizes = iter(read_numbers(item, 0, num_sizes, "<u4"))
            place, sample = 4 * num_sizes, {}
            for name, encoding in zip(names, encodings, strict=True):
                stop = place + (next(sizes) if encoding.size is None else encoding.size)
                if stop > len(item):
                    raise ValueError(f"it ends at byte {stop} of a sample of {len(item)} bytes")
                sample[name] = encoding.decode(item[place:stop])
                place = stop
            if place != len(item):
                raise ValueError(f"it is the last and ends at byte {place} of a sample of {len(item)} bytes")
        except ValueError as error:
            raise SourceError(f"is damaged in column {name} of sample {number}: {error}", position=number) from None
        return sample


def open_mds(path: str) -> RecordSource:
    """Return the samples of a folder of shards, or of its index.json.

    Raises:
        SourceError: If the index is damaged, or a column is pickled or of another encoding that is not read.
        FileNotFoundError: If a shard is missing.
    """
    index = IndexFile(path)
    shards = [_shard_of(index, about) for about in index.objects(index.content, "shards")]
    if not shards:
        raise SourceError(f"{path} has no shards, by its index.json", path=path)
    return SeveralSources(shards, name=index.name)


def _shard_of(index: IndexFile, about: dict[str, Any]) -> MdsShard:
    form, version = index.value(about, "format", str), index.value(about, "version", int)
    if (form, version) != ("mds", _VERSION):
        raise index.damaged(f"shards of the format {form}, version {version}, are not read; mds of version 2 are")
    raw = index.value(about, "raw_data", dict)
    file = partial(_file_of, index)
    stored = file(raw, None)
    if about.get("zip_data") is not None and not Path(stored.path).is_file():
        name = index.value(about, "compression", str).partition(":")[0]
        if name not in _DECOMPRESSORS:
            raise SourceError(
                f"{index.folder} is compressed with {name}, which is not read ({', '.join(_DECOMPRESSORS)} are): "
                "decompress its shards beside it, as StreamingDataset does",
                path=index.folder,
            )
        stored = file(index.value(about, "zip_data", dict), name)
    return MdsShard(
        stored,
        _columns_of(index, about),
        num_samples=index.value(about, "samples", int),
        raw_bytes=index.value(raw, "bytes", int),
    )


def _file_of(index: IndexFile, about: dict[str, Any], compression: str | None) -> _StoredFile:
    return _StoredFile(
        index.path_of(about, "basename"),
        index.value(about, "bytes", int),
        index.value(about, "hashes", dict),
        _DECOMPRESSORS[compression] if compression else None,
    )


def _columns_of(index: IndexFile, about: dict[str, Any]) -> _Columns:
    names, encodings = index.texts(about, "column_names"), index.texts(about, "column_encodings")
    sizes = index.value(about, "column_sizes", list)
    if not len(names) == len(encodings) == len(sizes) or len(set(names)) < len(names):
        raise index.damaged("it does not have one name, encoding and size for each column")
    for name, encoding, size in zip(names, encodings, sizes, strict=True):
        try:
            found = mds_encoding(encoding)
        except ValueError as error:
            raise index.damaged(f"column {name}: {error}") from None
        if found is None:
            why = "is pickled, and to unpickle runs what the file says" if encoding == "pkl" else "is not read"
            raise SourceError(
                f"{index.folder} has a column {name} of the encoding {encoding}, which {why}: write it again with "
                "another encoding",
                path=index.folder,
            )
        if size != found.size:
            raise index.damaged(f"column {name} of the encoding {encoding} has {size} bytes, and not {found.size}")
    return _Columns(names, encodings)
