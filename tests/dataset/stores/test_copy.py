"""copy: the same dataset in another place, or an error and a copy that goes on."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from splitdata import (
    DatasetExistsError,
    DatasetNotFoundError,
    FormatError,
    SplitDataLoader,
    SplitWriter,
    StoreError,
    copy,
    delete,
    diff,
    verify,
)
from splitdata.storage import files
from splitdata_cli.main import cli
from tests.dataset.flaky_proxy import FlakyProxy
from tests.stores import bucket, lead_to, store_of

URL = "s3://copies/sets/a"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A dataset of two segments, with keys and deleted records."""
    for part in range(2):
        with SplitWriter(tmp_path / "source", bins=3, mode="append", durability="none") as writer:
            writer.write_many([b"%d" % number * 50 for number in range(90)], keys=[f"{part} {n}" for n in range(90)])
    delete(tmp_path / "source", positions=[3, 100])
    return tmp_path / "source"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket, to which the environment leads."""
    pytest.importorskip("obstore")
    pytest.importorskip("localbucket")
    (tmp_path / "buckets" / "copies").mkdir(parents=True)
    with bucket(tmp_path / "buckets") as address:
        lead_to(address, monkeypatch)
        yield address


def objects(folder: Path) -> dict[str, bytes]:
    """Return what a copy must have: the newest manifest, and all segments."""
    found = store_of(folder, "")
    manifests = sorted(key for key in found if key.startswith("/manifest."))
    return {key: data for key, data in found.items() if key not in manifests[:-1]}


def test_copy_in_a_folder_is_the_same_byte_by_byte(source: Path, tmp_path: Path) -> None:
    report = copy(source, tmp_path / "copy")
    assert store_of(tmp_path / "copy", "") == objects(source)
    assert report.num_records == 180
    assert report.is_verified
    assert report.bytes_sent == report.num_bytes > 0
    assert not diff(source, tmp_path / "copy").differences


def test_second_call_sends_nothing(source: Path, tmp_path: Path) -> None:
    copy(source, tmp_path / "copy")
    assert copy(source, tmp_path / "copy").bytes_sent == 0


def test_copy_goes_on_behind_what_is_there(source: Path, tmp_path: Path) -> None:
    copy(source, tmp_path / "copy")
    with SplitWriter(source, mode="append", durability="none") as writer:
        writer.write(b"new")
    before = sum(map(len, store_of(tmp_path / "copy").values()))
    report = copy(source, tmp_path / "copy")
    assert 0 < report.bytes_sent < before
    assert SplitDataLoader(tmp_path / "copy")[180] == b"new"


def test_copy_that_is_brought_up_to_date_leaves_other_names_of_its_files_and_its_readers_alone(tmp_path: Path) -> None:
    path, made = tmp_path / "source", tmp_path / "copy"
    with SplitWriter(path, bins=2, durability="none") as writer:
        writer.write_many([b"one", b"two", b"three"])
        writer.commit()
        copy(path, made)
        shutil.copytree(made, tmp_path / "linked", copy_function=os.link)
        before = store_of(made)
        writer.write_many([b"four", b"five"])
    with SplitDataLoader(made) as reader:
        assert copy(path, made).bytes_sent > 0
        assert list(reader) == [b"one", b"two", b"three"]
    assert store_of(tmp_path / "linked") == before
    assert list(SplitDataLoader(tmp_path / "linked")) == [b"one", b"two", b"three"]
    assert list(SplitDataLoader(made)) == [b"one", b"two", b"three", b"four", b"five"]


def test_link_in_a_copy_is_refused_and_what_it_leads_to_stays(source: Path, tmp_path: Path) -> None:
    copy(source, tmp_path / "copy")
    segment = sorted((tmp_path / "copy" / "segments").iterdir())[0]
    segment.rename(tmp_path / "elsewhere")
    segment.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "000000.bin").write_bytes(b"of somebody else")
    with SplitWriter(source, mode="append", durability="none") as writer:
        writer.write(b"new")

    with pytest.raises(FormatError, match="symbolic link"):
        copy(source, tmp_path / "copy")
    assert (tmp_path / "elsewhere" / "000000.bin").read_bytes() == b"of somebody else"


def test_full_disk_is_told_as_what_it_is_and_the_copy_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device: cannot write", str(tmp_path / "copy"))

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_at", fail)
        with pytest.raises(OSError, match="No space left on device") as caught:
            copy(source, tmp_path / "copy")
    assert not isinstance(caught.value, StoreError)
    copy(source, tmp_path / "copy")
    assert store_of(tmp_path / "copy", "") == objects(source)


def test_interrupted_copy_is_no_dataset_and_is_finished_by_another_call(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []

    def send(directory: Any, file: Any, target: Any) -> None:
        sent.append(file.name)
        if len(sent) == 4:
            # Half of a file, as a kill leaves it.
            target.store.put_new(file.name, [b"half"])
            raise KeyboardInterrupt
        true_send(directory, file, target)

    from splitdata.dataset.stores import send_segments

    true_send = send_segments._send
    monkeypatch.setattr(send_segments, "_send", send)
    with pytest.raises(KeyboardInterrupt):
        copy(source, tmp_path / "copy", num_workers=1)
    with pytest.raises((DatasetNotFoundError, FormatError)):
        SplitDataLoader(tmp_path / "copy")
    monkeypatch.undo()
    report = copy(source, tmp_path / "copy")
    assert 0 < report.bytes_sent < report.num_bytes
    assert store_of(tmp_path / "copy", "") == objects(source)


def test_another_dataset_or_anything_else_is_not_overwritten(source: Path, tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "other", durability="none") as writer:
        writer.write(b"mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    for place in ("other", "folder"):
        before = store_of(tmp_path / place)
        with pytest.raises(DatasetExistsError):
            copy(source, tmp_path / place)
        assert store_of(tmp_path / place) == before


def test_damage_of_the_source_is_found_in_the_copy(source: Path, tmp_path: Path) -> None:
    path = sorted(source.rglob("000001.bin"))[0]
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"the copy is damaged, .*000001\.bin"):
        copy(source, tmp_path / "copy")


@pytest.mark.usefixtures("address")
def test_copy_to_a_bucket_and_back_is_the_same_byte_by_byte(source: Path, tmp_path: Path) -> None:
    there = CliRunner().invoke(cli, ["copy", str(source), URL])
    assert there.exit_code == 0, there.stderr
    assert "180 records" in there.stdout
    assert SplitDataLoader(URL).find("1 7") == 97
    assert verify(URL).is_intact
    copy(URL, tmp_path / "back")
    assert store_of(tmp_path / "back", "") == objects(source)


def test_copy_through_a_faulty_way_is_right(source: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.storage.remote.patience._FIRST_PAUSE", 0.01)
    with FlakyProxy(address, ["drop", "500", "cut", "429", ""] * 4, commands=("GET", "PUT", "POST")) as proxy:
        lead_to(proxy.address, monkeypatch)
        report = copy(source, URL)
        assert proxy.num_faults == 16
    lead_to(address, monkeypatch)
    assert report.is_verified
    assert not diff(source, URL).differences


def test_writer_commits_to_a_bucket(address: str) -> None:
    written = [bytes([number]) * 300_000 for number in range(60)]
    with SplitWriter(URL, bins=1) as writer:
        writer.write_many(written)
    with SplitWriter(URL, mode="append") as writer:
        writer.write(b"more")
    assert SplitDataLoader(URL)[:] == [*written, b"more"]
    with pytest.raises(StoreError, match="failed"):
        SplitWriter("s3://copies/b", storage_options={"timeout": 0.01, "endpoint": "http://127.0.0.1:9"})
