"""The bytes of the channel: multipart messages and notes to and from bytes, and bytes that are none of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.errors import WorkerError
from splitdata.process.consumer.frame_reader import FrameReader
from splitdata.process.wire import messages


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=20))
def test_table_of_a_message_gives_its_parts_back(lengths: list[int]) -> None:
    places, size = messages.part_places(lengths)
    message = bytearray(size)
    table = messages.part_table(lengths)
    message[: len(table)] = table

    for number, (place, length) in enumerate(zip(places, lengths, strict=True)):
        message[place : place + length] = bytes([number + 1]) * length

    parts = messages.read_parts(memoryview(message))
    assert [bytes(part) for part in parts] == [bytes([n + 1]) * length for n, length in enumerate(lengths)]
    assert all(place % messages.ALIGNMENT == 0 for place in places)
    assert places[0] >= len(table)


@given(st.binary(min_size=8, max_size=400))
def test_damaged_table_is_an_error_and_never_reaches_outside(message: bytes) -> None:
    try:
        parts = messages.read_parts(memoryview(message))
    except (ValueError, struct.error):
        return
    assert [len(part) for part in parts] == list(struct.unpack_from(f"<{len(parts)}Q", message, 8))


def test_note_carries_count_and_offsets() -> None:
    assert messages.taken(3, [64, 4096]) == struct.pack("<IIQQQ", 24, messages.TAKEN, 3, 64, 4096)


class Drip:
    """A pipe that gives its bytes in pieces of given sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data = data
        self.sizes = sizes

    def read_into(self, view: memoryview) -> int | None:
        if not self.data:
            return 0
        size = min(self.sizes.pop() if self.sizes else len(self.data), len(view), len(self.data))
        view[:size], self.data = self.data[:size], self.data[size:]
        return size or None


@given(st.lists(st.binary(max_size=200), max_size=30), st.lists(st.integers(0, 60), max_size=100))
def test_frames_are_whole_however_their_bytes_arrive(bodies: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(messages.HEADER.pack(len(body), messages.ITEM) + body for body in bodies)
    reader = FrameReader(Drip(stream, sizes))  # type: ignore[arg-type]
    received = []
    while not reader.is_at_end:
        frame = reader.frame()
        if frame is not None:
            received.append((frame[0], bytes(frame[1])))

    assert received == [(messages.ITEM, body) for body in bodies]


def test_frame_of_impossible_length_is_an_error() -> None:
    reader = FrameReader(Drip(b"\xff" * 100, []))  # type: ignore[arg-type]

    with pytest.raises(WorkerError, match="something else"):
        reader.frame()
