"""Dropping a file from the page cache, and telling whether it worked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splitdata.errors import FormatError
from splitdata.storage import page_cache
from splitdata.storage.file_source import PreadSource


def test_dropped_file_still_holds_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 1000)

    num_looks, num_left = page_cache.drop_file(str(path))

    assert num_looks == 1
    assert 0 <= num_left <= num_looks
    assert path.read_bytes() == bytes(range(256)) * 1000


def test_large_file_is_looked_at_in_few_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(32 << 20)
    monkeypatch.setattr(page_cache, "_LEAST_STEP", 1 << 20)
    monkeypatch.setattr(PreadSource, "is_resident", lambda source, offset: offset >= 16 << 20)

    assert page_cache.drop_file(str(path)) == (16, 8)


def test_empty_file_has_nothing_to_look_at(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert page_cache.drop_file(str(tmp_path / "file")) == (0, 0)


def test_system_without_the_request_leaves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)

    num_looks, num_left = page_cache.drop_file(str(path))

    assert num_looks == num_left > 0


def test_places_that_were_found_in_memory_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    monkeypatch.setattr(page_cache, "_LEAST_STEP", 10_000)
    monkeypatch.setattr(PreadSource, "is_resident", lambda source, offset: offset > 50_000)

    num_looks, num_left = page_cache.drop_file(str(path))

    assert (num_looks, num_left) == (10, 4)


def test_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")

    with pytest.raises(FormatError, match="no regular file"):
        page_cache.drop_file(str(tmp_path / "link"))
