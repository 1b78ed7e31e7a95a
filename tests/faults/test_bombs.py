"""Compressed records that want more memory than they may have: a clear error, and the memory stays free.

stored bytes and checksums are right; sizes, windows and frames are not what they should be
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from splitdata import FormatError, RecordTooLargeError, SplitDataLoader
from splitdata.format import spec
from tests.command import run_python
from tests.faults.forging import write_forged_record

MIB = 1 << 20
# Of a record in these tests, and how much more a reader may use for it.
LIMIT = 16 * MIB
SLACK = 48 * MIB


def zstd_of_zeros(length: int, *, with_size: bool = True) -> bytes:
    """Return a frame of zeros, made in pieces."""
    if with_size:
        stream = zstandard.ZstdCompressor().compressobj(size=length)
    else:
        stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    pieces = [stream.compress(bytes(min(MIB, length - start))) for start in range(0, length, MIB)]
    return b"".join([*pieces, stream.flush()])


def frame(window: int, size: int, blocks: bytes) -> bytes:
    """Return a frame that declares any window and size (RFC 8878: size of 4 bytes, window descriptor)."""
    return b"\x28\xb5\x2f\xfd\x80" + bytes([(window.bit_length() - 11) << 3]) + size.to_bytes(4, "little") + blocks


def raw_block(data: bytes) -> bytes:
    """Return a last block that holds these bytes as they are."""
    return (len(data) << 3 | 1).to_bytes(3, "little") + data


def zeros_block(length: int, *, last: bool) -> bytes:
    """Return a block of 4 bytes that becomes `length` zeros."""
    return (length << 3 | 1 << 1 | last).to_bytes(3, "little") + b"\0"


SKIPPED = b"\x50\x2a\x4d\x18\x04\x00\x00\x00junk"

# Name, stored bytes, raw length that index and frame header give.
BOMBS: list[tuple[str, Callable[[], bytes], int]] = [
    ("honest and huge", lambda: zstd_of_zeros(256 * MIB), 256 * MIB),
    ("longer than said", lambda: zstd_of_zeros(256 * MIB), 1 * MIB),
    ("no size", lambda: zstd_of_zeros(256 * MIB, with_size=False), 1 * MIB),
    ("forged size", lambda: frame(MIB, (1 << 32) - 1, raw_block(b"x" * 50)), 1000),
    ("size of nothing", lambda: frame(MIB, LIMIT - 1, raw_block(b"x" * 50)), LIMIT - 1),
    ("small size, many zeros", lambda: frame(MIB, 1000, zeros_block(100_000, last=False) * 2000), 9000),
    ("zeros behind the size", lambda: frame(MIB, 20_000, zeros_block(100_000, last=False) * 2000), 20_000),
    ("two frames", lambda: zstd_of_zeros(5000) + zstd_of_zeros(64 * MIB), 5000),
    ("long window", lambda: frame(1 << 31, 5000, raw_block(b"x" * 50)), 5000),
    ("skipped frame first", lambda: SKIPPED + zstd_of_zeros(5000), 5000),
    ("skipped frame last", lambda: zstd_of_zeros(5000) + SKIPPED, 5000),
    ("not zstd", lambda: b"x" * 50, 5000),
    ("no bytes", lambda: b"", 5000),
]


@pytest.mark.parametrize(("name", "stored", "raw_length"), BOMBS, ids=[bomb[0] for bomb in BOMBS])
@pytest.mark.parametrize("checked", [True, False], ids=["verify", "no-verify"])
def test_record_that_is_no_single_honest_zstd_frame_is_refused(
    tmp_path: Path, name: str, stored: Callable[[], bytes], raw_length: int, checked: bool
) -> None:
    data = stored()
    # The frame header itself refuses a compressed record that is longer than the raw one.
    assert len(data) < raw_length
    write_forged_record(tmp_path / "data", data, raw_length=raw_length, codec=spec.CODEC_ZSTD)
    with SplitDataLoader(tmp_path / "data", verify=checked, max_record_bytes=LIMIT) as loader:
        for read in (
            lambda: loader[0],
            lambda: loader.view(0),
            lambda: loader[[0]],
            lambda: loader.read_range(0, 0, 10),
            lambda: list(loader),
            lambda: list(loader.iterate_binwise()),
        ):
            with pytest.raises(FormatError, match="record 0 ") as caught:
                read()
            assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(("raw_length", "kind"), [(2 * MIB, spec.KIND_RECORD), (32 * MIB, spec.KIND_LARGE)])
def test_honest_record_above_the_limit_is_refused_by_name(tmp_path: Path, raw_length: int, kind: int) -> None:
    write_forged_record(
        tmp_path / "data", zstd_of_zeros(raw_length), raw_length=raw_length, codec=spec.CODEC_ZSTD, kind=kind
    )
    with SplitDataLoader(tmp_path / "data", max_record_bytes=raw_length - 1) as loader:
        for read in (lambda: loader[0], lambda: loader.view(0), lambda: loader.read_range(0, 0, 10)):
            with pytest.raises(RecordTooLargeError, match=rf"record 0 .* {raw_length} bytes.*000000\.bin"):
                read()
    with SplitDataLoader(tmp_path / "data", max_record_bytes=raw_length) as loader:
        assert loader[0] == bytes(raw_length)


def single_segment(size: int) -> bytes:
    """Return a frame of zeros whose window is as long as its content: what zstd makes with a window log to match."""
    count, rest = divmod(size, 128 << 10)
    blocks = zeros_block(128 << 10, last=False) * count + zeros_block(rest, last=True)
    return b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + blocks


def test_large_record_whose_window_is_as_long_as_itself_is_read(tmp_path: Path) -> None:
    raw_length = 150 * MIB + 5
    stored = single_segment(raw_length)
    write_forged_record(tmp_path / "data", stored, raw_length=raw_length, codec=spec.CODEC_ZSTD, kind=spec.KIND_LARGE)

    with SplitDataLoader(tmp_path / "data") as loader:
        assert loader.read_range(0, raw_length - 3, raw_length) == bytes(3)


MEASURE = """
import sys
from pathlib import Path
from splitdata import SplitDataError, SplitDataLoader

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

