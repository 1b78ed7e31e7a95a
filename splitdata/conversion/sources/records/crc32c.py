"""CRC-32C, the checksum of TFRecord: by google-crc32c or crc32c where one is installed, else by numpy.

The checksum is linear: the part of each byte depends on the byte and on how many bytes follow it alone.

    state ^ first 4 bytes │ b4 │ b5 │ ...     ──> table[place][byte] of each ──xor──> state behind the block
"""

from __future__ import annotations

import importlib
import warnings
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["CRC32C_OF_NOTHING", "crc32c", "masked_crc"]

CRC32C_OF_NOTHING: Final = 0

_POLYNOMIAL: Final = 0x82F63B78
_ALL_ONES: Final = 0xFFFFFFFF
_BLOCK_BYTES: Final = 1 << 9
# Below it a loop over the bytes is faster than numpy.
_SHORT_BYTES: Final = 48


def crc32c(data: bytes, before: int = CRC32C_OF_NOTHING) -> int:
    """Return the CRC-32C of bytes, behind others whose checksum is `before`."""
    state = before ^ _ALL_ONES
    if len(data) > _SHORT_BYTES and (by_library := _library()):
        return by_library(data, before)
    if len(data) <= _SHORT_BYTES:
        return _of_short(data, state) ^ _ALL_ONES
    tables, last = _tables(), len(data) - len(data) % _BLOCK_BYTES
    values = np.frombuffer(data, np.uint8)
    places = np.arange(_BLOCK_BYTES) << 8
    for start in range(0, last, _BLOCK_BYTES):
        state = _behind(values[start : start + _BLOCK_BYTES], state, tables, places)
    rest = values[last:]
    if len(rest) <= _SHORT_BYTES:
        return _of_short(rest.tobytes(), state) ^ _ALL_ONES
    return _behind(rest, state, tables, places[-len(rest) :]) ^ _ALL_ONES


def masked_crc(crc: int) -> int:
    """Return a checksum as TFRecord stores it."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _library() -> Callable[[bytes, int], int] | None:
    """Return what continues a checksum in compiled code, if a package that has it is installed."""
    with suppress(ImportError), warnings.catch_warnings():
        # Where it has no compiled code it warns, and is not used.
        warnings.simplefilter("ignore", RuntimeWarning)
        google: Any = importlib.import_module("google_crc32c")
        if google.implementation == "c":
            return lambda data, before: int(google.extend(before, data))
    with suppress(ImportError):
        own: Any = importlib.import_module("crc32c")
        return lambda data, before: int(own.crc32c(data, before))
    return None


def _behind(block: NDArray[np.uint8], state: int, tables: NDArray[np.uint32], places: NDArray[np.int64]) -> int:
    index = places + block
    index[:4] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)
    return int(np.bitwise_xor.reduce(tables[index]))


def _of_short(data: bytes, state: int) -> int:
    table = _byte_table()
    for value in data:
        state = (state >> 8) ^ table[(state ^ value) & 255]
    return state


@cache
def _byte_table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(value >> 1) ^ (_POLYNOMIAL if value & 1 else 0) for value in table]
    return table


@cache
def _tables() -> NDArray[np.uint32]:
    """Return a table for each place of a block, end to end: 512 KiB, made once."""
    first = np.array(_byte_table(), np.uint32)
    tables = [first]
    for _ in range(_BLOCK_BYTES - 1):
        tables.append((tables[-1] >> 8) ^ first[tables[-1] & 255])
    return np.concatenate(tables[::-1])
