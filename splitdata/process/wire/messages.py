"""The bytes that a worker and its consumer say to each other, and nothing about how they travel.

    frame, worker -> consumer                         note, consumer -> worker

    0  4  u32 length of the body                      the same: length, kind, body
    4  4  u32 kind
    8  .  body

    kind        body                                  after the body
    HELLO       u64 pid, u64 version of these frames
    ITEM        one pickle
    SLOT        u64 offset, u64 size                  (the message lies in the arena)
    MULTIPART   u64 size, u64 why not in a slot       the message, size bytes; why: NO_SLOT or NO_MEMORY
    END         u64 number of items
    FAILURE     u64 number of items, u64 size         a report of remote_error.py, size bytes
    CANCELLED   u64 number of cancels                 what follows answers requests made after so many

    TAKEN       u64 items taken since the last such note, u64 offset of each slot that is free again
    REQUEST     one pickle
    CANCEL      nothing: no request from before it counts

    multipart message = a pickle and the buffers that it left out, each part at a multiple of 64

    0   8    u64 n, number of parts, the pickle counted
    8  8n    u64 length of each part
    .   .    zeros to a multiple of 64, part 0: the pickle, zeros, part 1: the first buffer, ...

The first thing a consumer sends is the job: u64 size, then that many bytes. Every number is
little-endian. What is longer than an ITEM may be, or leaves buffers out, is a multipart message: it lies in a slot of
the arena (SLOT) or, where there is none for it, comes by the pipe (MULTIPART). Only a worker that serves requests
(pool.py) is sent REQUEST and CANCEL.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = [
    "ALIGNMENT",
    "CANCEL",
    "CANCELLED",
    "COUNT",
    "END",
    "FAILURE",
    "HEADER",
    "HELLO",
    "ITEM",
    "MAX_ITEM_BYTES",
    "MULTIPART",
    "NO_MEMORY",
    "NO_SLOT",
    "REQUEST",
    "SLOT",
    "TAKEN",
    "TWO",
    "VERSION",
    "offsets_of",
    "part_places",
    "part_table",
    "read_parts",
    "taken",
]

VERSION = 2

HELLO = 1
ITEM = 2
SLOT = 3
MULTIPART = 4
END = 5
FAILURE = 6
CANCELLED = 7

# Why a message came by the pipe: no slot is free or large enough; the system has no memory for it.
NO_SLOT = 0
NO_MEMORY = 1

TAKEN = 1
REQUEST = 2
CANCEL = 3

HEADER = struct.Struct("<II")
COUNT = struct.Struct("<Q")
TWO = struct.Struct("<QQ")

# A cache line; also what aligned loads of every dtype and of vector units need.
ALIGNMENT = 64

# One item of this size still fits into an empty pipe of the default size on every system.
MAX_ITEM_BYTES = 48 * 1024


def taken(num_items: int, returned: Sequence[int]) -> bytes:
    """Encode the note of items taken and of the offsets of slots that are free again."""
    count = 1 + len(returned)
    return HEADER.pack(COUNT.size * count, TAKEN) + struct.pack(f"<{count}Q", num_items, *returned)


def offsets_of(body: bytes | bytearray | memoryview) -> tuple[int, ...]:
    """Decode the body of such a note: the number of items first, then the offsets."""
    return struct.unpack(f"<{len(body) // COUNT.size}Q", body)


def part_places(lengths: Sequence[int]) -> tuple[list[int], int]:
    """Return where each part of a message begins, and the size of the message."""
    places = []
    offset = COUNT.size * (1 + len(lengths))
    for length in lengths:
        offset = (offset + ALIGNMENT - 1) & -ALIGNMENT
        places.append(offset)
        offset += length
    return places, (offset + ALIGNMENT - 1) & -ALIGNMENT


def part_table(lengths: Sequence[int]) -> bytes:
    """Encode the table at the head of a message."""
    return struct.pack(f"<{1 + len(lengths)}Q", len(lengths), *lengths)


def read_parts(message: memoryview) -> list[memoryview]:
    """Return the parts of a message, the pickle first.

    Raises:
        ValueError: The table does not fit the message.
    """
    (num_parts,) = COUNT.unpack_from(message)
    if not 1 <= num_parts < len(message) // COUNT.size:
        raise ValueError(f"a message of {len(message)} bytes claims {num_parts} parts")
    lengths = struct.unpack_from(f"<{num_parts}Q", message, COUNT.size)
    places, size = part_places(lengths)
    if size != len(message):
        raise ValueError(f"a message of {len(message)} bytes has parts for {size}")
    parts = []
    for place, length in zip(places, lengths, strict=True):
        parts.append(message[place : place + length])
    return parts