with SplitDataLoader(sys.argv[1], max_record_bytes=int(sys.argv[2])) as loader:
    len(loader)
    before = peak()
    for read in (lambda: loader[0], lambda: loader.read_range(0, 0, 10)):
        try:
            read()
        except SplitDataError:
            print("refused")
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux reports it")
@pytest.mark.parametrize("name", ["honest and huge", "longer than said", "zeros behind the size", "long window"])
def test_bomb_is_refused_within_the_limit_of_memory(tmp_path: Path, name: str) -> None:
    stored, raw_length = next((bomb[1](), bomb[2]) for bomb in BOMBS if bomb[0] == name)
    write_forged_record(tmp_path / "data", stored, raw_length=raw_length, codec=spec.CODEC_ZSTD)
    ended = run_python("-c", MEASURE, tmp_path / "data", str(LIMIT))

    assert ended.returncode == 0, ended.stderr
    *refusals, used = ended.stdout.split()
    assert refusals == ["refused", "refused"]
    assert int(used) < LIMIT + SLACK


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux reports it")
@pytest.mark.parametrize(
    ("raw_length", "limit"), [(1 << 30, LIMIT), (1 << 40, 1 << 62), (LIMIT + 1, LIMIT + 1)], ids=str
)
def test_large_record_that_expands_beyond_its_limit_is_refused_within_memory(
    tmp_path: Path, raw_length: int, limit: int
) -> None:
    stored = zstd_of_zeros(256 * MIB)
    write_forged_record(tmp_path / "data", stored, raw_length=raw_length, codec=spec.CODEC_ZSTD, kind=spec.KIND_LARGE)
    ended = run_python("-c", MEASURE, tmp_path / "data", str(limit))

    assert ended.returncode == 0, ended.stderr
    *refusals, used = ended.stdout.split()
    assert refusals == ["refused", "refused"]
    assert int(used) < LIMIT + SLACK
