"""A shuffled source: the order of random keys, whatever the memory, and nothing left behind."""

from __future__ import annotations

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from splitdata import ConversionProgress, SplitDataLoader, convert, open_source
from splitdata.conversion.external_sort import shuffle_file
from splitdata.conversion.shuffle import KeyedShuffledSource, ShuffledSource
from tests.command import ROOT

MASK = (1 << 64) - 1


class GivenSource:
    """A source of given records."""

    kind = "given"
    name = "given"
    num_bytes = None
    bytes_read = 0

    def __init__(self, records: list[object]) -> None:
        self.skipped: dict[str, int] = {}
        self.inputs: list[str] = []
        self._records = records

    def identity(self) -> str:
        return "given"

    def __iter__(self) -> Generator[bytes, None, None]:
        yield from self._records  # type: ignore[misc]  # whatever the test passes for a record


def mixed(value: int) -> int:
    """The finaliser of splitmix64, in plain integers."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK
    return value ^ value >> 31


def reference_order(count: int, seed: int) -> list[int]:
    """The order said plainly: numbers sorted by their random keys."""
    key = xxhash.xxh3_64_intdigest(f"{seed}\x00write\x00".encode())
    return sorted(range(count), key=lambda number: mixed((mixed(key) + number * 0x9E3779B97F4A7C15) & MASK))


def as_bytes(record: object) -> bytes:
    if isinstance(record, bytes):
        return record
    data: bytes = record.read()  # type: ignore[attr-defined]  # a file then
    return data


def shuffled(records: list[object], folder: Path, seed: int = 0, memory_bytes: int = 1 << 20) -> list[bytes]:
    source = ShuffledSource(GivenSource(records), seed, folder=str(folder), memory_bytes=memory_bytes)
    return [as_bytes(record) for record in source]


@given(
    sizes=st.lists(st.integers(0, 300), max_size=400),
    seed=st.integers(0, 1 << 70),
    memory_bytes=st.sampled_from([1, 5_000, 50_000, 1 << 28]),
)
def test_order_is_that_of_the_reference_whatever_the_memory(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int, memory_bytes: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    records = [b"%d " % number + bytes(size) for number, size in enumerate(sizes)]

    found = shuffled(list(records), folder, seed, memory_bytes)

    assert found == [records[number] for number in reference_order(len(records), seed)]


def test_records_that_do_not_fit_are_dealt_out_again_and_arrive_whole(tmp_path: Path) -> None:
    records = [b"%d" % number * (number % 50) for number in range(30_000)]

    # Buckets of 117 records and more, where each may hold about 1000 bytes: two levels.
    found = shuffled(list(records), tmp_path, seed=3, memory_bytes=4_000)

    assert found == [records[number] for number in reference_order(len(records), 3)]
    assert list(tmp_path.iterdir()) == []


def test_large_records_files_and_views_are_shuffled_among_the_small(tmp_path: Path) -> None:
    large = [os.urandom(1 << 20), os.urandom(3 << 20), os.urandom((1 << 20) - 1)]
    views: list[object] = [bytearray(large[0]), memoryview(large[1])[::2], memoryview(b"abc"), bytearray(b"x")]
    files: list[object] = [io.BytesIO(b""), io.BytesIO(b"small"), io.BytesIO(large[1])]
    records: list[object] = [*large, *views, *files, b"", b"1"]
    whole = [*large, large[0], large[1][::2], b"abc", b"x", b"", b"small", large[1], b"", b"1"]

    assert shuffled(records, tmp_path, seed=5) == [whole[number] for number in reference_order(len(whole), 5)]
    assert list(tmp_path.iterdir()) == []


def test_every_order_of_four_records_is_equally_likely(tmp_path: Path) -> None:
    counts = Counter(
        b"".join(shuffled([b"a", b"b", b"c", b"d"], tmp_path, seed, memory_bytes=1 << 28)) for seed in range(4800)
    )

    assert len(counts) == 24
    # The statistic has 23 degrees of freedom: 200 each; 50 is passed by one in a thousand.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 50


def test_conversion_is_shuffled_and_says_so(tmp_path: Path) -> None:
    lines = [b"line %d" % number for number in range(5000)]
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines))

    report = convert(tmp_path / "a.txt", tmp_path / "data", shuffle=11)

    loader = SplitDataLoader(tmp_path / "data")
    assert list(loader) == [lines[number] for number in reference_order(5000, 11)]
    assert loader.metadata == {"source": {"kind": "lines", "name": "a.txt", "shuffle": 11}}
    assert report.num_records == 5000


@pytest.mark.parametrize("memory_bytes", [2000, 1 << 28])
def test_keys_stay_with_their_records(tmp_path: Path, memory_bytes: int) -> None:
    (tmp_path / "root" / "d").mkdir(parents=True)
    records = {f"d/{number:03}": b"%d" % number * number for number in range(200)} | {"large": os.urandom(2 << 20)}
    for name, data in records.items():
        (tmp_path / "root" / name).write_bytes(data)
    source = open_source(tmp_path / "root")
    expected = [list(records.items())[number] for number in reference_order(201, 4)]

    shuffled_source = KeyedShuffledSource(source, 4, folder=str(tmp_path), memory_bytes=memory_bytes)
    assert [(key, as_bytes(record)) for key, record in shuffled_source.keyed_records()] == expected
    assert [as_bytes(record) for record in shuffled_source] == [record for _, record in expected]
    convert(source, tmp_path / "data", shuffle=4)
    loader = SplitDataLoader(tmp_path / "data")
    assert [loader.key(position) for position in range(201)] == [key for key, _ in expected]
    assert loader[loader.find("large")] == records["large"]


def test_limit_takes_from_the_front_of_the_source_before_the_shuffle(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\n".join(b"%d" % number for number in range(1000)))

    convert(tmp_path / "a.txt", tmp_path / "data", shuffle=1, limit=10)

    assert list(SplitDataLoader(tmp_path / "data")) == [b"%d" % number for number in reference_order(10, 1)]


def test_progress_counts_the_source_twice_and_rises_while_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 99 + b"\n" + b"y" * 99 + b"\n" * 50_000)
    seen: list[ConversionProgress] = []

    convert(tmp_path / "a.txt", tmp_path / "data", shuffle=1, progress=seen.append)

    read = [progress.source_bytes for progress in seen]
    assert read == sorted(read)
    assert read[-1] == 2 * (tmp_path / "a.txt").stat().st_size
    assert sum(progress.num_records == 0 for progress in seen) > 3


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True])
def test_seed_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, seed: object) -> None:
    (tmp_path / "a.txt").write_bytes(b"1")
    with pytest.raises((TypeError, ValueError), match="seed must be"):
        convert(tmp_path / "a.txt", tmp_path / "data", shuffle=seed)  # type: ignore[arg-type]  # on purpose
    assert not (tmp_path / "data").exists()


def test_reproducible_shuffles_give_equal_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\n".join(b"%d" % number for number in range(1000)))
    for name, seed in (("one", 1), ("two", 1), ("three", 2)):
        convert(tmp_path / "a.txt", tmp_path / name, shuffle=seed, reproducible=True)

    def files_of(name: str) -> dict[str, bytes]:
        root = tmp_path / name
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert files_of("one") == files_of("two")
    assert files_of("one") != files_of("three")


def test_full_disk_is_said_to_be_the_place_of_the_shuffle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, _data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: Full())

    with pytest.raises(OSError, match="to shuffle, all records need room here once more") as caught:
        shuffle_file(str(tmp_path)).append(b"x")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path)


WRITE = """
import re, sys
from functools import partial
from splitdata import convert
from splitdata.conversion.shuffle import ShuffledSource

