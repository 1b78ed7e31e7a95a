"""What counts as a record: every bytes-like object, every binary file, of every size."""

from __future__ import annotations

import array
import io
import mmap
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import SplitDataLoader, SplitWriter
from splitdata.format import spec
from tests.dataset.disk import read, written
from tests.stable_ids import stable_id

LARGE = spec.LARGE_RECORD_BYTES
MIB = 1 << 20


@pytest.fixture
def tiny_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make 1,000 bytes a large record with blocks of 128."""
    monkeypatch.setattr(spec, "LARGE_RECORD_BYTES", 1000)
    monkeypatch.setattr(spec, "BLOCK_BYTES", 128)
    # What is saved in the first block must pay for what zstd adds to all others, as it does in full size.
    monkeypatch.setattr("splitdata.format.compression._WORTHWHILE", 64)


def mapped(data: bytes) -> mmap.mmap:
    made = mmap.mmap(-1, len(data))
    made.write(data)
    return made


BUFFERS: dict[str, Callable[[], Any]] = {
    "bytes": lambda: b"abcdef",
    "bytearray": lambda: bytearray(b"abcdef"),
    "memoryview": lambda: memoryview(b"abcdef"),
    "every second byte": lambda: memoryview(b"a-b-c-d-e-f-")[::2],
    "backwards": lambda: memoryview(b"fedcba")[::-1],
    "two dimensions": lambda: memoryview(b"abcdef").cast("B", (2, 3)),
    "mmap": lambda: mapped(b"abcdef"),
    "array": lambda: array.array("H", [0x6261, 0x6463, 0x6665]),
    "numpy": lambda: np.frombuffer(b"abcdef", "<u2"),
    "numpy transposed": lambda: np.frombuffer(b"acebdf", np.uint8).reshape(2, 3).T,
    "numpy scalar": lambda: np.bytes_(b"abcdef"),
    "numpy big-endian": lambda: np.frombuffer(b"abcdef", ">u2"),
    "numpy complex": lambda: np.frombuffer(b"abcdef", "u1,u1,u1"),
    "file": lambda: io.BytesIO(b"abcdef"),
    "file past its beginning": lambda: _seeked(io.BytesIO(b"XXabcdef"), 2),
}


def _seeked(file: io.BytesIO, place: int) -> io.BytesIO:
    file.seek(place)
    return file


@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS.keys())
@pytest.mark.parametrize("many", [False, True])
def test_bytes_like_and_files_are_records(tmp_path: Path, make: Callable[[], Any], many: bool) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        if many:
            writer.write_many([make(), b"", make()])
        else:
            for record in (make(), b"", make()):
                writer.write(record)

    assert read(tmp_path / "data") == [b"abcdef", b"", b"abcdef"]


@pytest.mark.usefixtures("tiny_large")
@pytest.mark.parametrize(
    "make",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(bytes(2 * len(data)).join([b"", b""]) or data),
        lambda data: memoryview(b"".join(b"%c-" % byte for byte in data))[::2],
        mapped,
        lambda data: np.frombuffer(data, "<f8"),
        lambda data: np.frombuffer(data, ">f8"),
        lambda data: np.frombuffer(data, "<c16"),
        lambda data: np.frombuffer(data, "<f4,<u4"),
        lambda data: np.frombuffer(data, np.uint8).reshape(2, -1),
        io.BytesIO,
    ],
)
def test_bytes_like_and_files_are_large_records(tmp_path: Path, make: Callable[[bytes], Any]) -> None:
    data = os.urandom(4000)
    record = make(data)
    expected = record.getvalue() if isinstance(record, io.BytesIO) else memoryview(record).tobytes()
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(record)

    assert read(tmp_path / "data") == [expected]


@pytest.mark.parametrize("record", ["text", 5, None, 1.5, [1, 2], object(), io.StringIO("text"), {1}], ids=stable_id)
@pytest.mark.parametrize("many", [False, True])
def test_anything_else_is_refused_and_costs_nothing(tmp_path: Path, record: Any, many: bool) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"before")
        action: Callable[[], int] = (
            partial(writer.write_many, [b"first", record]) if many else partial(writer.write, record)
        )
        with pytest.raises(TypeError):
            action()
        writer.write(b"after")

    assert read(tmp_path / "data") == [b"before", *([b"first"] if many else []), b"after"]


def test_refusal_of_text_says_what_to_do(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer, pytest.raises(TypeError, match="encode text first"):
        writer.write("text")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("make", [bytearray, lambda data: np.frombuffer(bytearray(data), np.uint8)])
def test_buffer_changed_after_write_does_not_change_the_record(tmp_path: Path, make: Callable[[bytes], Any]) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        for size in (3, 70_000):
            buffer = make(b"a" * size)
            writer.write(buffer)
            buffer[:] = buffer[::-1] * 0 + 98 if isinstance(buffer, np.ndarray) else b"b" * size
            writer.write_many([buffer])
            buffer[0] = 0

    assert read(tmp_path / "data") == [b"a" * 3, b"b" * 3, b"a" * 70_000, b"b" * 70_000]


def test_bytearray_may_be_resized_after_write(tmp_path: Path) -> None:
    """No view of it is kept, or this would be a BufferError."""
    with SplitWriter(tmp_path / "data") as writer:
        for size in (10, LARGE):
            buffer = bytearray(size)
            writer.write(buffer)
            buffer.clear()

    assert list(SplitDataLoader(tmp_path / "data").sizes) == [10, LARGE]


@pytest.mark.parametrize("io_mode", ["mmap", "pread"])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_records_around_16_mib_come_back(tmp_path: Path, io_mode: Any, compression: Any) -> None:
    block = os.urandom(MIB // 2) + bytes(MIB // 2)
    whole = block * 17
    records = [b"small", whole[: LARGE - 1], whole[:LARGE], whole[: LARGE + 1], b""]
    with SplitWriter(tmp_path / "data", bins=2, compression=compression, durability="none") as writer:
        writer.write_many(records)
    loader = SplitDataLoader(tmp_path / "data", io=io_mode)

    assert list(loader) == records
    assert [loader[index] for index in range(5)] == records
    assert loader[[3, 1]] == [records[3], records[1]]
    assert [bytes(loader.view(index)) for index in range(5)] == records
    assert list(loader.sizes) == [5, LARGE - 1, LARGE, LARGE + 1, 0]
    assert loader.fingerprint == SplitDataLoader(written(tmp_path / "other", records, bins=1)).fingerprint


@pytest.mark.parametrize("size", [0, 1, 70_000, LARGE - 1, LARGE, LARGE + MIB + 1])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_record_comes_through_a_pipe(tmp_path: Path, size: int, compression: Any) -> None:
    data = b"0123456789abcdef" * (size // 16) + b"x" * (size % 16)
    read_end, write_end = os.pipe()

    def feed() -> None:
        with os.fdopen(write_end, "wb") as sink:
            sink.write(data)

    feeder = threading.Thread(target=feed)
    feeder.start()
    with (
        os.fdopen(read_end, "rb", buffering=0) as source,
        SplitWriter(tmp_path / "data", compression=compression, durability="none") as writer,
    ):
        writer.write(source)
        writer.write(b"next")
    feeder.join()

    assert read(tmp_path / "data") == [data, b"next"]


class Halting(io.RawIOBase):
    """A file that does not block: now and then it has nothing yet."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self._answers = answers

    def read(self, size: int = -1) -> bytes | None:
        return self._answers.pop(0)


