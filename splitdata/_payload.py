"""Decides what counts as bytes: by the type of the elements, not by whether there is a buffer.

A buffer may hold addresses instead of data: to store those would lose the record without an error.

    b"ab", bytearray, mmap, array of numbers     -> their bytes, without a copy where they lie in one piece
    array of objects, ctypes pointer             -> TypeError: its buffer holds addresses
    str, numpy.str_, array of text               -> TypeError: encode it
    open binary file                             -> no payload, `is_file`: its rest is read in pieces
"""

from __future__ import annotations

import errno
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

if TYPE_CHECKING:
    from splitdata._types import ReadableFile

__all__ = ["check_has_rest", "is_file", "payload", "read_piece"]

# Of a buffer's format: names of fields go first, as they may be of any letters.
_NAMES: Final = re.compile(r":[^:]*:")
# "Zd" is a complex number, "Z" alone a pointer to text.
_POINTERS: Final = re.compile(r"[OP&Xz]|Z(?![fdg])")
_TEXTS: Final = re.compile(r"[uw]")

_ADDRESSES: Final = "holds addresses in this process, not what lies there"


def payload(value: object) -> bytes | memoryview:
    """Return the bytes of a value: itself, or a view of all its bytes in one piece.

    A copy is made only of what does not lie in one piece; its order is that of C.

    Raises:
        TypeError: If its elements are not plain bytes or numbers; the message says what to do instead.
    """
    if type(value) is bytes:
        return value
    if isinstance(value, bytes):
        return bytes.__bytes__(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return _bytes_of_array(value)
    try:
        view = memoryview(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        _refuse(value, _advice(value))
    names_left_out = _NAMES.sub("", view.format)
    if _POINTERS.search(names_left_out) or _holds_pointer(value):
        _refuse(value, f"{_ADDRESSES}: write the bytes it leads to, for instance those of ctypes.string_at()")
    if _TEXTS.search(names_left_out):
        _refuse(value, "holds text: encode it first")
    return _in_one_piece(view)


def is_file(value: object) -> bool:
    """Say whether a value is read as a file; a map counts as bytes, though it can be read too."""
    if not hasattr(value, "read"):
        return False
    try:
        memoryview(value)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        return True
    return False


def read_piece(file: ReadableFile, size: int) -> bytes:
    """Return up to so many bytes of a file that is a record, none at its end.

    Raises:
        TypeError: If it gives no bytes: it is open for text.
        BlockingIOError: If a file that does not block has nothing yet: its end is not known then.
    """
    piece: object = file.read(size)
    if piece is None:
        raise BlockingIOError(errno.EAGAIN, "a record's file must block until it has data; this one gave None")
    if not isinstance(piece, bytes):
        raise TypeError(f"a record's file must be open in binary mode; it gave {type(piece).__name__}")
    return piece


def check_has_rest(file: ReadableFile) -> None:
    """Raise if a file that gave nothing has bytes before the place where it stands.

    Raises:
        ValueError: If it has: something has just been written into it, or it was read already.
    """
    try:
        place = file.tell()  # type: ignore[attr-defined]  # what has none raises this
    except (AttributeError, OSError, ValueError):
        # A pipe has no places.
        return
    if place:
        raise ValueError(
            f"a record is what a file holds from where it stands, and this one stands at its end, byte {place}: "
            'call its seek(0) first; an empty record is written as b""'
        )


# -- numpy ---------------------------------------------------------------------------------------


def _bytes_of_array(value: np.ndarray[Any, Any] | np.generic) -> memoryview:
    dtype = value.dtype
    if dtype.hasobject:
        _refuse(
            value, f"{_ADDRESSES}: make it an array of numbers or bytes with astype(), or encode each object by itself"
        )
    if _has_text(dtype):
        _refuse(value, "holds text as 32-bit numbers: encode it first, or store it with write_sample()")
    # Not np.ma, which would load that module.
    if isinstance(value, getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())):
        _refuse(value, "has a mask, which bytes do not have: call its filled() first")
    array = np.ascontiguousarray(value)
    # Not its own buffer: the types of dates and those of other packages have none.
    return array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(b"")


def _has_text(dtype: np.dtype[Any]) -> bool:
    if dtype.names is not None:
        return any(_has_text(dtype[name]) for name in dtype.names)
    return dtype.base.kind == "U" if dtype.base is dtype or dtype.base.names is None else _has_text(dtype.base)


# -- other buffers -------------------------------------------------------------------------------


def _in_one_piece(view: memoryview) -> bytes | memoryview:
    if not view.nbytes:
        return b""
    return view.cast("B") if view.c_contiguous else view.tobytes()


def _holds_pointer(value: object) -> bool:
    """Say whether a value of ctypes does: the format of a union, or of a packed structure, does not tell."""
    ctypes = sys.modules.get("ctypes")
    if ctypes is None:
        return False
    kinds = (ctypes.Structure, ctypes.Union, ctypes.Array)
    return isinstance(value, kinds) and _has_pointer(type(value), kinds)


def _has_pointer(cls: Any, kinds: tuple[Any, Any, Any]) -> bool:  # a class of ctypes
    if issubclass(cls, kinds[2]):
        return _has_pointer(cls._type_, kinds)
    if issubclass(cls, kinds):
        fields = [field for base in cls.__mro__ for field in base.__dict__.get("_fields_", ())]
        return any(_has_pointer(field[1], kinds) for field in fields)
    letter = getattr(cls, "_type_", None)
    return not isinstance(letter, str) or letter in "OPXzZ"


# -- saying no -----------------------------------------------------------------------------------


def _refuse(value: object, why: str) -> NoReturn:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, np.ndarray):
        name += f" of {value.dtype}"
    raise TypeError(f"a record is a bytes-like object or a binary file, not {name}; {why}")


def _advice(value: object) -> str:
    if isinstance(value, str):
        return "encode text first"
    if isinstance(value, os.PathLike):
        return "give what it leads to, open(path, 'rb')"
    if isinstance(value, getattr(sys.modules.get("torch"), "Tensor", ())):
        return "write_sample() stores tensors, and .numpy() shows one as bytes"
    if hasattr(value, "__array__"):
        return "write_sample() stores arrays, and numpy.asarray() makes one of this"
    return "write_sample() stores dicts, lists, arrays, numbers and text as they are"
