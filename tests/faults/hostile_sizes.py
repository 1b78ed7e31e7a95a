"""Datasets of a megabyte at most that claim gigabytes, and all that can be done with them, in a process of its own.

python -m tests.faults.hostile_sizes FOLDER [NAME]      prints for each: name, operation, MiB more than before, seconds
"""

from __future__ import annotations

import json
import resource
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from splitdata import (
    SampleDataset,
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    describe,
    encode_sample,
    repair,
    verify,
)
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader
from splitdata.format.index import IndexHeader, make_entries
from splitdata.format.keys import KeyRun, KeysHeader, key_hash, pack_blocks, pack_directory
from splitdata.format.manifest import Manifest, SegmentInfo
from splitdata.format.schemas import SchemasHeader
from splitdata.storage.paths import DatasetPaths
from tests.faults.forging import write_manifest

SEGMENT: Final = "0123456789abcdef" * 2
DATASET: Final = "fedcba9876543210" * 2
MIB: Final = 1 << 20


def publish(path: Path, *segments: dict[str, Any]) -> Path:
    """Write a manifest that lists segments, which say nothing or anything of themselves."""
    usual = {"num_records": 1, "num_bins": 1, "is_sealed": True, "digest": 0, "raw_bytes": 0, "stored_bytes": 0}
    infos = tuple(SegmentInfo(**({"id": SEGMENT} | usual | segment)) for segment in segments)
    (path / "segments" / SEGMENT).mkdir(parents=True)
    manifest = Manifest(generation=1, dataset_id=DATASET, segments=infos)
    Path(DatasetPaths(str(path)).manifest(1)).write_bytes(manifest.encode())
    return path


def sparse(file: Path, length: int, parts: dict[int, bytes]) -> None:
    """Write a file that is a hole but for some parts."""
    with file.open("wb") as stream:
        stream.truncate(length)
        for offset, data in parts.items():
            stream.seek(offset)
            stream.write(data)


def index_header(**fields: Any) -> bytes:
    values: dict[str, Any] = {"segment_id": SEGMENT, "num_bins": 1}
    return IndexHeader(**(values | fields)).pack()


def bin_header(number: int = 0, **fields: Any) -> bytes:
    values: dict[str, Any] = {"segment_id": SEGMENT, "bin_index": number, "num_bins": 1}
    return BinHeader(**(values | fields)).pack()


def entries(offsets: list[int], lengths: list[int]) -> bytes:
    """Return index entries of bin 0."""
    array = np.array(lengths, np.uint64)
    return make_entries(np.array(offsets, np.uint64) >> np.uint64(3), array, array).tobytes()


# -- datasets ----------------------------------------------------------------------------------------------


def millions_of_bins(path: Path) -> None:
    publish(path, {"num_records": spec.MAX_BINS, "num_bins": spec.MAX_BINS})


def three_records_in_millions_of_bins(path: Path) -> None:
    """Bins that hold no record need not be there: so nothing is missing."""
    publish(path, {"num_records": 3, "num_bins": spec.MAX_BINS})
    folder = path / "segments" / SEGMENT
    header = index_header(num_records=3, num_bins=spec.MAX_BINS, is_sealed=True)
    (folder / "index").write_bytes(header + entries([64] * 3, [0] * 3))
    for number in range(3):
        (folder / f"{number:06d}.bin").write_bytes(bin_header(number, num_bins=spec.MAX_BINS))


def millions_of_bins_in_each_segment(path: Path) -> None:
    claims = {"num_records": 2**32 - 2, "num_bins": spec.MAX_BINS}
    publish(path, *({"id": f"{number:032x}"} | claims for number in range(500)))


def hole_for_an_index(path: Path) -> None:
    count = 2**32 - 2
    publish(path, {"num_records": count, "num_bins": spec.MAX_BINS, "is_sealed": False})
    folder = path / "segments" / SEGMENT
    sparse(folder / "index", 128 + 16 * count, {0: index_header(num_records=count, num_bins=spec.MAX_BINS)})
    (folder / "000000.bin").write_bytes(bin_header(num_bins=spec.MAX_BINS))


def hole_for_a_sealed_index(path: Path) -> None:
    count = 1 << 24
    publish(path, {"num_records": count, "num_bins": count})
    folder = path / "segments" / SEGMENT
    header = index_header(num_records=count, num_bins=count, is_sealed=True, dictionary_bytes=2**32 - 1)
    sparse(folder / "index", 1 << 40, {0: header})


