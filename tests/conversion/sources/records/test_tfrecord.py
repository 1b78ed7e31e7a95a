"""TFRecord: payloads come as they are, and what is damaged, truncated or hostile is refused, naming the record."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from splitdata import SourceError, SplitDataLoader, convert, open_source
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES
from splitdata.conversion.sources.records.crc32c import crc32c
from splitdata.conversion.sources.seek import SeekableSource
from tests.command import run_cli

PAYLOADS = [b"", b"a", bytes(range(256)) * 5, b"\x1f\x8b\x08", bytes(range(251)) * (READ_WHOLE_BYTES // 200)]


GOLDEN = Path(__file__).parents[3] / "golden" / "tensorflow"


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload)


def bitwise_crc32c(data: bytes) -> int:
    state = 0xFFFFFFFF
    for value in data:
        state ^= value
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


def test_checksum_is_that_of_its_definition_at_each_length_and_cut() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    data = bytes(k * k % 251 for k in range(1100))
    for size in (*range(70), 511, 512, 513, 560, 561, 1100):
        assert crc32c(data[:size]) == bitwise_crc32c(data[:size]), size
    for cut in (1, 47, 100, 513, 1099):
        assert crc32c(data[cut:], crc32c(data[:cut])) == crc32c(data), cut


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zlib.compress])
@pytest.mark.parametrize("name", ["a.tfrecord", "a.tfrecord-00000-of-00001"])
def test_payloads_come_as_they_are_however_the_file_is_compressed(
    tmp_path: Path, compress: Callable[[bytes], bytes], name: str
) -> None:
    (tmp_path / name).write_bytes(compress(b"".join(map(framed, PAYLOADS))))

    ended = run_cli("write", tmp_path / name, tmp_path / "data")

    assert ended.returncode == 0, ended.stderr
    assert "is read as tfrecord: by its name" in ended.stderr
    assert list(SplitDataLoader(tmp_path / "data")) == PAYLOADS


def test_reading_goes_on_from_each_position(tmp_path: Path) -> None:
    (tmp_path / "a.tfrecord").write_bytes(b"".join(map(framed, PAYLOADS[:4])))
    for done in range(5):
        source = open_source(tmp_path / "a.tfrecord")
        assert isinstance(source, SeekableSource)
        list(islice(source, done))
        assert list(source.records_from(source.position() if done else {})) == PAYLOADS[done:4]


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
@pytest.mark.parametrize("place", ["length", "length checksum", "payload", "payload checksum"])
def test_flipped_bit_is_refused_naming_the_record(tmp_path: Path, number: int, place: str) -> None:
    frames = [bytearray(framed(payload)) for payload in PAYLOADS]
    frame = frames[number]
    frame[{"length": 7, "length checksum": 9, "payload": 12, "payload checksum": len(frame) - 1}[place]] ^= 1
    (tmp_path / "a.tfrecord").write_bytes(b"".join(frames))

    with pytest.raises(SourceError, match=f"record {number} of .*checksum") as raised:
        convert(tmp_path / "a.tfrecord", tmp_path / "data")

    assert raised.value.position == number
    assert not (tmp_path / "data").exists()


def test_truncated_file_is_refused_wherever_it_ends_but_between_records(tmp_path: Path) -> None:
    whole = framed(b"first") + framed(b"second")
    for size in range(1, len(whole)):
        (tmp_path / "a.tfrecord").write_bytes(whole[:size])
        if size == len(framed(b"first")):
            assert list(open_source(tmp_path / "a.tfrecord")) == [b"first"]
            continue
        with pytest.raises(SourceError, match="truncated"):
            list(open_source(tmp_path / "a.tfrecord"))


def test_huge_length_with_a_right_checksum_allocates_nothing(tmp_path: Path) -> None:
    length = struct.pack("<Q", (1 << 64) - 1)
    (tmp_path / "a.tfrecord").write_bytes(length + masked(length) + b"few")

    with pytest.raises(SourceError, match=r"ends after 3 of the 18446744073709551615 bytes"):
        convert(tmp_path / "a.tfrecord", tmp_path / "data")

    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["plain", "gzip", "zlib"])
def test_files_of_tensorflow_are_read(name: str) -> None:
    # Written by tf.io.TFRecordWriter of TensorFlow 2.21, with each of its compressions.
    assert list(open_source(GOLDEN / f"{name}.tfrecord")) == [bytes(range(0)), bytes(range(40)), bytes(range(80))]


def test_folder_of_tfrecords_is_not_taken_as_opaque_files(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.tfrecord-00000-of-00001").write_bytes(framed(b"one"))

    with pytest.raises(SourceError, match="folder"):
        open_source(tmp_path / "shards")

    assert open_source(tmp_path / "shards", kind="folder").kind == "folder"
