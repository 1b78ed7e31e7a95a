"""Names in folders that the whole machine shares, and whose they are.

A semaphore in /dev/shm may be a stranger's, made and removed by chance while a test ran. Who maps or opens its file
is its owner. The name says nothing: glibc makes the file under another one, which /proc shows from then on.

    /dev/shm/sem.mp-a1b2c3  ->  device, inode  <-  /proc/ID/maps, /proc/ID/fd  of processes that are not ours
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.watchdog import running_ids

__all__ = ["SharedName", "held_by_strangers", "shared_names"]


@dataclass(frozen=True, slots=True)
class SharedName:
    """A file that has a name in a shared folder."""

    path: str
    device: int
    inode: int


def shared_names(folder: Path, prefixes: tuple[str, ...]) -> list[SharedName]:
    """Return the files of this user in `folder` whose names begin with one of `prefixes`."""
    names: list[SharedName] = []
    if not folder.exists():
        return names
    user = getattr(os, "geteuid", lambda: 0)()
    for path in folder.iterdir():
        if path.name.startswith(prefixes):
            # It may be gone between the listing and the look.
            with suppress(OSError):
                file = path.stat(follow_symlinks=False)
                if file.st_uid == user:
                    names.append(SharedName(str(path), file.st_dev, file.st_ino))
    return names


def held_by_strangers(names: Collection[SharedName]) -> set[SharedName]:
    """Return those of `names` whose file a process uses that is neither this one nor was started by it.

    What nobody uses is no stranger's: that is how a process which has ended leaves a name. Nothing is a stranger's
    where the system has no /proc.
    """
    held: set[SharedName] = set()
    if not names or not Path("/proc/self/maps").exists():
        return held
    named = {(name.device, name.inode): name for name in names}
    # Listed before ours are asked for: one of ours that starts meanwhile is not taken for a stranger.
    ids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    ours = {os.getpid(), *running_ids()}
    for pid in set(ids) - ours:
        held |= {named[file] for file in _files_of(pid) if file in named}
    return held


def _files_of(pid: int) -> Iterator[tuple[int, int]]:
    """Yield device and inode of what a process maps or has open; nothing of one that has ended or is another user's."""
    folder = Path(f"/proc/{pid}")
    with suppress(OSError):
        for line in (folder / "maps").read_bytes().splitlines():
            # address rights offset device inode name
            _, _, _, device, inode, *name = line.split(maxsplit=5)
            if name:
                major, minor = device.split(b":")
                yield os.makedev(int(major, 16), int(minor, 16)), int(inode)
    with suppress(OSError):
        for descriptor in (folder / "fd").iterdir():
            with suppress(OSError):
                file = descriptor.stat()
                yield file.st_dev, file.st_ino
