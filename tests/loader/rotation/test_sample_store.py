"""Where made samples are kept: memory, files without names, disks that are full."""

from __future__ import annotations

import errno
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import Rotation
from splitdata.loader.rotation import sample_store
from splitdata.loader.rotation.sample_store import FileStore, MemoryStore, SampleStore, StoreMaker
from tests.command import ROOT

LENGTHS = st.lists(st.sampled_from([1, 63, 64, 65, 1000, 700_000, 1 << 20, (1 << 20) + 1]), max_size=12)


def block(number: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.resize(np.arange(number, number + 251, dtype=np.uint8), length)


def read(store: SampleStore, address: int, length: int) -> bytes:
    room = bytearray(length)
    store.read_into(address, memoryview(room))
    view = store.view(address, length)
    if view is not None:
        assert view == room
        assert np.frombuffer(view, np.uint8).ctypes.data % 64 == 0
    return bytes(room)


@pytest.mark.parametrize("medium", ["memory", "disk"])
@given(LENGTHS)
def test_store_returns_what_was_added(medium: str, lengths: list[int]) -> None:
    store = StoreMaker(Rotation(medium="disk" if medium == "disk" else "memory")).open()
    addresses = [store.add(block(number, length)) for number, length in enumerate(lengths)]

    assert all(address % 64 == 0 for address in addresses)
    for number, (address, length) in enumerate(zip(addresses, lengths, strict=True)):
        assert read(store, address, length) == block(number, length).tobytes()
    assert (store.memory_bytes, store.disk_bytes) == ((sum(lengths), 0) if medium == "memory" else (0, sum(lengths)))
    store.close()
    assert store.memory_bytes == store.disk_bytes == 0


def test_memory_is_used_again_by_the_next_store() -> None:
    spare: list[memoryview] = []
    for _ in range(5):
        store = MemoryStore(spare)
        addresses = [store.add(block(number, 300_000)) for number in range(20)]
        assert all(read(store, address, 300_000) == block(n, 300_000).tobytes() for n, address in enumerate(addresses))
        store.close()
        total = sum(map(len, spare))

    assert total == sum(map(len, spare)) < 4 * 20 * 300_000


def test_interrupted_write_is_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hesitating:
        def __init__(self, folder: str | None) -> None:
            self._file = actual(folder)

        def seek(self, offset: int) -> int:
            return self._file.seek(offset)

        def write(self, data: memoryview) -> int:
            return self._file.write(data[:1000])

        def readinto(self, room: memoryview) -> int | None:
            return self._file.readinto(room[:700])

        def close(self) -> None:
            self._file.close()

    actual = sample_store._open_nameless
    monkeypatch.setattr(sample_store, "_open_nameless", Hesitating)
    store = StoreMaker(Rotation(medium="disk")).open()
    addresses = [store.add(block(number, 5000)) for number in range(3)]

    assert [read(store, address, 5000) for address in addresses] == [block(n, 5000).tobytes() for n in range(3)]
    store.close()


def test_lost_bytes_are_an_error(tmp_path: Path) -> None:
    store = StoreMaker(Rotation(medium="disk", path=tmp_path)).open()
    address = store.add(block(0, 100))

    with pytest.raises(OSError, match="has lost 50 bytes"):
        store.read_into(address, memoryview(bytearray(150)))
    store.close()


def test_full_disk_is_one_warning_and_memory_takes_the_rest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    maker = StoreMaker(Rotation(medium="disk", path=tmp_path))
    room = 3000

    def write(self: FileStore, data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
        if self.disk_bytes + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return actual(self, data)

    actual = FileStore._write
    monkeypatch.setattr(FileStore, "_write", write)
    stores = [maker.open() for _ in range(2)]
    for store in stores:
        addresses = [store.add(block(number, 1000)) for number in range(8)]
        assert [read(store, address, 1000) for address in addresses] == [block(n, 1000).tobytes() for n in range(8)]
        assert (store.memory_bytes, store.disk_bytes) == (5000, 3000)
        store.close()

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(tmp_path) in record.message
    assert "nothing is lost" in record.message


def test_disk_that_fails_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(self: FileStore, data: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(FileStore, "_write", write)
    store = StoreMaker(Rotation(medium="disk")).open()
    with pytest.raises(OSError, match="Input/output"):
        store.add(block(0, 10))
    store.close()


def test_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    store = StoreMaker(Rotation(medium="disk", path=tmp_path / "a" / "b")).open()
    address = store.add(np.arange(9, dtype=np.uint8))
    room = bytearray(9)
    store.read_into(address, memoryview(room))

    assert room == bytes(range(9))
    assert list((tmp_path / "a" / "b").iterdir()) == []
    store.close()


def test_folder_that_cannot_be_had_is_an_error_at_once_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OSError, match=rf"rotation cannot keep samples in {tmp_path}/file/x: .*another path, or medium"):
        StoreMaker(Rotation(medium="disk", path=tmp_path / "file" / "x"))


def test_store_that_is_dropped_closes_its_file() -> None:
    store = StoreMaker(Rotation(medium="disk")).open()
    assert isinstance(store, FileStore)
    file = store._file
    del store

    assert getattr(file, "closed", True)


# -- in processes of their own -----------------------------------------------------------------

LOADER = """
import sys
import numpy as np
from splitdata import DistributedLoader, Rotation

class Numbers:
    def __len__(self):
        return 300
    def __getitem__(self, index):
        return index

def transform(record):
    return {"record": record, "data": np.full(10_000, record % 251, np.uint8)}

"""

KILLED = (
    LOADER
    + """
if __name__ == "__main__":
    rotation = Rotation(3, 50, medium="disk", path=sys.argv[1])
    loader = DistributedLoader(Numbers(), batch_size=8, transform=transform, rotation=rotation, num_workers=2)
    while True:
        for batch in loader:
            print(loader.stats().rotation.disk_bytes, flush=True)
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="there it is deleted with the last handle, some time after")
@pytest.mark.parametrize("num_lines", [1, 10, 40])
def test_killed_loader_leaves_no_file(tmp_path: Path, num_lines: int) -> None:
    script = tmp_path / "train.py"
    script.write_text(KILLED)
    folder = tmp_path / "rotation"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, script, folder], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        held = [int(process.stdout.readline()) for _ in range(num_lines)]
        names = list(folder.iterdir())
        os.kill(process.pid, signal.SIGKILL)

    assert max(held) > 0
    assert names == list(folder.iterdir()) == []


FULL_DISK = (
    LOADER
    + """
import logging
from collections import Counter

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    rotation = Rotation(3, 100, medium="disk", path=sys.argv[1])
    loader = DistributedLoader(Numbers(), batch_size=8, transform=transform, rotation=rotation)
    uses, most = Counter(), [0, 0]
    for batch in loader:
        for record, data in zip(batch["record"].tolist(), batch["data"]):
            assert (data == record % 251).all()
            uses[record] += 1
        stats = loader.stats().rotation
        most = [max(most[0], stats.memory_bytes), max(most[1], stats.disk_bytes)]
    assert set(uses.values()) == {3} and len(uses) == 300
    print("memory and disk", *most)
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a user namespace")
def test_really_full_disk_loses_no_sample(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(FULL_DISK)
    folder = tmp_path / "small"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size=600k none {folder} 2>/dev/null || exit 77; exec {sys.executable} {script} {folder}"
    ended = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if ended.returncode == 77 or "unshare" in ended.stderr:
        pytest.skip("no mounts in a user namespace here")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("WARNING") == 1
    memory, disk = map(int, ended.stdout.split()[-2:])
    assert 0 < disk <= 600 << 10
    assert 0 < memory <= 2 * 100 * 10_300
