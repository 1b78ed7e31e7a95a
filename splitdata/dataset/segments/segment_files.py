"""The files of a committed segment, opened where they are first used.

    OpenFiles      opens them, and says when to release them: open_files.py
      ├─ SegmentFiles of segment 0     index, bins 0..N-1
      └─ SegmentFiles of segment 1     ...

`mapped` and `entry_words` are what the fast reads index directly: an item is there while
the file is open and mapped, None otherwise. `mapped_bins` is all of them as one array.
"""

from __future__ import annotations

import sys
import weakref
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from splitdata._compiled import speedups
from splitdata.dataset.keys.key_lookup import open_key_table
from splitdata.dataset.segments.deleted_records import read_deleted
from splitdata.dataset.segments.dictionary import read_from_bin, read_from_index
from splitdata.dataset.segments.mapped_bins import MappedBins
from splitdata.dataset.segments.schema_file import MAX_FILE_BYTES, parse_schemas
from splitdata.errors import FormatError, MissingBinError, StoreError, TruncatedFileError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import bin_salt, sync_word
from splitdata.format.compression import WITHOUT_DICTIONARY, Decompressor
from splitdata.format.frame_layout import layout_of
from splitdata.format.index import ENTRY_DTYPE, IndexHeader, entry_offset, unpack_loc, unpack_locs
from splitdata.format.version import check_same_major
from splitdata.storage.file_source import MappedSource, PreadSource, Source
from splitdata.storage.remote.range_source import RangeSource
from splitdata.storage.remote.request_plan import REQUEST_BYTES, blocks_of, plan_windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata._compiled import Frames
    from splitdata.dataset.keys.key_lookup import KeyTable
    from splitdata.dataset.segments.deleted_records import DeletedRecords
    from splitdata.dataset.segments.open_files import OpenFiles
    from splitdata.format.frame_layout import FrameLayout
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.paths import SegmentPaths

__all__ = ["SegmentFiles"]

# Words of a map are read in the machine's byte order; the files are little-endian.
_IS_LITTLE_ENDIAN: Final = sys.byteorder == "little"

# Instead of the number of a bin: for the pool of files, and for the compiled path.
_KEYS: Final = -1
_ENTRIES: Final = -1

# From here on only those that are open have a place.
_MANY_BINS: Final = 1 << 12
# Up to here nobody asks whether they are there before one is read.
_FEW_BINS: Final = 64

# Up to this many entries are read to get at one: 256 bytes.
_MAX_READ_STRIDE: Final = 16

# Of an entry: the stored one of its two lengths.
_LENGTH_MASK: Final = 0xFFFFFFFF
# What is asked for beside a payload: the longest header of a frame.
_BESIDE_PAYLOAD: Final = 64

_Header = TypeVar("_Header", BinHeader, IndexHeader)


# Sync words, by the half of a place, and the one of this bin; payload hashes, sequence numbers and lengths, each by
# place; and the mmap.
_MappedBin = tuple[memoryview, int, memoryview, memoryview, memoryview, Any]