source, dest, memory_bytes = sys.argv[1:]
conversion = sys.modules["splitdata.conversion.convert"]
conversion.shuffled = partial(ShuffledSource, memory_bytes=int(memory_bytes))
convert(source, dest, shuffle=1, durability="none", bins=1)
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


def big_file(path: Path, num_bytes: int) -> None:
    with path.open("wb") as file:
        line = 0
        while file.tell() < num_bytes:
            file.writelines(b"%d %s\n" % (number, b"x" * 500) for number in range(line, line + 10_000))
            line += 10_000


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the resident memory")
@pytest.mark.slow
def test_source_much_larger_than_the_memory_takes_bounded_memory(tmp_path: Path) -> None:
    big_file(tmp_path / "a.txt", 150 << 20)
    command = [sys.executable, "-c", WRITE, str(tmp_path / "a.txt"), str(tmp_path / "data"), str(16 << 20)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    # The source has 150 MiB; the interpreter with numpy 40, the writer a chunk of 4 MiB, twice.
    assert int(ended.stdout) < 100_000
    numbers = [int(record.split(b" ", 1)[0]) for record in SplitDataLoader(tmp_path / "data")]
    assert numbers == reference_order(len(numbers), 1)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_kill_while_shuffling_leaves_no_temporary_file(tmp_path: Path, signal_number: signal.Signals) -> None:
    big_file(tmp_path / "a.txt", 100 << 20)
    command = [sys.executable, "-c", WRITE, str(tmp_path / "a.txt"), str(tmp_path / "data"), str(16 << 20)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not spilled(process.pid, tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert spilled(process.pid, tmp_path), "it never began to write its temporary file"
        process.send_signal(signal_number)
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.communicate()

    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "data") == ["a.txt"]


def spilled(pid: int, folder: Path) -> bool:
    """Whether a process has a file open there that has no name any more."""
    if sys.platform != "linux":
        return (folder / "data").exists()
    links = []
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            links.append(str(link.readlink()))
        except OSError:
            continue
    return any(re.match(re.escape(str(folder)) + r"/.*\(deleted\)$", link) for link in links)
