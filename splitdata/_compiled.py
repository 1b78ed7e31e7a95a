"""The switch of the compiled read and write path: whether it is there, whether it is used, and what it is.

`splitdata/_speedups.c` does the work of a few Python functions on records of the usual kind, and returns None for every
other: those functions do it then, make every error, and stay the truth. Without the compiled file all works, slower.

    SPLITDATA_PURE     when it is built                       when it is run
    not set            built where a compiler is              used where it is there
    1                  left out                               not used
    0                  a build that fails is an error         an error where it is not there

    who asks                                   for what
    dataset/segments/segment_files.py          the maps of a segment, and reads of its records
    dataset/segments/framing.py                records become frames
    dataset/segments/given_sizes.py            how long records are
    dataset/verify/frame_run.py                proof of the frames of a bin

It is loaded when a dataset is first opened: `import splitdata` takes no longer for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from splitdata._speedups import Frames as Frames

__all__ = ["Speedups", "compiled_path", "speedups"]

_SWITCH: Final = "SPLITDATA_PURE"
# A file that was built from another state of the sources is not used.
_INTERFACE: Final = 7


@dataclass(frozen=True, slots=True)
class Speedups:
    """What the compiled file offers.

    Attributes:
        frames: The maps of a segment, and reads of its records.
        frame: Lays out records as frames, or groups of them.
        sizes: Measures a list of bytes.
        prove: Proves frames of a bin that stand end to end.
        path: Of the file.
    """

    frames: type[Frames]
    frame: Callable[
        [
            list[bytes],
            list[bytes] | None,
            tuple[int, ...],
            NDArray[np.uint64],
            NDArray[np.uint32],
            NDArray[np.uint64],
        ],
        tuple[list[bytes], int, int, int, int] | None,
    ]
    sizes: Callable[[list[Any]], tuple[int, int] | None]
    prove: Callable[
        [bytes, NDArray[np.int64], NDArray[np.void], NDArray[np.int64], tuple[int, ...]],
        tuple[int, int, int, int, int],
    ]
    path: str


# Once it was looked for; tests put None there.
_found: list[Speedups | None] = []


def speedups() -> Speedups | None:
    """Return the compiled path, None where Python does all.

    Raises:
        ImportError: If the environment asks for it, and it is not there.
        ValueError: If the environment asks for something else.
    """
    if not _found:
        _found.append(_load())
    return _found[0]


def compiled_path() -> str | None:
    """Return where the compiled read and write path lies that is in use; None where Python does all, slower.

    Raises:
        ImportError: If SPLITDATA_PURE=0 asks for it, and it is not there.
    """
    found = speedups()
    return None if found is None else found.path


def _load() -> Speedups | None:
    switch = os.environ.get(_SWITCH, "")
    if switch not in ("", "0", "1"):
        raise ValueError(f"{_SWITCH} is 1 (Python alone), 0 (the compiled path, or an error) or unset, got {switch!r}")
    if switch == "1":
        return None
    try:
        from splitdata import _speedups

        if _speedups.INTERFACE != _INTERFACE:
            raise ImportError(f"{_speedups.__file__} was built from other sources")
    except ImportError as error:
        if switch == "0":
            raise ImportError(
                f"{_SWITCH}=0 asks for the compiled path: {error}; install a wheel that has it, or build it, see "
                "docs/speedups.md"
            ) from None
        return None
    return Speedups(
        _speedups.Frames,
        _speedups.frame,
        _speedups.sizes,
        _speedups.prove,
        str(_speedups.__file__),
    )