def _extents(pairs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return bin, first byte and length of each frame that entries tell of."""
    bins, offsets = unpack_locs(pairs[:, 0].copy())
    return bins, offsets, (pairs[:, 1] & np.uint64(_LENGTH_MASK)).astype(np.int64) + _BESIDE_PAYLOAD


class _OfMany(dict[int, Any]):
    """What is mapped of thousands of bins: only those that are open take memory."""

    def __missing__(self, bin_index: int) -> None:
        """Say that a bin is not open."""


class SegmentFiles:
    """Index and bins of one segment; safe to share between threads.

    Attributes:
        info: As the manifest lists it.
        first_position: Position of the segment's first record in its dataset.
        paths: Of the files.
        mapped: For each bin the words from which on, at a frame's place, the payload hash, the sequence number and
            the lengths of each frame stand; and its mmap, slices of which are bytes.
        views: Of each of these maps, beside it: every read of one record would take longer for one item more.
        compiled: These maps for the compiled reads, None where there are none: by pread, or of too many bins.
        entry_words: Of the index, two for each record.
        entry_places, entry_lengths: The first of them, and the second, by sequence number.
    """

    def __init__(
        self,
        paths: SegmentPaths,
        info: SegmentInfo,
        first_position: int,
        pool: OpenFiles,
        check_dataset: Callable[[], None] | None = None,
    ) -> None:
        """Name the files; none is opened before it is used.

        Args:
            paths: Of the files.
            info: As the manifest lists the segment.
            first_position: Of it in the dataset.
            pool: Opens files, and releases them.
            check_dataset: Raises if the whole dataset was moved, deleted or replaced: asked before
                anything that is missing or wrong is called damage.
        """
        self.paths = paths
        self._check_dataset = check_dataset
        self.info = info
        self.first_position = first_position
        # A manifest may claim millions of bins, in each of thousands of segments.
        self.mapped: list[_MappedBin | None] | _OfMany = (
            [None] * info.num_bin_files if info.num_bin_files <= _MANY_BINS else _OfMany()
        )
        self.views: list[memoryview | None] | _OfMany = (
            [None] * info.num_bin_files if info.num_bin_files <= _MANY_BINS else _OfMany()
        )
        self.compiled = self._compiled_frames(pool)
        self.entry_words: memoryview | None = None
        self.entry_places: memoryview | None = None
        self.entry_lengths: memoryview | None = None
        self._pool = pool
        self._bins: dict[int, Source] = {}
        self._index: Source | None = None
        self._keys: KeyTable | None = None
        self._deleted: DeletedRecords | None = None
        self._decompressor: Decompressor | None = None
        self._has_real_folders = False
        # Not held yet while its header is looked at.
        self._newest: Callable[[], Source | None] = lambda: None
        self._mapped_bins: MappedBins | None = None

    def _compiled_frames(self, pool: OpenFiles) -> Frames | None:
        compiled = speedups()
        info = self.info
        # With more bins than stay open a batch would rarely find all that it needs.
        is_for_all = pool.io == "mmap" and isinstance(self.mapped, list) and len(self.mapped) <= pool.limit
        if compiled is None or not _IS_LITTLE_ENDIAN or not is_for_all:
            return None
        return compiled.frames(info.num_records, info.num_bins, info.num_bin_files, info.group)

    @property
    def is_mapped(self) -> bool:
        """Whether files are read by mmap."""
        return self._pool.io == "mmap"

    @property
    def is_remote(self) -> bool:
        """Whether files lie in a store, so that what will be read is asked for together, and ahead."""
        return self._pool.is_remote

    def ask_for_entries(self, frames: NDArray[np.int64]) -> None:
        """Of a segment in a store, ask for the index entries of some frames, without waiting for them."""
        index = self.index()
        if isinstance(index, RangeSource) and index.size <= REQUEST_BYTES:
            index.prefetch(0, index.size)
        elif isinstance(index, RangeSource):
            offsets = spec.INDEX_HEADER_BYTES + frames * self.info.entry_bytes
            index.prefetch_many(offsets, np.full(len(frames), self.info.entry_bytes, np.int64))

    def ask_for_frames(self, pairs: NDArray[np.uint64]) -> None:
        """Of a segment in a store, ask for frames by their entries, without waiting for them.

        Args:
            pairs: Place and lengths of each.
        """
        index = self.index()
        if not isinstance(index, RangeSource) or not len(pairs):
            return
        for bin_index, numbers in blocks_of(*_extents(pairs), index.block_bytes).items():
            # What an entry says may be damage, and a bin may be missing: that is named where the record is read.
            with suppress(FormatError, OSError):
                self._ask_of_bin(bin_index, numbers)

    def _ask_of_bin(self, bin_index: int, numbers: list[int]) -> None:
        source = self._bins.get(bin_index)
        if source is None and 0 <= bin_index < self.info.num_bin_files:
            # Together with its header, which is looked at when the bin is first read.
            source = self._open(self.paths.bin(bin_index))
            numbers = [0, *numbers]
        if isinstance(source, RangeSource):
            source.ask_for(numbers)

    def windows(self, pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return where to cut a batch of frames of a segment in a store, in the order of their places.

        So that two parts of it fit into what is kept in memory.
        """
        index = self.index()
        if not isinstance(index, RangeSource):
            return np.empty(0, np.int64)
        return plan_windows(*_extents(pairs), index.block_bytes, index.bytes_in_memory // 4)

    def forget_fetched(self, frame: int) -> bool:
        """Of a segment in a store, have the entry and the bytes of a frame fetched again; False where that is no use.

        For a frame that cannot be proven: the way, or a cache, may have damaged what is whole in the store.
        """
        index = self._index
        if not isinstance(index, RangeSource):
            return False
        with suppress(FormatError, IndexError):
            place, lengths = self.entry(frame)
            bin_index, offset = unpack_loc(place)
            source = self._bins.get(bin_index)
            if isinstance(source, RangeSource):
                source.forget(offset, (lengths & _LENGTH_MASK) + _BESIDE_PAYLOAD)
        index.forget(entry_offset(frame, self.info.group), self.info.entry_bytes)
        return True

    def index(self) -> Source:
        """Return the open index.

        Raises:
            TruncatedFileError: If there is none.
        """
        source = self._index
        if source is None:
            source = self._open_index()
        return source

    def check_dataset(self) -> None:
        """Raise if the folder is not this dataset any more; called where something is missing or wrong."""
        if self._check_dataset is not None:
            self._check_dataset()

    def _open(self, path: str) -> Source:
        """Open a file of the segment.

        Raises:
            FormatError: If a folder on the way is a link, or has become one meanwhile.
            UnsupportedVersionError: If the segment has a feature that is not known here.
        """
        self.info.check_features()
        if not self._has_real_folders:
            self.paths.refuse_links()
            self._has_real_folders = True
        source = self._pool.open(path)
        self._newest = weakref.ref(source)
        if not self._pool.is_of_folder:
            self.paths.refuse_links()
        return source

    def _open_index(self) -> Source:
        path = self.paths.index
        try:
            source = self._open(path)
        except (FileNotFoundError, NotADirectoryError):
            self.check_dataset()
            raise TruncatedFileError(
                f"{path} does not exist: {self.info.num_records} records cannot be found without it; "
                f"`splitdata repair {self.dataset_folder}` makes it again from the bins",
                path=path,
            ) from None
        if isinstance(source, MappedSource):
            source.expect_random()
        header = self._intact(path, source.read(0, spec.INDEX_HEADER_BYTES), IndexHeader.unpack)
        # A dataset that was made again with the same ids, as `reproducible` gives them.
        if header is not None and self.info.is_sealed and header.digest != self.info.digest:
            self.check_dataset()
        if header is not None and (other := header.other_owner(self.info.id)):
            raise FormatError(
                f"{path} is the index of another segment: {other}; put the right file there, or "
                f"`splitdata repair {self.dataset_folder}` makes it again from the bins",
                path=path,
            )
        if isinstance(source, MappedSource) and _IS_LITTLE_ENDIAN:
            end = entry_offset(self.num_entries_in(source), self.info.group)
            self._take_entries(source.data[spec.INDEX_HEADER_BYTES : end].cast("Q") if end > 128 else None)
        self._index = source
        self._pool.keep(self, None)
        return source

    def _take_entries(self, words: memoryview | None) -> None:
        self.entry_words = words
        if self.compiled is not None:
            self.compiled.put(_ENTRIES, words, 0)
        step = self.info.entry_bytes // 8
        self.entry_places, self.entry_lengths = (None, None) if words is None else (words[0::step], words[1::step])

    def num_entries_in(self, index: Source) -> int:
        """Return how many of the segment's entries an index file really has."""
        return max(0, min(self.info.num_frames, (index.size - spec.INDEX_HEADER_BYTES) // self.info.entry_bytes))

    def bin(self, bin_index: int) -> Source:
        """Return an open bin.

        Raises:
            MissingBinError: If there is none.
            FormatError: If something else has its name, another bin too.
        """
        source = self._bins.get(bin_index)
        if source is None:
            source = self._open_bin(bin_index)
        return source

    def keys(self) -> KeyTable:
        """Return the open table of keys; the segment has some.

        Raises:
            FormatError: If it is missing or damaged; no record is affected.
        """
        table = self._keys
        if table is None:
            try:
                table = open_key_table(self.paths, self.info, self._open)
            except FormatError:
                self.check_dataset()
                raise
            if self.info.is_sealed and table.source.size != self.info.keys_bytes:
                self.check_dataset()
            self._keys = table
            self._pool.keep(self, _KEYS)
        return table

    def deleted(self) -> DeletedRecords:
        """Return which records were deleted.

        Raises:
            FormatError: If that is not known any more.
        """
        deleted = self._deleted
        if deleted is None:
            try:
                deleted = read_deleted(self.paths, self.info, self._open)
            except FormatError:
                self.check_dataset()
                raise
            self._deleted = deleted
        return deleted

    def mapped_bins(self) -> MappedBins | None:
        """Return the bins that are open as one array; None where they are not mapped, or too many to stay open."""
        mapped = self._mapped_bins
        if (
            mapped is None
            and self.is_mapped
            and _IS_LITTLE_ENDIAN
            and isinstance(self.mapped, list)
            and len(self.mapped) <= self._pool.limit
        ):
            sources = map(self._bins.get, range(len(self.mapped)))
            found = [one if isinstance(one, MappedSource) else None for one in sources]
            mapped = self._mapped_bins = MappedBins(found, self.salts)
        return mapped

    def dictionary(self) -> bytes:
        """Return the segment's zstd dictionary, from the index if it is there and intact, else from bin 0.

        Raises:
            FormatError: If neither has it, or both are damaged.
        """
        if self.info.is_sealed:
            with suppress(FormatError):
                found = read_from_index(self.index().read, self.info)
                if found:
                    return found
        return read_from_bin(self.bin(0).read)

    def stored_schemas(self) -> list[bytes]:
        """Return the schemas that the segment's own file has: the second copy of those in the manifest.

        Raises:
            FormatError: If the file is missing or damaged; no record is affected.
        """
        try:
            data = self._open(self.paths.schemas).read(0, MAX_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise FormatError(f"{self.paths.schemas} does not exist", path=self.paths.schemas) from None
        return parse_schemas(data, self.info.id)[0]

    def decompressor_of(self, codec: int) -> Decompressor:
        """Return what decompresses frames of a codec, `CODEC_NONE` excepted.

        Raises:
            FormatError: If the codec needs a dictionary, and that is missing or damaged.
        """
        if codec != spec.CODEC_ZSTD_DICTIONARY:
            return WITHOUT_DICTIONARY
        made = self._decompressor
        if made is None:
            made = self._decompressor = Decompressor(self.dictionary())
        return made

    @property
    def layout(self) -> FrameLayout:
        """How the frames of the segment are laid out."""
        return layout_of(self.info.version)

    @cached_property
    def salts(self) -> NDArray[np.uint64]:
        """The salts of all bins."""
        return np.array([self.salt(bin_index) for bin_index in range(self.info.num_bin_files)], np.uint64)

    def salt(self, bin_index: int) -> int:
        """Return the salt of a bin."""
        return bin_salt(self.info.id, bin_index)

    def _open_bin(self, bin_index: int) -> Source:
        path = self.paths.bin(bin_index)
        try:
            source = self._open(path)
        except (FileNotFoundError, NotADirectoryError):
            self.check_dataset()
            raise MissingBinError(self._missing_text(path), path=path) from None
        header = self._intact(path, source.read(0, spec.BIN_HEADER_BYTES), BinHeader.unpack)
        # Its frames may agree with the index all the same, where records have one size.
        if header is not None and (other := header.other_owner(self.info.id, bin_index)):
            raise FormatError(
                f"{path} is another file: {other}; put the right file there, see "
                f"`splitdata verify {self.dataset_folder}`; all other bins stay readable",
                path=path,
            )
        if isinstance(source, MappedSource) and _IS_LITTLE_ENDIAN:
            words, sync = source.words, sync_word(self.salt(bin_index))
            self.views[bin_index] = source.data
            self.mapped[bin_index] = words.cast("B").cast("I"), sync, words[1:], words[2:], words[3:], source.map
            if self.compiled is not None:
                self.compiled.put(bin_index, source.data, sync)
            # Made again with the new one where it is used next.
            self._mapped_bins = None
        self._bins[bin_index] = source
        self._pool.keep(self, bin_index)
        return source

    def refuse_missing(self) -> None:
        """Raise if most of many bins are not there: before anything is made for each of them.

        Raises:
            MissingBinError: If so.
        """
        info = self.info
        if info.num_bin_files <= _FEW_BINS:
            return
        try:
            there = [number for number in self.paths.sizes_of_bins() if number < info.num_bin_files]
        except StoreError:
            # A store that cannot list what it has: each is missed where it is read.
            return
        if 2 * len(there) < info.num_bin_files:
            self.check_dataset()
            path = self.paths.folder
            raise MissingBinError(f"{path} is to have {info.num_bin_files} bins, and {len(there)} are there", path=path)

    def _missing_text(self, path: str) -> str:
        info = self.info
        present: list[int] = []
        with suppress(OSError):
            present = [number for number in self.paths.sizes_of_bins() if number < info.num_bin_files]
        num_present = sum(len(range(number, info.num_frames, info.num_bins)) for number in present)
        lost = min(info.num_records, (info.num_frames - num_present) * info.group)
        return (
            f"{path} does not exist: {info.num_bin_files - len(present)} of {info.num_bin_files} bins are missing, "
            f"with {lost} of "
            f"{info.num_records} records of the segment; restore the files, the other records stay readable"
        )

    def drop(self, bin_index: int | None) -> None:
        """Let go of a bin, the index or the keys; what is used again is opened again."""
        if bin_index == _KEYS:
            self._keys = None
            return
        if bin_index is None:
            self._take_entries(None)
            self._index = None
            return
        self.mapped[bin_index] = self.views[bin_index] = None
        if self.compiled is not None:
            self.compiled.put(bin_index, None, 0)
        self._mapped_bins = None
        self._bins.pop(bin_index, None)

    def close(self) -> None:
        """Close what is read by pread, by the one who alone reads it: an error may keep references to it alive."""
        for source in (self._newest(), self._index, *self._bins.values()):
            if isinstance(source, PreadSource):
                source.close()
        self._pool.drop_all()

    def drop_shrunk(self) -> None:
        """Let go of maps of files that are shorter by now; opened again, they tell which records are cut off."""
        held: list[tuple[int | None, Source | None]] = [*self._bins.items(), (None, self._index)]
        for bin_index, source in held:
            if isinstance(source, MappedSource) and source.has_shrunk():
                self.drop(bin_index)

    def entry(self, frame: int) -> tuple[int, int]:
        """Return place and lengths of a frame as they stand in the index.

        Raises:
            TruncatedFileError: If the index ends before it.
        """
        index = self.index()
        data = index.read(entry_offset(frame, self.info.group), spec.INDEX_ENTRY_BYTES)
        if len(data) < spec.INDEX_ENTRY_BYTES:
            self._raise_short_index(index)
        return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")

    def fetched_pairs(self, frames: NDArray[np.int64]) -> NDArray[np.uint64] | None:
        """Of a segment in a store, return place and lengths of many frames; None if they are to be had one by one.

        Raises:
            TruncatedFileError: If there is no index.
            StoreError: If the store fails.
        """
        index = self.index()
        if not isinstance(index, RangeSource) or not len(frames):
            return None
        return index.words(spec.INDEX_HEADER_BYTES + frames * self.info.entry_bytes, 2)

    def entries(self, start: int, stop: int, stride: int = 1) -> NDArray[np.void]:
        """Return the entries of every `stride`-th frame of a range; a view of the map where there is one."""
        index = self.index()
        if stride > _MAX_READ_STRIDE and not isinstance(index, MappedSource):
            # Between those of one bin of thousands lies more than may be held.
            return np.array([self.entry(frame) for frame in range(start, stop, stride)], "<u8").view(ENTRY_DTYPE)[:, 0]
        offset, entry_bytes = entry_offset(start, self.info.group), self.info.entry_bytes
        length = (stop - start) * entry_bytes
        # To ask for megabytes that are there takes longer than to look for the last of them.
        if isinstance(index, MappedSource) and (stride == 1 or not index.is_resident(offset + length - 1)):
            index.prefetch(offset, length)
        data = index.view(offset, length)
        if len(data) < length:
            self._raise_short_index(index)
        count = len(range(start, stop, stride))
        return np.ndarray((count,), ENTRY_DTYPE, data, strides=(stride * entry_bytes,))

    def record_lengths(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of the records in some groups, as the index tells them, int64[groups, records of one]."""
        index = self.index()
        offset, entry_bytes = entry_offset(first, self.info.group), self.info.entry_bytes
        data = index.view(offset, (stop - first) * entry_bytes)
        if len(data) < (stop - first) * entry_bytes:
            self._raise_short_index(index)
        rows = np.frombuffer(data, "<u4").reshape(stop - first, entry_bytes // 4)
        return rows[:, spec.INDEX_ENTRY_BYTES // 4 :].astype(np.int64)

    def lengths_at(self, frames: NDArray[np.int64], slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of any records, each by its group and its number in that, as the index tells them."""
        index, words, row = self.index(), self.entry_words, self.info.entry_bytes // 4
        first = spec.INDEX_ENTRY_BYTES // 4
        if isinstance(index, MappedSource) and words is not None:
            with suppress(IndexError):
                lengths: NDArray[np.int64] = np.frombuffer(words, "<u4").reshape(-1, row)[frames, first + slots]
                return lengths.astype(np.int64)
        offsets = spec.INDEX_HEADER_BYTES + 4 * (frames * row + first + slots)
        found = [index.read(offset, 4) for offset in offsets.tolist()]
        if any(len(one) < 4 for one in found):
            self._raise_short_index(index)
        return np.frombuffer(b"".join(found), "<u4").astype(np.int64)

    def _raise_short_index(self, index: Source) -> None:
        self.check_dataset()
        have = min(self.info.num_records, self.num_entries_in(index) * self.info.group)
        raise TruncatedFileError(
            f"{self.paths.index} has {index.size} bytes, entries of {have} of {self.info.num_records} records; "
            f"`splitdata repair {self.dataset_folder}` makes it again from the bins",
            path=self.paths.index,
        )

    def _intact(self, path: str, head: bytes, unpack: Callable[[bytes], _Header]) -> _Header | None:
        """Return a header, None if it is damaged, which costs nothing; raise if it asks for another splitdata."""
        try:
            header = unpack(head)
            check_same_major(head, self.info.version)
        except UnsupportedVersionError as error:
            raise UnsupportedVersionError(f"{path}: {error}", path=path) from None
        except FormatError:
            return None
        return header

    @property
    def dataset_folder(self) -> str:
        """The dataset's directory, for messages."""
        return self.paths.dataset_folder
