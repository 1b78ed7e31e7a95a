"""Publishing a manifest: whole or not at all, once, in each of the three ways."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from splitdata.storage import files
from splitdata.storage import publish as publish_module
from splitdata.storage.folder import Folder
from splitdata.storage.publish import publish


def failing(number: int) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def use_scratch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files, "create_unnamed", failing(errno.EOPNOTSUPP))


def use_rename(patch: pytest.MonkeyPatch) -> None:
    use_scratch(patch)
    patch.setattr(files, "link", failing(errno.EPERM))


def use_no_proc(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files, "link_unnamed", failing(errno.ENOENT))


WAYS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "unnamed": lambda _: None,
    "scratch": use_scratch,
    "rename": use_rename,
    "no proc": use_no_proc,
}


@pytest.fixture(params=WAYS.keys())
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    WAYS[request.param](monkeypatch)
    return str(request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("durable", [True, False])
def test_published_file_is_whole_and_alone(tmp_path: Path, durable: bool) -> None:
    assert publish(Folder.open(str(tmp_path)), 7, b"manifest", durable=durable)

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"manifest.0000000007.json": b"manifest"}
    assert (tmp_path / "manifest.0000000007.json").stat().st_nlink == 1


@pytest.mark.usefixtures("way")
def test_number_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    folder = Folder.open(str(tmp_path))

    assert publish(folder, 7, b"first", durable=False)
    assert not publish(folder, 7, b"second", durable=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_of_many_rivals_exactly_one_succeeds(tmp_path: Path, way: str) -> None:
    folder = Folder.open(str(tmp_path))
    won: list[bytes] = []
    refused: list[BaseException] = []

    def compete(name: bytes) -> None:
        try:
            if publish(folder, 1, name, durable=False):
                won.append(name)
        except BlockingIOError as error:
            refused.append(error)

    threads = [threading.Thread(target=compete, args=(b"%d" % number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [path.read_bytes() for path in tmp_path.iterdir()] == won
    assert len(won) == 1
    assert not refused or way == "rename"


def test_durable_publication_syncs_before_and_after_the_name_appears(
    tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def recorded(name: str) -> Callable[..., object]:
        real = getattr(files, name)

        def call(*arguments: object, **keywords: object) -> object:
            calls.append(name)
            return real(*arguments, **keywords)

        return call

    for name in ("write_at", "sync_data", "link_unnamed", "link", "rename_exclusive", "sync_directory"):
        monkeypatch.setattr(files, name, recorded(name))
    publish(Folder.open(str(tmp_path)), 1, b"x", durable=True)
    naming = {
        "unnamed": ["link_unnamed"],
        "scratch": ["link"],
        "rename": ["link", "rename_exclusive"],
        "no proc": ["link_unnamed", "write_at", "sync_data", "link"],
    }

    assert calls == ["write_at", "sync_data", *naming[way], "sync_directory"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_disk_that_fails_is_an_error_and_not_a_reason_to_try_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(files, "create_unnamed", failing(number))

    with pytest.raises(OSError, match=os.strerror(number)):
        publish(Folder.open(str(tmp_path)), 1, b"x", durable=False)
    assert list(tmp_path.iterdir()) == []


def test_link_whose_answer_was_lost_counts_as_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An NFS server may make the link, lose the answer, and say on the second try that it is there."""
    use_scratch(monkeypatch)
    real = files.link

    def link_twice(source: str, target: str, **where: int | None) -> None:
        real(source, target, **where)
        real(source, target, **where)

    monkeypatch.setattr(files, "link", link_twice)

    assert publish(Folder.open(str(tmp_path)), 1, b"x", durable=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"x"]


def test_missing_links_are_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_rename(monkeypatch)
    monkeypatch.setattr(publish_module, "_warned_of_links", set())
    with caplog.at_level(logging.WARNING, "splitdata"):
        publish(Folder.open(str(tmp_path)), 1, b"x", durable=False)
        publish(Folder.open(str(tmp_path)), 2, b"x", durable=False)

    assert len(caplog.records) == 1
    assert "one program may write" in caplog.text


def test_without_links_a_rival_at_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_rename(monkeypatch)
    rival = os.open(tmp_path, os.O_RDONLY)
    try:
        assert files.lock(rival)
        with pytest.raises(BlockingIOError, match="another program is committing"):
            publish(Folder.open(str(tmp_path)), 1, b"x", durable=False)
    finally:
        os.close(rival)
    assert list(tmp_path.iterdir()) == []
