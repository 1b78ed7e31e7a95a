"""What bytes are, by how they begin; no beginning, whole, cut or made up, is taken for more than it says."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.samples.media import media_of
from splitdata.samples.preview import preview

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480) + b"\x08\x02\0\0\0"
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(10) + b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 480, 640) + b"\x03"
WEBP = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (639).to_bytes(3, "little") + (479).to_bytes(3, "little")
BMP = b"BM" + bytes(12) + b"\x28\0\0\0" + struct.pack("<iI", 640, (1 << 32) - 480)

KINDS: dict[str, tuple[bytes, str, tuple[int, int] | None]] = {
    "png": (PNG, "png", (640, 480)),
    "jpeg": (JPEG, "jpg", (640, 480)),
    "gif": (b"GIF89a" + struct.pack("<HH", 640, 480), "gif", (640, 480)),
    "webp": (WEBP, "webp", (640, 480)),
    "bmp": (BMP, "bmp", (640, 480)),
    "cut png": (PNG[:18], "png", None),
    "cut jpeg": (JPEG[:12], "jpg", None),
    "wav": (b"RIFF\0\0\0\0WAVE", "wav", None),
    "mp4": (b"\0\0\0\x18ftypisom", "mp4", None),
    "npy": (b"\x93NUMPY\x01\0", "npy", None),
    "json": (b' {"a": 1}\n', "json", None),
    "half json": (b'{"a": ', "txt", None),
    "text": ("größe\n".encode(), "txt", None),
    "long text": (b"a\n" * 5000, "txt", None),
    "bytes": (b"\0\1\2", "bin", None),
    "nothing": (b"", "bin", None),
}


@pytest.mark.parametrize("name", KINDS)
def test_beginning_tells_kind_and_size(name: str) -> None:
    data, suffix, size = KINDS[name]
    assert media_of(data) == (suffix, size)
    assert media_of(memoryview(data)) == (suffix, size)


@given(st.sampled_from([data for data, _, _ in KINDS.values()]), st.binary(max_size=40), st.integers(0, 60))
def test_no_beginning_raises_or_reads_on_for_ever(start: bytes, rest: bytes, cut: int) -> None:
    media = media_of(start[:cut] + rest)
    assert media.size is None or min(media.size) >= 0


def test_preview_shows_a_few_numbers_and_pictures_by_kind_and_size() -> None:
    sample = {
        "png": PNG,
        "raw": b"\0\1",
        "big": np.linspace(0, 1, 1000, dtype=np.float32),
        "small": np.array([1, 2], np.int16),
        "when": np.array(["2020-01-01"], "datetime64[D]"),
        "none": np.zeros((0, 3)),
        "names": np.array(["a"]),
        "big endian": np.array([[True, False]]),
    }
    assert preview(sample, 1000) == (
        r"{'png': <png 640x480, 29 bytes>, 'raw': b'\x00\x01', 'big': float32[1000] 0 0.001001 0.002002 0.003003 ..., "
        "'small': int16[2] 1 2, 'when': datetime64[D][1] 2020-01-01, 'none': float64[0, 3], 'names': <U1[1], "
        "'big endian': bool[1, 2] True False}"
    )
