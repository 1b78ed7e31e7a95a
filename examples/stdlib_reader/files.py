"""Files of a dataset, opened and refused as FORMAT.md says, and their headers."""

import stat
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NoReturn

from stdlib_reader.xxh3 import xxh3


class Refusal(Exception):
    """What is wrong, after the name that FORMAT.md has for such an error."""


def refuse(name: str, why: str) -> NoReturn:
    raise Refusal(f"{name}: {why}")


def demand(condition: bool, name: str, why: str) -> None:
    if not condition:
        refuse(name, why)


@lru_cache(100)
def open_file(path: Path, missing: str = "FormatError") -> Any:
    """Map a file; refuse what is no regular file, and what lies behind a link."""
    try:
        is_regular = stat.S_ISREG(path.lstat().st_mode) and path.parent.resolve() == path.parent
    except (FileNotFoundError, NotADirectoryError):
        refuse(missing, f"{path.name} is missing")
    demand(is_regular, "FormatError", f"{path.name} is no regular file, or behind a link")
    with path.open("rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ) if path.stat().st_size else b""


def check_header(data: bytes, magic: bytes, owner: bytes, size: int = 64, flags: int = 32) -> bool:
    """Say whether a header is intact; refuse one of another version, or newer, or if it is intact of another owner."""
    if data[:8] != b"\x89SD" + magic + b"\r\n\x1a\n" or len(data) < size:
        return False
    if xxh3(data[: size - 8]) != int.from_bytes(data[size - 8 : size], "little"):
        return False
    major, features = int.from_bytes(data[8:10], "little"), int.from_bytes(data[flags : flags + 4], "little")
    # Bit 0 stands for groups.
    demand(major == 1 and features < 2, "UnsupportedVersionError", f"version {major}, features {features:b}")
    # What is out of its range is not intact: alignment and group, of an index number of records and bins, too.
    shape = {b"I": (60, 101), b"B": (48, 50)}.get(magic)
    if shape:
        alignment, group = data[shape[0]], data[shape[1]]
        if not 3 <= alignment <= 12 or not (1 <= group <= 16 if features else group == 0):
            return False
    if magic == b"I" and not (data[44:48] == bytes(4) and 1 <= int.from_bytes(data[56:60], "little") <= 1 << 24):
        return False
    demand(data[16 : 16 + len(owner)] == owner, "FormatError", "the file of another segment or bin")
    return True
