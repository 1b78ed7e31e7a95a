"""What `_speedups.c` offers to `_compiled.py`; None everywhere means "ask the Python path"."""

from collections.abc import Callable
from typing import Any, Final, final, overload

import numpy as np
from numpy.typing import NDArray

INTERFACE: Final[int]

def hash64(data: bytes | memoryview, /) -> int: ...
def frame(
    records: list[bytes],
    keys: list[bytes] | None,
    kind: int,
    first_sequence: int,
    alignment: int,
    columns: NDArray[np.uint64],
    most_mean_bytes: int,
    /,
) -> tuple[list[bytes], bytes, bytes, bytes, bytes] | None: ...
def pack_groups(
    records: list[bytes], group: int, alignment_log2: int, /
) -> tuple[list[bytes], bytes, bytes] | None: ...

@final
class Frames:
    def __new__(cls, num_records: int, num_bins: int, num_files: int, group: int, /) -> Frames: ...
    def put_index(self, entries: memoryview | None, /) -> None: ...
    def put_bin(self, bin_index: int, view: memoryview | None, sync: int, /) -> None: ...
    def records(
        self, sequences: NDArray[np.int64] | list[int], verify: bool, most_bytes: int, most_bytes_in_all: int, /
    ) -> list[bytes] | None: ...
    def views(
        self, sequences: NDArray[np.int64], verify: bool, most_bytes: int, most_bytes_in_all: int, /
    ) -> list[memoryview] | None: ...
    def size(self, sequence: int, /) -> int | None: ...
    def gather(
        self, sequences: NDArray[np.int64], rows: NDArray[Any], verify: bool, most_bytes: int, most_bytes_in_all: int, /
    ) -> bool: ...
    @overload
    def getter(self, otherwise: None, verify: bool, most_bytes: int, /) -> Callable[[Any], bytes | None]: ...
    @overload
    def getter(self, otherwise: Callable[[int], bytes], verify: bool, most_bytes: int, /) -> Callable[[int], bytes]: ...
