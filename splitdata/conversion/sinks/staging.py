"""What is exported is made beside its place, and moved there when it is whole: a killed export leaves nothing there.

Its remains beside it are removed by the next export to the same place, or gone on with where it can be resumed. Two at
once are refused, where locks exist.

    DEST does not exist     .DEST.partial  ──whole──> DEST          .DEST.parts: what is to be added to it
    overwrite, a file       .DEST.partial  ──whole──> DEST, in one step
    overwrite, a folder     DEST ──> .DEST.old, .DEST.partial ──> DEST; killed between the two: the next export puts
                            .DEST.old back before it begins
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["flush", "remove", "staged"]


@contextmanager
def staged(dest: Path, *, overwrite: bool, is_resumed: bool = False) -> Iterator[tuple[Path, Path]]:
    """Give a place to write to, a file or a folder, and a folder for parts of it; move what is there to `dest`.

    Nothing is there at first, and nothing stays after an exception, unless the export can be resumed.

    Raises:
        FileExistsError: If there is something already, and it may not be replaced.
        BlockingIOError: If another export to the same place is at work.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    partial, parts = (dest.with_name(f".{dest.name}.{word}") for word in ("partial", "parts"))
    with _locked(dest.with_name(f".{dest.name}.lock")):
        _put_back(dest)
        if os.path.lexists(dest) and not overwrite:
            raise FileExistsError(errno.EEXIST, "there is something already; overwrite=True replaces it", str(dest))
        if not is_resumed:
            remove(partial)
            remove(parts)
        try:
            yield partial, parts
            flush(partial)
            # Before the move: what is left behind it would stand for an export that has not ended.
            remove(parts)
            _move(partial, dest, overwrite=overwrite)
        except BaseException:
            if not is_resumed:
                remove(partial)
                remove(parts)
            _put_back(dest)
            raise


def _move(partial: Path, dest: Path, *, overwrite: bool) -> None:
    if os.path.lexists(dest):
        if not overwrite:
            raise FileExistsError(errno.EEXIST, "something was put there meanwhile", str(dest))
        if partial.is_file() and not dest.is_dir():
            partial.replace(dest)
            return
        old = _old(dest)
        remove(old)
        dest.rename(old)
        partial.rename(dest)
        remove(old)
        return
    partial.rename(dest)


def _old(dest: Path) -> Path:
    return dest.with_name(f".{dest.name}.old")


def _put_back(dest: Path) -> None:
    """Undo what an export that was killed while it replaced something has done halfway."""
    if os.path.lexists(_old(dest)) and not os.path.lexists(dest):
        _old(dest).rename(dest)


def flush(path: Path) -> None:
    """Wait until the medium has a file, or all files of a folder."""
    for file in [path] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]:
        with file.open("rb") as opened, suppress(OSError):
            os.fsync(opened.fileno())


def remove(path: Path) -> None:
    """Remove a file, or a folder and all that is in it; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        yield
        return
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another export may have ended, and removed the file, before it was locked here.
            is_there = path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except BlockingIOError:
            is_there = False
        if not is_there:
            raise BlockingIOError(errno.EAGAIN, "another export to this place is at work", str(path))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
