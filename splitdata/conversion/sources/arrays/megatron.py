r"""Token files of Megatron: name.bin with the numbers, name.idx with where each sequence and document lies.

Every length and place in the index is checked against both files before it is used.

    name.idx  | MMIDIDX\0\0 | u64 version 1 | u8 data type | u64 sequences s | u64 documents d + 1
              | i32 length [s] | i64 byte in name.bin [s] | i64 first sequence of each document, and s [d + 1] | ...
    name.bin  tokens of sequence 0, of sequence 1, ...

    megatron              each document is a sample: an array of its numbers
    megatron-sequences    each sequence is one; they differ where documents were split into sentences
"""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sources.files.input_file import InputFile
from splitdata.conversion.sources.numbered import NumberedFileSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MEGATRON_MARK", "MegatronSource"]

MEGATRON_MARK: Final = b"MMIDIDX\0\0"

_HEADER: Final = struct.Struct("<9sQBQQ")
_DTYPES: Final = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 6: "<f8", 7: "<f4", 8: "<u2"}
_SEQUENCES_AT_ONCE: Final = 1 << 14
_MAX_SEQUENCES: Final = 1 << 24


class MegatronSource(NumberedFileSource):
    """The documents, or the sequences, of a token file; a few thousand entries of its index are in memory."""

    def __init__(self, path: str, *, kind: str) -> None:
        """Take the path of the .bin or the .idx, and "megatron" or "megatron-sequences".

        Raises:
            FileNotFoundError: If one of the two is missing.
        """
        super().__init__(str(Path(path).with_suffix(".bin")))
        self.kind = kind
        self._index_path = str(Path(self._input.path).with_suffix(".idx"))
        self._index = InputFile(self._index_path)

    @property
    def inputs(self) -> list[str]:
        """The paths of both files."""
        return [self._input.path, self._index_path]

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells both files from changed ones."""
        return super().state(with_times=with_times) | {"index": self._index.state(with_times=with_times)}

    def _known_count(self) -> int:
        with self._index.open() as file:
            index = _Index(file, self._index.num_bytes or 0, self._index_path)
        return int(index.num_documents if self.kind == "megatron" else index.num_sequences)

    def _samples(self, first: int) -> Iterator[Any]:
        size = self.num_bytes
        with self._index.open() as file, self._input.open() as data:
            index = _Index(file, self._index.num_bytes or 0, self._index_path)
            spans = index.documents(first) if self.kind == "megatron" else index.sequences(first)
            for places in spans:
                yield self._tokens(data, index.dtype, places, size or 0)

    def _tokens(self, file: IO[bytes], dtype: np.dtype[Any], places: NDArray[np.int64], size: int) -> NDArray[Any]:
        """Return the numbers of sequences that are given by byte and length, one behind the other."""
        pieces = []
        self._check_size(int(places[:, 1].sum()) * dtype.itemsize)
        for begin, length in places.tolist():
            stop = begin + length * dtype.itemsize
            if begin < 0 or length < 0 or stop > size:
                raise self._refusal(
                    f"has {size} bytes, and its index names bytes {begin} to {stop} of it: one of the two files was "
                    "cut off, or belongs to another"
                )
            file.seek(begin)
            pieces.append(_read_full(file, stop - begin, self._input.shown))
            self._bytes_read = stop
        return np.frombuffer(b"".join(pieces), dtype)


class _Index:
    """The .idx: its tables, read in pieces."""

    def __init__(self, file: IO[bytes], size: int, path: str) -> None:
        self._file = file
        self._path = path
        header = file.read(_HEADER.size)
        if not header.startswith(MEGATRON_MARK):
            raise self._refusal("is no index of Megatron: it does not begin with MMIDIDX")
        if len(header) < _HEADER.size:
            raise self._refusal(f"ends within its header, after {len(header)} bytes: it was truncated")
        _, version, code, self.num_sequences, num_bounds = _HEADER.unpack(header)
        if version != 1 or code not in _DTYPES:
            raise self._refusal(f"has version {version} and data type {code}: version 1 and types 1 to 8 are read")
        self.dtype: np.dtype[Any] = np.dtype(_DTYPES[code])
        needed = _HEADER.size + self.num_sequences * 12 + num_bounds * 8
        # Behind it may be a byte for each sequence, its mode.
        if size not in (needed, needed + self.num_sequences):
            raise self._refusal(
                f"has {size} bytes, and {self.num_sequences} sequences of {max(0, num_bounds - 1)} documents need "
                f"{needed}: it was truncated, or is damaged"
            )
        self.num_documents = max(0, num_bounds - 1)
        self._lengths = _HEADER.size
        self._places = self._lengths + 4 * self.num_sequences
        self._bounds = self._places + 8 * self.num_sequences

    def sequences(self, first: int) -> Iterator[NDArray[np.int64]]:
        """Yield byte and length of each sequence from one on."""
        for start in range(first, self.num_sequences, _SEQUENCES_AT_ONCE):
            places = self._places_of(start, min(self.num_sequences, start + _SEQUENCES_AT_ONCE))
            for number in range(len(places)):
                yield places[number : number + 1]

    def documents(self, first: int) -> Iterator[NDArray[np.int64]]:
        """Yield byte and length of the sequences of each document from one on."""
        for start in range(first, self.num_documents, _SEQUENCES_AT_ONCE):
            stop = min(self.num_documents, start + _SEQUENCES_AT_ONCE)
            bounds = self._read(self._bounds + 8 * start, stop + 1 - start, "<i8").tolist()
            if (start == 0 and bounds[0] != 0) or (stop == self.num_documents and bounds[-1] != self.num_sequences):
                raise self._refusal("has documents that leave out sequences: it is damaged")
            known_from, known = 0, np.empty((0, 2), np.int64)
            for begin, end in pairwise(bounds):
                if not 0 <= begin <= end <= self.num_sequences:
                    raise self._refusal(f"has a document of the sequences {begin} to {end}: it is damaged")
                if end - begin > _MAX_SEQUENCES:
                    raise self._refusal(
                        f"has a document of {end - begin} sequences, the limit is {_MAX_SEQUENCES}: "
                        "kind='megatron-sequences' takes each sequence as a sample"
                    )
                if not known_from <= begin <= end <= known_from + len(known):
                    known_from = begin
                    known = self._places_of(begin, min(self.num_sequences, max(end, begin + _SEQUENCES_AT_ONCE)))
                yield known[begin - known_from : end - known_from]

    def _places_of(self, start: int, stop: int) -> NDArray[np.int64]:
        places = np.empty((stop - start, 2), np.int64)
        places[:, 0] = self._read(self._places + 8 * start, stop - start, "<i8")
        places[:, 1] = self._read(self._lengths + 4 * start, stop - start, "<i4")
        return places

    def _read(self, offset: int, count: int, dtype: str) -> NDArray[Any]:
        self._file.seek(offset)
        size = count * np.dtype(dtype).itemsize
        return np.frombuffer(_read_full(self._file, size, self._path), dtype)

    def _refusal(self, what: str) -> SourceError:
        return SourceError(f"{self._path} {what}", path=self._path)


def _read_full(file: IO[bytes], size: int, path: str) -> bytes:
    data = file.read(size)
    # A raw file gives less than it is asked for now and then.
    while len(data) < size and (piece := file.read(size - len(data))):
        data += piece
    if len(data) < size:
        raise SourceError(f"{path} was truncated while it was read", path=path)
    return data