def hole_for_an_index_of_groups(path: Path) -> None:
    """Two bins, of which one is missing, so that there seems to be a segment."""
    count = 2**25
    publish(path, {"num_records": count, "num_bins": 2, "group": 65536, "features": ("groups",)})
    folder = path / "segments" / SEGMENT
    shape: dict[str, Any] = {"num_bins": 2, "group": 65536, "features": ("groups",)}
    parts = {0: index_header(num_records=count, is_sealed=True, **shape)}
    sparse(folder / "index", 128 + (16 + 4 * 65536) * 512, parts)
    (folder / "000000.bin").write_bytes(bin_header(**shape))


def groups_of_zeros(path: Path) -> None:
    """Of which the manifest says that they have no bytes, and so that many may be held."""
    with SplitWriter(path, bins=1, group=2, compression="zstd", durability="none") as writer:
        writer.write_many([bytes(4 << 20)] * 200)
    file = next(path.glob("manifest.*"))
    manifest = Manifest.decode(file.read_bytes())
    body = json.loads(file.read_bytes().split(b"\n")[0])
    body["segments"][0]["raw_bytes"] = 0
    assert manifest.segments[0].group == 2
    write_manifest(path, json.dumps(body).encode())


def holes_for_bins(path: Path) -> None:
    publish(path, {"num_records": 1000, "num_bins": 4, "is_sealed": False})
    folder = path / "segments" / SEGMENT
    (folder / "index").write_bytes(index_header(num_bins=4, num_records=1000) + bytes(16000))
    for number in range(4):
        parts = {place << 30: b"x" * 4096 for place in range(1, 60)}
        sparse(folder / f"{number:06d}.bin", 1 << 40, {0: bin_header(number, num_bins=4)} | parts)


