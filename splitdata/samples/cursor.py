"""A reader of the small fields of a schema, each bounded by the bytes that are left.

A schema may be damaged or forged: no length in it is believed before it is compared.

    | byte | u32 | text: u32, UTF-8 | ...      a step beyond the end is FormatError
"""

from __future__ import annotations

from splitdata.errors import FormatError

__all__ = ["Cursor"]


class Cursor:
    """Goes through bytes from front to back.

    Attributes:
        place: Of the next byte.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.place = 0

    @property
    def num_left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._data) - self.place

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        piece = self._data[self.place : self.place + count]
        if len(piece) != count:
            raise FormatError(f"a sample's schema ends at byte {len(self._data)}, in the middle of a part")
        self.place += count
        return piece

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def u32(self) -> int:
        """Return the next four bytes as a number."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """Return the next eight bytes as a number."""
        return int.from_bytes(self.take(8), "little")

    def i64(self) -> int:
        """Return the next eight bytes as a signed number."""
        return int.from_bytes(self.take(8), "little", signed=True)

    def text(self) -> str:
        """Return the next text."""
        try:
            return self.take(self.u32()).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise FormatError(f"a sample's schema has a text that is not UTF-8: {error}") from None
