"""What some bytes are, told by how they begin: pictures with their size, sounds, archives, text. Nothing is decoded.

Of a picture only the header is looked at, and no length in it is trusted.

    89 50 4e 47 ... IHDR 32 32     ──> "png", 32 x 32
    ff d8 ... ffc0 .. 0020 0020    ──> "jpg", 32 x 32
"""

from __future__ import annotations

import json
from typing import Final, NamedTuple

__all__ = ["Media", "media_of"]

_MAX_SCAN_BYTES: Final = 1 << 16
_TEXT_BYTES: Final = 1 << 12
_STARTS: Final = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"ID3", "mp3"),
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b\x08", "gz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"\x93NUMPY", "npy"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
)
_RIFF: Final = {b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}
# Markers of JPEG that begin a frame, behind which the size is.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Media(NamedTuple):
    """What bytes are.

    Attributes:
        suffix: Of a file of this kind, without a dot; "bin" where nothing tells.
        size: Width and height of a picture in pixels, None where unknown.
    """

    suffix: str
    size: tuple[int, int] | None = None

    @property
    def is_known(self) -> bool:
        """Whether the bytes begin as one format does."""
        return self.suffix not in ("bin", "txt", "json")


def media_of(data: bytes | memoryview) -> Media:
    """Return what bytes are, by their beginning."""
    head = bytes(data[:_MAX_SCAN_BYTES])
    return _picture(head) or _other(head, is_whole=len(head) == len(data))


def _picture(head: bytes) -> Media | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return Media("png", _extents(head, 16, 4, "big") if head[12:16] == b"IHDR" else None)
    if head.startswith(b"\xff\xd8\xff"):
        return Media("jpg", _size_of_jpeg(head))
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return Media("gif", _extents(head, 6, 2, "little"))
    if head.startswith(b"BM") and len(head) >= 26 and head[14:18] in (b"\x28\0\0\0", b"\x7c\0\0\0", b"\x6c\0\0\0"):
        size = _extents(head, 18, 4, "little")
        return Media("bmp", size and (size[0], min(size[1], (1 << 32) - size[1])))
    if head[4:12] in (b"ftypavif", b"ftypheic"):
        return Media(head[8:12].decode())
    return None


def _other(head: bytes, *, is_whole: bool) -> Media:
    for start, suffix in _STARTS:
        if head.startswith(start):
            return Media(suffix)
    if head.startswith(b"RIFF") and head[8:12] in _RIFF:
        return Media(_RIFF[head[8:12]], _size_of_webp(head))
    if head[4:8] == b"ftyp":
        return Media("mp4")
    return Media(_suffix_of_text(head, is_whole=is_whole))


def _suffix_of_text(head: bytes, *, is_whole: bool) -> str:
    begin = head[:_TEXT_BYTES]
    try:
        # The last character may be cut.
        text = begin.decode("utf-8", "strict" if is_whole and len(begin) == len(head) else "ignore")
    except UnicodeDecodeError:
        return "bin"
    is_text = bool(text) and all(character.isprintable() or character in "\t\r\n\f" for character in text)
    if not is_text or len(text.encode()) < len(begin) - 3:
        return "bin"
    if is_whole and text.lstrip()[:1] in ("{", "["):
        try:
            json.loads(head)
        except (ValueError, RecursionError):
            return "txt"
        return "json"
    return "txt"


def _extents(head: bytes, start: int, width: int, order: str) -> tuple[int, int] | None:
    if len(head) < start + 2 * width:
        return None
    big = order == "big"
    first, second = head[start : start + width], head[start + width : start + 2 * width]
    return int.from_bytes(first, "big" if big else "little"), int.from_bytes(second, "big" if big else "little")


def _size_of_jpeg(head: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker in _FRAMES:
            found = _extents(head, place + 5, 2, "big")
            return found and (found[1], found[0])
        place += 2 + max(2, int.from_bytes(head[place + 2 : place + 4], "big"))
    return None


def _size_of_webp(head: bytes) -> tuple[int, int] | None:
    if head[12:16] == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8 " and len(head) >= 30:
        found = _extents(head, 26, 2, "little")
        return found and (found[0] & 0x3FFF, found[1] & 0x3FFF)
    if head[12:16] == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    return None
