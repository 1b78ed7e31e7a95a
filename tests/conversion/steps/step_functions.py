"""Functions of a user's for each record; workers import them, so this module loads nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator


def spread(record: bytes) -> object:
    """None, one, a list, or a generator, by the number in the record; some fail, before or after an output."""
    number = int(record)
    if number % 7 == 6:
        raise ValueError(f"bad {number}")

    def many() -> Iterator[bytes]:
        for part in range(number % 5):
            yield b"%d.%d" % (number, part)
        if number % 11 == 8:
            raise KeyError(number)

    return [None, record, [record, record + b"b"], many()][number % 4]


def exit_at_once(record: bytes) -> bytes:
    if record == b"350":
        os._exit(7)
    return record


def own_error(record: bytes) -> bytes:
    if int(record) % 250 == 100:
        raise OwnError(record)
    return record


class OwnError(Exception):
    """What a user's function raises."""
