"""Flat files of tokens: numbers end to end, cut into blocks of equal length; the last one may be shorter.

Numbers are taken as they are: neither zeros nor an end of text divides anything.

    u16 | u16 | u16 | u16 | u16      block=2  ──>  [t0, t1], [t2, t3], [t4]
    llm.c writes 256 numbers of 32 bits before them: their first says so, and which type the tokens have
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sources.files.block_reader import BlockReader
from splitdata.conversion.sources.numbered import NumberedFileSource

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TOKEN_TYPES", "TokenSource"]

TOKEN_TYPES: Final = ("u8", "u16", "u32", "u64", "i16", "i32", "i64")

_HEADER_BYTES: Final = 1024
# First number of the header, and the version behind it: the type of the tokens.
_HEADERS: Final = {(20240520, 1): "u16", (20240801, 7): "u32"}
_READ_BYTES: Final = 8 << 20


class TokenSource(NumberedFileSource):
    """The blocks of a token file, plain or compressed; not of standard input, whose length is not known."""

    kind = "tokens"

    def __init__(self, path: str, *, dtype: str | None, block: int | None) -> None:
        """Take a path, the type of the tokens if the file does not say it, and how many are a sample.

        Raises:
            ValueError: If the type is none of TOKEN_TYPES, or block is not 1 or more.
        """
        super().__init__(path)
        if dtype is not None and dtype not in TOKEN_TYPES:
            raise ValueError(f"dtype must be one of {', '.join(TOKEN_TYPES)}, got {dtype!r}")
        if block is None or block < 1:
            raise ValueError(f"tokens are cut into blocks of 1 or more: block=1024, for instance; got {block}")
        self._dtype = dtype
        self._block = block

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells the file from a changed one, and how it is cut."""
        return super().state(with_times=with_times) | {"dtype": self._dtype, "block": self._block}

    def _known_count(self) -> int | None:
        if self._input.is_compressed:
            return None
        start, dtype, _ = self._header()
        return -(-((self.num_bytes or 0) - start) // (self._block * dtype.itemsize))

    def _samples(self, first: int) -> Iterator[Any]:
        start, dtype, num_tokens = self._header()
        size = self._block * dtype.itemsize
        self._check_size(size)
        place = start + first * size
        if not self._input.is_compressed:
            # The last block may be shorter.
            place = min(place, self.num_bytes or 0)
        reader = BlockReader(self._input.blocks(place), place)
        at_once = max(1, _READ_BYTES // size) * size
        while data := reader.read_full(at_once):
            self._bytes_read = self._input.bytes_read
            if len(data) % dtype.itemsize:
                raise self._refusal(
                    f"has {reader.num_bytes - start} bytes of tokens, which is no multiple of {dtype.itemsize}: it was "
                    f"truncated, or its tokens are not {self._dtype}"
                )
            tokens = np.frombuffer(data, dtype)
            for begin in range(0, len(tokens), self._block):
                yield tokens[begin : begin + self._block]
        if num_tokens is not None and reader.num_bytes != start + num_tokens * dtype.itemsize:
            raise self._refusal(
                f"says that it has {num_tokens} tokens, and has {(reader.num_bytes - start) // dtype.itemsize}: it was "
                "truncated, or is damaged"
            )

    def _header(self) -> tuple[int, np.dtype[Any], int | None]:
        """Return where the tokens begin, their type, and how many they are where the file says it."""
        head = BlockReader(self._input.blocks(), 0).read_full(_HEADER_BYTES)
        if len(head) == _HEADER_BYTES:
            mark, version, num_tokens = np.frombuffer(head, "<u4", 3).tolist()
            known = _HEADERS.get((mark, version))
            if known is not None and self._dtype not in (None, known):
                raise self._refusal(f"says that its tokens are {known}, not {self._dtype}")
            if known is not None:
                return _HEADER_BYTES, np.dtype(f"<{known[0]}{int(known[1:]) // 8}"), num_tokens
        if self._dtype is None:
            raise self._refusal("does not say which type its tokens have; say it: dtype='u16', for instance")
        return 0, np.dtype(f"<{self._dtype[0]}{int(self._dtype[1:]) // 8}"), None
