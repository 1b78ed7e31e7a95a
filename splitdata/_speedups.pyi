"""What `_speedups.c` offers to `_compiled.py`; None everywhere means "ask the Python path"."""

from collections.abc import Callable
from typing import Any, Final, final, overload

import numpy as np
from numpy.typing import NDArray

INTERFACE: Final[int]

# XXH3-64, seed 0.
def hash64(data: bytes | memoryview, /) -> int: ...

# Lays out records as frames, with the key of each, empty where it has none, or as groups without keys. `layout` says
# kind of the frames, number of the first, alignment of payloads, records of a frame, the logarithm of what records in
# groups are aligned to, what digests are multiplied by for one record behind, and which mean length is too long.
# `columns` holds bin, salt and offset of each, and gets instead of that where its last frame ends. The rows behind it
# are filled: with the entries, with lengths of records in groups behind each, and the hashes of the keys. Returns the
# bytes of each column, the digest of the records, bytes of payloads and of records, and of the longest record.
def frame(
    records: list[bytes],
    keys: list[bytes] | None,
    layout: tuple[int, ...],
    columns: NDArray[np.uint64],
    entries: NDArray[np.uint32],
    key_hashes: NDArray[np.uint64],
    /,
) -> tuple[list[bytes], int, int, int, int] | None: ...

# How many bytes the items of a list have together, and the longest of them.
def sizes(records: list[Any], /) -> tuple[int, int] | None: ...

# Proves frames up to the first that is unusual, wrong, or not all in `data`. `frames` are their numbers, `lengths`
# those of the records of groups. `run` says where data begins in the bin and where the frame before ends; number and
# salt of the bin, alignment of payloads, records of a frame; what digests are multiplied by, for one record behind
# and for those from one frame to the next; the digest of all before. Returns how many frames are proven and where the
# last of them ends; the digest up to there, and number and sum of their keys.
def prove(
    data: bytes,
    frames: NDArray[np.int64],
    entries: NDArray[np.void],
    lengths: NDArray[np.int64],
    run: tuple[int, ...],
    /,
) -> tuple[int, int, int, int, int]: ...

# The maps of one segment, and reads of its records; `num_files` bins hold some. It holds each map until that is let
# go of. Safe to share between threads.
@final
class Frames:
    def __new__(cls, num_records: int, num_bins: int, num_files: int, group: int, /) -> Frames: ...
    # Takes the view of a mapped bin, whose frames begin with `sync`, or, as bin -1, of the entries of the index; None:
    # lets go of it.
    def put(self, bin_index: int, view: memoryview | None, sync: int, /) -> None: ...
    def records(
        self, sequences: NDArray[np.int64] | list[int], verify: bool, most_bytes: int, most_bytes_in_all: int, /
    ) -> list[bytes] | None: ...
    # Views are of the maps.
    def views(
        self, sequences: NDArray[np.int64], verify: bool, most_bytes: int, most_bytes_in_all: int, /
    ) -> list[memoryview] | None: ...
    # The length of one record, found as it is for reading but not proven.
    def size(self, sequence: int, /) -> int | None: ...
    # Copies records of one length into the rows of a buffer, and says whether that is done; False: ask the Python
    # path, the rows may hold anything.
    def gather(
        self, sequences: NDArray[np.int64], rows: NDArray[Any], verify: bool, most_bytes: int, most_bytes_in_all: int, /
    ) -> bool: ...
    # What returns one record by its sequence number; of one that is not usual what `otherwise` does, or None.
    @overload
    def getter(self, otherwise: None, verify: bool, most_bytes: int, /) -> Callable[[Any], bytes | None]: ...
    @overload
    def getter(self, otherwise: Callable[[int], bytes], verify: bool, most_bytes: int, /) -> Callable[[int], bytes]: ...
