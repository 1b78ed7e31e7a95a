"""What a disk may hold after a loss of power: the operations of a run are noted, and put together again in part.

    run ── operations on files ──> Trace: writes, names, syncs, acknowledged commits, in order
    power fails behind event k   ──> Disk: what was synced, and what was not
                                       `─ survivors(mood): a part of the latter ──> a folder to look at

Nothing that was not synced has to survive, in whatever order: not the sectors of a write, not the length of a file,
not a name in a folder. A name may survive without the bytes of its file, which are zeros or garbage then.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, TypeAlias

from splitdata.storage import files, folder
from tests.command import ROOT

__all__ = ["MOODS", "Disk", "Mood", "Trace", "inode_of"]

# What a disk writes in one piece.
SECTOR: Final = 512

Mood: TypeAlias = Literal["nothing", "everything", "prefix", "some", "all but one", "names", "bytes"]
MOODS: Final[tuple[Mood, ...]] = ("nothing", "everything", "prefix", "some", "all but one", "names", "bytes")
"""What survives of that which was not synced: all before a moment, any part, the names alone, the bytes alone ..."""

Change: TypeAlias = tuple[str, Any, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """One operation that has succeeded.

    Attributes:
        kind: write, cut, sync; name, unname, rename, sync names; acknowledge.
        target: Number of the file or folder that it changes.
        change: What it does, see `Disk`.
        site: Of a sync: file and line of the library that asks for it.
    """

    kind: str
    target: int
    change: Change = ("", None, None)
    site: str = ""


@dataclass
class Node:
    """A file or a folder: what is on the medium, and the changes since, in order.

    Attributes:
        content: Of a file.
        names: Of a folder: the number of what has each name. None for a file.
        pending: Changes that were not synced, each with its place in the trace.
    """

    content: bytes = b""
    names: dict[str, int] | None = None
    pending: list[tuple[int, Change]] = field(default_factory=list)


class Trace:
    """Notes what a run does; a handler for `intercepted`.

    Attributes:
        events: What was done so far.
        nodes: What was there before, all of it on the medium.
        root: Number of the folder in which everything lies.
    """

    def __init__(self, root: Path) -> None:
        """Take what is in a folder now as on the medium."""
        self.events: list[Event] = []
        self.nodes: dict[int, Node] = {}
        self._numbers: dict[int, int] = {}
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._within = threading.local()
        self.root = self._taken(root)

    def _taken(self, path: Path) -> int:
        inode = path.stat().st_ino
        if inode not in self._numbers:
            number = self._new(inode)
            if path.is_dir():
                self.nodes[number] = Node(names={one.name: self._taken(one) for one in path.iterdir()})
            else:
                self.nodes[number] = Node(content=path.read_bytes())
        return self._numbers[inode]

    def _new(self, inode: int) -> int:
        """Number a file or folder that has just been made: an inode may have been another's before."""
        self._numbers[inode] = next(self._count)
        return self._numbers[inode]

    def acknowledge(self) -> None:
        """Note that a commit was acknowledged."""
        self.events.append(Event("acknowledge", self.root))

    def acknowledged_before(self, moment: int) -> int:
        """Return how many commits the first `moment` events acknowledge."""
        return sum(event.kind == "acknowledge" for event in self.events[:moment])

    def sites(self) -> list[str]:
        """Return where the library asks for a sync, each place once."""
        return sorted({event.site for event in self.events if event.site})

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        """Do an operation, and note it; one within another is part of that."""
        if getattr(self._within, "is_one", False):
            return real(*arguments, **keywords)
        self._within.is_one = True
        try:
            with self._lock:
                result = real(*arguments, **keywords)
                self._note(name, arguments, keywords.get("at"), keywords.get("source_at"), result)
                return result
        finally:
            self._within.is_one = False

    def _note(self, name: str, arguments: tuple[Any, ...], at: int | None, source_at: int | None, result: Any) -> None:
        subject = arguments[0]
        if name == "write_at":
            self._add("write", self._of(subject), ("write", arguments[2], bytes(arguments[1])))
        elif name == "write_gathered":
            self._add("write", self._of(subject), ("write", arguments[2], b"".join(map(bytes, arguments[1]))))
        elif name == "truncate":
            self._add("cut", self._of(subject), ("cut", arguments[1], None))
        elif name == "sync_data":
            self.events.append(Event("sync", self._of(subject), site=_site()))
        elif name == "sync_directory":
            self.events.append(Event("sync", self._of(subject if at is None else at), site=_site()))
        elif name == "create":
            self._named(subject, at, self._new(os.fstat(result).st_ino), Node())
        elif name == "create_unnamed":
            self.nodes[self._new(os.fstat(result).st_ino)] = Node()
        elif name == "make_directory" and result:
            self._named(subject, at, self._new(_inode(subject, at)), Node(names={}))
        elif name in ("link", "link_unnamed"):
            self._named(arguments[1], at, self._numbers[_inode(arguments[1], at)])
        elif name in ("remove", "remove_directory"):
            self._add("unname", self._folder(subject, at), ("unname", _last(subject), None))
        elif name in ("rename_exclusive", "rename_over"):
            names = _last(subject), _last(arguments[1])
            self._add("rename", self._folder(subject, at), ("rename", *names))

    def _add(self, kind: str, target: int, change: Change) -> None:
        self.events.append(Event(kind, target, change))

    def _named(self, path: str, at: int | None, number: int, node: Node | None = None) -> None:
        if node is not None:
            self.nodes[number] = node
        self._add("name", self._folder(path, at), ("name", _last(path), number))

    def _of(self, subject: int | str) -> int:
        return self._numbers[inode_of(subject)]

    def _folder(self, path: str, at: int | None) -> int:
        return self._of(path.rpartition("/")[0] if at is None else at)