def record_of_forty_gigabytes(path: Path) -> None:
    """Nothing but a hole, whose first block has another hash than it should."""
    length = 40 << 30
    publish(path, {"raw_bytes": length, "stored_bytes": length})
    folder = path / "segments" / SEGMENT
    table = b"\1" * 8 * (length // spec.BLOCK_BYTES)
    header = FrameHeader(
        sequence=0, stored_length=length, raw_length=length, payload_hash=hash64(table), kind=spec.KIND_LARGE
    )
    parts = {0: bin_header(), 64: header.pack(bin_salt(SEGMENT, 0), 64), 64 + 48 + length: table}
    sparse(folder / "000000.bin", 64 + 48 + length + len(table), parts)
    (folder / "index").write_bytes(index_header(num_records=1) + entries([64], [length]))


def usual_record_of_four_gigabytes(path: Path) -> None:
    """An ordinary frame may not have this length, and its payload is a hole."""
    length = 2**32 - 100
    publish(path, {"num_records": 40, "raw_bytes": length, "stored_bytes": length})
    folder = path / "segments" / SEGMENT
    parts = {0: bin_header()}
    for number in range(40):
        offset = 64 + 40 * number
        word = number.to_bytes(8, "little") + length.to_bytes(4, "little") * 2
        parts[offset] = bytes(16) + word
    sparse(folder / "000000.bin", 2**33, parts)
    offsets = [64 + 40 * number for number in range(40)]
    (folder / "index").write_bytes(index_header(num_records=40) + entries(offsets, [length] * 40))


def overlapping_frames(path: Path, *, with_index: bool = True) -> None:
    """Thousands of frames, each of which holds all that follow."""
    count, salt = 6_000, bin_salt(SEGMENT, 0)
    size = 64 + 32 * count + 400_000
    data = bytearray(size)
    data[:64] = bin_header()
    for number in reversed(range(count)):
        offset = 64 + 32 * number
        length = size - offset - 32
        body = memoryview(data)[offset + 32 :]
        header = FrameHeader(
            sequence=number, stored_length=length, raw_length=length, payload_hash=_quick_hash(body, number)
        )
        data[offset : offset + 32] = header.pack(salt, offset)
        del body
    publish(path, {"num_records": count})
    folder = path / "segments" / SEGMENT
    (folder / "000000.bin").write_bytes(data)
    if with_index:
        offsets = [64 + 32 * number for number in range(count)]
        lengths = [size - offset - 32 for offset in offsets]
        (folder / "index").write_bytes(index_header(num_records=count) + entries(offsets, lengths))


def _quick_hash(body: memoryview, number: int) -> int:
    # The right hash of each would take seconds here: of every hundredth it is right.
    return hash64(body) if number % 100 == 0 else number


def headers_without_end(path: Path) -> None:
    overlapping_frames(path, with_index=False)


def senseless_entries(path: Path) -> None:
    count = 20_000
    publish(path, {"num_records": count, "num_bins": 7})
    folder = path / "segments" / SEGMENT
    noise = np.random.default_rng(1).bytes(16 * count)
    (folder / "index").write_bytes(index_header(num_records=count, num_bins=7) + noise)
    for number in range(7):
        (folder / f"{number:06d}.bin").write_bytes(bin_header(number, num_bins=7) + noise[:4096])


def _with_keys(path: Path, data: bytes, num_keys: int) -> None:
    with SplitWriter(path, bins=1, durability="none") as writer:
        writer.write(b"one", key="a")
    directory = DatasetPaths(str(path))
    manifest = Manifest.decode(Path(directory.manifest(1)).read_bytes())
    info = manifest.segments[0]
    keys = Path(directory.segment(info.id).keys)
    keys.write_bytes(KeysHeader(info.id).pack() + data)
    changed = SegmentInfo(
        **{name: getattr(info, name) for name in ("id", "num_records", "num_bins", "is_sealed", "digest")},
        raw_bytes=info.raw_bytes,
        stored_bytes=info.stored_bytes,
        num_keys=num_keys,
        keys_bytes=keys.stat().st_size,
    )
    body = Manifest(generation=1, dataset_id=manifest.dataset_id, segments=(changed,)).encode()
    Path(directory.manifest(1)).write_bytes(body)


def _run_of(hashes: list[int], sequences: list[int]) -> tuple[bytes, KeyRun]:
    data, fences = pack_blocks(np.array(hashes, np.uint64), np.array(sequences, np.uint32))
    return data + fences, KeyRun(64, len(hashes), hash64(fences))


def runs_of_keys_that_overlap(path: Path) -> None:
    data, run = _run_of([key_hash(b"a")] * 1024 * 20, [0] * 1024 * 20)
    _with_keys(path, data + pack_directory([run] * 25_000), 1024 * 20 * 25_000)


def one_record_under_all_keys(path: Path) -> None:
    count = 80_000
    data, run = _run_of([key_hash(b"b")] * count, [0] * count)
    _with_keys(path, data + pack_directory([run]), count)


def segments_for_a_fold(path: Path) -> None:
    """Small segments, of which one asks for an alignment that would make each of many records take a page."""
    for number in range(31):
        with SplitWriter(
            path, mode="append", bins=1, durability="none", alignment=4096 if number == 3 else 8
        ) as writer:
            writer.write_many([b"x"] * (1 if number == 3 else 600))


def metadata_of_lists(path: Path) -> None:
    publish(path, {})
    body = json.loads((path / "manifest.0000000001.json").read_bytes().split(b"\n")[0])
    body["metadata"] = {"a": [[]] * 300_000}
    write_manifest(path, json.dumps(body, separators=(",", ":")).encode())


def samples_that_claim_much(path: Path) -> None:
    """Bound samples of schemas that claim arrays of terabytes, or as many parts as fit, and a hole for their file."""
    huge = [struct.pack("<BBQ", 35, 1, size) + b"\x03|u1" for size in (1 << 40, (1 << 63) - 1, (1 << 64) - 2)]
    free = [struct.pack("<BB64Q", 35, 64, *[(1 << 64) - 1] * 64) + b"\x03|u1", b"\x30" * 65 + b"\x02"]
    rows = [struct.pack("<BBQQ", 35, 2, (1 << 64) - 1, 0) + b"\x03|u1"]
    wide = [bytes([16]) + struct.pack("<I", 250_000) + bytes([5]) * 250_000, struct.pack("<BI", 16, (1 << 32) - 1)]
    schemas = (*huge, *free, *rows, *wide)
    tail = b"\xff" * 4
    records = [tail * 65 + struct.pack("<I", number) for number in range(len(schemas))]
    with SplitWriter(path, bins=1, durability="none") as writer:
        writer.write_many(records)
    directory = DatasetPaths(str(path))
    manifest = Manifest.decode(Path(directory.manifest(1)).read_bytes())
    info = replace(manifest.segments[0], schemas=schemas)
    forged = replace(manifest, segments=(info,), metadata={"record_codec": "sample"})
    Path(directory.manifest(1)).write_bytes(forged.encode())
    header = SchemasHeader(info.id).pack()
    sparse(Path(directory.segment(info.id).schemas), 1 << 40, {0: header + struct.pack("<II", (1 << 32) - 1, 0)})


INPUTS: Final[dict[str, Callable[[Path], None]]] = {
    made.__name__: made
    for made in (
        millions_of_bins,
        three_records_in_millions_of_bins,
        millions_of_bins_in_each_segment,
        hole_for_an_index,
        hole_for_a_sealed_index,
        hole_for_an_index_of_groups,
        groups_of_zeros,
        holes_for_bins,
        record_of_forty_gigabytes,
        usual_record_of_four_gigabytes,
        overlapping_frames,
        headers_without_end,
        senseless_entries,
        runs_of_keys_that_overlap,
        one_record_under_all_keys,
        segments_for_a_fold,
        metadata_of_lists,
        samples_that_claim_much,
    )
}


# -- what is done with them -----------------------------------------------------------------------------------


def opened(path: Path, use: Callable[[SplitDataLoader], object], io: Any = "mmap") -> None:
    with SplitDataLoader(path, io=io, max_record_bytes=16 * MIB) as loader:
        use(loader)


def walked(records: Iterator[object]) -> None:
    """Walk over the first records, on behind those that cannot be read."""
    for _ in range(2000):
        try:
            next(records)
        except StopIteration:
            return
        except SplitDataError:
            continue


def read_some(loader: SplitDataLoader) -> None:
    count = len(loader)
    for positions in ([0], [count - 1], list(range(min(count, 40))), [0, count // 2]):
        for read in (loader.__getitems__, loader.views, loader.prefetch, loader.sizes.__getitem__):
            attempt(lambda read=read, positions=positions: read(positions))  # type: ignore[misc]
    attempt(lambda: loader[0])
    attempt(lambda: loader.gather([0] * 40))
    attempt(lambda: loader.view(0))
    attempt(lambda: loader.read_range(0, 0, 100))
    attempt(lambda: loader[:3000])
    attempt(lambda: loader.sizes[:3000])


def read_samples(path: Path) -> None:
    # ValueError: its records are of no codec.
    with suppress(ValueError), SampleDataset(path) as samples:
        for number in range(min(len(samples), 40)):
            attempt(lambda number=number: samples[number])  # type: ignore[misc]
            attempt(lambda number=number: samples.encoded(number))  # type: ignore[misc]
            attempt(lambda number=number: samples.gather([number] * 3))  # type: ignore[misc]


def write_more(path: Path, mode: Any) -> None:
    with SplitWriter(path, mode=mode, durability="none", bins=1) as writer:
        writer.write(encode_sample("more") if writer.codec == "sample" else b"more")


OPERATIONS: Final[dict[str, Callable[[Path], object]]] = {
    "open": lambda path: opened(path, len),
    "info": describe,
    "read": lambda path: opened(path, read_some),
    "read by pread": lambda path: opened(path, read_some, "pread"),
    "walk": lambda path: opened(path, lambda loader: walked(iter(loader))),
    "walk by pread": lambda path: opened(path, lambda loader: walked(iter(loader)), "pread"),
    "walk bins": lambda path: opened(path, lambda loader: walked(loader.iterate_binwise())),
    "walk views": lambda path: opened(path, lambda loader: walked(loader.iterate_binwise(as_views=True))),
    "shuffle": lambda path: opened(path, lambda loader: walked(loader.iterate_binwise(shuffle=True, seed=1))),
    "samples": read_samples,
    "find": lambda path: opened(path, lambda loader: loader.has_key("a")),
    "find another": lambda path: opened(path, lambda loader: loader.has_key("b")),
    "verify": lambda path: verify(path, num_workers=1),
    "repair, dry": lambda path: repair(path, dry_run=True),
    "append": lambda path: write_more(path, "append"),
    "resume": lambda path: write_more(path, "resume"),
    "repair": repair,
    "adopt": lambda path: repair(path, adopt=True),
    "verify again": lambda path: verify(path, num_workers=1),
}


def attempt(action: Callable[[], object]) -> str:
    try:
        action()
    except (SplitDataError, OSError, KeyError) as error:
        return type(error).__name__
    return "done"


def most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main(folder: Path, names: list[str]) -> None:
    """Make each dataset, do everything with it, and report."""
    for name in names or list(INPUTS):
        path = folder / name
        INPUTS[name](path)
        for operation, action in OPERATIONS.items():
            before, start = most_memory(), time.perf_counter()
            outcome = attempt(lambda action=action, path=path: action(path))  # type: ignore[misc]
            seconds = time.perf_counter() - start
            line = json.dumps([name, operation, most_memory() - before, round(seconds, 2), outcome])
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        shutil.rmtree(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), list(islice(sys.argv, 2, None)))
