r"""Folders that LitData wrote: each item of each chunk, its leaves in the tree that the index describes.

Chunks may be compressed by zstd in each of its four ways: as a whole, by runs of items, by item, or not.

    index.json ──> chunk-0-0.bin    u32 n, offsets, | item | item | ...     item: u32 size of each leaf, then the leaves
                   by runs of items LDFZ01\0\0, n, offsets, frames │ zstd frame of some items │ ...
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import numpy as np

from splitdata.conversion.sources.files.block_reader import BlockReader
from splitdata.conversion.sources.files.decompress import unzstd
from splitdata.conversion.sources.numbered import NumberedFileSource
from splitdata.conversion.sources.several import SeveralSources
from splitdata.conversion.sources.shards.index_json import IndexFile
from splitdata.conversion.sources.shards.litdata_values import leaf_reader, tree_builder
from splitdata.conversion.sources.shards.offset_shard import MAX_ITEMS, items_between, shard_items
from splitdata.conversion.sources.text.column_values import read_numbers
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from splitdata.conversion.sources.source import RecordSource

__all__ = ["open_litdata"]

_FRAMED: Final = struct.Struct("<8sHHIII")
_FRAMED_MARK: Final = b"LDFZ01\0\0"
_FRAME: Final = struct.Struct("<IIQII")


class _Form(NamedTuple):
    """How the items of all chunks of a folder are to be read.

    Attributes:
        formats: Name of the type of each leaf.
        spec: Of the tree that they hang on.
        has_sizes: Whether the sizes of the leaves stand before them; not in items of tokens.
        wrap: What zstd has compressed: "chunk", "batch" or "sample"; None for nothing.
    """

    formats: list[str]
    spec: str
    has_sizes: bool
    wrap: str | None


class LitDataChunk(NumberedFileSource):
    """The items of one chunk."""

    kind = "litdata"

    def __init__(self, path: str, form: _Form, num_items: int) -> None:
        """Take what the index says of it; raises as `InputFile` does."""
        super().__init__(path)
        self._form = form
        self._num_items = num_items

    @property
    def bytes_read(self) -> int:
        """Bytes of the chunk read so far."""
        return self._input.bytes_read

    def _samples(self, first: int) -> Iterator[Any]:
        with self._named():
            items = self._framed(first) if self._form.wrap == "batch" else self._plain(first)
            # Made where it is read: a chunk may be sent to another process, and what builds samples may not.
            readers = [cast("Callable[[bytes], Any]", leaf_reader(name)) for name in self._form.formats]
            build = tree_builder(self._form.spec)[1]
            for number, item in enumerate(items, first):
                if self._form.wrap == "sample":
                    item = self._inflated(item)
                yield build(iter(self._leaves(item, number, readers)))

    def _plain(self, first: int) -> Iterator[bytes]:
        is_whole = self._form.wrap == "chunk"
        return shard_items(
            (lambda start: unzstd(self._input.stored(start), self._input.shown)) if is_whole else self._input.stored,
            num_items=self._num_items,
            size=None if is_whole else self.num_bytes,
            first=first,
            can_seek=not is_whole,
        )

    def _framed(self, first: int) -> Iterator[bytes]:
        """Yield the items of a chunk whose runs of items are zstd frames, one behind the other."""
        reader = BlockReader(self._input.stored(), 0)
        head = reader.read_full(_FRAMED.size)
        mark, version, _, num_items, _, num_frames = _FRAMED.unpack(head.ljust(_FRAMED.size, b"\0"))
        if (mark, version) != (_FRAMED_MARK, 1):
            raise SourceError("is no chunk that zstd has compressed by runs of items: it was truncated, or is damaged")
        if num_items != self._num_items or num_frames > num_items or num_items > MAX_ITEMS:
            raise SourceError(f"has {num_items} items in {num_frames} frames, and its index says {self._num_items}")
        table = reader.read_full(4 * (num_items + 1) + _FRAME.size * num_frames)
        if len(table) < 4 * (num_items + 1) + _FRAME.size * num_frames:
            raise SourceError(f"ends within its tables, at byte {reader.num_bytes}: it was truncated")
        offsets = np.frombuffer(table, "<u4", num_items + 1).astype(np.int64)
        place = reader.num_bytes
        for number, (_, _, begin, length, _) in enumerate(_FRAME.iter_unpack(table[4 * (num_items + 1) :])):
            if begin != place:
                raise SourceError(f"is damaged: its frame {number} begins at byte {begin}, not at {place}")
            place += length
        if place != self.num_bytes:
            raise SourceError(f"has {self.num_bytes} bytes, and its frames end at {place}: it was truncated")
        if offsets[0] or (np.diff(offsets) < 0).any():
            raise SourceError("is damaged: its table names places that it does not have")
        rest = iter(lambda: reader.read(1 << 18), b"")
        yield from items_between(BlockReader(unzstd(rest, self._input.shown), 0), offsets, first)

    def _inflated(self, item: bytes) -> bytes:
        pieces, size = [], 0
        for piece in unzstd([item], self._input.shown):
            size += len(piece)
            self._check_size(size)
            pieces.append(piece)
        return b"".join(pieces)

    def _leaves(self, item: bytes, number: int, readers: list[Callable[[bytes], Any]]) -> list[Any]:
        form, leaves = self._form, list[Any]()
        try:
            count = len(readers)
            sizes = read_numbers(item, 0, count, "<u4") if form.has_sizes else [len(item)]
            place = 4 * count if form.has_sizes else 0
            for read, size in zip(readers, sizes, strict=True):
                if place + size > len(item):
                    raise ValueError(f"it ends at byte {place + size} of an item of {len(item)} bytes")
                leaves.append(read(item[place : place + size]))
                place += size
            if place != len(item):
                raise ValueError(f"it is the last and ends at byte {place} of an item of {len(item)} bytes")
        except ValueError as error:
            at = min(len(leaves), len(form.formats) - 1)
            what = f"leaf {at} ({form.formats[at]}) of item {number}"
            raise SourceError(f"is damaged in {what}: {error}", position=number) from None
        return leaves


def open_litdata(path: str) -> RecordSource:
    """Return the items of a folder of chunks, or of its index.json.

    Raises:
        SourceError: If the index is damaged, or a leaf is pickled or of another format that is not read.
        FileNotFoundError: If a chunk is missing.
    """
    index = IndexFile(path)
    form = _form_of(index)
    chunks = [
        LitDataChunk(index.path_of(about, "filename"), form, index.value(about, "chunk_size", int))
        for about in index.objects(index.content, "chunks")
    ]
    if not chunks:
        raise SourceError(f"{path} has no chunks, by its index.json", path=path)
    return SeveralSources(chunks, name=index.name)


def _form_of(index: IndexFile) -> _Form:
    config = index.value(index.content, "config", dict)
    loader = config.get("item_loader") or "PyTreeLoader"
    if loader not in ("PyTreeLoader", "TokensLoader"):
        raise SourceError(
            f"{index.folder} is for the {loader} of LitData, which is not read: name its files, if they are Parquet",
            path=index.folder,
        )
    if config.get("encryption") is not None:
        raise SourceError(f"{index.folder} is encrypted, which is not read", path=index.folder)
    formats = index.texts(config, "data_format")
    for number, form in enumerate(formats):
        _check_leaf(index, form, number)
    spec = index.value(config, "data_spec", str)
    try:
        count, _ = tree_builder(spec)
    except ValueError as error:
        raise index.damaged(f"its data_spec: {error}") from None
    has_sizes = loader == "PyTreeLoader"
    if count != len(formats) or not (has_sizes or count == 1):
        raise index.damaged(f"its data_spec has {count} leaves, and its data_format {len(formats)}")
    return _Form(formats, spec, has_sizes, _wrap_of(index, config))


def _check_leaf(index: IndexFile, form: str, number: int) -> None:
    try:
        reader = leaf_reader(form)
    except ValueError as error:
        raise SourceError(f"{index.folder} has a leaf {number} of the format {form}: {error}") from None
    if reader is None:
        why = "is pickled, and to unpickle runs what the file says" if form == "pickle" else "is not read"
        raise SourceError(
            f"{index.folder} has a leaf {number} of the format {form}, which {why}: write it again with another type",
            path=index.folder,
        )


def _wrap_of(index: IndexFile, config: dict[str, Any]) -> str | None:
    compression = config.get("compression")
    if compression is None:
        return None
    if str(compression).partition(":")[0] != "zstd":
        raise SourceError(f"{index.folder} is compressed with {compression}, which is not read", path=index.folder)
    wrap = config.get("compression_level") or "chunk"
    if wrap not in ("chunk", "batch", "sample"):
        raise index.damaged(f"compression_level is {wrap!r}")
    return str(wrap)