def inode_of(subject: int | str) -> int:
    """Return the inode of an open file or folder, or of a path."""
    return (os.fstat(subject) if isinstance(subject, int) else Path(subject).stat()).st_ino


def _inode(path: str, at: int | None) -> int:
    # Below an open folder, which no method of a path can say.
    name = path if at is None else _last(path)
    return os.stat(name, dir_fd=at, follow_symlinks=False).st_ino


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _site() -> str:
    """Return file, line and function of the library that ask for a sync; a pool of threads has none of its own."""
    passed = (files.__file__, folder.__file__)
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(str(ROOT / "splitdata")) and name not in passed:
            return f"{Path(name).relative_to(ROOT / 'splitdata').as_posix()}:{frame.f_lineno} {frame.f_code.co_name}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "a pool of threads"


class Disk:
    """What is on the medium when power fails, and what was on its way there."""

    def __init__(self, trace: Trace, moment: int, *, ignored: str = "") -> None:
        """Take the first `moment` events of a trace; syncs of the site `ignored` do nothing."""
        self._root = trace.root
        self._nodes = {
            number: Node(node.content, None if node.names is None else dict(node.names))
            for number, node in trace.nodes.items()
        }
        for place, event in enumerate(trace.events[:moment]):
            node = self._nodes[event.target]
            if event.kind == "sync":
                if event.site != ignored:
                    _settle(node, node.pending)
                    node.pending = []
            elif event.kind != "acknowledge":
                node.pending.append((place, event.change))
        self._moment = moment

    def write_survivors(self, target: Path, mood: Mood, chance: Random) -> None:
        """Make a folder of what a machine finds that is started again."""
        fill = chance.choice((b"\0", b"\xa5"))
        last = chance.randrange(self._moment + 1)
        if mood == "all but one":
            last = chance.choice([-1, *(place for node in self._nodes.values() for place, _ in node.pending)])
        share = chance.choice((0.1, 0.5, 0.9))
        for node in self._nodes.values():
            whole = node.content
            if node.names is None:
                whole = bytes(_applied(bytearray(node.content), node.pending))
            _settle(node, [kept for one in node.pending for kept in _kept(node, one, mood, last, share, chance)])
            if node.names is None and (mood == "names" or (mood == "some" and chance.random() < 0.5)):
                # The length has arrived, and not all bytes.
                node.content += fill * max(0, len(whole) - len(node.content))
        self._write(self._root, target, {})

    def _write(self, number: int, target: Path, made: dict[int, Path]) -> None:
        node = self._nodes[number]
        if node.names is not None:
            target.mkdir()
            for name, inner in node.names.items():
                self._write(inner, target / name, made)
        elif number in made:
            target.hardlink_to(made[number])
        else:
            made[number] = target
            target.write_bytes(node.content)


def _kept(
    node: Node, pending: tuple[int, Change], mood: Mood, last: int, share: float, chance: Random
) -> list[tuple[int, Change]]:
    """Return what survives of one change: of a write, any of its sectors."""
    place, change = pending
    is_name = node.names is not None
    if mood == "everything" or (mood == "names" and is_name) or (mood == "bytes" and not is_name):
        return [pending]
    if mood == "prefix":
        return [pending] if place < last else []
    if mood == "all but one":
        return [pending] if place != last else []
    if mood != "some":
        return []
    if change[0] != "write":
        return [pending] if chance.random() < share else []
    _, offset, data = change
    bounds = [offset, *range(offset - offset % SECTOR + SECTOR, offset + len(data), SECTOR), offset + len(data)]
    return [
        (place, ("write", start, data[start - offset : stop - offset]))
        for start, stop in itertools.pairwise(bounds)
        if chance.random() < share
    ]


def _settle(node: Node, changes: list[tuple[int, Change]]) -> None:
    """Make changes part of what is on the medium."""
    if node.names is None:
        if changes:
            node.content = bytes(_applied(bytearray(node.content), changes))
        return
    for _, (what, name, other) in changes:
        if what == "name":
            node.names[name] = other
        elif what == "unname":
            node.names.pop(name, None)
        elif name in node.names:
            node.names[other] = node.names.pop(name)


def _applied(content: bytearray, changes: list[tuple[int, Change]]) -> bytearray:
    for _, (what, place, data) in changes:
        if what == "cut":
            content = content[:place].ljust(place, b"\0")
        else:
            content = content.ljust(place, b"\0")
            content[place : place + len(data)] = data
    return content
