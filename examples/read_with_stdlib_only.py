"""Read a dataset with the standard library alone: manifest -> segment -> index entry -> frame -> record.

Numbers in brackets are sections of FORMAT.md. Python lacks xxh3: places and lengths are checked, other bytes trusted.
"""

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import unpack_from
from typing import Any

zstd: Any = importlib.import_module("compression.zstd") if importlib.util.find_spec("_zstd") else None


def demand(condition: bool, failure: str) -> None:
    if not condition:
        raise ValueError(failure)


@lru_cache(100)
def open_file(path: Path, owner: bytes = b"", flags: int = 0) -> mmap:
    """Map a regular file behind no link (4); refuse the header of another segment or version (5.1, 6.1, 12)."""
    demand(path.is_file() and path.resolve() == path, f"{path.name} is missing, or no regular file")
    with path.open("rb") as file:
        data = mmap(file.fileno(), 0, access=ACCESS_READ)
    right = (data[8:10], data[16:36], data[flags : flags + 4]) == (b"\1\0", owner, bytes(4))
    demand(right or data[:3] != b"\x89SD", f"{path.name} is of another version, segment or bin")
    return data


def find_records(dataset: Path) -> Iterator[tuple[Path, int, int]]:
    """Yield segment, number of bins and sequence number for each position of the newest manifest (7, 10.1)."""
    name = max(path.name for path in dataset.iterdir() if re.fullmatch(r"manifest\.[0-9]{10}\.json", path.name))
    [line] = re.findall(rb'\A(.*)\n\{"xxh3":"[0-9a-f]{16}"\}\n\Z', open_file(dataset / name))
    manifest = json.loads(line.decode())
    known = [manifest[key] for key in ("format", "must_understand", "generation")] + [b'"deleted":' in line]
    right = known == ["splitdata", [], int(name[9:19]), False] and manifest["version"][0] == 1
    demand(right, f"{name} is not of version 1, or not to be read here: {known}")
    for segment in manifest["segments"]:
        folder = dataset / "segments" / bytes.fromhex(segment["id"]).hex()
        yield from ((folder, segment["bins"], sequence) for sequence in range(segment["records"]))


def read_record(folder: Path, bins: int, sequence: int) -> str:
    """Follow an index entry to its frame, and return length and first bytes of the record (5.2, 6.2, 8, 10.2)."""
    number, owner = sequence % bins, bytes.fromhex(folder.name)
    loc, *entry = unpack_from("<QII", open_file(folder / "index", owner + bytes(4), 32), 128 + 16 * sequence)
    if loc == 2**64 - 1:
        return "lost, says the index"
    data, begin = open_file(folder / f"{number:06}.bin", owner + number.to_bytes(4, "little"), 40), loc % 2**40 * 8
    found, kind, codec, _, *lengths = unpack_from("<IBBHII", data, begin + 16)
    demand((loc >> 40, found, lengths) == (number, sequence, entry), "entry and frame disagree")
    stored, raw = unpack_from("<QQ", data, begin + 32) if kind == 4 else lengths
    demand(codec in (0, 1) and kind == (4 if raw >= 2**24 else 0), "the kind of the frame is wrong")
    demand(lengths == [min(length, 2**32 - 1) for length in (stored, raw)], "the lengths of the frame disagree")
    demand(stored < raw if codec else stored == raw, "the lengths do not fit the codec")
    # A large frame has a longer header, and behind its payload zeros to a multiple of 8 and a hash for each MiB.
    payload, table = (begin + 64, -stored % 8 + (stored + 2**20 - 1) // 2**20 * 8) if kind else (begin + 32, 0)
    demand(payload + stored + table <= len(data), "the bin ends within the frame")
    record = data[payload : payload + stored]
    if codec and zstd:
        demand(raw <= 2**30 and zstd.get_frame_info(record).decompressed_size == raw, "the zstd frame is damaged")
        stream = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: max(27, raw.bit_length())})
        record = stream.decompress(record, raw + 1)
        demand(len(record) == raw and stream.eof and not stream.unused_data, "the zstd frame is damaged")
    return f"{raw} {record[:30]!r}" if len(record) == raw else f"{raw} compressed to {stored} bytes"


if __name__ == "__main__":
    start = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).parent.parent / "tests/golden/v1/tiny")
    for position, place in enumerate(find_records(start.resolve())):
        try:
            print(position, read_record(*place))
        except Exception as error:
            print(position, "unreadable:", error)
