"""One flipped bit in the frame of a record with a key: the key is right, or there is an error; it is never "no key".

frame   word 0 | payload hash | sequence kind codec key length | lengths | payload | key        every bit of it
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from splitdata import CorruptRecordError, FormatError, SplitDataLoader, SplitWriter
from splitdata.format import spec
from tests.dataset.record_kinds import place_of
from tests.faults.file_faults import fast_folder

KEY, OTHER = "the key", "another"
RECORDS = {
    "plain": b"payload of some bytes",
    "zstd": b"the same again " * 9,
    "empty": b"",
    "without a key": b"payload of some bytes",
}


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        yield folder / "data"


def answers(path: Path, io: str, *, verify: bool) -> dict[str, object]:
    """Return what a reader says of the record and its key: a value, or that it raises."""
    found: dict[str, object] = {}
    with SplitDataLoader(path, io=io, verify=verify) as loader:  # type: ignore[arg-type]
        for name, ask in {
            "key": lambda: loader.key(0),
            "find": lambda: loader.find(KEY),
            "has": lambda: loader.has_key(KEY),
            "record": lambda: loader[0],
        }.items():
            try:
                found[name] = ask()  # type: ignore[no-untyped-call]
            except (FormatError, KeyError) as error:
                found[name] = type(error)
    return found


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("name", RECORDS)
def test_flipped_bit_never_hides_or_makes_a_key(path: Path, name: str, io: str, verify: bool) -> None:
    key = None if name == "without a key" else KEY
    with SplitWriter(path, bins=1, compression="zstd" if name == "zstd" else None, durability="none") as writer:
        writer.write(RECORDS[name], key)
        writer.write(b"beside it", OTHER)
    right = answers(path, io, verify=verify)
    assert right == (
        {"key": KEY, "find": 0, "has": True, "record": RECORDS[name]}
        if key
        else {"key": None, "find": KeyError, "has": False, "record": RECORDS[name]}
    )
    file, offset = place_of(path, 0)
    content = file.read_bytes()
    end = content.index(b"beside it") - spec.FRAME_HEADER_BYTES
    num_key_bytes = len(key or "")
    for bit in range(8 * offset, 8 * end):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(bytes(damaged))
        found = answers(path, io, verify=verify)
        for question in ("key", "find", "has", "record"):
            allowed: list[object] = [right[question]]
            if question != "find" or key:
                allowed += [CorruptRecordError, FormatError]
            # The stored bytes of a record without its checksum are what they are: nobody has proven them.
            if not verify and question == "record" and isinstance(found["record"], bytes):
                continue
            is_in_key = end - num_key_bytes - 8 <= bit // 8
            if not verify and question == "key" and key and is_in_key and isinstance(found["key"], str):
                assert len(found["key"]) > 0
                continue
            assert found[question] in allowed or issubclass(found[question], FormatError), (bit, question, found)  # type: ignore[arg-type]


@pytest.mark.slow
def test_flipped_bit_never_hides_the_key_of_a_large_record(path: Path) -> None:
    record = random.Random(1).randbytes(spec.LARGE_RECORD_BYTES)
    with SplitWriter(path, bins=1, durability="none") as writer:
        writer.write(record, KEY)
    file, offset = place_of(path, 0)
    size = file.stat().st_size
    header = range(8 * offset, 8 * (offset + spec.LARGE_FRAME_HEADER_BYTES))
    # The table of block hashes, and the key behind it.
    behind = range(8 * (size - 16 * 8 - len(KEY) - 8), 8 * size)
    with file.open("r+b", buffering=0) as stream:
        for bit in [*header, *behind]:
            stream.seek(bit // 8)
            byte = stream.read(1)
            stream.seek(bit // 8)
            stream.write(bytes([byte[0] ^ 1 << bit % 8]))
            with SplitDataLoader(path, io="pread") as loader:
                for ask, right in ((lambda: loader.key(0), KEY), (lambda: loader.has_key(KEY), True)):
                    with suppress(FormatError):
                        assert ask() == right
            stream.seek(bit // 8)
            stream.write(byte)
