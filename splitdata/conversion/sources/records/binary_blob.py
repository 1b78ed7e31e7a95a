"""A BinaryBlob of mlproject and dataset_server: values in name.bin, their places in name.idx.

Bytes are taken as they are. Values that were pickled when they were written are refused: reading them would run code.

    name.idx, a line a value     key , begin , length , pickled?        17,0,1000,0
    name.bin                     payloads, end to end                   in the order in which they were written
                                 ──> records in the order of their keys, whole numbers; the keys are not kept
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sources.files.input_file import FileSource, InputFile
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.conversion.sources.text.lines import LineSource
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping
    from typing import IO

    from numpy.typing import NDArray

__all__ = ["BinaryBlobSource", "is_binary_blob"]

_LINE: Final = re.compile(rb"(-?[0-9]{1,18}),([0-9]{1,18}),([0-9]{1,18}),([01])")
_MAX_LINE_BYTES: Final = 1 << 10
_PLACE: Final = np.dtype([("key", "i8"), ("begin", "i8"), ("length", "i8"), ("is_pickled", "?")])


def is_binary_blob(path: Path) -> bool:
    """Say whether a file is the .bin of a BinaryBlob: beside it lies an index, whose first line looks like one."""
    index = path.with_suffix(".idx")
    if path.suffix != ".bin" or not (path.is_file() and index.is_file()):
        return False
    with index.open("rb") as file:
        return bool(_LINE.fullmatch(file.readline(_MAX_LINE_BYTES).rstrip(b"\r\n")))


class BinaryBlobSource(FileSource):
    """The values of a BinaryBlob, in the order of their keys; of 1 MiB and more as files.

    Its index is held, 25 bytes a value.
    """

    kind = "binaryblob"

    def __init__(self, path: str) -> None:
        """Take the path of the .bin.

        Raises:
            FileNotFoundError: If it, or its index, does not exist.
            SourceError: If it is not called .bin.
        """
        super().__init__(path)
        if Path(path).suffix != ".bin":
            raise SourceError(f"{path}: of a BinaryBlob its .bin is named, and its .idx found beside it", path=path)
        self.skipped: Mapping[str, int] = {}
        self._index_path = str(Path(self._input.path).with_suffix(".idx"))
        self._index = InputFile(self._index_path)
        self._bytes_read = 0

    @property
    def inputs(self) -> list[str]:
        """The paths of both files."""
        return [self._input.path, self._index_path]

    @property
    def bytes_read(self) -> int:
        """Bytes of the values read so far."""
        return self._bytes_read

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells both files from changed ones."""
        return super().state(with_times=with_times) | {"index": self._index.state(with_times=with_times)}

    def __iter__(self) -> Generator[bytes | SizedFile, None, None]:
        """Yield the values.

        Raises:
            SourceError: If the index is damaged, has a key twice, or names bytes that are not there; or if any value
                was pickled. Before the first value.
        """
        self._bytes_read = 0
        places = self._places()
        with self._input.open() as file:
            size = file.seek(0, io.SEEK_END)
            self._check(places, size)
            for position, (_, begin, length, _) in enumerate(map(tuple, places)):
                file.seek(int(begin))
                record = SizedFile(self._counted(file), int(length), path=self._input.shown, position=position)
                yield record if length >= READ_WHOLE_BYTES else record.read_whole()

    def _counted(self, file: IO[bytes]) -> Any:
        def read(size: int) -> bytes:
            data = file.read(size)
            self._bytes_read += len(data)
            return data

        return read

    def _places(self) -> NDArray[np.void]:
        """Return the lines of the index, by key."""
        with self._index.open() as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read(1) != b"\n":
                raise self._refusal("ends within a line: its writer was cut off, and values are missing")
        places = np.fromiter(self._parsed(), _PLACE)
        return places[np.argsort(places["key"], kind="stable")]

    def _parsed(self) -> Iterator[tuple[int, int, int, bool]]:
        for number, line in enumerate(LineSource(self._index_path, max_bytes=_MAX_LINE_BYTES), 1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise self._refusal(f"is no index of a BinaryBlob: line {number} is not four whole numbers")
            key, begin, length, is_pickled = match.groups()
            yield int(key), int(begin), int(length), is_pickled == b"1"

    def _check(self, places: NDArray[np.void], size: int) -> None:
        pickled = places["key"][places["is_pickled"]]
        if len(pickled):
            raise self._refusal(
                f"says that {len(pickled)} of {len(places)} values were pickled, the first with key {pickled[0]}: to "
                "unpickle runs what the file says, so none is read. Read them with the library that wrote them, and "
                "write each with SplitWriter.write_sample"
            )
        twice = places["key"][1:][np.diff(places["key"]) == 0]
        if len(twice):
            raise self._refusal(f"has the key {twice[0]} twice, and nothing says which value is meant")
        outside = places["key"][places["begin"] + places["length"] > size]
        if len(outside):
            raise self._refusal(
                f"names bytes of {len(outside)} values that {self._input.shown}, of {size} bytes, does not have; the "
                f"first has key {outside[0]}: one of the two files was cut off, or belongs to another blob"
            )

    def _refusal(self, what: str) -> SourceError:
        return SourceError(f"{self._index_path} {what}", path=self._index_path)