@pytest.mark.usefixtures("tiny_large")
@pytest.mark.parametrize("length", [2, 3000])
def test_file_that_has_nothing_yet_is_not_taken_for_ended(tmp_path: Path, length: int) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"before")
        writer.commit()
        with pytest.raises(BlockingIOError):
            writer.write(Halting([b"a" * length, None, b"rest", b""]))  # type: ignore[arg-type]  # may give None

    assert read(tmp_path / "data") == [b"before"]


class Stumbling(io.RawIOBase):
    """A file whose disk fails after some bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    def read(self, size: int = -1) -> bytes:
        if not self._left:
            raise OSError(5, "the disk failed")
        piece = min(size, self._left)
        self._left -= piece
        return bytes(piece)


@pytest.mark.usefixtures("tiny_large")
@pytest.mark.parametrize("length", [100, 5000])
def test_failing_source_passes_its_error_on_and_leaves_the_committed(tmp_path: Path, length: int) -> None:
    writer = SplitWriter(tmp_path / "data")
    writer.write(b"safe")
    writer.commit()
    with pytest.raises(OSError, match="the disk failed"):
        writer.write(Stumbling(length))
    writer.close()

    assert read(tmp_path / "data") == [b"safe"]


@pytest.mark.usefixtures("tiny_large")
@given(
    records=st.lists(
        st.tuples(st.integers(0, 2500), st.sampled_from(["bytes", "array", "file", "noise"])), min_size=1, max_size=25
    ),
    bins=st.integers(1, 5),
    compression=st.sampled_from([None, "zstd"]),
    alignment=st.sampled_from([8, 64]),
)
def test_mixture_of_sizes_and_kinds_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[int, str]],
    bins: int,
    compression: Any,
    alignment: int,
) -> None:
    path = tmp_path_factory.mktemp("mixture") / "data"
    noise = np.random.default_rng(1).bytes(2500)
    expected = []
    with SplitWriter(path, bins=bins, compression=compression, alignment=alignment, durability="none") as writer:
        for size, kind in records:
            data = noise[:size] if kind == "noise" else (b"%d " % size * size)[:size]
            expected.append(data)
            writer.write(io.BytesIO(data) if kind == "file" else bytearray(data) if kind == "array" else data)
    modes: list[Literal["mmap", "pread"]] = ["mmap", "pread"]
    for mode in modes:
        loader = SplitDataLoader(path, io=mode)
        assert list(loader) == expected
        assert [bytes(loader.view(index)) for index in range(len(loader))] == expected
        assert [loader.read_range(index, 100, 1500) for index in range(len(loader))] == [
            data[100:1500] for data in expected
        ]
        assert sorted(loader.iterate_binwise(shuffle=True, seed=1)) == sorted(expected)
